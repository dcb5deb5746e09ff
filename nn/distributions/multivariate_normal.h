// The normal distribution of vectors.
#pragma once

#include "tenrec/nn/distributions/distribution.h"

namespace tenrec::distributions {

// Which of the three says how the vector spreads.
struct Spread {
  Tensor scale_tril = {};         // lower triangular, positive diagonal: covariance = scale_tril scale_tril^T
  Tensor covariance_matrix = {};  // ValueError for these two: they need a Cholesky decomposition
  Tensor precision_matrix = {};
};

// loc [..., d], scale_tril [..., d, d]; batch dimensions broadcast. What is above the diagonal must be 0.
class MultivariateNormal : public Distribution {
 public:
  MultivariateNormal(const Tensor& loc, const Spread& spread);
  Tensor log_prob(const Tensor& value) const override;
  Tensor entropy() const override;
  Tensor mean() const override { return loc; }
  Tensor variance() const override;
  Tensor loc, scale_tril;

 protected:
  Tensor draw(const Shape& shape, Generator* generator) const override;
};

namespace detail {
// x with lower x = b for lower triangular matrices [..., d, d] and b [..., d, k], by forward substitution.
Tensor solve_lower(const Tensor& lower, const Tensor& b);
// log |lower|, [...].
Tensor log_det_lower(const Tensor& lower);
}  // namespace detail

}  // namespace tenrec::distributions
