#include "tenrec/autograd/ops/elementwise.h"

#include <cmath>

#include "tenrec/autograd/autocast.h"
#include "tenrec/autograd/ops/compare.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise_impl.h"
#include "tenrec/autograd/ops/shape.h"

namespace tenrec {

using detail::map_bound;
using detail::number;
using detail::number_for;
using detail::zip;
using detail::zip3;
using kernels::BindLeft;
using kernels::BindRight;

namespace detail {

namespace {
int kind(DType t) { return is_floating(t) ? 2 : t == boolean ? 0 : 1; }
}  // namespace

DType mixed_type(const Tensor& a, const Tensor& b) {
  const bool a_scalar = a.ndim() == 0, b_scalar = b.ndim() == 0;
  if (a_scalar == b_scalar) return promote(a.dtype(), b.dtype());
  const DType array = a_scalar ? b.dtype() : a.dtype(), single = a_scalar ? a.dtype() : b.dtype();
  return kind(single) > kind(array) ? promote(array, single) : array;
}

void fail_device(const char* op, const Tensor& a, const Tensor& b) {
  fail<DeviceError>(op, ": tensors are on ", a.device(), " and ", b.device(), "; move one with x.to(device)");
}

Tensor number(Scalar value, DType dtype, Device device) { return full({}, value, {.dtype = dtype, .device = device}); }

}  // namespace detail

namespace {

// For discrete functions: their derivative is 0 wherever it is defined.
const auto zero_rule = [](const Saved& s, const Tensor& dy, Needs needs) {
  std::vector<Tensor> grads(s.node().inputs);
  for (size_t i = 0; i < grads.size(); ++i)
    if (needs[i]) grads[i] = zeros_like(dy);
  return Grads(std::move(grads));
};

void check_not_bool(const char* op, const Tensor& a, const Tensor& b) {
  if (a.dtype() == boolean && b.dtype() == boolean)
    fail<DTypeError>(op, ": not defined for bool tensors; use logical_xor, or convert with x.to(i64)");
}

}  // namespace

// --- sums and products ----------------------------------------------------------------------------------------------
Tensor add(const Tensor& a, const Tensor& b) {
  return record("add", {a, b}, zip("add", kernels::Add(), a, b), save_none, [](const Saved&, const Tensor& dy, Needs) {
    return Grads{dy, dy};
  });
}
Tensor add(const Tensor& a, Scalar b) {
  return record("add", {a}, map_bound<BindRight<kernels::Add>>("add", a, b), save_none,
                [](const Saved&, const Tensor& dy, Needs) { return Grads{dy}; });
}

Tensor sub(const Tensor& a, const Tensor& b) {
  check_not_bool("sub", a, b);
  return record("sub", {a, b}, zip("sub", kernels::Sub(), a, b), save_none,
                [](const Saved&, const Tensor& dy, Needs needs) {
                  return Grads{dy, needs[1] ? -dy : Tensor()};
                });
}
Tensor sub(const Tensor& a, Scalar b) {
  return record("sub", {a}, map_bound<BindRight<kernels::Sub>>("sub", a, b), save_none,
                [](const Saved&, const Tensor& dy, Needs) { return Grads{dy}; });
}
Tensor sub(Scalar a, const Tensor& b) {
  return record("sub", {b}, map_bound<BindLeft<kernels::Sub>>("sub", b, a), save_none,
                [](const Saved&, const Tensor& dy, Needs) { return Grads{-dy}; });
}

Tensor mul(const Tensor& a, const Tensor& b) {
  return record("mul", {a, b}, zip("mul", kernels::Mul(), a, b), save_inputs,
                [](const Saved& s, const Tensor& dy, Needs needs) {
                  return Grads{needs[0] ? dy * s.input(1) : Tensor(), needs[1] ? dy * s.input(0) : Tensor()};
                });
}
Tensor mul(const Tensor& a, Scalar b) {
  return record("mul", {a}, map_bound<BindRight<kernels::Mul>>("mul", a, b), save_none,
                [b](const Saved&, const Tensor& dy, Needs) { return Grads{dy * b}; });
}

Tensor div(const Tensor& a, const Tensor& b) {
  return record("div", {a, b}, zip("div", kernels::Div(), a, b), save_inputs,
                [](const Saved& s, const Tensor& dy, Needs needs) {
                  const Tensor da = dy / s.input(1);
                  return Grads{da, needs[1] ? -(da * (s.input(0) / s.input(1))) : Tensor()};
                });
}
Tensor div(const Tensor& a, Scalar b) {
  return record("div", {a}, map_bound<BindRight<kernels::Div>>("div", a, b), save_none,
                [b](const Saved&, const Tensor& dy, Needs) { return Grads{dy / b}; });
}
Tensor div(Scalar a, const Tensor& b) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_f32([a](const Tensor& x) { return div(a, x); }, b);
  return record("div", {b}, map_bound<BindLeft<kernels::Div>>("div", b, a), save_both,
                [](const Saved& s, const Tensor& dy, Needs) { return Grads{-(dy / s.input() * s.output())}; });
}

