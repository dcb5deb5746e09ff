// Random numbers: values as a pure function of (seed, offset, index), distributions against their definitions, and the
// same bits for any number of threads (data_test.cpp has the generator's known answers). Seeds are fixed, so nothing
// here is flaky.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "support/statistics.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using testing::chi_square_excess;
using testing::counts_of;
using testing::expect_moments;
using testing::kKolmogorov;
using testing::kolmogorov;
using testing::normal_cdf;

constexpr int64_t kMany = 200000;

// --- values --------------------------------------------------------------------------------------------------

TEST(Random, ElementsAreFunctionsOfSeedOffsetAndIndex) {
  const uint64_t seed = 0x123456789abcdef0, offset = 0xfedcba9876543210;
  const GeneratorState key{seed, offset};
  const auto draw = [&](int64_t n, DType dtype) {
    Generator g;
    g.set_state(key);
    return rand({n}, {.dtype = dtype}, &g).to_vector<double>();
  };
  for (const int64_t n : {1, 2, 3, 4, 5, 63, 64, 65, 1023, 1024, 1025, 16383, 16384, 16385, 40000}) {
    const std::vector<double> single = draw(n, f32), wide = draw(n, f64);
    for (int64_t i = 0; i < n; ++i) {
      const uint32_t word = detail::philox_word(key, uint64_t(i));
      ASSERT_EQ(single[size_t(i)], double(word >> 8) * 0x1p-24) << n << " " << i;
      const uint64_t high = detail::philox_word(key, uint64_t(2 * i)),
                     low = detail::philox_word(key, uint64_t(2 * i + 1));
      ASSERT_EQ(wide[size_t(i)], double(high << 21 ^ low >> 11) * 0x1p-53);
    }
  }
}

// Whatever comes after it, an element keeps its value.
TEST(Random, LongerDrawsBeginLikeShorterOnes) {
  const std::vector<std::function<Tensor(int64_t, Generator*)>> draws = {
      [](int64_t n, Generator* g) { return rand({n}, {.dtype = bf16}, g); },
      [](int64_t n, Generator* g) { return randn({n}, {}, g); },
      [](int64_t n, Generator* g) { return randn({n}, {.dtype = f64}, g); },
      [](int64_t n, Generator* g) { return randint(-5, 1000, {n}, {.dtype = i64}, g); },
      [](int64_t n, Generator* g) { return exponential_(zeros({n}), 3, g); },
      [](int64_t n, Generator* g) { return bernoulli_(zeros({n}), 0.3, g); },
      [](int64_t n, Generator* g) { return trunc_normal_(zeros({n}), 0, 1, -1, 2, g); },
      [](int64_t n, Generator* g) { return dropout(ones({n}), 0.4, true, g); },
      [](int64_t n, Generator* g) { return gamma(full({n}, 0.7), g); },
      [](int64_t n, Generator* g) { return poisson(full({n}, 12), g); },
      [](int64_t n, Generator* g) { return multinomial(ones({9}), n, true, g); },
  };
  for (size_t k = 0; k < draws.size(); ++k) {
    Generator a(5), b(5);
    const std::vector<double> longer = draws[k](20001, &a).to_vector<double>();
    const std::vector<double> shorter = draws[k](999, &b).to_vector<double>();
    EXPECT_TRUE(std::equal(shorter.begin(), shorter.end(), longer.begin())) << "draw " << k;
    EXPECT_EQ(a.state().offset, 1u) << "a call takes one offset";
  }
}

TEST(Random, ThreadsGiveTheSameBits) {
  const int before = num_threads();
  const auto all = [] {
    Generator g(21);
    std::vector<std::vector<double>> out;
    for (const DType dtype : {f64, f32, bf16, f16}) {
      out.push_back(rand({50001}, {.dtype = dtype}, &g).to_vector<double>());
      out.push_back(randn({50001}, {.dtype = dtype}, &g).to_vector<double>());
    }
    out.push_back(randint(0, INT64_MAX, {50001}, {.dtype = i64}, &g).to_vector<double>());
    out.push_back(randperm(50001, &g).to_vector<double>());
    out.push_back(dropout(ones({50001}), 0.1, true, &g).to_vector<double>());
    out.push_back(multinomial(rand({99, 300}, {}, &g), 50, false, &g).to_vector<double>());
    out.push_back(categorical(randn({99, 300}, {}, &g), &g).to_vector<double>());
    out.push_back(gamma(rand({5001}, {}, &g), &g).to_vector<double>());
    out.push_back(poisson(rand({5001}, {}, &g) * 30, &g).to_vector<double>());
    out.push_back(trunc_normal_(zeros({50001}), 0, 1, -2, 2, &g).to_vector<double>());
    return out;
  };
  set_num_threads(1);
  const auto first = all();
  for (const int threads : {2, 3, 4, 8}) {
    set_num_threads(threads);
    EXPECT_TRUE(all() == first) << threads << " threads";
  }
  set_num_threads(before);
}

