// Learning rate schedules. Each sets the rate of every group of its optimizer from the group's rate at construction and
// the number of steps so far; `step()` goes on by one. Formulas and names of torch.optim.lr_scheduler.
//
//   CosineAnnealingLR schedule(optimizer, {.t_max = 100});
//   SequentialLR schedule(optimizer, {LinearLROptions{.start_factor = 0.01, .total_steps = 10},
//                                     CosineAnnealingLROptions{.t_max = 90}}, {10});
//
// A rate is a function of the base rate and the number of steps alone. So schedules are put together from their
// options, and the state of all but ReduceLROnPlateau is the base rates and that number.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "tenrec/optim/optimizer.h"

namespace tenrec {

class Scheduler {
 public:
  virtual ~Scheduler() = default;
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Call after the optimizer's step, once per epoch or per batch as the schedule is meant.
  void step();
  int64_t steps() const { return steps_; }
  virtual std::vector<NamedTensor> state_dict() const;
  virtual void load_state_dict(const std::vector<NamedTensor>& state);

 protected:
  explicit Scheduler(Optimizer& optimizer);
  // The rate of a group that began at `base`, after `steps` steps.
  virtual double rate(double base, int64_t steps) const = 0;
  // Sets the rates for the current step; constructors of subclasses end with it.
  void apply();

  Optimizer& optimizer_;
  std::vector<double> base_rates_;
  int64_t steps_ = 0;
};

// times gamma every `step_size` steps.
struct StepLROptions {
  int64_t step_size = 1;
  double gamma = 0.1;
};
class StepLR : public Scheduler {
 public:
  StepLR(Optimizer& optimizer, const StepLROptions& options);

 private:
  double rate(double base, int64_t steps) const override;
  StepLROptions options_;
};

// times gamma at each milestone.
struct MultiStepLROptions {
  std::vector<int64_t> milestones;
  double gamma = 0.1;
};
class MultiStepLR : public Scheduler {
 public:
  MultiStepLR(Optimizer& optimizer, const MultiStepLROptions& options);

 private:
  double rate(double base, int64_t steps) const override;
  MultiStepLROptions options_;
};

// From the base rate to eta_min along half a cosine in t_max steps. Loshchilov and Hutter, "SGDR", 2017.
struct CosineAnnealingLROptions {
  int64_t t_max = 1;
  double eta_min = 0;
};
class CosineAnnealingLR : public Scheduler {
 public:
  CosineAnnealingLR(Optimizer& optimizer, const CosineAnnealingLROptions& options);

 private:
  double rate(double base, int64_t steps) const override;
  CosineAnnealingLROptions options_;
};

// times gamma every step.
struct ExponentialLROptions {
  double gamma = 0.1;
};
class ExponentialLR : public Scheduler {
 public:
  ExponentialLR(Optimizer& optimizer, const ExponentialLROptions& options);

 private:
  double rate(double base, int64_t steps) const override;
  ExponentialLROptions options_;
};

// Half a cosine from the base rate to eta_min again and again, the first time in t_0 steps, then each time in t_mult
// times as many. Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.
struct CosineAnnealingWarmRestartsOptions {
  int64_t t_0 = 1;
  int64_t t_mult = 1;
  double eta_min = 0;
};
class CosineAnnealingWarmRestarts : public Scheduler {
 public:
  CosineAnnealingWarmRestarts(Optimizer& optimizer, const CosineAnnealingWarmRestartsOptions& options);

 private:
  double rate(double base, int64_t steps) const override;
  CosineAnnealingWarmRestartsOptions options_;
};

// times (1 - steps / total_steps)^power, 0 after total_steps.
struct PolynomialLROptions {
  int64_t total_steps = 5;
  double power = 1;
};
class PolynomialLR : public Scheduler {
 public:
  PolynomialLR(Optimizer& optimizer, const PolynomialLROptions& options = {});

 private:
  double rate(double base, int64_t steps) const override;
  PolynomialLROptions options_;
};

// times `factor` for the first total_steps.
struct ConstantLROptions {
  double factor = 1.0 / 3;
  int64_t total_steps = 5;
};
class ConstantLR : public Scheduler {
 public:
  ConstantLR(Optimizer& optimizer, const ConstantLROptions& options = {});

 private:
  double rate(double base, int64_t steps) const override;
  ConstantLROptions options_;
};

// times factor(steps). The function is not saved; it must depend on its argument alone.
struct LambdaLROptions {
  std::function<double(int64_t)> factor;
};
class LambdaLR : public Scheduler {
 public:
  LambdaLR(Optimizer& optimizer, LambdaLROptions options);

 private:
  double rate(double base, int64_t steps) const override;
  LambdaLROptions options_;
};

// times d_model^-0.5 min(n^-0.5, n warmup_steps^-1.5), n = steps + 1: up in a straight line, then down by the root.
// The base rate is the paper's factor, 1 there. Vaswani et al., "Attention is all you need", 2017, section 5.3.
struct NoamLROptions {
  int64_t d_model = 512;
  int64_t warmup_steps = 4000;
};
class NoamLR : public Scheduler {
 public:
  NoamLR(Optimizer& optimizer, const NoamLROptions& options = {});

