// Learning rate schedules. Each sets the rate of every group of its optimizer from the group's rate at construction and
// the number of steps so far; `step()` goes on by one. Formulas and names of torch.optim.lr_scheduler.
#pragma once

#include <cstdint>
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
