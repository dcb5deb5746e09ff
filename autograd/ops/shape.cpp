#include "tenrec/autograd/ops/shape.h"

#include <algorithm>
#include <cstdlib>

#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/mutate.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/core/view.h"
#include "tenrec/kernels/elementwise.h"

namespace tenrec {

using detail::make_view;

namespace {

// Records a view whose gradient is another view op of the cotangent.
template <class Back>
Tensor record_view(const char* name, const Tensor& x, Tensor y, Back back) {
  return record(name, {x}, std::move(y), save_none,
                [back = std::move(back)](const Saved&, const Tensor& dy, Needs) { return Grads{back(dy)}; });
}

// `wanted` with its -1, if any, filled in so that it holds `numel` elements; false if it cannot.
bool fill_unknown(Shape& wanted, int64_t numel) {
  int64_t known = 1, unknown = -1;
  for (int64_t i = 0; i < wanted.ndim(); ++i) {
    if (wanted[i] == -1 && unknown < 0)
      unknown = i;
    else if (wanted[i] < 0 || __builtin_mul_overflow(known, wanted[i], &known))
      return false;
  }
  if (unknown < 0) return known == numel;
  if (known == 0 || numel % known != 0) return false;
  wanted[unknown] = numel / known;
  return true;
}

Shape resolve(const Tensor& x, const Shape& wanted) {
  Shape shape = wanted;
  if (!fill_unknown(shape, x.numel()))
    fail<ShapeError>("reshape: shape ", x.shape(), " of ", x.numel(), " elements does not fit ", wanted);
  return shape;
}

// Strides with which the elements of x can be seen at `shape`; false if they cannot.
bool view_strides(const Tensor& x, const Shape& shape, Strides& out) {
  if (x.is_contiguous() || x.numel() == 0) {
    out = contiguous_strides(shape);
    return true;
  }
  out = shape;
  int64_t to = shape.ndim() - 1;
  const Shape& from = x.shape();
  for (int64_t d = from.ndim() - 1; d >= 0;) {
    // A run of dimensions of x that lies evenly in memory, then the new dimensions that fill it.
    int64_t run = from[d], base = x.strides()[d];
    while (d > 0 && (from[d - 1] == 1 || x.strides()[d - 1] == base * run)) run *= from[--d];
    --d;
    int64_t filled = 1;
    while (to >= 0 && (filled < run || shape[to] == 1)) {
      out[to] = base * filled;
      filled *= shape[to--];
    }
    if (filled != run) return false;
  }
  for (; to >= 0; --to) out[to] = 1;
  return true;
}

}  // namespace

Tensor alias(const Tensor& x) {
  return record_view("alias", x, make_view(x, x.shape(), x.strides(), 0), [](const Tensor& dy) { return dy; });
}

Tensor reshape(const Tensor& x, const Shape& wanted) {
  const Shape shape = resolve(x, wanted);
  Strides strides;
  if (!view_strides(x, shape, strides)) return reshape(clone(x), shape);
  return record_view("reshape", x, make_view(x, shape, strides, 0),
                     [from = x.shape()](const Tensor& dy) { return reshape(dy, from); });
}

Tensor flatten(const Tensor& x, int64_t start, int64_t end) {
  start = check_dim("flatten", x.shape(), start);
  end = check_dim("flatten", x.shape(), end);
  if (start > end) fail<IndexError>("flatten: start dimension ", start, " comes after end ", end);
  if (x.ndim() == 0) return reshape(x, {1});
  Shape shape;
  int64_t merged = 1;
  for (int64_t d = 0; d < x.ndim(); ++d) {
    if (d < start || d > end)
      shape.push_back(x.shape()[d]);
    else
      merged *= x.shape()[d];
    if (d == end) shape.push_back(merged);
  }
  return reshape(x, shape);
}

Tensor unflatten(const Tensor& x, int64_t dim, const Shape& sizes) {
  dim = check_dim("unflatten", x.shape(), dim);
  Shape part = sizes, shape;
  if (!fill_unknown(part, x.ndim() ? x.shape()[dim] : 1))
    fail<ShapeError>("unflatten: sizes ", sizes, " do not fill dimension ", dim, " of ", x.shape());
  if (x.ndim() == 0) return reshape(x, part);
  for (int64_t d = 0; d < x.ndim(); ++d) {
    if (d != dim)
      shape.push_back(x.shape()[d]);
    else
      for (int64_t size : part) shape.push_back(size);
  }
  return reshape(x, shape);
}

Tensor permute(const Tensor& x, const Shape& dims) {
  const int64_t n = x.ndim();
  if (dims.ndim() != n)
    fail<ShapeError>("permute: ", dims.ndim(), " dimensions given for a tensor of shape ", x.shape());
  Shape shape = x.shape(), inverse = x.shape();
  Strides strides = x.strides();
  uint32_t seen = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t d = check_dim("permute", x.shape(), dims[i]);
    if (seen & (1u << d)) fail<ShapeError>("permute: dimension ", d, " is named twice in ", dims);
    seen |= 1u << d;
    shape[i] = x.shape()[d];
    strides[i] = x.strides()[d];
    inverse[d] = i;
  }
  return record_view("permute", x, make_view(x, shape, strides, 0),
                     [inverse](const Tensor& dy) { return permute(dy, inverse); });
}

