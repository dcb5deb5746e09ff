// The Kullback-Leibler divergence E_p[log p(x) - log q(x)] in closed form, of the shape the batches broadcast to.
// Infinite where p is possible and q is not.
#pragma once

#include "tenrec/nn/distributions/continuous.h"
#include "tenrec/nn/distributions/discrete.h"
#include "tenrec/nn/distributions/multivariate_normal.h"

namespace tenrec::distributions {

Tensor kl_divergence(const Normal& p, const Normal& q);
Tensor kl_divergence(const MultivariateNormal& p, const MultivariateNormal& q);
Tensor kl_divergence(const Laplace& p, const Laplace& q);
Tensor kl_divergence(const Uniform& p, const Uniform& q);
Tensor kl_divergence(const Exponential& p, const Exponential& q);
Tensor kl_divergence(const Gamma& p, const Gamma& q);
Tensor kl_divergence(const Beta& p, const Beta& q);
Tensor kl_divergence(const Bernoulli& p, const Bernoulli& q);
Tensor kl_divergence(const Categorical& p, const Categorical& q);
// ValueError unless both have the same total_count (checked on the CPU).
Tensor kl_divergence(const Binomial& p, const Binomial& q);
Tensor kl_divergence(const Poisson& p, const Poisson& q);

Tensor kl_divergence(const Exponential& p, const Gamma& q);
Tensor kl_divergence(const Gamma& p, const Exponential& q);
Tensor kl_divergence(const Uniform& p, const Normal& q);
Tensor kl_divergence(const Laplace& p, const Normal& q);

}  // namespace tenrec::distributions
