#include "tenrec/autograd/curvature.h"

#include <algorithm>
#include <cmath>

#include "tenrec/autograd/backward.h"
#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"

namespace tenrec {
namespace {

using detail::gradients_or_zeros, detail::weighted_gradients;

std::vector<Tensor> detached(const std::vector<Tensor>& xs) {
  std::vector<Tensor> out;
  for (const Tensor& x : xs) out.push_back(x.detach());
  return out;
}

// Signs of x's shape and dtype: z with E[z z^T] = 1 and the least variance of z^T A z.
Tensor random_signs(const Tensor& x, Generator* generator) {
  const NoGrad off;
  const Tensor coins = empty(x.shape(), {.dtype = x.dtype(), .device = x.device()});
  bernoulli_(coins, 0.5, generator);
  return coins * 2 - 1;
}

std::vector<Tensor> random_signs(const std::vector<Tensor>& xs, Generator* generator) {
  std::vector<Tensor> out;
  for (const Tensor& x : xs) out.push_back(random_signs(x, generator));
  return out;
}

double dot(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  double total = 0;
  for (size_t i = 0; i < a.size(); ++i) total += sum(a[i].to(f64) * b[i].to(f64)).item<double>();
  return total;
}

void check_samples(const char* op, int64_t samples) {
  if (samples < 1) fail<ValueError>(op, ": samples must be at least 1, got ", samples);
}

}  // namespace

CurvatureProduct::CurvatureProduct(const std::vector<Tensor>& params) : params_(params) {
  detail::check_params("CurvatureProduct", params);
}

int64_t CurvatureProduct::size() const {
  int64_t n = 0;
  for (const Tensor& p : params_) n += p.numel();
  return n;
}

std::vector<Tensor> CurvatureProduct::operator()(const std::vector<Tensor>& vs) const {
  detail::check_directions("CurvatureProduct", params_, vs);
  return detached(product(vs));
}

Tensor CurvatureProduct::matvec(const Tensor& v) const {
  const NoGrad off;
  return parameters_to_vector(product(vector_to_tensors(v, params_))).to(v.dtype());
}

Tensor CurvatureProduct::dense() const {
  const NoGrad off;
  const Tensor all = parameters_to_vector(gradient_);
  const int64_t n = all.numel();
  const Tensor out = empty({n, n}, {.dtype = all.dtype(), .device = all.device()});
  const Tensor unit = zeros_like(all);
  for (int64_t i = 0; i < n; ++i) {
    fill_(select(unit, 0, i), 1);
    copy_(select(out, 0, i), matvec(unit));
    fill_(select(unit, 0, i), 0);
  }
  return out;
}

HessianProduct::HessianProduct(const Closure& loss, const std::vector<Tensor>& params) : CurvatureProduct(params) {
  const EnableGrad recording;
  const Tensor y = loss();
  detail::check_single("HessianProduct", y);
  value_ = y.detach();
  recorded_ = gradients_or_zeros(y, params_, {}, true);
  gradient_ = detached(recorded_);
}

std::vector<Tensor> HessianProduct::product(const std::vector<Tensor>& vs) const {
  return weighted_gradients(recorded_, params_, vs, false);
}

GaussNewtonProduct::GaussNewtonProduct(const Closure& outputs, const std::function<Tensor(const Tensor&)>& loss,
                                       const std::vector<Tensor>& params)
    : CurvatureProduct(params) {
  const EnableGrad recording;
  outputs_ = outputs();
  if (!outputs_.defined() || !is_floating(outputs_.dtype()))
    fail<ValueError>("GaussNewtonProduct: the outputs must be a floating tensor");
  cotangent_ = zeros_like(outputs_).set_requires_grad(true);
  transposed_ = gradients_or_zeros(outputs_, params_, cotangent_, true);
  point_ = outputs_.detach().set_requires_grad(true);
  const Tensor y = loss(point_);
  detail::check_single("GaussNewtonProduct", y);
  value_ = y.detach();
  loss_gradient_ = gradients_or_zeros(y, {point_}, {}, true)[0];
  gradient_ = detached(gradients_or_zeros(outputs_, params_, loss_gradient_.detach(), false));
}

std::vector<Tensor> GaussNewtonProduct::product(const std::vector<Tensor>& vs) const {
  const Tensor jv = weighted_gradients(transposed_, {cotangent_}, vs, false)[0];
  const Tensor hjv = weighted_gradients({loss_gradient_}, {point_}, {jv}, false)[0];
  return gradients_or_zeros(outputs_, params_, hjv, false);
}

ValueAndTensors ggnvp(const Closure& outputs, const std::function<Tensor(const Tensor&)>& loss,
                      const std::vector<Tensor>& params, const std::vector<Tensor>& vs) {
  const GaussNewtonProduct product(outputs, loss, params);
  return {product.value(), product(vs)};
}

ValueAndTensors fvp(const Closure& losses, const std::vector<Tensor>& params, const std::vector<Tensor>& vs) {
  Tensor mean_loss;
  const auto outputs = [&] {
    const Tensor y = losses();
    if (!y.defined() || y.ndim() != 1)
      fail<ShapeError>("fvp: the closure must return a vector of losses, one of each sample");
    mean_loss = mean(y).detach();
    return y;
  };
  // The Hessian of this loss by the outputs is 1 / n.
  const auto half_mean_square = [](const Tensor& y) {
    return sum(y * y) * (0.5 / double(std::max<int64_t>(y.numel(), 1)));
  };
  std::vector<Tensor> products = ggnvp(outputs, half_mean_square, params, vs).tensors;
  return {mean_loss, std::move(products)};
}

std::vector<Tensor> per_sample_grads(const std::function<Tensor(int64_t)>& loss_of, int64_t n,
                                     const std::vector<Tensor>& params) {
  if (n < 1) fail<ValueError>("per_sample_grads: there must be at least one sample, got ", n);
  std::vector<std::vector<Tensor>> rows(params.size());
  for (int64_t i = 0; i < n; ++i) {
    const std::vector<Tensor> g = grad_and_value([&] { return loss_of(i); }, params).tensors;
    for (size_t k = 0; k < params.size(); ++k) rows[k].push_back(g[k]);
  }
  std::vector<Tensor> out;
  for (const std::vector<Tensor>& row : rows) out.push_back(stack(row));
  return out;
}

std::vector<Tensor> per_sample_grads(const Closure& losses, const std::vector<Tensor>& params) {
  const Tensor rows = jacobian(losses, params, {.mode = JacobianMode::rows}).jacobian;
  std::vector<Tensor> out;
  int64_t at = 0;
  for (const Tensor& p : params) {
    Shape shape = p.shape();
    shape.insert(0, rows.size(0));
    out.push_back(reshape(narrow(rows, 1, at, p.numel()), shape).to(p.dtype()));
    at += p.numel();
  }
  return out;
}

TraceEstimate trace(const CurvatureProduct& a, const ProbeOptions& options) {
  check_samples("trace", options.samples);
  const NoGrad off;
  double mean_value = 0, squares = 0;  // Welford's running sums
  for (int64_t i = 0; i < options.samples; ++i) {
    const std::vector<Tensor> z = random_signs(a.params(), options.generator);
    const double x = dot(z, a(z)), d = x - mean_value;
    mean_value += d / double(i + 1);
    squares += d * (x - mean_value);
  }
  const double n = double(options.samples);
  return {mean_value, options.samples > 1 ? std::sqrt(squares / (n - 1) / n) : 0};
}

TraceEstimate hessian_trace(const Closure& loss, const std::vector<Tensor>& params, const ProbeOptions& options) {
  return trace(HessianProduct(loss, params), options);
}

std::vector<Tensor> diagonal(const CurvatureProduct& a, const ProbeOptions& options) {
  check_samples("diagonal", options.samples);
  const NoGrad off;
  std::vector<Tensor> sums;
  for (const Tensor& p : a.params()) sums.push_back(zeros_like(p));
  for (int64_t i = 0; i < options.samples; ++i) {
    const std::vector<Tensor> z = random_signs(a.params(), options.generator), az = a(z);
    for (size_t k = 0; k < z.size(); ++k) add_(sums[k], z[k] * az[k], 1.0 / double(options.samples));
  }
  return sums;
}

std::vector<Tensor> hessian_diagonal(const Closure& loss, const std::vector<Tensor>& params,
                                     const ProbeOptions& options) {
  return diagonal(HessianProduct(loss, params), options);
}

}  // namespace tenrec
