#include "tenrec/nn/information.h"

#include <cmath>

#include "tenrec/autograd/ops.h"

namespace tenrec {

Tensor entropy(const Tensor& probs, int64_t dim) { return -sum(xlogy(probs, probs), {.dim = dim}); }

Tensor relative_entropy(const Tensor& p, const Tensor& q, int64_t dim) {
  return sum(xlogy(p, p) - xlogy(p, q), {.dim = dim});
}

Tensor mutual_information(const Tensor& joint) {
  if (joint.ndim() < 2)
    fail<ShapeError>("mutual_information: expected joint probabilities [..., m, n], got ", joint.shape());
  const Tensor rows = sum(joint, {.dim = -1}), columns = sum(joint, {.dim = -2});
  return entropy(rows) + entropy(columns) - entropy(flatten(joint, -2, -1));
}

namespace distributions {
namespace {

MonteCarloEstimate mean_of(const Tensor& values) {
  const double root = std::sqrt(double(values.size(0)));
  return {tenrec::mean(values, {.dim = 0}), tenrec::std(values.detach(), {.dim = 0}) / root};
}

Tensor draws(const char* what, const Distribution& p, int64_t samples, Generator* generator) {
  if (samples < 2) fail<ValueError>(what, ": expected at least 2 samples, got ", samples);
  return p.has_rsample() ? p.rsample({samples}, generator) : p.sample({samples}, generator);
}

}  // namespace

MonteCarloEstimate kl_divergence_monte_carlo(const Distribution& p, const Distribution& q, int64_t samples,
                                             Generator* generator) {
  const Tensor x = draws("kl_divergence_monte_carlo", p, samples, generator);
  return mean_of(p.log_prob(x) - q.log_prob(x));
}

MonteCarloEstimate cross_entropy_monte_carlo(const Distribution& p, const Distribution& q, int64_t samples,
                                             Generator* generator) {
  return mean_of(-q.log_prob(draws("cross_entropy_monte_carlo", p, samples, generator)));
}

}  // namespace distributions
}  // namespace tenrec
