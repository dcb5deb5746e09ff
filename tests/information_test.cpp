// Entropies and divergences, the Laplace approximation, dropout as a posterior, maximum likelihood by Newton-CG.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <span>
#include <stdexcept>

#include "support/expect_equal.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using namespace distributions;
using testing::expect_equal;

Tensor f64_tensor(const std::vector<double>& values) {
  const auto n = int64_t(values.size());
  return from_vector(values, {n});
}

TEST(Information, EntropyOfTables) {
  EXPECT_NEAR(entropy(full({8}, 0.125, {.dtype = f64})).item<double>(), std::log(8.0), 1e-15);
  EXPECT_EQ(entropy(f64_tensor({0, 1, 0})).item<double>(), 0);
  const Tensor p = from_vector(std::vector<double>{0.5, 0.2, 0.5, 0.8}, {2, 2});
  const Tensor rows = entropy(p, 0);
  EXPECT_NEAR(rows.item<double>(0), std::log(2.0), 1e-15);
  EXPECT_NEAR(rows.item<double>(1), -0.2 * std::log(0.2) - 0.8 * std::log(0.8), 1e-15);
}

TEST(Information, RelativeEntropyIsCategoricalsDivergence) {
  manual_seed(1);
  const Tensor p = softmax(randn({3, 5}, {.dtype = f64}), -1), q = softmax(randn({3, 5}, {.dtype = f64}), -1);
  expect_equal("kl", relative_entropy(p, q), kl_divergence(Categorical({.probs = p}), Categorical({.probs = q})),
               1e-14);
  EXPECT_EQ(relative_entropy(f64_tensor({0.5, 0.5}), f64_tensor({1, 0})).item<double>(),
            std::numeric_limits<double>::infinity());
  EXPECT_EQ(relative_entropy(f64_tensor({1, 0}), f64_tensor({1, 0})).item<double>(), 0);
  const GradcheckResult checked =
      gradcheck([](std::span<const Tensor> x) { return std::vector<Tensor>{relative_entropy(x[0], x[1])}; }, {p, q});
  EXPECT_TRUE(checked.ok) << checked.message;
}

TEST(Information, MutualInformation) {
  const Tensor p = f64_tensor({0.2, 0.3, 0.5}), q = f64_tensor({0.6, 0.4});
  EXPECT_NEAR(mutual_information(unsqueeze(p, 1) * q).item<double>(), 0, 1e-15);  // independent
  const Tensor same = p * eye(3, {.dtype = f64});                                 // each says all of the other
  EXPECT_NEAR(mutual_information(same).item<double>(), entropy(p).item<double>(), 1e-15);
  EXPECT_THROW(mutual_information(p), ShapeError);
}

void expect_within(const MonteCarloEstimate& e, double expected) {
  const double error = e.standard_error.item<double>();
  EXPECT_GT(error, 0);
  EXPECT_LT(std::abs(e.value.item<double>() - expected), 4.5 * error) << e.value.item<double>() << " " << expected;
}

