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

void SGD::update() {
  for (size_t g = 0; g < options_.size(); ++g) {
    const SGDOptions& o = options_[g];
    const auto move = [&](const Batch& batch) {
      const kernels::SgdStep step{o.lr, o.momentum, o.dampening, o.weight_decay, o.nesterov, batch.steps == 1};
      dispatch("SGD", batch.device, [&](auto device) { kernels::sgd_step(device, batch.dtype, batch.tensors, step); });
    };
    if (o.momentum != 0)
      for_each_batch(g, {0}, 0, move);
    else
      for_each_batch(g, {}, 0, move);
  }
}

}  // namespace tenrec
