// Minimisation under constraints: in a set that one can project onto, or under equations and inequalities.
#pragma once

#include <functional>
#include <memory>

#include "tenrec/optim/closure.h"

namespace tenrec {

// Nearest points of a set, of x's shape and dtype. The set is that of x as a whole, but for the simplex.
// low <= x <= high, which broadcast to x. ValueError if a low is above its high.
Tensor project_onto_box(const Tensor& x, const Tensor& low, const Tensor& high);
Tensor project_onto_box(const Tensor& x, double low, double high);
// |x - center| <= radius; no center is the origin.
Tensor project_onto_ball(const Tensor& x, double radius, const Tensor& center = {});
// Each row of the last dimension: elements not negative, their sum `total`. J. Duchi et al., "Efficient projections
// onto the l1-ball for learning in high dimensions" (2008).
Tensor project_onto_simplex(const Tensor& x, double total = 1);

// Returns the nearest point of a closed convex set, of its argument's shape. Called with each parameter on its own.
using Projection = std::function<Tensor(const Tensor&)>;

struct ProjectedGradientOptions {
  double tolerance = 1e-8;  // converged when no parameter would change by more on a step of length 1 along -gradient
  double decrease = 1e-4;
  int64_t memory = 10;                           // the loss must fall below the largest of that many last ones
  double min_length = 1e-10, max_length = 1e10;  // of a step, against the gradient
};

// Spectral projected gradient: steps of the length that Barzilai and Borwein (1988) take, cut back until the loss is
// below its recent maximum. The first step projects the parameters. E. G. Birgin, J. M. Martínez and M. Raydan,
// "Nonmonotone spectral projected gradient methods on convex sets" (2000). One step is one iteration.
class ProjectedGradient : public ClosureOptimizer {
 public:
  ProjectedGradient(const std::vector<Tensor>& params, const Projection& projection,
                    const ProjectedGradientOptions& options = {});
  // Each with its own set; an empty function is no constraint.
  ProjectedGradient(const std::vector<std::pair<Tensor, Projection>>& params,
                    const ProjectedGradientOptions& options = {});

  std::vector<NamedTensor> state_dict() const override;
  void load_state_dict(const std::vector<NamedTensor>& state) override;

 private:
  struct State {
    Tensor point = {}, gradient = {};  // of the last step
    std::vector<double> losses = {};   // the last ones, oldest first
  };
  StepResult advance(const Closure& closure) override;
  Tensor project(const Tensor& point) const;
  double length(const State& s, const Tensor& x, const Evaluation& now) const;
  // Goes along d until the loss is low enough; false if it never is.
  bool descend(const Closure& closure, const Tensor& x, const Tensor& d, const Evaluation& now, double ceiling,
               StepResult& result);

  std::vector<Projection> projections_;
  ProjectedGradientOptions options_;
  State state_;
};

// Constraints as closures over the parameters, like the loss: any number of elements, on the tape unless constant. An
// empty function is none.
struct Constraints {
  Closure equal = {};    // = 0
  Closure at_most = {};  // <= 0
};

using MakeOptimizer = std::function<std::unique_ptr<ClosureOptimizer>(const std::vector<Tensor>&)>;

struct AugmentedLagrangianOptions {
  double penalty = 10;        // at the start
  double growth = 10;         // of the penalty where the violation has not fallen enough,
  double sufficient = 0.25;   // which is to this share of it
  double max_penalty = 1e12;  // more than that is no_progress
  double tolerance = 1e-8;    // converged when the violation is below, and the inner minimisation has converged
  int64_t inner_steps = 200;
  MakeOptimizer inner = {};  // of the subproblems; LBFGS with line search unless given. ProjectedGradient adds a set
};

// Minimises loss + multipliers and penalties of the constraints by an inner optimizer, then corrects the multipliers
// (M. J. D. Powell and M. R. Hestenes, 1969; for inequalities R. T. Rockafellar, 1973; J. Nocedal and S. J. Wright,
// "Numerical Optimization" (2006), 17.3). A step is one such round. The closures must not go backward.
class AugmentedLagrangian : public ClosureOptimizer {
 public:
  AugmentedLagrangian(const std::vector<Tensor>& params, const Constraints& constraints,
                      const AugmentedLagrangianOptions& options = {});
  // The largest |equal|, and how far at_most is above 0 or away from it where its multiplier is not; infinite before
  // the first step.
  double violation() const { return state_.violation; }
  double penalty() const { return state_.penalty; }
  // f64 vectors; undefined before the first step or without such constraints.
  const Tensor& equal_multipliers() const { return state_.equal; }
  const Tensor& at_most_multipliers() const { return state_.at_most; }

  std::vector<NamedTensor> state_dict() const override;
  void load_state_dict(const std::vector<NamedTensor>& state) override;

 private:
  struct State {
    double penalty = 0, violation = 0;
    Tensor equal = {}, at_most = {};
  };
  struct Values {
    Tensor equal = {}, at_most = {};
  };
  StepResult advance(const Closure& closure) override;
  Values constraints() const;
  Tensor lagrangian(const Tensor& loss, const State& s) const;
  void correct(State& s) const;

  Constraints constraints_;
  AugmentedLagrangianOptions options_;
  State state_;
};

}  // namespace tenrec
