// Least squares: half the sum of squares of residuals, whose Jacobian J gives the gradient J^T r and, but for the
// residuals' own curvature, the Hessian J^T J.
//
// The closure returns the residuals, of any shape, on the tape; half their sum of squares is the result's loss. One
// step is one iteration: as many passes as there are residuals or twice the parameters, whichever is less. Small dense
// systems are solved in f64.
#pragma once

#include "tenrec/optim/closure.h"

namespace tenrec {

struct GaussNewtonOptions {
  double tolerance_angle = 1e-13;  // converged when the cosine between the residuals and each column of J is less,
  double tolerance_step = 1e-11;   // or no parameter would change by more, relative to its size
  double decrease = 1e-4;          // of the loss, against what the slope promises (Armijo)
  int64_t max_halvings = 40;
};

// p of least norm that minimises |J p + r|, and as much of it as makes the loss fall. Any rank of J will do. Fast where
// the residuals are small and the start is near; LevenbergMarquardt elsewhere.
class GaussNewton : public ClosureOptimizer {
 public:
  explicit GaussNewton(const std::vector<Tensor>& params, const GaussNewtonOptions& options = {});
  std::vector<NamedTensor> state_dict() const override;
  void load_state_dict(const std::vector<NamedTensor>& state) override;

 private:
  StepResult advance(const Closure& closure) override;
  GaussNewtonOptions options_;
};

struct LevenbergMarquardtOptions {
  double damping = 1e-3;  // at the start, relative to the scaled J^T J, whose diagonal is 1 there
  double tolerance_angle = 1e-13;
  double tolerance_step = 1e-11;
  double accept = 1e-4;  // a step that brings more than this share of what the model promises is taken
};

// Solves (S J^T J S + damping I) S^-1 p = -S J^T r. S has one over the largest norm so far of each column of J, which
// makes the method blind to the parameters' units (J. J. Moré, "The Levenberg-Marquardt algorithm: implementation and
// theory", 1978); the damping follows the ratio of what a step brings to what the model promised (H. B. Nielsen,
// "Damping parameter in Marquardt's method", 1999). A step tries larger dampings until the loss falls. Near the
// minimum, where the loss only changes by rounding, steps are taken as long as they make the angle between residuals
// and J smaller: that is what brings all digits of the NIST reference problems.
class LevenbergMarquardt : public ClosureOptimizer {
 public:
  explicit LevenbergMarquardt(const std::vector<Tensor>& params, const LevenbergMarquardtOptions& options = {});
  double damping() const { return state_.damping; }

  std::vector<NamedTensor> state_dict() const override;
  void load_state_dict(const std::vector<NamedTensor>& state) override;

 private:
  struct State {
    double damping = 0, growth = 2;
    Tensor scale = {};  // largest norms of J's columns
  };
  StepResult advance(const Closure& closure) override;

  LevenbergMarquardtOptions options_;
  State state_;
};

}  // namespace tenrec
