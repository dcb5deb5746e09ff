#include "tenrec/nn/sequential.h"

#include "tenrec/autograd/ops/elementwise.h"

namespace tenrec {
namespace {
void visit_all(Visitor& v, std::vector<AnyModule>& modules) {
  for (size_t i = 0; i < modules.size(); ++i)
    if (Module* module = modules[i].module()) v(concat(i), *module);
}
}  // namespace

Tensor Sequential::operator()(const Tensor& x) const {
  const ModuleScope scope(*this);
  Tensor y = x;
  for (const AnyModule& layer : layers_) y = layer(y);
  return y;
}
void Sequential::visit(Visitor& v) { visit_all(v, layers_); }
void ModuleList::visit(Visitor& v) { visit_all(v, modules_); }

Tensor Residual::operator()(const Tensor& x) const {
  const ModuleScope scope(*this);
  return x + f_(x);
}
void Residual::visit(Visitor& v) {
  if (Module* module = f_.module()) v("f", *module);
}

}  // namespace tenrec
