#include "tenrec/nn/position.h"

#include <cmath>

#include "tenrec/autograd/ops.h"
#include "tenrec/nn/init.h"

namespace tenrec {
namespace {

void check_last(const char* name, const Tensor& x, int64_t dim) {
  if (x.ndim() < 2 || x.size(-1) != dim)
    fail<ShapeError>(name, ": expected [..., positions, ", dim, "], got ", x.shape());
}

// [length, dim / 2]: (first + p) base^(-2 i / dim), in f64, where large positions keep their digits.
Tensor angles(int64_t length, int64_t dim, int64_t first, double base, Device device) {
  const TensorOptions here{.dtype = f64, .device = device};
  const Tensor rates = exp(arange(0, dim, 2, here) * (-std::log(base) / double(dim)));
  return unsqueeze(arange(first, first + length, here), 1) * rates;
}

}  // namespace

Tensor sinusoidal_positions(int64_t length, int64_t dim, int64_t first, const TensorOptions& options) {
  if (length < 0 || dim < 1)
    fail<ValueError>("sinusoidal_positions: expected a length and a positive dim, got ", length, " and ", dim);
  const Tensor a = angles(length, dim, first, 10000, options.device);
  const Tensor pairs = reshape(stack({sin(a), cos(a)}, -1), {length, -1});
  return contiguous(narrow(pairs, 1, 0, dim)).to(options.dtype);
}

Tensor SinusoidalPositions::operator()(const Tensor& x, int64_t first) const {
  const ModuleScope scope(*this);
  check_last("SinusoidalPositions", x, dim_);
  return x + sinusoidal_positions(x.size(-2), dim_, first, {.dtype = x.dtype(), .device = x.device()});
}

LearnedPositions::LearnedPositions(int64_t max_length, int64_t dim) {
  if (max_length < 0 || dim < 0)
    fail<ValueError>("LearnedPositions: sizes must not be negative, got ", max_length, " and ", dim);
  weight = init::normal_(empty({max_length, dim}), 0, 0.02);
  weight.set_requires_grad(true);
}

Tensor LearnedPositions::operator()(const Tensor& x, int64_t first) const {
  const ModuleScope scope(*this);
  check_last("LearnedPositions", x, weight.size(1));
  if (first < 0 || first + x.size(-2) > weight.size(0))
    fail<IndexError>("LearnedPositions: positions ", first, " to ", first + x.size(-2) - 1, " of a table of ",
                     weight.size(0));
  return x + narrow(weight, 0, first, x.size(-2));
}

RotaryPositions::RotaryPositions(int64_t dim, const RotaryOptions& options) : dim_(dim), options_(options) {
  if (dim < 2 || dim % 2) fail<ValueError>("RotaryPositions: dim must be even, got ", dim);
}

Tensor RotaryPositions::operator()(const Tensor& x, int64_t first) const {
  const ModuleScope scope(*this);
  check_last("RotaryPositions", x, dim_);
  const Tensor a = angles(x.size(-2), dim_, first, options_.base, x.device());
  const Tensor c = cos(a).to(x.dtype()), s = sin(a).to(x.dtype());
  if (options_.interleaved) {
    const Tensor pairs = unflatten(x, -1, {dim_ / 2, 2});
    const Tensor left = select(pairs, -1, 0), right = select(pairs, -1, 1);
    return flatten(stack({left * c - right * s, left * s + right * c}, -1), -2, -1);
  }
  const Tensor left = narrow(x, -1, 0, dim_ / 2), right = narrow(x, -1, dim_ / 2, dim_ / 2);
  return cat({left * c - right * s, left * s + right * c}, -1);
}

Tensor alibi_slopes(int64_t heads, const TensorOptions& options) {
  if (heads < 1) fail<ValueError>("alibi_slopes: expected at least one head, got ", heads);
  int64_t power = 1;
  while (2 * power <= heads) power *= 2;
  std::vector<double> slopes;
  for (int64_t i = 1; i <= power; ++i) slopes.push_back(std::exp2(-8.0 * double(i) / double(power)));
  // The rest takes every other slope of twice as many heads.
  for (int64_t i = 1; i <= 2 * (heads - power); i += 2) slopes.push_back(std::exp2(-4.0 * double(i) / double(power)));
  return from_vector(slopes, {heads}).to(options.dtype).to(options.device);
}

Tensor alibi_bias(int64_t heads, int64_t queries, int64_t keys, int64_t first, const TensorOptions& options) {
  const TensorOptions here{.dtype = options.dtype, .device = options.device};
  const Tensor at = unsqueeze(arange(first, first + queries, here), -1), distance = abs(at - arange(keys, here));
  return -reshape(alibi_slopes(heads, here), {heads, 1, 1}) * distance;
}

}  // namespace tenrec
