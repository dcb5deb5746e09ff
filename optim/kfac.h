// K-FAC: steps along the natural gradient, with the Fisher matrix of each layer taken as a Kronecker product.
//
//   KFAC optimizer(net, {.lr = 0.1});
//   optimizer.step([&] {
//     optimizer.zero_grad();
//     const Tensor loss = cross_entropy(net(x), classes);
//     backward(loss);
//     return loss;
//   });
#pragma once

#include <memory>

#include "tenrec/core/numeric_error.h"
#include "tenrec/optim/optimizer.h"

namespace tenrec {

struct KFACOptions {
  double lr = 0.1;
  double momentum = 0.9;
  double weight_decay = 0;        // added to the gradient
  double damping = 3e-2;          // added to the Fisher matrix before it is inverted, shared out between the factors
  double decay = 0.95;            // of the factors' running means
  int64_t factor_interval = 1;    // steps from one look at the factors to the next
  int64_t inverse_interval = 10;  // steps from one inversion to the next
  double kl_clip = 1e-3;          // bound on lr^2 (step, gradient); 0: none
  bool empirical = true;          // step's own pass feeds the factors; false: only `observe` does
};

// J. Martens and R. Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", 2015; for
// convolutions R. Grosse and J. Martens, "A Kronecker-factored approximate Fisher matrix for convolution layers", 2016.
//
// A layer's Fisher matrix counts as A x G: A the second moment of its inputs (with a 1 for the bias), G that of the
// loss's gradient by its outputs. The step is G^-1 dW A^-1, times min(1, sqrt(kl_clip / (lr^2 sum dW . step))), with
// momentum. Factors and inverses are kept in f64. So are treated the weights (and biases) of each Linear and each
// Conv2d of one group in the model that runs as a module; every other parameter takes the plain gradient.
//
// The loss must be a mean over the batch, since the factors undo its 1 / n. By default they are made of the training
// gradients ("empirical Fisher"); `observe` makes them of a loss with labels drawn from the model's own distribution,
// which is the Fisher matrix proper.
class KFAC : public Optimizer {
 public:
  explicit KFAC(Module& model, const KFACOptions& options = {});
  ~KFAC() override;

  // Runs `closure` (which computes the loss and goes backward), feeding the factors, then updates. NumericError, and no
  // parameter changed, if the step would not be finite or if a factor cannot be inverted: more damping helps.
  Tensor step(const std::function<Tensor()>& closure);
  // Updates by the factors as they are.
  using Optimizer::step;
  // Feeds the factors from the gradients of loss(), whatever step does; `.grad` is left alone.
  void observe(const std::function<Tensor()>& loss);
  // How many layers have factors by now.
  int64_t layers() const;

  size_t group_count() const override { return 1; }
  double lr(size_t group = 0) const override;
  void set_lr(double lr, size_t group = 0) override;
  const KFACOptions& options() const { return options_; }

  // Beside the momentum: "layer0.inputs", "layer0.outputs", their inverses, and how often each was made.
  std::vector<NamedTensor> state_dict() const override;
  void load_state_dict(const std::vector<NamedTensor>& state) override;

 private:
  struct Layer;
  class Watch;
  void update() override;
  void learn();
  std::vector<Layer> layers_;
  KFACOptions options_;
  int64_t steps_ = 0;
};

}  // namespace tenrec
