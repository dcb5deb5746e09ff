// Distributions against PyTorch's numbers (tools/make_distribution_fixtures.py), their draws against their distribution
// functions, moments and gradients, and what must not change a draw.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "support/expect_equal.h"
#include "support/files.h"
#include "support/statistics.h"

namespace tenrec::distributions {
namespace {

using testing::chi_square_excess;
using testing::counts_of;
using testing::expect_equal;
using testing::expect_moments;
using testing::kKolmogorov;
using testing::kolmogorov;
using Tensors = std::vector<Tensor>;
using Made = std::unique_ptr<Distribution>;

constexpr int64_t kMany = 100000;

// --- against PyTorch ------------------------------------------------------------------------------------------------

const Safetensors& fixture() {
  static const Safetensors file =
      load_safetensors(std::string(TENREC_SOURCE_DIR) + "/tests/fixtures/distributions.safetensors");
  return file;
}

const Tensor* find(const std::string& name) {
  for (const NamedTensor& t : fixture().tensors)
    if (t.name == name) return &t.tensor;
  return nullptr;
}

// PREFIX0, PREFIX1, ... as leaves.
Tensors leaves(const std::string& prefix) {
  Tensors all;
  while (const Tensor* t = find(prefix + std::to_string(all.size())))
    all.push_back(t->detach().set_requires_grad(true));
  EXPECT_FALSE(all.empty()) << prefix;
  return all;
}

void expect_gradients(const Tensor& loss, const Tensors& xs, const std::string& prefix, const std::string& letter) {
  const Tensors grads = grad(loss, xs, {.retain_graph = true});
  for (size_t i = 0; i < xs.size(); ++i)
    expect_equal("gradient of " + letter + std::to_string(i), grads[i],
                 fixture().at(prefix + ".grad." + letter + std::to_string(i)), 1e-9);
}

struct Row {
  const char* name;
  Made (*make)(const Tensors& p);
};
const Row kRows[] = {
    {"normal", [](const Tensors& p) -> Made { return std::make_unique<Normal>(p[0], p[1]); }},
    {"laplace", [](const Tensors& p) -> Made { return std::make_unique<Laplace>(p[0], p[1]); }},
    {"uniform", [](const Tensors& p) -> Made { return std::make_unique<Uniform>(p[0], p[0] + p[1]); }},
    {"exponential", [](const Tensors& p) -> Made { return std::make_unique<Exponential>(p[0]); }},
    {"gamma", [](const Tensors& p) -> Made { return std::make_unique<Gamma>(p[0], p[1]); }},
    {"beta", [](const Tensors& p) -> Made { return std::make_unique<Beta>(p[0], p[1]); }},
    {"student_t", [](const Tensors& p) -> Made { return std::make_unique<StudentT>(p[0], p[1], p[2]); }},
    {"multivariate",
     [](const Tensors& p) -> Made { return std::make_unique<MultivariateNormal>(p[0], Spread{.scale_tril = p[1]}); }},
    {"bernoulli", [](const Tensors& p) -> Made { return std::make_unique<Bernoulli>(Odds{.probs = p[0]}); }},
    {"bernoulli_logits", [](const Tensors& p) -> Made { return std::make_unique<Bernoulli>(Odds{.logits = p[0]}); }},
    {"categorical", [](const Tensors& p) -> Made { return std::make_unique<Categorical>(Odds{.probs = p[0]}); }},
    {"categorical_logits",
     [](const Tensors& p) -> Made { return std::make_unique<Categorical>(Odds{.logits = p[0]}); }},
    {"binomial", [](const Tensors& p) -> Made { return std::make_unique<Binomial>(12, Odds{.probs = p[0]}); }},
    {"binomial_logits", [](const Tensors& p) -> Made { return std::make_unique<Binomial>(30, Odds{.logits = p[0]}); }},
    {"poisson", [](const Tensors& p) -> Made { return std::make_unique<Poisson>(p[0]); }},
};

TEST(Distributions, EqualPyTorch) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.name);
    const std::string prefix = row.name;
    const auto at = [&](const char* key) { return fixture().at(prefix + "." + key); };
    const Tensors p = leaves(prefix + ".p");
    const Made d = row.make(p);
    const Tensor log_prob = d->log_prob(at("value"));
    expect_equal("log_prob", log_prob, at("log_prob"), 1e-10);
    expect_equal("mean", d->mean(), at("mean"), 1e-12);
    expect_equal("variance", d->variance(), at("variance"), 1e-12);
    Tensor loss = sum(log_prob);
    if (find(prefix + ".entropy")) {
      const Tensor entropy = d->entropy();
      expect_equal("entropy", entropy, at("entropy"), 1e-10);
      loss = loss + sum(entropy);
    } else {
      EXPECT_CONTAINS(testing::message_of<ValueError>([&] { d->entropy(); }), "no closed form");
    }
    expect_gradients(loss, p, prefix, "p");
  }
}

