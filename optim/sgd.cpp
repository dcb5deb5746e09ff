#include "tenrec/optim/sgd.h"

namespace tenrec {

SGD::SGD(const std::vector<Tensor>& params, const SGDOptions& options) : SGD(std::vector<Group>{{params, options}}) {}
SGD::SGD(const std::vector<Group>& groups) : GroupedOptimizer({"momentum"}) {
  for (const auto& [params, options] : groups) add_group(params, options);
}

void SGD::check_options(const SGDOptions& o) const {
  detail::check_option(o.lr >= 0, "SGD", "lr must not be negative", o.lr);
  detail::check_option(o.momentum >= 0, "SGD", "momentum must not be negative", o.momentum);
  detail::check_option(o.weight_decay >= 0, "SGD", "weight_decay must not be negative", o.weight_decay);
  detail::check_option(!o.nesterov || (o.momentum > 0 && o.dampening == 0), "SGD",
                       "nesterov needs a momentum and no dampening; momentum", o.momentum);
}

void SGD::step() {
  for (size_t g = 0; g < options_.size(); ++g) {
    const SGDOptions& o = options_[g];
    const auto update = [&](DType dtype, std::span<const kernels::OptimTensor> tensors, int64_t steps) {
      kernels::sgd_step(Cpu{}, dtype, tensors, {o.lr, o.momentum, o.dampening, o.weight_decay, o.nesterov, steps == 1});
    };
    if (o.momentum != 0)
      for_each_batch(g, {0}, 0, update);
    else
      for_each_batch(g, {}, 0, update);
  }
}

}  // namespace tenrec
