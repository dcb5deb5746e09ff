// Stochastic gradient descent.
#pragma once

#include "tenrec/optim/optimizer.h"

namespace tenrec {

struct SGDOptions {
  double lr = 1e-3;
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;
};

// With momentum as in Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013, in
// PyTorch's form: buffer = momentum * buffer + (1 - dampening) * grad; param -= lr * buffer.
class SGD : public GroupedOptimizer<SGDOptions> {
 public:
  explicit SGD(const std::vector<Tensor>& params, const SGDOptions& options = {});
  explicit SGD(const std::vector<Group>& groups);

 private:
  void update() override;
  void check_options(const SGDOptions& options) const override;
};

}  // namespace tenrec
