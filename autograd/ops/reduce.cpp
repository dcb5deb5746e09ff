#include "tenrec/autograd/ops/reduce.h"

#include <cmath>
#include <limits>

#include "tenrec/autograd/autocast.h"
#include "tenrec/autograd/ops/compare.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/reduce_impl.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/autograd/ops/unary.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/kernels/reduce.h"
#include "tenrec/kernels/softmax.h"

namespace tenrec {

using detail::check_floating;
using detail::check_not_empty;
using detail::ReducedShape;
using detail::ReshapedView;
using kernels::ReduceOp;

namespace detail {

ReducedShape::ReducedShape(const char* op, const Shape& shape, const Dims& dim, bool keepdim) : kept(shape) {
  uint32_t mask = dim.all ? ~0u : 0;
  if (!dim.all) {
    for (int64_t named : dim.dims) {
      const int64_t d = check_dim(op, shape, named);
      if (mask & (1u << d)) fail<ValueError>(op, ": dimension ", d, " is named twice in ", dim.dims);
      mask |= 1u << d;
    }
  }
  for (int64_t d = 0; d < shape.ndim(); ++d) {
    const bool gone = mask >> d & 1;
    if (gone) {
      reduced *= shape[d];
      kept[d] = 1;
    }
    if (keepdim || !gone) result.push_back(kept[d]);
  }
}

}  // namespace detail

namespace {

Tensor run(const char* name, ReduceOp op, const Tensor& x, const ReducedShape& to, DType dtype) {
  Tensor y = empty(to.result, {.dtype = dtype, .device = x.device()});
  dispatch(name, x.device(),
           [&](auto device) { kernels::reduce(device, op, view(x), ReshapedView(y, to.kept).view()); });
  return y;
}
Tensor run(const char* name, ReduceOp op, const Tensor& x, const ReduceOptions& options, DType dtype) {
  return run(name, op, x, ReducedShape(name, x.shape(), options.dim, options.keepdim), dtype);
}
DType summed(DType dtype) { return is_floating(dtype) ? dtype : i64; }

// x as a matrix: the kept dimensions as rows, the reduced ones as columns.
Shape rows_order(const Shape& shape, const Shape& kept) {
  Shape order;
  for (bool reduced : {false, true})
    for (int64_t d = 0; d < shape.ndim(); ++d)
      if ((kept[d] != shape[d]) == reduced) order.push_back(d);
  return order;
}
Tensor as_rows(const Tensor& x, const ReducedShape& to) {
  return reshape(permute(x, rows_order(x.shape(), to.kept)), {checked_numel(to.kept), to.reduced});
}
// The inverse.
Tensor from_rows(const Tensor& rows, const Shape& shape, const ReducedShape& to) {
  const Shape order = rows_order(shape, to.kept);
  Shape sizes, back = order;
  for (int64_t i = 0; i < shape.ndim(); ++i) {
    sizes.push_back(shape[order[i]]);
    back[order[i]] = i;
  }
  return permute(reshape(rows, sizes), back);
}

}  // namespace

Tensor sum(const Tensor& x, const ReduceOptions& options) {
  const ReducedShape to("sum", x.shape(), options.dim, options.keepdim);
  const DType dtype = detail::autocast_result(summed(x.dtype()));
  return record("sum", {x}, run("sum", ReduceOp::sum, x, to, dtype), save_none,
                [kept = to.kept, from = x.shape(), dtype = x.dtype()](const Saved&, const Tensor& dy, Needs) {
                  return Grads{expand(reshape(dy.to(dtype), kept), from)};
                });
}

Tensor mean(const Tensor& x, const ReduceOptions& options) {
  check_floating("mean", x);
  const ReducedShape to("mean", x.shape(), options.dim, options.keepdim);
  return record("mean", {x}, run("mean", ReduceOp::mean, x, to, x.dtype()), save_none,
                [kept = to.kept, from = x.shape(), n = double(to.reduced)](const Saved&, const Tensor& dy, Needs) {
                  return Grads{expand(reshape(dy / n, kept), from)};
                });
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  const int64_t offset = x.ndim() - shape.ndim();
  Shape kept = Shape::filled(x.ndim(), 1);
  bool fits = offset >= 0;
  for (int64_t d = 0; fits && d < shape.ndim(); ++d) {
    kept[d + offset] = shape[d];
    fits = shape[d] == 1 || shape[d] == x.shape()[d + offset];
  }
  if (!fits) fail<ShapeError>("sum_to: shape ", shape, " does not broadcast to ", x.shape());
  Tensor y = empty(shape, {.dtype = x.dtype(), .device = x.device()});
  dispatch("sum_to", x.device(),
           [&](auto device) { kernels::reduce(device, ReduceOp::sum, view(x), ReshapedView(y, kept).view()); });
  return record("sum_to", {x}, std::move(y), save_none,
                [from = x.shape()](const Saved&, const Tensor& dy, Needs) { return Grads{expand(dy, from)}; });
}

Tensor nansum(const Tensor& x, const ReduceOptions& options) {
  if (!is_floating(x.dtype())) return sum(x, options);
  const ReducedShape to("nansum", x.shape(), options.dim, options.keepdim);
  return record("nansum", {x}, run("nansum", ReduceOp::nansum, x, to, x.dtype()), save_inputs,
                [kept = to.kept](const Saved& s, const Tensor& dy, Needs) {
                  return Grads{where(isnan(s.input()), 0., reshape(dy, kept))};
                });
}

namespace {

// The product over the columns as a tree of products: the derivatives of mul are all there is to it.
Tensor product_tree(Tensor x) {
  while (x.shape().back() > 1) {
    const int64_t n = x.shape().back(), half = n / 2;
    const Tensor pairs = narrow(x, -1, 0, half) * narrow(x, -1, half, half);
    if (n % 2 == 0)
      x = pairs;
    else if (half == 1)
      x = pairs * narrow(x, -1, 2, 1);
    else
      x = product_tree(pairs) * narrow(x, -1, n - 1, 1);
  }
  return x;
}

}  // namespace

Tensor prod(const Tensor& x, const ReduceOptions& options) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_f32(prod, x, options);
  const ReducedShape to("prod", x.shape(), options.dim, options.keepdim);
  Tensor y = run("prod", ReduceOp::prod, x, to, summed(x.dtype()));
  const auto fused = [to](const Saved& s, const Cotangents& dys, Needs) {
    const Tensor input = s.input(), rows = contiguous(as_rows(input, to)), dy = contiguous(dys[0]);
    const Tensor dx = empty_like(rows);
    dispatch("prod_grad", rows.device(),
             [&](auto device) { kernels::prod_grad(device, view(rows), view(dy), view(dx)); });
    return Grads{from_rows(dx, input.shape(), to)};
  };
  const auto composed = [to](std::span<const Tensor> inputs) {
    if (to.reduced == 0)
      return sum(inputs[0]) * 0 + ones(to.result, {.dtype = inputs[0].dtype(), .device = inputs[0].device()});
    return reshape(product_tree(as_rows(inputs[0], to)), to.result);
  };
  return record("prod", {x}, std::move(y), save_inputs, fused_rule(fused, composed));
}

