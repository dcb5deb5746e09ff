// Uncertainty of what was learned: the Laplace approximation of a posterior, and dropout at prediction.
#pragma once

#include "tenrec/autograd/functional.h"
#include "tenrec/core/random.h"
#include "tenrec/nn/module.h"

namespace tenrec {

// Of predictions over draws, each of their shape.
struct PredictiveMoments {
  Tensor mean, variance;  // variance: divided by n - 1
};

// The posterior taken as a normal distribution at its mode: the precision is the Hessian of -log p(data, parameters)
// there. P. S. Laplace (1774); D. J. C. MacKay, "A practical Bayesian framework for backpropagation networks" (1992).
//
//   minimize(newton, loss);                             // loss: the negative log posterior, up to a constant
//   const LaplaceApproximation posterior(loss, parameters(net));
//   posterior.predict([&] { return net(x); }, 100).variance;
//
// The Hessian is dense: n^2 numbers for n parameters. Everything is f64.
class LaplaceApproximation {
 public:
  // The parameters must be at a minimum of the loss: NumericError if the Hessian is not positive definite there.
  LaplaceApproximation(const Closure& loss, const std::vector<Tensor>& params);

  const Tensor& mean() const { return mean_; }            // [n], the parameters end to end
  const Tensor& precision() const { return precision_; }  // [n, n]
  Tensor covariance() const;
  // log of the integral of exp(-loss): -loss + n / 2 log 2 pi - log det H / 2. What models are compared by, if the loss
  // holds its constants.
  double log_evidence() const;
  // Draws [samples, n].
  Tensor sample(int64_t samples, Generator* generator = nullptr) const;
  // Of f with the parameters drawn, off the tape; the parameters are put back, also when f throws. ValueError for fewer
  // than 2 samples.
  PredictiveMoments predict(const Closure& f, int64_t samples, Generator* generator = nullptr) const;

 private:
  std::vector<Tensor> params_;
  Tensor mean_, precision_, factor_;  // factor_: Cholesky's, of the precision
  double loss_ = 0;
};

// Predictions with the Dropout layers of `root` at work, everything else as it is: draws from an approximate posterior.
// Y. Gal and Z. Ghahramani, "Dropout as a Bayesian approximation" (2016). The layers are put back, also when f throws.
// ValueError for fewer than 2 samples, or if there is no Dropout in `root`.
PredictiveMoments monte_carlo_dropout(Module& root, const Closure& f, int64_t samples);

}  // namespace tenrec
