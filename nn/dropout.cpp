#include "tenrec/nn/dropout.h"

#include "tenrec/autograd/ops.h"

namespace tenrec {

Dropout::Dropout(double p) : p_(p) {
  if (!(p >= 0 && p <= 1)) fail<ValueError>("Dropout: p must lie in [0, 1], got ", p);
}

Tensor Dropout::operator()(const Tensor& x) const {
  const ModuleScope scope(*this);
  return is_training() ? dropout(x, p_) : x;
}

}  // namespace tenrec