namespace {

Tensor variance(const char* name, const Tensor& x, const VarOptions& options, const ReducedShape& to, bool root) {
  check_floating(name, x);
  Tensor y = empty(to.result, {.dtype = x.dtype(), .device = x.device()});
  const Tensor center = empty(to.kept, {.dtype = x.dtype() == f64 ? f64 : f32, .device = x.device()});
  dispatch(name, x.device(), [&](auto device) {
    kernels::variance(device, view(x), options.correction, root, view(center), ReshapedView(y, to.kept).view());
  });
  return y;
}

// d var = 2 (x - mean) / divisor.
Tensor deviation(const Tensor& x, const Dims& dim) { return x - mean(x, {.dim = dim, .keepdim = true}); }

}  // namespace

Tensor var(const Tensor& x, const VarOptions& options) {
  const ReducedShape to("var", x.shape(), options.dim, options.keepdim);
  const double divisor = std::max(0.0, double(to.reduced) - options.correction);
  return record("var", {x}, variance("var", x, options, to, false), save_inputs,
                [kept = to.kept, dim = options.dim, divisor](const Saved& s, const Tensor& dy, Needs) {
                  return Grads{reshape(dy, kept) * (2 / divisor) * deviation(s.input(), dim)};
                });
}

Tensor std(const Tensor& x, const VarOptions& options) {
  const ReducedShape to("std", x.shape(), options.dim, options.keepdim);
  const double divisor = std::max(0.0, double(to.reduced) - options.correction);
  return record("std", {x}, variance("std", x, options, to, true), save_both,
                [kept = to.kept, dim = options.dim, divisor](const Saved& s, const Tensor& dy, Needs) {
                  const Tensor y = s.output(), flat = eq(y, 0);
                  const Tensor scale = where(flat, 0., dy) / where(flat, 1., y);
                  return Grads{reshape(scale, kept) * (1 / divisor) * deviation(s.input(), dim)};
                });
}

