// Clipping gradients between backward and step.
#pragma once

#include <vector>

#include "tenrec/core/tensor.h"

namespace tenrec {

// Scales all gradients together so that their joint p-norm is at most max_norm; norm_type may be infinity. Returns the
// norm before clipping. Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.
// AutogradError if the norm is not finite and `error_if_nonfinite` is set.
double clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm, double norm_type = 2,
                       bool error_if_nonfinite = false);
// Clamps each gradient element to [-value, value].
void clip_grad_value_(const std::vector<Tensor>& parameters, double value);

}  // namespace tenrec
