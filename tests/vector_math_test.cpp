// The vector math: errors in units in the last place against double, the special values, and the rule that a lane holds
// bit for bit what the scalar function gives, whatever stands beside it.
//
// By default a scan takes two to seventeen million floats per function. TENREC_TEST_FULL=1 takes every third float,
// TENREC_TEST_FULL=all every one. Each scan prints a JSON line with what it found.
#include "tenrec/kernels/vector_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

namespace tenrec::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kMax = std::numeric_limits<float>::max();
constexpr float kTiny = std::numeric_limits<float>::denorm_min();

// References, in double or beyond it where the double function would not do.

double sigmoid_reference(double x) { return 1.0 / (1.0 + std::exp(-x)); }
double softplus_reference(double x) {
  return std::isnan(x) ? x : std::fmax(x, 0.0) + std::log1p(std::exp(-std::fabs(x)));
}
double log_sigmoid_reference(double x) {
  return std::isnan(x) ? x : std::fmin(x, 0.0) - std::log1p(std::exp(-std::fabs(x)));
}

// Newton's rule in long double on erf or, near 1, on the logarithm of erfc.
double erfinv_reference(double x) {
  const long double a = std::fabs(x);
  if (!(a < 1)) return a == 1 ? std::copysign(HUGE_VAL, x) : std::nan("");
  if (a < 1e-12L) return double(x * 0.886226925452758013649083741670572591L);
  long double y = a < 0.5L ? a : std::sqrt(-std::log1p(-a));
  for (int i = 0; i < 60; ++i) {
    const long double slope = 1.128379167095512573896158903121545172L * std::exp(-y * y);
    const long double step =
        a < 0.5L ? (std::erf(y) - a) / slope : -std::erfc(y) * (std::log(std::erfc(y)) - std::log1p(-a)) / slope;
    y -= step;
    if (std::fabs(step) < 1e-17L * y) break;
  }
  return double(std::copysign(y, (long double)x));
}

// Recurrence up to 50 and the asymptotic series, in long double.
double digamma_reference(double v) {
  long double x = v, sum = 0;
  if (v == 0) return std::copysign(HUGE_VAL, -v);
  if (v < 0) {
    if (v == std::trunc(v)) return std::nan("");
    const long double pi = 3.14159265358979323846264338327950288L;
    sum = -pi / std::tan(pi * (x - std::trunc(x)));
    x = 1 - x;
  }
  for (; x < 50; ++x) sum -= 1 / x;
  const long double z = 1 / (x * x);
  return double(sum + std::log(x) - 0.5L / x - z * (1 / 12.0L - z * (1 / 120.0L - z * (1 / 252.0L - z / 240))));
}

double remainder_reference(double x, double y) {
  const double r = std::fmod(x, y);
  return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}

// A function in all its forms: one float, and arrays that pass through packs of 2, 4, 8 or the native number of lanes.

struct Unary {
  const char* name;
  double limit;  // ulp
  double (*reference)(double);
  float (*scalar)(float);
  void (*pack2)(const float*, float*);
  void (*pack4)(const float*, float*);
  void (*pack8)(const float*, float*);
  void (*native)(const float*, float*);
  double (*scalar_double)(double);
  void (*native_double)(const double*, double*);
};

struct Binary {
  const char* name;
  double limit;
  double (*reference)(double, double);
  float (*scalar)(float, float);
  void (*pack4)(const float*, const float*, float*);
  void (*native)(const float*, const float*, float*);
  double (*scalar_double)(double, double);
  void (*native_double)(const double*, const double*, double*);
};

#define UNARY(f, limit, reference)                                                                        \
  Unary {                                                                                                 \
#f, limit, [](double x) -> double { return reference(x); }, [](float x) { return kernels::f(x); },      \
        [](const float* x, float* y) { kernels::f(Pack<float, 2>::load(x)).store(y); },                     \
        [](const float* x, float* y) { kernels::f(Pack<float, 4>::load(x)).store(y); },                     \
        [](const float* x, float* y) { kernels::f(Pack<float, 8>::load(x)).store(y); },                     \
        [](const float* x, float* y) { kernels::f(NativePack<float>::load(x)).store(y); },                  \
        [](double x) { return kernels::f(x); },                                                             \
        [](const double* x, double* y) { kernels::f(NativePack<double>::load(x)).store(y); } \
  }
