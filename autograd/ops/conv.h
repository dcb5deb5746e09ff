// Convolutions (cross-correlations, as torch.nn calls them) and their gradients, a closed family: each one's derivative
// is made of the other two, so derivatives of any order exist.
#pragma once

#include "tenrec/core/tensor.h"

namespace tenrec {

// One number for both sides of an image, or height and width.
struct Pair {
  int64_t h, w;
  Pair(int64_t both) : h(both), w(both) {}  // NOLINT(google-explicit-constructor)
  Pair(int64_t height, int64_t width) : h(height), w(width) {}
  friend bool operator==(const Pair&, const Pair&) = default;
};

struct Conv2dParams {
  Pair stride = 1;
  Pair padding = 0;
  Pair dilation = 1;
  int64_t groups = 1;
};
struct Conv1dParams {
  int64_t stride = 1;
  int64_t padding = 0;
  int64_t dilation = 1;
  int64_t groups = 1;
};

struct ConvTranspose2dParams {
  Pair stride = 1;
  Pair padding = 0;
  Pair output_padding = 0;
  Pair dilation = 1;
  int64_t groups = 1;
};
struct ConvTranspose1dParams {
  int64_t stride = 1;
  int64_t padding = 0;
  int64_t output_padding = 0;
  int64_t dilation = 1;
  int64_t groups = 1;
};

// x [n, c_in, h, w], weight [c_out, c_in / groups, kh, kw], bias [c_out] or undefined -> [n, c_out, out_h, out_w] with
// out = (size + 2 padding - dilation (kernel - 1) - 1) / stride + 1. A 3-d x is one image. Floating dtypes.
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {}, const Conv2dParams& params = {});
// x [n, c_in, l], weight [c_out, c_in / groups, k] -> [n, c_out, out_l].
Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias = {}, const Conv1dParams& params = {});
// The transposed convolution: the gradient of a convolution by its input, as a layer (M. Zeiler et al.,
// "Deconvolutional networks", 2010). x [n, c_in, h, w], weight [c_in, c_out / groups, kh, kw], bias [c_out] or
// undefined
// -> [n, c_out, out_h, out_w] with
// out = (size - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1. A 3-d x is one image. ValueError
// unless output_padding is less than stride or dilation. Floating dtypes.
Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                        const ConvTranspose2dParams& params = {});
// x [n, c_in, l], weight [c_in, c_out / groups, k] -> [n, c_out, out_l].
Tensor conv_transpose1d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                        const ConvTranspose1dParams& params = {});
// The gradient of conv2d by its input, for an input of shape `x_shape`: also the transposed convolution of dy.
Tensor conv2d_input_grad(const Tensor& dy, const Tensor& weight, const Shape& x_shape, const Conv2dParams& params = {});
// The gradient of conv2d by its weight of shape `weight_shape`.
Tensor conv2d_weight_grad(const Tensor& x, const Tensor& dy, const Shape& weight_shape,
                          const Conv2dParams& params = {});

}  // namespace tenrec
