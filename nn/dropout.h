// Dropout. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
#pragma once

#include "tenrec/nn/module.h"

namespace tenrec {

// In training each element is zero with probability p and scaled by 1 / (1 - p) otherwise; in evaluation the identity.
// ValueError unless 0 <= p <= 1.
class Dropout : public Module {
 public:
  explicit Dropout(double p = 0.5);
  Tensor operator()(const Tensor& x) const;
  std::string details() const override { return concat("p = ", p_); }

 private:
  double p_;
};

}  // namespace tenrec
