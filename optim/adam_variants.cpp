#include "tenrec/optim/adam_variants.h"

#include <cmath>

namespace tenrec {

using detail::check_option;

namespace {
template <class Options>
void check_moments(const char* name, const Options& o) {
  check_option(o.lr >= 0, name, "lr must not be negative", o.lr);
  check_option(o.beta1 >= 0 && o.beta1 < 1, name, "beta1 must lie in [0, 1)", o.beta1);
  check_option(o.beta2 >= 0 && o.beta2 < 1, name, "beta2 must lie in [0, 1)", o.beta2);
  check_option(o.eps >= 0, name, "eps must not be negative", o.eps);
  check_option(o.weight_decay >= 0, name, "weight_decay must not be negative", o.weight_decay);
}

// mu_t; 0.96 is Dozat's constant.
double nadam_momentum(const NAdamOptions& o, double step) {
  return o.beta1 * (1 - 0.5 * std::pow(0.96, step * o.momentum_decay));
}

// The factor r_t of the paper's algorithm 2, 0 where there is none yet. PyTorch's bound is 5, the paper's 4.
double rectification(double beta2, double steps, double bias_correction2) {
  const double most = 2 / (1 - beta2) - 1;
  const double length = most - 2 * steps * std::pow(beta2, steps) / bias_correction2;
  if (!(length > 5)) return 0;
  return std::sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length));
}
}  // namespace

NAdam::NAdam(const std::vector<Tensor>& params, const NAdamOptions& options)
    : NAdam(std::vector<Group>{{params, options}}) {}
NAdam::NAdam(const std::vector<Group>& groups) : GroupedOptimizer({"mean", "square"}, "mu_product") {
  for (const auto& [params, options] : groups) add_group(params, options);
}

void NAdam::check_options(const NAdamOptions& o) const {
  check_moments("NAdam", o);
  check_option(o.momentum_decay >= 0, "NAdam", "momentum_decay must not be negative", o.momentum_decay);
}

void NAdam::update() {
  for (size_t g = 0; g < options_.size(); ++g) {
    const NAdamOptions& o = options_[g];
    for (Slot* slot : slots_with_gradient(g)) slot->number *= nadam_momentum(o, double(slot->steps + 1));
    for_each_batch(g, {0, 1}, 0, [&](const Batch& batch) {
      const auto steps = double(batch.steps);
      const double mu = nadam_momentum(o, steps), next = nadam_momentum(o, steps + 1);
      const kernels::NadamStep step{o.lr,
                                    o.beta1,
                                    o.beta2,
                                    o.eps,
                                    o.weight_decay,
                                    o.decoupled_weight_decay,
                                    o.lr * (1 - mu) / (1 - batch.number),
                                    o.lr * next / (1 - batch.number * next),
                                    1 - std::pow(o.beta2, steps)};
      dispatch("NAdam", batch.device,
               [&](auto device) { kernels::nadam_step(device, batch.dtype, batch.tensors, step); });
    });
  }
}

RAdam::RAdam(const std::vector<Tensor>& params, const RAdamOptions& options)
    : RAdam(std::vector<Group>{{params, options}}) {}
RAdam::RAdam(const std::vector<Group>& groups) : GroupedOptimizer({"mean", "square"}) {
  for (const auto& [params, options] : groups) add_group(params, options);
}

void RAdam::check_options(const RAdamOptions& o) const { check_moments("RAdam", o); }

void RAdam::update() {
  for (size_t g = 0; g < options_.size(); ++g) {
    const RAdamOptions& o = options_[g];
    for_each_batch(g, {0, 1}, 0, [&](const Batch& batch) {
      const auto steps = double(batch.steps);
      const double bias2 = 1 - std::pow(o.beta2, steps);
      const kernels::RadamStep step{o.lr,
                                    o.beta1,
                                    o.beta2,
                                    o.eps,
                                    o.weight_decay,
                                    o.decoupled_weight_decay,
                                    1 - std::pow(o.beta1, steps),
                                    bias2,
                                    rectification(o.beta2, steps, bias2)};
      dispatch("RAdam", batch.device,
               [&](auto device) { kernels::radam_step(device, batch.dtype, batch.tensors, step); });
    });
  }
}

Adamax::Adamax(const std::vector<Tensor>& params, const AdamaxOptions& options)
    : Adamax(std::vector<Group>{{params, options}}) {}
Adamax::Adamax(const std::vector<Group>& groups) : GroupedOptimizer({"mean", "norm"}) {
  for (const auto& [params, options] : groups) add_group(params, options);
}

void Adamax::check_options(const AdamaxOptions& o) const { check_moments("Adamax", o); }

void Adamax::update() {
  for (size_t g = 0; g < options_.size(); ++g) {
    const AdamaxOptions& o = options_[g];
    for_each_batch(g, {0, 1}, 0, [&](const Batch& batch) {
      const kernels::AdamaxStep step{o.lr,  o.beta1,        o.beta2,
                                     o.eps, o.weight_decay, 1 - std::pow(o.beta1, double(batch.steps))};
      dispatch("Adamax", batch.device,
               [&](auto device) { kernels::adamax_step(device, batch.dtype, batch.tensors, step); });
    });
  }
}

Adadelta::Adadelta(const std::vector<Tensor>& params, const AdadeltaOptions& options)
    : Adadelta(std::vector<Group>{{params, options}}) {}
Adadelta::Adadelta(const std::vector<Group>& groups) : GroupedOptimizer({"square", "square_changes"}) {
  for (const auto& [params, options] : groups) add_group(params, options);
}

void Adadelta::check_options(const AdadeltaOptions& o) const {
  check_option(o.lr >= 0, "Adadelta", "lr must not be negative", o.lr);
  check_option(o.rho >= 0 && o.rho <= 1, "Adadelta", "rho must lie in [0, 1]", o.rho);
  check_option(o.eps >= 0, "Adadelta", "eps must not be negative", o.eps);
  check_option(o.weight_decay >= 0, "Adadelta", "weight_decay must not be negative", o.weight_decay);
}

void Adadelta::update() {
  for (size_t g = 0; g < options_.size(); ++g) {
    const AdadeltaOptions& o = options_[g];
    const kernels::AdadeltaStep step{o.lr, o.rho, o.eps, o.weight_decay};
    for_each_batch(g, {0, 1}, 0, [&](const Batch& batch) {
      dispatch("Adadelta", batch.device,
               [&](auto device) { kernels::adadelta_step(device, batch.dtype, batch.tensors, step); });
    });
  }
}

}  // namespace tenrec
