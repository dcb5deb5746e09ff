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

// --- schedules as functions of the base rate and the steps ----------------------------------------------------------

namespace {

double half_cosine(double from, double to, double t) {
  return to + (from - to) * (1 + std::cos(std::numbers::pi * t)) / 2;
}

void check_options(const StepLROptions& o) { check(o.step_size > 0, "StepLR: step_size must be positive"); }
double rate_of(const StepLROptions& o, double base, int64_t steps) {
  return base * std::pow(o.gamma, double(steps / o.step_size));
}

void check_options(const MultiStepLROptions& o) {
  check(std::is_sorted(o.milestones.begin(), o.milestones.end()), "MultiStepLR: milestones must rise");
}
double rate_of(const MultiStepLROptions& o, double base, int64_t steps) {
  const auto& m = o.milestones;
  return base * std::pow(o.gamma, double(std::upper_bound(m.begin(), m.end(), steps) - m.begin()));
}

void check_options(const CosineAnnealingLROptions& o) {
  check(o.t_max > 0, "CosineAnnealingLR: t_max must be positive");
}
double rate_of(const CosineAnnealingLROptions& o, double base, int64_t steps) {
  return half_cosine(base, o.eta_min, double(steps) / double(o.t_max));
}

void check_options(const ExponentialLROptions& o) { check(o.gamma > 0, "ExponentialLR: gamma must be positive"); }
double rate_of(const ExponentialLROptions& o, double base, int64_t steps) {
  return base * std::pow(o.gamma, double(steps));
}

void check_options(const CosineAnnealingWarmRestartsOptions& o) {
  check(o.t_0 > 0, "CosineAnnealingWarmRestarts: t_0 must be positive");
  check(o.t_mult > 0, "CosineAnnealingWarmRestarts: t_mult must be positive");
}
double rate_of(const CosineAnnealingWarmRestartsOptions& o, double base, int64_t steps) {
  int64_t length = o.t_0, at = steps;
  if (o.t_mult == 1) {
    at %= length;
  } else {
    for (; at >= length; length *= o.t_mult) at -= length;
  }
  return half_cosine(base, o.eta_min, double(at) / double(length));
}

void check_options(const PolynomialLROptions& o) {
  check(o.total_steps > 0, "PolynomialLR: total_steps must be positive");
}
double rate_of(const PolynomialLROptions& o, double base, int64_t steps) {
  const int64_t left = o.total_steps - std::min(steps, o.total_steps);
  return base * std::pow(double(left) / double(o.total_steps), o.power);
}

void check_options(const ConstantLROptions& o) {
  check(o.total_steps >= 0, "ConstantLR: total_steps must not be negative");
  check(o.factor >= 0 && o.factor <= 1, "ConstantLR: factor must lie in [0, 1]");
}
double rate_of(const ConstantLROptions& o, double base, int64_t steps) {
  return steps < o.total_steps ? base * o.factor : base;
}

void check_options(const LambdaLROptions& o) { check(bool(o.factor), "LambdaLR: there is no function"); }
double rate_of(const LambdaLROptions& o, double base, int64_t steps) { return base * o.factor(steps); }

void check_options(const NoamLROptions& o) {
  check(o.d_model > 0, "NoamLR: d_model must be positive");
  check(o.warmup_steps > 0, "NoamLR: warmup_steps must be positive");
}
double rate_of(const NoamLROptions& o, double base, int64_t steps) {
  const double n = double(steps) + 1;
  return base / std::sqrt(double(o.d_model)) * std::min(1 / std::sqrt(n), n * std::pow(double(o.warmup_steps), -1.5));
}

void check_options(const WarmupStableDecayLROptions& o) {
  check(o.warmup_steps >= 0 && o.stable_steps >= 0, "WarmupStableDecayLR: steps must not be negative");
  check(o.decay_steps > 0, "WarmupStableDecayLR: decay_steps must be positive");
  check(o.min_factor >= 0, "WarmupStableDecayLR: min_factor must not be negative");
}
double rate_of(const WarmupStableDecayLROptions& o, double base, int64_t steps) {
  if (steps < o.warmup_steps) return base * double(steps) / double(o.warmup_steps);
  const int64_t at = std::clamp<int64_t>(steps - o.warmup_steps - o.stable_steps, 0, o.decay_steps);
  const double t = double(at) / double(o.decay_steps);
  const double left = o.shape == DecayShape::linear   ? 1 - t
                      : o.shape == DecayShape::cosine ? half_cosine(1, 0, t)
                                                      : 1 - std::sqrt(t);
  return base * (o.min_factor + (1 - o.min_factor) * left);
}

void check_options(const LinearLROptions& o) {
  check(o.total_steps > 0, "LinearLR: total_steps must be positive");
  check(o.start_factor > 0, "LinearLR: start_factor must be positive");
}
double rate_of(const LinearLROptions& o, double base, int64_t steps) {
  const double t = std::min(1.0, double(steps) / double(o.total_steps));
  return base * (o.start_factor + (o.end_factor - o.start_factor) * t);
}

void check_options(const OneCycleLROptions& o) {
  check(o.total_steps > 0, "OneCycleLR: total_steps must be positive");
  check(o.pct_start >= 0 && o.pct_start <= 1, "OneCycleLR: pct_start must lie in [0, 1]");
  check(o.max_lr > 0 && o.div_factor > 0 && o.final_div_factor > 0,
        "OneCycleLR: max_lr and the divisors must be positive");
}
// The base rate is max_lr.
double rate_of(const OneCycleLROptions& o, double base, int64_t steps) {
  const double peak = o.pct_start * double(o.total_steps) - 1, last = double(o.total_steps) - 1;
  const double at = std::min(double(steps), last), first = 1 / o.div_factor;
  if (at <= peak) return base * half_cosine(first, 1, peak > 0 ? at / peak : 1);
  return base * half_cosine(1, first / o.final_div_factor, last > peak ? (at - peak) / (last - peak) : 1);
}

template <class Options>
std::function<double(double, int64_t)> checked_rate(const Options& options) {
  check_options(options);
  return [options](double base, int64_t steps) { return rate_of(options, base, steps); };
}

}  // namespace

