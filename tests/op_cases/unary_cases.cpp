// Rows of autograd/ops/unary.h.
#include <numeric>

#include "op_cases/elementwise_cases.h"

namespace tenrec::testing {
namespace {

constexpr double kEuler = 0.5772156649015329;

// --- naive references ------------------------------------------------------------------------------------------------
double erfinv_reference(double y) {
  if (!(std::abs(y) < 1)) return std::abs(y) == 1 ? y * kInf : kNan;
  double low = -6, high = 6;
  for (int i = 0; i < 200; ++i) {
    const double middle = (low + high) / 2;
    (std::erf(middle) < y ? low : high) = middle;
  }
  return (low + high) / 2;
}
// psi(x) = psi(x + 1) - 1 / x up to where Stirling's series is exact enough.
double digamma_reference(double x) {
  long double sum = 0, z = x;
  if (x <= 0 && x == std::floor(x)) return x == 0 ? -std::copysign(kInf, x) : kNan;
  for (; z < 40; z += 1) sum -= 1 / z;
  const long double w = 1 / (z * z);
  return double(sum + std::log(z) - 0.5L / z - w * (1 / 12.0L - w * (1 / 120.0L - w * (1 / 252.0L - w / 240.0L))));
}
// (-1)^(n+1) n! sum 1 / (x + k)^(n+1): many terms, then the integral with two corrections.
double polygamma_reference(int n, double x) {
  if (x == kInf) return 0;
  long double sum = 0, factorial = 1;
  for (int i = 2; i <= n; ++i) factorial *= i;
  const int terms = 20000;
  for (int k = terms; k-- > 0;) sum += std::pow((long double)x + k, -(n + 1));
  const long double q = (long double)x + terms, power = std::pow(q, -(n + 1));
  sum += power * q / n + power / 2 + power * (n + 1) / (12 * q);
  return double((n % 2 ? 1 : -1) * factorial * sum);
}
double frac_reference(double x) { return x - std::trunc(x); }

struct Row {
  const char* op;
  Unary f;
  double (*reference)(double);
  double low = -2, high = 2;
  std::vector<double> extremes = {0, -0.0, 1, -1, kInf, -kInf, kNan};
  Tolerance tolerance = {};
  double flops = 20;
  std::vector<std::string> also_covers = {};
};

// Functions whose derivative exists all over [low, high).
std::vector<Row> smooth_rows() {
  return {
      {"neg", neg, [](double x) { return -x; }, -2, 2, {0, kInf, kNan}, {}, 1},
      {"square", square, [](double x) { return x * x; }, -2, 2, {0, -3, kInf, -kInf, kNan}, {}, 1},
      {"sqrt", sqrt, std::sqrt, 0.1, 4},
      {"rsqrt", rsqrt, [](double x) { return 1 / std::sqrt(x); }, 0.2, 4},
      {"reciprocal", reciprocal, [](double x) { return 1 / x; }, 0.3, 3},
      {"exp", exp, std::exp, -3, 3, {0, 1, -1, kInf, -kInf, kNan, -750}},
      {"exp2", exp2, std::exp2, -3, 3, {0, 1, -1, 10, kInf, -kInf, kNan}},
      {"expm1", expm1, std::expm1, -3, 3, {0, 1e-6, -1e-6, 1, -40, kInf, -kInf, kNan}},
      {"log", log, std::log, 0.1, 5},
      {"log2", log2, std::log2, 0.1, 5, {0, -0.0, 1, 8, -1, kInf, kNan}},
      {"log10", log10, std::log10, 0.1, 5, {0, -0.0, 1, 1000, -1, kInf, kNan}},
      {"log1p", log1p, std::log1p, -0.8, 5, {0, 1e-6, -1, -2, kInf, kNan}},
      {"sin", sin, std::sin, -7, 7, {0, -0.0, 1e5, -1e6, kInf, kNan}, {.f16 = 4e-3}},
      {"cos", cos, std::cos, -7, 7, {0, -0.0, 1e5, -1e6, kInf, kNan}, {.f16 = 4e-3}},
      {"tan", tan, std::tan, -1.2, 1.2, {0, 2, -3, kInf, kNan}},
      {"asin", asin, std::asin, -0.9, 0.9, {0, 1, -1, 1.5, kNan}},
      {"acos", acos, std::acos, -0.9, 0.9, {0, 1, -1, 1.5, kNan}},
      {"atan", atan, std::atan, -4, 4},
      {"sinh", sinh, std::sinh, -3, 3},
      {"cosh", cosh, std::cosh, -3, 3},
      {"tanh", tanh, std::tanh, -3, 3, {0, -0.0, 1e-6, 30, -30, kInf, -kInf, kNan}, {}, 20, {"tanh_grad"}},
      {"asinh", asinh, std::asinh, -4, 4},
      {"acosh", acosh, std::acosh, 1.2, 5, {1, 0, -2, kInf, kNan}},
      {"atanh", atanh, std::atanh, -0.9, 0.9, {0, 1, -1, 1.5, kNan}},
      {"sigmoid",
       sigmoid,
       [](double x) { return 1 / (1 + std::exp(-x)); },
       -4,
       4,
       {0, 40, -40, -1000, kInf, -kInf, kNan},
       {},
       20,
       {"sigmoid_grad"}},
      {"erf", erf, std::erf, -3, 3, {0, 1e-6, 7, -7, kInf, -kInf, kNan}},
      {"erfc", erfc, std::erfc, -3, 3, {0, 7, -7, 30, kInf, -kInf, kNan}},
      {"erfinv", erfinv, erfinv_reference, -0.9, 0.9, {0, 0.99, -0.999, 1, -1, 2, kNan}, {.f64 = 1e-10}},
      {"lgamma",
       lgamma,
       [](double x) { return std::lgamma(x); },
       0.3,
       5,
       {1, 2, 0, -1, -1.5, -2.25, 100, kInf, kNan},
       {.f32 = 4e-6}},
      {"digamma", digamma, digamma_reference, 0.3, 5, {1, 2, -0.5, -3.25, 100, 1e4, kInf, kNan}, {.f32 = 4e-6}},
      {"frac", frac, frac_reference, 0.1, 0.9, {0, 1.25, -1.25, 1e9, kNan}, {}, 2},
  };
}

void add_smooth(const Add& add) {
  for (const Row& row : smooth_rows()) {
    std::vector<Input> in = {{.shape = {3, 4}, .low = row.low, .high = row.high}};
    add({.op = row.op,
         .inputs = in,
         .f = op_of(row.f),
         .reference = reference_of(row.reference),
         .tolerance = row.tolerance,
         .also_covers = row.also_covers,
         .bench = elementwise_bench(1, row.low, row.high, row.flops)});
    in[0].shape = {};
    add({.op = row.op,
         .variant = "0-d",
         .inputs = in,
         .f = op_of(row.f),
         .reference = reference_of(row.reference),
         .tolerance = row.tolerance});
    in[0].shape = {0, 3};
    add({.op = row.op, .variant = "empty", .inputs = in, .f = op_of(row.f), .reference = reference_of(row.reference)});
    add({.op = row.op,
         .variant = "extremes",
         .inputs = {given(row.extremes)},
         .f = op_of(row.f),
         .reference = reference_of(row.reference),
         .tolerance = row.tolerance,
         .dtypes = {f64, f32},
         .differentiable = false});
  }
}

// --- gamma functions below zero, and polygamma -----------------------------------------------------------------------
void add_gamma(const Add& add) {
  add({.op = "lgamma",
       .variant = "negative",
       .inputs = {{.shape = {8}, .low = -2.9, .high = -2.1}},
       .f = op_of(lgamma),
       .reference = reference_of([](double x) { return std::lgamma(x); }),
       .tolerance = {.f32 = 4e-6}});
  add({.op = "digamma",
       .variant = "negative",
       .inputs = {{.shape = {8}, .low = -2.8, .high = -2.2}},
       .f = op_of(digamma),
       .reference = reference_of(digamma_reference),
       .tolerance = {.f64 = 1e-11, .f32 = 1e-5, .f16 = 1e-2}});
  for (int n : {1, 2, 3}) {
    const auto f = [n](const Tensor& x) { return polygamma(n, x); };
    const auto reference = [n](double x) { return polygamma_reference(n, x); };
    const std::string order = "order " + std::to_string(n);
    OpCase c{.op = "polygamma",
             .variant = order,
             .inputs = {{.shape = {7}, .low = 0.6, .high = 6}},
             .f = op_of(std::function<Tensor(const Tensor&)>(f)),
             .reference = reference_of(Number(reference)),
             .tolerance = {.f64 = 1e-11}};
    if (n == 1)
      c.bad = {{[] { polygamma(-1, ones({2})); }, "polygamma: order -1 is not in 0 to 100"},
               {[] { polygamma(101, ones({2})); }, "polygamma: order 101 is not in 0 to 100"}};
    add(c);
    c.variant = order + ", negative";
    c.inputs = {{.shape = {7}, .low = -1.7, .high = -1.3}};
    c.tolerance = {.f64 = 1e-11, .bf16 = 2e-2, .f16 = 2e-3};
    add(c);
    c.variant = order + ", extremes";
    c.inputs = {given({0.01, 1, 40, 1e6, kInf, kNan})};
    c.dtypes = {f64, f32};
    c.differentiable = false;
    add(c);
  }
  add({.op = "digamma",
       .variant = "known values",
       .inputs = {given({1, 0.5})},
       .f = op_of([](const Tensor& x) { return polygamma(0, x); }),
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{{{2}, {-kEuler, -kEuler - 2 * std::log(2.0)}}};
           },
       .differentiable = false});
}

// --- steps and kinks -------------------------------------------------------------------------------------------------
void add_steps(const Add& add) {
  const struct {
    const char* op;
    Unary f;
    double (*reference)(double);
  } rows[] = {{"floor", floor, std::floor},
              {"ceil", ceil, std::ceil},
              {"round", round, std::nearbyint},
              {"trunc", trunc, std::trunc},
              {"sign", sign, [](double x) { return double((x > 0) - (x < 0)); }}};
  for (const auto& row : rows) {
    add({.op = row.op,
         .inputs = {{.shape = {3, 4}, .low = 0.6, .high = 0.9}},
         .f = op_of(row.f),
         .reference = reference_of(row.reference),
         .bench = elementwise_bench(1, -9, 9, 2)});
    add({.op = row.op,
         .variant = "edges",
         .inputs = {given(
             {-0.0, 0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 7, -7, 8388609.0, 1e30, -1e30, kInf, -kInf, kNan})},
         .f = op_of(row.f),
         .reference = reference_of(row.reference),
         .dtypes = {f64, f32},
         .differentiable = false});
    add({.op = row.op,
         .variant = "integers",
         .inputs = {integers({-3, 0, 5})},
         .f = op_of(row.f),
         .reference = reference_of(row.reference)});
  }
  const auto abs_reference = [](double x) { return std::abs(x); };
  add({.op = "abs",
       .inputs = {given({-2, -0.5, 0.25, 1, 3})},
       .f = op_of(abs),
       .reference = reference_of(Number(abs_reference)),
       .kinked = true,
       .also_covers = {"abs_grad"},
       .bench = elementwise_bench(1, -2, 2, 1)});
  add({.op = "abs",
       .variant = "extremes",
       .inputs = {given({-0.0, 0, -1e30, kInf, -kInf, kNan})},
       .f = op_of(abs),
       .reference = reference_of(Number(abs_reference)),
       .dtypes = {f64, f32},
       .differentiable = false});
  add({.op = "abs",
       .variant = "gradient at 0",
       .inputs = {given({-1, -0.0, 0, 2})},
       .f = gradient_of(op_of(abs)),
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{{{4}, {-1, 0, 0, 1}}};
           },
       .differentiable = false});
  add({.op = "abs",
       .variant = "integers",
       .inputs = {integers({-3, 0, 5})},
       .f = op_of(abs),
       .reference = reference_of(Number(abs_reference))});
  add({.op = "neg",
       .variant = "u8 wraps",
       .inputs = {integers({0, 1, 255})},
       .f = op_of([](const Tensor& x) { return neg(x.to(u8)); }),
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{{{3}, {0, 255, 1}}};
           },
       .bad = {{[] { neg(ones({2}, {.dtype = boolean})); }, "neg: not defined for bool tensors"}}});
  add({.op = "exp",
       .variant = "integers become f32",
       .inputs = {integers({0, 1, 2})},
       .f = op_of(exp),
       .reference = reference_of(Number([](double x) { return std::exp(x); })),
       .tolerance = {.f64 = 1e-6}});
}

