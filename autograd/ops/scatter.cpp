// gather, scatter and their relatives along one dimension (index.h).
#include <limits>

#include "tenrec/autograd/ops/compare.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/elementwise_impl.h"
#include "tenrec/autograd/ops/index.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/kernels/index.h"

namespace tenrec {
namespace {

using kernels::Scatter;

// A 0-d tensor takes part as a vector of one.
Tensor at_least_1d(const Tensor& x) { return x.ndim() ? x : reshape(x, {1}); }

// Checks shapes and indices, gives the index as contiguous i64 and `dim` without sign. x and index are at least 1-d.
Tensor checked_index(const char* op, const Tensor& x, int64_t& dim, const Tensor& index) {
  dim = check_dim(op, x.shape(), dim);
  detail::check_same_device(op, x, index);
  if (index.ndim() != x.ndim())
    fail<ShapeError>(op, ": an index of shape ", index.shape(), " for a tensor of shape ", x.shape(),
                     "; both need the same number of dimensions");
  for (int64_t d = 0; d < x.ndim(); ++d)
    if (d != dim && index.shape()[d] > x.shape()[d])
      fail<ShapeError>(op, ": the index of shape ", index.shape(), " is larger than shape ", x.shape(),
                       " at dimension ", d);
  const Tensor checked = detail::as_index(op, index);
  detail::check_index(op, checked, detail::into_dim(dim, x.shape()[dim]));
  return checked;
}

// The part of src that an index of this shape reads.
Tensor read_part(const char* op, const Tensor& x, const Tensor& src, const Shape& shape) {
  detail::check_same_device(op, x, src);
  if (src.dtype() != x.dtype())
    fail<DTypeError>(op, ": src is ", src.dtype(), ", the tensor ", x.dtype(), "; they must agree");
  if (src.ndim() != shape.ndim())
    fail<ShapeError>(op, ": src of shape ", src.shape(), " for an index of shape ", shape);
  Tensor part = src;
  for (int64_t d = 0; d < shape.ndim(); ++d) {
    if (shape[d] > src.shape()[d])
      fail<ShapeError>(op, ": the index of shape ", shape, " is larger than src of shape ", src.shape(),
                       " at dimension ", d);
    if (shape[d] < src.shape()[d]) part = narrow(part, d, 0, shape[d]);
  }
  return part;
}

// A copy of x, combined with src in its places. Sums and products of 16-bit floats are kept in f32 and rounded once.
Tensor scattered(const char* op, const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src, Scatter how) {
  const bool wide = (how == Scatter::add || how == Scatter::multiply) && (x.dtype() == bf16 || x.dtype() == f16);
  if (how == Scatter::add && x.dtype() == boolean) fail<DTypeError>(op, ": bool tensors have no sum; use x.to(u8)");
  const Tensor y = wide ? x.detach().to(f32) : clone(x.detach()), from = wide ? src.detach().to(f32) : src.detach();
  dispatch(op, x.device(), [&](auto device) { kernels::scatter(device, view(from), view(index), view(y), dim, how); });
  return wide ? y.to(x.dtype()) : y;
}

Tensor gather_checked(const Tensor& x, int64_t dim, const Tensor& index);

Tensor scatter_add_checked(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src) {
  return record("scatter_add", {x, index, src}, scattered("scatter_add", x, dim, index, src, Scatter::add),
                save_input(1), [dim](const Saved& s, const Tensor& dy, Needs needs) {
                  return Grads{dy, Tensor(), needs[2] ? gather_checked(dy, dim, s.input(1)) : Tensor()};
                });
}

Tensor gather_checked(const Tensor& x, int64_t dim, const Tensor& index) {
  Tensor y = empty(index.shape(), {.dtype = x.dtype(), .device = x.device()});
  dispatch("gather", x.device(), [&](auto device) { kernels::gather(device, view(x), view(index), view(y), dim); });
  return record("gather", {x, index}, std::move(y), save_input(1),
                [dim, full = x.shape()](const Saved& s, const Tensor& dy, Needs) {
                  const Tensor none = zeros(full, {.dtype = dy.dtype(), .device = dy.device()});
                  return Grads{scatter_add_checked(none, dim, s.input(1), dy), Tensor()};
                });
}

// Whether each src element is the last one written to its place.
Tensor last_writers(const Tensor& index, int64_t n, int64_t dim) {
  Tensor last = empty(index.shape(), {.dtype = boolean, .device = index.device()});
  dispatch("scatter", index.device(),
           [&](auto device) { kernels::last_writers(device, view(index), n, dim, view(last)); });
  return last;
}

Tensor zeros_at(const Tensor& index, const Tensor& like) {
  return expand(zeros({}, {.dtype = like.dtype(), .device = like.device()}), index.shape());
}

Tensor scatter_checked(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src) {
  return record("scatter", {x, index, src}, scattered("scatter", x, dim, index, src, Scatter::put), save_input(1),
                [dim](const Saved& s, const Tensor& dy, Needs needs) {
                  const Tensor i = s.input(1);
                  Tensor dx, dsrc;
                  if (needs[0]) dx = scatter_checked(dy, dim, i, zeros_at(i, dy));
                  if (needs[2]) dsrc = where(last_writers(i, dy.shape()[dim], dim), gather_checked(dy, dim, i), 0);
                  return Grads{dx, Tensor(), dsrc};
                });
}

Tensor extreme_checked(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src, Scatter how) {
  return record("scatter_reduce", {x, index, src}, scattered("scatter_reduce", x, dim, index, src, how), save_both,
                [dim](const Saved& s, const Tensor& dy, Needs needs) {
                  const Tensor i = s.input(1), y = s.output().detach();
                  const Tensor in_x = eq(s.input(0), y).to(dy.dtype());
                  const Tensor in_src = eq(s.input(2), gather_checked(y, dim, i)).to(dy.dtype());
                  const Tensor share = dy / scatter_add_checked(in_x, dim, i, in_src);
                  return Grads{needs[0] ? share * in_x : Tensor(), Tensor(),
                               needs[2] ? gather_checked(share, dim, i) * in_src : Tensor()};
                });
}

Tensor ones_at(const Tensor& like, const Shape& shape) {
  return expand(ones({}, {.dtype = like.dtype(), .device = like.device()}), shape);
}

// What changes nothing when it is combined.
Scalar identity_of(Scatter how, DType dtype) {
  if (how == Scatter::add) return 0;
  if (how == Scatter::multiply) return 1;
  const bool low = how == Scatter::largest;
  return visit_dtype(dtype, [&](auto zero) -> Scalar {
    using T = decltype(zero);
    if constexpr (std::is_integral_v<T>)
      return int64_t(low ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max());
    else
      return low ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
  });
}

Tensor mean_checked(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src, const Tensor& base,
                    bool include_self) {
  if (!is_floating(x.dtype())) fail<DTypeError>("scatter_reduce: mean is for floating dtypes, got ", x.dtype());
  const Tensor one = ones_like(x.detach()), ones = ones_at(src, index.shape());
  const Tensor own = include_self ? one : scatter_checked(one, dim, index, zeros_at(index, x));
  return scatter_add_checked(base, dim, index, src) / scatter_add_checked(own, dim, index, ones);
}

}  // namespace

Tensor gather(const Tensor& x, int64_t dim, const Tensor& index) {
  const Tensor x1 = at_least_1d(x);
  const Tensor checked = checked_index("gather", x1, dim, at_least_1d(index));
  return reshape(gather_checked(x1, dim, checked), index.shape());
}

Tensor take_along_dim(const Tensor& x, const Tensor& index, int64_t dim) {
  dim = check_dim("take_along_dim", x.shape(), dim);
  detail::check_same_device("take_along_dim", x, index);
  if (x.ndim() == 0 || index.ndim() != x.ndim())
    fail<ShapeError>("take_along_dim: an index of shape ", index.shape(), " for a tensor of shape ", x.shape());
  const int64_t size = x.shape()[dim];
  Shape of_x = x.shape(), of_index = index.shape();
  of_x[dim] = of_index[dim] = 1;
  Shape shape = broadcast_shapes("take_along_dim", of_x, of_index);
  shape[dim] = index.shape()[dim];
  const Tensor given = contiguous(expand(detail::as_index("take_along_dim", index), shape));
  detail::IndexRule rule = detail::into_dim(dim, size);
  rule.low = -size;
  detail::check_index("take_along_dim", given, rule);
  const Tensor wrapped = empty_like(given);
  dispatch("take_along_dim", x.device(),
           [&](auto device) { kernels::combine_rows(device, view(given), size, true, view(wrapped)); });
  shape[dim] = size;
  return gather_checked(expand(x, shape), dim, wrapped);
}

Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src) {
  const Tensor x1 = at_least_1d(x);
  const Tensor checked = checked_index("scatter", x1, dim, at_least_1d(index));
  const Tensor part = read_part("scatter", x1, at_least_1d(src), checked.shape());
  return reshape(scatter_checked(x1, dim, checked, part), x.shape());
}

Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, Scalar value) {
  const Tensor number = full({}, value, {.dtype = x.dtype(), .device = x.device()});
  return scatter(x, dim, index, expand(number, at_least_1d(index).shape()));
}

Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src) {
  const Tensor x1 = at_least_1d(x);
  const Tensor checked = checked_index("scatter_add", x1, dim, at_least_1d(index));
  const Tensor part = read_part("scatter_add", x1, at_least_1d(src), checked.shape());
  return reshape(scatter_add_checked(x1, dim, checked, part), x.shape());
}

