// Losses as modules. Each is the op of the same name (autograd/ops/loss.h) with its options; reduction defaults to
// mean.
#pragma once

#include "tenrec/autograd/ops.h"
#include "tenrec/nn/module.h"

namespace tenrec {

// Mean of (x - y)^2.
class MSELoss : public Module {
 public:
  explicit MSELoss(Reduction reduction = Reduction::mean) : reduction_(reduction) {}
  Tensor operator()(const Tensor& x, const Tensor& y) const {
    const ModuleScope scope(*this);
    return mse_loss(x, y, reduction_);
  }

 private:
  Reduction reduction_;
};

// Mean of |x - y|.
class L1Loss : public Module {
 public:
  explicit L1Loss(Reduction reduction = Reduction::mean) : reduction_(reduction) {}
  Tensor operator()(const Tensor& x, const Tensor& y) const {
    const ModuleScope scope(*this);
    return l1_loss(x, y, reduction_);
  }

 private:
  Reduction reduction_;
};

// Quadratic below beta, linear above; divided by beta. Girshick, "Fast R-CNN", 2015.
class SmoothL1Loss : public Module {
 public:
  explicit SmoothL1Loss(double beta = 1, Reduction reduction = Reduction::mean) : beta_(beta), reduction_(reduction) {}
  Tensor operator()(const Tensor& x, const Tensor& y) const {
    const ModuleScope scope(*this);
    return smooth_l1_loss(x, y, reduction_, beta_);
  }

 private:
  double beta_;
  Reduction reduction_;
};

// Quadratic below delta, linear above. Huber, 1964.
class HuberLoss : public Module {
 public:
  explicit HuberLoss(double delta = 1, Reduction reduction = Reduction::mean) : delta_(delta), reduction_(reduction) {}
  Tensor operator()(const Tensor& x, const Tensor& y) const {
    const ModuleScope scope(*this);
    return huber_loss(x, y, reduction_, delta_);
  }

 private:
  double delta_;
  Reduction reduction_;
};

// Probabilities against targets in [0, 1].
class BCELoss : public Module {
 public:
  explicit BCELoss(const BceOptions& options = {}) : options_(options) {}
  Tensor operator()(const Tensor& x, const Tensor& y) const {
    const ModuleScope scope(*this);
    return binary_cross_entropy(x, y, options_);
  }

 private:
  BceOptions options_;
};

// Logits against targets in [0, 1]; stable for large logits.
class BCEWithLogitsLoss : public Module {
 public:
  explicit BCEWithLogitsLoss(const BceWithLogitsOptions& options = {}) : options_(options) {}
  Tensor operator()(const Tensor& x, const Tensor& y) const {
    const ModuleScope scope(*this);
    return binary_cross_entropy_with_logits(x, y, options_);
  }

 private:
  BceWithLogitsOptions options_;
};

// Logits [n, c, ...] against class indices (i64) or probabilities.
class CrossEntropyLoss : public Module {
 public:
  explicit CrossEntropyLoss(const CrossEntropyOptions& options = {}) : options_(options) {}
  Tensor operator()(const Tensor& x, const Tensor& y) const {
    const ModuleScope scope(*this);
    return cross_entropy(x, y, options_);
  }

 private:
  CrossEntropyOptions options_;
};

// Log-probabilities [n, c, ...] against class indices.
class NLLLoss : public Module {
 public:
  explicit NLLLoss(const NllOptions& options = {}) : options_(options) {}
  Tensor operator()(const Tensor& x, const Tensor& y) const {
    const ModuleScope scope(*this);
    return nll_loss(x, y, options_);
  }

 private:
  NllOptions options_;
};

// Kullback-Leibler divergence of log-probabilities x from y.
class KLDivLoss : public Module {
 public:
  explicit KLDivLoss(const KlDivOptions& options = {}) : options_(options) {}
  Tensor operator()(const Tensor& x, const Tensor& y) const {
    const ModuleScope scope(*this);
    return kl_div(x, y, options_);
  }

 private:
  KlDivOptions options_;
};

}  // namespace tenrec