#define BINARY(f, limit, reference)                                                                       \
  Binary {                                                                                                \
#f, limit, [](double x, double y) -> double { return reference(x, y); },                                \
        [](float x, float y) { return kernels::f(x, y); },                                                  \
        [](const float* x, const float* y, float* z) {                                                      \
          kernels::f(Pack<float, 4>::load(x), Pack<float, 4>::load(y)).store(z);                            \
        },                                                                                                  \
        [](const float* x, const float* y, float* z) {                                                      \
          kernels::f(NativePack<float>::load(x), NativePack<float>::load(y)).store(z);                      \
        },                                                                                                  \
        [](double x, double y) { return kernels::f(x, y); },                                                \
        [](const double* x, const double* y, double* z) {                                                   \
          kernels::f(NativePack<double>::load(x), NativePack<double>::load(y)).store(z);                    \
        } \
  }

// The twelve of the full scan.
const std::vector<Unary>& hot() {
  static const std::vector<Unary> table = {
      UNARY(sqrt, 0.5, std::sqrt), UNARY(exp, 1, std::exp),   UNARY(log, 1, std::log),
      UNARY(tanh, 2, std::tanh),   UNARY(erf, 2, std::erf),   UNARY(sigmoid, 2, sigmoid_reference),
      UNARY(sin, 1, std::sin),     UNARY(cos, 1, std::cos),   UNARY(expm1, 2, std::expm1),
      UNARY(log1p, 2, std::log1p), UNARY(exp2, 1, std::exp2), UNARY(log2, 2, std::log2),
  };
  return table;
}

const std::vector<Unary>& others() {
  constexpr double exact = 0, rounded = 0.501;
  static const std::vector<Unary> table = {
      UNARY(abs, exact, std::fabs),
      UNARY(floor, exact, std::floor),
      UNARY(ceil, exact, std::ceil),
      UNARY(trunc, exact, std::trunc),
      UNARY(round, exact, std::nearbyint),
      UNARY(log10, 2, std::log10),
      UNARY(softplus, 2.5, softplus_reference),
      UNARY(log_sigmoid, 2.5, log_sigmoid_reference),
      UNARY(tan, rounded, std::tan),
      UNARY(asin, rounded, std::asin),
      UNARY(acos, rounded, std::acos),
      UNARY(atan, rounded, std::atan),
      UNARY(sinh, rounded, std::sinh),
      UNARY(cosh, rounded, std::cosh),
      UNARY(asinh, rounded, std::asinh),
      UNARY(acosh, rounded, std::acosh),
      UNARY(atanh, rounded, std::atanh),
      UNARY(erfc, rounded, std::erfc),
      UNARY(erfinv, 0.51, erfinv_reference),
      UNARY(lgamma, rounded, std::lgamma),
      UNARY(digamma, rounded, digamma_reference),
  };
  return table;
}

const std::vector<Binary>& binary() {
  static const std::vector<Binary> table = {
      BINARY(pow, 0.501, std::pow), BINARY(atan2, 0.501, std::atan2),          BINARY(hypot, 0.501, std::hypot),
      BINARY(fmod, 0, std::fmod),   BINARY(remainder, 1, remainder_reference), BINARY(copysign, 0, std::copysign),
  };
  return table;
}

// |got - wanted| in units in the last place of a float near `wanted`; infinity counts as the float after the largest.
// A NaN on one side only or a wrong sign (that of an exact zero included) is an infinite error.
double ulp_error(float got, double wanted) {
  if (std::isnan(got) || std::isnan(wanted)) return std::isnan(got) && std::isnan(wanted) ? 0 : HUGE_VAL;
  if (std::signbit(got) != std::signbit(wanted) && (wanted == 0 || got != 0)) return HUGE_VAL;
  if (std::fabs(wanted) > 0x1p128) wanted = std::copysign(0x1p128, wanted);
  int exponent = 0;
  std::frexp(wanted, &exponent);
  const double ulp = std::ldexp(1.0, std::min(std::max(exponent - 24, -149), 104));
  const double value = std::isinf(got) ? std::copysign(0x1p128, got) : double(got);
  return std::fabs(value - wanted) / ulp;
}