StepLR::StepLR(Optimizer& optimizer, const StepLROptions& options) : Scheduler(optimizer), options_(options) {
  check_options(options);
  apply();
}
double StepLR::rate(double base, int64_t steps) const { return rate_of(options_, base, steps); }

MultiStepLR::MultiStepLR(Optimizer& optimizer, const MultiStepLROptions& options)
    : Scheduler(optimizer), options_(options) {
  check_options(options);
  apply();
}
double MultiStepLR::rate(double base, int64_t steps) const { return rate_of(options_, base, steps); }

CosineAnnealingLR::CosineAnnealingLR(Optimizer& optimizer, const CosineAnnealingLROptions& options)
    : Scheduler(optimizer), options_(options) {
  check_options(options);
  apply();
}
double CosineAnnealingLR::rate(double base, int64_t steps) const { return rate_of(options_, base, steps); }

ExponentialLR::ExponentialLR(Optimizer& optimizer, const ExponentialLROptions& options)
    : Scheduler(optimizer), options_(options) {
  check_options(options);
  apply();
}
double ExponentialLR::rate(double base, int64_t steps) const { return rate_of(options_, base, steps); }

CosineAnnealingWarmRestarts::CosineAnnealingWarmRestarts(Optimizer& optimizer,
                                                         const CosineAnnealingWarmRestartsOptions& options)
    : Scheduler(optimizer), options_(options) {
  check_options(options);
  apply();
}
double CosineAnnealingWarmRestarts::rate(double base, int64_t steps) const { return rate_of(options_, base, steps); }

PolynomialLR::PolynomialLR(Optimizer& optimizer, const PolynomialLROptions& options)
    : Scheduler(optimizer), options_(options) {
  check_options(options);
  apply();
}
double PolynomialLR::rate(double base, int64_t steps) const { return rate_of(options_, base, steps); }

ConstantLR::ConstantLR(Optimizer& optimizer, const ConstantLROptions& options)
    : Scheduler(optimizer), options_(options) {
  check_options(options);
  apply();
}
double ConstantLR::rate(double base, int64_t steps) const { return rate_of(options_, base, steps); }

LambdaLR::LambdaLR(Optimizer& optimizer, LambdaLROptions options) : Scheduler(optimizer), options_(std::move(options)) {
  check_options(options_);
  apply();
}
double LambdaLR::rate(double base, int64_t steps) const { return rate_of(options_, base, steps); }