TEST(Information, SampledDivergencesFindTheClosedForms) {
  Generator g(2);
  const auto number = [](double v) { return full({}, v, {.dtype = f64}); };
  const Normal p(number(0.3), number(1.5)), q(number(-1), number(2));
  expect_within(kl_divergence_monte_carlo(p, q, 20'000, &g), kl_divergence(p, q).item<double>());
  expect_within(cross_entropy_monte_carlo(p, p, 20'000, &g), p.entropy().item<double>());
  const Poisson a(number(3)), b(number(5));
  expect_within(kl_divergence_monte_carlo(a, b, 20'000, &g), kl_divergence(a, b).item<double>());
  // Through the draws: d KL / d loc of p is (loc_p - loc_q) / scale_q^2.
  const Tensor loc = number(0.3).set_requires_grad(true);
  const MonteCarloEstimate e = kl_divergence_monte_carlo(Normal(loc, number(1.5)), q, 20'000, &g);
  EXPECT_NEAR(grad(e.value, {loc})[0].item<double>(), 1.3 / 4, 0.03);
  EXPECT_THROW(kl_divergence_monte_carlo(p, q, 1), ValueError);
}

// The maximum of a gamma's likelihood has no closed form: psi(a) - log a = mean log x - log mean x, rate = a / mean x.
TEST(Information, MaximumLikelihoodByNewtonCg) {
  Generator g(3);
  const Tensor x = Gamma(full({}, 2.5, {.dtype = f64}), full({}, 0.7, {.dtype = f64})).sample({500}, &g);
  const Tensor logs = zeros({2}, {.dtype = f64}).set_requires_grad(true);
  NewtonCG optimizer({logs});
  const StepResult r = minimize(optimizer, [&] { return -mean(Gamma(exp(logs[0]), exp(logs[1])).log_prob(x)); });
  EXPECT_EQ(r.status, StepStatus::converged) << r.message;
  const double a = std::exp(logs.item<double>(0)), rate = std::exp(logs.item<double>(1));
  const double m = mean(x).item<double>(), l = mean(log(x)).item<double>();
  EXPECT_NEAR(digamma(full({}, a, {.dtype = f64})).item<double>() - std::log(a), l - std::log(m), 1e-9);
  EXPECT_NEAR(rate, a / m, 1e-9);
}

// Bayesian linear regression with known noise: the posterior is normal, so the approximation is exact.
TEST(Laplace, IsExactForLinearRegression) {
  manual_seed(4);
  constexpr int64_t n = 40, d = 3;
  constexpr double kNoise = 0.5, kPrior = 2, kTwoPi = 6.283185307179586;
  const Tensor x = randn({n, d}, {.dtype = f64});
  const Tensor y = matmul(x, f64_tensor({1, -2, 0.5})) + randn({n}, {.dtype = f64}) * kNoise;
  const Tensor w = zeros({d}, {.dtype = f64}).set_requires_grad(true);
  const auto loss = [&] {
    const Tensor r = y - matmul(x, w);
    return sum(r * r) / (2 * kNoise * kNoise) + sum(w * w) / (2 * kPrior * kPrior) +
           (double(n) / 2 * std::log(kTwoPi * kNoise * kNoise) + double(d) / 2 * std::log(kTwoPi * kPrior * kPrior));
  };
  Newton optimizer({w});
  minimize(optimizer, loss);
  const LaplaceApproximation posterior(loss, {w});
  const Tensor unit = eye(d, {.dtype = f64}), xt = transpose(x, 0, 1);
  expect_equal("covariance", posterior.covariance(), inv(matmul(xt, x) / (kNoise * kNoise) + unit / (kPrior * kPrior)),
               1e-12);
  // The evidence: y is normal with covariance noise^2 + prior^2 x x^T.
  const Tensor spread = eye(n, {.dtype = f64}) * (kNoise * kNoise) + matmul(x, xt) * (kPrior * kPrior);
  const double expected =
      MultivariateNormal(zeros({n}, {.dtype = f64}), {.covariance_matrix = spread}).log_prob(y).item<double>();
  EXPECT_NEAR(posterior.log_evidence(), expected, 1e-9);
  // Predictions: x* C x*^T.
  Generator g(5);
  const Tensor at = randn({4, d}, {.dtype = f64});
  const std::vector<double> before = w.to_vector<double>();
  const PredictiveMoments moments = posterior.predict([&] { return matmul(at, w); }, 20'000, &g);
  EXPECT_EQ(w.to_vector<double>(), before);
  const Tensor variance = tenrec::diagonal(matmul(matmul(at, posterior.covariance()), transpose(at, 0, 1)));
  for (int64_t i = 0; i < 4; ++i) {
    const double v = variance.item<double>(i);
    EXPECT_NEAR(moments.variance.item<double>(i), v, 0.06 * v);
    EXPECT_NEAR(moments.mean.item<double>(i), matmul(at, w).item<double>(i), 4.5 * std::sqrt(v / 20'000));
  }
  EXPECT_THROW(posterior.predict([&]() -> Tensor { throw std::runtime_error("no"); }, 5), std::runtime_error);
  EXPECT_EQ(w.to_vector<double>(), before);
  EXPECT_THROW(posterior.predict([&] { return w; }, 1), ValueError);
}

TEST(Laplace, RefusesASaddle) {
  const Tensor w = zeros({2}, {.dtype = f64}).set_requires_grad(true);
  EXPECT_THROW(LaplaceApproximation([&] { return w[0] * w[0] - w[1] * w[1]; }, {w}), NumericError);
}

TEST(MonteCarloDropout, SpreadsOnlyWhileItPredicts) {
  manual_seed(6);
  Sequential net(Linear(3, 50), ReLU(), Dropout(0.5), Linear(50, 1));
  eval(net);
  const Tensor x = randn({4, 3});
  const std::vector<float> calm = net(x).to_vector<float>();
  const PredictiveMoments moments = monte_carlo_dropout(
      net, [&] { return net(x); }, 2000);
  EXPECT_GT(amin(moments.variance).item<double>(), 0);
  EXPECT_EQ(net(x).to_vector<float>(), calm);
  // The mean over masks of a linear layer behind them is the network without.
  for (int64_t i = 0; i < 4; ++i) {
    const double error = std::sqrt(moments.variance.item<double>(i, 0) / 2000);
    EXPECT_NEAR(moments.mean.item<double>(i, 0), calm[size_t(i)], 4.5 * error);
  }
  Sequential none(Linear(3, 1));
  EXPECT_THROW(monte_carlo_dropout(
                   none, [&] { return none(x); }, 5),
               ValueError);
}

}  // namespace
}  // namespace tenrec
