// Relatives of Adam (optim/adam.h): NAdam, RAdam, Adamax, Adadelta. Options and defaults are PyTorch's.
#pragma once

#include "tenrec/optim/optimizer.h"

namespace tenrec {

struct NAdamOptions {
  double lr = 2e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  double momentum_decay = 4e-3;
  bool decoupled_weight_decay = false;
};

// Dozat, "Incorporating Nesterov momentum into Adam", 2016: the step looks ahead along the mean, with
// mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2). The product of the mu so far is state of each parameter.
class NAdam : public GroupedOptimizer<NAdamOptions> {
 public:
  explicit NAdam(const std::vector<Tensor>& params, const NAdamOptions& options = {});
  explicit NAdam(const std::vector<Group>& groups);

 private:
  void update() override;
  void check_options(const NAdamOptions& options) const override;
};

struct RAdamOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  bool decoupled_weight_decay = false;
};

// Liu et al., "On the variance of the adaptive learning rate and beyond", 2020: steps along the mean alone until the
// variance of the adaptive rate is finite, then with that rate rectified.
class RAdam : public GroupedOptimizer<RAdamOptions> {
 public:
  explicit RAdam(const std::vector<Tensor>& params, const RAdamOptions& options = {});
  explicit RAdam(const std::vector<Group>& groups);

 private:
  void update() override;
  void check_options(const RAdamOptions& options) const override;
};

struct AdamaxOptions {
  double lr = 2e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
};

// Kingma and Ba, "Adam", 2015, section 7.1: a decaying maximum of |gradient| + eps in the place of the root of the
// variance.
class Adamax : public GroupedOptimizer<AdamaxOptions> {
 public:
  explicit Adamax(const std::vector<Tensor>& params, const AdamaxOptions& options = {});
  explicit Adamax(const std::vector<Group>& groups);

 private:
  void update() override;
  void check_options(const AdamaxOptions& options) const override;
};

struct AdadeltaOptions {
  double lr = 1;
  double rho = 0.9;
  double eps = 1e-6;
  double weight_decay = 0;
};

// Zeiler, "Adadelta: an adaptive learning rate method", 2012: rates from the sizes of the steps so far.
class Adadelta : public GroupedOptimizer<AdadeltaOptions> {
 public:
  explicit Adadelta(const std::vector<Tensor>& params, const AdadeltaOptions& options = {});
  explicit Adadelta(const std::vector<Group>& groups);

 private:
  void update() override;
  void check_options(const AdadeltaOptions& options) const override;
};

}  // namespace tenrec
