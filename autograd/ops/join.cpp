#include "tenrec/autograd/ops/join.h"

#include <algorithm>

#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise_impl.h"
#include "tenrec/autograd/ops/index.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/kernels/elementwise.h"

namespace tenrec {

using detail::make_view;

namespace {

// `length` entries of a dimension, outside the tape.
Tensor part_of(const Tensor& x, int64_t dim, int64_t start, int64_t length) {
  Shape shape = x.shape();
  shape[dim] = length;
  return make_view(x, shape, x.strides(), start * x.strides()[dim]);
}

void copy_raw(const Tensor& from, const Tensor& to) {
  dispatch("copy", to.device(), [&](auto device) { kernels::copy(device, view(from), view(to)); });
}

// PyTorch leaves out tensors of shape [0] whatever the others look like.
bool left_out(const Tensor& x) { return x.ndim() == 1 && x.numel() == 0; }

void check_list(const char* op, const std::vector<Tensor>& xs) {
  if (xs.empty()) fail<ValueError>(op, ": no tensors were given");
  for (const Tensor& x : xs) detail::check_same_device(op, xs[0], x);
}

DType common_dtype(const std::vector<Tensor>& xs) {
  DType dtype = xs[0].dtype();
  for (const Tensor& x : xs) dtype = promote(dtype, x.dtype());
  return dtype;
}

std::vector<TensorRef> refs(const std::vector<Tensor>& xs) { return {xs.begin(), xs.end()}; }

}  // namespace

// --- joining --------------------------------------------------------------------------------------------------------

namespace {

// The shape of the whole, with a size of 0 along `dim` to be filled; checks that all fit.
Shape joined_shape(const std::vector<Tensor>& xs, int64_t& dim) {
  const auto first = std::find_if_not(xs.begin(), xs.end(), left_out);
  if (first == xs.end()) {
    dim = check_dim("cat", int64_t(1), dim);
    return {0};
  }
  if (first->ndim() == 0) fail<ShapeError>("cat: 0-d tensors have no dimension to join along; use stack");
  dim = check_dim("cat", first->shape(), dim);
  Shape shape = first->shape();
  shape[dim] = 0;
  for (size_t i = 0; i < xs.size(); ++i) {
    if (left_out(xs[i])) continue;
    Shape other = xs[i].shape();
    if (other.ndim() == shape.ndim()) other[dim] = 0;
    if (other != shape)
      fail<ShapeError>("cat: tensor ", i, " of shape ", xs[i].shape(), " does not fit the first one of shape ",
                       first->shape(), "; all sizes but that of dimension ", dim, " must agree");
  }
  return shape;
}

}  // namespace

Tensor cat(const std::vector<Tensor>& xs, int64_t dim) {
  check_list("cat", xs);
  Shape shape = joined_shape(xs, dim);
  std::vector<int64_t> sizes;  // -1 where a tensor is left out
  for (const Tensor& x : xs) {
    sizes.push_back(left_out(x) ? -1 : x.shape()[dim]);
    shape[dim] += std::max<int64_t>(sizes.back(), 0);
  }
  Tensor y = empty(shape, {.dtype = common_dtype(xs), .device = xs[0].device()});
  int64_t at = 0;
  for (size_t i = 0; i < xs.size(); ++i) {
    if (sizes[i] <= 0) continue;
    copy_raw(xs[i], part_of(y, dim, at, sizes[i]));
    at += sizes[i];
  }
  return record("cat", refs(xs), std::move(y), save_none,
                [dim, sizes = std::move(sizes)](const Saved&, const Tensor& dy, Needs needs) {
                  std::vector<Tensor> grads(sizes.size());
                  int64_t start = 0;
                  for (size_t i = 0; i < sizes.size(); ++i) {
                    if (needs[i])
                      grads[i] = sizes[i] < 0 ? zeros({0}, {.dtype = dy.dtype(), .device = dy.device()})
                                              : narrow(dy, dim, start, sizes[i]);
                    start += std::max<int64_t>(sizes[i], 0);
                  }
                  return Grads(std::move(grads));
                });
}

Tensor stack(const std::vector<Tensor>& xs, int64_t dim) {
  check_list("stack", xs);
  dim = check_dim("stack", xs[0].ndim() + 1, dim);
  for (size_t i = 0; i < xs.size(); ++i)
    if (xs[i].shape() != xs[0].shape())
      fail<ShapeError>("stack: tensor ", i, " has shape ", xs[i].shape(), ", the first one ", xs[0].shape());
  Shape shape = xs[0].shape();
  shape.insert(dim, int64_t(xs.size()));
  Tensor y = empty(shape, {.dtype = common_dtype(xs), .device = xs[0].device()});
  for (size_t i = 0; i < xs.size(); ++i) {
    Shape entry = y.shape();
    Strides strides = y.strides();
    entry.erase(dim);
    strides.erase(dim);
    copy_raw(xs[i], make_view(y, entry, strides, int64_t(i) * y.strides()[dim]));
  }
  return record("stack", refs(xs), std::move(y), save_none, [dim](const Saved&, const Tensor& dy, Needs needs) {
    std::vector<Tensor> grads = unbind(dy, dim);
    for (size_t i = 0; i < grads.size(); ++i)
      if (!needs[i]) grads[i] = {};
    return Grads(std::move(grads));
  });
}

// --- cutting --------------------------------------------------------------------------------------------------------

namespace {

// Views of consecutive parts, made by one node: its gradient is one cat, not a sum of padded parts.
std::vector<Tensor> split_exact(const Tensor& x, const std::vector<int64_t>& sizes, int64_t dim) {
  std::vector<Tensor> parts;
  int64_t at = 0;
  for (const int64_t size : sizes) {
    parts.push_back(part_of(x, dim, at, size));
    at += size;
  }
  return record("split", {x}, std::move(parts), save_none, [dim](const Saved&, const Cotangents& dys, Needs) {
    std::vector<Tensor> grads;
    for (size_t i = 0; i < dys.size(); ++i) grads.push_back(dys[i]);
    return Grads{cat(grads, dim)};
  });
}

int64_t check_cut(const char* op, const Tensor& x, int64_t dim) {
  if (x.ndim() == 0) fail<ShapeError>(op, ": a 0-d tensor cannot be cut");
  return check_dim(op, x.shape(), dim);
}

}  // namespace

std::vector<Tensor> split(const Tensor& x, int64_t size, int64_t dim) {
  dim = check_cut("split", x, dim);
  const int64_t whole = x.shape()[dim];
  if (size < 0 || (size == 0 && whole != 0))
    fail<ValueError>("split: parts of size ", size, " of a dimension of ", whole);
  std::vector<int64_t> sizes;
  for (int64_t at = 0; at < whole; at += size) sizes.push_back(std::min(size, whole - at));
  if (sizes.empty()) sizes.push_back(0);
  return split_exact(x, sizes, dim);
}

std::vector<Tensor> split(const Tensor& x, const std::vector<int64_t>& sizes, int64_t dim) {
  dim = check_cut("split", x, dim);
  int64_t rest = x.shape()[dim];
  bool fits = true;
  for (const int64_t size : sizes) {
    fits = fits && size >= 0 && size <= rest;
    rest -= fits ? size : 0;
  }
  if (!fits || rest != 0)
    fail<ShapeError>("split: the sizes do not add up to the ", x.shape()[dim], " entries of dimension ", dim);
  return split_exact(x, sizes, dim);
}

std::vector<Tensor> chunk(const Tensor& x, int64_t n, int64_t dim) {
  dim = check_cut("chunk", x, dim);
  if (n < 1) fail<ValueError>("chunk: expected at least one part, got ", n);
  const int64_t whole = x.shape()[dim];
  if (whole == 0) return split_exact(x, std::vector<int64_t>(size_t(n), 0), dim);
  return split(x, (whole + n - 1) / n, dim);
}

std::vector<Tensor> tensor_split(const Tensor& x, int64_t n, int64_t dim) {
  dim = check_cut("tensor_split", x, dim);
  if (n < 1) fail<ValueError>("tensor_split: expected at least one part, got ", n);
  const int64_t whole = x.shape()[dim];
  std::vector<int64_t> sizes;
  for (int64_t i = 0; i < n; ++i) sizes.push_back(whole / n + (i < whole % n));
  return split_exact(x, sizes, dim);
}

std::vector<Tensor> tensor_split(const Tensor& x, const std::vector<int64_t>& indices, int64_t dim) {
  dim = check_cut("tensor_split", x, dim);
  std::vector<Tensor> parts;
  int64_t start = 0;
  for (size_t i = 0; i <= indices.size(); ++i) {  // as Python's slices: parts may be empty or overlap
    const int64_t end = i < indices.size() ? indices[i] : INT64_MAX;
    parts.push_back(slice(x, dim, start, end));
    start = end;
  }
  return parts;
}

std::vector<Tensor> unbind(const Tensor& x, int64_t dim) {
  dim = check_cut("unbind", x, dim);
  Shape shape = x.shape();
  Strides strides = x.strides();
  const int64_t n = shape[dim], step = strides[dim];
  shape.erase(dim);
  strides.erase(dim);
  std::vector<Tensor> entries;
  for (int64_t i = 0; i < n; ++i) entries.push_back(make_view(x, shape, strides, i * step));
  return record("unbind", {x}, std::move(entries), save_none, [dim](const Saved&, const Cotangents& dys, Needs) {
    std::vector<Tensor> grads;
    for (size_t i = 0; i < dys.size(); ++i) grads.push_back(dys[i]);
    return Grads{stack(grads, dim)};
  });
}

// --- repeating ------------------------------------------------------------------------------------------------------

namespace {

// x seen as [outer, n, inner] with a dimension of `count` inserted before or after n: one copy.
Tensor repeat_dim(const Tensor& x, int64_t dim, int64_t count, bool each) {
  int64_t outer = 1, inner = 1;
  for (int64_t d = 0; d < x.ndim(); ++d) (d < dim ? outer : inner) *= d == dim ? 1 : x.shape()[d];
  const int64_t n = x.shape()[dim];
  Shape shape = x.shape();
  if (__builtin_mul_overflow(n, count, &shape[dim])) fail<ShapeError>("repeat: ", n, " times ", count, " is too much");
  const Tensor seen = each ? reshape(x, {outer * n, 1, inner}) : reshape(x, {outer, 1, n * inner});
  return reshape(expand(seen, {seen.shape()[0], count, seen.shape()[2]}), shape);
}

void check_repeats(const char* op, int64_t count) {
  if (count < 0) fail<ValueError>(op, ": a count must not be negative, got ", count);
}

}  // namespace

Tensor repeat(const Tensor& x, const Shape& repeats) {
  const int64_t extra = repeats.ndim() - x.ndim();
  if (extra < 0)
    fail<ShapeError>("repeat: ", repeats.ndim(), " counts for a tensor of shape ", x.shape(), "; use tile for fewer");
  Shape shape = Shape::filled(extra, 1);
  for (const int64_t size : x.shape()) shape.push_back(size);
  Tensor y = extra ? reshape(x, shape) : x;
  for (int64_t d = y.ndim() - 1; d >= 0; --d) {
    check_repeats("repeat", repeats[d]);
    if (repeats[d] != 1) y = repeat_dim(y, d, repeats[d], false);
  }
  return y.impl().storage == x.impl().storage ? clone(y) : y;
}

Tensor tile(const Tensor& x, const Shape& repeats) {
  Shape counts = Shape::filled(std::max<int64_t>(0, x.ndim() - repeats.ndim()), 1);
  for (const int64_t count : repeats) counts.push_back(count);
  return repeat(x, counts);
}

Tensor repeat_interleave(const Tensor& x, int64_t repeats, int64_t dim) {
  dim = check_dim("repeat_interleave", x.shape(), dim);
  check_repeats("repeat_interleave", repeats);
  const Tensor y = repeat_dim(x.ndim() ? x : reshape(x, {1}), dim, repeats, true);
  return y.impl().storage == x.impl().storage ? clone(y) : y;
}
Tensor repeat_interleave(const Tensor& x, int64_t repeats) { return repeat_interleave(flatten(x), repeats, 0); }

Tensor repeat_interleave(const Tensor& x, const Tensor& repeats, int64_t dim) {
  dim = check_dim("repeat_interleave", x.shape(), dim);
  if (!is_integral(repeats.dtype()) || repeats.ndim() != 1 || x.ndim() == 0 || repeats.numel() != x.shape()[dim])
    fail<ShapeError>("repeat_interleave: expected a vector of integers, one for each entry of dimension ", dim, " of ",
                     x.shape(), ", got ", repeats.dtype(), repeats.shape());
  std::vector<int64_t> rows;
  const std::vector<int64_t> counts = repeats.to_vector<int64_t>();
  for (size_t i = 0; i < counts.size(); ++i) {
    check_repeats("repeat_interleave", counts[i]);
    rows.insert(rows.end(), size_t(counts[i]), int64_t(i));
  }
  return index_select(x, dim, from_vector(rows, {int64_t(rows.size())}).to(x.device()));
}

// --- turning --------------------------------------------------------------------------------------------------------

Tensor flip(const Tensor& x, const Shape& dims) {
  Shape shape = x.shape();
  Strides strides = x.strides();
  int64_t at = 0;
  uint32_t seen = 0;
  for (int64_t d : dims) {
    d = check_dim("flip", x.shape(), d);
    if (seen & (1u << d)) fail<ValueError>("flip: dimension ", d, " is named twice in ", dims);
    seen |= 1u << d;
    if (x.ndim() == 0) continue;
    at += (shape[d] - 1) * strides[d];
    strides[d] = -strides[d];
  }
  Tensor y = empty_like(x);
  if (y.numel()) copy_raw(make_view(x, shape, strides, at), y);
  return record("flip", {x}, std::move(y), save_none,
                [dims](const Saved&, const Tensor& dy, Needs) { return Grads{flip(dy, dims)}; });
}

namespace {

Tensor roll_one(const Tensor& x, int64_t shift, int64_t dim) {
  const int64_t size = x.shape()[dim];
  Tensor y = empty_like(x);
  if (y.numel()) {
    const int64_t k = ((shift % size) + size) % size;  // y[k + i] = x[i]
    copy_raw(part_of(x, dim, 0, size - k), part_of(y, dim, k, size - k));
    copy_raw(part_of(x, dim, size - k, k), part_of(y, dim, 0, k));
  }
  return record("roll", {x}, std::move(y), save_none, [shift, dim, size](const Saved&, const Tensor& dy, Needs) {
    return Grads{roll_one(dy, size ? size - shift % size : 0, dim)};
  });
}

}  // namespace

Tensor roll(const Tensor& x, const Shape& shifts, const Shape& dims) {
  if (shifts.ndim() != dims.ndim() || dims.empty())
    fail<ValueError>("roll: ", shifts.ndim(), " shifts for ", dims.ndim(), " dimensions");
  Tensor y = x;
  for (int64_t i = 0; i < dims.ndim(); ++i) {
    const int64_t dim = check_dim("roll", x.shape(), dims[i]);
    y = x.ndim() ? roll_one(y, shifts[i], dim) : clone(y);
  }
  return y;
}
Tensor roll(const Tensor& x, int64_t shift) { return reshape(roll_one(flatten(x), shift, 0), x.shape()); }

Tensor rot90(const Tensor& x, int64_t k, const Shape& dims) {
  if (dims.ndim() != 2 || x.ndim() < 2)
    fail<ShapeError>("rot90: needs a plane of two dimensions, got ", dims, " of ", x.shape());
  const int64_t a = check_dim("rot90", x.shape(), dims[0]), b = check_dim("rot90", x.shape(), dims[1]);
  if (a == b) fail<ValueError>("rot90: the two dimensions are the same, ", a);
  switch (((k % 4) + 4) % 4) {
    case 1:
      return flip(transpose(x, a, b), {a});
    case 2:
      return flip(x, {a, b});
    case 3:
      return flip(transpose(x, a, b), {b});
    default:
      return clone(x);
  }
}

std::vector<Tensor> meshgrid(const std::vector<Tensor>& xs, std::string_view indexing) {
  check_list("meshgrid", xs);
  if (indexing != "ij" && indexing != "xy") fail<ValueError>("meshgrid: indexing must be ij or xy, got ", indexing);
  const int64_t n = int64_t(xs.size());
  Shape shape;
  for (const Tensor& x : xs) {
    if (x.ndim() > 1) fail<ShapeError>("meshgrid: expected vectors, got shape ", x.shape());
    shape.push_back(x.numel());
  }
  const bool swap = indexing == "xy" && n > 1;
  std::vector<Tensor> grids;
  for (int64_t i = 0; i < n; ++i) {
    Shape seen = Shape::filled(n, 1);
    seen[i] = shape[i];
    const Tensor grid = expand(reshape(xs[size_t(i)], seen), shape);
    grids.push_back(swap ? transpose(grid, 0, 1) : grid);
  }
  return grids;
}

}  // namespace tenrec
