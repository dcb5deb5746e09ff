// Fully connected layers.
#pragma once

#include "tenrec/nn/module.h"

namespace tenrec {

struct LinearOptions {
  bool bias = true;
};

// y = x weight^T + bias. x [..., in], weight [out, in], bias [out]. Both start uniform in +-1/sqrt(in), as in PyTorch.
class Linear : public Module {
 public:
  Linear(int64_t in, int64_t out, LinearOptions options = {});
  Tensor operator()(const Tensor& x) const;
  void visit(Visitor& v) override;
  std::string details() const override;
  Tensor weight, bias;
};

// Returns its input.
class Identity : public Module {
 public:
  Tensor operator()(const Tensor& x) const { return x; }
};

}  // namespace tenrec
