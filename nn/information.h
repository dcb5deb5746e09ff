// Information theory: of tables of probabilities in closed form, of distributions by sampling. All in nats.
//
// Tables are read as given, they are not normalised; 0 log 0 is 0. Everything is differentiable where the logarithms
// are.
#pragma once

#include "tenrec/nn/distributions/distribution.h"

namespace tenrec {

// -sum p log p over dim: of probabilities [..., n, ...], the dimension goes away.
Tensor entropy(const Tensor& probs, int64_t dim = -1);
// sum p log(p / q) over dim, p and q broadcast: infinite where q is 0 and p is not.
Tensor relative_entropy(const Tensor& p, const Tensor& q, int64_t dim = -1);
// Of joint probabilities [..., m, n]: what one of the two says of the other, sum p(x, y) log(p(x, y) / (p(x) p(y))).
Tensor mutual_information(const Tensor& joint);

namespace distributions {

// A mean over samples, and the standard error of it; of the distribution's batch shape.
struct MonteCarloEstimate {
  Tensor value, standard_error;
};
// E_p[log p(x) - log q(x)] where no closed form is known. Samples are drawn by rsample where p has one, so that the
// estimate has a gradient by p's parameters too; else it has one by q's alone. ValueError for fewer than 2 samples.
MonteCarloEstimate kl_divergence_monte_carlo(const Distribution& p, const Distribution& q, int64_t samples,
                                             Generator* generator = nullptr);
// -E_p[log q(x)], and with q = p the entropy of p.
MonteCarloEstimate cross_entropy_monte_carlo(const Distribution& p, const Distribution& q, int64_t samples,
                                             Generator* generator = nullptr);

}  // namespace distributions
}  // namespace tenrec
