#include "tenrec/optim/grad_scaler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"

namespace tenrec {
namespace {

void check(const GradScalerOptions& o) {
  const auto need = [](bool ok, const char* rule, double value) {
    if (!ok) fail<ValueError>("GradScaler: ", rule, ", got ", value);
  };
  need(o.init_scale > 0 && std::isfinite(o.init_scale), "the scale must be positive and finite", o.init_scale);
  need(o.growth_factor > 1, "growth_factor must be above 1", o.growth_factor);
  need(o.backoff_factor > 0 && o.backoff_factor < 1, "backoff_factor must be between 0 and 1", o.backoff_factor);
  need(o.growth_interval >= 1, "growth_interval must be at least 1", double(o.growth_interval));
}

bool is_16_bit(DType dtype) { return dtype == bf16 || dtype == f16; }

// Whether all elements of all tensors are finite: the host waits for a device once, not once a tensor.
bool all_finite(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> largest;
  for (const Tensor& t : tensors)
    if (t.numel() > 0)
      largest.push_back(norm(t, std::numeric_limits<double>::infinity()).to(tensors[0].device()).to(f64));
  return largest.empty() || std::isfinite(max(stack(largest)).item<double>());
}

}  // namespace

GradScaler::GradScaler(const GradScalerOptions& options) : options_(options), scale_(options.init_scale) {
  check(options);
}

Tensor GradScaler::scale(const Tensor& loss) const {
  if (!options_.enabled) return loss;
  return (is_16_bit(loss.dtype()) ? loss.to(f32) : loss) * scale_;
}

GradScaler::Progress* GradScaler::find(const Optimizer& optimizer) {
  const auto it = std::find_if(progress_.begin(), progress_.end(),
                               [&](const Progress& progress) { return progress.optimizer == &optimizer; });
  return it == progress_.end() ? nullptr : &*it;
}

GradScaler::Progress& GradScaler::unscale(Optimizer& optimizer) {
  const NoGrad off;
  std::vector<Tensor> grads;
  for (const Tensor& parameter : optimizer.parameters()) {
    const Tensor grad = parameter.grad();
    if (!grad.defined()) continue;
    if (is_16_bit(grad.dtype()))
      fail<DTypeError>("GradScaler: a gradient of shape ", grad.shape(), " is ", grad.dtype(),
                       "; keep the parameters in f32 and use Autocast");
    grads.push_back(grad);
  }
  for (const Tensor& grad : grads) mul_(grad, 1 / scale_);
  progress_.push_back({&optimizer, false, !all_finite(grads)});
  return progress_.back();
}

void GradScaler::unscale_(Optimizer& optimizer) {
  if (!options_.enabled) return;
  if (const Progress* done = find(optimizer))
    fail<ValueError>("GradScaler: unscale_ after ", done->stepped ? "step" : "unscale_",
                     " of the same optimizer; call update() in between");
  unscale(optimizer);
}

bool GradScaler::step(Optimizer& optimizer) {
  if (!options_.enabled) {
    optimizer.step();
    return true;
  }
  Progress* done = find(optimizer);
  if (done && done->stepped) fail<ValueError>("GradScaler: step of the same optimizer twice; call update() in between");
  Progress& progress = done ? *done : unscale(optimizer);
  progress.stepped = true;
  if (!progress.found_inf) optimizer.step();
  return !progress.found_inf;
}

void GradScaler::update() {
  if (!options_.enabled) return;
  if (progress_.empty()) fail<ValueError>("GradScaler: update without a step or unscale_ before it");
  const bool found_inf = std::any_of(progress_.begin(), progress_.end(), [](const Progress& p) { return p.found_inf; });
  progress_.clear();
  if (found_inf) {
    scale_ *= options_.backoff_factor;
    growth_tracker_ = 0;
  } else if (++growth_tracker_ == options_.growth_interval) {
    growth_tracker_ = 0;
    const double grown = scale_ * options_.growth_factor;
    if (grown <= double(std::numeric_limits<float>::max())) scale_ = grown;
  }
}

std::vector<NamedTensor> GradScaler::state_dict() const {
  if (!options_.enabled) return {};
  const auto number = [](double value) { return scalar(value, {.dtype = f64, .device = kCpu}); };
  return {{"scale", number(scale_)},
          {"growth_factor", number(options_.growth_factor)},
          {"backoff_factor", number(options_.backoff_factor)},
          {"growth_interval", number(double(options_.growth_interval))},
          {"_growth_tracker", number(double(growth_tracker_))}};
}

void GradScaler::load_state_dict(const std::vector<NamedTensor>& state) {
  if (state.empty() && !options_.enabled) return;
  if (!options_.enabled) fail<ValueError>("GradScaler: a saved state for a scaler that is not enabled");
  const auto number = [&](const char* name) {
    for (const NamedTensor& entry : state)
      if (entry.name == name) return entry.tensor.item<double>();
    fail<ValueError>("GradScaler: the saved state has no ", name);
  };
  const auto count = [&](const char* name, double least, double most) {
    const double value = number(name);
    if (!(value >= least && value <= most)) fail<ValueError>("GradScaler: the saved ", name, " is ", value);
    return int64_t(value);
  };
  GradScalerOptions loaded{number("scale"), number("growth_factor"), number("backoff_factor"),
                           count("growth_interval", 1, 0x1p53)};
  check(loaded);
  const int64_t tracker = count("_growth_tracker", 0, double(loaded.growth_interval) - 1);
  scale_ = loaded.init_scale;
  loaded.init_scale = options_.init_scale;
  options_ = loaded;
  growth_tracker_ = tracker;
}

}  // namespace tenrec
