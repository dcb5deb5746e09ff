// Curvature: closures over parameters, products by Hessian, Gauss-Newton and Fisher matrices, and what is estimated
// from them, against torch.func (tools/make_newton_fixtures.py), dense matrices and finite differences.
#include "tenrec/autograd/curvature.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "support/expect_equal.h"
#include "support/files.h"
#include "tenrec/autograd/ops/linalg.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using testing::expect_equal, testing::message_of;

const Safetensors& fixture() {
  static const Safetensors file =
      load_safetensors(std::string(TENREC_SOURCE_DIR) + "/tests/fixtures/newton.safetensors");
  return file;
}

// The small classifier of the fixture: 3 - 4 - 3 with tanh, 31 parameters, 6 samples.
struct Net {
  Sequential net{Linear(3, 4), Tanh(), Linear(4, 3)};
  std::vector<Tensor> params, direction;
  Tensor x = fixture().at("net.x"), y = fixture().at("net.y");

  Net() {
    to(net, f64);
    std::vector<NamedTensor> start;
    for (const NamedTensor& p : named_parameters(net)) start.push_back({p.name, fixture().at("net." + p.name)});
    load_state_dict(net, start);
    params = parameters(net);
    direction = named("direction");
  }
  std::vector<Tensor> named(const std::string& what) {
    std::vector<Tensor> out;
    for (const NamedTensor& p : named_parameters(net)) out.push_back(fixture().at(what + "." + p.name));
    return out;
  }
  Tensor outputs() const { return net(x); }
  Tensor criterion(const Tensor& z) const { return cross_entropy(z, y); }
  Tensor loss() const { return criterion(outputs()); }
  Tensor losses() const { return cross_entropy(outputs(), y, {.reduction = Reduction::none}); }
  Closure closure() const {
    return [this] { return loss(); };
  }
};

void expect_all(const std::string& what, const std::vector<Tensor>& got, const std::vector<Tensor>& expected,
                double tolerance = 1e-12) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  for (size_t i = 0; i < got.size(); ++i) expect_equal(what + " " + std::to_string(i), got[i], expected[i], tolerance);
}

double dot(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  double total = 0;
  for (size_t i = 0; i < a.size(); ++i) total += sum(a[i].detach() * b[i]).item<double>();
  return total;
}

TEST(ClosureDerivatives, EqualTorch) {
  Net n;
  const auto value = grad_and_value(n.closure(), n.params);
  expect_all("gradient", value.tensors, n.named("gradient"));
  EXPECT_FALSE(value.value.requires_grad());
  expect_all("hvp", hvp(n.closure(), n.params, n.direction).tensors, n.named("hvp"));
  const auto outputs = [&] { return n.outputs(); };
  expect_equal("jvp", jvp(outputs, n.params, n.direction).tensors[0], fixture().at("jvp"), 1e-12);
  expect_equal("hessian", hessian(n.closure(), n.params), fixture().at("hessian"), 1e-12);
  for (const JacobianMode mode : {JacobianMode::automatic, JacobianMode::rows, JacobianMode::columns})
    expect_equal("jacobian", jacobian(outputs, n.params, {.mode = mode}).jacobian, fixture().at("jacobian"), 1e-12);
  const Tensor v = randn({6, 3}, {.dtype = f64});
  const Tensor by_rows = matmul(flatten(v), fixture().at("jacobian"));
  expect_equal("vjp", parameters_to_vector(vjp(outputs, n.params, v).tensors), by_rows, 1e-12);
  for (const Tensor& p : n.params) EXPECT_FALSE(p.grad().defined());
}

TEST(ClosureDerivatives, ThirdDerivativesEqualTorch) {
  Net n;
  const auto h = hvp(n.closure(), n.params, n.direction, {.create_graph = true});
  Tensor form = sum(h.tensors[0] * n.direction[0]);
  for (size_t i = 1; i < n.params.size(); ++i) form = form + sum(h.tensors[i] * n.direction[i]);
  expect_all("third", grad(form, n.params), n.named("third"), 1e-11);
}

