#include "tenrec/autograd/ops/pool.h"

#include <algorithm>
#include <memory>

#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise_impl.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/core/view.h"
#include "tenrec/kernels/pool.h"

namespace tenrec {
namespace {

using kernels::Windows;

struct Side {
  int64_t size, kernel, stride, padding, dilation;
};

Windows fixed_windows(const char* op, const Side& s, bool ceil_mode) {
  if (s.kernel < 1 || s.stride < 1 || s.dilation < 1)
    fail<ValueError>(op, ": kernel, stride and dilation must be at least 1");
  if (s.padding < 0 || s.padding > s.kernel / 2)
    fail<ValueError>(op, ": padding ", s.padding, " is not between 0 and half the kernel of ", s.kernel);
  const int64_t span = s.dilation * (s.kernel - 1) + 1, room = s.size + 2 * s.padding - span;
  if (room < 0)
    fail<ShapeError>(op, ": a window of ", span, " is larger than the padded input of ", s.size + 2 * s.padding);
  int64_t count = (room + (ceil_mode ? s.stride - 1 : 0)) / s.stride + 1;
  if (ceil_mode && (count - 1) * s.stride >= s.size + s.padding) --count;  // the last window must start inside
  Windows w{s.size, s.dilation, {}, {}};
  for (int64_t i = 0; i < count; ++i) {
    int64_t begin = i * s.stride - s.padding;
    const int64_t end = std::min(begin + span, s.size);
    if (begin < 0) begin += (-begin + s.dilation - 1) / s.dilation * s.dilation;
    w.begin.push_back(int32_t(begin));
    w.end.push_back(int32_t(end));
  }
  return w;
}

Windows adaptive_windows(const char* op, int64_t size, int64_t count) {
  if (count < 0) fail<ValueError>(op, ": the output size must not be negative, got ", count);
  if (count > 0 && size == 0) fail<ShapeError>(op, ": an empty input cannot be pooled to size ", count);
  Windows w{size, 1, {}, {}};
  for (int64_t i = 0; i < count; ++i) {
    w.begin.push_back(int32_t(i * size / count));
    w.end.push_back(int32_t(((i + 1) * size + count - 1) / count));
  }
  return w;
}

void check_input(const char* op, const Tensor& x) {
  if (x.ndim() != 3 && x.ndim() != 4) fail<ShapeError>(op, ": expected [n, c, h, w] or [c, h, w], got ", x.shape());
  if (!is_floating(x.dtype())) fail<DTypeError>(op, ": expected a floating dtype, got ", x.dtype());
  if (x.size(-1) > INT32_MAX / std::max<int64_t>(x.size(-2), 1))
    fail<ShapeError>(op, ": planes of more than 2^31 elements, ", x.shape());
}

Shape with_plane(const Shape& shape, int64_t h, int64_t w) {
  Shape out = shape;
  out[out.ndim() - 2] = h;
  out[out.ndim() - 1] = w;
  return out;
}
int64_t area_of(const Shape& s) { return s[s.ndim() - 2] * s[s.ndim() - 1]; }
int64_t planes_of(const Shape& s) {
  int64_t n = 1;
  for (int64_t d = 0; d + 2 < s.ndim(); ++d) n *= s[d];
  return n;
}

Tensor pool_gather(const Tensor& x, const Tensor& indices, bool halving);

// dy put back to where the maxima came from; windows that overlap add up.
Tensor pool_scatter(const Tensor& dy, const Tensor& indices, const Shape& x_shape, bool halving) {
  const Shape& y_shape = indices.shape();
  const kernels::PooledPlane plane{x_shape[x_shape.ndim() - 2], x_shape[x_shape.ndim() - 1],
                                   y_shape[y_shape.ndim() - 2], y_shape[y_shape.ndim() - 1], halving};
  const Tensor dyc = contiguous(dy.detach());
  Tensor dx = detail::empty_of(x_shape, dy.dtype(), dy.device());
  dispatch("max_pool2d_grad", dy.device(), [&](auto device) {
    kernels::pool_scatter(device, dy.dtype(), planes_of(x_shape), plane, view(dyc).data, view(indices).as<int32_t>(),
                          view(dx).data);
  });
  return record("max_pool2d_grad", {dy, indices}, std::move(dx), save_input(1),
                [halving](const Saved& s, const Tensor& ddx, Needs) {
                  return Grads{pool_gather(ddx, s.input(1), halving), Tensor()};
                });
}

Tensor pool_gather(const Tensor& x, const Tensor& indices, bool halving) {
  const Tensor xc = contiguous(x.detach());
  Tensor y = detail::empty_of(indices.shape(), x.dtype(), x.device());
  dispatch("max_pool2d_gather", x.device(), [&](auto device) {
    kernels::pool_gather(device, x.dtype(), planes_of(x.shape()), area_of(x.shape()), area_of(indices.shape()),
                         view(xc).data, view(indices).as<int32_t>(), view(y).data);
  });
  return record("max_pool2d_gather", {x, indices}, std::move(y), save_input(1),
                [shape = x.shape(), halving](const Saved& s, const Tensor& dy, Needs) {
                  return Grads{pool_scatter(dy, s.input(1), shape, halving), Tensor()};
                });
}

std::pair<Tensor, Tensor> max_pool(const Tensor& x, const Windows& rows, const Windows& cols) {
  const Tensor xc = contiguous(x.detach());
  const Shape shape = with_plane(x.shape(), rows.count(), cols.count());
  Tensor y = detail::empty_of(shape, x.dtype(), x.device()), indices = detail::empty_of(shape, i32, x.device());
  dispatch("max_pool2d", x.device(), [&](auto device) {
    kernels::max_pool(device, x.dtype(), planes_of(shape), rows, cols, view(xc).data, view(y).data,
                      view(indices).as<int32_t>());
  });
  y = record("max_pool2d", {x, indices}, std::move(y), save_input(1),
             [from = x.shape(), halving = kernels::is_halving(rows, cols)](const Saved& s, const Tensor& dy, Needs) {
               return Grads{pool_scatter(dy, s.input(1), from, halving), Tensor()};
             });
  return {y, indices};
}

// Windows and divisors of an average pool, shared by its forward and its gradient.
struct AvgPlan {
  Windows rows, cols;
  std::vector<float> divisor;
};

Tensor avg_pool_grad(const Tensor& dy, const Shape& x_shape, const std::shared_ptr<const AvgPlan>& plan);

Tensor avg_pool(const Tensor& x, const std::shared_ptr<const AvgPlan>& plan) {
  const Tensor xc = contiguous(x.detach());
  Tensor y = detail::empty_of(with_plane(x.shape(), plan->rows.count(), plan->cols.count()), x.dtype(), x.device());
  dispatch("avg_pool2d", x.device(), [&](auto device) {
    kernels::avg_pool(device, x.dtype(), planes_of(x.shape()), plan->rows, plan->cols, plan->divisor.data(),
                      view(xc).data, view(y).data);
  });
  return record("avg_pool2d", {x}, std::move(y), save_none,
                [plan, shape = x.shape()](const Saved&, const Tensor& dy, Needs) {
                  return Grads{avg_pool_grad(dy, shape, plan)};
                });
}

Tensor avg_pool_grad(const Tensor& dy, const Shape& x_shape, const std::shared_ptr<const AvgPlan>& plan) {
  const Tensor dyc = contiguous(dy.detach());
  Tensor dx = detail::empty_of(x_shape, dy.dtype(), dy.device());
  dispatch("avg_pool2d_grad", dy.device(), [&](auto device) {
    kernels::avg_pool_grad(device, dy.dtype(), planes_of(x_shape), plan->rows, plan->cols, plan->divisor.data(),
                           view(dyc).data, view(dx).data);
  });
  return record("avg_pool2d_grad", {dy}, std::move(dx), save_none,
                [plan](const Saved&, const Tensor& ddx, Needs) { return Grads{avg_pool(ddx, plan)}; });
}

Pair default_stride(Pair stride, Pair kernel) {
  return {stride.h == 0 ? kernel.h : stride.h, stride.w == 0 ? kernel.w : stride.w};
}

template <class Pool>
Tensor as_plane(const Tensor& x, Pool pool) {
  return squeeze(pool(unsqueeze(x, -2)), -2);
}

void check_line(const char* op, const Tensor& x) {
  if (x.ndim() != 2 && x.ndim() != 3) fail<ShapeError>(op, ": expected [n, c, l] or [c, l], got ", x.shape());
}

}  // namespace

std::pair<Tensor, Tensor> max_pool2d_with_indices(const Tensor& x, Pair kernel, const MaxPoolParams& p) {
  check_input("max_pool2d", x);
  const Pair stride = default_stride(p.stride, kernel);
  auto [y, indices] =
      max_pool(x, fixed_windows("max_pool2d", {x.size(-2), kernel.h, stride.h, p.padding.h, p.dilation.h}, p.ceil_mode),
               fixed_windows("max_pool2d", {x.size(-1), kernel.w, stride.w, p.padding.w, p.dilation.w}, p.ceil_mode));
  return {y, indices.to(i64)};
}

Tensor max_pool2d(const Tensor& x, Pair kernel, const MaxPoolParams& p) {
  check_input("max_pool2d", x);
  const Pair stride = default_stride(p.stride, kernel);
  return max_pool(x,
                  fixed_windows("max_pool2d", {x.size(-2), kernel.h, stride.h, p.padding.h, p.dilation.h}, p.ceil_mode),
                  fixed_windows("max_pool2d", {x.size(-1), kernel.w, stride.w, p.padding.w, p.dilation.w}, p.ceil_mode))
      .first;
}

Tensor max_pool1d(const Tensor& x, int64_t kernel, const MaxPoolParams& p) {
  check_line("max_pool1d", x);
  return as_plane(x, [&](const Tensor& plane) {
    return max_pool2d(plane, {1, kernel},
                      {.stride = {1, p.stride.w},
                       .padding = {0, p.padding.w},
                       .dilation = {1, p.dilation.w},
                       .ceil_mode = p.ceil_mode});
  });
}

Tensor avg_pool2d(const Tensor& x, Pair kernel, const AvgPoolParams& p) {
  check_input("avg_pool2d", x);
  const Pair stride = default_stride(p.stride, kernel);
  auto plan = std::make_shared<AvgPlan>();
  plan->rows = fixed_windows("avg_pool2d", {x.size(-2), kernel.h, stride.h, p.padding.h, 1}, p.ceil_mode);
  plan->cols = fixed_windows("avg_pool2d", {x.size(-1), kernel.w, stride.w, p.padding.w, 1}, p.ceil_mode);
  for (int64_t i = 0; i < plan->rows.count(); ++i)
    for (int64_t j = 0; j < plan->cols.count(); ++j) {
      int64_t h = plan->rows.end[size_t(i)] - plan->rows.begin[size_t(i)];
      int64_t w = plan->cols.end[size_t(j)] - plan->cols.begin[size_t(j)];
      if (p.count_include_pad) {  // the whole window, but not what ceil_mode adds past the padding
        h = std::min(i * stride.h - p.padding.h + kernel.h, x.size(-2) + p.padding.h) - (i * stride.h - p.padding.h);
        w = std::min(j * stride.w - p.padding.w + kernel.w, x.size(-1) + p.padding.w) - (j * stride.w - p.padding.w);
      }
      plan->divisor.push_back(float(h * w));
    }
  return avg_pool(x, plan);
}

Tensor avg_pool1d(const Tensor& x, int64_t kernel, const AvgPoolParams& p) {
  check_line("avg_pool1d", x);
  return as_plane(x, [&](const Tensor& plane) {
    return avg_pool2d(plane, {1, kernel},
                      {.stride = {1, p.stride.w},
                       .padding = {0, p.padding.w},
                       .ceil_mode = p.ceil_mode,
                       .count_include_pad = p.count_include_pad});
  });
}

Tensor adaptive_avg_pool2d(const Tensor& x, Pair out) {
  check_input("adaptive_avg_pool2d", x);
  auto plan = std::make_shared<AvgPlan>();
  plan->rows = adaptive_windows("adaptive_avg_pool2d", x.size(-2), out.h);
  plan->cols = adaptive_windows("adaptive_avg_pool2d", x.size(-1), out.w);
  for (int64_t i = 0; i < out.h; ++i)
    for (int64_t j = 0; j < out.w; ++j)
      plan->divisor.push_back(float((plan->rows.end[size_t(i)] - plan->rows.begin[size_t(i)]) *
                                    (plan->cols.end[size_t(j)] - plan->cols.begin[size_t(j)])));
  return avg_pool(x, plan);
}

Tensor adaptive_max_pool2d(const Tensor& x, Pair out) {
  check_input("adaptive_max_pool2d", x);
  return max_pool(x, adaptive_windows("adaptive_max_pool2d", x.size(-2), out.h),
                  adaptive_windows("adaptive_max_pool2d", x.size(-1), out.w))
      .first;
}

Tensor adaptive_avg_pool1d(const Tensor& x, int64_t out) {
  check_line("adaptive_avg_pool1d", x);
  return as_plane(x, [&](const Tensor& plane) { return adaptive_avg_pool2d(plane, {1, out}); });
}
Tensor adaptive_max_pool1d(const Tensor& x, int64_t out) {
  check_line("adaptive_max_pool1d", x);
  return as_plane(x, [&](const Tensor& plane) { return adaptive_max_pool2d(plane, {1, out}); });
}

}  // namespace tenrec
