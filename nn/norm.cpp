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

}  // namespace tenrec