// --- division with rounding -----------------------------------------------------------------------------------------
namespace {

void check_divisor(const char* op, const Tensor& a, const Tensor& b) {
  if (is_floating(a.dtype()) || is_floating(b.dtype()) || a.numel() == 0) return;
  const bool nonzero = dispatch(op, b.device(), [&](auto device) { return kernels::all_nonzero(device, view(b)); });
  if (!nonzero) fail<ValueError>(op, ": integer division by zero (divisor of shape ", b.shape(), ")");
}
// A number is looked at without a device.
void check_divisor(const char* op, const Tensor& a, Scalar b) {
  if (!is_floating(a.dtype()) && a.numel() > 0 && !b.floating && b.integer == 0)
    fail<ValueError>(op, ": integer division by zero (divisor of shape ", Shape(), ")");
}

Tensor floor_divided(const Tensor& a, const Tensor& b) {
  return record("floor_divide", {a, b}, zip("floor_divide", kernels::FloorDivide(), a, b), save_none, zero_rule);
}
Tensor remainder_of(const Tensor& a, const Tensor& b) {
  return record("remainder", {a, b}, zip("remainder", kernels::Remainder(), a, b), save_inputs,
                [](const Saved& s, const Tensor& dy, Needs needs) {
                  return Grads{dy, needs[1] ? -(dy * floor_divided(s.input(0), s.input(1))) : Tensor()};
                });
}
Tensor fmod_of(const Tensor& a, const Tensor& b) {
  return record("fmod", {a, b}, zip("fmod", kernels::Fmod(), a, b), save_inputs,
                [](const Saved& s, const Tensor& dy, Needs needs) {
                  return Grads{dy, needs[1] ? -(dy * trunc(s.input(0) / s.input(1))) : Tensor()};
                });
}

// With the check of the divisor before it.
template <class Divisor>
Tensor divided(const char* op, Tensor (*f)(const Tensor&, const Tensor&), const Tensor& a, const Divisor& b) {
  check_divisor(op, a, b);
  if constexpr (std::is_same_v<Divisor, Scalar>)
    return f(a, number_for(a, b));
  else
    return f(a, b);
}

}  // namespace

Tensor floor_divide(const Tensor& a, const Tensor& b) { return divided("floor_divide", floor_divided, a, b); }
Tensor floor_divide(const Tensor& a, Scalar b) { return divided("floor_divide", floor_divided, a, b); }
Tensor remainder(const Tensor& a, const Tensor& b) { return divided("remainder", remainder_of, a, b); }
Tensor remainder(const Tensor& a, Scalar b) { return divided("remainder", remainder_of, a, b); }
Tensor remainder(Scalar a, const Tensor& b) { return remainder(number_for(b, a), b); }
Tensor fmod(const Tensor& a, const Tensor& b) { return divided("fmod", fmod_of, a, b); }
Tensor fmod(const Tensor& a, Scalar b) { return divided("fmod", fmod_of, a, b); }

// --- powers ---------------------------------------------------------------------------------------------------------
namespace {

// a^b log(a), 0 where a = 0 and b >= 0 (its limit), also where log(a) could spoil a derivative.
Tensor power_times_log(const Tensor& y, const Tensor& a, const Tensor& b) {
  const Tensor vanishes = logical_and(eq(a, 0), ge(b, 0));
  return where(vanishes, 0, y * log(where(vanishes, 1, a)));
}

}  // namespace

