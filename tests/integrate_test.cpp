// Integrals: orders, known values, gradients, errors of the Monte Carlo method against their estimate, what is refused.
#include "tenrec/autograd/integrate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/files.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using testing::message_of;

const TensorOptions kF64{.dtype = f64};

TEST(Simpson, CubicsAreExactAndTheOrderIsFour) {
  const auto cubic = [](const Tensor& x) { return 4 * x * x * x - 3 * x * x + 1; };
  EXPECT_NEAR(simpson(cubic, -1, 2, 2).item<double>(), 9, 1e-13);
  const auto error = [](int64_t n) {
    return std::abs(simpson([](const Tensor& x) { return exp(x); }, 0, 2, n).item<double>() - (std::exp(2) - 1));
  };
  EXPECT_NEAR(std::log2(error(16) / error(32)), 4, 0.05);
  EXPECT_NEAR(simpson(cubic, 2, -1).item<double>(), -9, 1e-12);  // the ends exchanged
}

TEST(Simpson, SamplesAlongADimension) {
  const Tensor x = linspace(0, 1, 101, kF64);
  const Tensor y = stack({sin(x), exp(x)});
  for (const Tensor& got : {simpson(y, 0.01), simpson(t(y), 0.01, 0)}) {
    EXPECT_NEAR(got.item<double>(0), 1 - std::cos(1), 1e-10);
    EXPECT_NEAR(got.item<double>(1), std::exp(1) - 1, 1e-10);
  }
}

TEST(Simpson, ManyFunctionsAndTheirGradients) {
  // The integral of e^(-k x) from a to b, by k and by the ends.
  const Tensor k = tensor({0.5, 1., 2.}, {.dtype = f64, .requires_grad = true});
  const Tensor a = full({}, 0.2, kF64).set_requires_grad(true), b = full({}, 1.5, kF64).set_requires_grad(true);
  const auto f = [&](const Tensor& x) { return exp(-unsqueeze(x, 1) * k); };
  const Tensor got = simpson(f, a, b, 200);
  ASSERT_EQ(to_string(got.shape()), "[3]");
  const std::vector<Tensor> g = grad(sum(got), {k, a, b});
  double by_a = 0, by_b = 0;
  for (int64_t i = 0; i < 3; ++i) {
    const double r = k.item<double>(i), low = std::exp(-0.2 * r), high = std::exp(-1.5 * r);
    EXPECT_NEAR(got.item<double>(i), (low - high) / r, 1e-9);
    EXPECT_NEAR(g[0].item<double>(i), (-0.2 * low + 1.5 * high) / r - (low - high) / (r * r), 1e-8);
    by_a -= low;
    by_b += high;
  }
  EXPECT_NEAR(g[1].item<double>(), by_a, 1e-8);
  EXPECT_NEAR(g[2].item<double>(), by_b, 1e-8);
  const auto checked = [](std::span<const Tensor> in) {
    return std::vector<Tensor>{simpson([&](const Tensor& x) { return sin(x * in[0]); }, in[1], in[2], 10)};
  };
  const GradcheckResult second = gradgradcheck(checked, {full({}, 1.3, kF64).set_requires_grad(true), a, b});
  EXPECT_TRUE(second) << second.message;
}

TEST(Simpson, AdaptiveMeetsItsTolerance) {
  struct Case {
    const char* name;
    Integrand f;
    double a, b, expected;
  };
  const std::vector<Case> cases = {
      {"exp", [](const Tensor& x) { return exp(x); }, 0, 1, std::exp(1) - 1},
      {"peak", [](const Tensor& x) { return 1 / (1e-4 + square(x)); }, -1, 1, 200 * std::atan(100.0)},
      {"power", [](const Tensor& x) { return pow(x, 1.5); }, 0, 1, 0.4},
      {"waves", [](const Tensor& x) { return square(sin(x * (8 * M_PI))); }, 0, 1, 0.5},
      {"backwards", [](const Tensor& x) { return cos(x); }, 1, 0, -std::sin(1)},
      {"nothing", [](const Tensor& x) { return cos(x); }, 1, 1, 0},
  };
  for (const Case& c : cases)
    for (const double tol : {1e-6, 1e-9})
      EXPECT_NEAR(adaptive_simpson(c.f, c.a, c.b, {.tol = tol}).item<double>(), c.expected, tol) << c.name;
  const Tensor k = full({}, 3, kF64).set_requires_grad(true);
  const Tensor y = adaptive_simpson([&](const Tensor& x) { return exp(k * x); }, 0, 1);
  EXPECT_NEAR(grad(y, {k})[0].item<double>(), (std::exp(3) * 2 + 1) / 9, 1e-8);
}