TEST(Random, LayoutDoesNotMatter) {
  const Tensor plain = zeros({30, 50}), turned = t(zeros({50, 30})), part = slice(zeros({30, 150}), 1, 0, 150, 3);
  for (const Tensor& x : {plain, turned, part}) {
    Generator g(4);
    normal_(x, 1, 2, &g);
    EXPECT_EQ(x.to_vector<float>(), plain.to_vector<float>());
  }
}

TEST(Random, DefaultGeneratorIsSeededSavedAndRestored) {
  manual_seed(9);
  const auto a = rand({5}).to_vector<float>();
  const GeneratorState state = default_generator().state();
  const auto b = rand({5}).to_vector<float>(), c = randn({5}).to_vector<float>();
  EXPECT_NE(a, b);
  default_generator().set_state(state);
  EXPECT_EQ(rand({5}).to_vector<float>(), b);
  EXPECT_EQ(randn({5}).to_vector<float>(), c);
  manual_seed(9);
  EXPECT_EQ(rand({5}).to_vector<float>(), a);
  manual_seed(10);
  EXPECT_NE(rand({5}).to_vector<float>(), a);
}

// --- distributions --------------------------------------------------------------------------------------------------

TEST(Distribution, Uniform) {
  for (const DType dtype : {f64, f32}) {
    Generator g(1);
    const auto x = rand({kMany}, {.dtype = dtype}, &g).to_vector<double>();
    EXPECT_LT(kolmogorov(x, [](double v) { return v; }), kKolmogorov);
    expect_moments(x, 0.5, 1.0 / 12);
    EXPECT_GE(*std::min_element(x.begin(), x.end()), 0);
    EXPECT_LT(*std::max_element(x.begin(), x.end()), 1);
  }
  // 16-bit floats: as many random bits as they hold, so that no draw is rounded up to the end.
  for (const DType dtype : {bf16, f16}) {
    Generator g(2);
    const auto x = rand({kMany}, {.dtype = dtype}, &g).to_vector<double>();
    const double steps = dtype == bf16 ? 256 : 2048;
    expect_moments(x, 0.5 - 0.5 / steps, (1 - 1 / (steps * steps)) / 12);
    EXPECT_LT(*std::max_element(x.begin(), x.end()), 1);
    for (const double v : x) ASSERT_EQ(v * steps, std::floor(v * steps));
  }
}

TEST(Distribution, UniformKeepsItsBounds) {
  for (const DType dtype : {f64, f32, bf16, f16}) {
    Generator g(3);
    const auto x = uniform_(zeros({kMany}, {.dtype = dtype}), -3, 5, &g).to_vector<double>();
    expect_moments(x, 1 - (dtype == bf16 ? 1.0 / 64 : 0), 64.0 / 12);
    EXPECT_GE(*std::min_element(x.begin(), x.end()), -3);
    EXPECT_LT(*std::max_element(x.begin(), x.end()), 5);
    const auto one = uniform_(zeros({1000}, {.dtype = dtype}), 2, 2, &g).to_vector<double>();
    EXPECT_EQ(one, std::vector<double>(1000, 2));
    const auto tight = uniform_(zeros({kMany}, {.dtype = dtype}), 1, 1 + 0x1p-7, &g).to_vector<double>();
    EXPECT_LT(*std::max_element(tight.begin(), tight.end()), 1 + 0x1p-7);
  }
}

TEST(Distribution, Normal) {
  for (const DType dtype : {f64, f32}) {
    Generator g(4);
    const auto x = normal_(zeros({kMany}, {.dtype = dtype}), 3, 2, &g).to_vector<double>();
    EXPECT_LT(kolmogorov(x, [](double v) { return normal_cdf((v - 3) / 2); }), kKolmogorov);
    expect_moments(x, 3, 4);
    double neighbours = 0, squares = 0;  // the two of a pair share a radius
    for (size_t i = 0; i + 1 < x.size(); i += 2) {
      const double a = (x[i] - 3) / 2, b = (x[i + 1] - 3) / 2;
      neighbours += a * b;
      squares += (a * a - 1) * (b * b - 1);
    }
    EXPECT_LT(std::fabs(neighbours), 4 * std::sqrt(kMany / 2));
    EXPECT_LT(std::fabs(squares), 8 * std::sqrt(kMany / 2));
    EXPECT_GT(*std::max_element(x.begin(), x.end()), 3 + 2 * 4);
  }
  Generator g(5);
  expect_moments(randn({kMany}, {.dtype = bf16}, &g).to_vector<double>(), 0, 1);
  expect_moments(randn({kMany}, {.dtype = f16}, &g).to_vector<double>(), 0, 1);
}