Tensor transpose(const Tensor& x, int64_t dim0, int64_t dim1) {
  dim0 = check_dim("transpose", x.shape(), dim0);
  dim1 = check_dim("transpose", x.shape(), dim1);
  if (x.ndim() == 0) return alias(x);
  Shape shape = x.shape();
  Strides strides = x.strides();
  std::swap(shape[dim0], shape[dim1]);
  std::swap(strides[dim0], strides[dim1]);
  return record_view("transpose", x, make_view(x, shape, strides, 0),
                     [dim0, dim1](const Tensor& dy) { return transpose(dy, dim0, dim1); });
}

Tensor t(const Tensor& x) {
  if (x.ndim() < 2) fail<ShapeError>("t: a matrix transpose needs two dimensions, got shape ", x.shape());
  return transpose(x, -2, -1);
}

Tensor movedim(const Tensor& x, int64_t from, int64_t to) {
  from = check_dim("movedim", x.shape(), from);
  to = check_dim("movedim", x.shape(), to);
  Shape dims;
  for (int64_t d = 0; d < x.ndim(); ++d)
    if (d != from) dims.push_back(d);
  if (x.ndim()) dims.insert(to, from);
  return permute(x, dims);
}

Tensor expand(const Tensor& x, const Shape& wanted) {
  Shape shape = wanted;
  Strides strides = Shape::filled(shape.ndim(), 0);
  const int64_t offset = shape.ndim() - x.ndim();
  if (offset < 0) fail<ShapeError>("expand: shape ", x.shape(), " has more dimensions than ", wanted);
  for (int64_t i = 0; i < shape.ndim(); ++i) {
    const int64_t size = i < offset ? -1 : x.shape()[i - offset];
    if (shape[i] == -1 && size >= 0) shape[i] = size;
    if (shape[i] < 0 || (size >= 0 && size != 1 && size != shape[i]))
      fail<ShapeError>("expand: shape ", x.shape(), " does not expand to ", wanted);
    if (size == shape[i]) strides[i] = x.strides()[i - offset];
  }
  // The engine sums the cotangent back to x's shape.
  return record_view("expand", x, make_view(x, shape, strides, 0), [](const Tensor& dy) { return dy; });
}

Tensor broadcast_to(const Tensor& x, const Shape& shape) { return expand(x, shape); }

std::vector<Tensor> broadcast_tensors(const std::vector<Tensor>& xs) {
  Shape shape;
  for (const Tensor& x : xs) shape = broadcast_shapes("broadcast_tensors", shape, x.shape());
  std::vector<Tensor> out;
  for (const Tensor& x : xs) out.push_back(x.shape() == shape ? x : expand(x, shape));
  return out;
}

Tensor squeeze(const Tensor& x) {
  Shape shape;
  for (int64_t size : x.shape())
    if (size != 1) shape.push_back(size);
  return reshape(x, shape);
}

Tensor squeeze(const Tensor& x, int64_t dim) {
  dim = check_dim("squeeze", x.shape(), dim);
  if (x.ndim() == 0 || x.shape()[dim] != 1) return alias(x);
  Shape shape = x.shape();
  shape.erase(dim);
  return reshape(x, shape);
}

Tensor unsqueeze(const Tensor& x, int64_t dim) {
  dim = check_dim("unsqueeze", x.ndim() + 1, dim);
  Shape shape = x.shape();
  Strides strides = x.strides();
  strides.insert(dim, dim < x.ndim() ? strides[dim] * shape[dim] : 1);
  shape.insert(dim, 1);
  return record_view("unsqueeze", x, make_view(x, shape, strides, 0),
                     [from = x.shape()](const Tensor& dy) { return reshape(dy, from); });
}

