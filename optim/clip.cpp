#include "tenrec/optim/clip.h"

#include <algorithm>
#include <cmath>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"

namespace tenrec {

double clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm, double norm_type,
                       bool error_if_nonfinite) {
  if (!(max_norm >= 0)) fail<ValueError>("clip_grad_norm_: max_norm must not be negative, got ", max_norm);
  if (!(norm_type > 0)) fail<ValueError>("clip_grad_norm_: norm_type must be positive, got ", norm_type);
  const NoGrad off;
  const bool largest = std::isinf(norm_type);
  double total = 0;
  for (const Tensor& p : parameters) {
    if (!p.grad().defined() || p.numel() == 0) continue;
    const double part = norm(p.grad(), norm_type).item<double>();
    if (largest)
      total = part > total || std::isnan(part) ? part : total;
    else
      total += std::pow(part, norm_type);
  }
  if (!largest) total = std::pow(total, 1 / norm_type);
  if (!std::isfinite(total) && error_if_nonfinite)
    fail<AutogradError>("clip_grad_norm_: the norm of the gradients is ", total);
  const double scale = max_norm / (total + 1e-6);
  if (scale < 1 || std::isnan(scale))
    for (const Tensor& p : parameters)
      if (p.grad().defined()) mul_(p.grad(), scale);
  return total;
}

void clip_grad_value_(const std::vector<Tensor>& parameters, double value) {
  if (!(value >= 0)) fail<ValueError>("clip_grad_value_: the value must not be negative, got ", value);
  const NoGrad off;
  for (const Tensor& p : parameters)
    if (p.grad().defined()) copy_(p.grad(), clamp(p.grad(), -value, value));
}

}  // namespace tenrec