NoamLR::NoamLR(Optimizer& optimizer, const NoamLROptions& options) : Scheduler(optimizer), options_(options) {
  check_options(options);
  apply();
}
double NoamLR::rate(double base, int64_t steps) const { return rate_of(options_, base, steps); }

WarmupStableDecayLR::WarmupStableDecayLR(Optimizer& optimizer, const WarmupStableDecayLROptions& options)
    : Scheduler(optimizer), options_(options) {
  check_options(options);
  apply();
}
double WarmupStableDecayLR::rate(double base, int64_t steps) const { return rate_of(options_, base, steps); }

LinearLR::LinearLR(Optimizer& optimizer, const LinearLROptions& options) : Scheduler(optimizer), options_(options) {
  check_options(options);
  apply();
}
double LinearLR::rate(double base, int64_t steps) const { return rate_of(options_, base, steps); }

OneCycleLR::OneCycleLR(Optimizer& optimizer, const OneCycleLROptions& options)
    : Scheduler(optimizer), options_(options) {
  check_options(options);
  for (double& base : base_rates_) base = options.max_lr;
  apply();
}
double OneCycleLR::rate(double base, int64_t steps) const { return rate_of(options_, base, steps); }

// --- schedules made of others ---------------------------------------------------------------------------------------

SchedulePart::Rate SchedulePart::part(const StepLROptions& options) { return checked_rate(options); }
SchedulePart::Rate SchedulePart::part(const MultiStepLROptions& options) { return checked_rate(options); }
SchedulePart::Rate SchedulePart::part(const CosineAnnealingLROptions& options) { return checked_rate(options); }
SchedulePart::Rate SchedulePart::part(const ExponentialLROptions& options) { return checked_rate(options); }
SchedulePart::Rate SchedulePart::part(const CosineAnnealingWarmRestartsOptions& options) {
  return checked_rate(options);
}
SchedulePart::Rate SchedulePart::part(const PolynomialLROptions& options) { return checked_rate(options); }
SchedulePart::Rate SchedulePart::part(const ConstantLROptions& options) { return checked_rate(options); }
SchedulePart::Rate SchedulePart::part(const LambdaLROptions& options) { return checked_rate(options); }
SchedulePart::Rate SchedulePart::part(const NoamLROptions& options) { return checked_rate(options); }
SchedulePart::Rate SchedulePart::part(const WarmupStableDecayLROptions& options) { return checked_rate(options); }
SchedulePart::Rate SchedulePart::part(const LinearLROptions& options) { return checked_rate(options); }
SchedulePart::Rate SchedulePart::part(const OneCycleLROptions& options) {
  return [rate = checked_rate(options), most = options.max_lr](double, int64_t steps) { return rate(most, steps); };
}

SequentialLR::SequentialLR(Optimizer& optimizer, std::vector<SchedulePart> parts, std::vector<int64_t> milestones)
    : Scheduler(optimizer), parts_(std::move(parts)), milestones_(std::move(milestones)) {
  if (parts_.size() != milestones_.size() + 1)
    fail<ValueError>("SequentialLR: expected one milestone less than schedules, got ", milestones_.size(), " and ",
                     parts_.size());
  check(std::is_sorted(milestones_.begin(), milestones_.end()), "SequentialLR: milestones must rise");
  apply();
}
double SequentialLR::rate(double base, int64_t steps) const {
  const auto part = size_t(std::upper_bound(milestones_.begin(), milestones_.end(), steps) - milestones_.begin());
  return parts_[part](base, part == 0 ? steps : steps - milestones_[part - 1]);
}

ChainedScheduler::ChainedScheduler(Optimizer& optimizer, std::vector<SchedulePart> parts)
    : Scheduler(optimizer), parts_(std::move(parts)) {
  check(!parts_.empty(), "ChainedScheduler: there are no schedules");
  apply();
}
double ChainedScheduler::rate(double base, int64_t steps) const {
  if (base == 0) return 0;
  double rate = base;
  for (const SchedulePart& part : parts_) rate *= part(base, steps) / base;
  return rate;
}

// --- a metric decides -----------------------------------------------------------------------------------------------

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
