// Matrix products against a float64 reference, with a bound on the rounding error that a right answer cannot pass.
#include "tenrec/kernels/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "tenrec/core/error.h"
#include "tenrec/core/parallel.h"

namespace tenrec::kernels {
namespace {

// Runs the body with each library that is compiled in.
template <class F>
void with_each_blas(F&& body) {
  const Blas before = blas();
  for (Blas which : {Blas::native, Blas::eigen, Blas::onednn}) {
    if (!has_blas(which)) continue;
    set_blas(which);
    SCOPED_TRACE(which == Blas::native ? "native" : which == Blas::eigen ? "eigen" : "onednn");
    body();
  }
  set_blas(before);
}

class ThreadCount {
 public:
  explicit ThreadCount(int n) : before_(num_threads()) { set_num_threads(n); }
  ~ThreadCount() { set_num_threads(before_); }

 private:
  int before_;
};

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2654435761u + 1) {}
  double operator()() {  // uniform in [-1, 1)
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return double(int32_t(state_ >> 32)) * 0x1p-31;
  }

 private:
  uint64_t state_;
};

template <class T>
T from_double(double x) {
  if constexpr (std::is_integral_v<T>)
    return T(std::lround(x * 50));
  else if constexpr (sizeof(T) == 2)
    return T(float(x));
  else
    return T(x);
}
template <class T>
double to_double(T x) {
  if constexpr (sizeof(T) == 2)
    return double(float(x));
  else
    return double(x);
}

template <class T>
std::vector<T> random_values(int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<T> out(size_t(std::max<int64_t>(count, 1)));
  for (T& x : out) x = from_double<T>(random());
  return out;
}

// Unit roundoff of the sum and of the result.
template <class T>
constexpr double sum_epsilon() {
  if (std::is_integral_v<T>) return 0;
  return std::is_same_v<T, double> ? 0x1p-53 : 0x1p-24;
}
template <class T>
constexpr double result_epsilon() {
  if (std::is_same_v<T, bfloat16>) return 0x1p-8;
  if (std::is_same_v<T, float16>) return 0x1p-11;
  return sum_epsilon<T>();
}

struct Problem {
  GemmShape shape;
  bool bias = false, relu = false, accumulate = false;
};

template <class T>
struct Operands {
  std::vector<T> a, b, c, bias;
  explicit Operands(const GemmShape& s)
      : a(random_values<T>((s.trans_a ? s.k : s.m) * s.lda, 1)),
        b(random_values<T>((s.trans_b ? s.n : s.k) * s.ldb, 2)),
        c(random_values<T>(s.m * s.ldc, 3)),
        bias(random_values<T>(s.n, 4)) {}
};

template <class T>
std::vector<T> run(const Problem& p, const Operands<T>& in) {
  std::vector<T> c = in.c;
  gemm(Cpu{}, dtype_of<T>, p.shape, in.a.data(), in.b.data(), c.data(),
       {.bias = p.bias ? in.bias.data() : nullptr, .relu = p.relu, .accumulate = p.accumulate});
  return c;
}

template <class T>
void check(const Problem& p) {
  const GemmShape& s = p.shape;
  const Operands<T> in(s);
  const std::vector<T> c = run(p, in);
  std::vector<double> left(size_t(s.m * s.k)), right(size_t(s.n * s.k));  // both with k innermost
  for (int64_t i = 0; i < s.m; ++i)
    for (int64_t q = 0; q < s.k; ++q)
      left[size_t(i * s.k + q)] = to_double(in.a[size_t(s.trans_a ? q * s.lda + i : i * s.lda + q)]);
  for (int64_t j = 0; j < s.n; ++j)
    for (int64_t q = 0; q < s.k; ++q)
      right[size_t(j * s.k + q)] = to_double(in.b[size_t(s.trans_b ? j * s.ldb + q : q * s.ldb + j)]);
  int64_t wrong = 0;
  for (int64_t i = 0; i < s.m; ++i) {
    for (int64_t j = 0; j < s.n; ++j) {
      double sum = 0, magnitude = 0;
      for (int64_t q = 0; q < s.k; ++q) {
        const double product = left[size_t(i * s.k + q)] * right[size_t(j * s.k + q)];
        sum += product;
        magnitude += std::abs(product);
      }
      const auto add = [&](double x) { sum += x, magnitude += std::abs(x); };
      if (p.accumulate) add(to_double(in.c[size_t(i * s.ldc + j)]));
      if (p.bias) add(to_double(in.bias[size_t(j)]));
      if (p.relu) sum = std::max(sum, 0.0);
      const double bound = sum_epsilon<T>() * double(s.k + 3) * magnitude + 1.01 * result_epsilon<T>() * std::abs(sum);
      const double got = to_double(c[size_t(i * s.ldc + j)]);
      // Half precision ends at 65504 and is subnormal below 2^-14.
      const double absolute = std::is_same_v<T, float16> ? 0x1p-24 : 0;
      if (!(std::abs(got - sum) <= bound + absolute) && ++wrong == 1)
        ADD_FAILURE() << name(dtype_of<T>) << " [" << i << ", " << j << "] is " << got << ", expected " << sum << " +- "
                      << bound;
    }
    for (int64_t j = s.n; j < s.ldc; ++j)
      // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): the same bits are what is meant
      if (std::memcmp(&c[size_t(i * s.ldc + j)], &in.c[size_t(i * s.ldc + j)], sizeof(T)) != 0 && ++wrong == 1)
        ADD_FAILURE() << "wrote beyond row " << i << " at column " << j;
  }
  EXPECT_EQ(wrong, 0);
}

