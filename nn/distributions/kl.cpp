#include "tenrec/nn/distributions/kl.h"

#include <limits>

#include "tenrec/autograd/ops.h"

namespace tenrec::distributions {
namespace {

constexpr double kHalfLogTwoPi = 0.9189385332046727;
constexpr double kInf = std::numeric_limits<double>::infinity();

// p (log p - log q), 0 where p is 0, its derivative too.
Tensor weighted(const Tensor& p, const Tensor& log_p, const Tensor& log_q) {
  return p * where(eq(p, 0), 0, log_p - log_q);
}

Tensor binary(const BinaryOdds& p, const BinaryOdds& q) {
  const Tensor yes = p.probs();
  return weighted(yes, p.log_yes(), q.log_yes()) + weighted(1 - yes, p.log_no(), q.log_no());
}

// -H(p) - E_p[log q] of a normal q, from p's moments and entropy.
Tensor to_normal(const Distribution& p, const Normal& q) {
  return log(q.scale) + kHalfLogTwoPi + (p.variance() + square(p.mean() - q.loc)) / (square(q.scale) * 2) - p.entropy();
}

Gamma as_gamma(const Exponential& p) { return {ones_like(p.rate), p.rate}; }

}  // namespace

Tensor kl_divergence(const Normal& p, const Normal& q) {
  const Tensor ratio = square(p.scale / q.scale);
  return (ratio + square((p.loc - q.loc) / q.scale) - 1 - log(ratio)) / 2;
}

Tensor kl_divergence(const MultivariateNormal& p, const MultivariateNormal& q) {
  if (p.event_shape() != q.event_shape())
    fail<ShapeError>("kl_divergence: vectors of ", p.event_shape()[0], " and of ", q.event_shape()[0]);
  const Tensor spread = solve_triangular(q.scale_tril, p.scale_tril);
  const Tensor away = solve_triangular(q.scale_tril, unsqueeze(p.loc - q.loc, -1));
  const Dims matrix{-2, -1};
  return detail::log_det_lower(q.scale_tril) - detail::log_det_lower(p.scale_tril) +
         (sum(square(spread), {.dim = matrix}) + sum(square(away), {.dim = matrix}) - p.event_shape()[0]) / 2;
}

Tensor kl_divergence(const Laplace& p, const Laplace& q) {
  const Tensor ratio = p.scale / q.scale, away = abs(p.loc - q.loc);
  return away / q.scale + ratio * exp(-away / p.scale) - log(ratio) - 1;
}

Tensor kl_divergence(const Uniform& p, const Uniform& q) {
  return where(logical_and(le(q.low, p.low), ge(q.high, p.high)), q.entropy() - p.entropy(), kInf);
}

Tensor kl_divergence(const Exponential& p, const Exponential& q) {
  const Tensor ratio = q.rate / p.rate;
  return ratio - log(ratio) - 1;
}

Tensor kl_divergence(const Gamma& p, const Gamma& q) {
  const Tensor &a = p.concentration, &b = q.concentration;
  return b * log(p.rate / q.rate) + lgamma(b) - lgamma(a) + (a - b) * digamma(a) + (q.rate - p.rate) * (a / p.rate);
}

Tensor kl_divergence(const Beta& p, const Beta& q) {
  const Tensor both = p.concentration1 + p.concentration0, others = q.concentration1 + q.concentration0;
  const auto part = [](const Tensor& a, const Tensor& b) { return lgamma(b) - lgamma(a) + (a - b) * digamma(a); };
  return part(p.concentration1, q.concentration1) + part(p.concentration0, q.concentration0) - part(both, others);
}

Tensor kl_divergence(const Bernoulli& p, const Bernoulli& q) { return binary(p.odds(), q.odds()); }

Tensor kl_divergence(const Categorical& p, const Categorical& q) {
  return sum(weighted(p.probs(), p.logits(), q.logits()), {.dim = -1});
}

Tensor kl_divergence(const Binomial& p, const Binomial& q) {
  detail::check_parameter("kl_divergence", "two Binomials need the same total_count", eq(p.total_count, q.total_count),
                          [](const Tensor& same) { return same; });
  return p.total_count * binary(p.odds(), q.odds());
}

Tensor kl_divergence(const Poisson& p, const Poisson& q) {
  return weighted(p.rate, log(p.rate), log(q.rate)) - (p.rate - q.rate);
}

Tensor kl_divergence(const Exponential& p, const Gamma& q) { return kl_divergence(as_gamma(p), q); }
Tensor kl_divergence(const Gamma& p, const Exponential& q) { return kl_divergence(p, as_gamma(q)); }
Tensor kl_divergence(const Uniform& p, const Normal& q) { return to_normal(p, q); }
Tensor kl_divergence(const Laplace& p, const Normal& q) { return to_normal(p, q); }

}  // namespace tenrec::distributions
