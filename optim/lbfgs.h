// The limited-memory quasi-Newton method of Broyden, Fletcher, Goldfarb and Shanno.
#pragma once

#include "tenrec/optim/closure.h"

namespace tenrec {

enum class LineSearch { none, strong_wolfe };

// PyTorch's, with its defaults.
struct LBFGSOptions {
  double lr = 1;
  int64_t max_iter = 20;           // iterations of a step
  int64_t max_eval = 0;            // calls of the closure in a step; 0: max_iter * 5 / 4
  double tolerance_grad = 1e-7;    // converged when no element of the gradient is larger,
  double tolerance_change = 1e-9;  // or no parameter, or not the loss, changes by more
  int64_t history_size = 100;
  LineSearch line_search = LineSearch::none;
};

// D. C. Liu and J. Nocedal, "On the limited memory BFGS method for large scale optimization" (1989), in PyTorch's form:
// the same points from the same start. Without a line search a step goes as far as lr says and may go uphill; with
// strong_wolfe the loss falls. Unlike PyTorch's, the last point of a step without line search is evaluated too, so that
// one that is not finite is refused.
class LBFGS : public ClosureOptimizer {
 public:
  explicit LBFGS(const std::vector<Tensor>& params, const LBFGSOptions& options = {});
  const LBFGSOptions& options() const { return options_; }
  LBFGSOptions& options() { return options_; }

  std::vector<NamedTensor> state_dict() const override;
  void load_state_dict(const std::vector<NamedTensor>& state) override;

 private:
  struct State {
    int64_t iterations = 0;
    double step = 0, scale = 1;                    // the last t, and the size of the first guess at the inverse Hessian
    Tensor direction = {}, gradient = {};          // of the last iteration
    std::vector<Tensor> changes = {}, steps = {};  // of gradients and parameters, oldest first
  };
  StepResult advance(const Closure& closure) override;
  Tensor direction(State& s, const Tensor& gradient) const;
  // Moves along s.direction, by at most 1 + `evaluations` calls, and puts where it came to into `now`; false if nothing
  // there is finite.
  bool move(const Closure& closure, State& s, Evaluation& now, double slope, int64_t evaluations);

  LBFGSOptions options_;
  State state_;
};

}  // namespace tenrec
