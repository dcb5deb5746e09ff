// Optimizer updates: one pass over parameter, gradient and state each, many tensors in one call.
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
};
struct RmspropStep {
  double lr, alpha, eps, weight_decay, momentum;
  bool centered;
};
struct AdagradStep {
  double lr, eps, weight_decay;  // lr already decayed
};

// State: sgd {momentum}; adam {mean, variance}; rmsprop {square, momentum, mean}; adagrad {sum of squares}.
// Tensors of one call share a dtype; unused state is null.
void sgd_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const SgdStep& s);
void sgd_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const SgdStep& s);
void adam_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const AdamStep& s);
void adam_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const AdamStep& s);
void rmsprop_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const RmspropStep& s);
void rmsprop_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const RmspropStep& s);
void adagrad_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const AdagradStep& s);
void adagrad_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const AdagradStep& s);

}  // namespace tenrec::kernels
