// Clipping gradients between backward and step.
#pragma once

#include <vector>

#include "tenrec/core/tensor.h"

namespace tenrec {

// Scales all gradients together so that their joint p-norm is at most max_norm; norm_type may be infinity. Returns the
// norm before clipping, 0-d, f64 if a gradient is, else f32. Pascanu, Mikolov and Bengio, "On the difficulty of
// training recurrent neural networks", 2013.
//
// On a device nothing waits, unless `error_if_nonfinite` asks for an AutogradError where the norm is not finite. A NaN
// or infinite norm makes NaN or zero of the gradients, as in PyTorch. Gradients may lie on several devices: their norms
// meet on the first one's.
Tensor clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm, double norm_type = 2,
                       bool error_if_nonfinite = false);
// Clamps each gradient element to [-value, value].
void clip_grad_value_(const std::vector<Tensor>& parameters, double value);

}  // namespace tenrec