Tensor scatter_reduce(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce,
                      bool include_self) {
  const bool mean = reduce == "mean";
  const Scatter how = reduce == "sum" || mean ? Scatter::add
                      : reduce == "prod"      ? Scatter::multiply
                      : reduce == "amax"      ? Scatter::largest
                      : reduce == "amin"      ? Scatter::smallest
                                              : Scatter::put;
  if (how == Scatter::put)
    fail<ValueError>("scatter_reduce: reduce must be sum, prod, mean, amax or amin, got ", reduce);
  const Tensor x1 = at_least_1d(x);
  const Tensor i = checked_index("scatter_reduce", x1, dim, at_least_1d(index));
  const Tensor part = read_part("scatter_reduce", x1, at_least_1d(src), i.shape());
  Tensor base = x1;
  if (!include_self) {
    const Tensor start = full({}, identity_of(how, x.dtype()), {.dtype = x.dtype(), .device = x.device()});
    base = scatter_checked(x1, dim, i, expand(start, i.shape()));
  }
  Tensor y;
  if (mean)
    y = mean_checked(x1, dim, i, part, base, include_self);
  else if (how == Scatter::add)
    y = scatter_add_checked(base, dim, i, part);
  else if (how != Scatter::multiply)
    y = extreme_checked(base, dim, i, part, how);
  else
    y = record("scatter_reduce", {base, i, part}, scattered("scatter_reduce", base, dim, i, part, how), no_rule);
  return reshape(y, x.shape());
}

}  // namespace tenrec