struct Divergence {
  const char* name;
  Tensor (*kl)(const Tensors& p, const Tensors& q);
};
Tensor counts() { return tensor({5., 40., 1.}, {.dtype = f64}); }
const Divergence kDivergences[] = {
    {"normal",
     [](const Tensors& p, const Tensors& q) { return kl_divergence(Normal(p[0], p[1]), Normal(q[0], q[1])); }},
    {"laplace",
     [](const Tensors& p, const Tensors& q) { return kl_divergence(Laplace(p[0], p[1]), Laplace(q[0], q[1])); }},
    {"uniform",
     [](const Tensors& p, const Tensors& q) { return kl_divergence(Uniform(p[0], p[1]), Uniform(q[0], q[1])); }},
    {"exponential",
     [](const Tensors& p, const Tensors& q) { return kl_divergence(Exponential(p[0]), Exponential(q[0])); }},
    {"gamma", [](const Tensors& p, const Tensors& q) { return kl_divergence(Gamma(p[0], p[1]), Gamma(q[0], q[1])); }},
    {"beta", [](const Tensors& p, const Tensors& q) { return kl_divergence(Beta(p[0], p[1]), Beta(q[0], q[1])); }},
    {"multivariate",
     [](const Tensors& p, const Tensors& q) {
       return kl_divergence(MultivariateNormal(p[0], {.scale_tril = p[1]}),
                            MultivariateNormal(q[0], {.scale_tril = q[1]}));
     }},
    {"bernoulli",
     [](const Tensors& p, const Tensors& q) {
       return kl_divergence(Bernoulli({.probs = p[0]}), Bernoulli({.logits = q[0]}));
     }},
    {"categorical",
     [](const Tensors& p, const Tensors& q) {
       return kl_divergence(Categorical({.probs = p[0]}), Categorical({.logits = q[0]}));
     }},
    {"binomial",
     [](const Tensors& p, const Tensors& q) {
       return kl_divergence(Binomial(counts(), {.logits = p[0]}), Binomial(counts(), {.logits = q[0]}));
     }},
    {"poisson", [](const Tensors& p, const Tensors& q) { return kl_divergence(Poisson(p[0]), Poisson(q[0])); }},
    {"exponential_gamma",
     [](const Tensors& p, const Tensors& q) { return kl_divergence(Exponential(p[0]), Gamma(q[0], q[1])); }},
    {"gamma_exponential",
     [](const Tensors& p, const Tensors& q) { return kl_divergence(Gamma(p[0], p[1]), Exponential(q[0])); }},
    {"uniform_normal",
     [](const Tensors& p, const Tensors& q) { return kl_divergence(Uniform(p[0], p[1]), Normal(q[0], q[1])); }},
    {"laplace_normal",
     [](const Tensors& p, const Tensors& q) { return kl_divergence(Laplace(p[0], p[1]), Normal(q[0], q[1])); }},
};

TEST(Distributions, DivergencesEqualPyTorch) {
  for (const Divergence& row : kDivergences) {
    SCOPED_TRACE(row.name);
    const std::string prefix = std::string("kl.") + row.name;
    const Tensors p = leaves(prefix + ".p"), q = leaves(prefix + ".q");
    const Tensor kl = row.kl(p, q);
    expect_equal("kl", kl, fixture().at(prefix + ".kl"), 1e-10);
    expect_gradients(sum(kl), p, prefix, "p");
    expect_gradients(sum(kl), q, prefix, "q");
  }
}

