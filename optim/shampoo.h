// Shampoo: a preconditioner for each dimension of a parameter.
#pragma once

#include <cstdint>
#include <vector>

#include "tenrec/optim/optimizer.h"

namespace tenrec {

// Whose step length each parameter's step has; Shampoo gives the direction.
enum class Grafting {
  none,
  sgd,  // that of the gradient
  adam  // that of Adam without its mean: gradient / (sqrt(square / (1 - beta2^t)) + graft_eps)
};

struct ShampooOptions {
  double lr = 0.1;
  double momentum = 0;
  double weight_decay = 0;      // decoupled
  double eps = 1e-4;            // what the preconditioners begin with, times the identity
  double beta = 1;              // 1: sums, as in the paper; below: exponential averages
  int64_t update_interval = 1;  // steps from one computation of the roots to the next
  int64_t max_size = 4096;      // longer dimensions are not preconditioned
  Grafting grafting = Grafting::none;
  double graft_beta2 = 0.999;
  double graft_eps = 1e-8;
};

// Gupta, Koren and Singer, "Shampoo: preconditioned stochastic tensor optimization", 2018, algorithm 2. For each
// dimension i of a gradient G of k dimensions (of those up to max_size), unfolded to a matrix G_i [size i, rest]:
//   H_i = beta H_i + G_i G_i^T (times 1 - beta below beta = 1); the direction is G multiplied by every
//   (H_i + eps I)^(-1 / (2 k)); momentum = options.momentum * momentum + direction; param -= lr * momentum
// A vector thus gets a full matrix, a number is stepped along its gradient. Grafting: Agarwal et al., "Disentangling
// adaptive gradient methods from learning rates", 2020; roots every few steps: Anil et al., "Scalable second order
// optimization for deep learning", 2021. The roots come from eigenvalues in f64.
//
// Each step looks whether all gradients are finite, for which the host waits on a device: NumericError if not, and then
// nothing has changed. A captured step refuses this optimizer.
class Shampoo : public GroupedOptimizer<ShampooOptions> {
 public:
  explicit Shampoo(const std::vector<Tensor>& params, const ShampooOptions& options = {});
  explicit Shampoo(const std::vector<Group>& groups);

  // With "sum" and "root" of each preconditioned dimension: "3.sum0", "3.root0".
  std::vector<NamedTensor> state_dict() const override;
  void load_state_dict(const std::vector<NamedTensor>& state) override;

 private:
  // The preconditioner of one dimension.
  struct Side {
    int64_t dim;
    Tensor sum, root;
  };
  void update() override;
  void check_options(const ShampooOptions& options) const override;
  std::vector<Side> sides_of(const Slot& slot) const;
  void check_gradients();
  std::vector<Side> advanced(const Slot& slot, std::vector<Side> sides) const;
  void move(Slot& slot, const std::vector<Side>& sides);

  std::vector<std::vector<Side>> sides_;  // of each slot that was stepped
};

}  // namespace tenrec