Tensor pow(const Tensor& a, const Tensor& b) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_f32([](const Tensor& x, const Tensor& y) { return pow(x, y); }, a, b);
  return record("pow", {a, b}, zip("pow", kernels::Pow(), a, b), save_both,
                [](const Saved& s, const Tensor& dy, Needs needs) {
                  const Tensor u = s.input(0), v = s.input(1);
                  return Grads{needs[0] ? dy * where(eq(v, 0), 0, v * pow(u, v - 1)) : Tensor(),
                               needs[1] ? dy * power_times_log(s.output(), u, v) : Tensor()};
                });
}

Tensor pow(const Tensor& a, Scalar b) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_f32([b](const Tensor& x) { return pow(x, b); }, a);
  if (b.value == 1) return clone(b.floating && !is_floating(a.dtype()) ? a.to(f32) : a);
  if (b.value == 2 && (is_floating(a.dtype()) || (!b.floating && a.dtype() != boolean))) return square(a);
  if (b.value == 0.5) return sqrt(a);
  if (b.value == -1 && is_floating(a.dtype())) return reciprocal(a);
  if (!b.floating && b.integer < 0 && !is_floating(a.dtype()))
    fail<ValueError>("pow: a tensor of ", a.dtype(), " to the negative integer power ", b.integer,
                     "; convert the tensor to a floating dtype");
  return record("pow", {a}, map_bound<BindRight<kernels::Pow>>("pow", a, b), save_inputs,
                [b](const Saved& s, const Tensor& dy, Needs) {
                  if (b.value == 0) return Grads{zeros_like(dy)};
                  return Grads{dy * (pow(s.input(), Scalar(b.value - 1)) * b)};
                });
}

Tensor pow(Scalar a, const Tensor& b) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_f32([a](const Tensor& x) { return pow(a, x); }, b);
  return record("pow", {b}, map_bound<BindLeft<kernels::Pow>>("pow", b, a), save_both,
                [a](const Saved& s, const Tensor& dy, Needs) {
                  if (a.value != 0) return Grads{dy * (s.output() * std::log(a.value))};
                  return Grads{dy * where(ge(s.input(), 0), 0, s.output() * std::log(a.value))};
                });
}

// --- angles, logarithms of sums -------------------------------------------------------------------------------------
Tensor atan2(const Tensor& y, const Tensor& x) {
  return record("atan2", {y, x}, zip("atan2", kernels::Atan2(), y, x), save_inputs,
                [](const Saved& s, const Tensor& d, Needs needs) {
                  const Tensor v = s.input(0), u = s.input(1), scaled = d / (v * v + u * u);
                  return Grads{needs[0] ? scaled * u : Tensor(), needs[1] ? -(scaled * v) : Tensor()};
                });
}

Tensor hypot(const Tensor& a, const Tensor& b) {
  return record(
      "hypot", {a, b}, zip("hypot", kernels::Hypot(), a, b), save_both,
      [](const Saved& s, const Tensor& dy, Needs needs) {
        const Tensor y = s.output();
        return Grads{needs[0] ? dy * (s.input(0) / y) : Tensor(), needs[1] ? dy * (s.input(1) / y) : Tensor()};
      });
}

namespace {

// The rule of log_base(base^a + base^b): dy times the softmax of (a, b).
auto log_sum_rule(double log_base) {
  return [log_base](const Saved& s, const Tensor& dy, Needs needs) {
    const Tensor a = s.input(0), b = s.input(1);
    // Equal infinities share evenly.
    const Tensor ahead = where(logical_and(eq(a, b), isinf(a)), 0, a - b) * log_base;
    return Grads{needs[0] ? dy * sigmoid(ahead) : Tensor(), needs[1] ? dy * sigmoid(-ahead) : Tensor()};
  };
}

}  // namespace

Tensor logaddexp(const Tensor& a, const Tensor& b) {
  return record("logaddexp", {a, b}, zip("logaddexp", kernels::LogAddExp(), a, b), save_inputs, log_sum_rule(1));
}
Tensor logaddexp2(const Tensor& a, const Tensor& b) {
  return record("logaddexp2", {a, b}, zip("logaddexp2", kernels::LogAddExp2(), a, b), save_inputs,
                log_sum_rule(0.6931471805599453));
}

Tensor xlogy(const Tensor& a, const Tensor& b) {
  return record("xlogy", {a, b}, zip("xlogy", kernels::Xlogy(), a, b), save_inputs,
                [](const Saved& s, const Tensor& dy, Needs needs) {
                  const Tensor u = s.input(0), v = s.input(1);
                  Tensor da;
                  if (needs[0]) {
                    const Tensor flat = logical_and(eq(u, 0), le(v, 0));
                    da = dy * where(flat, 0, log(where(flat, 1, v)));
                  }
                  return Grads{da, needs[1] ? dy * (u / v) : Tensor()};
                });
}
Tensor xlogy(const Tensor& a, Scalar b) { return xlogy(a, number_for(a, b)); }
Tensor xlogy(Scalar a, const Tensor& b) { return xlogy(number_for(b, a), b); }

