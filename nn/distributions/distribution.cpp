#include "tenrec/nn/distributions/distribution.h"

#include <limits>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"

namespace tenrec::distributions {

void Distribution::set_shapes(const Shape& batch, const Shape& event) {
  batch_shape_ = batch;
  event_shape_ = event;
}

Tensor Distribution::draw_for(const Shape& sample_shape, Generator* generator) const {
  Shape shape = sample_shape;
  for (const int64_t size : batch_shape_) shape.push_back(size);
  for (const int64_t size : event_shape_) shape.push_back(size);
  return draw(shape, generator);
}

Tensor Distribution::sample(const Shape& sample_shape, Generator* generator) const {
  const NoGrad off;
  return draw_for(sample_shape, generator);
}

Tensor Distribution::rsample(const Shape& sample_shape, Generator* generator) const {
  if (!has_rsample_) fail<ValueError>(name_, ": no rsample, its draws are discrete; sample and score log_prob");
  return draw_for(sample_shape, generator);
}

Tensor Distribution::entropy() const { fail<ValueError>(name_, ": the entropy has no closed form"); }

namespace detail {

std::vector<Tensor> broadcast_parameters(const char* name, std::initializer_list<Parameter> parameters) {
  const Tensor* first = nullptr;
  bool only_scalars = true;
  for (const Parameter& p : parameters) {
    if (!p.tensor.defined()) continue;
    if (!is_floating(p.tensor.dtype()))
      fail<DTypeError>(name, ": expected parameters of a floating dtype, got ", p.tensor.dtype());
    if (!first) first = &p.tensor;
    if (p.tensor.device() != first->device())
      fail<DeviceError>(name, ": one parameter is on ", first->device(), ", another on ", p.tensor.device());
    only_scalars &= p.tensor.ndim() == 0;
  }
  // 0-d tensors and numbers follow the others, as in arithmetic.
  const Tensor* leader = nullptr;
  DType dtype = f32;
  for (const Parameter& p : parameters) {
    if (!p.tensor.defined() || (p.tensor.ndim() == 0 && !only_scalars)) continue;
    dtype = leader ? promote(dtype, p.tensor.dtype()) : p.tensor.dtype();
    leader = &p.tensor;
  }
  const Device device = first ? first->device() : default_device();
  std::vector<Tensor> out;
  for (const Parameter& p : parameters)
    out.push_back(p.tensor.defined() ? p.tensor.to(dtype) : full({}, p.number, {.dtype = dtype, .device = device}));
  return broadcast_tensors(out);
}

void check_parameter(const char* name, const char* rule, const Tensor& x, Holds holds) {
  if (!x.device().is_cpu()) return;
  const NoGrad off;
  if (!all(holds(x.detach())).item<bool>()) fail<ValueError>(name, ": ", rule);
}

Tensor is_positive(const Tensor& x) { return gt(x, 0); }
Tensor is_number(const Tensor& x) { return logical_not(isnan(x)); }

Tensor uniform_noise(const Tensor& x, const Shape& shape, Generator* generator) {
  return rand(shape, {.dtype = x.dtype(), .device = x.device()}, generator);
}
Tensor normal_noise(const Tensor& x, const Shape& shape, Generator* generator) {
  return randn(shape, {.dtype = x.dtype(), .device = x.device()}, generator);
}
Tensor exponential_noise(const Tensor& x, const Shape& shape, Generator* generator) {
  return exponential_(empty(shape, {.dtype = x.dtype(), .device = x.device()}), 1, generator);
}

Tensor inside_or_never(const Tensor& inside, const Tensor& log_prob) {
  return where(inside, log_prob, -std::numeric_limits<double>::infinity());
}

}  // namespace detail
}  // namespace tenrec::distributions