bool same(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}
bool same(double a, double b) {
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b) || (std::isnan(a) && std::isnan(b));
}

// Between the patterns of a scan. Odd, so that all low bits occur: with 4, log1p looks 0.7 ulp better than it is.
uint64_t stride(uint64_t usual) {
  const char* full = std::getenv("TENREC_TEST_FULL");
  if (full && std::string(full) == "all") return 1;
  if (full && *full && *full != '0') return 3;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
  usual *= 16;
#endif
  return usual | 1;
}

void scan(const std::vector<Unary>& functions, uint64_t step) {
  constexpr int kBlock = 64;
  std::string json;
  for (const Unary& f : functions) {
    double worst = 0;
    float at = 0, x[kBlock], y[kBlock];
    for (uint64_t i = 0; i < (uint64_t(1) << 32);) {
      for (float& v : x) {
        v = std::bit_cast<float>(uint32_t(std::min(i, uint64_t(0xffffffff))));
        i += step;
      }
      for (int j = 0; j < kBlock; j += kLanes<float>) f.native(x + j, y + j);
      for (int j = 0; j < kBlock; ++j) {
        const double error = ulp_error(y[j], f.reference(x[j]));
        if (error > worst) worst = error, at = x[j];
      }
    }
    EXPECT_LE(worst, f.limit) << f.name << "(" << at << ") = " << f.scalar(at) << ", not " << f.reference(at);
    char text[128];
    std::snprintf(text, sizeof text, "%s\"%s\": {\"max_ulp\": %.4f, \"at\": \"%a\"}", json.empty() ? "" : ", ", f.name,
                  worst, double(at));
    json += text;
  }
  std::printf("{\"vector_math\": {%s}, \"stride\": %llu}\n", json.c_str(), (unsigned long long)step);
}

TEST(VectorMath, HotFunctionsOverTheFloats) { scan(hot(), stride(251)); }
TEST(VectorMath, OtherFunctionsOverTheFloats) { scan(others(), stride(2027)); }

// Values where functions have edges, then random patterns and random values near 1.
template <class T>
std::vector<T> hard_values(size_t count) {
  using L = std::numeric_limits<T>;
  std::vector<T> values;
  const double edges[] = {0,        0.5,       1,        1.5,       2,        3,      4,         10,
                          100,      0.1,       88.7228,  88.72284,  103.9721, 104.1,  127.9999,  128,
                          149,      150.1,     1.570796, 3.141593,  100000,   100001, 8388607.5, 8388608,
                          16777216, 4194303.5, 1e10,     0.9999999, 9.2,      10.1};
  for (double e : edges) values.push_back(T(e));
  for (T e : {L::infinity(), L::quiet_NaN(), L::max(), L::min(), L::denorm_min(), L::epsilon(), L::min() / 2}) {
    values.push_back(e);
  }
  for (size_t i = 0, n = values.size(); i < n; ++i) values.push_back(-values[i]);
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  uint64_t state = 88172645463325252u;  // xorshift (G. Marsaglia, 2003)
  while (values.size() < count) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    const double small = (double(state >> 11) * 0x1p-53 - 0.5) * 12;
    values.push_back(values.size() % 2 ? std::bit_cast<T>(Bits(state >> (64 - 8 * sizeof(T)))) : T(small));
  }
  return values;
}

// A window of `lanes` moves over the values, so that each one stands in every lane, among others each time.
template <class T, class Scalar, class Packed>
void expect_lanes_equal(const char* name, int lanes, const std::vector<T>& x, Scalar scalar, Packed packed) {
  T y[64];
  size_t wrong = 0;
  std::vector<T> alone(x.size());
  for (size_t i = 0; i < x.size(); ++i) alone[i] = scalar(i);
  for (size_t i = 0; i + size_t(lanes) <= x.size(); ++i) {
    packed(i, y);
    for (size_t j = 0; j < size_t(lanes); ++j) {
      if (!same(y[j], alone[i + j]) && wrong++ == 0) {
        ADD_FAILURE() << name << ", lane " << j << " of " << lanes << ": f(" << x[i + j] << ") = " << y[j] << ", alone "
                      << alone[i + j];
      }
    }
  }
  EXPECT_EQ(wrong, 0u) << name;
}

