#include "tenrec/nn/linear.h"

#include <cmath>

#include "tenrec/autograd/ops/matmul.h"
#include "tenrec/nn/init.h"
#include "tenrec/nn/layer_observer.h"

namespace tenrec {

Linear::Linear(int64_t in, int64_t out, LinearOptions options) {
  if (in < 0 || out < 0) fail<ValueError>("Linear: sizes must not be negative, got ", in, " and ", out);
  const double bound = in > 0 ? 1 / std::sqrt(double(in)) : 0;
  weight = init::uniform_(empty({out, in}), -bound, bound);
  weight.set_requires_grad(true);
  if (!options.bias) return;
  bias = init::uniform_(empty({out}), -bound, bound);
  bias.set_requires_grad(true);
}

Tensor Linear::operator()(const Tensor& x) const {
  const ModuleScope scope(*this);
  return detail::observed(weight, x, linear(x, weight, bias));
}

void Linear::visit(Visitor& v) {
  v("weight", weight);
  v("bias", bias);
}

std::string Linear::details() const {
  return concat(weight.shape()[1], " -> ", weight.shape()[0], bias.defined() ? "" : ", no bias");
}

}  // namespace tenrec