// Single precision against the same words in double: our own log, sine and cosine are as good as they say.
TEST(Distribution, NormalIsBoxAndMuller) {
  const GeneratorState key{8, 0};
  Generator g(8);
  const auto x = randn({20000}, {}, &g).to_vector<double>();
  for (int64_t i = 0; i < 20000; ++i) {
    const double u = double(detail::philox_word(key, uint64_t(i & ~1))) * 0x1p-32 + 0x1p-33;
    const double turn = double(detail::philox_word(key, uint64_t(i | 1))) * 0x1p-32 * 2 * M_PI;
    const double expected = std::sqrt(-2 * std::log(u)) * (i & 1 ? std::sin(turn) : std::cos(turn));
    ASSERT_NEAR(x[size_t(i)], expected, 2e-6) << i;
  }
}

TEST(Distribution, TruncatedNormal) {
  struct Case {
    double mean, std, low, high;
  };
  for (const Case& c : {Case{0, 1, -2, 2}, Case{1, 0.5, 0.9, 4}, Case{0, 1, 3, 5}, Case{-1, 3, -100, 0}}) {
    Generator g(6);
    const double a = normal_cdf((c.low - c.mean) / c.std), b = normal_cdf((c.high - c.mean) / c.std);
    const auto x = trunc_normal_(zeros({50000}, {.dtype = f64}), c.mean, c.std, c.low, c.high, &g).to_vector<double>();
    EXPECT_LT(kolmogorov(x, [&](double v) { return (normal_cdf((v - c.mean) / c.std) - a) / (b - a); }), kKolmogorov);
    EXPECT_GE(*std::min_element(x.begin(), x.end()), c.low);
    EXPECT_LE(*std::max_element(x.begin(), x.end()), c.high);
  }
}

TEST(Distribution, Exponential) {
  for (const DType dtype : {f64, f32}) {
    Generator g(7);
    const auto x = exponential_(zeros({kMany}, {.dtype = dtype}), 2, &g).to_vector<double>();
    EXPECT_LT(kolmogorov(x, [](double v) { return -std::expm1(-2 * v); }), kKolmogorov);
    expect_moments(x, 0.5, 0.25);
    EXPECT_GE(*std::min_element(x.begin(), x.end()), 0);
  }
}

TEST(Distribution, Integers) {
  Generator g(8);
  const auto counts = counts_of(randint(-3, 10, {kMany}, {.dtype = i64}, &g) + 3, 13);
  EXPECT_EQ(counts.size(), 13u);
  EXPECT_LT(chi_square_excess(counts, std::vector<double>(13, kMany / 13.0)), 4);
  // A range of 2^64 less one: halves and low bits are even.
  const Tensor all = randint(INT64_MIN, INT64_MAX, {kMany}, {.dtype = i64}, &g);
  double negative = 0, odd = 0;
  for (const int64_t v : all.to_vector<int64_t>()) {
    negative += v < 0;
    odd += v & 1;
  }
  EXPECT_NEAR(negative, kMany / 2, 4 * std::sqrt(kMany / 4));
  EXPECT_NEAR(odd, kMany / 2, 4 * std::sqrt(kMany / 4));
}

TEST(Distribution, Bernoulli) {
  for (const double p : {0.0, 1e-4, 0.3, 0.5, 0.999, 1.0}) {
    Generator g(9);
    const auto x = bernoulli_(zeros({kMany}), p, &g).to_vector<double>();
    double hits = 0;
    for (const double v : x) {
      ASSERT_TRUE(v == 0 || v == 1);
      hits += v;
    }
    EXPECT_NEAR(hits, kMany * p, 4 * std::sqrt(kMany * p * (1 - p)));
    // The op with a tensor of probabilities draws the same.
    Generator h(9);
    EXPECT_EQ(bernoulli(full({kMany}, p, {.dtype = f64}), &h).to_vector<double>(), x);
  }
}

TEST(Distribution, Permutations) {
  Generator g(10);
  for (const int64_t n : {0, 1, 2, 1000, 5000}) {
    auto order = randperm(n, &g).to_vector<int64_t>();
    std::sort(order.begin(), order.end());
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(order[size_t(i)], i);
  }
  std::vector<double> counts(24);
  for (int k = 0; k < 24000; ++k) {
    const auto p = randperm(4, &g).to_vector<int64_t>();
    std::vector<int64_t> q = {0, 1, 2, 3};
    size_t rank = 0;
    while (q != p) {
      std::next_permutation(q.begin(), q.end());
      ++rank;
    }
    ++counts[rank];
  }
  EXPECT_LT(chi_square_excess(counts, std::vector<double>(24, 1000)), 4);
}

