#include "tenrec/core/shape.h"

#include <algorithm>

namespace tenrec {

void Shape::too_many(size_t n) { fail<ShapeError>("a tensor has at most ", kMaxDims, " dimensions, got ", n); }

int64_t checked_numel(const Shape& shape) {
  int64_t numel = 1;
  bool empty = false, overflow = false;
  for (int64_t size : shape) {
    if (size < 0) fail<ShapeError>("shape ", shape, " has a negative size");
    if (size == 0)
      empty = true;
    else
      overflow |= __builtin_mul_overflow(numel, size, &numel);
  }
  if (empty) return 0;
  if (overflow) fail<ShapeError>("shape ", shape, " has more than 2^63 - 1 elements");
  return numel;
}

Strides contiguous_strides(const Shape& shape) {
  Strides strides = shape;
  int64_t step = 1;
  for (int64_t i = shape.ndim() - 1; i >= 0; --i) {
    strides[i] = step;
    step *= std::max<int64_t>(shape[i], 1);
  }
  return strides;
}

Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b) {
  if (a == b) return a;
  const Shape& longer = a.ndim() >= b.ndim() ? a : b;
  const Shape& shorter = a.ndim() >= b.ndim() ? b : a;
  Shape out = longer;
  const int64_t offset = longer.ndim() - shorter.ndim();
  for (int64_t i = 0; i < shorter.ndim(); ++i) {
    const int64_t x = longer[i + offset], y = shorter[i];
    if (x != y && x != 1 && y != 1)
      fail<ShapeError>(op, ": shapes ", a, " and ", b, " do not broadcast: sizes ", x, " and ", y, " at dimension ",
                       i + offset, " differ and neither is 1");
    out[i + offset] = x == 1 ? y : x;
  }
  return out;
}

int64_t check_dim(const char* op, const Shape& shape, int64_t dim) {
  const int64_t n = std::max<int64_t>(shape.ndim(), 1);
  if (dim < -n || dim >= n)
    fail<IndexError>(op, ": dim ", dim, " is out of range for a tensor of ", shape.ndim(), " dimensions (expected ", -n,
                     " to ", n - 1, ")");
  return dim < 0 ? dim + n : dim;
}

std::string to_string(const Shape& shape) {
  std::string out;
  append(out, shape);
  return out;
}

void append(std::string& out, const Shape& shape) {
  out.push_back('[');
  for (int64_t i = 0; i < shape.ndim(); ++i) {
    if (i) out.append(", ");
    detail::append(out, long(shape[i]));
  }
  out.push_back(']');
}

}  // namespace tenrec