// --- draws ----------------------------------------------------------------------------------------------------------

std::vector<double> draws(const Distribution& d, uint64_t seed, int64_t n = kMany) {
  Generator generator(seed);
  return d.sample({n}, &generator).to_vector<double>();
}

// P(a, x) by its series.
double gamma_cdf(double a, double x) {
  double term = 1 / a, total = term;
  for (double n = a + 1; term > 1e-16 * total; ++n) total += term *= x / n;
  return std::exp(a * std::log(x) - x - std::lgamma(a)) * total;
}

TEST(Distributions, DrawsFollowTheirDistributionFunction) {
  const auto laplace = [](double x) { return x < 0 ? 0.5 * std::exp(x) : 1 - 0.5 * std::exp(-x); };
  for (const DType dtype : {f64, f32}) {
    const auto number = [dtype](double v) { return full({}, v, {.dtype = dtype}); };
    EXPECT_LT(
        kolmogorov(draws(Normal(number(1), number(2)), 1), [](double x) { return testing::normal_cdf((x - 1) / 2); }),
        kKolmogorov);
    EXPECT_LT(kolmogorov(draws(Laplace(number(-1), number(3)), 2), [&](double x) { return laplace((x + 1) / 3); }),
              kKolmogorov);
    EXPECT_LT(kolmogorov(draws(Uniform(number(-2), number(3)), 3), [](double x) { return (x + 2) / 5; }), kKolmogorov);
    EXPECT_LT(kolmogorov(draws(Exponential(number(4)), 4), [](double x) { return -std::expm1(-4 * x); }), kKolmogorov);
    for (const double a : {0.3, 1.0, 4.5})
      EXPECT_LT(kolmogorov(draws(Gamma(number(a), number(2)), 5), [&](double x) { return gamma_cdf(a, 2 * x); }),
                kKolmogorov)
          << a;
    EXPECT_LT(kolmogorov(draws(Beta(number(0.5), number(0.5)), 6),
                         [](double x) { return 2 / M_PI * std::asin(std::sqrt(x)); }),
              kKolmogorov);
    EXPECT_LT(
        kolmogorov(draws(Beta(number(2), number(3)), 7), [](double x) { return x * x * (6 - 8 * x + 3 * x * x); }),
        kKolmogorov);
    EXPECT_LT(kolmogorov(draws(StudentT(number(1), number(2), number(3)), 8),
                         [](double x) { return 0.5 + std::atan((x - 2) / 3) / M_PI; }),
              kKolmogorov);
    EXPECT_LT(kolmogorov(draws(StudentT(number(2)), 9), [](double x) { return 0.5 + x / (2 * std::sqrt(2 + x * x)); }),
              kKolmogorov);
  }
}

TEST(Distributions, DrawsHaveTheirMoments) {
  for (const Row& row : kRows) {
    const std::string prefix = row.name;
    // Classes have no moments, and of so few degrees of freedom the fourth is infinite.
    if (prefix.starts_with("categorical") || prefix == "student_t") continue;
    SCOPED_TRACE(prefix);
    const Made d = row.make(leaves(prefix + ".p"));
    Generator generator(11);
    const int64_t n = 20000;
    const Tensor x = reshape(d->sample({n}, &generator), {n, -1});
    const std::vector<double> mean = d->mean().detach().to_vector<double>(),
                              variance = d->variance().detach().to_vector<double>();
    for (size_t i = 0; i < mean.size(); ++i)
      expect_moments(select(x, 1, int64_t(i)).to_vector<double>(), mean[i], variance[i]);
  }
}

