#include "tenrec/optim/sign.h"

namespace tenrec {

using detail::check_option;

Rprop::Rprop(const std::vector<Tensor>& params, const RpropOptions& options)
    : Rprop(std::vector<Group>{{params, options}}) {}
Rprop::Rprop(const std::vector<Group>& groups) : GroupedOptimizer({"gradient", "step_size"}) {
  for (const auto& [params, options] : groups) add_group(params, options);
}

void Rprop::check_options(const RpropOptions& o) const {
  check_option(o.lr >= 0, "Rprop", "lr must not be negative", o.lr);
  check_option(o.eta_minus > 0 && o.eta_minus < 1, "Rprop", "eta_minus must lie in (0, 1)", o.eta_minus);
  check_option(o.eta_plus > 1, "Rprop", "eta_plus must be above 1", o.eta_plus);
  check_option(o.step_min >= 0, "Rprop", "step_min must not be negative", o.step_min);
  check_option(o.step_max >= o.step_min, "Rprop", "step_max must not be below step_min", o.step_max);
}

void Rprop::update() {
  for (size_t g = 0; g < options_.size(); ++g) {
    const RpropOptions& o = options_[g];
    const kernels::RpropStep step{o.eta_minus, o.eta_plus, o.step_min, o.step_max};
    for (Slot* slot : slots_with_gradient(g)) ensure_state(*slot, 1, o.lr);
    for_each_batch(g, {0, 1}, 0, [&](const Batch& batch) {
      dispatch("Rprop", batch.device,
               [&](auto device) { kernels::rprop_step(device, batch.dtype, batch.tensors, step); });
    });
  }
}

Lion::Lion(const std::vector<Tensor>& params, const LionOptions& options)
    : Lion(std::vector<Group>{{params, options}}) {}
Lion::Lion(const std::vector<Group>& groups) : GroupedOptimizer({"momentum"}) {
  for (const auto& [params, options] : groups) add_group(params, options);
}

void Lion::check_options(const LionOptions& o) const {
  check_option(o.lr >= 0, "Lion", "lr must not be negative", o.lr);
  check_option(o.beta1 >= 0 && o.beta1 < 1, "Lion", "beta1 must lie in [0, 1)", o.beta1);
  check_option(o.beta2 >= 0 && o.beta2 < 1, "Lion", "beta2 must lie in [0, 1)", o.beta2);
  check_option(o.weight_decay >= 0, "Lion", "weight_decay must not be negative", o.weight_decay);
}

void Lion::update() {
  for (size_t g = 0; g < options_.size(); ++g) {
    const LionOptions& o = options_[g];
    const kernels::LionStep step{o.lr, o.beta1, o.beta2, o.weight_decay};
    for_each_batch(g, {0}, 0, [&](const Batch& batch) {
      dispatch("Lion", batch.device,
               [&](auto device) { kernels::lion_step(device, batch.dtype, batch.tensors, step); });
    });
  }
}

}  // namespace tenrec