TEST(Distribution, Multinomial) {
  Generator g(11);
  const std::vector<double> weights = {1, 0, 3, 2, 4};
  const Tensor w = from_vector(weights, {5});
  std::vector<double> expected;
  for (const double v : weights) expected.push_back(kMany * v / 10);
  const auto counts = counts_of(multinomial(w, kMany, true, &g), 5);
  EXPECT_EQ(counts[1], 0) << "a weight of 0 is never drawn";
  EXPECT_LT(chi_square_excess(counts, expected), 4);
  // Without replacement: no repeats, the first one by weight, the second by weight of what is left.
  const int64_t rows = 50000;
  const Tensor pairs = multinomial(expand(w, {rows, 5}), 2, false, &g);
  std::vector<double> first(5), second(5), second_expected(5);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t a = pairs.item<int64_t>(r, 0), b = pairs.item<int64_t>(r, 1);
    ASSERT_NE(a, b);
    ++first[size_t(a)];
    ++second[size_t(b)];
  }
  for (size_t a = 0; a < 5; ++a)
    for (size_t b = 0; b < 5; ++b)
      if (a != b) second_expected[b] += rows * weights[a] / 10 * weights[b] / (10 - weights[a]);
  for (double& e : expected) e *= double(rows) / kMany;
  EXPECT_LT(chi_square_excess(first, expected), 4);
  EXPECT_LT(chi_square_excess(second, second_expected), 4);
}

TEST(Distribution, Categorical) {
  Generator g(12);
  const std::vector<double> weights = {1, 0, 3, 2, 4};
  const Tensor logits = log(from_vector(weights, {5})) + 100;
  const auto counts = counts_of(categorical(expand(logits, {kMany, 5}), &g), 5);
  std::vector<double> expected;
  for (const double v : weights) expected.push_back(kMany * v / 10);
  EXPECT_EQ(counts[1], 0);
  EXPECT_LT(chi_square_excess(counts, expected), 4);
}

TEST(Distribution, Gamma) {
  const auto draw = [](double shape) {
    Generator g(13);
    return gamma(full({100000}, shape, {.dtype = f64}), &g).to_vector<double>();
  };
  EXPECT_LT(kolmogorov(draw(1), [](double x) { return -std::expm1(-x); }), kKolmogorov);
  EXPECT_LT(kolmogorov(draw(0.5), [](double x) { return std::erf(std::sqrt(x)); }), kKolmogorov);
  EXPECT_LT(kolmogorov(draw(3), [](double x) { return 1 - std::exp(-x) * (1 + x + x * x / 2); }), kKolmogorov);
  for (const double shape : {0.1, 0.9, 2.5, 50.0, 1e4}) expect_moments(draw(shape), shape, shape);
  EXPECT_EQ(draw(0), std::vector<double>(100000, 0));
}

TEST(Distribution, Poisson) {
  for (const double rate : {0.0, 0.2, 3.0, 9.99, 10.0, 31.0, 400.0}) {
    Generator g(14);
    const Tensor draws = poisson(full({100000}, rate, {.dtype = f64}), &g);
    expect_moments(draws.to_vector<double>(), rate, rate);
    const auto counts = counts_of(draws, 1);
    std::vector<double> expected;
    for (size_t k = 0; k < counts.size(); ++k) {
      const double log_p =
          rate == 0 ? (k == 0 ? 0.0 : -INFINITY) : double(k) * std::log(rate) - rate - std::lgamma(double(k) + 1);
      expected.push_back(100000 * std::exp(log_p));
    }
    EXPECT_LT(chi_square_excess(counts, expected), 4.5) << rate;
  }
}

// --- dropout --------------------------------------------------------------------------------------------------------

TEST(Dropout, KeepsTheMeanAndDrawsTheSameMaskBackward) {
  manual_seed(15);
  for (const DType dtype : {f64, f32, bf16, f16}) {
    const Tensor x = ones({400, 300}, {.dtype = dtype, .requires_grad = true});
    const Tensor y = dropout(x, 0.2);
    double kept = 0;
    for (const double v : y.to_vector<double>()) {
      ASSERT_TRUE(v == 0 || std::fabs(v - 1.25) < 0.01) << v;
      kept += v != 0;
    }
    EXPECT_NEAR(kept, 120000 * 0.8, 4 * std::sqrt(120000 * 0.16));
    const Tensor dx = grad(sum(y), {x})[0];
    EXPECT_EQ(dx.to_vector<double>(), y.to_vector<double>());
  }
}

TEST(Dropout, DropsWhatIsNotFinite) {
  manual_seed(16);
  const Tensor y = dropout(full({1000}, NAN), 0.5);
  int dropped = 0;
  for (const float v : y.to_vector<float>()) dropped += v == 0;
  EXPECT_NEAR(dropped, 500, 80);
}

}  // namespace
}  // namespace tenrec