TEST(VectorMath, EveryLaneHasTheBitsOfTheScalar) {
  const std::vector<float> x = hard_values<float>(10000);
  for (const auto* table : {&hot(), &others()}) {
    for (const Unary& f : *table) {
      const auto scalar = [&](size_t i) { return f.scalar(x[i]); };
      const auto check = [&](int lanes, auto pack) {
        expect_lanes_equal(f.name, lanes, x, scalar, [&](size_t i, float* y) { pack(&x[i], y); });
      };
      check(2, f.pack2);
      check(4, f.pack4);
      check(8, f.pack8);
      check(kLanes<float>, f.native);
    }
  }
}

TEST(VectorMath, EveryLaneOfTwoArguments) {
  const std::vector<float> x = hard_values<float>(10000);
  std::vector<float> y(x.rbegin(), x.rend());
  for (size_t i = 0; i < 60; ++i) std::swap(y[i], y[x.size() - 1 - i]);  // edges with edges, too
  for (const Binary& f : binary()) {
    const auto scalar = [&](size_t i) { return f.scalar(x[i], y[i]); };
    expect_lanes_equal(f.name, 4, x, scalar, [&](size_t i, float* z) { f.pack4(&x[i], &y[i], z); });
    expect_lanes_equal(f.name, kLanes<float>, x, scalar, [&](size_t i, float* z) { f.native(&x[i], &y[i], z); });
  }
}

TEST(VectorMath, EveryLaneOfDoubles) {
  const std::vector<double> x = hard_values<double>(2000), y(x.rbegin(), x.rend());
  for (const auto* table : {&hot(), &others()}) {
    for (const Unary& f : *table) {
      expect_lanes_equal(
          f.name, kLanes<double>, x, [&](size_t i) { return f.scalar_double(x[i]); },
          [&](size_t i, double* z) { f.native_double(&x[i], z); });
    }
  }
  for (const Binary& f : binary()) {
    expect_lanes_equal(
        f.name, kLanes<double>, x, [&](size_t i) { return f.scalar_double(x[i], y[i]); },
        [&](size_t i, double* z) { f.native_double(&x[i], &y[i], z); });
  }
}

TEST(VectorMath, TwoArgumentsAgainstDouble) {
  const std::vector<float> x = hard_values<float>(2000);
  std::string json;
  for (const Binary& f : binary()) {
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      // All pairs of edges; the random values each with some of the others.
      const size_t count = i < 74 ? 74 : 200;
      for (size_t k = 0; k < count; ++k) {
        const float v = x[i], u = x[i < 74 ? k : (i * 31 + k * 7) % x.size()];
        const double wanted = f.reference(v, u), error = ulp_error(f.scalar(v, u), wanted);
        worst = std::max(worst, error);
        EXPECT_LE(error, f.limit) << f.name << "(" << v << ", " << u << ") = " << f.scalar(v, u) << ", not " << wanted;
      }
    }
    json += (json.empty() ? "\"" : ", \"") + std::string(f.name) + "\": {\"max_ulp\": " + std::to_string(worst) + "}";
  }
  std::printf("{\"vector_math\": {%s}}\n", json.c_str());
}

// Doubles are the C library's, but for these.
TEST(VectorMath, OurOwnDoubles) {
  for (int i = -2000; i <= 2000; ++i) {
    const double x = i / 100.0 + 1e-3, p = i / 2001.0;
    EXPECT_NEAR(sigmoid(x) / sigmoid_reference(x), 1, 1e-15) << x;
    EXPECT_NEAR(softplus(x) / softplus_reference(x), 1, 1e-15) << x;
    EXPECT_NEAR(log_sigmoid(x) / log_sigmoid_reference(x), 1, 1e-15) << x;
    EXPECT_NEAR(digamma(x), digamma_reference(x), 4e-15 * std::max(1.0, std::fabs(digamma_reference(x)))) << x;
    if (i != 0) {
      EXPECT_NEAR(erfinv(p) / erfinv_reference(p), 1, 2e-15) << p;
    }
  }
  for (double p : {1e-300, 1e-20, 1e-9, 1 - 1e-6, 1 - 1e-9, 1 - 1e-12, 1 - 0x1p-53}) {
    EXPECT_NEAR(erfinv(p) / erfinv_reference(p), 1, 2e-15) << p;
  }
  EXPECT_NEAR(digamma(1.4616321449683623), -6.3e-17, 1e-16);  // beside its root
}