TEST(ClosureDerivatives, BothFormsAgree) {
  const Tensor w = tensor({0.3, -0.8, 1.2}, {.dtype = f64, .requires_grad = true});
  const Tensor v = tensor({1., 0.5, -2.}, {.dtype = f64});
  const auto f = [](const std::vector<Tensor>& in) { return sum(exp(in[0]) * sum(in[0] * in[0])); };
  const auto closure = [&] { return f({w}); };
  expect_all("hvp", hvp(closure, {w}, {v}).tensors, hvp(f, {w}, {v}).tensors, 0);
  expect_all("gradient", grad_and_value(closure, {w}).tensors, grad_and_value(f, {w}).tensors, 0);
  expect_equal("hessian", hessian(closure, {w}), hessian([&](const Tensor& x) { return f({x}); }, w), 0);
  EXPECT_NO_THROW(jacobian([&] { return w * 2; }, {w}));
}

TEST(ClosureDerivatives, WhatALossDoesNotDependOnIsZero) {
  const Tensor a = ones({2}, {.dtype = f64, .requires_grad = true}),
               b = ones({3}, {.dtype = f64, .requires_grad = true});
  const auto linear = [&] { return sum(a); };
  for (const auto& result : {grad_and_value(linear, {a, b}), hvp(linear, {a, b}, {ones_like(a), ones_like(b)})})
    EXPECT_EQ(result.tensors[1].to_vector<double>(), std::vector<double>(3, 0.0));
  EXPECT_EQ(hessian(linear, {a, b}).to_vector<double>(), std::vector<double>(25, 0.0));
  EXPECT_EQ(jacobian([&] { return a * a; }, {a, b}).jacobian.to_vector<double>(),
            (std::vector<double>{2, 0, 0, 0, 0, 0, 2, 0, 0, 0}));
}

TEST(ClosureDerivatives, BadCallsAreNamed) {
  const Tensor a = ones({2}, {.dtype = f64, .requires_grad = true}), plain = ones({2}, {.dtype = f64});
  const auto vector = [&] { return a * 2; };
  const auto loss = [&] { return sum(a * a); };
  EXPECT_CONTAINS(message_of<ShapeError>([&] { hvp(vector, {a}, {plain}); }), "[2]");
  EXPECT_CONTAINS(message_of<ShapeError>([&] { hessian(vector, {a}); }), "one element");
  EXPECT_CONTAINS(message_of<ShapeError>([&] { hvp(loss, {a}, {ones({3}, {.dtype = f64})}); }), "direction 0");
  EXPECT_CONTAINS(message_of<ValueError>([&] { hvp(loss, {a}, {}); }), "0 directions");
  EXPECT_CONTAINS(message_of<AutogradError>([&] { grad_and_value(loss, {a, plain}); }), "parameter 1");
  EXPECT_CONTAINS(message_of<ShapeError>([&] { vector_to_tensors(ones({3}), {a}); }), "2 elements");
  EXPECT_THROW(hvp([] { return Tensor(); }, {a}, {plain}), ValueError);
}

TEST(Curvature, HessianProductIsTheHessian) {
  Net n;
  const HessianProduct h(n.closure(), n.params);
  EXPECT_EQ(h.size(), 31);
  expect_all("gradient", h.gradient(), n.named("gradient"));
  for (int repeat = 0; repeat < 2; ++repeat) expect_all("product", h(n.direction), n.named("hvp"));
  expect_equal("dense", h.dense(), fixture().at("hessian"), 1e-12);
  const Tensor v = randn({31}, {.dtype = f64});
  expect_equal("matvec", h.matvec(v), matmul(fixture().at("hessian"), v), 1e-12);
  {
    const NoGrad off;
    add_(n.params[0], ones_like(n.params[0]));
  }
  EXPECT_CONTAINS(message_of<AutogradError>([&] { h(n.direction); }), "changed in place");
}

