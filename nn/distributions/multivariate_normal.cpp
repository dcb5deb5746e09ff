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

}  // namespace

namespace detail {

// Row i is (b_i - lower_i x) / lower_ii with the rows of x that are known.
Tensor solve_lower(const Tensor& lower, const Tensor& b) {
  std::vector<Tensor> rows;
  for (int64_t i = 0; i < lower.size(-1); ++i) {
    const Tensor row = narrow(lower, -2, i, 1);
    Tensor rest = narrow(b, -2, i, 1);
    if (i > 0) rest = rest - matmul(narrow(row, -1, 0, i), cat(rows, -2));
    rows.push_back(rest / narrow(row, -1, i, 1));
  }
  return cat(rows, -2);
}

Tensor log_det_lower(const Tensor& lower) { return sum(log(diagonal(lower, 0, -2, -1)), {.dim = -1}); }

}  // namespace detail

MultivariateNormal::MultivariateNormal(const Tensor& mean, const Spread& spread)
    : Distribution("MultivariateNormal", true) {
  if (spread.covariance_matrix.defined() || spread.precision_matrix.defined() || !spread.scale_tril.defined())
    fail<ValueError>(name(),
                     ": expected scale_tril, the Cholesky factor of the covariance; from a covariance or "
                     "precision matrix it is not computed here");
  const Shape& m = spread.scale_tril.shape();
  if (mean.ndim() < 1 || m.ndim() < 2 || m.back() != mean.shape().back() || m[m.ndim() - 2] != m.back() || m.back() < 1)
    fail<ShapeError>(name(), ": expected loc [..., d] and scale_tril [..., d, d], got ", mean.shape(), " and ", m);
  if (mean.dtype() != spread.scale_tril.dtype() || !is_floating(mean.dtype()))
    fail<DTypeError>(name(), ": expected loc and scale_tril of one floating dtype, got ", mean.dtype(), " and ",
                     spread.scale_tril.dtype());
  const Shape batch = broadcast_shapes(name(), leading(mean.shape(), 1), leading(m, 2));
  const int64_t d = m.back();
  loc = expand(mean, with(batch, {d}));
  scale_tril = expand(spread.scale_tril, with(batch, {d, d}));
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
  const Tensor away = detail::solve_lower(scale_tril, unsqueeze(value - loc, -1));
  const auto d = double(event_shape()[0]);
  return sum(square(away), {.dim = {-2, -1}}) * -0.5 - detail::log_det_lower(scale_tril) - d / 2 * kLogTwoPi;
}

Tensor MultivariateNormal::entropy() const {
  return detail::log_det_lower(scale_tril) + double(event_shape()[0]) / 2 * (1 + kLogTwoPi);
}

Tensor MultivariateNormal::variance() const { return sum(square(scale_tril), {.dim = -1}); }

}  // namespace tenrec::distributions