Tensor copysign(const Tensor& a, const Tensor& b) {
  return record("copysign", {a, b}, zip("copysign", kernels::Copysign(), a, b), save_inputs,
                [](const Saved& s, const Tensor& dy, Needs needs) {
                  Tensor da;
                  if (needs[0]) da = dy * (sign(s.input(0)) * copysign(number(1, dy.dtype(), dy.device()), s.input(1)));
                  return Grads{da, needs[1] ? zeros_like(dy) : Tensor()};
                });
}
Tensor copysign(const Tensor& a, Scalar b) {
  return copysign(a, number(b, detail::to_floating(a.dtype()), a.device()));
}

Tensor ldexp(const Tensor& a, const Tensor& b) { return a * exp2(b); }

// --- the smaller, the larger ----------------------------------------------------------------------------------------
namespace {

// The cotangent of max(a, b) for a; of min(a, b) for a with the operands swapped. Linear in dy, constant in a and b.
Tensor maximum_grad(const Tensor& dy, const Tensor& a, const Tensor& b) {
  const DType compute = detail::result_type(a, b), dtype = dy.dtype();
  if (!grad_enabled()) return zip3("maximum_grad", kernels::MaximumGrad(), dy, a, b, compute, dtype);
  const Tensor x = a.detach(), y = b.detach();
  return record("maximum_grad", {dy, x, y}, zip3("maximum_grad", kernels::MaximumGrad(), dy, x, y, compute, dtype),
                save_input(1) | save_input(2), [](const Saved& s, const Tensor& ddx, Needs) {
                  return Grads{maximum_grad(ddx, s.input(1), s.input(2)), Tensor(), Tensor()};
                });
}

}  // namespace

Tensor maximum(const Tensor& a, const Tensor& b) {
  return record("maximum", {a, b}, zip("maximum", kernels::Maximum(), a, b), save_inputs,
                [](const Saved& s, const Tensor& dy, Needs needs) {
                  return Grads{needs[0] ? maximum_grad(dy, s.input(0), s.input(1)) : Tensor(),
                               needs[1] ? maximum_grad(dy, s.input(1), s.input(0)) : Tensor()};
                });
}
Tensor minimum(const Tensor& a, const Tensor& b) {
  return record("minimum", {a, b}, zip("minimum", kernels::Minimum(), a, b), save_inputs,
                [](const Saved& s, const Tensor& dy, Needs needs) {
                  return Grads{needs[0] ? maximum_grad(dy, s.input(1), s.input(0)) : Tensor(),
                               needs[1] ? maximum_grad(dy, s.input(0), s.input(1)) : Tensor()};
                });
}

Tensor fmax(const Tensor& a, const Tensor& b) {
  return record("fmax", {a, b}, zip("fmax", kernels::Fmax(), a, b), save_inputs,
                [](const Saved& s, const Tensor& dy, Needs needs) {
                  const Tensor v = s.input(1), first = logical_or(ge(s.input(0), v), isnan(v));
                  return Grads{needs[0] ? where(first, dy, 0) : Tensor(), needs[1] ? where(first, 0, dy) : Tensor()};
                });
}
Tensor fmin(const Tensor& a, const Tensor& b) {
  return record("fmin", {a, b}, zip("fmin", kernels::Fmin(), a, b), save_inputs,
                [](const Saved& s, const Tensor& dy, Needs needs) {
                  const Tensor v = s.input(1), first = logical_or(le(s.input(0), v), isnan(v));
                  return Grads{needs[0] ? where(first, dy, 0) : Tensor(), needs[1] ? where(first, 0, dy) : Tensor()};
                });
}

