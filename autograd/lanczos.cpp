// Lanczos' method on curvature products: extreme eigenvalues and the density of the spectrum.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "tenrec/autograd/curvature.h"
#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"
#include "tenrec/autograd/ops/linalg.h"

namespace tenrec {
namespace {

// A Krylov basis that grows by a vector a step, and the tridiagonal matrix of A in it. Each new vector is made
// orthogonal to all others, twice ("twice is enough", W. Kahan): without it copies of eigenvalues appear. Where a step
// leaves nothing the space is invariant, and the next vector is a fresh random one, so the method can go on to n.
class Krylov {
 public:
  Krylov(const CurvatureProduct& a, int64_t steps, const Tensor& start, Generator* generator)
      : a_(a), generator_(generator), basis_(zeros({steps, start.numel()}, {.dtype = f64, .device = start.device()})) {
    put(start / norm(start));
  }

  int64_t size() const { return int64_t(alpha_.size()); }
  Tensor basis() const { return narrow(basis_, 0, 0, size()); }
  double last_beta() const { return beta_.back(); }

  // One product. False if it is not finite.
  bool step() {
    const Tensor q = select(basis_, 0, size());
    Tensor w = a_.matvec(q);
    alpha_.push_back(sum(w * q).item<double>());
    w = orthogonal(w);
    beta_.push_back(norm(w).item<double>());
    if (!std::isfinite(alpha_.back()) || !std::isfinite(beta_.back())) return false;
    scale_ = std::max({scale_, std::abs(alpha_.back()), beta_.back()});
    if (size() == basis_.size(0)) return true;
    if (beta_.back() > 1e-14 * double(basis_.size(1)) * scale_) {
      put(w / beta_.back());
    } else {
      beta_.back() = 0;
      const Tensor fresh = orthogonal(randn(w.shape(), {.dtype = f64, .device = w.device()}, generator_));
      put(fresh / norm(fresh));
    }
    return true;
  }

  Eigh ritz() const {
    const int64_t m = size();
    std::vector<double> t(size_t(m * m), 0.0);
    for (int64_t i = 0; i < m; ++i) {
      t[size_t(i * m + i)] = alpha_[size_t(i)];
      if (i + 1 < m) t[size_t((i + 1) * m + i)] = t[size_t(i * m + i + 1)] = beta_[size_t(i)];
    }
    return eigh(from_vector(t, {m, m}).to(Device{}));  // small: on the host
  }

 private:
  void put(const Tensor& q) { copy_(select(basis_, 0, size()), q); }
  Tensor orthogonal(Tensor w) const {
    const Tensor q = basis();
    for (int pass = 0; pass < 2 && q.numel() > 0; ++pass) w = w - matmul(matmul(q, w), q);
    return w;
  }

  const CurvatureProduct& a_;
  Generator* generator_;
  Tensor basis_;
  std::vector<double> alpha_, beta_;
  double scale_ = 0;
};

Tensor start_vector(const CurvatureProduct& a) {
  return zeros({a.size()}, {.dtype = f64, .device = a.params().at(0).device()});
}

// Places of the k wanted ones among rising values, the most wanted first.
std::vector<int64_t> wanted(const std::vector<double>& values, int64_t k, Spectrum which) {
  std::vector<int64_t> order(values.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = int64_t(i);
  const auto key = [&](int64_t i) {
    const double v = values[size_t(i)];
    return which == Spectrum::largest ? v : which == Spectrum::smallest ? -v : std::abs(v);
  };
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return key(a) > key(b); });
  order.resize(size_t(std::min(k, int64_t(order.size()))));
  return order;
}

// Whether the wanted Ritz pairs have residuals |beta_m s_m| below the tolerance.
bool settled(const Krylov& krylov, int64_t k, const EigenOptions& options) {
  if (krylov.size() < k) return false;
  const Eigh ritz = krylov.ritz();
  const std::vector<double> values = ritz.values.to_vector<double>();
  const double largest = std::max(std::abs(values.front()), std::abs(values.back()));
  const Tensor last = select(ritz.vectors, 0, krylov.size() - 1);
  for (const int64_t i : wanted(values, k, options.which))
    if (std::abs(last.item<double>(i)) * krylov.last_beta() > options.tolerance * largest) return false;
  return true;
}

EigenResult collect(const CurvatureProduct& a, const Krylov& krylov, int64_t k, const EigenOptions& options) {
  const Eigh ritz = krylov.ritz();
  const std::vector<double> values = ritz.values.to_vector<double>();
  EigenResult result{.iterations = krylov.size()};
  const Tensor basis = krylov.basis();
  std::vector<Tensor> rows;
  for (const int64_t i : wanted(values, k, options.which)) {
    const Tensor x = matmul(select(ritz.vectors, 1, i).to(basis.device()), basis);
    result.values.push_back(values[size_t(i)]);
    result.residuals.push_back(norm(a.matvec(x) - x * values[size_t(i)]).item<double>());
    rows.push_back(x / norm(x));
  }
  result.vectors = stack(rows);
  return result;
}

double normal_density(double x, double sigma) {
  return std::exp(-0.5 * (x / sigma) * (x / sigma)) / (sigma * std::sqrt(2 * std::numbers::pi));
}

}  // namespace

