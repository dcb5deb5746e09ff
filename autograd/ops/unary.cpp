#include "tenrec/autograd/ops/unary.h"

#include <limits>

#include "tenrec/autograd/autocast.h"
#include "tenrec/autograd/ops/compare.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/elementwise_impl.h"

namespace tenrec {

using detail::map;

namespace {

// y = f(x), dx = rule(dy, x) or rule(dy, y), written with ops.
template <class F, class Rule>
Tensor from_input(const char* op, const F& f, const Tensor& x, Rule rule) {
  return record(op, {x}, map(op, f, x), save_inputs,
                [rule](const Saved& s, const Tensor& dy, Needs) { return Grads{rule(dy, s.input())}; });
}
template <class F, class Rule>
Tensor from_output(const char* op, const F& f, const Tensor& x, Rule rule) {
  return record(op, {x}, map(op, f, x), save_output,
                [rule](const Saved& s, const Tensor& dy, Needs) { return Grads{rule(dy, s.output())}; });
}
// The same for functions that autocast computes in f32.
template <class F, class Rule>
Tensor wide_from_input(const char* op, const F& f, const Tensor& x, Rule rule) {
  if (is_autocast_enabled()) [[unlikely]]
    return from_input(op, f, detail::autocast_input(x, f32), rule);
  return from_input(op, f, x, rule);
}
template <class F, class Rule>
Tensor wide_from_output(const char* op, const F& f, const Tensor& x, Rule rule) {
  if (is_autocast_enabled()) [[unlikely]]
    return from_output(op, f, detail::autocast_input(x, f32), rule);
  return from_output(op, f, x, rule);
}
// A step function: its derivative is 0 wherever it is defined.
template <class F>
Tensor steps(const char* op, const F& f, const Tensor& x) {
  return record(op, {x}, map(op, f, x), save_none,
                [](const Saved&, const Tensor& dy, Needs) { return Grads{zeros_like(dy)}; });
}

using In = const Tensor&;

}  // namespace

Tensor neg(const Tensor& x) {
  if (x.dtype() == boolean) fail<DTypeError>("neg: not defined for bool tensors; use logical_not");
  return record("neg", {x}, map("neg", kernels::Neg(), x), save_none,
                [](const Saved&, const Tensor& dy, Needs) { return Grads{-dy}; });
}
Tensor abs(const Tensor& x) {
  return record("abs", {x}, map("abs", kernels::Abs(), x), save_inputs,
                detail::piecewise_rule("abs_grad", kernels::AbsGrad()));
}
Tensor sign(const Tensor& x) { return steps("sign", kernels::Sign(), x); }
Tensor square(const Tensor& x) {
  return wide_from_input("square", kernels::Square(), x, [](In dy, In v) { return dy * (v * 2); });
}
Tensor floor(const Tensor& x) { return steps("floor", kernels::Floor(), x); }
Tensor ceil(const Tensor& x) { return steps("ceil", kernels::Ceil(), x); }
Tensor round(const Tensor& x) { return steps("round", kernels::Round(), x); }
Tensor trunc(const Tensor& x) { return steps("trunc", kernels::Trunc(), x); }
Tensor frac(const Tensor& x) {
  return record("frac", {x}, map("frac", kernels::Frac(), x), save_none,
                [](const Saved&, const Tensor& dy, Needs) { return Grads{dy}; });
}

Tensor sqrt(const Tensor& x) {
  return from_output("sqrt", kernels::Sqrt(), x, [](In dy, In y) { return dy / (y * 2); });
}
Tensor rsqrt(const Tensor& x) {
  return wide_from_output("rsqrt", kernels::Rsqrt(), x, [](In dy, In y) { return dy * (y * y * y * -0.5); });
}
Tensor reciprocal(const Tensor& x) {
  return wide_from_output("reciprocal", kernels::Reciprocal(), x, [](In dy, In y) { return -(dy * (y * y)); });
}

// --- exponentials and logarithms ------------------------------------------------------------------------------------
Tensor exp(const Tensor& x) {
  return wide_from_output("exp", kernels::Exp(), x, [](In dy, In y) { return dy * y; });
}
Tensor exp2(const Tensor& x) {
  return from_output("exp2", kernels::Exp2(), x, [](In dy, In y) { return dy * (y * 0.6931471805599453); });
}
Tensor expm1(const Tensor& x) {
  return wide_from_output("expm1", kernels::Expm1(), x, [](In dy, In y) { return dy * (y + 1); });
}
Tensor log(const Tensor& x) {
  return wide_from_input("log", kernels::Log(), x, [](In dy, In v) { return dy / v; });
}
Tensor log2(const Tensor& x) {
  return wide_from_input("log2", kernels::Log2(), x, [](In dy, In v) { return dy / (v * 0.6931471805599453); });
}
Tensor log10(const Tensor& x) {
  return wide_from_input("log10", kernels::Log10(), x, [](In dy, In v) { return dy / (v * 2.302585092994046); });
}
Tensor log1p(const Tensor& x) {
  return wide_from_input("log1p", kernels::Log1p(), x, [](In dy, In v) { return dy / (v + 1); });
}

// --- circular and hyperbolic ----------------------------------------------------------------------------------------
Tensor sin(const Tensor& x) {
  return from_input("sin", kernels::Sin(), x, [](In dy, In v) { return dy * cos(v); });
}
Tensor cos(const Tensor& x) {
  return from_input("cos", kernels::Cos(), x, [](In dy, In v) { return -(dy * sin(v)); });
}
Tensor tan(const Tensor& x) {
  return wide_from_output("tan", kernels::Tan(), x, [](In dy, In y) { return dy * (y * y + 1); });
}
Tensor asin(const Tensor& x) {
  return wide_from_input("asin", kernels::Asin(), x, [](In dy, In v) { return dy * rsqrt(1 - v * v); });
}
Tensor acos(const Tensor& x) {
  return wide_from_input("acos", kernels::Acos(), x, [](In dy, In v) { return -(dy * rsqrt(1 - v * v)); });
}
Tensor atan(const Tensor& x) {
  return from_input("atan", kernels::Atan(), x, [](In dy, In v) { return dy / (v * v + 1); });
}
Tensor sinh(const Tensor& x) {
  return wide_from_input("sinh", kernels::Sinh(), x, [](In dy, In v) { return dy * cosh(v); });
}
Tensor cosh(const Tensor& x) {
  return wide_from_input("cosh", kernels::Cosh(), x, [](In dy, In v) { return dy * sinh(v); });
}
Tensor tanh(const Tensor& x) {
  return record("tanh", {x}, map("tanh", kernels::Tanh(), x), save_output,
                detail::output_slope_rule("tanh_grad", kernels::TanhGrad(), [](In y) { return 1 - y * y; }));
}
Tensor asinh(const Tensor& x) {
  return from_input("asinh", kernels::Asinh(), x, [](In dy, In v) { return dy * rsqrt(v * v + 1); });
}
Tensor acosh(const Tensor& x) {
  return from_input("acosh", kernels::Acosh(), x, [](In dy, In v) { return dy * rsqrt(v * v - 1); });
}
Tensor atanh(const Tensor& x) {
  return from_input("atanh", kernels::Atanh(), x, [](In dy, In v) { return dy / (1 - v * v); });
}
Tensor sigmoid(const Tensor& x) {
  return record("sigmoid", {x}, map("sigmoid", kernels::Sigmoid(), x), save_output,
                detail::output_slope_rule("sigmoid_grad", kernels::SigmoidGrad(), [](In y) { return y * (1 - y); }));
}

// --- error and gamma functions --------------------------------------------------------------------------------------
Tensor erf(const Tensor& x) {
  return from_input("erf", kernels::Erf(), x, [](In dy, In v) { return dy * (exp(-(v * v)) * 1.1283791670955126); });
}
Tensor erfc(const Tensor& x) {
  return from_input("erfc", kernels::Erfc(), x, [](In dy, In v) { return dy * (exp(-(v * v)) * -1.1283791670955126); });
}
Tensor erfinv(const Tensor& x) {
  return wide_from_output("erfinv", kernels::Erfinv(), x,
                          [](In dy, In y) { return dy * (exp(y * y) * 0.8862269254527580); });
}
Tensor lgamma(const Tensor& x) {
  return from_input("lgamma", kernels::Lgamma(), x, [](In dy, In v) { return dy * digamma(v); });
}
Tensor digamma(const Tensor& x) {
  return from_input("digamma", kernels::Digamma(), x, [](In dy, In v) { return dy * polygamma(1, v); });
}
Tensor polygamma(int64_t n, const Tensor& x) {
  if (n < 0 || n > kernels::kMaxPolygammaOrder)
    fail<ValueError>("polygamma: order ", n, " is not in 0 to ", kernels::kMaxPolygammaOrder);
  if (n == 0) return digamma(x);
  return from_input("polygamma", kernels::Polygamma{int(n)}, x, [n](In dy, In v) { return dy * polygamma(n + 1, v); });
}

// --- bounds and repair ----------------------------------------------------------------------------------------------
Tensor clamp(const Tensor& x, std::optional<Scalar> min, std::optional<Scalar> max) {
  if (!min && !max) fail<ValueError>("clamp: neither min nor max was given");
  DType dtype = x.dtype();
  if (min) dtype = promote(dtype, detail::result_type(x, *min));
  if (max) dtype = promote(dtype, detail::result_type(x, *max));
  constexpr double inf = std::numeric_limits<double>::infinity();
  const double low = min ? min->value : -inf, high = max ? max->value : inf;
  const int64_t integer_low = min ? min->integer : INT64_MIN, integer_high = max ? max->integer : INT64_MAX;
  return record("clamp", {x}, map("clamp", kernels::Clamp{low, high, integer_low, integer_high}, x, dtype), save_inputs,
                detail::piecewise_rule("clamp_grad", kernels::ClampGrad{low, high}));
}

namespace {

double largest(DType t) {
  switch (t) {
    case DType::f64:
      return std::numeric_limits<double>::max();
    case DType::bf16:
      return 0x1.fep127;
    case DType::f16:
      return 65504;
    default:
      return std::numeric_limits<float>::max();
  }
}

}  // namespace

Tensor nan_to_num(const Tensor& x, const NanToNumOptions& options) {
  const DType dtype = x.dtype();
  if (!is_floating(dtype))
    return record("nan_to_num", {x}, map("nan_to_num", kernels::Clamp{0, 0, INT64_MIN, INT64_MAX}, x),
                  not_differentiable);
  const kernels::NanToNum repair{options.nan, options.posinf.value_or(largest(dtype)),
                                 options.neginf.value_or(-largest(dtype))};
  return from_input("nan_to_num", repair, x, [](In dy, In v) { return where(isfinite(v), dy, 0); });
}

}  // namespace tenrec