namespace {

// dx = dy * g(x, y), for the norms' rules; 0 where y is.
Tensor norm_grad(const Tensor& x, const Tensor& y, const Tensor& dy, double p, const Dims& dim) {
  if (p == 0) return zeros_like(x);
  if (p == 1) return dy * sign(x);
  if (std::isinf(p)) {
    const Tensor chosen = logical_or(eq(abs(x), y), isnan(x)).to(x.dtype());
    return dy / sum(chosen, {.dim = dim, .keepdim = true}) * (sign(x) * chosen);
  }
  const Tensor none = eq(y, 0), safe = where(none, 1., y), scale = where(none, 0., dy);
  if (p == 2) return scale / safe * x;
  const Tensor zero = eq(x, 0), magnitude = where(zero, 1., abs(x));
  return scale * pow(safe, 1 - p) * where(zero, 0., sign(x) * pow(magnitude, p - 1));
}

}  // namespace

Tensor norm(const Tensor& x, double p, const ReduceOptions& options) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_f32(norm, x, p, options);
  check_floating("norm", x);
  const ReducedShape to("norm", x.shape(), options.dim, options.keepdim);
  Tensor y;
  if (p == 2)
    y = run("norm", ReduceOp::norm2, x, to, x.dtype());
  else if (p == 1)
    y = run("norm", ReduceOp::sum_abs, x, to, x.dtype());
  else if (p == 0)
    y = run("norm", ReduceOp::count_nonzero, x, to, x.dtype());
  else if (std::isinf(p)) {
    check_not_empty("norm", x, to);
    y = run("norm", p > 0 ? ReduceOp::max_abs : ReduceOp::min_abs, x, to, x.dtype());
  } else {
    const NoGrad no_grad;
    const DType wide = x.dtype() == f64 ? f64 : f32;
    y = pow(sum(pow(abs(x.detach().to(wide)), p), options), 1 / p).to(x.dtype());
  }
  return record("norm", {x}, std::move(y), save_both,
                [kept = to.kept, p, dim = options.dim](const Saved& s, const Tensor& dy, Needs) {
                  return Grads{norm_grad(s.input(), reshape(s.output(), kept), reshape(dy, kept), p, dim)};
                });
}

Tensor logsumexp(const Tensor& x, const ReduceOptions& options) {
  check_floating("logsumexp", x);
  const ReducedShape to("logsumexp", x.shape(), options.dim, options.keepdim);
  Tensor y = empty(to.result, {.dtype = x.dtype(), .device = x.device()});
  {
    const NoGrad no_grad;
    const Tensor rows = contiguous(as_rows(x.detach(), to));
    dispatch("logsumexp", x.device(), [&](auto device) { kernels::logsumexp(device, view(rows), view(y)); });
  }
  return record("logsumexp", {x}, std::move(y), save_both, [kept = to.kept](const Saved& s, const Tensor& dy, Needs) {
    const Tensor sums = reshape(s.output(), kept);
    const Tensor bounded = where(eq(sums, -std::numeric_limits<double>::infinity()), 0., sums);
    return Grads{reshape(dy, kept) * exp(s.input() - bounded)};
  });
}

namespace {

Tensor extreme(const char* name, ReduceOp op, const Tensor& x, const ReduceOptions& options) {
  const ReducedShape to(name, x.shape(), options.dim, options.keepdim);
  check_not_empty(name, x, to);
  return record(name, {x}, run(name, op, x, to, x.dtype()), save_both,
                [kept = to.kept, dim = options.dim](const Saved& s, const Tensor& dy, Needs) {
                  const Tensor from = s.input();
                  const Tensor chosen = logical_or(eq(from, reshape(s.output(), kept)), isnan(from)).to(dy.dtype());
                  return Grads{reshape(dy, kept) / sum(chosen, {.dim = dim, .keepdim = true}) * chosen};
                });
}

}  // namespace

Tensor amin(const Tensor& x, const ReduceOptions& options) { return extreme("amin", ReduceOp::amin, x, options); }
Tensor amax(const Tensor& x, const ReduceOptions& options) { return extreme("amax", ReduceOp::amax, x, options); }
Tensor min(const Tensor& x) { return extreme("min", ReduceOp::amin, x, {}); }
Tensor max(const Tensor& x) { return extreme("max", ReduceOp::amax, x, {}); }

Tensor any(const Tensor& x, const ReduceOptions& options) {
  return record("any", {x}, run("any", ReduceOp::any, x, options, boolean), not_differentiable);
}
Tensor all(const Tensor& x, const ReduceOptions& options) {
  return record("all", {x}, run("all", ReduceOp::all, x, options, boolean), not_differentiable);
}
Tensor count_nonzero(const Tensor& x, const ReduceOptions& options) {
  return record("count_nonzero", {x}, run("count_nonzero", ReduceOp::count_nonzero, x, options, i64),
                not_differentiable);
}

}  // namespace tenrec
