#include "tenrec/autograd/ops/resample.h"

#include <algorithm>
#include <cmath>

#include "tenrec/autograd/autocast.h"
#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/index.h"
#include "tenrec/autograd/ops/join.h"
#include "tenrec/autograd/ops/matmul.h"
#include "tenrec/autograd/ops/shape.h"

namespace tenrec {
namespace {

// One dimension: output i lies at i * in_step / out_step, measured in inputs.
struct Axis {
  int64_t in, out;
  double in_step, out_step;
};

Axis axis_of(int64_t in, std::optional<int64_t> size, double factor) {
  if (size) {
    if (*size < 1) fail<ValueError>("interpolate: the size must be at least 1, got ", *size);
    return {in, *size, double(in), double(*size)};
  }
  if (!(factor > 0 && factor < 0x1p31))
    fail<ValueError>("interpolate: the scale factor must be positive, got ", factor);
  const auto out = int64_t(std::floor(double(in) * factor));
  if (out < 1) fail<ValueError>("interpolate: a size of ", in, " times ", factor, " leaves nothing");
  return {in, out, 1, factor};
}

// 0 .. n - 1. What depends on places is computed where x lies: a captured step must not read host memory.
Tensor places(int64_t n, const Tensor& x) { return arange(n, {.dtype = f64, .device = x.device()}); }

// Entries of dim repeated, or picked by index where one size is no multiple of the other.
Tensor nearest(const Tensor& x, int64_t dim, const Axis& a) {
  if (a.out % a.in == 0 && a.in_step * double(a.out) == a.out_step * double(a.in))
    return a.out == a.in ? x : repeat_interleave(x, a.out / a.in, dim);
  return index_select(x, dim, clamp_max(floor(places(a.out, x) * a.in_step / a.out_step), a.in - 1).to(i64));
}

// [out, in]: row i holds what output i takes from each input, which falls off linearly to 0 at the neighbours.
Tensor weights(const Axis& a, bool align_corners, const Tensor& x, DType dtype) {
  const NoGrad off;
  const Tensor i = places(a.out, x);
  const Tensor at = align_corners ? i * (double(a.in - 1) / double(std::max<int64_t>(a.out - 1, 1)))
                                  : clamp((i + 0.5) * a.in_step / a.out_step - 0.5, 0, a.in - 1);
  return clamp_min(1 - abs(unsqueeze(at, 1) - places(a.in, x)), 0).to(dtype);
}

// The sizes in front of the last three dimensions, as one.
int64_t pictures(const Tensor& x) {
  int64_t n = 1;
  for (int64_t d = 0; d + 3 < x.ndim(); ++d) n *= x.size(d);
  return n;
}

}  // namespace

Tensor interpolate(const Tensor& x, const InterpolateOptions& o) {
  const bool picks = o.mode == InterpolateMode::nearest;
  const int64_t ndim = x.ndim();
  if (ndim != 3 && ndim != 4) fail<ShapeError>("interpolate: expected [n, c, l] or [n, c, h, w], got ", x.shape());
  if (!picks && (ndim == 4) != (o.mode == InterpolateMode::bilinear))
    fail<ShapeError>("interpolate: linear takes [n, c, l] and bilinear [n, c, h, w], got ", x.shape());
  if (o.size.has_value() == o.scale_factor.has_value())
    fail<ValueError>("interpolate: expected either a size or a scale factor");
  if (picks && o.align_corners) fail<ValueError>("interpolate: align_corners means nothing to nearest");
  if (!picks && !is_floating(x.dtype()))
    fail<DTypeError>("interpolate: expected a floating dtype, got ", x.dtype(), "; only nearest takes it");
  const Scale factor = o.scale_factor.value_or(1);
  const auto axis = [&](int64_t dim, bool width) {
    if (x.size(dim) < 1) fail<ShapeError>("interpolate: there is nothing to show in shape ", x.shape());
    return axis_of(x.size(dim), o.size ? std::optional(width ? o.size->w : o.size->h) : std::nullopt,
                   width ? factor.w : factor.h);
  };
  const Axis across = axis(ndim - 1, true);
  const std::optional<Axis> down = ndim == 4 ? std::optional(axis(2, false)) : std::nullopt;
  if (picks) {
    const Tensor y = nearest(x, ndim - 1, across);
    return down ? nearest(y, 2, *down) : y;
  }
  const Autocast off(false);
  const DType wide = x.dtype() == f64 ? f64 : f32;
  const auto matrix = [&](const Axis& a) { return weights(a, o.align_corners, x, wide); };
  Tensor y = matmul(x.to(wide), t(matrix(across)));
  if (down) y = matmul(matrix(*down), y);
  return y.to(x.dtype());
}

Tensor pixel_shuffle(const Tensor& x, int64_t r) {
  if (x.ndim() < 3) fail<ShapeError>("pixel_shuffle: expected [..., c, h, w], got ", x.shape());
  const int64_t d = x.ndim() - 3, c = x.size(d), h = x.size(d + 1), w = x.size(d + 2);
  if (r < 1 || c % (r * r) != 0)
    fail<ShapeError>("pixel_shuffle: the ", c, " channels of shape ", x.shape(), " do not divide into squares of ", r,
                     " x ", r);
  const Tensor blocks = permute(reshape(x, {pictures(x), c / (r * r), r, r, h, w}), {0, 1, 4, 2, 5, 3});
  Shape out = x.shape();
  out[d] = c / (r * r);
  out[d + 1] = h * r;
  out[d + 2] = w * r;
  return reshape(blocks, out);
}

Tensor pixel_unshuffle(const Tensor& x, int64_t r) {
  if (x.ndim() < 3) fail<ShapeError>("pixel_unshuffle: expected [..., c, h, w], got ", x.shape());
  const int64_t d = x.ndim() - 3, c = x.size(d), h = x.size(d + 1), w = x.size(d + 2);
  if (r < 1 || h % r != 0 || w % r != 0)
    fail<ShapeError>("pixel_unshuffle: pictures of shape ", x.shape(), " do not divide into squares of ", r, " x ", r);
  const Tensor blocks = permute(reshape(x, {pictures(x), c, h / r, r, w / r, r}), {0, 1, 3, 5, 2, 4});
  Shape out = x.shape();
  out[d] = c * r * r;
  out[d + 1] = h / r;
  out[d + 2] = w / r;
  return reshape(blocks, out);
}

}  // namespace tenrec