TEST(MonteCarlo, ErrorIsWhatItSays) {
  // The volume of the unit ball in four dimensions, pi^2 / 2, from [-1, 1]^4.
  const Tensor high = ones({4}, kF64), low = -high;
  const auto ball = [](const Tensor& x) { return (sum(square(x), {.dim = 1}) <= 1).to(f64); };
  double z_squared = 0;
  constexpr int kRuns = 40;
  Generator g(5);
  for (int i = 0; i < kRuns; ++i) {
    const MonteCarlo r = monte_carlo(ball, low, high, {.samples = 4000, .generator = &g});
    const double volume = M_PI * M_PI / 2, p = volume / 16;
    EXPECT_NEAR(r.standard_error.item<double>(), 16 * std::sqrt(p * (1 - p) / 4000), 0.01);
    z_squared += std::pow((r.mean.item<double>() - volume) / r.standard_error.item<double>(), 2);
  }
  EXPECT_NEAR(z_squared / kRuns, 1, 0.7);  // of chi squared with 40 degrees: three deviations
}

TEST(MonteCarlo, SeedThreadsAndGradients) {
  const int before = num_threads();
  const Tensor k = full({}, 2, kF64).set_requires_grad(true);
  const Tensor low = zeros({1}, kF64), high = ones({1}, {.dtype = f64, .requires_grad = true});
  std::vector<double> first;
  for (const int threads : {1, 2, 3, 4, 8}) {
    set_num_threads(threads);
    Generator g(9);
    const MonteCarlo r = monte_carlo([&](const Tensor& x) { return exp(k * squeeze(x, 1)); }, low, high,
                                     {.samples = 200'000, .generator = &g});
    const std::vector<Tensor> grads = grad(r.mean, {k, high});
    const std::vector<double> got = {r.mean.item<double>(), r.standard_error.item<double>(), grads[0].item<double>(),
                                     grads[1].item<double>()};
    if (first.empty()) first = got;
    EXPECT_TRUE(got == first) << threads << " threads";
  }
  set_num_threads(before);
  const double e2 = std::exp(2);
  EXPECT_NEAR(first[0], (e2 - 1) / 2, 5 * first[1]);
  EXPECT_NEAR(first[2], (e2 + 1) / 4, 0.02);
  EXPECT_NEAR(first[3], e2, 0.1);  // by the upper end: the integrand there
}

TEST(Integrate, BadArguments) {
  const auto one = [](const Tensor& x) { return ones_like(x); };
  const Tensor zero = zeros({}, kF64);
  EXPECT_CONTAINS(message_of<ShapeError>([] { simpson(ones({4})); }), "odd number of at least 3 samples, got 4");
  EXPECT_CONTAINS(message_of<ShapeError>([] { simpson(ones({})); }), "shape []");
  EXPECT_CONTAINS(message_of<DTypeError>([] { simpson(arange(3, {.dtype = i64})); }), "floating dtype, got i64");
  EXPECT_CONTAINS(message_of<IndexError>([] { simpson(ones({3}), 1, 2); }), "simpson");
  EXPECT_CONTAINS(message_of<ValueError>([&] { simpson(one, 0, 1, 3); }), "even and at least 2, got 3");
  EXPECT_CONTAINS(message_of<ShapeError>([&] { simpson(one, zero, ones({1}, kF64)); }), "0-d");
  EXPECT_CONTAINS(message_of<DTypeError>([&] { simpson(one, zero, zeros({})); }), "a is f64, b is f32");
  EXPECT_CONTAINS(message_of<ShapeError>([&] { simpson([](const Tensor& x) { return sum(x); }, 0, 1); }),
                  "simpson: f returned shape [] for 101 points");
  EXPECT_CONTAINS(message_of<ValueError>([&] { adaptive_simpson(one, 0, INFINITY); }), "from 0 to inf");
  EXPECT_CONTAINS(message_of<ValueError>([&] { adaptive_simpson(one, 0, 1, {.tol = 0}); }), "tol");
  EXPECT_CONTAINS(message_of<NumericError>([&] { adaptive_simpson([](const Tensor& x) { return 1 / x; }, 0, 1); }),
                  "adaptive_simpson: f(0) is inf");
  EXPECT_CONTAINS(message_of<NumericError>([&] {
                    adaptive_simpson([](const Tensor& x) { return 1 / (x + 1e-300); }, 0, 1, {.max_depth = 30});
                  }),
                  "after 30 halvings");
  EXPECT_CONTAINS(message_of<ValueError>([&] { monte_carlo(one, ones({1}), ones({1}), {.samples = 1}); }), "samples");
  EXPECT_CONTAINS(message_of<ShapeError>([&] { monte_carlo(one, ones({1}), ones({2})); }), "vectors of one length");
  EXPECT_CONTAINS(message_of<ShapeError>([&] { monte_carlo(one, zeros({1}), ones({1})); }), "monte_carlo: f returned");
}

}  // namespace
}  // namespace tenrec
