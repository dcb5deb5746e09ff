#include "tenrec/optim/lamb.h"

#include <cmath>

namespace tenrec {

using detail::check_option;

LAMB::LAMB(const std::vector<Tensor>& params, const LAMBOptions& options)
    : LAMB(std::vector<Group>{{params, options}}) {}
LAMB::LAMB(const std::vector<Group>& groups) : GroupedOptimizer({"mean", "square"}) {
  for (const auto& [params, options] : groups) add_group(params, options);
}

void LAMB::check_options(const LAMBOptions& o) const {
  check_option(o.lr >= 0, "LAMB", "lr must not be negative", o.lr);
  check_option(o.beta1 >= 0 && o.beta1 < 1, "LAMB", "beta1 must lie in [0, 1)", o.beta1);
  check_option(o.beta2 >= 0 && o.beta2 < 1, "LAMB", "beta2 must lie in [0, 1)", o.beta2);
  check_option(o.eps >= 0, "LAMB", "eps must not be negative", o.eps);
  check_option(o.weight_decay >= 0, "LAMB", "weight_decay must not be negative", o.weight_decay);
  check_option(o.phi_min >= 0, "LAMB", "phi_min must not be negative", o.phi_min);
  check_option(o.phi_max >= o.phi_min, "LAMB", "phi_max must not be below phi_min", o.phi_max);
}

void LAMB::update() {
  for (size_t g = 0; g < options_.size(); ++g) {
    const LAMBOptions& o = options_[g];
    for_each_batch(g, {0, 1}, 0, [&](const Batch& batch) {
      const auto steps = double(batch.steps);
      const kernels::LambStep step{o.lr,
                                   o.beta1,
                                   o.beta2,
                                   o.eps,
                                   o.weight_decay,
                                   1 - std::pow(o.beta1, steps),
                                   1 - std::pow(o.beta2, steps),
                                   o.phi_min,
                                   o.phi_max};
      dispatch("LAMB", batch.device,
               [&](auto device) { kernels::lamb_step(device, batch.dtype, batch.tensors, step); });
    });
  }
}

}  // namespace tenrec
