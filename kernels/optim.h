// Optimizer updates: one pass over parameter, gradient and state each, many tensors in one call. What an update does to
// an element stands in kernels/optim_updates.h.
#pragma once

#include <cstdint>
#include <span>

#include "tenrec/core/dispatch.h"
#include "tenrec/core/dtype.h"

namespace tenrec::kernels {

// Contiguous arrays of `numel` elements. bf16 and f16 parameters keep their state in f32.
struct OptimTensor {
  void* param = nullptr;
  const void* grad = nullptr;
  void* state[3] = {};
  int64_t numel = 0;
};

struct SgdStep {
  double lr, momentum, dampening, weight_decay;
  bool nesterov, first;  // first: the momentum buffer (state 0) holds nothing yet
};
struct AdamStep {
  double lr, beta1, beta2, eps, weight_decay;
  bool decoupled;                             // AdamW: decay the parameter, not the gradient
  double bias_correction1, bias_correction2;  // 1 - beta^t
  bool amsgrad;                               // divide by the largest variance so far (state 2)
};
struct RmspropStep {
  double lr, alpha, eps, weight_decay, momentum;
  bool centered;
};
struct AdagradStep {
  double lr, eps, weight_decay;  // lr already decayed
};
struct NadamStep {
  double lr, beta1, beta2, eps, weight_decay;
  bool decoupled;
  double grad_rate, mean_rate;  // of the gradient and of the mean in the step
  double bias_correction2;
};
struct RadamStep {
  double lr, beta1, beta2, eps, weight_decay;
  bool decoupled;
  double bias_correction1, bias_correction2;
  double rectification;  // 0 while the variance of the adaptive rate has no end: a step along the mean
};
struct AdamaxStep {
  double lr, beta1, beta2, eps, weight_decay;
  double bias_correction1;
};
struct AdadeltaStep {
  double lr, rho, eps, weight_decay;
};
struct RpropStep {
  double eta_minus, eta_plus, step_min, step_max;
};
struct LionStep {
  double lr, beta1, beta2, weight_decay;
};
struct LambStep {
  double lr, beta1, beta2, eps, weight_decay;
  double bias_correction1, bias_correction2;
  double phi_min, phi_max;  // bounds of the parameter's norm in the trust ratio
};
struct MuonStep {
  double momentum;
  bool nesterov;
};
struct DescentStep {
  double rate, keep;
};
struct AverageStep {
  double share;  // of the new value
};

// State: sgd {momentum}; adam {mean, variance, largest variance with amsgrad}; rmsprop {square, momentum, mean};
// adagrad {sum of squares}; nadam, radam and lamb {mean, variance}; adamax {mean, norm}; adadelta {square, square of
// the changes}; rprop {gradient before, step size}; lion {momentum}; muon {momentum}.
// Tensors of one call share a dtype; unused state is null.
void sgd_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const SgdStep& s);
void sgd_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const SgdStep& s);
void adam_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const AdamStep& s);
void adam_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const AdamStep& s);
void rmsprop_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const RmspropStep& s);
void rmsprop_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const RmspropStep& s);
void adagrad_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const AdagradStep& s);
void adagrad_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const AdagradStep& s);
void nadam_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const NadamStep& s);
void nadam_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const NadamStep& s);
void radam_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const RadamStep& s);
void radam_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const RadamStep& s);
void adamax_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const AdamaxStep& s);
void adamax_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const AdamaxStep& s);
void adadelta_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const AdadeltaStep& s);
void adadelta_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const AdadeltaStep& s);
void rprop_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const RpropStep& s);
void rprop_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const RpropStep& s);
void lion_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const LionStep& s);
void lion_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const LionStep& s);
// Two passes: the second one needs the norms of the first.
void lamb_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const LambStep& s);
void lamb_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const LambStep& s);
// The momentum alone: what is to be made orthogonal is written to `param`, which is not read.
void muon_momentum(Cpu, DType dtype, std::span<const OptimTensor> tensors, const MuonStep& s);
void muon_momentum(Cuda, DType dtype, std::span<const OptimTensor> tensors, const MuonStep& s);
// param = keep * param - rate * grad, for methods that have made a direction of the gradient.
void descent_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const DescentStep& s);
void descent_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const DescentStep& s);
// state 0 moves to `grad` by its share; `param` is null. dtype is that of `grad`.
void average_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const AverageStep& s);
void average_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const AverageStep& s);

}  // namespace tenrec::kernels
