// Curvature of a loss: products with its Hessian and with the Gauss-Newton and Fisher matrices, and what can be learned
// from products alone: trace, diagonal, extreme eigenvalues and the density of the spectrum.
//
//   const HessianProduct h([&] { return cross_entropy(net(x), y); }, parameters(net));
//   eigenvalues(h, 5).values;                       // the five largest
//   h(vs);                                          // H v, as many as wanted
//
// A product object calls its closure once and keeps the graph of the gradient: a further product costs one pass over
// it. While it lives the parameters must not change; a product after that is an AutogradError of the tape. Random
// probes are +1 and -1, drawn from the generator in the options or the thread's own, so results depend on its seed
// alone. Scalars are double; vectors of the iterations are f64 where that is a dtype of the device.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "tenrec/autograd/functional.h"
#include "tenrec/core/random.h"
#include "tenrec/core/tensor.h"

namespace tenrec {

// A symmetric matrix at a point, known by its products. Errors as in functional.h.
class CurvatureProduct {
 public:
  virtual ~CurvatureProduct() = default;
  CurvatureProduct(const CurvatureProduct&) = delete;
  CurvatureProduct& operator=(const CurvatureProduct&) = delete;

  // The loss and its gradient at the point, off the tape.
  const Tensor& value() const { return value_; }
  const std::vector<Tensor>& gradient() const { return gradient_; }
  const std::vector<Tensor>& params() const { return params_; }
  int64_t size() const;  // elements of all parameters

  // vs have the shapes of the parameters.
  std::vector<Tensor> operator()(const std::vector<Tensor>& vs) const;
  // The same for the parameters laid end to end; v's dtype is kept.
  Tensor matvec(const Tensor& v) const;
  // [size, size], by as many products.
  Tensor dense() const;

 protected:
  explicit CurvatureProduct(const std::vector<Tensor>& params);
  virtual std::vector<Tensor> product(const std::vector<Tensor>& vs) const = 0;
  std::vector<Tensor> params_, gradient_;
  Tensor value_;
};

// The Hessian of a loss of one element.
class HessianProduct : public CurvatureProduct {
 public:
  HessianProduct(const Closure& loss, const std::vector<Tensor>& params);

 private:
  std::vector<Tensor> product(const std::vector<Tensor>& vs) const override;
  std::vector<Tensor> recorded_;  // the gradient on the tape
};

// J^T H J with J the Jacobian of the outputs and H the Hessian of the loss by them: the Hessian without what the
// curvature of the outputs adds; positive semidefinite if the loss is convex in them. For losses that are negative
// log-likelihoods of an exponential family in its natural parameters (squared error, cross-entropy of logits) it is the
// Fisher information. N. N. Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent"
// (2002); J. Martens, "New insights and perspectives on the natural gradient method" (2020).
class GaussNewtonProduct : public CurvatureProduct {
 public:
  GaussNewtonProduct(const Closure& outputs, const std::function<Tensor(const Tensor&)>& loss,
                     const std::vector<Tensor>& params);

