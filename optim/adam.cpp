#include "tenrec/optim/adam.h"

#include <cmath>

namespace tenrec {

using detail::check_option;

Adam::Adam(const std::vector<Tensor>& params, const AdamOptions& options)
    : Adam(std::vector<Group>{{params, options}}) {}
Adam::Adam(const std::vector<Group>& groups) : Adam(groups, false) {}
Adam::Adam(const std::vector<Group>& groups, bool decoupled)
    : GroupedOptimizer({"mean", "square", "max_square"}), decoupled_(decoupled) {
  for (const auto& [params, options] : groups) add_group(params, options);
}

void Adam::check_options(const AdamOptions& o) const {
  const char* name = decoupled_ ? "AdamW" : "Adam";
  check_option(o.lr >= 0, name, "lr must not be negative", o.lr);
  check_option(o.beta1 >= 0 && o.beta1 < 1, name, "beta1 must lie in [0, 1)", o.beta1);
  check_option(o.beta2 >= 0 && o.beta2 < 1, name, "beta2 must lie in [0, 1)", o.beta2);
  check_option(o.eps >= 0, name, "eps must not be negative", o.eps);
  check_option(o.weight_decay >= 0, name, "weight_decay must not be negative", o.weight_decay);
}

void Adam::update() {
  const char* name = decoupled_ ? "AdamW" : "Adam";
  for (size_t g = 0; g < options_.size(); ++g) {
    const AdamOptions& o = options_[g];
    const auto move = [&](const Batch& batch) {
      const auto steps = double(batch.steps);
      const kernels::AdamStep step{o.lr,
                                   o.beta1,
                                   o.beta2,
                                   o.eps,
                                   o.weight_decay,
                                   decoupled_,
                                   1 - std::pow(o.beta1, steps),
                                   1 - std::pow(o.beta2, steps),
                                   o.amsgrad};
      dispatch(name, batch.device, [&](auto device) { kernels::adam_step(device, batch.dtype, batch.tensors, step); });
    };
    if (o.amsgrad)
      for_each_batch(g, {0, 1, 2}, 0, move);
    else
      for_each_batch(g, {0, 1}, 0, move);
  }
}

namespace {
std::vector<Adam::Group> as_adam(const std::vector<AdamW::Group>& groups) {
  std::vector<Adam::Group> out;
  for (const auto& [params, o] : groups)
    out.push_back({params, {o.lr, o.beta1, o.beta2, o.eps, o.weight_decay, o.amsgrad}});
  return out;
}
}  // namespace

AdamW::AdamW(const std::vector<Tensor>& params, const AdamWOptions& options)
    : AdamW(std::vector<Group>{{params, options}}) {}
AdamW::AdamW(const std::vector<Group>& groups) : Adam(as_adam(groups), true) {}

RMSprop::RMSprop(const std::vector<Tensor>& params, const RMSpropOptions& options)
    : RMSprop(std::vector<Group>{{params, options}}) {}
RMSprop::RMSprop(const std::vector<Group>& groups) : GroupedOptimizer({"square", "momentum", "mean"}) {
  for (const auto& [params, options] : groups) add_group(params, options);
}

void RMSprop::check_options(const RMSpropOptions& o) const {
  check_option(o.lr >= 0, "RMSprop", "lr must not be negative", o.lr);
  check_option(o.alpha >= 0, "RMSprop", "alpha must not be negative", o.alpha);
  check_option(o.eps >= 0, "RMSprop", "eps must not be negative", o.eps);
  check_option(o.momentum >= 0, "RMSprop", "momentum must not be negative", o.momentum);
  check_option(o.weight_decay >= 0, "RMSprop", "weight_decay must not be negative", o.weight_decay);
}

void RMSprop::update() {
  for (size_t g = 0; g < options_.size(); ++g) {
    const RMSpropOptions& o = options_[g];
    const kernels::RmspropStep step{o.lr, o.alpha, o.eps, o.weight_decay, o.momentum, o.centered};
    for_each_batch(g, {0, 1, 2}, 0, [&](const Batch& batch) {
      dispatch("RMSprop", batch.device,
               [&](auto device) { kernels::rmsprop_step(device, batch.dtype, batch.tensors, step); });
    });
  }
}

Adagrad::Adagrad(const std::vector<Tensor>& params, const AdagradOptions& options)
    : Adagrad(std::vector<Group>{{params, options}}) {}
Adagrad::Adagrad(const std::vector<Group>& groups) : GroupedOptimizer({"sum"}) {
  for (const auto& [params, options] : groups) add_group(params, options);
}

void Adagrad::check_options(const AdagradOptions& o) const {
  check_option(o.lr >= 0, "Adagrad", "lr must not be negative", o.lr);
  check_option(o.lr_decay >= 0, "Adagrad", "lr_decay must not be negative", o.lr_decay);
  check_option(o.eps >= 0, "Adagrad", "eps must not be negative", o.eps);
  check_option(o.weight_decay >= 0, "Adagrad", "weight_decay must not be negative", o.weight_decay);
  check_option(o.initial_accumulator_value >= 0, "Adagrad", "initial_accumulator_value must not be negative",
               o.initial_accumulator_value);
}

void Adagrad::update() {
  for (size_t g = 0; g < options_.size(); ++g) {
    const AdagradOptions& o = options_[g];
    for_each_batch(g, {0}, o.initial_accumulator_value, [&](const Batch& batch) {
      const kernels::AdagradStep step{o.lr / (1 + double(batch.steps - 1) * o.lr_decay), o.eps, o.weight_decay};
      dispatch("Adagrad", batch.device,
               [&](auto device) { kernels::adagrad_step(device, batch.dtype, batch.tensors, step); });
    });
  }
}

}  // namespace tenrec
