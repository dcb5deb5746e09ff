#include "tenrec/optim/clip.h"

#include <algorithm>
#include <cmath>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"
#include "tenrec/core/view.h"
#include "tenrec/kernels/reduce.h"

namespace tenrec {
namespace {

using kernels::ReduceOp;

std::vector<Tensor> gradients_of(const std::vector<Tensor>& parameters) {
  std::vector<Tensor> grads;
  for (const Tensor& p : parameters)
    if (p.grad().defined() && p.numel() > 0) grads.push_back(p.grad());
  return grads;
}

// To 0-d f64, which a 16-bit norm is not rounded to on the way.
void put_norm(const Tensor& x, double p, const Tensor& y) {
  if (p != 2 && p != 1 && !std::isinf(p)) {
    copy_(y, norm(x, p));
    return;
  }
  const ReduceOp op = p == 2 ? ReduceOp::norm2 : p == 1 ? ReduceOp::sum_abs : ReduceOp::max_abs;
  const Tensor kept = reshape(y, Shape::filled(x.ndim(), 1));
  dispatch("clip_grad_norm_", x.device(), [&](auto device) { kernels::reduce(device, op, view(x), view(kept)); });
}

Tensor joint_norm(const std::vector<Tensor>& grads, double p, Device device) {
  const auto here = [&](const Tensor& g) { return g.device() == device; };
  const Tensor parts = empty({std::ranges::count_if(grads, here)}, {.dtype = f64, .device = device});
  int64_t at = 0;
  for (const Tensor& g : grads)
    if (here(g)) put_norm(g, p, parts[at++]);
  return norm(parts, p);
}

std::vector<Device> devices_of(const std::vector<Tensor>& grads) {
  std::vector<Device> devices;
  for (const Tensor& g : grads)
    if (std::ranges::count(devices, g.device()) == 0) devices.push_back(g.device());
  return devices;
}

void scale_on(Device device, const std::vector<Tensor>& grads, double max_norm, const Tensor& total) {
  const Tensor scale = clamp(max_norm / (total.to(device) + 1e-6), {}, 1.0);
  if (device.is_cuda()) {
    for (const Tensor& g : grads)
      if (g.device() == device) mul_(g, scale);
  } else if (const double number = scale.item<double>(); number != 1) {
    for (const Tensor& g : grads)
      if (g.device() == device) mul_(g, number);
  }
}

}  // namespace

Tensor clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm, double norm_type,
                       bool error_if_nonfinite) {
  if (!(max_norm >= 0)) fail<ValueError>("clip_grad_norm_: max_norm must not be negative, got ", max_norm);
  if (!(norm_type > 0)) fail<ValueError>("clip_grad_norm_: norm_type must be positive, got ", norm_type);
  const NoGrad off;
  const std::vector<Tensor> grads = gradients_of(parameters);
  if (grads.empty()) return zeros({});
  const std::vector<Device> devices = devices_of(grads);
  Tensor total = joint_norm(grads, norm_type, devices[0]);
  if (devices.size() > 1) {
    std::vector<Tensor> norms{total};
    for (size_t i = 1; i < devices.size(); ++i)
      norms.push_back(joint_norm(grads, norm_type, devices[i]).to(devices[0]));
    total = norm(stack(norms), norm_type);
  }
  if (error_if_nonfinite && !std::isfinite(total.item<double>()))
    fail<AutogradError>("clip_grad_norm_: the norm of the gradients is ", total.item<double>());
  for (const Device device : devices) scale_on(device, grads, max_norm, total);
  const bool wide = std::ranges::any_of(grads, [](const Tensor& g) { return g.dtype() == f64; });
  return wide ? total : total.to(f32);
}

void clip_grad_value_(const std::vector<Tensor>& parameters, double value) {
  if (!(value >= 0)) fail<ValueError>("clip_grad_value_: the value must not be negative, got ", value);
  const NoGrad off;
  for (const Tensor& p : parameters)
    if (p.grad().defined()) copy_(p.grad(), clamp(p.grad(), -value, value));
}

}  // namespace tenrec