EigenResult eigenvalues(const CurvatureProduct& a, int64_t k, const EigenOptions& options) {
  const int64_t n = a.size();
  if (k < 1 || k > n) fail<ValueError>("eigenvalues: k must lie between 1 and ", n, ", got ", k);
  const NoGrad off;
  const int64_t steps = std::min(n, std::max(k, options.max_iterations));
  Krylov krylov(a, steps, normal_(start_vector(a), 0, 1, options.generator), options.generator);
  bool done = false;
  while (!done && krylov.size() < steps) {
    if (!krylov.step()) fail<NumericError>("eigenvalues: product ", krylov.size(), " is not finite");
    // The eigenvalues of the small matrix are not worth a look after each product.
    if (krylov.size() % 5 == 0 || krylov.size() == steps) done = settled(krylov, k, options);
  }
  EigenResult result = collect(a, krylov, k, options);
  result.converged = done || krylov.size() == n;
  return result;
}

EigenResult hessian_eigenvalues(const Closure& loss, const std::vector<Tensor>& params, int64_t k,
                                const EigenOptions& options) {
  return eigenvalues(HessianProduct(loss, params), k, options);
}

SpectralDensity spectral_density(const CurvatureProduct& a, const DensityOptions& options) {
  if (options.samples < 1) fail<ValueError>("spectral_density: samples must be at least 1, got ", options.samples);
  if (options.iterations < 1)
    fail<ValueError>("spectral_density: iterations must be at least 1, got ", options.iterations);
  const NoGrad off;
  SpectralDensity density;
  for (int64_t s = 0; s < options.samples; ++s) {
    const Tensor signs = bernoulli_(start_vector(a), 0.5, options.generator) * 2 - 1;
    Krylov krylov(a, std::min(options.iterations, a.size()), signs, options.generator);
    const int64_t steps = std::min(options.iterations, a.size());
    // Behind an invariant space (beta = 0) there is nothing of this probe's measure.
    do {
      if (!krylov.step()) fail<NumericError>("spectral_density: product ", krylov.size(), " is not finite");
    } while (krylov.size() < steps && krylov.last_beta() > 0);
    const Eigh ritz = krylov.ritz();
    const std::vector<double> nodes = ritz.values.to_vector<double>();
    const std::vector<double> first = select(ritz.vectors, 0, 0).to_vector<double>();
    for (size_t i = 0; i < nodes.size(); ++i) {
      density.nodes.push_back(nodes[i]);
      density.weights.push_back(first[i] * first[i] / double(options.samples));
    }
  }
  return density;
}

SpectralDensity hessian_density(const Closure& loss, const std::vector<Tensor>& params, const DensityOptions& options) {
  return spectral_density(HessianProduct(loss, params), options);
}

double SpectralDensity::mean(const std::function<double(double)>& f) const {
  double total = 0;
  for (size_t i = 0; i < nodes.size(); ++i) total += weights[i] * f(nodes[i]);
  return total;
}

double SpectralDensity::at(double x, double sigma) const {
  if (!(sigma > 0)) fail<ValueError>("SpectralDensity: sigma must be positive, got ", sigma);
  return mean([&](double node) { return normal_density(x - node, sigma); });
}

}  // namespace tenrec