TEST(Curvature, GaussNewtonAndFisherEqualTorch) {
  Net n;
  const auto outputs = [&] { return n.outputs(); };
  const auto criterion = [&](const Tensor& z) { return n.criterion(z); };
  expect_all("ggnvp", ggnvp(outputs, criterion, n.params, n.direction).tensors, n.named("ggnvp"));
  const GaussNewtonProduct g(outputs, criterion, n.params);
  expect_all("gradient", g.gradient(), n.named("gradient"));
  expect_all("again", g(n.direction), n.named("ggnvp"));
  const auto fisher = fvp([&] { return n.losses(); }, n.params, n.direction);
  expect_all("fvp", fisher.tensors, n.named("fvp"));
  EXPECT_NEAR(fisher.value.item<double>(), n.loss().item<double>(), 1e-14);
  EXPECT_CONTAINS(message_of<ShapeError>([&] { fvp(n.closure(), n.params, n.direction); }), "vector of losses");
  // Positive semidefinite where the Hessian is not, and equal to it where the outputs are linear in the parameters.
  EXPECT_GT(eigvalsh(g.dense()).item<double>(0), -1e-14);
  EXPECT_LT(eigvalsh(fixture().at("hessian")).item<double>(0), -1e-4);
  const Tensor w = randn({3, 3}, {.dtype = f64}).set_requires_grad(true);
  const auto linear = [&] { return matmul(n.x, w); };
  expect_equal("linear", GaussNewtonProduct(linear, criterion, {w}).dense(),
               hessian([&] { return criterion(linear()); }, {w}), 1e-13);
}

TEST(Curvature, PerSampleGradientsEqualTorch) {
  Net n;
  const auto loss_of = [&](int64_t i) { return cross_entropy(n.net(narrow(n.x, 0, i, 1)), narrow(n.y, 0, i, 1)); };
  expect_all("one by one", per_sample_grads(loss_of, 6, n.params), n.named("per_sample"));
  expect_all("from all losses", per_sample_grads([&] { return n.losses(); }, n.params), n.named("per_sample"));
  EXPECT_THROW(per_sample_grads(loss_of, 0, n.params), ValueError);
}

TEST(Curvature, EigenvaluesAreThoseOfTheDenseHessian) {
  Net n;
  const std::vector<double> exact = eigvalsh(fixture().at("hessian")).to_vector<double>();
  manual_seed(1);
  const EigenResult top = hessian_eigenvalues(n.closure(), n.params, 4);
  ASSERT_TRUE(top.converged);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(top.values[i], exact[exact.size() - 1 - i], 1e-10) << i;
    EXPECT_LT(top.residuals[i], 1e-7);
  }
  const Tensor x = top.vectors[0];
  EXPECT_NEAR(norm(x).item<double>(), 1, 1e-12);
  expect_equal("vector", matmul(fixture().at("hessian"), x), x * top.values[0], 1e-7);
  const EigenResult low = hessian_eigenvalues(n.closure(), n.params, 2, {.which = Spectrum::smallest});
  for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(low.values[i], exact[i], 1e-10);
  const EigenResult all = hessian_eigenvalues(n.closure(), n.params, 31);  // 31 of 31: some are 0, and repeated
  for (size_t i = 0; i < 31; ++i) EXPECT_NEAR(all.values[i], exact[30 - i], 1e-10);
  EXPECT_FALSE(hessian_eigenvalues(n.closure(), n.params, 2, {.max_iterations = 3}).converged);
  EXPECT_THROW(hessian_eigenvalues(n.closure(), n.params, 0), ValueError);
  EXPECT_THROW(hessian_eigenvalues(n.closure(), n.params, 32), ValueError);
}

// Eigenvalues 5 (twice), -7, 1 and 0 (twice): repeated ones are found after the space of the first vector is used up.
TEST(Curvature, RepeatedAndNegativeEigenvalues) {
  const Tensor d = tensor({5., 5., -7., 1., 0., 0.}, {.dtype = f64});
  const Tensor w = randn({6}, {.dtype = f64}).set_requires_grad(true);
  const auto loss = [&] { return sum(d * w * w) * 0.5; };
  EXPECT_EQ(hessian_eigenvalues(loss, {w}, 1, {.which = Spectrum::magnitude}).values.size(), 1u);
  EXPECT_NEAR(hessian_eigenvalues(loss, {w}, 1, {.which = Spectrum::magnitude}).values[0], -7, 1e-10);
  const EigenResult all = hessian_eigenvalues(loss, {w}, 6);
  const std::vector<double> expected{5, 5, 1, 0, 0, -7};
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(all.values[i], expected[i], 1e-10);
  const auto zero = [&] { return sum(w); };
  EXPECT_EQ(hessian_eigenvalues(zero, {w}, 1).values[0], 0);
}

