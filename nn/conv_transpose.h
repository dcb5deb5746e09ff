// Transposed convolution layers. Weights start as in PyTorch: uniform in +-1/sqrt(out / groups * kernel size).
#pragma once

#include "tenrec/autograd/ops/conv.h"
#include "tenrec/nn/module.h"

namespace tenrec {

struct ConvTranspose2dOptions {
  Pair stride = 1;
  Pair padding = 0;
  Pair output_padding = 0;
  Pair dilation = 1;
  int64_t groups = 1;
  bool bias = true;
};

// x [n, in, h, w] -> [n, out, out_h, out_w], see conv_transpose2d. weight [in, out / groups, kh, kw], bias [out].
class ConvTranspose2d : public Module {
 public:
  ConvTranspose2d(int64_t in, int64_t out, Pair kernel, const ConvTranspose2dOptions& options = {});
  Tensor operator()(const Tensor& x) const;
  void visit(Visitor& v) override;
  std::string details() const override;
  Tensor weight, bias;

 private:
  ConvTranspose2dParams params_;
};

struct ConvTranspose1dOptions {
  int64_t stride = 1;
  int64_t padding = 0;
  int64_t output_padding = 0;
  int64_t dilation = 1;
  int64_t groups = 1;
  bool bias = true;
};

// x [n, in, l] -> [n, out, out_l]. weight [in, out / groups, k], bias [out].
class ConvTranspose1d : public Module {
 public:
  ConvTranspose1d(int64_t in, int64_t out, int64_t kernel, const ConvTranspose1dOptions& options = {});
  Tensor operator()(const Tensor& x) const;
  void visit(Visitor& v) override;
  std::string details() const override;
  Tensor weight, bias;

 private:
  ConvTranspose1dParams params_;
};

}  // namespace tenrec
