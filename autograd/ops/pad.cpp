// pad, tril and triu (join.h).
#include "tenrec/kernels/pad.h"

#include <algorithm>

#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/join.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/core/view.h"
#include "tenrec/kernels/convert.h"
#include "tenrec/kernels/elementwise.h"
#include "tenrec/kernels/index.h"

namespace tenrec {
namespace {

const char* mode_name(PadMode mode) {
  constexpr const char* names[] = {"constant", "reflect", "replicate", "circular"};
  return names[int(mode)];
}

using Maps = std::vector<std::vector<int64_t>>;
using Padding = std::vector<int64_t>;

// Coordinate i of a padded dimension, counted from x's first entry, as a coordinate of x; -1 outside of it.
int64_t map_coordinate(int64_t i, int64_t size, PadMode mode) {
  if (i >= 0 && i < size) return i;
  switch (mode) {
    case PadMode::reflect:
      return i < 0 ? -i : 2 * (size - 1) - i;
    case PadMode::replicate:
      return i < 0 ? 0 : size - 1;
    case PadMode::circular:
      return i < 0 ? i + size : i - size;
    default:
      return -1;
  }
}

void check_side(const Shape& shape, int64_t dim, int64_t amount, PadMode mode) {
  if (mode == PadMode::constant || amount == 0) return;
  if (amount < 0) fail<ValueError>("pad: negative padding is for constant mode only, got ", amount);
  const int64_t size = shape[dim];
  const int64_t most = mode == PadMode::reflect    ? size - 1
                       : mode == PadMode::circular ? size
                       : size > 0                  ? INT64_MAX
                                                   : 0;
  if (amount > most)
    fail<ShapeError>("pad: ", mode_name(mode), " padding of ", amount, " is too large for dimension ", dim,
                     " of shape ", shape);
}

// What is added to dimension d on the left (side 0) or right.
int64_t amount(const Padding& padding, int64_t ndim, int64_t d, int64_t side) {
  const size_t at = size_t((ndim - 1 - d) * 2 + side);
  return at < padding.size() ? padding[at] : 0;
}

Shape padded_shape(const Shape& shape, const Padding& padding, PadMode mode) {
  const int64_t n = shape.ndim();
  if (padding.size() % 2 != 0 || int64_t(padding.size()) > 2 * n)
    fail<ShapeError>("pad: ", padding.size(), " numbers of padding for shape ", shape,
                     "; expected two for each dimension, the last one first");
  Shape out = shape;
  for (int64_t d = 0; d < n; ++d) {
    const int64_t left = amount(padding, n, d, 0), right = amount(padding, n, d, 1);
    check_side(shape, d, left, mode);
    check_side(shape, d, right, mode);
    if (__builtin_add_overflow(out[d], left, &out[d]) || __builtin_add_overflow(out[d], right, &out[d]) || out[d] < 0)
      fail<ShapeError>("pad: padding of ", left, " and ", right, " gives dimension ", d, " of shape ", shape,
                       " an impossible size");
  }
  return out;
}

// One map per dimension from the coordinates of `padded` to those of `shape`.
Maps make_maps(const Shape& shape, const Shape& padded, const Padding& padding, PadMode mode) {
  Maps maps(static_cast<size_t>(shape.ndim()));
  if (checked_numel(padded) == 0) return maps;  // nothing will be read from them
  for (int64_t d = 0; d < shape.ndim(); ++d) {
    const int64_t left = amount(padding, shape.ndim(), d, 0);
    for (int64_t i = 0; i < padded[d]; ++i) maps[size_t(d)].push_back(map_coordinate(i - left, shape[d], mode));
  }
  return maps;
}

Tensor pad_grad(const Tensor& dy, const Shape& shape, const Padding& padding, PadMode mode) {
  const Maps maps = make_maps(shape, dy.shape(), padding, mode);
  const Tensor from = contiguous(dy.detach());
  Tensor dx = empty(shape, {.dtype = dy.dtype(), .device = dy.device()});
  dispatch("pad_grad", dy.device(), [&](auto device) { kernels::pad_grad(device, view(from), view(dx), maps); });
  return record("pad_grad", {dy}, std::move(dx), save_none,
                [padding, mode](const Saved&, const Tensor& ddx, Needs) { return Grads{pad(ddx, padding, mode)}; });
}

}  // namespace

Tensor pad(const Tensor& x, const Padding& padding, PadMode mode, Scalar value) {
  const Shape shape = padded_shape(x.shape(), padding, mode);
  Tensor y = empty(shape, {.dtype = x.dtype(), .device = x.device()});
  const Maps maps = make_maps(x.shape(), shape, padding, mode);
  const Tensor from = contiguous(x.detach());
  alignas(8) char fill[8] = {};
  if (value.floating)
    kernels::convert_strided(&value.value, f64, 0, fill, x.dtype(), 1, 1);
  else
    kernels::convert_strided(&value.integer, i64, 0, fill, x.dtype(), 1, 1);
  dispatch("pad", x.device(), [&](auto device) {
    if (x.ndim() == 0)
      kernels::copy(device, view(from), view(y));
    else
      kernels::pad(device, view(from), view(y), maps, fill);
  });
  return record("pad", {x}, std::move(y), save_none,
                [full = x.shape(), padding, mode](const Saved&, const Tensor& dy, Needs) {
                  if (mode != PadMode::constant) return Grads{pad_grad(dy, full, padding, mode)};
                  Padding back = padding;  // what was added is cut off, what was cut off is zero
                  for (int64_t& amount : back) amount = -amount;
                  return Grads{pad(dy, back)};
                });
}

namespace {

Tensor triangle(const char* name, const Tensor& x, int64_t diagonal, bool lower) {
  if (x.ndim() < 2) fail<ShapeError>(name, ": needs two dimensions, got shape ", x.shape());
  const Tensor from = contiguous(x.detach());
  Tensor y = empty_like(x);
  dispatch(name, x.device(), [&](auto device) { kernels::triangle(device, view(from), view(y), diagonal, lower); });
  return record(name, {x}, std::move(y), save_none,
                [=](const Saved&, const Tensor& dy, Needs) { return Grads{triangle(name, dy, diagonal, lower)}; });
}

}  // namespace

Tensor tril(const Tensor& x, int64_t diagonal) { return triangle("tril", x, diagonal, true); }
Tensor triu(const Tensor& x, int64_t diagonal) { return triangle("triu", x, diagonal, false); }

}  // namespace tenrec
