// Muon: momentum made orthogonal, for the matrices of a network.
#pragma once

#include <array>

#include "tenrec/optim/optimizer.h"

namespace tenrec {

// What the rate is multiplied by, for a weight [a, b]; PyTorch's names.
enum class MuonAdjustLr {
  original,           // sqrt(max(1, a / b)), Jordan's
  match_rms_adamw,    // 0.2 sqrt(max(a, b)): steps as long as AdamW's, so its rates and decays go on to serve
  spectral_unclamped  // sqrt(a / b): Bernstein, "Deriving Muon", 2025
};

struct MuonOptions {
  double lr = 1e-3;
  double weight_decay = 0.1;
  double momentum = 0.95;
  bool nesterov = true;
  std::array<double, 3> ns_coefficients = {3.4445, -4.7750, 2.0315};
  double eps = 1e-7;
  int64_t ns_steps = 5;
  MuonAdjustLr adjust_lr_fn = MuonAdjustLr::original;
  DType ns_dtype = bf16;  // of the Newton-Schulz iteration, bf16 as in PyTorch whatever the parameters are
};

// Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; the rate that matches AdamW's is that
// of Liu et al., "Muon is scalable for LLM training", 2025:
//   momentum += (1 - options.momentum) * (grad - momentum)
//   u = grad + options.momentum * (momentum - grad) with nesterov, else momentum
//   x = u / max(|u|, eps), then ns_steps times x = a x + (b A + c A A) x with A = x x^T
//   param = param * (1 - lr * weight_decay) - adjusted lr * x
// The iteration drives the singular values of x to about 1; the quintic's coefficients are tuned for few steps and not
// for the limit. Everything equals torch.optim.Muon, which likewise takes matrices alone: ValueError for a parameter
// that has not two dimensions. Give biases, norms, embeddings and the last layer to AdamW.
class Muon : public GroupedOptimizer<MuonOptions> {
 public:
  explicit Muon(const std::vector<Tensor>& params, const MuonOptions& options = {});
  explicit Muon(const std::vector<Group>& groups);

 private:
  void update() override;
  void check_options(const MuonOptions& options) const override;
  void check_parameters(const std::vector<Tensor>& params) const override;
  static void move(const Batch& batch, const MuonOptions& options);
};

}  // namespace tenrec
