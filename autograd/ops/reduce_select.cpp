// Reductions that choose an element: its gradient goes where it stands.
#include <cmath>

#include "tenrec/autograd/ops/compare.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/index.h"
#include "tenrec/autograd/ops/reduce_impl.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/autograd/ops/unary.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/kernels/reduce.h"

namespace tenrec {

using detail::check_floating;
using detail::check_not_empty;
using detail::ReducedShape;

namespace {

Tensor indices_of(const Shape& shape, const Tensor& x) { return empty(shape, {.dtype = i64, .device = x.device()}); }

// dy, without its reduced dimension, put at `indices` into zeros of x's shape.
Tensor put_back(const Tensor& dy, const Tensor& indices, const Shape& shape, const Shape& kept, int64_t dim) {
  const Tensor zero = zeros(shape, {.dtype = dy.dtype(), .device = dy.device()});
  return scatter_add(zero, dim, reshape(indices, kept), reshape(dy, kept));
}

// Values and indices as the op returns them. A 0-d tensor is its own extreme.
ValuesAndIndices record_choice(const char* name, const Tensor& x, Tensor values, Tensor indices, const ReducedShape& to,
                               int64_t dim) {
  std::vector<Tensor> outputs{std::move(values), std::move(indices)};
  outputs = record(name, {x}, std::move(outputs), save_output_at(1),
                   [from = x.shape(), kept = to.kept, dim](const Saved& s, const Cotangents& dys, Needs) {
                     if (from.ndim() == 0) return Grads{dys[0]};
                     return Grads{put_back(dys[0], s.output(1), from, kept, dim)};
                   });
  return {outputs[0], outputs[1]};
}

ValuesAndIndices extreme(const char* name, bool largest, const Tensor& x, int64_t dim, bool keepdim) {
  dim = check_dim(name, x.shape(), dim);
  const ReducedShape to(name, x.shape(), dim, keepdim);
  check_not_empty(name, x, to);
  Tensor values = empty(to.result, {.dtype = x.dtype(), .device = x.device()}), indices = indices_of(to.result, x);
  dispatch(name, x.device(), [&](auto device) {
    const View out = view(values);
    kernels::extreme_index(device, largest, view(x), dim, &out, view(indices));
  });
  return record_choice(name, x, std::move(values), std::move(indices), to, dim);
}

// The only dimension of `options`, or a flattened x and dimension 0.
std::pair<Tensor, int64_t> one_dimension(const char* op, const Tensor& x, const Dims& dims) {
  if (dims.all) return {reshape(x, {x.numel()}), 0};
  if (dims.dims.ndim() != 1) fail<ValueError>(op, ": takes one dimension, got ", dims.dims);
  return {x, check_dim(op, x.shape(), dims.dims[0])};
}

Tensor arg_extreme(const char* name, bool largest, const Tensor& x, const ReduceOptions& options) {
  const ReducedShape to(name, x.shape(), options.dim, options.keepdim);
  check_not_empty(name, x, to);
  const auto [lines, dim] = one_dimension(name, x.detach(), options.dim);
  Tensor indices = indices_of(to.result, x);
  dispatch(name, x.device(), [&, &from = lines, along = dim](auto device) {
    kernels::extreme_index(device, largest, view(from), along, nullptr, view(indices));
  });
  return record(name, {x}, std::move(indices), not_differentiable);
}

Tensor median_indices(const Tensor& x, int64_t dim, const Shape& shape) {
  const Tensor indices = indices_of(shape, x);
  dispatch("median", x.device(), [&](auto device) { kernels::median_index(device, view(x), dim, view(indices)); });
  return indices;
}

}  // namespace

ValuesAndIndices min(const Tensor& x, int64_t dim, bool keepdim) { return extreme("min", false, x, dim, keepdim); }
ValuesAndIndices max(const Tensor& x, int64_t dim, bool keepdim) { return extreme("max", true, x, dim, keepdim); }
Tensor argmin(const Tensor& x, const ReduceOptions& options) { return arg_extreme("argmin", false, x, options); }
Tensor argmax(const Tensor& x, const ReduceOptions& options) { return arg_extreme("argmax", true, x, options); }

ValuesAndIndices median(const Tensor& x, int64_t dim, bool keepdim) {
  dim = check_dim("median", x.shape(), dim);
  const ReducedShape to("median", x.shape(), dim, keepdim);
  check_not_empty("median", x, to);
  Tensor indices = median_indices(x, dim, to.result), values;
  {
    const NoGrad no_grad;
    values = x.ndim() ? reshape(gather(x.detach(), dim, reshape(indices, to.kept)), to.result) : clone(x.detach());
  }
  return record_choice("median", x, std::move(values), std::move(indices), to, dim);
}

Tensor median(const Tensor& x) {
  check_not_empty("median", x, ReducedShape("median", x.shape(), {}, false));
  Tensor y;
  {
    const NoGrad no_grad;
    const Tensor flat = reshape(x.detach(), {x.numel()});
    y = reshape(gather(flat, 0, median_indices(flat, 0, {1})), {});
  }
  return record("median", {x}, std::move(y), save_both, [](const Saved& s, const Tensor& dy, Needs) {
    const Tensor from = s.input(), chosen = logical_or(eq(from, s.output()), isnan(from)).to(dy.dtype());
    return Grads{dy / sum(chosen) * chosen};
  });
}

Tensor quantile(const Tensor& x, const std::vector<double>& q, const ReduceOptions& options) {
  check_floating("quantile", x);
  for (double value : q)
    if (!(value >= 0 && value <= 1)) fail<ValueError>("quantile: q must be between 0 and 1, got ", value);
  const ReducedShape to("quantile", x.shape(), options.dim, options.keepdim);
  check_not_empty("quantile", x, to);
  auto [lines, dim] = one_dimension("quantile", x.ndim() ? x : reshape(x, {1}), options.dim);
  // Ranks are the last dimension until the end.
  const int64_t ranks = int64_t(q.size()), n = lines.shape()[dim];
  lines = movedim(lines, dim, -1);
  Shape shape = lines.shape();
  shape[shape.ndim() - 1] = ranks;
  const Tensor lower = indices_of(shape, x), upper = indices_of(shape, x);
  dispatch("quantile", x.device(), [&, &from = lines](auto device) {
    kernels::quantile_indices(device, view(from), from.ndim() - 1, q.data(), view(lower), view(upper));
  });
  std::vector<double> weights;
  for (double value : q) weights.push_back(value * double(n - 1) - std::floor(value * double(n - 1)));
  const Tensor weight = from_vector(weights, {ranks}).to(x.dtype()).to(x.device());
  const Tensor low = gather(lines, -1, lower);
  // A rank that is an integer takes one element, even if it is infinite.
  const Tensor step = where(eq(weight, 0), 0., gather(lines, -1, upper) - low);
  Shape result{ranks};
  for (int64_t size : to.result) result.push_back(size);
  return reshape(movedim(low + weight * step, -1, 0), result);
}

Tensor quantile(const Tensor& x, double q, const ReduceOptions& options) {
  return squeeze(quantile(x, std::vector<double>{q}, options), 0);
}

}  // namespace tenrec
