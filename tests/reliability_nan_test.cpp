// Row 10 of the reliability programme: what NaN and infinities become.
#include <gtest/gtest.h>

#include <array>
#include <numeric>
#include <vector>

#include "support/reliability_row.h"

namespace tenrec {
namespace {

using testing::kInf;
using testing::kNan;
using testing::Row;

using Unary = std::function<Tensor(const Tensor&)>;
using Binary = std::function<Tensor(const Tensor&, const Tensor&)>;
#define UNARY(f)                             \
  {                                          \
#f, [](const Tensor& x) { return f(x); } \
  }

struct UnaryRule {
  const char* name;
  Unary f;
  std::vector<std::pair<double, double>> table;  // x, f(x)
  bool keeps_nan = true;
};

std::vector<UnaryRule> unary_rules() {
  const double big = 1e5, half_pi = std::acos(0.0);
#define RULE(f, ...)                                          \
  {                                                           \
#f, [](const Tensor& x) { return f(x); }, { __VA_ARGS__ } \
  }
  using P = std::pair<double, double>;
  std::vector<UnaryRule> rules = {
      RULE(neg, P{kInf, -kInf}, P{-kInf, kInf}),
      RULE(abs, P{kInf, kInf}, P{-kInf, kInf}),
      RULE(square, P{kInf, kInf}, P{-kInf, kInf}),
      RULE(floor, P{kInf, kInf}, P{-kInf, -kInf}),
      RULE(ceil, P{kInf, kInf}, P{-kInf, -kInf}),
      RULE(round, P{kInf, kInf}, P{-kInf, -kInf}),
      RULE(trunc, P{kInf, kInf}, P{-kInf, -kInf}),
      RULE(frac, P{kInf, kNan}, P{-kInf, kNan}),
      RULE(sqrt, P{kInf, kInf}, P{-kInf, kNan}, P{-1, kNan}, P{0, 0}),
      RULE(rsqrt, P{kInf, 0}, P{-kInf, kNan}, P{-1, kNan}, P{0, kInf}),
      RULE(reciprocal, P{kInf, 0}, P{-kInf, 0}, P{0, kInf}, P{-0.0, -kInf}),
      RULE(exp, P{kInf, kInf}, P{-kInf, 0}, P{big, kInf}, P{-big, 0}, P{0, 1}),
      RULE(exp2, P{kInf, kInf}, P{-kInf, 0}, P{big, kInf}, P{-big, 0}, P{3, 8}),
      RULE(expm1, P{kInf, kInf}, P{-kInf, -1}, P{big, kInf}, P{-big, -1}, P{0, 0}),
      RULE(log, P{kInf, kInf}, P{-kInf, kNan}, P{0, -kInf}, P{-0.0, -kInf}, P{-1, kNan}, P{1, 0}),
      RULE(log2, P{kInf, kInf}, P{-kInf, kNan}, P{0, -kInf}, P{-1, kNan}, P{8, 3}),
      RULE(log10, P{kInf, kInf}, P{-kInf, kNan}, P{0, -kInf}, P{-1, kNan}, P{1, 0}),
      RULE(log1p, P{kInf, kInf}, P{-kInf, kNan}, P{-1, -kInf}, P{-2, kNan}, P{0, 0}),
      RULE(sin, P{kInf, kNan}, P{-kInf, kNan}, P{0, 0}),
      RULE(cos, P{kInf, kNan}, P{-kInf, kNan}, P{0, 1}),
      RULE(tan, P{kInf, kNan}, P{-kInf, kNan}, P{0, 0}),
      RULE(asin, P{kInf, kNan}, P{2, kNan}, P{-2, kNan}, P{1, half_pi}),
      RULE(acos, P{kInf, kNan}, P{2, kNan}, P{-2, kNan}, P{1, 0}),
      RULE(atan, P{kInf, half_pi}, P{-kInf, -half_pi}),
      RULE(sinh, P{kInf, kInf}, P{-kInf, -kInf}, P{big, kInf}, P{-big, -kInf}),
      RULE(cosh, P{kInf, kInf}, P{-kInf, kInf}, P{-big, kInf}),
      RULE(tanh, P{kInf, 1}, P{-kInf, -1}, P{big, 1}, P{-big, -1}),
      RULE(asinh, P{kInf, kInf}, P{-kInf, -kInf}),
      RULE(acosh, P{kInf, kInf}, P{-kInf, kNan}, P{0.5, kNan}, P{1, 0}),
      RULE(atanh, P{1, kInf}, P{-1, -kInf}, P{2, kNan}, P{kInf, kNan}),
      RULE(sigmoid, P{kInf, 1}, P{-kInf, 0}, P{big, 1}, P{-big, 0}),
      RULE(erf, P{kInf, 1}, P{-kInf, -1}),
      RULE(erfc, P{kInf, 0}, P{-kInf, 2}),
      RULE(erfinv, P{1, kInf}, P{-1, -kInf}, P{2, kNan}),
      RULE(lgamma, P{kInf, kInf}, P{0, kInf}, P{-1, kInf}),
      RULE(relu, P{kInf, kInf}, P{-kInf, 0}),
      RULE(relu6, P{kInf, 6}, P{-kInf, 0}),
      RULE(leaky_relu, P{kInf, kInf}, P{-kInf, -kInf}),
      RULE(elu, P{kInf, kInf}, P{-kInf, -1}),
      RULE(celu, P{kInf, kInf}, P{-kInf, -1}),
      RULE(gelu, P{kInf, kInf}),
      RULE(silu, P{kInf, kInf}),
      RULE(mish, P{kInf, kInf}),
      RULE(softplus, P{kInf, kInf}, P{-kInf, 0}, P{-big, 0}),
      RULE(logsigmoid, P{kInf, 0}, P{-kInf, -kInf}),
      RULE(hardsigmoid, P{kInf, 1}, P{-kInf, 0}),
      RULE(hardtanh, P{kInf, 1}, P{-kInf, -1}),
      RULE(hardshrink, P{kInf, kInf}, P{-kInf, -kInf}),
      RULE(softshrink, P{kInf, kInf}, P{-kInf, -kInf}),
  };
#undef RULE
  rules.push_back({"clamp", [](const Tensor& x) { return clamp(x, 0, 1); }, {{kInf, 1}, {-kInf, 0}}});
  rules.push_back({"clamp_min", [](const Tensor& x) { return clamp_min(x, 0); }, {{kInf, kInf}, {-kInf, 0}}});
  rules.push_back({"clamp_max", [](const Tensor& x) { return clamp_max(x, 0); }, {{kInf, 0}, {-kInf, -kInf}}});
  rules.push_back({"sign", [](const Tensor& x) { return sign(x); }, {{kInf, 1}, {-kInf, -1}, {kNan, 0}}, false});
  rules.push_back({"nan_to_num",
                   [](const Tensor& x) { return nan_to_num(x, {.nan = 7, .posinf = 8, .neginf = 9}); },
                   {{kInf, 8}, {-kInf, 9}, {kNan, 7}},
                   false});
  return rules;
}

struct BinaryRule {
  const char* name;
  Binary f;
  std::vector<std::array<double, 3>> table;  // a, b, f(a, b)
};

std::vector<BinaryRule> binary_rules() {
#define RULE(f, ...)                                                              \
  {                                                                               \
#f, [](const Tensor& a, const Tensor& b) { return f(a, b); }, { __VA_ARGS__ } \
  }
  using P = std::array<double, 3>;
  return {
      RULE(add, P{kInf, -kInf, kNan}, P{kInf, kInf, kInf}, P{kNan, 1, kNan}, P{1, -kInf, -kInf}),
      RULE(sub, P{kInf, kInf, kNan}, P{kInf, -kInf, kInf}, P{1, kNan, kNan}),
      RULE(mul, P{0, kInf, kNan}, P{-kInf, kInf, -kInf}, P{-1, kInf, -kInf}, P{kNan, 0, kNan}),
      RULE(div, P{0, 0, kNan}, P{kInf, kInf, kNan}, P{1, 0, kInf}, P{-1, 0, -kInf}, P{1, -0.0, -kInf}, P{1, kInf, 0},
           P{kNan, 1, kNan}),
      RULE(floor_divide, P{1, 0, kInf}, P{-1, 0, -kInf}, P{0, 0, kNan}, P{kNan, 1, kNan}),
      RULE(remainder, P{1, 0, kNan}, P{kInf, 1, kNan}, P{1, kInf, 1}, P{-1, kInf, kInf}, P{kNan, 1, kNan}),
      RULE(fmod, P{1, 0, kNan}, P{kInf, 1, kNan}, P{1, kInf, 1}, P{-1, kInf, -1}, P{1, kNan, kNan}),
      RULE(pow, P{kNan, 0, 1}, P{1, kNan, 1}, P{0, -1, kInf}, P{-0.0, -1, -kInf}, P{-1, kInf, 1}, P{2, kInf, kInf},
           P{2, -kInf, 0}, P{0.5, kInf, 0}, P{0.5, -kInf, kInf}, P{-2, 0.5, kNan}, P{-kInf, 3, -kInf},
           P{-kInf, 2, kInf}, P{kInf, 0, 1}, P{kInf, -1, 0}, P{kNan, 1, kNan}, P{2, kNan, kNan}, P{0, 0, 1}),
      RULE(atan2, P{kInf, 0, std::acos(0.0)}, P{kInf, kInf, std::atan(1.0)}, P{1, kInf, 0}, P{0, -1, std::acos(-1.0)},
           P{kNan, 1, kNan}, P{1, kNan, kNan}),
      RULE(hypot, P{kInf, 1, kInf}, P{-kInf, kNan, kInf}, P{kNan, 1, kNan}),
      RULE(logaddexp, P{-kInf, -kInf, -kInf}, P{kInf, kInf, kInf}, P{kInf, -kInf, kInf}, P{-kInf, 2, 2},
           P{kNan, 1, kNan}),
      RULE(logaddexp2, P{-kInf, -kInf, -kInf}, P{kInf, kInf, kInf}, P{-kInf, 2, 2}, P{kNan, 1, kNan}),
      RULE(xlogy, P{0, 0, 0}, P{0, kInf, 0}, P{0, -1, 0}, P{0, kNan, kNan}, P{1, 0, -kInf}, P{kNan, 1, kNan}),
      RULE(copysign, P{kInf, -1, -kInf}, P{1, -0.0, -1}, P{kNan, 1, kNan}),
      RULE(minimum, P{kNan, 1, kNan}, P{1, kNan, kNan}, P{kInf, -kInf, -kInf}, P{kNan, -kInf, kNan}),
      RULE(maximum, P{kNan, 1, kNan}, P{1, kNan, kNan}, P{kInf, -kInf, kInf}, P{kInf, kNan, kNan}),
      RULE(fmin, P{kNan, 1, 1}, P{1, kNan, 1}, P{kNan, kNan, kNan}, P{kInf, kNan, kInf}),
      RULE(fmax, P{kNan, 1, 1}, P{1, kNan, 1}, P{kNan, kNan, kNan}, P{-kInf, kNan, -kInf}),
  };
#undef RULE
}

// The value alone, and in a row of 37 between harmless ones: in a pack and in a tail.
Tensor between(double value, double harmless, int64_t at, DType dtype) {
  std::vector<double> values(37, harmless);
  values[size_t(at)] = value;
  return from_vector(values, {37}).to(dtype);
}

void check_elementwise(Row& row, DType dtype) {
  const double tolerance = dtype == f64 ? 1e-12 : dtype == f32 ? 1e-6 : 1e-2;
  for (const UnaryRule& rule : unary_rules()) {
    auto table = rule.table;
    if (rule.keeps_nan) table.push_back({kNan, kNan});
    for (const auto& [x, y] : table) {
      row.check_value(rule.f(full({}, x, {.dtype = dtype})).item<double>(), y, tolerance, rule.name, "(", x, ") ",
                      name(dtype));
      for (const int64_t at : {0, 13, 36}) {
        const std::vector<double> got = rule.f(between(x, 0.25, at, dtype)).to_vector<double>();
        row.check_value(got[size_t(at)], y, tolerance, rule.name, "(", x, ") at ", at, " ", name(dtype));
      }
    }
  }
  for (const BinaryRule& rule : binary_rules())
    for (const auto& [a, b, y] : rule.table) {
      row.check_value(rule.f(full({}, a, {.dtype = dtype}), full({}, b, {.dtype = dtype})).item<double>(), y, tolerance,
                      rule.name, "(", a, ", ", b, ") ", name(dtype));
      for (const int64_t at : {0, 13, 36}) {
        const Tensor got = rule.f(between(a, 1, at, dtype), between(b, 1, at, dtype));
        row.check_value(got.item<double>(at), y, tolerance, rule.name, "(", a, ", ", b, ") at ", at, " ", name(dtype));
      }
    }
}

void check_comparisons(Row& row, DType dtype) {
  const double values[] = {kNan, kInf, -kInf, 0.0, -0.0, 1};
  for (const double a : values)
    for (const double b : values) {
      const Tensor x = full({19}, a, {.dtype = dtype}), y = full({19}, b, {.dtype = dtype});
      const std::pair<Tensor, bool> cases[] = {{eq(x, y), a == b}, {ne(x, y), a != b}, {lt(x, y), a < b},
                                               {le(x, y), a <= b}, {gt(x, y), a > b},  {ge(x, y), a >= b},
                                               {eq(x, b), a == b}, {ne(x, b), a != b}, {lt(x, b), a < b},
                                               {le(x, b), a <= b}, {gt(x, b), a > b},  {ge(x, b), a >= b}};
      for (size_t i = 0; i < std::size(cases); ++i)
        row.check(
            all(cases[i].first).item<bool>() == cases[i].second && any(cases[i].first).item<bool>() == cases[i].second,
            "comparison ", i, " of ", a, " and ", b, " ", name(dtype));
      const bool close = a == b, both_nan = std::isnan(a) && std::isnan(b);
      row.check(allclose(x, y) == close, "allclose of ", a, " and ", b);
      row.check(allclose(x, y, {.equal_nan = true}) == (close || both_nan), "allclose with NaN of ", a, " and ", b);
      row.check(equal(x, y) == (a == b), "equal of ", a, " and ", b);
    }
  for (const double a : values) {
    const Tensor x = full({19}, a, {.dtype = dtype});
    row.check(all(isnan(x)).item<bool>() == std::isnan(a), "isnan ", a);
    row.check(all(isinf(x)).item<bool>() == std::isinf(a), "isinf ", a);
    row.check(all(isfinite(x)).item<bool>() == std::isfinite(a), "isfinite ", a);
    row.check(all(x).item<bool>() == (a != 0) && any(x).item<bool>() == (a != 0), "any and all of ", a);
  }
}

void check_reductions(Row& row, DType dtype) {
  for (const int64_t n : {1, 5, 64, 513, 2000})
    for (const int64_t at : {int64_t(0), n / 2, n - 1}) {
      const auto with = [&](double value) {
        std::vector<double> values(static_cast<size_t>(n));
        for (int64_t i = 0; i < n; ++i) values[size_t(i)] = double(i % 7);
        values[size_t(at)] = value;
        return from_vector(values, {n}).to(dtype);
      };
      const Tensor x = with(kNan), up = with(kInf), down = with(-kInf);
      const std::pair<const char*, Tensor> nans[] = {{"sum", sum(x)},
                                                     {"mean", mean(x)},
                                                     {"prod", prod(x)},
                                                     {"amin", amin(x)},
                                                     {"amax", amax(x)},
                                                     {"min", min(x)},
                                                     {"max", max(x)},
                                                     {"min, dim", min(x, 0).values},
                                                     {"max, dim", max(x, 0).values},
                                                     {"median", median(x)},
                                                     {"quantile", quantile(x, 0.5)},
                                                     {"norm", norm(x)},
                                                     {"var", var(x)},
                                                     {"logsumexp", logsumexp(x)}};
      for (const auto& [name, y] : nans)
        row.check(std::isnan(y.item<double>()), name, " lost the NaN at ", at, " of ", n);
      row.check(!std::isnan(nansum(x).item<double>()), "nansum");
      for (const Tensor& place : {argmin(x), argmax(x), min(x, 0).indices, max(x, 0).indices})
        row.check(place.item<int64_t>() == at, "the place of the NaN is ", place.item<int64_t>(), ", not ", at);
      row.check(argmax(up).item<int64_t>() == at && argmin(down).item<int64_t>() == at, "the place of the infinity");
      row.check_value(sum(up).item<double>(), kInf, 0, "sum of inf");
      row.check_value(mean(down).item<double>(), -kInf, 0, "mean of -inf");
      row.check_value(amax(up).item<double>(), kInf, 0, "amax of inf");
      row.check_value(amin(down).item<double>(), -kInf, 0, "amin of -inf");
      row.check_value(norm(down).item<double>(), kInf, 0, "norm of -inf");
      row.check_value(sum(cat({up, down}, 0)).item<double>(), kNan, 0, "inf - inf");
      const Tensor running = cummax(x, 0).values, lowest = cummin(x, 0).values, sums = cumsum(x, 0);
      for (int64_t i : {int64_t(0), at, n - 1})
        for (const Tensor& y : {running, lowest, sums})
          row.check(std::isnan(y.item<double>(i)) == (i >= at), "running extreme or sum at ", i, ", NaN at ", at);
      const Tensor two = cat({x, x}, 0);
      row.check(argmax(two).item<int64_t>() == at, "the first of two NaNs");
    }
}

void check_pooling_and_order(Row& row, DType dtype) {
  for (const int64_t at : {0, 7, 21, 35}) {
    std::vector<double> plane(36);
    std::iota(plane.begin(), plane.end(), 0.0);
    plane[size_t(at)] = kNan;
    const Tensor x = reshape(from_vector(plane, {36}).to(dtype), {1, 1, 6, 6});
    const int64_t window = at / 6 / 2 * 3 + at % 6 / 2;
    const auto [values, places] = max_pool2d_with_indices(x, 2);
    const Tensor averages = avg_pool2d(x, 2), adaptive = adaptive_max_pool2d(x, 3), means = adaptive_avg_pool2d(x, 3);
    for (int64_t i = 0; i < 9; ++i)
      for (const Tensor& y : {values, averages, adaptive, means})
        row.check(std::isnan(reshape(y, {9}).item<double>(i)) == (i == window), "pooling window ", i, ", NaN at ", at);
    row.check(reshape(places, {9}).item<int64_t>(window) == at, "the place of the NaN in a window");
    const Tensor line = reshape(x, {1, 1, 36});
    row.check(std::isnan(max_pool1d(line, 2).item<double>(0, 0, at / 2)), "max_pool1d lost the NaN");
  }
  const Tensor low = full({1, 1, 5, 5}, -kInf, {.dtype = dtype});
  const auto [values, places] = max_pool2d_with_indices(low, 3, {.stride = 2, .padding = 1});
  row.check(all(eq(values, -kInf)).item<bool>(), "a window of -inf is -inf");
  row.check(all(ge(places, 0)).item<bool>() && all(lt(places, 25)).item<bool>(), "padding won a window of -inf");

  const Tensor x = tensor({2., kNan, -kInf, kInf, kNan, 0.}, {.dtype = dtype});
  const std::pair<Sorted, std::vector<int64_t>> orders[] = {{sort(x), {2, 5, 0, 3, 1, 4}},
                                                            {sort(x, -1, true), {1, 4, 3, 0, 5, 2}},
                                                            {topk(x, 3), {1, 4, 3}},
                                                            {topk(x, 3, -1, false), {2, 5, 0}},
                                                            {kthvalue(x, 5), {1}}};
  for (const auto& [sorted, expected] : orders) {
    row.check(sorted.indices.to_vector<int64_t>() == expected, "order with NaN: ", to_string(sorted.indices));
    for (size_t i = 0; i < expected.size(); ++i)
      row.check_value(reshape(sorted.values, {-1}).item<double>(int64_t(i)), x.item<double>(expected[i]), 0,
                      "its value");
  }
  row.check(unique(x).values.numel() == 6, "NaN equals nothing");
}

TEST(Reliability, Row10NanAndInf) {
  Row row(10, "100 % of the table of NaN and Inf rules");
  for (const DType dtype : {f32, f64, bf16, f16}) {
    check_elementwise(row, dtype);
    check_comparisons(row, dtype);
    check_reductions(row, dtype);
    check_pooling_and_order(row, dtype);
  }
}

}  // namespace
}  // namespace tenrec