namespace {

Tensor slice_view(const Tensor& x, int64_t dim, int64_t start, int64_t length, int64_t step) {
  Shape shape = x.shape();
  Strides strides = x.strides();
  shape[dim] = length;
  const int64_t offset = start * strides[dim];
  strides[dim] *= step;
  return make_view(x, shape, strides, offset);
}

Tensor slice_exact(const Tensor& x, int64_t dim, int64_t start, int64_t length, int64_t step);

// Zeros of shape `full` with dy in the places that the slice took: the transpose of slice_exact.
Tensor slice_grad(const Tensor& dy, const Shape& full, int64_t dim, int64_t start, int64_t step) {
  Tensor dx = zeros(full, {.dtype = dy.dtype(), .device = dy.device()});
  const int64_t length = dy.shape()[dim];
  const Tensor place = slice_view(dx, dim, start, length, step);
  dispatch("slice_grad", dy.device(), [&](auto device) { kernels::copy(device, view(dy), view(place)); });
  return record_view("slice_grad", dy, std::move(dx),
                     [=](const Tensor& ddx) { return slice_exact(ddx, dim, start, length, step); });
}

Tensor slice_exact(const Tensor& x, int64_t dim, int64_t start, int64_t length, int64_t step) {
  return record_view(
      "slice", x, slice_view(x, dim, start, length, step),
      [full = x.shape(), dim, start, step](const Tensor& dy) { return slice_grad(dy, full, dim, start, step); });
}

}  // namespace

Tensor slice(const Tensor& x, int64_t dim, int64_t start, int64_t end, int64_t step) {
  dim = check_dim("slice", x.shape(), dim);
  if (x.ndim() == 0) fail<IndexError>("slice: a 0-d tensor has no dimension to slice");
  if (step <= 0) fail<ValueError>("slice: step must be positive, got ", step);
  const int64_t size = x.shape()[dim];
  const auto clamp = [size](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + size : i, 0, size); };
  start = clamp(start);
  end = std::max(clamp(end), start);
  return slice_exact(x, dim, start, (end - start + step - 1) / step, step);
}

Tensor narrow(const Tensor& x, int64_t dim, int64_t start, int64_t length) {
  dim = check_dim("narrow", x.shape(), dim);
  const int64_t size = x.ndim() ? x.shape()[dim] : 0;
  if (start < 0) start += size;
  if (start < 0 || length < 0 || start > size - length)
    fail<IndexError>("narrow: ", length, " elements from ", start, " are not in dimension ", dim, " of size ", size);
  return slice_exact(x, dim, start, length, 1);
}

Tensor select(const Tensor& x, int64_t dim, int64_t index) {
  dim = check_dim("select", x.shape(), dim);
  const int64_t size = x.ndim() ? x.shape()[dim] : 0;
  if (index < -size || index >= size)
    fail<IndexError>("select: index ", index, " is out of range for dimension ", dim, " of size ", size);
  if (index < 0) index += size;
  Tensor y = slice_view(x, dim, index, 1, 1);
  Shape shape = y.shape();
  Strides strides = y.strides();
  shape.erase(dim);
  strides.erase(dim);
  return record_view("select", x, make_view(y, shape, strides, 0), [full = x.shape(), dim, index](const Tensor& dy) {
    return slice_grad(unsqueeze(dy, dim), full, dim, index, 1);
  });
}

Tensor Tensor::operator[](int64_t i) const { return select(*this, 0, i); }

namespace {
Tensor diagonal_view(const Tensor& x, int64_t offset, int64_t dim0, int64_t dim1) {
  Shape shape = x.shape();
  Strides strides = x.strides();
  const int64_t rows = shape[dim0], cols = shape[dim1];
  const int64_t length =
      std::max<int64_t>(0, offset >= 0 ? std::min(rows, cols - offset) : std::min(rows + offset, cols));
  const int64_t at = offset >= 0 ? offset * strides[dim1] : -offset * strides[dim0];
  const int64_t stride = strides[dim0] + strides[dim1];
  for (int64_t d : {std::max(dim0, dim1), std::min(dim0, dim1)}) {
    shape.erase(d);
    strides.erase(d);
  }
  shape.push_back(length);
  strides.push_back(stride);
  return make_view(x, shape, strides, length ? at : 0);
}

Tensor diagonal_grad(const Tensor& dy, const Shape& full, int64_t offset, int64_t dim0, int64_t dim1) {
  Tensor dx = zeros(full, {.dtype = dy.dtype(), .device = dy.device()});
  const Tensor place = diagonal_view(dx, offset, dim0, dim1);
  dispatch("diagonal_grad", dy.device(), [&](auto device) { kernels::copy(device, view(dy), view(place)); });
  return record_view("diagonal_grad", dy, std::move(dx),
                     [=](const Tensor& ddx) { return diagonal(ddx, offset, dim0, dim1); });
}
}  // namespace

