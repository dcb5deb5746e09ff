// Pooling. Inputs [n, c, h, w] (or [c, h, w]) and [n, c, l] (or [c, l]) of floating dtype.
#pragma once

#include <utility>

#include "tenrec/autograd/ops/conv.h"
#include "tenrec/core/tensor.h"

namespace tenrec {

struct MaxPoolParams {
  Pair stride = 0;   // 0: the kernel's size
  Pair padding = 0;  // at most half the kernel; padded places never win
  Pair dilation = 1;
  bool ceil_mode = false;
};
struct AvgPoolParams {
  Pair stride = 0;
  Pair padding = 0;
  bool ceil_mode = false;
  bool count_include_pad = true;
};

// The largest value of each window; a NaN wins. Ties go to the first.
Tensor max_pool2d(const Tensor& x, Pair kernel, const MaxPoolParams& params = {});
// With the place of each maximum in its plane (i64).
std::pair<Tensor, Tensor> max_pool2d_with_indices(const Tensor& x, Pair kernel, const MaxPoolParams& params = {});
Tensor max_pool1d(const Tensor& x, int64_t kernel, const MaxPoolParams& params = {});
Tensor avg_pool2d(const Tensor& x, Pair kernel, const AvgPoolParams& params = {});
Tensor avg_pool1d(const Tensor& x, int64_t kernel, const AvgPoolParams& params = {});
// Window i of n covers floor(i size / n) to ceil((i + 1) size / n).
Tensor adaptive_avg_pool2d(const Tensor& x, Pair out);
Tensor adaptive_max_pool2d(const Tensor& x, Pair out);
Tensor adaptive_avg_pool1d(const Tensor& x, int64_t out);
Tensor adaptive_max_pool1d(const Tensor& x, int64_t out);

}  // namespace tenrec
