#include "tenrec/nn/distributions/multivariate_normal.h"

#include "tenrec/autograd/ops.h"

namespace tenrec::distributions {

namespace {

constexpr double kLogTwoPi = 1.8378770664093453;

Tensor vanishes(const Tensor& x) { return eq(x, 0); }

Shape leading(const Shape& shape, int64_t dims) { return Shape(std::span(shape.begin(), size_t(shape.ndim() - dims))); }
Shape with(Shape shape, std::initializer_list<int64_t> sizes) {
  for (const int64_t size : sizes) shape.push_back(size);
  return shape;
}

Tensor flipped(const Tensor& x) { return flip(x, {-2, -1}); }

// The lower factor of a precision's inverse: P = U U^T with U upper triangular, which is Cholesky's factor from the
// last row on, so the inverse is (U^-T) (U^-T)^T.
Tensor scale_of_precision(const Tensor& precision) {
  const Tensor upper = flipped(cholesky(flipped(precision)));
  const Tensor unit = eye(precision.size(-1), {.dtype = precision.dtype(), .device = precision.device()});
  return solve_triangular(transpose(upper, -2, -1), unit);
}

Tensor scale_of(const char* name, const Spread& s) {
  const int given = s.scale_tril.defined() + s.covariance_matrix.defined() + s.precision_matrix.defined();
  if (given != 1)
    fail<ValueError>(name, ": expected one of scale_tril, covariance_matrix and precision_matrix, got ", given);
  const Tensor& m = s.scale_tril.defined()          ? s.scale_tril
                    : s.covariance_matrix.defined() ? s.covariance_matrix
                                                    : s.precision_matrix;
  if (m.ndim() < 2 || m.size(-1) != m.size(-2) || m.size(-1) < 1)
    fail<ShapeError>(name, ": expected a matrix [..., d, d], got ", m.shape());
  if (s.covariance_matrix.defined()) return cholesky(m);
  return s.precision_matrix.defined() ? scale_of_precision(m) : m;
}

}  // namespace

namespace detail {

Tensor log_det_lower(const Tensor& lower) { return sum(log(diagonal(lower, 0, -2, -1)), {.dim = -1}); }

}  // namespace detail

MultivariateNormal::MultivariateNormal(const Tensor& mean, const Spread& spread)
    : Distribution("MultivariateNormal", true) {
  const Tensor scale = scale_of(name(), spread);
  const Shape& m = scale.shape();
  if (mean.ndim() < 1 || m.back() != mean.shape().back())
    fail<ShapeError>(name(), ": expected loc [..., d] and a matrix [..., d, d], got ", mean.shape(), " and ", m);
  if (mean.dtype() != scale.dtype() || !is_floating(mean.dtype()))
    fail<DTypeError>(name(), ": expected loc and the matrix of one floating dtype, got ", mean.dtype(), " and ",
                     scale.dtype());
  const Shape batch = broadcast_shapes(name(), leading(mean.shape(), 1), leading(m, 2));
  const int64_t d = m.back();
  loc = expand(mean, with(batch, {d}));
  scale_tril = expand(scale, with(batch, {d, d}));
  detail::check_parameter(name(), "loc must be a number", loc, detail::is_number);
  detail::check_parameter(name(), "the diagonal of scale_tril must be positive", diagonal(scale_tril, 0, -2, -1),
                          detail::is_positive);
  detail::check_parameter(name(), "scale_tril must be lower triangular", triu(scale_tril, 1), vanishes);
  set_shapes(batch, {d});
}

Tensor MultivariateNormal::draw(const Shape& shape, Generator* generator) const {
  const Tensor noise = unsqueeze(detail::normal_noise(loc, shape, generator), -1);
  return loc + squeeze(matmul(scale_tril, noise), -1);
}

Tensor MultivariateNormal::log_prob(const Tensor& value) const {
  const Tensor away = solve_triangular(scale_tril, unsqueeze(value - loc, -1));
  const auto d = double(event_shape()[0]);
  return sum(square(away), {.dim = {-2, -1}}) * -0.5 - detail::log_det_lower(scale_tril) - d / 2 * kLogTwoPi;
}

Tensor MultivariateNormal::entropy() const {
  return detail::log_det_lower(scale_tril) + double(event_shape()[0]) / 2 * (1 + kLogTwoPi);
}

Tensor MultivariateNormal::variance() const { return sum(square(scale_tril), {.dim = -1}); }

}  // namespace tenrec::distributions
