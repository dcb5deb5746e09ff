// Checks of derivatives against central differences, for our ops and for yours.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "tenrec/core/tensor.h"

namespace tenrec {

struct GradcheckOptions {
  double step = 1e-6;
  double atol = 1e-5;
  double rtol = 1e-3;
};

struct GradcheckResult {
  bool ok = true;
  int64_t checked = 0;       // Jacobian entries compared
  double worst = 0;          // largest |analytic - numeric|
  std::string message = {};  // the first disagreement: output, input, element, both values
  explicit operator bool() const { return ok; }
};

using MultiFunction = std::function<std::vector<Tensor>(std::span<const Tensor>)>;

// The full Jacobian of every floating output by every input that requires grad. Inputs must be f64. Outputs that are
// not on the tape count as constants, as in PyTorch, unless none is on it.
GradcheckResult gradcheck(const MultiFunction& f, const std::vector<Tensor>& inputs,
                          const GradcheckOptions& options = {});
// The same for the gradient: inputs and cotangents of the first derivative are differentiated again.
GradcheckResult gradgradcheck(const MultiFunction& f, const std::vector<Tensor>& inputs,
                              const GradcheckOptions& options = {});

}  // namespace tenrec