std::string describe(const Problem& p) {
  const GemmShape& s = p.shape;
  return concat(s.trans_a ? "T" : "N", s.trans_b ? "T" : "N", " ", s.m, "x", s.n, "x", s.k, " ld ", s.lda, " ", s.ldb,
                " ", s.ldc, p.bias ? " bias" : "", p.relu ? " relu" : "", p.accumulate ? " accumulate" : "");
}

GemmShape make(int64_t m, int64_t n, int64_t k, bool ta = false, bool tb = false, int64_t extra = 0) {
  return {.trans_a = ta,
          .trans_b = tb,
          .m = m,
          .n = n,
          .k = k,
          .lda = (ta ? m : k) + extra,
          .ldb = (tb ? k : n) + 2 * extra,
          .ldc = n + 3 * extra};
}

template <class T>
void check_shapes(const std::vector<std::vector<int64_t>>& sizes) {
  int turn = 0;
  for (const auto& size : sizes) {
    for (int transposes = 0; transposes < 4; ++transposes) {
      Problem p{make(size[0], size[1], size[2], transposes & 1, transposes & 2, ++turn % 3)};
      p.bias = turn % 2;
      p.relu = turn % 5 == 0;
      p.accumulate = turn % 3 == 1;
      SCOPED_TRACE(describe(p));
      with_each_blas([&] { check<T>(p); });
    }
  }
}

// Every remainder of the register tiles and of the blocks along k, m and n; the shapes that training programs have.
const std::vector<std::vector<int64_t>> kSizes = {
    {1, 1, 1},      {1, 1, 1000},   {2, 3, 4},       {4, 8, 2},      {4, 1, 8},     {7, 5, 3},      {8, 16, 32},
    {15, 17, 16},   {31, 33, 65},   {64, 10, 128},   {64, 128, 784}, {1, 128, 784}, {128, 784, 64}, {784, 1, 128},
    {64, 120, 400}, {64, 84, 120},  {10, 84, 64},    {257, 300, 70}, {300, 7, 520}, {5, 600, 260},  {3, 2050, 9},
    {2050, 3, 9},   {13, 29, 1100}, {100, 100, 513}, {33, 576, 196}, {9, 1, 5000},  {1, 9, 5000}};

TEST(Gemm, F32) { check_shapes<float>(kSizes); }
TEST(Gemm, F64) { check_shapes<double>(kSizes); }
TEST(Gemm, Bf16) { check_shapes<bfloat16>(kSizes); }
TEST(Gemm, F16) { check_shapes<float16>(kSizes); }
TEST(Gemm, I64) { check_shapes<int64_t>({{1, 1, 1}, {4, 8, 2}, {15, 17, 16}, {65, 33, 70}}); }
TEST(Gemm, I32) { check_shapes<int32_t>({{1, 1, 1}, {4, 8, 2}, {15, 17, 16}, {65, 33, 70}}); }

TEST(Gemm, SmallSizesAll) {
  for (int64_t m = 1; m <= 17; m += 2)
    for (int64_t n : {1, 2, 3, 5, 8, 10, 15, 16, 17, 31, 32, 33, 34})
      for (int64_t k : {1, 2, 3, 16, 17}) check_shapes<float>({{m, n, k}});
}

TEST(Gemm, Large) {
  const ThreadCount two(2);
  check_shapes<float>({{520, 700, 1030}});
  check_shapes<bfloat16>({{520, 300, 530}});
}

TEST(Gemm, EmptySizes) {
  with_each_blas([] {
    for (const auto& size : std::vector<std::vector<int64_t>>{{0, 5, 3}, {5, 0, 3}, {0, 0, 0}, {4, 6, 0}}) {
      for (int flags = 0; flags < 8; ++flags) {
        const Problem p{make(size[0], size[1], size[2]), bool(flags & 1), bool(flags & 2), bool(flags & 4)};
        SCOPED_TRACE(describe(p));
        check<float>(p);
        check<double>(p);
        check<bfloat16>(p);
        check<float16>(p);
        check<int64_t>(p);
      }
    }
    gemm(Cpu{}, f32, make(0, 0, 0), nullptr, nullptr, nullptr);
  });
}