void add_clamp(const Add& add) {
  const auto both = [](const Tensor& x) { return clamp(x, -0.5, 1); };
  const auto reference = [](double x) { return std::isnan(x) ? x : std::min(std::max(x, -0.5), 1.0); };
  add({.op = "clamp",
       .inputs = {given({-2, -0.75, -0.25, 0, 0.5, 0.9, 1.5})},
       .f = op_of(both),
       .reference = reference_of(Number(reference)),
       .kinked = true,
       .also_covers = {"clamp_grad"},
       .bad = {{[] { clamp(ones({2}), {}, {}); }, "clamp: neither min nor max was given"}},
       .bench = elementwise_bench(1, -2, 2, 2)});
  add({.op = "clamp",
       .variant = "extremes",
       .inputs = {given({kNan, kInf, -kInf, -0.5, 1})},
       .f = op_of(both),
       .reference = reference_of(Number(reference)),
       .differentiable = false});
  add({.op = "clamp",
       .variant = "gradient on the bounds",
       .inputs = {given({-1, -0.5, 0, 1, 2, kNan})},
       .f = gradient_of(op_of(both)),
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{{{6}, {0, 1, 1, 1, 0, 0}}};
           },
       .differentiable = false});
  add({.op = "clamp",
       .variant = "min only",
       .inputs = {given({-2, 0.2, 3})},
       .f = op_of([](const Tensor& x) { return clamp_min(x, 0); }),
       .reference = reference_of(Number([](double x) { return std::max(x, 0.0); })),
       .kinked = true});
  add({.op = "clamp",
       .variant = "max only",
       .inputs = {given({-2, 0.2, 3})},
       .f = op_of([](const Tensor& x) { return clamp_max(x, 1); }),
       .reference = reference_of(Number([](double x) { return std::min(x, 1.0); })),
       .kinked = true});
  add({.op = "clamp",
       .variant = "crossed bounds give max",
       .inputs = {given({-2, 0.2, 3})},
       .f = op_of([](const Tensor& x) { return clamp(x, 2, 1); }),
       .reference = reference_of(Number([](double) { return 1.0; })),
       .differentiable = false});
  add({.op = "clamp",
       .variant = "integers",
       .inputs = {integers({-9, 0, 3, 9})},
       .f = op_of([](const Tensor& x) { return clamp(x, -1, 4); }),
       .reference = reference_of(Number([](double x) { return std::min(std::max(x, -1.0), 4.0); }))});
  add({.op = "nan_to_num",
       .inputs = {{.shape = {5}}},
       .f = op_of([](const Tensor& x) { return nan_to_num(x); }),
       .reference = reference_of(Number([](double x) { return x; }))});
  add({.op = "nan_to_num",
       .variant = "replaced",
       .inputs = {given({kNan, kInf, -kInf, 2})},
       .f = op_of([](const Tensor& x) { return nan_to_num(x, {.nan = 1, .posinf = 7, .neginf = -8}); }),
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{{{4}, {1, 7, -8, 2}}};
           },
       .differentiable = false});
  add({.op = "nan_to_num",
       .variant = "gradient",
       .inputs = {given({kNan, kInf, -kInf, 2})},
       .f = gradient_of(op_of([](const Tensor& x) { return nan_to_num(x); })),
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{{{4}, {0, 0, 0, 1}}};
           },
       .differentiable = false});
  const double largest[] = {std::numeric_limits<double>::max(), std::numeric_limits<float>::max()};
  for (int i : {0, 1})
    add({.op = "nan_to_num",
         .variant = i ? "largest f32" : "largest f64",
         .inputs = {given({kInf, -kInf})},
         .f = op_of([](const Tensor& x) { return nan_to_num(x); }),
         .reference =
             [=](std::span<const Array>) {
               return std::vector<Array>{{{2}, {largest[i], -largest[i]}}};
             },
         .dtypes = {i ? f32 : f64},
         .differentiable = false});
}

}  // namespace

void add_unary_cases(const Add& add) {
  add_smooth(add);
  add_gamma(add);
  add_steps(add);
  add_clamp(add);
}

}  // namespace tenrec::testing
