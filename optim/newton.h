// Newton's method: with the whole Hessian, and with products by it alone.
//
// One step is one iteration. The closure must leave the graph of its loss whole (no backward, see optim/closure.h).
#pragma once

#include "tenrec/optim/closure.h"

namespace tenrec {

struct NewtonOptions {
  double tolerance_grad = 1e-10;  // converged when no element of the gradient is larger
  double damping = 0;             // added to the diagonal of the Hessian, always
  double max_damping = 1e16;      // relative to the Hessian's largest element; more than that is no_progress
  double decrease = 1e-4;         // of the loss, against what the slope promises (Armijo)
  int64_t max_halvings = 40;      // of a step that does not bring it
};

// Solves (H + damping I) p = -g by Cholesky's factorization and goes along p until the loss falls. Where H is not
// positive definite the damping is raised until H + damping I is (J. Nocedal and S. J. Wright, "Numerical Optimization"
// (2006), algorithm 3.3). n passes and n^3 / 3 multiply-adds a step: for hundreds of parameters.
class Newton : public ClosureOptimizer {
 public:
  explicit Newton(const std::vector<Tensor>& params, const NewtonOptions& options = {});
  // What was added to the diagonal in the last step.
  double damping() const { return damping_; }

  std::vector<NamedTensor> state_dict() const override;
  void load_state_dict(const std::vector<NamedTensor>& state) override;

 private:
  StepResult advance(const Closure& closure) override;
  // Undefined if no damping that is allowed will do.
  Tensor direction(const Tensor& hessian, const Tensor& gradient);

  NewtonOptions options_;
  double damping_ = 0;
};

struct NewtonCGOptions {
  double tolerance_grad = 1e-10;
  double radius = 1;  // of the first trust region
  double max_radius = 1e10;
  double accept = 1e-4;       // a step that brings more than this share of what the model promises is taken
  int64_t max_cg = 0;         // products of a step; 0: 2 n + 20
  double cg_tolerance = 0.1;  // residual against min(cg_tolerance, sqrt(|g|)) |g|, so that convergence is superlinear
};

// Trust region: the quadratic model is minimised within a radius by conjugate gradients, which stop at the border and
// where the curvature is negative (T. Steihaug, "The conjugate gradient method and trust regions in large scale
// optimization", 1983); the radius grows where the model is right and shrinks where it is not. A step that is too long
// is cut along its line, without further products, and the radius follows (J. Nocedal and Y. Yuan, "Combining trust
// region and line search techniques", 1998). Needs a few vectors, so n may be as large as a network.
class NewtonCG : public ClosureOptimizer {
 public:
  explicit NewtonCG(const std::vector<Tensor>& params, const NewtonCGOptions& options = {});
  double radius() const { return radius_; }

  std::vector<NamedTensor> state_dict() const override;
  void load_state_dict(const std::vector<NamedTensor>& state) override;

 private:
  StepResult advance(const Closure& closure) override;

  NewtonCGOptions options_;
  double radius_;
};

}  // namespace tenrec