TEST(Curvature, TraceAndDiagonalWithinTheirErrors) {
  Net n;
  const Tensor exact = diagonal(fixture().at("hessian"));
  const double expected = sum(exact).item<double>();
  Generator generator(3);
  const TraceEstimate estimate = hessian_trace(n.closure(), n.params, {.samples = 2000, .generator = &generator});
  EXPECT_NEAR(estimate.value, expected, 4 * estimate.standard_error);
  EXPECT_LT(estimate.standard_error, 0.05 * std::abs(expected));
  Generator again(3);
  EXPECT_EQ(hessian_trace(n.closure(), n.params, {.samples = 2000, .generator = &again}).value, estimate.value);
  // The estimate of element i has a variance of the sum of squares of its row without the diagonal, over the samples.
  const Tensor got = parameters_to_vector(hessian_diagonal(n.closure(), n.params, {.samples = 2000}));
  const Tensor off = fixture().at("hessian") - diag(exact);
  const Tensor deviation = sqrt(sum(off * off, {.dim = 1}) / 2000);
  EXPECT_TRUE(all(le(abs(got - exact), deviation * 4.5 + 1e-12)).item<bool>());
  // Of a diagonal matrix both are exact with one probe.
  const Tensor w = ones({3}, {.dtype = f64, .requires_grad = true}), d = tensor({1., -2., 4.}, {.dtype = f64});
  const auto loss = [&] { return sum(d * w * w) * 0.5; };
  EXPECT_NEAR(hessian_trace(loss, {w}, {.samples = 1}).value, 3, 1e-14);
  EXPECT_EQ(hessian_diagonal(loss, {w}, {.samples = 1})[0].to_vector<double>(), (std::vector<double>{1, -2, 4}));
  EXPECT_THROW(hessian_trace(loss, {w}, {.samples = 0}), ValueError);
}

TEST(Curvature, DensityHasTheMomentsOfTheSpectrum) {
  Net n;
  const Tensor& h = fixture().at("hessian");
  const std::vector<double> exact = eigvalsh(h).to_vector<double>();
  manual_seed(4);
  const SpectralDensity density = hessian_density(n.closure(), n.params, {.samples = 400, .iterations = 15});
  EXPECT_NEAR(density.mean([](double) { return 1.0; }), 1, 1e-12);
  for (int power = 1; power <= 4; ++power) {
    double expected = 0;
    for (const double e : exact) expected += std::pow(e, power) / 31;
    // A probe's moment has a variance of at most 2 tr(H^2p) / n^2 (Hutchinson).
    double variance = 0;
    for (const double e : exact) variance += 2 * std::pow(e, 2 * power) / (31.0 * 31.0);
    EXPECT_NEAR(density.mean([&](double x) { return std::pow(x, power); }), expected, 4 * std::sqrt(variance / 400));
  }
  double mass = 0;
  for (double x = -2; x < 4; x += 0.01) mass += density.at(x, 0.05) * 0.01;
  EXPECT_NEAR(mass, 1, 1e-6);
  EXPECT_THROW(density.at(0, 0), ValueError);
  // Few distinct eigenvalues: the quadrature is exact, probe by probe.
  const Tensor w = ones({8}, {.dtype = f64, .requires_grad = true});
  const Tensor d = tensor({2., 2., 2., 2., 2., 2., -3., -3.}, {.dtype = f64});
  const SpectralDensity two = hessian_density([&] { return sum(d * w * w) * 0.5; }, {w}, {.samples = 3});
  EXPECT_NEAR(two.mean([](double x) { return x > 0 ? 1 : 0; }), 0.75, 1e-10);
  ASSERT_EQ(two.nodes.size(), 6u);
}

