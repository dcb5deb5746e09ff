// Convolution layers. Weights start as in PyTorch: uniform in +-1/sqrt(fan_in).
#pragma once

#include "tenrec/autograd/ops/conv.h"
#include "tenrec/nn/module.h"

namespace tenrec {

struct Conv2dOptions {
  Pair stride = 1;
  Pair padding = 0;
  Pair dilation = 1;
  int64_t groups = 1;
  bool bias = true;
};

// x [n, in, h, w] -> [n, out, out_h, out_w]. weight [out, in / groups, kh, kw], bias [out].
class Conv2d : public Module {
 public:
  Conv2d(int64_t in, int64_t out, Pair kernel, const Conv2dOptions& options = {});
  Tensor operator()(const Tensor& x) const;
  void visit(Visitor& v) override;
  std::string details() const override;
  Tensor weight, bias;

 private:
  Conv2dParams params_;
};

struct Conv1dOptions {
  int64_t stride = 1;
  int64_t padding = 0;
  int64_t dilation = 1;
  int64_t groups = 1;
  bool bias = true;
};

// x [n, in, l] -> [n, out, out_l]. weight [out, in / groups, k], bias [out].
class Conv1d : public Module {
 public:
  Conv1d(int64_t in, int64_t out, int64_t kernel, const Conv1dOptions& options = {});
  Tensor operator()(const Tensor& x) const;
  void visit(Visitor& v) override;
  std::string details() const override;
  Tensor weight, bias;

 private:
  Conv1dParams params_;
};

}  // namespace tenrec