TEST(Distributions, CountsAreAsLikelyAsTheySay) {
  const auto expect_counts = [](const Distribution& d, int64_t classes) {
    Generator generator(12);
    const std::vector<double> counts = counts_of(d.sample({kMany}, &generator), classes);
    std::vector<double> expected =
        (exp(d.log_prob(arange(int64_t(counts.size())))) * double(kMany)).to_vector<double>();
    EXPECT_LT(chi_square_excess(counts, expected), 4) << d.name();
  };
  expect_counts(Bernoulli({.probs = full({}, 0.3)}), 2);
  expect_counts(Poisson(6.5), 1);
  // One by one, halved once, halved often, lopsided.
  for (const int64_t n : {0, 1, 7, 16, 17, 40, 1000})
    for (const double p : {0.0, 0.02, 0.5, 0.9, 1.0})
      expect_counts(Binomial(full({}, double(n), {.dtype = f64}), {.probs = full({}, p, {.dtype = f64})}), n + 1);
  const Categorical classes({.probs = tensor({1., 0., 3., 2., 4.})});
  Generator generator(13);
  const std::vector<double> counts = counts_of(classes.sample({kMany}, &generator), 5);
  EXPECT_EQ(counts[1], 0);
  EXPECT_LT(chi_square_excess(counts, (classes.probs() * double(kMany)).to_vector<double>()), 4);
}

TEST(Distributions, VectorsHaveTheirCovariance) {
  const Tensor tril = tensor({{1., 0., 0.}, {-0.5, 2., 0.}, {0.3, 0.7, 0.5}}, {.dtype = f64});
  const MultivariateNormal d(tensor({1., -2., 3.}, {.dtype = f64}), {.scale_tril = tril});
  Generator generator(14);
  const Tensor x = d.sample({kMany}, &generator) - d.loc;
  const Tensor covariance = matmul(t(x), x) / double(kMany), expected = matmul(tril, t(tril));
  EXPECT_LT(amax(abs(covariance - expected)).item<double>(), 0.06);
  // White again, each component is standard normal.
  const Tensor white = solve_triangular(tril, t(x));
  for (int64_t i = 0; i < 3; ++i) EXPECT_LT(kolmogorov(white[i].to_vector<double>(), testing::normal_cdf), kKolmogorov);
}

TEST(Distributions, VectorsByCovarianceAndPrecision) {
  const Tensor tril = tensor({{1., 0., 0.}, {-0.5, 2., 0.}, {0.3, 0.7, 0.5}}, {.dtype = f64});
  const Tensor loc = tensor({1., -2., 3.}, {.dtype = f64}), value = tensor({0.5, 0., 1.}, {.dtype = f64});
  const Tensor covariance = matmul(tril, t(tril)), precision = inv(covariance);
  const Tensor expected = MultivariateNormal(loc, {.scale_tril = tril}).log_prob(value);
  expect_equal("by covariance", MultivariateNormal(loc, {.covariance_matrix = covariance}).scale_tril, tril, 1e-12);
  expect_equal("by precision", MultivariateNormal(loc, {.precision_matrix = precision}).scale_tril, tril, 1e-12);
  expect_equal("log_prob", MultivariateNormal(loc, {.precision_matrix = precision}).log_prob(value), expected, 1e-12);
  // d log p / d covariance = (S d d^T S - S) / 2 with S the precision, d the distance.
  const Tensor c = covariance.detach().set_requires_grad(true), d = unsqueeze(value - loc, 1);
  const Tensor g = grad(MultivariateNormal(loc, {.covariance_matrix = c}).log_prob(value), {c})[0];
  expect_equal("gradient", g, (matmul(matmul(precision, matmul(d, t(d))), precision) - precision) / 2.0, 1e-12);
}

// --- gradients of draws ---------------------------------------------------------------------------------------------

// d/dp of the mean of f(x), x drawn n times, against the derivative of the expectation.
void expect_slope(const char* what, const Tensor& p, const Tensor& values, double expected) {
  const Tensor g = grad(sum(values) / double(values.numel()), {p})[0];
  EXPECT_NEAR(g.item<double>(), expected, 0.03 * std::max(1.0, std::abs(expected))) << what;
}