Tensor diagonal(const Tensor& x, int64_t offset, int64_t dim0, int64_t dim1) {
  if (x.ndim() < 2) fail<ShapeError>("diagonal: needs two dimensions, got shape ", x.shape());
  dim0 = check_dim("diagonal", x.shape(), dim0);
  dim1 = check_dim("diagonal", x.shape(), dim1);
  if (dim0 == dim1) fail<ValueError>("diagonal: the two dimensions are the same, ", dim0);
  return record_view(
      "diagonal", x, diagonal_view(x, offset, dim0, dim1),
      [full = x.shape(), offset, dim0, dim1](const Tensor& dy) { return diagonal_grad(dy, full, offset, dim0, dim1); });
}

Tensor diag_embed(const Tensor& x, int64_t offset, int64_t dim0, int64_t dim1) {
  if (x.ndim() == 0) fail<ShapeError>("diag_embed: a 0-d tensor has no diagonal");
  dim0 = check_dim("diag_embed", x.ndim() + 1, dim0);
  dim1 = check_dim("diag_embed", x.ndim() + 1, dim1);
  if (dim0 == dim1) fail<ValueError>("diag_embed: the two dimensions are the same, ", dim0);
  const int64_t side = x.shape().back() + std::abs(offset);
  Shape full = x.shape();
  full.erase(full.ndim() - 1);
  full.insert(std::min(dim0, dim1), side);
  full.insert(std::max(dim0, dim1), side);
  return diagonal_grad(x, full, offset, dim0, dim1);
}

Tensor diag(const Tensor& x, int64_t offset) {
  if (x.ndim() != 1 && x.ndim() != 2) fail<ShapeError>("diag: expected a vector or a matrix, got shape ", x.shape());
  return x.ndim() == 1 ? diag_embed(x, offset, 0, 1) : diagonal(x, offset, 0, 1);
}

Tensor clone(const Tensor& x) {
  Tensor y = empty_like(x);
  dispatch("clone", x.device(), [&](auto device) { kernels::copy(device, view(x), view(y)); });
  return record_view("clone", x, std::move(y), [](const Tensor& dy) { return dy; });
}

Tensor contiguous(const Tensor& x) { return x.is_contiguous() ? x : clone(x); }

Tensor Tensor::to(DType wanted) const {
  if (wanted == dtype()) return *this;
  Tensor y = empty(shape(), {.dtype = wanted, .device = device()});
  dispatch("to", device(), [&](auto d) { kernels::copy(d, view(*this), view(y)); });
  if (!is_floating(wanted)) return record("to", {*this}, std::move(y), not_differentiable);
  return record("to", {*this}, std::move(y), save_none,
                [from = dtype()](const Saved&, const Tensor& dy, Needs) { return Grads{dy.to(from)}; });
}

Tensor Tensor::to(Device wanted, bool non_blocking) const {
  if (wanted == device()) return *this;
  const Tensor from = tenrec::contiguous(detach());
  Tensor y = empty(shape(), {.dtype = dtype(), .device = wanted});
  const auto bytes = size_t(numel() * size_of(dtype()));
  if (wanted.is_cpu()) {
    cuda::detail::copy_to_host(y.data_ptr(), from.data_ptr(), bytes, device());
  } else if (device().is_cpu()) {
    cuda::detail::copy_to_device(y.data_ptr(), from.data_ptr(), bytes, wanted, non_blocking);
  } else {
    y = from.to(kCpu).to(wanted);  // between two devices
  }
  return record("to", {*this}, std::move(y), save_none,
                [from = device()](const Saved&, const Tensor& dy, Needs) { return Grads{dy.to(from)}; });
}

}  // namespace tenrec
