#include "tenrec/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "tenrec/autograd/ops/creation.h"
#include "tenrec/core/step_graph.h"

namespace tenrec {
namespace {

double number(const std::vector<NamedTensor>& state, const std::string& name) {
  for (const NamedTensor& entry : state)
    if (entry.name == name) return entry.tensor.item<double>();
  fail<ValueError>("scheduler: the saved state has no ", name);
}
NamedTensor named(const char* name, double value) { return {name, scalar(value, {.dtype = f64})}; }

void check(bool ok, const char* message) {
  if (!ok) fail<ValueError>(message);
}

}  // namespace

Scheduler::Scheduler(Optimizer& optimizer) : optimizer_(optimizer) {
  for (size_t g = 0; g < optimizer.group_count(); ++g) base_rates_.push_back(optimizer.lr(g));
}

void Scheduler::apply() {
  for (size_t g = 0; g < base_rates_.size(); ++g) optimizer_.set_lr(rate(base_rates_[g], steps_), g);
}

void Scheduler::step() {
  const auto forward = [this] {
    ++steps_;
    apply();
  };
  cuda::detail::repeat_on_replay(forward, [this] {
    return [this, steps = steps_] {
      steps_ = steps;
      apply();
    };
  });
}

std::vector<NamedTensor> Scheduler::state_dict() const {
  return {named("steps", double(steps_)), {"base_rates", from_vector(base_rates_, {int64_t(base_rates_.size())})}};
}

void Scheduler::load_state_dict(const std::vector<NamedTensor>& state) {
  const double steps = number(state, "steps");
  for (const NamedTensor& entry : state) {
    if (entry.name != "base_rates") continue;
    if (entry.tensor.numel() != int64_t(base_rates_.size()))
      fail<ValueError>("scheduler: the saved state has ", entry.tensor.numel(), " groups, the optimizer ",
                       base_rates_.size());
    base_rates_ = entry.tensor.to_vector<double>();
    steps_ = int64_t(steps);
    apply();
    return;
  }
  fail<ValueError>("scheduler: the saved state has no base_rates");
}

StepLR::StepLR(Optimizer& optimizer, const StepLROptions& options) : Scheduler(optimizer), options_(options) {
  check(options.step_size > 0, "StepLR: step_size must be positive");
  apply();
}
double StepLR::rate(double base, int64_t steps) const {
  return base * std::pow(options_.gamma, double(steps / options_.step_size));
}

MultiStepLR::MultiStepLR(Optimizer& optimizer, const MultiStepLROptions& options)
    : Scheduler(optimizer), options_(options) {
  check(std::is_sorted(options.milestones.begin(), options.milestones.end()), "MultiStepLR: milestones must rise");
  apply();
}
double MultiStepLR::rate(double base, int64_t steps) const {
  const auto& m = options_.milestones;
  return base * std::pow(options_.gamma, double(std::upper_bound(m.begin(), m.end(), steps) - m.begin()));
}

CosineAnnealingLR::CosineAnnealingLR(Optimizer& optimizer, const CosineAnnealingLROptions& options)
    : Scheduler(optimizer), options_(options) {
  check(options.t_max > 0, "CosineAnnealingLR: t_max must be positive");
  apply();
}
double CosineAnnealingLR::rate(double base, int64_t steps) const {
  const double low = options_.eta_min;
  return low + (base - low) * (1 + std::cos(std::numbers::pi * double(steps) / double(options_.t_max))) / 2;
}

LinearLR::LinearLR(Optimizer& optimizer, const LinearLROptions& options) : Scheduler(optimizer), options_(options) {
  check(options.total_steps > 0, "LinearLR: total_steps must be positive");
  check(options.start_factor > 0, "LinearLR: start_factor must be positive");
  apply();
}
double LinearLR::rate(double base, int64_t steps) const {
  const double t = std::min(1.0, double(steps) / double(options_.total_steps));
  return base * (options_.start_factor + (options_.end_factor - options_.start_factor) * t);
}

OneCycleLR::OneCycleLR(Optimizer& optimizer, const OneCycleLROptions& options)
    : Scheduler(optimizer), options_(options) {
  check(options.total_steps > 0, "OneCycleLR: total_steps must be positive");
  check(options.pct_start >= 0 && options.pct_start <= 1, "OneCycleLR: pct_start must lie in [0, 1]");
  check(options.max_lr > 0 && options.div_factor > 0 && options.final_div_factor > 0,
        "OneCycleLR: max_lr and the divisors must be positive");
  for (double& base : base_rates_) base = options.max_lr;
  apply();
}
double OneCycleLR::rate(double base, int64_t steps) const {
  const auto cosine = [](double from, double to, double t) {
    return to + (from - to) * (1 + std::cos(std::numbers::pi * t)) / 2;
  };
  const double peak = options_.pct_start * double(options_.total_steps) - 1, last = double(options_.total_steps) - 1;
  const double at = std::min(double(steps), last), first = 1 / options_.div_factor;
  if (at <= peak) return base * cosine(first, 1, peak > 0 ? at / peak : 1);
  return base * cosine(1, first / options_.final_div_factor, last > peak ? (at - peak) / (last - peak) : 1);
}

ReduceLROnPlateau::ReduceLROnPlateau(Optimizer& optimizer, const ReduceLROnPlateauOptions& options)
    : optimizer_(optimizer), options_(options), best_(std::numeric_limits<double>::infinity()) {
  check(options.factor > 0 && options.factor < 1, "ReduceLROnPlateau: factor must lie in (0, 1)");
  check(options.patience >= 0, "ReduceLROnPlateau: patience must not be negative");
  if (!options.minimize) best_ = -best_;
}

void ReduceLROnPlateau::step(double metric) {
  const bool better = options_.minimize ? metric < best_ * (1 - (std::isfinite(best_) ? options_.threshold : 0))
                                        : metric > best_ * (1 + (std::isfinite(best_) ? options_.threshold : 0));
  if (better) {
    best_ = metric;
    bad_steps_ = 0;
  } else {
    ++bad_steps_;
  }
  if (cooldown_left_ > 0) {
    --cooldown_left_;
    bad_steps_ = 0;
  }
  if (bad_steps_ <= options_.patience) return;
  for (size_t g = 0; g < optimizer_.group_count(); ++g)
    optimizer_.set_lr(std::max(optimizer_.lr(g) * options_.factor, options_.min_lr), g);
  cooldown_left_ = options_.cooldown;
  bad_steps_ = 0;
}

std::vector<NamedTensor> ReduceLROnPlateau::state_dict() const {
  return {named("best", best_), named("bad_steps", double(bad_steps_)), named("cooldown", double(cooldown_left_))};
}
void ReduceLROnPlateau::load_state_dict(const std::vector<NamedTensor>& state) {
  best_ = number(state, "best");
  bad_steps_ = int64_t(number(state, "bad_steps"));
  cooldown_left_ = int64_t(number(state, "cooldown"));
}

}  // namespace tenrec
