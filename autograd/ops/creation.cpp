#include "tenrec/autograd/ops/creation.h"

#include <cmath>

#include "tenrec/core/view.h"
#include "tenrec/kernels/convert.h"
#include "tenrec/kernels/elementwise.h"
#include "tenrec/kernels/ramp.h"

namespace tenrec {

NestedList::NestedList(std::initializer_list<NestedList> rows) {
  shape_.push_back(int64_t(rows.size()));
  for (const NestedList& row : rows) {
    if (row.shape_ != rows.begin()->shape_)
      fail<ShapeError>("tensor: rows of shapes ", rows.begin()->shape_, " and ", row.shape_, " in one list");
    values_.insert(values_.end(), row.values_.begin(), row.values_.end());
  }
  if (rows.size() == 0) return;
  for (int64_t size : rows.begin()->shape_) shape_.push_back(size);
}

namespace detail {

int64_t integer_of(const char* op, Scalar value, DType dtype) {
  if (is_floating(dtype)) return 0;
  if (dtype == boolean) return value.value != 0;
  const auto refuse = [&](const auto& number) { fail<ValueError>(op, ": ", dtype, " has no value ", number); };
  if (value.floating && !(value.value >= -0x1p63 && value.value < 0x1p63)) refuse(value.value);
  const int64_t integer = value.floating ? int64_t(value.value) : value.integer;
  if (dtype == i32 && integer != int32_t(integer)) refuse(integer);
  if (dtype == u8 && integer != uint8_t(integer)) refuse(integer);
  return integer;
}

}  // namespace detail

Tensor full(const Shape& shape, Scalar value, const TensorOptions& options) {
  const int64_t integer = detail::integer_of("full", value, options.dtype);
  Tensor y = empty(shape, {.dtype = options.dtype, .device = options.device});
  dispatch("full", y.device(), [&](auto device) { kernels::fill(device, view(y), value.value, integer); });
  if (options.requires_grad) y.set_requires_grad(true);
  return y;
}

Tensor zeros(const Shape& shape, const TensorOptions& options) { return full(shape, 0, options); }
Tensor ones(const Shape& shape, const TensorOptions& options) { return full(shape, 1, options); }
Tensor zeros_like(const Tensor& x) { return full_like(x, 0); }
Tensor ones_like(const Tensor& x) { return full_like(x, 1); }
Tensor full_like(const Tensor& x, Scalar value) {
  return full(x.shape(), value, {.dtype = x.dtype(), .device = x.device()});
}
Tensor scalar(Scalar value, const TensorOptions& options) { return full({}, value, options); }

namespace {
// Host values, converted to the dtype and moved to the device that was asked for.
Tensor from_doubles(const std::vector<double>& values, const Shape& shape, const TensorOptions& options) {
  Tensor y = empty(shape, {.dtype = options.dtype, .device = kCpu});
  kernels::convert_strided(values.data(), f64, 1, y.data_ptr(), options.dtype, 1, int64_t(values.size()));
  y = y.to(options.device);
  if (options.requires_grad) y.set_requires_grad(true);
  return y;
}
}  // namespace

Tensor tensor(std::initializer_list<NestedList> rows, const TensorOptions& options) {
  const NestedList list(rows);
  return from_doubles(list.values(), list.shape(), options);
}

Tensor arange(Scalar start, Scalar end, Scalar step, const TensorOptions& options) {
  const double count = std::ceil((end.value - start.value) / step.value);
  if (!(step.value != 0) || !(count >= 0) || count > 0x1p53)
    fail<ValueError>("arange: no sequence from ", start.value, " to ", end.value, " in steps of ", step.value);
  Tensor y = empty({int64_t(count)}, {.dtype = options.dtype, .device = options.device});
  dispatch("arange", y.device(), [&](auto device) { kernels::ramp(device, start.value, step.value, view(y)); });
  if (options.requires_grad) y.set_requires_grad(true);
  return y;
}
Tensor arange(Scalar start, Scalar end, const TensorOptions& options) { return arange(start, end, 1, options); }
Tensor arange(Scalar end, const TensorOptions& options) { return arange(0, end, 1, options); }

Tensor linspace(double start, double end, int64_t steps, const TensorOptions& options) {
  if (steps < 0) fail<ValueError>("linspace: steps must not be negative, got ", steps);
  std::vector<double> values(static_cast<size_t>(steps));
  for (int64_t i = 0; i < steps; ++i) {
    const double t = steps == 1 ? 0 : double(i) / double(steps - 1);
    values[size_t(i)] = start * (1 - t) + end * t;
  }
  return from_doubles(values, {steps}, options);
}

Tensor eye(int64_t n, const TensorOptions& options) { return eye(n, n, options); }
Tensor eye(int64_t rows, int64_t cols, const TensorOptions& options) {
  Tensor y = zeros({rows, cols}, {.dtype = options.dtype, .device = options.device});
  const int64_t n = std::min(rows, cols);
  if (n > 0) {
    const Tensor diagonal = detail::make_view(y, {n}, {cols + 1}, 0);
    dispatch("eye", y.device(), [&](auto device) { kernels::fill(device, view(diagonal), 1, 1); });
  }
  if (options.requires_grad) y.set_requires_grad(true);
  return y;
}

}  // namespace tenrec