 private:
  std::vector<Tensor> product(const std::vector<Tensor>& vs) const override;
  Tensor outputs_;    // on the tape
  Tensor cotangent_;  // u of transposed_ = J^T u
  std::vector<Tensor> transposed_;
  Tensor point_, loss_gradient_;  // the outputs as a leaf, and the gradient of the loss by it
};

// The loss and J^T H J v, once.
ValueAndTensors ggnvp(const Closure& outputs, const std::function<Tensor(const Tensor&)>& loss,
                      const std::vector<Tensor>& params, const std::vector<Tensor>& vs);
// The mean of the losses (a vector, one of each sample) and F v with F the mean of g_i g_i^T, g_i the gradient of loss
// i. With the targets of the data that is the empirical Fisher matrix; with targets drawn from the model's own
// predictions an unbiased estimate of the Fisher information. Kunstner, Balles and Hennig, "Limitations of the
// empirical Fisher approximation" (2019), on when they differ.
ValueAndTensors fvp(const Closure& losses, const std::vector<Tensor>& params, const std::vector<Tensor>& vs);

// The gradient of each sample's loss, [n, ...] for each parameter: loss_of(i) is the loss of sample i alone, so the
// cost is n small steps. And from one closure that returns all n losses, by n passes over its graph: for models that
// look at the whole batch (batch norm), where a sample's loss depends on the others.
std::vector<Tensor> per_sample_grads(const std::function<Tensor(int64_t)>& loss_of, int64_t n,
                                     const std::vector<Tensor>& params);
std::vector<Tensor> per_sample_grads(const Closure& losses, const std::vector<Tensor>& params);

struct ProbeOptions {
  int64_t samples = 100;
  Generator* generator = nullptr;
};
struct TraceEstimate {
  double value = 0;
  double standard_error = 0;  // of the mean over the samples; 0 for one sample
};
// The mean of z^T A z over random signs z. M. F. Hutchinson, "A stochastic estimator of the trace of the influence
// matrix for Laplacian smoothing splines" (1989).
TraceEstimate trace(const CurvatureProduct& a, const ProbeOptions& options = {});
TraceEstimate hessian_trace(const Closure& loss, const std::vector<Tensor>& params, const ProbeOptions& options = {});
// The mean of z * A z. C. Bekas, E. Kokiopoulou and Y. Saad, "An estimator for the diagonal of a matrix" (2007).
std::vector<Tensor> diagonal(const CurvatureProduct& a, const ProbeOptions& options = {});
std::vector<Tensor> hessian_diagonal(const Closure& loss, const std::vector<Tensor>& params,
                                     const ProbeOptions& options = {});

enum class Spectrum { largest, smallest, magnitude };
struct EigenOptions {
  Spectrum which = Spectrum::largest;  // algebraically, or by size
  int64_t max_iterations = 200;        // products, and vectors that are kept; at most the number of elements
  double tolerance = 1e-8;             // of a residual against the largest |eigenvalue|
  Generator* generator = nullptr;
};
struct EigenResult {
  std::vector<double> values = {};     // wanted first
  Tensor vectors = {};                 // [k, n], f64, rows of norm 1
  std::vector<double> residuals = {};  // |A x - value x|; f32 parameters leave the rounding of f32 in it
  int64_t iterations = 0;
  bool converged = false;  // the recurrence's own estimate of all k residuals is below the tolerance
};
// k eigenvalues by Lanczos' method with full reorthogonalisation. One that is repeated may be found once only: a Krylov
// space has one direction of each eigenspace. ValueError unless 1 <= k <= n. C. Lanczos, "An iteration method for the
// solution of the eigenvalue problem of linear differential and integral operators" (1950).
EigenResult eigenvalues(const CurvatureProduct& a, int64_t k, const EigenOptions& options = {});
EigenResult hessian_eigenvalues(const Closure& loss, const std::vector<Tensor>& params, int64_t k,
                                const EigenOptions& options = {});

struct DensityOptions {
  int64_t samples = 10;
  int64_t iterations = 80;  // Lanczos steps of a sample; at most the number of elements
  Generator* generator = nullptr;
};
// A measure of mass 1 with the first 2 * iterations moments of the spectrum, but for the probes' noise.
struct SpectralDensity {
  std::vector<double> nodes, weights;
  // The sum of weights * f(nodes): an estimate of trace(f(A)) / n.
  double mean(const std::function<double(double)>& f) const;
  // The density at x, each node widened to a normal distribution of deviation sigma.
  double at(double x, double sigma) const;
};
// Stochastic Lanczos quadrature. G. H. Golub and J. H. Welsch, "Calculation of Gauss quadrature rules" (1969); L. Lin,
// Y. Saad and C. Yang, "Approximating spectral densities of large matrices" (2016).
SpectralDensity spectral_density(const CurvatureProduct& a, const DensityOptions& options = {});
SpectralDensity hessian_density(const Closure& loss, const std::vector<Tensor>& params,
                                const DensityOptions& options = {});

}  // namespace tenrec
