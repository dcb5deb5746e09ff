// LAMB: Adam with a rate for each layer, for large batches.
#pragma once

#include <limits>

#include "tenrec/optim/optimizer.h"

namespace tenrec {

struct LAMBOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-6;
  double weight_decay = 0.01;
  // Bounds of the parameter's norm in the trust ratio, phi of the paper.
  double phi_min = 0;
  double phi_max = std::numeric_limits<double>::infinity();
};

// You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", 2020, algorithm 2:
//   r = mean / (1 - beta1^t) / (sqrt(square / (1 - beta2^t)) + eps)
//   param -= lr * phi(|param|) / |r + weight_decay * param| * (r + weight_decay * param)
// with norms of whole parameters. The ratio of norms is 1 where either is 0, as in the authors' code. The authors leave
// biases and the weights of norms without decay: give them a group of their own.
class LAMB : public GroupedOptimizer<LAMBOptions> {
 public:
  explicit LAMB(const std::vector<Tensor>& params, const LAMBOptions& options = {});
  explicit LAMB(const std::vector<Group>& groups);

 private:
  void update() override;
  void check_options(const LAMBOptions& options) const override;
};

}  // namespace tenrec