TEST(Curvature, NotFiniteProductsAreAnError) {
  const Tensor w = zeros({2}, {.dtype = f64, .requires_grad = true});
  const auto loss = [&] { return sum(sqrt(w * w)); };
  EXPECT_THROW(hessian_eigenvalues(loss, {w}, 1), NumericError);
  EXPECT_THROW(hessian_density(loss, {w}), NumericError);
}

TEST(Curvature, SameBitsForAnyNumberOfThreads) {
  std::vector<double> first;
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    manual_seed(9);
    Sequential net(Linear(20, 64), Tanh(), Linear(64, 5));
    const Tensor x = randn({128, 20}), y = randint(0, 5, {128});
    const HessianProduct h([&] { return cross_entropy(net(x), y); }, parameters(net));
    std::vector<double> got = eigenvalues(h, 3, {.max_iterations = 40}).values;
    got.push_back(trace(h, {.samples = 5}).value);
    if (threads == 1) first = got;
    EXPECT_EQ(got, first);
  }
  set_num_threads(2);
}

// H v against central differences of the gradient, and its symmetry.
void expect_product(const std::string& what, const Closure& loss, const std::vector<Tensor>& params) {
  SCOPED_TRACE(what);
  std::vector<Tensor> v, w;
  for (const Tensor& p : params) {
    v.push_back(randn(p.shape(), {.dtype = f64}));
    w.push_back(randn(p.shape(), {.dtype = f64}));
  }
  const HessianProduct h(loss, params);
  const std::vector<Tensor> hv = h(v), hw = h(w);
  EXPECT_NEAR(dot(w, hv), dot(v, hw), 1e-9 * std::max(1.0, std::abs(dot(w, hv))));
  const Tensor center = parameters_to_vector(params).detach(), step = parameters_to_vector(v);
  constexpr double kStep = 1e-5;
  const auto gradient_at = [&](double t) {
    {
      const NoGrad off;
      vector_to_parameters(center + step * t, params);
    }
    return parameters_to_vector(grad_and_value(loss, params).tensors);
  };
  const Tensor numeric = (gradient_at(kStep) - gradient_at(-kStep)) / (2 * kStep);
  gradient_at(0);
  // The differences are good to kStep^2 times the third derivative.
  expect_equal("Hv", parameters_to_vector(hv), numeric, 2e-6);
  EXPECT_GT(norm(numeric).item<double>(), 1e-3) << "nothing to compare";
}

TEST(CurvatureOfLayers, Lstm) {
  manual_seed(5);
  LSTM layer(3, 4, {.num_layers = 2, .bidirectional = true});
  to(layer, f64);
  const Tensor x = randn({5, 2, 3}, {.dtype = f64});
  expect_product(
      "lstm", [&] { return sum(square(layer(x).output)); }, parameters(layer));
}

TEST(CurvatureOfLayers, Conv2d) {
  manual_seed(6);
  Conv2d first(2, 3, 3, {.stride = 2, .padding = 1}), second(3, 4, 3);
  to(first, f64);
  to(second, f64);
  const Tensor x = randn({2, 2, 7, 7}, {.dtype = f64});
  std::vector<Tensor> params = parameters(first);
  for (const Tensor& p : parameters(second)) params.push_back(p);
  expect_product(
      "conv2d", [&] { return mean(square(second(tanh(first(x))))); }, params);
}

TEST(CurvatureOfLayers, Attention) {
  manual_seed(7);
  MultiheadAttention layer(8, 2);
  to(layer, f64);
  const Tensor x = randn({5, 2, 8}, {.dtype = f64});
  expect_product(
      "attention", [&] { return sum(tanh(layer(x, {.is_causal = true}))); }, parameters(layer));
}

TEST(CurvatureOfLayers, BatchNorm) {
  manual_seed(8);
  Sequential net(Linear(3, 5), BatchNorm1d(5), Tanh(), Linear(5, 2));
  to(net, f64);
  const Tensor x = randn({7, 3}, {.dtype = f64}), y = randn({7, 2}, {.dtype = f64});
  expect_product(
      "batch norm", [&] { return mse_loss(net(x), y); }, parameters(net));
}

}  // namespace
}  // namespace tenrec