TEST(Distributions, GradientsOfDrawsAreThoseOfExpectations) {
  const auto leaf = [](double v) { return full({}, v, {.dtype = f64}).set_requires_grad(true); };
  Generator g(15);
  const Shape n{kMany};
  for (const double a : {0.4, 1.0, 3.0, 40.0}) {
    const Tensor shape = leaf(a), rate = leaf(2);
    const Tensor x = Gamma(shape, rate).rsample(n, &g);
    expect_slope("gamma, x^2 by shape", shape, square(x), (2 * a + 1) / 4);
    const Tensor y = Gamma(shape, rate).rsample(n, &g);
    expect_slope("gamma, log x by shape", shape, log(y), polygamma(1, leaf(a)).item<double>());
    expect_slope("gamma, x by rate", rate, Gamma(shape, rate).rsample(n, &g), -a / 4);
  }
  const Tensor a = leaf(2), b = leaf(3);
  expect_slope("beta by a", a, Beta(a, b).rsample(n, &g), 3.0 / 25);  // of a / (a + b)
  expect_slope("beta by b", b, Beta(a, b).rsample(n, &g), -2.0 / 25);
  const Tensor df = leaf(10), loc = leaf(1), scale = leaf(2);
  const auto t_squared = [&] { return square(StudentT(df, loc, scale).rsample(n, &g) - 1); };
  expect_slope("student by df", df, t_squared(), -4 * 2.0 / 64);  // of 4 df / (df - 2)
  expect_slope("student by scale", scale, t_squared(), 2 * 2 * 10.0 / 8);
  expect_slope("student by loc", loc, StudentT(df, loc, scale).rsample(n, &g), 1);
  expect_slope("normal by scale", scale, square(Normal(loc, scale).rsample(n, &g) - 1), 4);
  expect_slope("laplace by scale", scale, abs(Laplace(loc, scale).rsample(n, &g) - 1), 1);
  expect_slope("uniform by high", scale, Uniform(loc, scale).rsample(n, &g), 0.5);
  expect_slope("exponential by rate", scale, Exponential(scale).rsample(n, &g), -0.25);
}

// A variate moves so that its probability stays: the derivative of the quantile, found by bisection.
TEST(Distributions, GammaGradIsTheSlopeOfTheQuantile) {
  for (const double a : {0.2, 1.0, 3.7, 60.0})
    for (const double u : {0.03, 0.5, 0.97}) {
      const auto quantile = [u](double shape) {
        double low = 0, high = 400;
        for (int i = 0; i < 200; ++i) (gamma_cdf(shape, (low + high) / 2) < u ? low : high) = (low + high) / 2;
        return low;
      };
      const double h = 1e-4 * a, expected = (quantile(a + h) - quantile(a - h)) / (2 * h), x = quantile(a);
      const auto number = [](double v) { return full({}, v, {.dtype = f64}); };
      EXPECT_NEAR(gamma_grad(number(a), number(x)).item<double>(), expected, 1e-6 * std::max(1.0, expected))
          << a << " " << u;
    }
  // Far shapes: the expansion meets the series and the fraction.
  for (const double z : {-4.0, -0.5, 0.0, 1.0, 5.0}) {
    const auto at = [z](double a) {
      return gamma_grad(full({}, a, {.dtype = f64}), full({}, a + z * std::sqrt(a), {.dtype = f64})).item<double>();
    };
    EXPECT_NEAR(at(1e5 - 1), at(1e5 + 1), 2e-7) << z;
  }
}

TEST(Distributions, SecondDerivativesThroughNormalDraws) {
  const Tensor scale = full({3}, 2.0, {.dtype = f64}).set_requires_grad(true);
  Generator g(16);
  const Tensor x = Normal(zeros({3}, {.dtype = f64}), scale).rsample({}, &g);
  const Tensor first = grad(sum(pow(x, 3)), {scale}, {.create_graph = true})[0];
  const Tensor second = grad(sum(first), {scale})[0];  // 6 x z^2 with x = z scale
  expect_equal("second", second, x.detach() * square(x.detach() / 2) * 6, 1e-12);
  const Tensor shape = full({3}, 2.0, {.dtype = f64}).set_requires_grad(true);
  const Tensor y = Gamma(shape, 1).rsample({}, &g);
  EXPECT_CONTAINS(testing::message_of<AutogradError>([&] { grad(sum(y), {shape}, {.create_graph = true}); }),
                  "gamma_grad: this op has no derivative rule");
}

// --- what must not change a draw ------------------------------------------------------------------------------------