struct Case {
  float (*f)(float);
  const char* name;
  float x, wanted;
};
#define CASE(f, x, wanted)                               \
  Case {                                                 \
    [](float v) { return kernels::f(v); }, #f, x, wanted \
  }

TEST(VectorMath, SpecialValues) {
  const float pi = 3.14159265f;
  const Case cases[] = {
      CASE(exp, 0.0f, 1),
      CASE(exp, -0.0f, 1),
      CASE(exp, -kInf, 0),
      CASE(exp, kInf, kInf),
      CASE(exp, kNaN, kNaN),
      CASE(exp, 88.72283f, 0x1.ffff08p127f),
      CASE(exp, 88.72284f, kInf),
      CASE(exp, -103.9720f, kTiny),
      CASE(exp, -103.9730f, 0),
      CASE(exp, -103.9721f * 1.01f, 0),
      CASE(exp, kMax, kInf),
      CASE(exp, -kMax, 0),
      CASE(exp, kTiny, 1),
      CASE(exp2, 127, 0x1p127f),
      CASE(exp2, 128, kInf),
      CASE(exp2, -149, kTiny),
      CASE(exp2, -126, 0x1p-126f),
      CASE(exp2, -151, 0),
      CASE(exp2, kNaN, kNaN),
      CASE(expm1, 0.0f, 0),
      CASE(expm1, -0.0f, -0.0f),
      CASE(expm1, kTiny, kTiny),
      CASE(expm1, -kTiny, -kTiny),
      CASE(expm1, -kInf, -1),
      CASE(expm1, kInf, kInf),
      CASE(expm1, kNaN, kNaN),
      CASE(log, 1, 0),
      CASE(log, 0.0f, -kInf),
      CASE(log, -0.0f, -kInf),
      CASE(log, -1, kNaN),
      CASE(log, -kInf, kNaN),
      CASE(log, kInf, kInf),
      CASE(log, kNaN, kNaN),
      CASE(log, kTiny, -103.27893f),
      CASE(log, kMax, 88.722839f),
      CASE(log2, 8, 3),
      CASE(log2, kTiny, -149),
      CASE(log10, 1000, 3),
      CASE(log1p, 0.0f, 0),
      CASE(log1p, -0.0f, -0.0f),
      CASE(log1p, -1, -kInf),
      CASE(log1p, -1.5f, kNaN),
      CASE(log1p, kInf, kInf),
      CASE(log1p, -kInf, kNaN),
      CASE(log1p, kTiny, kTiny),
      CASE(log1p, kMax, 88.722839f),
      CASE(tanh, 0.0f, 0),
      CASE(tanh, -0.0f, -0.0f),
      CASE(tanh, kInf, 1),
      CASE(tanh, -kInf, -1),
      CASE(tanh, kNaN, kNaN),
      CASE(tanh, -kTiny, -kTiny),
      CASE(tanh, 20, 1),
      CASE(sigmoid, 0, 0.5f),
      CASE(sigmoid, kInf, 1),
      CASE(sigmoid, -kInf, 0),
      CASE(sigmoid, kNaN, kNaN),
      CASE(sigmoid, -100, 3.783506e-44f),
      CASE(erf, 0.0f, 0),
      CASE(erf, -0.0f, -0.0f),
      CASE(erf, kInf, 1),
      CASE(erf, -kInf, -1),
      CASE(erf, kNaN, kNaN),
      CASE(sin, 0.0f, 0),
      CASE(sin, -0.0f, -0.0f),
      CASE(sin, kInf, kNaN),
      CASE(sin, -kInf, kNaN),
      CASE(sin, kNaN, kNaN),
      CASE(sin, kTiny, kTiny),
      CASE(cos, -0.0f, 1),
      CASE(cos, kInf, kNaN),
      CASE(tan, -0.0f, -0.0f),
      CASE(tan, kInf, kNaN),
      CASE(asin, 1, pi / 2),
      CASE(asin, -0.0f, -0.0f),
      CASE(asin, 1.1f, kNaN),
      CASE(acos, 1, 0),
      CASE(acos, -1, pi),
      CASE(acos, kNaN, kNaN),
      CASE(atan, -kInf, -pi / 2),
      CASE(atan, -0.0f, -0.0f),
      CASE(sinh, -kInf, -kInf),
      CASE(sinh, -0.0f, -0.0f),
      CASE(cosh, -kInf, kInf),
      CASE(asinh, -kInf, -kInf),
      CASE(acosh, 1, 0),
      CASE(acosh, 0.9f, kNaN),
      CASE(acosh, -kInf, kNaN),
      CASE(atanh, -1, -kInf),
      CASE(atanh, 2, kNaN),
      CASE(erfc, -kInf, 2),
      CASE(erfc, kInf, 0),
      CASE(erfinv, -1, -kInf),
      CASE(erfinv, 1.5f, kNaN),
      CASE(lgamma, 0, kInf),
      CASE(lgamma, -3, kInf),
      CASE(lgamma, 2, 0),
      CASE(digamma, 0.0f, -kInf),
      CASE(digamma, -0.0f, kInf),
      CASE(digamma, -2, kNaN),
      CASE(digamma, kInf, kInf),
      CASE(softplus, -kInf, 0),
      CASE(softplus, kInf, kInf),
      CASE(softplus, kNaN, kNaN),
      CASE(log_sigmoid, -kInf, -kInf),
      CASE(sqrt, -0.0f, -0.0f),
      CASE(sqrt, -1, kNaN),
      CASE(round, 2.5f, 2),
      CASE(round, -0.4f, -0.0f),
      CASE(floor, -0.5f, -1),
      CASE(ceil, -0.5f, -0.0f),
      CASE(trunc, -1.7f, -1),
  };
  for (const Case& c : cases) {
    EXPECT_TRUE(same(c.f(c.x), c.wanted)) << c.name << "(" << c.x << ") = " << c.f(c.x) << ", not " << c.wanted;
  }
}