template <class T>
void check_threads(const Problem& p) {
  const Operands<T> in(p.shape);
  std::vector<T> first;
  for (int threads : {1, 2, 3, 4, 8}) {
    const ThreadCount count(threads);
    const std::vector<T> c = run(p, in);
    if (first.empty()) first = c;
    EXPECT_EQ(std::memcmp(c.data(), first.data(), c.size() * sizeof(T)), 0) << threads << " threads";
  }
}

TEST(Gemm, SameBitsForAnyThreadCount) {
  with_each_blas([] {
    for (const auto& [m, n, k] : std::vector<std::array<int64_t, 3>>{{300, 520, 700},
                                                                     {64, 128, 784},
                                                                     {128, 784, 64},
                                                                     {64, 128, 9216},
                                                                     {5, 1000, 300},
                                                                     {1000, 5, 300},
                                                                     {1, 700, 900}}) {
      for (int transposes = 0; transposes < 4; ++transposes) {
        const Problem p{make(m, n, k, transposes & 1, transposes & 2, 1), true, false, true};
        SCOPED_TRACE(describe(p));
        check_threads<float>(p);
        if (k > 1000) continue;
        check_threads<double>(p);
        check_threads<bfloat16>(p);
        check_threads<float16>(p);
      }
    }
  });
}

TEST(Gemm, Batched) {
  with_each_blas([] {
    for (const auto& [m, n, k] :
         std::vector<std::array<int64_t, 3>>{{3, 4, 5}, {64, 64, 32}, {1, 70, 33}, {40, 1, 40}, {6, 6, 0}}) {
      for (int transposes = 0; transposes < 4; ++transposes) {
        const GemmShape s = make(m, n, k, transposes & 1, transposes & 2);
        constexpr int64_t kBatch = 7;
        const auto a = random_values<float>(m * k * kBatch, 1), b = random_values<float>(k * n * 2, 2);
        std::vector<float> c(size_t(m * n * kBatch), -5), expected = c;
        int64_t a_at[kBatch], b_at[kBatch], c_at[kBatch];
        for (int64_t i = 0; i < kBatch; ++i) {
          a_at[i] = (kBatch - 1 - i) * m * k;
          b_at[i] = i % 2 * k * n;  // broadcast
          c_at[i] = i * m * n;
          gemm(Cpu{}, f32, s, a.data() + a_at[i], b.data() + b_at[i], expected.data() + c_at[i]);
        }
        for (int threads : {1, 2, 3}) {
          const ThreadCount count(threads);
          std::fill(c.begin(), c.end(), -5.0f);
          batched_gemm(Cpu{}, f32, s, kBatch, a_at, b_at, c_at, a.data(), b.data(), c.data());
          EXPECT_EQ(c, expected) << describe({s});
        }
      }
    }
    batched_gemm(Cpu{}, f32, make(2, 2, 2), 0, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr);
  });
}

TEST(Gemm, NanAndInfinityArrive) {
  with_each_blas([] {
    for (const int64_t n : {3, 40, 300}) {
      const GemmShape s = make(n, n, n);
      std::vector<float> a(size_t(n * n), 1), b(size_t(n * n), 1), c(size_t(n * n));
      a[0] = std::numeric_limits<float>::quiet_NaN();
      a[size_t(n)] = std::numeric_limits<float>::infinity();
      gemm(Cpu{}, f32, s, a.data(), b.data(), c.data(), {.relu = true});
      for (int64_t j = 0; j < n; ++j) {
        EXPECT_TRUE(std::isnan(c[size_t(j)]));
        EXPECT_EQ(c[size_t(n + j)], std::numeric_limits<float>::infinity());
        EXPECT_EQ(c[size_t(2 * n + j)], float(n));
      }
      // C is not read unless asked for.
      std::fill(c.begin(), c.end(), std::numeric_limits<float>::quiet_NaN());
      a.assign(a.size(), 1);
      gemm(Cpu{}, f32, s, a.data(), b.data(), c.data());
      for (float x : c) EXPECT_EQ(x, float(n));
    }
  });
}

TEST(Gemm, IntegersWrap) {
  const int64_t big = std::numeric_limits<int64_t>::max();
  const int64_t a[] = {big, 1}, b[] = {1, 1};
  int64_t c = 0;
  gemm(Cpu{}, i64, make(1, 1, 2), a, b, &c);
  EXPECT_EQ(c, std::numeric_limits<int64_t>::min());
}

TEST(Gemm, RefusesOtherTypes) {
  uint8_t x = 1;
  EXPECT_THROW(gemm(Cpu{}, u8, make(1, 1, 1), &x, &x, &x), DTypeError);
  EXPECT_THROW(gemm(Cpu{}, boolean, make(1, 1, 1), &x, &x, &x), DTypeError);
  if (!has_blas(Blas::onednn)) {
    EXPECT_THROW(set_blas(Blas::onednn), ValueError);
  }
}

}  // namespace
}  // namespace tenrec::kernels