// --- three operands -------------------------------------------------------------------------------------------------
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  if (condition.dtype() != boolean)
    fail<DTypeError>("where: expected a bool condition, got ", condition.dtype(), "; compare first, as in x != 0");
  const DType dtype = detail::result_type(a, b);
  return record("where", {condition, a, b}, zip3("where", kernels::Where(), condition, a, b, dtype, dtype),
                save_input(0), [](const Saved& s, const Tensor& dy, Needs needs) {
                  const Tensor c = s.input(0);
                  return Grads{Tensor(), needs[1] ? where(c, dy, 0) : Tensor(), needs[2] ? where(c, 0, dy) : Tensor()};
                });
}
Tensor where(const Tensor& condition, const Tensor& a, Scalar b) { return where(condition, a, number_for(a, b)); }
Tensor where(const Tensor& condition, Scalar a, const Tensor& b) { return where(condition, number_for(b, a), b); }
Tensor where(const Tensor& condition, Scalar a, Scalar b) {
  const DType dtype = a.floating || b.floating ? f32 : i64;
  return where(condition, number(a, dtype, condition.device()), number(b, dtype, condition.device()));
}

namespace {

DType check_floating(const char* op, const Tensor& a, const Tensor& b, const Tensor& c) {
  const DType dtype = promote(detail::result_type(a, b), c.ndim() ? c.dtype() : detail::result_type(a, c));
  if (!is_floating(dtype)) fail<DTypeError>(op, ": expected floating tensors, got ", dtype);
  return dtype;
}

}  // namespace

Tensor lerp(const Tensor& a, const Tensor& b, const Tensor& weight) {
  const DType dtype = check_floating("lerp", a, b, weight);
  return record("lerp", {a, b, weight}, zip3("lerp", kernels::Lerp(), a, b, weight, dtype, dtype), save_inputs,
                [](const Saved& s, const Tensor& dy, Needs needs) {
                  const Tensor w = s.input(2);
                  return Grads{needs[0] ? dy * (1 - w) : Tensor(), needs[1] ? dy * w : Tensor(),
                               needs[2] ? dy * (s.input(1) - s.input(0)) : Tensor()};
                });
}
Tensor lerp(const Tensor& a, const Tensor& b, double weight) {
  const DType dtype = check_floating("lerp", a, b, a);
  const Tensor w = number(weight, dtype == f64 ? f64 : f32, a.device());
  return record("lerp", {a, b}, zip3("lerp", kernels::Lerp(), a, b, w, dtype, dtype), save_none,
                [weight](const Saved&, const Tensor& dy, Needs needs) {
                  return Grads{needs[0] ? dy * (1 - weight) : Tensor(), needs[1] ? dy * weight : Tensor()};
                });
}

Tensor addcmul(const Tensor& x, const Tensor& a, const Tensor& b, Scalar value) {
  DType dtype = promote(detail::result_type(x, a), b.ndim() ? b.dtype() : detail::result_type(x, b));
  if (value.floating) dtype = detail::to_floating(dtype);
  return record(
      "addcmul", {x, a, b}, zip3("addcmul", kernels::AddCMul{value.value, value.integer}, x, a, b, dtype, dtype),
      save_inputs, [value](const Saved& s, const Tensor& dy, Needs needs) {
        return Grads{dy, needs[1] ? dy * s.input(2) * value : Tensor(), needs[2] ? dy * s.input(1) * value : Tensor()};
      });
}

Tensor addcdiv(const Tensor& x, const Tensor& a, const Tensor& b, double value) {
  const DType dtype = check_floating("addcdiv", x, a, b);
  return record("addcdiv", {x, a, b}, zip3("addcdiv", kernels::AddCDiv{value}, x, a, b, dtype, dtype), save_inputs,
                [value](const Saved& s, const Tensor& dy, Needs needs) {
                  const Tensor da = dy / s.input(2) * value;
                  return Grads{dy, da, needs[2] ? -(da * (s.input(1) / s.input(2))) : Tensor()};
                });
}

Tensor& Tensor::operator+=(const Tensor& other) { return *this = add(*this, other); }
Tensor& Tensor::operator-=(const Tensor& other) { return *this = sub(*this, other); }
Tensor& Tensor::operator*=(const Tensor& other) { return *this = mul(*this, other); }
Tensor& Tensor::operator/=(const Tensor& other) { return *this = div(*this, other); }
Tensor& Tensor::operator+=(Scalar value) { return *this = add(*this, value); }
Tensor& Tensor::operator-=(Scalar value) { return *this = sub(*this, value); }
Tensor& Tensor::operator*=(Scalar value) { return *this = mul(*this, value); }
Tensor& Tensor::operator/=(Scalar value) { return *this = div(*this, value); }

}  // namespace tenrec