// NaN comes through from either side; this is also where comparisons, masks and select are seen at work.
TEST(Pack, ComparisonsAndMinimum) {
  using F = NativePack<float>;
  constexpr int n = kLanes<float>;
  const std::vector<float> x = hard_values<float>(600);
  for (size_t i = 0; i + n <= x.size(); ++i) {
    const F a = F::load(&x[i]), b = F::load(&x[x.size() - n - i]);
    for (int j = 0; j < n; ++j) {
      const float u = a[j], v = b[j];
      ASSERT_EQ((a < b)[j], u < v);
      ASSERT_EQ((a <= b)[j], u <= v);
      ASSERT_EQ((a > b)[j], u > v);
      ASSERT_EQ((a >= b)[j], u >= v);
      ASSERT_EQ((a == b)[j], u == v);
      ASSERT_EQ((a != b)[j], u != v);
      ASSERT_EQ((!(a < b) && (a > 0.0f || b == b))[j], !(u < v) && (u > 0.0f || v == v));
      ASSERT_EQ(bool(lane_bits(a < b) >> j & 1u), u < v);
      ASSERT_TRUE(same(select(a < b, a, b)[j], u < v ? u : v));
      const float low = std::isnan(u) || std::isnan(v) ? kNaN : u < v ? u : v;
      const float high = std::isnan(u) || std::isnan(v) ? kNaN : u > v ? u : v;
      ASSERT_TRUE(same(min(a, b)[j], low) && same(min(u, v), low)) << u << " " << v;
      ASSERT_TRUE(same(max(a, b)[j], high) && same(max(u, v), high)) << u << " " << v;
      ASSERT_EQ(is_nan(a)[j], std::isnan(u));
      ASSERT_EQ(is_inf(a)[j], std::isinf(u));
      ASSERT_EQ(is_finite(a)[j], std::isfinite(u));
    }
    ASSERT_EQ(any(a < b), lane_bits(a < b) != 0);
    ASSERT_EQ(all(a < b), lane_bits(a < b) == (1u << n) - 1);
  }
}

