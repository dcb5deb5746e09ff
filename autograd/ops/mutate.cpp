#include "tenrec/autograd/ops/mutate.h"

#include <cmath>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise_impl.h"

namespace tenrec {
namespace detail {

void check_mutation(const char* op, const Tensor& x, const char* instead) {
  for (int64_t d = 0; d < x.ndim(); ++d)
    if (x.strides()[d] == 0 && x.shape()[d] > 1)
      fail<ValueError>(op, ": elements of this expanded tensor of shape ", x.shape(),
                       " share memory, so it cannot be changed in place; change a clone");
  if (!grad_enabled()) return;
  if (x.requires_grad())
    fail<AutogradError>(op, ": a tensor that requires grad cannot be changed in place while recording; use ", instead,
                        ", or NoGrad for an update outside the tape");
  if (__atomic_load_n(&x.impl().storage->recorded, __ATOMIC_RELAXED))
    fail<AutogradError>(op, ": the tape has recorded this tensor or a view of its storage; use ", instead,
                        ", or NoGrad for an update outside the tape");
}

bool broadcasts_to(const Shape& from, const Shape& to) {
  const int64_t lead = to.ndim() - from.ndim();
  if (lead < 0) return false;
  for (int64_t d = 0; d < from.ndim(); ++d)
    if (from[d] != 1 && from[d] != to[d + lead]) return false;
  return true;
}

namespace {
void check_broadcast(const char* op, const Tensor& x, const Tensor& y) {
  if (!broadcasts_to(y.shape(), x.shape()))
    fail<ShapeError>(op, ": shape ", y.shape(), " does not broadcast to ", x.shape());
  check_same_device(op, x, y);
}

// The bytes that a tensor's elements span.
struct Span {
  const char *begin, *end;
  explicit Span(const TensorImpl& t) : begin(static_cast<const char*>(t.data)), end(begin + size_of(t.dtype)) {
    for (int64_t d = 0; d < t.shape.ndim(); ++d) {
      const int64_t reach = (t.shape[d] - 1) * t.strides[d] * size_of(t.dtype);
      (reach < 0 ? begin : end) += reach;
    }
  }
};

// A floating result never goes into an integer tensor unasked.
void check_result(const char* op, const Tensor& x, bool floating) {
  if (floating && !is_floating(x.dtype()))
    fail<DTypeError>(op, ": the result is floating and the tensor to change is ", x.dtype(),
                     "; use the functional form");
}

// y, or a copy of it if writing to x could change elements of y before they are read.
Tensor apart_from(const Tensor& x, const Tensor& y) {
  const TensorImpl &a = x.impl(), &b = y.impl();
  if (a.storage != b.storage || a.numel == 0 || b.numel == 0) return y;
  if (a.data == b.data && a.shape == b.shape && a.strides == b.strides) return y;
  const Span s(a), t(b);
  if (s.end <= t.begin || t.end <= s.begin) return y;
  Tensor copy = empty_like(y);
  dispatch("clone", y.device(), [&](auto device) { kernels::copy(device, view(y), view(copy)); });
  return copy;
}
}  // namespace
}  // namespace detail

const Tensor& copy_(const Tensor& x, const Tensor& y) {
  detail::check_mutation("copy_", x, "x = y.to(x.dtype())");
  const Tensor there = y.device() == x.device() ? y : y.detach().to(x.device());
  detail::check_broadcast("copy_", x, there);
  const Tensor from = detail::apart_from(x, there);
  dispatch("copy_", x.device(), [&](auto device) { kernels::copy(device, view(from), view(x)); });
  detail::bump_version(x);
  return x;
}

namespace {
const Tensor& fill_as(const char* op, const char* instead, const Tensor& x, Scalar value) {
  detail::check_mutation(op, x, instead);
  const int64_t integer = detail::integer_of(op, value, x.dtype());
  dispatch(op, x.device(), [&](auto device) { kernels::fill(device, view(x), value.value, integer); });
  detail::bump_version(x);
  return x;
}
}  // namespace

const Tensor& fill_(const Tensor& x, Scalar value) { return fill_as("fill_", "x = full_like(x, value)", x, value); }
const Tensor& zero_(const Tensor& x) { return fill_as("zero_", "x = zeros_like(x)", x, 0); }

namespace {
// x = f(x, y), y broadcast to x's shape. `fractions`: f makes fractions of whole numbers.
template <class F>
const Tensor& zip_in_place(const char* op, const char* instead, const F& f, const Tensor& x, const Tensor& y,
                           bool fractions) {
  detail::check_mutation(op, x, instead);
  detail::check_broadcast(op, x, y);
  const DType result = detail::result_type(x, y), compute = kernels::compute_dtype(result);
  detail::check_result(op, x, is_floating(result) || fractions);
  const Tensor other = detail::apart_from(x, y);
  dispatch(op, x.device(), [&](auto device) { kernels::binary(device, f, compute, view(x), view(other), view(x)); });
  detail::bump_version(x);
  return x;
}
}  // namespace

const Tensor& add_(const Tensor& x, const Tensor& y, double alpha) {
  return zip_in_place("add_", "x = x + alpha * y", kernels::AddScaled{alpha}, x, y, alpha != std::trunc(alpha));
}
const Tensor& mul_(const Tensor& x, const Tensor& y) {
  return zip_in_place("mul_", "x = x * y", kernels::Mul(), x, y, false);
}

const Tensor& mul_(const Tensor& x, Scalar value) {
  detail::check_mutation("mul_", x, "x = x * value");
  detail::check_result("mul_", x, value.floating);
  dispatch("mul_", x.device(), [&](auto device) {
    kernels::unary(device, kernels::BindRight<kernels::Mul>{value.value, value.integer},
                   kernels::compute_dtype(x.dtype()), view(x), view(x));
  });
  detail::bump_version(x);
  return x;
}

}  // namespace tenrec
