// Adaptive first-order methods: Adam, AdamW, RMSprop, Adagrad.
#pragma once

#include "tenrec/optim/optimizer.h"

namespace tenrec {

struct AdamOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  bool amsgrad = false;
};

// Kingma and Ba, "Adam: a method for stochastic optimization", 2015. weight_decay is added to the gradient. amsgrad
// divides by the largest variance so far: Reddi, Kale and Kumar, "On the convergence of Adam and beyond", 2018.
class Adam : public GroupedOptimizer<AdamOptions> {
 public:
  explicit Adam(const std::vector<Tensor>& params, const AdamOptions& options = {});
  explicit Adam(const std::vector<Group>& groups);

 protected:
  Adam(const std::vector<Group>& groups, bool decoupled);

 private:
  void update() override;
  void check_options(const AdamOptions& options) const override;
  bool decoupled_ = false;
};

struct AdamWOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;
  bool amsgrad = false;
};

// Loshchilov and Hutter, "Decoupled weight decay regularization", 2019: the parameter shrinks by lr * weight_decay.
// Unlike Adam's, the default weight_decay is 0.01, as in PyTorch.
class AdamW : public Adam {
 public:
  using Group = std::pair<std::vector<Tensor>, AdamWOptions>;
  explicit AdamW(const std::vector<Tensor>& params, const AdamWOptions& options = {});
  explicit AdamW(const std::vector<Group>& groups);
};

struct RMSpropOptions {
  double lr = 1e-2;
  double alpha = 0.99;
  double eps = 1e-8;
  double weight_decay = 0;
  double momentum = 0;
  bool centered = false;
};

// Hinton, "Neural networks for machine learning", lecture 6e, 2012.
class RMSprop : public GroupedOptimizer<RMSpropOptions> {
 public:
  explicit RMSprop(const std::vector<Tensor>& params, const RMSpropOptions& options = {});
  explicit RMSprop(const std::vector<Group>& groups);

 private:
  void update() override;
  void check_options(const RMSpropOptions& options) const override;
};

struct AdagradOptions {
  double lr = 1e-2;
  double lr_decay = 0;
  double weight_decay = 0;
  double initial_accumulator_value = 0;
  double eps = 1e-10;
};

// Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic optimization", 2011.
class Adagrad : public GroupedOptimizer<AdagradOptions> {
 public:
  explicit Adagrad(const std::vector<Tensor>& params, const AdagradOptions& options = {});
  explicit Adagrad(const std::vector<Group>& groups);

 private:
  void update() override;
  void check_options(const AdagradOptions& options) const override;
};

}  // namespace tenrec