template <class P>
void check_arithmetic() {
  using T = ElementOf<P>;
  constexpr int n = kSizeOf<P>;
  const std::vector<T> x = hard_values<T>(1000);
  for (size_t i = 0; i + 2 * n <= x.size(); ++i) {
    const P a = P::load(&x[i]), b = P::load(&x[x.size() - n - i]), c = P::load(&x[i + n]);
    for (int j = 0; j < n; ++j) {
      const T u = a[j], v = b[j], w = c[j];
      ASSERT_TRUE(same((a + b)[j], u + v) && same((a - b)[j], u - v));
      ASSERT_TRUE(same((a * b)[j], u * v) && same((a / b)[j], u / v));
      ASSERT_TRUE(same((-a)[j], -u) && same(sqrt(a)[j], std::sqrt(u)));
      ASSERT_TRUE(same(fma(a, b, c)[j], std::fma(u, v, w))) << u << " " << v << " " << w;
      ASSERT_TRUE(same(fma(a, P(u), c)[j], std::fma(u, u, w)));
    }
  }
  // A product that needs its low bits: 0 if it was rounded before the sum.
  const T e = std::numeric_limits<T>::epsilon();
  EXPECT_EQ(fma(P(1 + e), P(1 + e), P(-(1 + 2 * e)))[n - 1], e * e);
  EXPECT_EQ(fma(T(1 + e), T(1 + e), T(-(1 + 2 * e))), e * e);
  EXPECT_TRUE(std::signbit(P(T(-0.0))[n - 1]));
}

TEST(Pack, Arithmetic) {
  check_arithmetic<NativePack<float>>();
  check_arithmetic<Pack<float, 8>>();
  check_arithmetic<Pack<float, 4>>();
  check_arithmetic<NativePack<double>>();
  check_arithmetic<Pack<double, 2>>();
}

template <class T>
void check_memory() {
  using P = NativePack<T>;
  constexpr int n = kLanes<T>;
  T from[2 * n + 1], to[2 * n];
  for (int i = 0; i <= 2 * n; ++i) from[i] = T(i + 1);
  const P p = P::load(from + 1);
  for (int i = 0; i < n; ++i) EXPECT_EQ(p[i], T(i + 2));
  for (int count = 0; count <= n; ++count) {
    const P part = P::load_partial(from, count, T(77));
    for (int i = 0; i < n; ++i) EXPECT_EQ(part[i], i < count ? from[i] : T(77));
    std::fill(to, to + 2 * n, T(9));
    p.store_partial(to + 1, count);
    for (int i = 0; i < 2 * n; ++i) EXPECT_EQ(to[i], i >= 1 && i <= count ? p[i - 1] : T(9));
  }
  constexpr int sum = n * (n + 3) / 2;  // 2 + 3 + ... + (n + 1)
  EXPECT_EQ(reduce_lanes(p, [](auto a, auto b) { return a + b; }), T(sum));
}

TEST(Pack, LoadsStoresAndReductions) {
  check_memory<float>();
  check_memory<double>();
  check_memory<int32_t>();
  const auto whole = convert<NativePack<int32_t>>(NativePack<float>(-3.7f));
  EXPECT_EQ(whole[0], -3);
  EXPECT_EQ(bits(NativePack<float>(1.0f))[0], 0x3f800000u);
  EXPECT_EQ(((whole << 2) + NativePack<int32_t>(1))[0], -11);
}

TEST(VectorMath, SineAndCosineTogether) {
  const std::vector<float> x = hard_values<float>(2000);
  for (float v : x) {
    const auto both = sin_cos(v);
    ASSERT_TRUE(same(both.sine, kernels::sin(v)) && same(both.cosine, kernels::cos(v))) << v;
    const auto packs = sin_cos(NativePack<float>(v));
    ASSERT_TRUE(same(packs.sine[0], both.sine) && same(packs.cosine[0], both.cosine)) << v;
  }
}

}  // namespace
}  // namespace tenrec::kernels
