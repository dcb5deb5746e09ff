// The normal distribution of vectors.
#pragma once

#include "tenrec/nn/distributions/distribution.h"

namespace tenrec::distributions {

// How the vector spreads: one of the three, each [..., d, d].
struct Spread {
  Tensor scale_tril = {};         // lower triangular, positive diagonal: covariance = scale_tril scale_tril^T
  Tensor covariance_matrix = {};  // symmetric, positive definite; its lower triangle is read
  Tensor precision_matrix = {};   // the covariance's inverse, likewise
};

// loc [..., d]; batch dimensions broadcast. ValueError unless exactly one of the three is given, and if there is
// something above the diagonal of scale_tril; NumericError for a covariance or precision that is not positive definite.
// f32 and f64.
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
// log |lower|, [...].
Tensor log_det_lower(const Tensor& lower);
}  // namespace detail

}  // namespace tenrec::distributions