TEST(Distributions, DrawsDependOnTheGeneratorAlone) {
  const int before = num_threads();
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.name);
    const Made d = row.make(leaves(std::string(row.name) + ".p"));
    set_num_threads(1);
    const std::vector<double> first = draws(*d, 21, 500);
    for (const int threads : {2, 3, 8}) {
      set_num_threads(threads);
      EXPECT_EQ(draws(*d, 21, 500), first) << threads << " threads";
    }
    EXPECT_NE(draws(*d, 22, 500), first);
    manual_seed(21);
    EXPECT_EQ(d->sample({500}).to_vector<double>(), first) << "the default generator";
    Generator generator(21);
    if (d->has_rsample())
      EXPECT_EQ(d->rsample({500}, &generator).detach().to_vector<double>(), first);
    else
      EXPECT_CONTAINS(testing::message_of<ValueError>([&] { d->rsample(); }), "no rsample");
    EXPECT_FALSE(d->sample({2}).requires_grad());
  }
  set_num_threads(before);
}

TEST(Distributions, ADeviceDrawsTheSame) {
  if (!cuda::is_available()) GTEST_SKIP() << "skipped, no cuda device";
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.name);
    Tensors p = leaves(std::string(row.name) + ".p"), there;
    for (const Tensor& x : p) there.push_back(x.detach().to(DeviceType::cuda));
    const Made here = row.make(p), far = row.make(there);
    Generator a(31), b(31);
    const Tensor x = here->sample({20}, &a), y = far->sample({20}, &b);
    EXPECT_TRUE(y.device().is_cuda());
    expect_equal("draw", y.to(kCpu), x, 1e-12);
    expect_equal("log_prob", far->log_prob(y).to(kCpu), here->log_prob(x), 1e-9);
  }
}

TEST(Distributions, SupportAndShapes) {
  const auto never = -std::numeric_limits<double>::infinity();
  EXPECT_EQ(Uniform(0, 2).log_prob(tensor({-0.1, 2.})).to_vector<double>(), std::vector<double>(2, never));
  EXPECT_EQ(Exponential(1).log_prob(tensor({-0.1})).item<double>(), never);
  EXPECT_EQ(Gamma(2, 1).log_prob(tensor({-0.1})).item<double>(), never);
  EXPECT_EQ(Beta(2, 1).log_prob(tensor({1.1})).item<double>(), never);
  EXPECT_EQ(Poisson(2).log_prob(tensor({-1., 0.5})).to_vector<double>(), std::vector<double>(2, never));
  EXPECT_EQ(Binomial(3, {.probs = full({}, 0.5)}).log_prob(tensor({4., -1., 0.5})).to_vector<double>(),
            std::vector<double>(3, never));
  EXPECT_TRUE(std::isinf(kl_divergence(Uniform(0, 2), Uniform(1, 3)).item<double>()));
  EXPECT_EQ(kl_divergence(Poisson(0), Poisson(2)).item<double>(), 2);
  EXPECT_EQ(kl_divergence(Bernoulli({.probs = full({}, 0.0)}), Bernoulli({.probs = full({}, 0.0)})).item<double>(), 0);
  const Normal d(zeros({3, 1}), ones({4}));
  EXPECT_EQ(to_string(d.batch_shape()), "[3, 4]");
  EXPECT_EQ(to_string(d.sample({5, 2}).shape()), "[5, 2, 3, 4]");
  EXPECT_EQ(to_string(d.log_prob(zeros({5, 1, 1})).shape()), "[5, 3, 4]");
  const MultivariateNormal v(zeros({3}), {.scale_tril = expand(eye(3), {2, 3, 3})});
  EXPECT_EQ(to_string(v.sample({5}).shape()), "[5, 2, 3]");
  EXPECT_EQ(to_string(v.log_prob(zeros({5, 2, 3})).shape()), "[5, 2]");
  const Categorical c({.logits = zeros({4, 6})});
  EXPECT_EQ(c.sample({5}).dtype(), i64);
  EXPECT_EQ(to_string(c.log_prob(zeros({5, 1}, {.dtype = i64})).shape()), "[5, 4]");
  EXPECT_EQ(Normal(zeros({2}, {.dtype = f64}), 1).sample().dtype(), f64);
  EXPECT_EQ(Normal(scalar(0, {.dtype = f64}), zeros({2}) + 1).sample().dtype(), f32);
  EXPECT_EQ(Bernoulli({.probs = full({2}, 0.5, {.dtype = bf16})}).sample().dtype(), bf16);
}

