#include "tenrec/autograd/ops/compare.h"

#include "tenrec/autograd/ops/elementwise_impl.h"

namespace tenrec {

using detail::map;
using detail::map_bound;
using detail::zip;
using kernels::BindRight;

namespace {

template <class F>
Tensor discrete(const char* op, const F& f, const Tensor& x) {
  return record(op, {x}, map(op, f, x), not_differentiable);
}
template <class F>
Tensor discrete(const char* op, const F& f, const Tensor& a, const Tensor& b) {
  return record(op, {a, b}, zip(op, f, a, b), not_differentiable);
}
template <class F>
Tensor compare(const char* op, const F&, const Tensor& a, Scalar b) {
  return record(op, {a}, map_bound<BindRight<F>>(op, a, b), not_differentiable);
}

void check_integers(const char* op, DType a, DType b) {
  if (is_floating(a) || is_floating(b)) fail<DTypeError>(op, ": expected integer or bool tensors, got ", a, " and ", b);
}
template <class F>
Tensor bitwise(const char* op, const F& f, const Tensor& a, const Tensor& b) {
  check_integers(op, a.dtype(), b.dtype());
  return discrete(op, f, a, b);
}
template <class F>
Tensor bitwise(const char* op, const F& f, const Tensor& a, Scalar b) {
  if (b.floating) fail<DTypeError>(op, ": expected an integer, got the number ", b.value);
  return bitwise(op, f, a, detail::number_for(a, b));
}
// Shifts of integers narrower than the 64 bits they are computed in.
template <class F>
Tensor shift(const char* op, const F& f, const Tensor& a, const Tensor& count) {
  check_integers(op, a.dtype(), count.dtype());
  if (a.dtype() == boolean && count.dtype() == boolean) fail<DTypeError>(op, ": not defined for bool tensors");
  return discrete(op, f, a, count);
}

bool all_nonzero(const char* op, const Tensor& x) {
  return dispatch(op, x.device(), [&](auto device) { return kernels::all_nonzero(device, view(x)); });
}

}  // namespace

Tensor eq(const Tensor& a, const Tensor& b) { return discrete("eq", kernels::Eq(), a, b); }
Tensor eq(const Tensor& a, Scalar b) { return compare("eq", kernels::Eq(), a, b); }
Tensor ne(const Tensor& a, const Tensor& b) { return discrete("ne", kernels::Ne(), a, b); }
Tensor ne(const Tensor& a, Scalar b) { return compare("ne", kernels::Ne(), a, b); }
Tensor lt(const Tensor& a, const Tensor& b) { return discrete("lt", kernels::Lt(), a, b); }
Tensor lt(const Tensor& a, Scalar b) { return compare("lt", kernels::Lt(), a, b); }
Tensor le(const Tensor& a, const Tensor& b) { return discrete("le", kernels::Le(), a, b); }
Tensor le(const Tensor& a, Scalar b) { return compare("le", kernels::Le(), a, b); }
Tensor gt(const Tensor& a, const Tensor& b) { return discrete("gt", kernels::Gt(), a, b); }
Tensor gt(const Tensor& a, Scalar b) { return compare("gt", kernels::Gt(), a, b); }
Tensor ge(const Tensor& a, const Tensor& b) { return discrete("ge", kernels::Ge(), a, b); }
Tensor ge(const Tensor& a, Scalar b) { return compare("ge", kernels::Ge(), a, b); }

Tensor logical_and(const Tensor& a, const Tensor& b) { return discrete("logical_and", kernels::LogicalAnd(), a, b); }
Tensor logical_or(const Tensor& a, const Tensor& b) { return discrete("logical_or", kernels::LogicalOr(), a, b); }
Tensor logical_xor(const Tensor& a, const Tensor& b) { return discrete("logical_xor", kernels::LogicalXor(), a, b); }
Tensor logical_not(const Tensor& x) { return discrete("logical_not", kernels::LogicalNot(), x); }

Tensor bitwise_and(const Tensor& a, const Tensor& b) { return bitwise("bitwise_and", kernels::BitAnd(), a, b); }
Tensor bitwise_and(const Tensor& a, Scalar b) { return bitwise("bitwise_and", kernels::BitAnd(), a, b); }
Tensor bitwise_or(const Tensor& a, const Tensor& b) { return bitwise("bitwise_or", kernels::BitOr(), a, b); }
Tensor bitwise_or(const Tensor& a, Scalar b) { return bitwise("bitwise_or", kernels::BitOr(), a, b); }
Tensor bitwise_xor(const Tensor& a, const Tensor& b) { return bitwise("bitwise_xor", kernels::BitXor(), a, b); }
Tensor bitwise_xor(const Tensor& a, Scalar b) { return bitwise("bitwise_xor", kernels::BitXor(), a, b); }
Tensor bitwise_not(const Tensor& x) {
  check_integers("bitwise_not", x.dtype(), x.dtype());
  if (x.dtype() != boolean) return discrete("bitwise_not", kernels::BitNot(), x);
  return discrete("bitwise_not", kernels::LogicalNot(), x);
}
Tensor bitwise_left_shift(const Tensor& a, const Tensor& count) {
  return shift("bitwise_left_shift", kernels::ShiftLeft(), a, count);
}
Tensor bitwise_left_shift(const Tensor& a, Scalar count) {
  return bitwise("bitwise_left_shift", kernels::ShiftLeft(), a, count);
}
Tensor bitwise_right_shift(const Tensor& a, const Tensor& count) {
  return shift("bitwise_right_shift", kernels::ShiftRight(), a, count);
}
Tensor bitwise_right_shift(const Tensor& a, Scalar count) {
  return bitwise("bitwise_right_shift", kernels::ShiftRight(), a, count);
}

Tensor isnan(const Tensor& x) { return discrete("isnan", kernels::IsNan(), x); }
Tensor isinf(const Tensor& x) { return discrete("isinf", kernels::IsInf(), x); }
Tensor isfinite(const Tensor& x) { return discrete("isfinite", kernels::IsFinite(), x); }

Tensor isclose(const Tensor& a, const Tensor& b, const CloseOptions& options) {
  if (!(options.rtol >= 0 && options.atol >= 0))
    fail<ValueError>("isclose: rtol and atol must not be negative, got ", options.rtol, " and ", options.atol);
  const DType met = detail::result_type(a, b), compute = is_floating(met) ? met : f64;
  const kernels::IsClose close{options.rtol, options.atol, options.equal_nan};
  return record("isclose", {a, b}, zip("isclose", close, a, b, compute, boolean), not_differentiable);
}
bool allclose(const Tensor& a, const Tensor& b, const CloseOptions& options) {
  const NoGrad guard;
  return all_nonzero("allclose", isclose(a, b, options));
}
bool equal(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && all_nonzero("equal", zip("equal", kernels::Eq(), a, b));
}

}  // namespace tenrec