 private:
  double rate(double base, int64_t steps) const override;
  NoamLROptions options_;
};

// Up from 0 in a straight line over warmup_steps, the base rate for stable_steps, then down to min_factor times it over
// decay_steps, and constant from there. Hu et al., "MiniCPM", 2024. The decay is a line, half a cosine, or 1 - sqrt,
// which Hägele et al., "Scaling laws and compute-optimal training beyond fixed training durations", 2024, found best.
enum class DecayShape { linear, cosine, one_minus_sqrt };
struct WarmupStableDecayLROptions {
  int64_t warmup_steps = 0;
  int64_t stable_steps = 0;
  int64_t decay_steps = 1;
  double min_factor = 0;
  DecayShape shape = DecayShape::linear;
};
class WarmupStableDecayLR : public Scheduler {
 public:
  WarmupStableDecayLR(Optimizer& optimizer, const WarmupStableDecayLROptions& options);

 private:
  double rate(double base, int64_t steps) const override;
  WarmupStableDecayLROptions options_;
};

// From start_factor to end_factor in a straight line over total_steps, constant afterwards.
struct LinearLROptions {
  double start_factor = 1.0 / 3;
  double end_factor = 1;
  int64_t total_steps = 5;
};
class LinearLR : public Scheduler {
 public:
  LinearLR(Optimizer& optimizer, const LinearLROptions& options = {});

 private:
  double rate(double base, int64_t steps) const override;
  LinearLROptions options_;
};

// Up from max_lr / div_factor to max_lr in the first pct_start of total_steps, then down to
// max_lr / div_factor / final_div_factor, both along a cosine. Smith and Topin, "Super-convergence", 2018. One step per
// batch. The rate is changed, momentum is left alone.
struct OneCycleLROptions {
  double max_lr = 0.1;
  int64_t total_steps = 1;
  double pct_start = 0.3;
  double div_factor = 25;
  double final_div_factor = 1e4;
};
class OneCycleLR : public Scheduler {
 public:
  OneCycleLR(Optimizer& optimizer, const OneCycleLROptions& options);

 private:
  double rate(double base, int64_t steps) const override;
  OneCycleLROptions options_;
};

// One schedule as a part of others: made of the options of any of those above.
class SchedulePart {
 public:
  template <class Options>
  SchedulePart(const Options& options)  // NOLINT(google-explicit-constructor)
      : rate_(part(options)) {}
  double operator()(double base, int64_t steps) const { return rate_(base, steps); }

 private:
  using Rate = std::function<double(double, int64_t)>;
  static Rate part(const StepLROptions& options);
  static Rate part(const MultiStepLROptions& options);
  static Rate part(const CosineAnnealingLROptions& options);
  static Rate part(const ExponentialLROptions& options);
  static Rate part(const CosineAnnealingWarmRestartsOptions& options);
  static Rate part(const PolynomialLROptions& options);
  static Rate part(const ConstantLROptions& options);
  static Rate part(const LambdaLROptions& options);
  static Rate part(const NoamLROptions& options);
  static Rate part(const WarmupStableDecayLROptions& options);
  static Rate part(const LinearLROptions& options);
  static Rate part(const OneCycleLROptions& options);
  Rate rate_;
};

// One part after the other: the part before milestones[0], then the next one with its steps counted from there, and so
// on. ValueError unless there is one milestone less than parts, and they rise.
class SequentialLR : public Scheduler {
 public:
  SequentialLR(Optimizer& optimizer, std::vector<SchedulePart> parts, std::vector<int64_t> milestones);

 private:
  double rate(double base, int64_t steps) const override;
  std::vector<SchedulePart> parts_;
  std::vector<int64_t> milestones_;
};

// All parts at once: the base rate times what each part makes of it. PyTorch's has the same rates, but for a part with
// a rate at which it ends (eta_min), which is there approached from wherever the others have brought the rate.
class ChainedScheduler : public Scheduler {
 public:
  ChainedScheduler(Optimizer& optimizer, std::vector<SchedulePart> parts);

 private:
  double rate(double base, int64_t steps) const override;
  std::vector<SchedulePart> parts_;
};

// times `factor` when a metric has not improved (relatively, by `threshold`) for more than `patience` steps.
struct ReduceLROnPlateauOptions {
  bool minimize = true;
  double factor = 0.1;
  int64_t patience = 10;
  double threshold = 1e-4;
  int64_t cooldown = 0;
  double min_lr = 0;
};
class ReduceLROnPlateau {
 public:
  ReduceLROnPlateau(Optimizer& optimizer, const ReduceLROnPlateauOptions& options = {});
  void step(double metric);
  std::vector<NamedTensor> state_dict() const;
  void load_state_dict(const std::vector<NamedTensor>& state);

 private:
  Optimizer& optimizer_;
  ReduceLROnPlateauOptions options_;
  double best_;
  int64_t bad_steps_ = 0, cooldown_left_ = 0;
};

}  // namespace tenrec