template <class E, class F>
void expect_error(const std::string& part, F&& f) {
  EXPECT_CONTAINS(testing::message_of<E>(f), part);
}

TEST(Distributions, BadParametersAreNamed) {
  expect_error<ValueError>("Normal: scale must be positive", [] { Normal(0, tensor({1., 0.})); });
  expect_error<ValueError>("Normal: scale must be positive", [] { Normal(0, full({}, NAN)); });
  expect_error<ValueError>("Normal: loc must be a number", [] { Normal(full({}, NAN), 1); });
  expect_error<ShapeError>("broadcast", [] { Normal(zeros({3}), ones({2})); });
  expect_error<DTypeError>("Normal: expected parameters of a floating dtype, got i64",
                           [] { Normal(arange(3, {.dtype = i64}), 1); });
  expect_error<ValueError>("Laplace: scale", [] { Laplace(0, -1); });
  expect_error<ValueError>("Uniform: low must be less than high", [] { Uniform(1, 1); });
  expect_error<ValueError>("Exponential: rate", [] { Exponential(0); });
  expect_error<ValueError>("Gamma: concentration", [] { Gamma(0, 1); });
  expect_error<ValueError>("Beta: concentrations", [] { Beta(1, -1); });
  expect_error<ValueError>("StudentT: df", [] { StudentT(0); });
  expect_error<ValueError>("Bernoulli: probs must lie in [0, 1]", [] { Bernoulli({.probs = full({}, 1.1)}); });
  expect_error<ValueError>("Bernoulli: expected either probs or logits, got neither", [] { Bernoulli({}); });
  expect_error<ValueError>("got both", [] { Bernoulli({.probs = ones({1}), .logits = ones({1})}); });
  expect_error<ValueError>("Categorical: probs must not be negative", [] {
    Categorical({.probs = tensor({1., -1.})});
  });
  expect_error<ValueError>("Categorical: probs must not all be 0", [] { Categorical({.probs = zeros({3})}); });
  expect_error<ShapeError>("Categorical: expected a last dimension", [] { Categorical({.logits = zeros({})}); });
  expect_error<IndexError>("gather", [] { Categorical({.logits = zeros({3})}).log_prob(full({}, 3, {.dtype = i64})); });
  expect_error<ValueError>("Binomial: total_count", [] { Binomial(2.5, {.probs = full({}, 0.5)}); });
  expect_error<ValueError>("Poisson: rate", [] { Poisson(-1); });
  expect_error<ValueError>("same total_count", [] {
    const Odds odds{.probs = full({}, 0.5)};
    kl_divergence(Binomial(2, odds), Binomial(3, odds));
  });
  expect_error<ValueError>(
      "MultivariateNormal: expected one of scale_tril, covariance_matrix and precision_matrix, got 2",
      [] { MultivariateNormal(zeros({2}), {.scale_tril = eye(2), .covariance_matrix = eye(2)}); });
  expect_error<ValueError>("got 0", [] { MultivariateNormal(zeros({2}), {}); });
  expect_error<NumericError>("positive definite",
                             [] { MultivariateNormal(zeros({2}), {.covariance_matrix = -eye(2)}); });
  expect_error<ShapeError>("loc [..., d] and a matrix [..., d, d]",
                           [] { MultivariateNormal(zeros({2}), {.scale_tril = eye(3)}); });
  expect_error<ValueError>("must be lower triangular", [] {
    MultivariateNormal(zeros({2}), {.scale_tril = ones({2, 2})});
  });
  expect_error<ValueError>("diagonal of scale_tril must be positive", [] {
    MultivariateNormal(zeros({2}), {.scale_tril = zeros({2, 2})});
  });
}

}  // namespace
}  // namespace tenrec::distributions
