// How elementwise ops are made of functors. Internal: included by the op files, not by users.
#pragma once

#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/core/view.h"
#include "tenrec/kernels/elementwise.h"
#include "tenrec/kernels/elementwise_functors.h"

namespace tenrec::detail {

// The dtype two operands meet in when theirs differ, by PyTorch's rule: a 0-d tensor raises the dtype only across kinds
// (bool < integer < floating), an integer 0-d tensor never makes an f16 tensor anything else.
DType mixed_type(const Tensor& a, const Tensor& b);
inline DType result_type(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() ? a.dtype() : mixed_type(a, b);
}
inline DType to_floating(DType t) { return is_floating(t) ? t : f32; }
// The same for a tensor and a C++ number.
inline DType result_type(const Tensor& a, Scalar b) {
  if (is_floating(a.dtype())) return a.dtype();
  return b.floating ? f32 : a.dtype() == boolean ? i64 : a.dtype();
}

[[noreturn]] void fail_device(const char* op, const Tensor& a, const Tensor& b);
inline void check_same_device(const char* op, const Tensor& a, const Tensor& b) {
  if (a.device() != b.device()) [[unlikely]]
    fail_device(op, a, b);
}

inline Tensor empty_of(const Shape& shape, DType dtype, Device device) {
  return empty(shape, {.dtype = dtype, .device = device});
}
// A number as a 0-d tensor.
Tensor number(Scalar value, DType dtype, Device device);
// In the dtype in which it meets x.
inline Tensor number_for(const Tensor& x, Scalar value) { return number(value, result_type(x, value), x.device()); }

// y = f(x); arithmetic in `compute`, result in `dtype`.
template <class F>
Tensor map(const char* op, const F& f, const Tensor& x, DType compute, DType dtype) {
  Tensor y = empty_of(x.shape(), dtype, x.device());
  dispatch(op, x.device(),
           [&](auto device) { kernels::unary(device, f, kernels::compute_dtype(compute), view(x), view(y)); });
  return y;
}
template <class F>
Tensor map(const char* op, const F& f, const Tensor& x, DType dtype) {
  return map(op, f, x, dtype, dtype);
}
// Integers become f32 unless the functor is defined on them; predicates give bool.
template <class F>
Tensor map(const char* op, const F& f, const Tensor& x) {
  if constexpr (kernels::is_predicate<F>)
    return map(op, f, x, x.dtype(), boolean);
  else if constexpr (kernels::on_integers<F>)
    return map(op, f, x, x.dtype());
  else
    return map(op, f, x, to_floating(x.dtype()));
}
// y = F(x, value) and F(value, x); integers become f32 if the number is floating.
template <class F>
Tensor map_bound(const char* op, const Tensor& x, Scalar value) {
  DType dtype = result_type(x, value);
  if constexpr (!kernels::on_integers<F>) dtype = to_floating(dtype);
  return map(op, F{value.value, value.integer}, x, dtype, kernels::is_predicate<F> ? boolean : dtype);
}

// y = f(a, b), broadcast; arithmetic in `compute`, result in `dtype`.
template <class F>
Tensor zip(const char* op, const F& f, const Tensor& a, const Tensor& b, DType compute, DType dtype) {
  check_same_device(op, a, b);
  Tensor y = a.shape() == b.shape() ? empty_of(a.shape(), dtype, a.device())
                                    : empty_of(broadcast_shapes(op, a.shape(), b.shape()), dtype, a.device());
  dispatch(op, a.device(), [&](auto device) {
    kernels::binary(device, f, kernels::compute_dtype(compute), view(a), view(b), view(y));
  });
  return y;
}
template <class F>
Tensor zip(const char* op, const F& f, const Tensor& a, const Tensor& b) {
  DType dtype = result_type(a, b);
  if constexpr (!kernels::on_integers<F>) dtype = to_floating(dtype);
  return zip(op, f, a, b, dtype, kernels::is_predicate<F> ? boolean : dtype);
}

// y = f(a, b, c), broadcast; arithmetic in `compute`, result in `dtype`.
template <class F>
Tensor zip3(const char* op, const F& f, const Tensor& a, const Tensor& b, const Tensor& c, DType compute, DType dtype) {
  check_same_device(op, a, b);
  check_same_device(op, a, c);
  const bool same = a.shape() == b.shape() && a.shape() == c.shape();
  Tensor y =
      same ? empty_of(a.shape(), dtype, a.device())
           : empty_of(broadcast_shapes(op, broadcast_shapes(op, a.shape(), b.shape()), c.shape()), dtype, a.device());
  dispatch(op, a.device(), [&](auto device) {
    kernels::ternary(device, f, kernels::compute_dtype(compute), view(a), view(b), view(c), view(y));
  });
  return y;
}

// --- rules that go in one pass --------------------------------------------------------------------------------------

// dx = g(dy, x) for a function that is piecewise linear in x: g is linear in dy and has no derivative in x, so the op
// is its own rule.
template <class G>
Tensor piecewise_grad(const char* op, const G& g, const Tensor& dy, const Tensor& x) {
  if (!grad_enabled()) return zip(op, g, dy, x);
  const Tensor fixed = x.detach();
  return record(op, {dy, fixed}, zip(op, g, dy, fixed), save_input(1),
                [op, g](const Saved& s, const Tensor& ddx, Needs) {
                  return Grads{piecewise_grad(op, g, ddx, s.input(1)), Tensor()};
                });
}
// The rule of such a function, from its saved input.
template <class G>
auto piecewise_rule(const char* op, const G& g) {
  return [op, g](const Saved& s, const Tensor& dy, Needs) { return Grads{piecewise_grad(op, g, dy, s.input())}; };
}

// The rule of y = f(x) where g(dy, x) computes dy f'(x) in one pass and `derivative` is f'(x) written with ops, for
// when the gradient itself is recorded.
template <class G, class Derivative>
auto slope_rule(const char* op, const G& g, Derivative derivative) {
  return [op, g, derivative](const Saved& s, const Tensor& dy, Needs) {
    const Tensor x = s.input();
    if (!grad_enabled()) return Grads{zip(op, g, dy, x)};
    return Grads{dy * derivative(x)};
  };
}
// The same from the output: f' = derivative(y).
template <class G, class Derivative>
auto output_slope_rule(const char* op, const G& g, Derivative derivative) {
  return [op, g, derivative](const Saved& s, const Tensor& dy, Needs) {
    const Tensor y = s.output();
    if (!grad_enabled()) return Grads{zip(op, g, dy, y)};
    return Grads{dy * derivative(y)};
  };
}

}  // namespace tenrec::detail
