// Rows of autograd/ops/elementwise.h: arithmetic of two and three operands. Unary functions and comparisons have files
// of their own.
#include "op_cases/elementwise_cases.h"

namespace tenrec::testing {
namespace {

struct Row {
  const char* op;
  Binary f;
  Numbers reference;
  Input a, b;                       // where the derivative exists
  std::vector<double> left, right;  // extremes
  Tolerance tolerance = {};
  double flops = 1;
  std::vector<std::string> also_covers = {};
};

double log_sum(double a, double b, double base) {
  if (std::isnan(a) || std::isnan(b)) return kNan;
  const double m = std::max(a, b);
  if (std::isinf(m)) return m;
  return m + std::log(std::pow(base, a - m) + std::pow(base, b - m)) / std::log(base);
}
double fmin_reference(double a, double b) { return std::isnan(a) ? b : std::isnan(b) ? a : std::min(a, b); }
double fmax_reference(double a, double b) { return std::isnan(a) ? b : std::isnan(b) ? a : std::max(a, b); }
double minimum_reference(double a, double b) { return std::isnan(a) || std::isnan(b) ? kNan : std::min(a, b); }
double maximum_reference(double a, double b) { return std::isnan(a) || std::isnan(b) ? kNan : std::max(a, b); }
double remainder_reference(double a, double b) {
  const double r = std::fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
double floor_divide_reference(double a, double b) {
  if (b == 0) return a / b;
  return std::round((a - remainder_reference(a, b)) / b);
}

std::vector<Row> rows() {
  const Input wide = {.shape = {3, 4}}, positive = {.shape = {3, 4}, .low = 0.3, .high = 3};
  const std::vector<double> left = {0, 1, -1, kInf, -kInf, kNan, kInf, 2, 1},
                            right = {1, 0, -2, kInf, kInf, 1, 0, kNan, -kInf};
  const std::vector<double> dividends = {7, -7, 7, -7, 0.5, -0.0, 5, kInf, kNan, 6, 1, 1e30},
                            divisors = {3, 3, -3, -3, 0.25, 2, 0, 2, 1, -kInf, kInf, 3};
  return {
      {"add", add, [](double a, double b) { return a + b; }, wide, wide, left, right},
      {"sub", sub, [](double a, double b) { return a - b; }, wide, wide, left, right},
      {"mul", mul, [](double a, double b) { return a * b; }, wide, wide, left, right},
      {"div", div, [](double a, double b) { return a / b; }, wide, positive, left, right},
      // Between the steps of the quotient.
      {"floor_divide",
       floor_divide,
       floor_divide_reference,
       {.shape = {3, 4}, .low = 2.2, .high = 2.8},
       {.shape = {3, 4}, .low = 0.99, .high = 1.01},
       {7, -7, 7, -7, 1, 5, -5, kNan, 0.7},
       {3, 3, -3, -3, 0.1, 0, 0, 1, 0.1},
       {},
       10},
      {"remainder",
       remainder,
       remainder_reference,
       {.shape = {3, 4}, .low = 2.2, .high = 2.8},
       {.shape = {3, 4}, .low = 0.99, .high = 1.01},
       {7, -7, 7, -7, 0.5, -0.0, 5, kInf, kNan},
       {3, 3, -3, -3, 0.25, 2, 0, 2, 1},
       {.bf16 = 2e-2},
       10},
      {"fmod",
       fmod,
       [](double a, double b) { return std::fmod(a, b); },
       {.shape = {3, 4}, .low = 2.2, .high = 2.8},
       {.shape = {3, 4}, .low = 0.99, .high = 1.01},
       dividends,
       divisors,
       {.f32 = 1},
       10},
      {"pow",
       pow,
       [](double a, double b) { return std::pow(a, b); },
       positive,
       wide,
       {0, 0, 0, -2, -2, -8, 1, kNan, 2, kInf, 0.5},
       {0, 2, -1, 3, 0.5, -1, kNan, 0, kInf, -1, kInf},
       {},
       40},
      {"atan2",
       atan2,
       [](double a, double b) { return std::atan2(a, b); },
       wide,
       positive,
       {0, -0.0, 0, 1, -1, kInf, -kInf, kNan, 2},
       {0, 0, -1, 0, -0.0, kInf, -kInf, 1, -3},
       {},
       30},
      {"hypot",
       hypot,
       [](double a, double b) { return std::hypot(a, b); },
       positive,
       wide,
       {0, 3, 1e30, kInf, kNan, -kInf, 1e-30},
       {0, -4, 1e30, 1, 2, kNan, 1e-30},
       {},
       5},
      {"logaddexp",
       logaddexp,
       [](double a, double b) { return log_sum(a, b, std::exp(1.0)); },
       wide,
       wide,
       {0, 1000, -1000, kInf, -kInf, kInf, kNan, 1e4},
       {0, 1000, -1000, kInf, -kInf, -kInf, 1, -1e4},
       {},
       40},
      {"logaddexp2",
       logaddexp2,
       [](double a, double b) { return log_sum(a, b, 2); },
       wide,
       wide,
       {0, 1000, -1000, kInf, -kInf, kInf, kNan, 1e4},
       {0, 1000, -1000, kInf, -kInf, -kInf, 1, -1e4},
       {},
       40},
      {"xlogy",
       xlogy,
       [](double a, double b) { return a == 0 && !std::isnan(b) ? 0 : a * std::log(b); },
       positive,
       positive,
       {0, 0, 0, 1, -1, 2, kNan},
       {0, -1, kNan, 0, 2, kInf, 1},
       {},
       20},
      {"copysign",
       copysign,
       [](double a, double b) { return std::copysign(a, b); },
       positive,
       {.shape = {3, 4}, .low = -3, .high = -0.5},
       {0, 1, -1, kInf, 2},
       {-1, -0.0, 0, -2, kNan}},
      {"minimum",
       minimum,
       minimum_reference,
       {.shape = {3, 4}, .low = 0, .high = 1},
       {.shape = {3, 4}, .low = 1.1, .high = 2},
       left,
       right,
       {},
       1,
       {"maximum_grad"}},
      {"maximum",
       maximum,
       maximum_reference,
       {.shape = {3, 4}, .low = 0, .high = 1},
       {.shape = {3, 4}, .low = 1.1, .high = 2},
       left,
       right,
       {},
       1,
       {"maximum_grad"}},
      {"fmin",
       fmin,
       fmin_reference,
       {.shape = {3, 4}, .low = 0, .high = 1},
       {.shape = {3, 4}, .low = 1.1, .high = 2},
       left,
       right},
      {"fmax",
       fmax,
       fmax_reference,
       {.shape = {3, 4}, .low = 0, .high = 1},
       {.shape = {3, 4}, .low = 1.1, .high = 2},
       left,
       right},
  };
}

void add_binary(const Add& add) {
  for (const Row& row : rows()) {
    OpCase c{.op = row.op,
             .inputs = {row.a, row.b},
             .f = op_of(row.f),
             .reference = reference_of(row.reference),
             .tolerance = row.tolerance,
             .also_covers = row.also_covers,
             .bad = {{[f = row.f] {
                        f(ones({2, 3}), ones({4}));
                      },
                      std::string(row.op) + ": shapes [2, 3] and [4]"}},
             .bench = elementwise_bench(2, std::max(row.a.low, 0.1), row.a.high, row.flops)};
    add(c);
    c.bad = {};
    c.bench = {};
    const auto variant = [&](const char* what, const Shape& a, const Shape& b) {
      c.variant = what;
      c.inputs = {row.a, row.b};
      c.inputs[0].shape = a;
      c.inputs[1].shape = b;
      add(c);
    };
    variant("broadcast both", {2, 1, 3}, {4, 1});
    variant("row", {3, 5}, {5});
    variant("channel", {2, 3, 2, 2}, {3, 1, 1});
    variant("0-d", {}, {});
    variant("0-d with matrix", {}, {2, 3});
    variant("empty", {0, 3}, {1, 3});
    c.variant = "extremes";
    c.inputs = {given(row.left), given(row.right)};
    c.dtypes = {f64, f32};
    c.differentiable = false;
    add(c);
  }
}

// --- numbers --------------------------------------------------------------------------------------------------------
void add_numbers(const Add& add) {
  const struct {
    const char* op;
    const char* variant;
    Unary f;
    Number reference;
    double low, high;
    std::vector<double> whole = {1, 2, 7};  // integers to try, none if the op does not keep them
  } table[] = {
      {"add", "number", [](const Tensor& x) { return x + 3; }, [](double x) { return x + 3; }, -2, 2},
      {"add", "number left", [](const Tensor& x) { return 3 + x; }, [](double x) { return x + 3; }, -2, 2},
      {"sub", "number", [](const Tensor& x) { return x - 3; }, [](double x) { return x - 3; }, -2, 2},
      {"sub", "number left", [](const Tensor& x) { return 3 - x; }, [](double x) { return 3 - x; }, -2, 2},
      {"mul", "number", [](const Tensor& x) { return x * 3; }, [](double x) { return x * 3; }, -2, 2},
      {"mul", "number left", [](const Tensor& x) { return 3 * x; }, [](double x) { return x * 3; }, -2, 2},
      // A true division: x * (1 / 3) would differ in the last place.
      {"div", "number", [](const Tensor& x) { return x / 3; }, [](double x) { return x / 3; }, -2, 2, {}},
      {"div", "number left", [](const Tensor& x) { return 3 / x; }, [](double x) { return 3 / x; }, 0.5, 3, {}},
      {"floor_divide",
       "number",
       [](const Tensor& x) { return floor_divide(x, 3); },
       [](double x) { return std::floor(x / 3); },
       3.5,
       5.5,
       {-7, 7, 6}},
      {"remainder",
       "number",
       [](const Tensor& x) { return remainder(x, 3); },
       [](double x) { return remainder_reference(x, 3); },
       3.5,
       5.5,
       {-7, 7, 6}},
      {"remainder",
       "number left",
       [](const Tensor& x) { return remainder(7, x); },
       [](double x) { return remainder_reference(7, x); },
       2.4,
       3.4,
       {-2, 4, 7}},
      {"fmod",
       "number",
       [](const Tensor& x) { return fmod(x, 3); },
       [](double x) { return std::fmod(x, 3); },
       3.5,
       5.5,
       {-7, 7, 6}},
      {"pow", "exponent 3", [](const Tensor& x) { return pow(x, 3); }, [](double x) { return x * x * x; }, -2, 2},
      {"pow",
       "exponent -1.5",
       [](const Tensor& x) { return pow(x, -1.5); },
       [](double x) { return std::pow(x, -1.5); },
       0.5,
       3,
       {}},
      {"pow", "exponent 0", [](const Tensor& x) { return pow(x, 0); }, [](double) { return 1.0; }, -2, 2},
      {"pow", "number left", [](const Tensor& x) { return pow(2, x); }, [](double x) { return std::pow(2, x); }, -2, 2},
      {"square", "pow 2", [](const Tensor& x) { return pow(x, 2); }, [](double x) { return x * x; }, -2, 2},
      {"sqrt",
       "pow 0.5",
       [](const Tensor& x) { return pow(x, 0.5); },
       [](double x) { return std::sqrt(x); },
       0.3,
       2,
       {}},
      {"reciprocal",
       "pow -1",
       [](const Tensor& x) { return pow(x, -1.0); },
       [](double x) { return 1 / x; },
       0.3,
       2,
       {}},
      {"clone", "pow 1", [](const Tensor& x) { return pow(x, 1); }, [](double x) { return x; }, -2, 2},
      {"xlogy",
       "number",
       [](const Tensor& x) { return xlogy(x, 2); },
       [](double x) { return x * std::log(2); },
       0.3,
       2,
       {}},
      {"xlogy",
       "number left",
       [](const Tensor& x) { return xlogy(2, x); },
       [](double x) { return 2 * std::log(x); },
       0.3,
       2,
       {}},
      {"copysign",
       "number",
       [](const Tensor& x) { return copysign(x, -1); },
       [](double x) { return -std::abs(x); },
       0.3,
       2,
       {}},
      {"mul",
       "ldexp",
       [](const Tensor& x) { return ldexp(x, full({}, 3, {.dtype = i64})); },
       [](double x) { return 8 * x; },
       -2,
       2,
       {}},
  };
  for (const auto& row : table) {
    add({.op = row.op,
         .variant = row.variant,
         .inputs = {{.shape = {3, 4}, .low = row.low, .high = row.high}},
         .f = op_of(row.f),
         .reference = reference_of(row.reference),
         .tolerance = {.bf16 = 2e-2}});
    if (row.whole.empty()) continue;
    add({.op = row.op,
         .variant = std::string(row.variant) + ", integers",
         .inputs = {integers(row.whole)},
         .f = op_of(row.f),
         .reference = reference_of(row.reference)});
  }
  const auto divided = [](const Tensor& x) { return x / 3; };
  add({.op = "div",
       .variant = "number, to the last bit",
       .inputs = {{.shape = {512}, .low = 1, .high = 2}},
       .f = op_of(divided),
       .reference =
           [](std::span<const Array> in) {
             return std::vector<Array>{map_array(in[0], [](double x) { return double(float(x) / 3.0f); })};
           },
       .tolerance = {.f32 = 0},
       .dtypes = {f32},
       .differentiable = false});
}

// --- integers -------------------------------------------------------------------------------------------------------
void add_integers(const Add& add) {
  const std::vector<double> a = {7, -7, 7, -7, 0, 6}, b = {3, 3, -3, -3, 5, -2};
  const struct {
    const char* op;
    Binary f;
    Numbers reference;
  } table[] = {{"add", tenrec::add, [](double x, double y) { return x + y; }},
               {"sub", sub, [](double x, double y) { return x - y; }},
               {"mul", mul, [](double x, double y) { return x * y; }},
               {"floor_divide", floor_divide, [](double x, double y) { return std::floor(x / y); }},
               {"remainder", remainder, remainder_reference},
               {"fmod", fmod, [](double x, double y) { return std::fmod(x, y); }},
               {"minimum", minimum, minimum_reference},
               {"maximum", maximum, maximum_reference},
               {"fmin", fmin, fmin_reference},
               {"fmax", fmax, fmax_reference},
               {"pow", pow, [](double x, double y) { return std::trunc(std::pow(x, y)); }}};
  for (const auto& row : table) {
    OpCase c{.op = row.op,
             .variant = "integers",
             .inputs = {integers(a), integers(b)},
             .f = op_of(row.f),
             .reference = reference_of(row.reference)};
    if (std::string(row.op) == "fmod" || std::string(row.op) == "remainder" || std::string(row.op) == "floor_divide")
      c.bad = {{[f = row.f] { f(ones({2}, {.dtype = i32}), zeros({2}, {.dtype = i32})); },
                std::string(row.op) + ": integer division by zero"}};
    if (std::string(row.op) == "pow")
      c.bad = {{[] { pow(ones({2}, {.dtype = i64}), -2); }, "to the negative integer power -2"}};
    if (std::string(row.op) == "sub")
      c.bad = {{[] { sub(ones({2}, {.dtype = boolean}), ones({2}, {.dtype = boolean})); },
                "sub: not defined for bool tensors"}};
    add(c);
  }
  const auto wrapped = [](std::span<const Tensor> in) {
    const Tensor bytes = in[0].to(u8), words = (in[0] + 2147483392).to(i32);
    return std::vector<Tensor>{bytes + bytes, bytes * bytes, bytes - 255, words + words};
  };
  add({.op = "add",
       .variant = "integers wrap",
       .inputs = {integers({1, 200, 255})},
       .f = wrapped,
       .reference = [](std::span<const Array>) {
         return std::vector<Array>{
             {{3}, {2, 144, 254}}, {{3}, {1, 64, 1}}, {{3}, {2, 201, 0}}, {{3}, {-510, -112, -2}}};
       }});
  const int64_t low = INT64_MIN;
  const auto edge = [low](const Tensor& x) {
    const Tensor least = x + low;
    return least + floor_divide(least, -1) + remainder(least, -1) + fmod(least, -1);
  };
  add({.op = "floor_divide",
       .variant = "lowest by -1",
       .inputs = {integers({0})},
       .f = op_of(edge),
       .reference = [](std::span<const Array>) {
         return std::vector<Array>{{{1}, {0}}};
       }});
}

// The dtype that operands meet in, as PyTorch's result_type gives it.
void add_promotion(const Add& add) {
  const auto dtypes = [](std::span<const Tensor>) {
    const auto vector = [](DType t) { return ones({2}, {.dtype = t}); };
    const auto single = [](DType t) { return ones({}, {.dtype = t}); };
    const std::pair<Tensor, DType> found[] = {{vector(i64) + vector(f32), f32},
                                              {vector(f16) + vector(bf16), f32},
                                              {vector(u8) + vector(i32), i32},
                                              {vector(boolean) + vector(u8), u8},
                                              {vector(f32) + single(f64), f32},
                                              {vector(i64) + single(f64), f64},
                                              {vector(i32) + single(i64), i32},
                                              {vector(bf16) + single(f32), bf16},
                                              {vector(boolean) + single(i64), i64},
                                              {single(i32) + single(i64), i64},
                                              {vector(f32) + 2.5, f32},
                                              {vector(f16) * 2, f16},
                                              {vector(i32) + 2.5, f32},
                                              {vector(i32) * 2, i32},
                                              {vector(boolean) + 1, i64},
                                              {vector(i64) / vector(i64), f32},
                                              {vector(i32) / 2, f32},
                                              {2 / vector(u8), f32},
                                              {vector(bf16) / 2, bf16},
                                              {vector(boolean) * vector(boolean), boolean},
                                              {where(vector(boolean), vector(i64), 2.5), f32},
                                              {where(vector(boolean), 1, 2), i64},
                                              {eq(vector(i64), 2.5), boolean},
                                              {pow(vector(i64), 2), i64},
                                              {pow(vector(i64), 0.5), f32},
                                              {sqrt(vector(i64)), f32},
                                              {clamp(vector(i64), 0.5, {}), f32},
                                              {vector(f64) * vector(f16), f64}};
    std::vector<Tensor> out;
    for (const auto& [y, expected] : found) out.push_back(full({}, double(y.dtype() == expected)));
    return out;
  };
  add({.op = "add",
       .variant = "promotion",
       .inputs = {},
       .f = dtypes,
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>(28, Array{{}, {1}});
           },
       .dtypes = {f64},
       .differentiable = false});
}

// --- ties -----------------------------------------------------------------------------------------------------------
void add_ties(const Add& add) {
  const Input a = given({1, 2, 3, kNan, 0, -0.0}), b = given({2, 2, 1, 1, kNan, 0});
  const auto ties = [&](const char* op, Binary f, std::vector<double> da, std::vector<double> db) {
    add({.op = op,
         .variant = "gradient at ties",
         .inputs = {a, b},
         .f = gradient_of(op_of(f)),
         .reference =
             [=](std::span<const Array>) {
               return std::vector<Array>{{{6}, da}, {{6}, db}};
             },
         .differentiable = false});
  };
  ties("maximum", maximum, {0, 0.5, 1, 1, 1, 0.5}, {1, 0.5, 0, 1, 1, 0.5});
  ties("minimum", minimum, {1, 0.5, 0, 1, 1, 0.5}, {0, 0.5, 1, 1, 1, 0.5});
  ties("fmax", fmax, {0, 1, 1, 0, 1, 1}, {1, 0, 0, 1, 0, 0});
  ties("fmin", fmin, {1, 1, 0, 0, 1, 1}, {0, 0, 1, 1, 0, 0});
  // Halves of a tie are what a difference quotient sees.
  add({.op = "maximum",
       .variant = "all tied",
       .inputs = {given({1, 2}), given({1, 2})},
       .f = op_of(maximum),
       .reference = reference_of(Numbers(maximum_reference)),
       .kinked = true,
       .order = 1});
  add({.op = "pow",
       .variant = "gradient at 0",
       .inputs = {given({0, 0, 0, 2}), given({0, 1, 2, 0})},
       .f = gradient_of(op_of(Binary(pow))),
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{{{4}, {0, 1, 0, 0}}, {{4}, {0, 0, 0, std::log(2.0)}}};
           },
       .differentiable = false});
  add({.op = "logaddexp",
       .variant = "gradient at equal infinities",
       .inputs = {given({-kInf, kInf, kInf, 3}), given({-kInf, kInf, 0, 3})},
       .f = gradient_of(op_of(logaddexp)),
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{{{4}, {0.5, 0.5, 1, 0.5}}, {{4}, {0.5, 0.5, 0, 0.5}}};
           },
       .differentiable = false});
  add({.op = "xlogy",
       .variant = "gradient at 0",
       .inputs = {given({0, 2, 0}), given({0.5, 4, -1})},
       .f = gradient_of(op_of(Binary(xlogy))),
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{{{3}, {std::log(0.5), std::log(4.0), 0}}, {{3}, {0, 0.5, -0.0}}};
           },
       .differentiable = false});
}

}  // namespace

void add_elementwise_cases(const Add& add) {
  add_binary(add);
  add_numbers(add);
  add_integers(add);
  add_promotion(add);
  add_ties(add);
  add_ternary_cases(add);
  add_unary_cases(add);
  add_compare_cases(add);
}

}  // namespace tenrec::testing
