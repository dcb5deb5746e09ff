#include "tenrec/nn/norm.h"

#include "tenrec/autograd/checkpoint.h"
#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"

namespace tenrec {

BatchNorm::BatchNorm(int64_t channels, const BatchNormOptions& options, int64_t min_dims, int64_t max_dims)
    : channels_(channels), options_(options), min_dims_(min_dims), max_dims_(max_dims) {
  if (channels < 1) fail<ValueError>("BatchNorm: expected at least one channel, got ", channels);
  if (options.affine) {
    weight = ones({channels}, {.requires_grad = true});
    bias = zeros({channels}, {.requires_grad = true});
  }
  if (options.track_running_stats) {
    running_mean = zeros({channels});
    running_var = ones({channels});
    num_batches_tracked = zeros({}, {.dtype = i64});
  }
}

Tensor BatchNorm::operator()(const Tensor& x) const {
  const ModuleScope scope(*this);
  if (x.ndim() < min_dims_ || x.ndim() > max_dims_ || x.shape()[1] != channels_)
    fail<ShapeError>(type_name(), ": expected ", min_dims_ == max_dims_ ? "[n, c, h, w]" : "[n, c] or [n, c, l]",
                     " with ", channels_, " channels, got ", x.shape());
  const bool batch_statistics = is_training() || !running_mean.defined();
  if (is_training() && num_batches_tracked.defined() && !is_recomputing()) {
    const NoGrad off;
    add_(num_batches_tracked, ones_like(num_batches_tracked));
  }
  return batch_norm(x, running_mean, running_var, weight, bias,
                    {.training = batch_statistics, .momentum = options_.momentum, .eps = options_.eps});
}

void BatchNorm::reset_running_stats() {
  if (!running_mean.defined()) return;
  const NoGrad off;
  zero_(running_mean);
  fill_(running_var, 1);
  zero_(num_batches_tracked);
}

void BatchNorm::visit(Visitor& v) {
  v("weight", weight);
  v("bias", bias);
  v.buffer("running_mean", running_mean);
  v.buffer("running_var", running_var);
  v.buffer("num_batches_tracked", num_batches_tracked);
}

LayerNorm::LayerNorm(const Shape& shape, const LayerNormOptions& options) : shape_(shape), eps_(options.eps) {
  if (!options.affine) return;
  weight = ones(shape, {.requires_grad = true});
  if (options.bias) bias = zeros(shape, {.requires_grad = true});
}

Tensor LayerNorm::operator()(const Tensor& x) const {
  const ModuleScope scope(*this);
  return layer_norm(x, shape_, weight, bias, eps_);
}

void LayerNorm::visit(Visitor& v) {
  v("weight", weight);
  v("bias", bias);
}

RMSNorm::RMSNorm(const Shape& shape, const RMSNormOptions& options) : shape_(shape), eps_(options.eps) {
  if (options.affine) weight = ones(shape, {.requires_grad = true});
}

Tensor RMSNorm::operator()(const Tensor& x) const {
  const ModuleScope scope(*this);
  const auto epsilon = [&] {
    return x.dtype() == f64 ? 0x1p-52 : x.dtype() == bf16 ? 0x1p-7 : x.dtype() == f16 ? 0x1p-10 : 0x1p-23;
  };
  return rms_norm(x, shape_, weight, eps_ < 0 ? epsilon() : eps_);
}

namespace {

// x [n, channels, ...]: groups of neighbouring channels normalised, then weight and bias [channels].
Tensor normalize_groups(const Tensor& x, int64_t groups, const Tensor& weight, const Tensor& bias, double eps) {
  const int64_t n = x.size(0), channels = x.size(1);
  const int64_t along = x.numel() / std::max<int64_t>(1, n * groups);
  Tensor y = reshape(layer_norm(reshape(x, {n, groups, along}), {along}, {}, {}, eps), x.shape());
  Shape shape = Shape::filled(x.ndim(), 1);
  shape[1] = channels;
  if (weight.defined()) y = y * reshape(weight, shape);
  return bias.defined() ? y + reshape(bias, shape) : y;
}

}  // namespace

GroupNorm::GroupNorm(int64_t num_groups, int64_t channels, const GroupNormOptions& options)
    : groups_(num_groups), channels_(channels), eps_(options.eps) {
  if (num_groups < 1 || channels < 1 || channels % num_groups)
    fail<ValueError>("GroupNorm: channels must be a multiple of num_groups, got ", channels, " and ", num_groups);
  if (!options.affine) return;
  weight = ones({channels}, {.requires_grad = true});
  bias = zeros({channels}, {.requires_grad = true});
}

Tensor GroupNorm::operator()(const Tensor& x) const {
  const ModuleScope scope(*this);
  if (x.ndim() < 2 || x.size(1) != channels_)
    fail<ShapeError>("GroupNorm: expected [n, c, ...] with ", channels_, " channels, got ", x.shape());
  return normalize_groups(x, groups_, weight, bias, eps_);
}

void GroupNorm::visit(Visitor& v) {
  v("weight", weight);
  v("bias", bias);
}

InstanceNorm::InstanceNorm(int64_t channels, const InstanceNormOptions& options, int64_t dims)
    : channels_(channels), eps_(options.eps), dims_(dims) {
  if (channels < 1) fail<ValueError>("InstanceNorm: expected at least one channel, got ", channels);
  if (!options.affine) return;
  weight = ones({channels}, {.requires_grad = true});
  bias = zeros({channels}, {.requires_grad = true});
}

Tensor InstanceNorm::operator()(const Tensor& x) const {
  const ModuleScope scope(*this);
  const bool batched = x.ndim() == dims_;
  if ((!batched && x.ndim() != dims_ - 1) || x.size(batched ? 1 : 0) != channels_)
    fail<ShapeError>(type_name(), ": expected ", dims_ == 3 ? "[n, c, l] or [c, l]" : "[n, c, h, w] or [c, h, w]",
                     " with ", channels_, " channels, got ", x.shape());
  if (is_training() && x.numel() > 0 && x.numel() == channels_ * (batched ? x.size(0) : 1))
    fail<ValueError>(type_name(), ": needs more than one value per channel, got ", x.shape());
  const Tensor y = normalize_groups(batched ? x : unsqueeze(x, 0), channels_, weight, bias, eps_);
  return batched ? y : squeeze(y, 0);
}

void InstanceNorm::visit(Visitor& v) {
  v("weight", weight);
  v("bias", bias);
}

}  // namespace tenrec
