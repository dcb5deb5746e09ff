// Methods that step by the sign of a gradient: Rprop, Lion.
#pragma once

#include "tenrec/optim/optimizer.h"

namespace tenrec {

struct RpropOptions {
  double lr = 1e-2;  // the first size of every step
  double eta_minus = 0.5;
  double eta_plus = 1.2;
  double step_min = 1e-6;
  double step_max = 50;
};

// Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm", 1993, in
// PyTorch's form: each element has a step size of its own, which grows while its gradient keeps its sign and shrinks
// when it turns; then there is no step. For whole batches: the noise of small ones turns signs. A schedule's rates
// matter for the first step alone.
class Rprop : public GroupedOptimizer<RpropOptions> {
 public:
  explicit Rprop(const std::vector<Tensor>& params, const RpropOptions& options = {});
  explicit Rprop(const std::vector<Group>& groups);

 private:
  void update() override;
  void check_options(const RpropOptions& options) const override;
};

struct LionOptions {
  double lr = 1e-4;
  double beta1 = 0.9;
  double beta2 = 0.99;
  double weight_decay = 0;
};

// Chen et al., "Symbolic discovery of optimization algorithms", 2023, algorithm 2: the sign of
// beta1 * momentum + (1 - beta1) * gradient; half of Adam's state. weight_decay is decoupled. Rates a third to a tenth
// of Adam's, and decays as many times larger, are the authors' advice.
class Lion : public GroupedOptimizer<LionOptions> {
 public:
  explicit Lion(const std::vector<Tensor>& params, const LionOptions& options = {});
  explicit Lion(const std::vector<Group>& groups);

 private:
  void update() override;
  void check_options(const LionOptions& options) const override;
};

}  // namespace tenrec
