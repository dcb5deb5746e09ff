#include "tenrec/autograd/ops/sort.h"

#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise_impl.h"
#include "tenrec/autograd/ops/index.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/kernels/index.h"
#include "tenrec/kernels/sort.h"

namespace tenrec {
namespace {

// x with `dim` last, contiguous, outside the tape.
Tensor rows_of(const Tensor& x, int64_t dim) { return contiguous(transpose(x.detach(), dim, -1)); }
// And back.
Tensor columns_of(const Tensor& y, int64_t dim) { return contiguous(transpose(y, dim, -1)); }

Tensor empty_rows(const Tensor& rows, int64_t count, DType dtype) {
  Shape shape = rows.shape();
  shape[shape.ndim() - 1] = count;
  return empty(shape, {.dtype = dtype, .device = rows.device()});
}

// Values picked along `dim` at indices that no two share: their gradient goes back to where they came from.
Sorted record_picked(const char* op, const Tensor& x, int64_t dim, Tensor values, Tensor indices) {
  std::vector<Tensor> out{std::move(values), std::move(indices)};
  out = record(op, {x}, std::move(out), save_output_at(1),
               [dim, full = x.shape()](const Saved& s, const Cotangents& dys, Needs) {
                 const Tensor dy = dys[0];
                 const Tensor none = zeros(full, {.dtype = dy.dtype(), .device = dy.device()});
                 return Grads{scatter_add(none, dim, s.output(1).detach(), dy)};
               });
  return {out[0], out[1]};
}

Sorted sort_first(const char* op, const Tensor& x, int64_t dim, int64_t count, bool descending) {
  const Tensor rows = rows_of(x, dim);
  const Tensor values = empty_rows(rows, count, x.dtype()), indices = empty_rows(rows, count, i64);
  dispatch(op, x.device(), [&](auto device) {
    kernels::sort_rows(device, view(rows), rows.shape().back(), descending, view(values), view(indices));
  });
  return record_picked(op, x, dim, columns_of(values, dim), columns_of(indices, dim));
}

// A 0-d tensor is sorted as a vector of one.
template <class F>
Sorted as_vector(const Tensor& x, F&& f) {
  const Sorted s = f(reshape(x, {1}));
  return {reshape(s.values, s.values.numel() == 1 ? Shape{} : s.values.shape()),
          reshape(s.indices, s.indices.numel() == 1 ? Shape{} : s.indices.shape())};
}

}  // namespace

Sorted sort(const Tensor& x, int64_t dim, bool descending) {
  dim = check_dim("sort", x.shape(), dim);
  if (x.ndim() == 0) return as_vector(x, [&](const Tensor& v) { return sort(v, 0, descending); });
  return sort_first("sort", x, dim, x.shape()[dim], descending);
}

Tensor argsort(const Tensor& x, int64_t dim, bool descending) { return sort(x.detach(), dim, descending).indices; }
Tensor msort(const Tensor& x) { return sort(x, 0).values; }

Sorted topk(const Tensor& x, int64_t k, int64_t dim, bool largest) {
  dim = check_dim("topk", x.shape(), dim);
  const int64_t size = x.ndim() ? x.shape()[dim] : 1;
  if (k < 0 || k > size) fail<IndexError>("topk: k = ", k, " is out of range for dimension ", dim, " of size ", size);
  if (x.ndim() == 0) return as_vector(x, [&](const Tensor& v) { return topk(v, k, 0, largest); });
  return sort_first("topk", x, dim, k, largest);
}

Sorted kthvalue(const Tensor& x, int64_t k, int64_t dim, bool keepdim) {
  dim = check_dim("kthvalue", x.shape(), dim);
  const int64_t size = x.ndim() ? x.shape()[dim] : 1;
  if (k < 1 || k > size)
    fail<IndexError>("kthvalue: k = ", k, " is out of range for dimension ", dim, " of size ", size);
  if (x.ndim() == 0) return as_vector(x, [&](const Tensor& v) { return kthvalue(v, k, 0, true); });
  const Tensor rows = rows_of(x, dim);
  const Tensor values = empty_rows(rows, 1, x.dtype()), indices = empty_rows(rows, 1, i64);
  dispatch("kthvalue", x.device(),
           [&](auto device) { kernels::kth_of_rows(device, view(rows), size, k - 1, view(values), view(indices)); });
  const Sorted s = record_picked("kthvalue", x, dim, columns_of(values, dim), columns_of(indices, dim));
  if (keepdim) return s;
  return {squeeze(s.values, dim), squeeze(s.indices, dim)};
}

namespace {

// Runs of a contiguous vector; `inverse` is left as the run of each element.
Unique runs_of(const Tensor& x) {
  const Tensor group = empty({x.numel()}, {.dtype = i64, .device = x.device()});
  return dispatch("unique", x.device(), [&](auto device) {
    const int64_t n = kernels::number_runs(device, view(x), view(group));
    Unique u{empty({n}, {.dtype = x.dtype(), .device = x.device()}), group,
             empty({n}, {.dtype = i64, .device = x.device()})};
    kernels::describe_runs(device, view(x), view(group), view(u.values), view(u.counts));
    return u;
  });
}

}  // namespace

Unique unique(const Tensor& x) {
  const Sorted s = sort(flatten(x.detach()), 0);
  Unique u = runs_of(s.values);
  const Tensor inverse = empty({1, x.numel(), 1}, {.dtype = i64, .device = x.device()});
  const Tensor groups = reshape(u.inverse, inverse.shape());
  dispatch("unique", x.device(),
           [&](auto device) { kernels::put_rows(device, view(groups), view(s.indices), view(inverse)); });
  u.inverse = reshape(inverse, x.shape());
  u.values = record("unique", {x}, u.values, no_rule);
  return u;
}

Unique unique_consecutive(const Tensor& x) {
  Unique u = runs_of(contiguous(flatten(x.detach())));
  u.inverse = reshape(u.inverse, x.shape());
  u.values = record("unique_consecutive", {x}, u.values, no_rule);
  return u;
}

Tensor searchsorted(const Tensor& sorted, const Tensor& values, bool right) {
  detail::check_same_device("searchsorted", sorted, values);
  if (sorted.dtype() != values.dtype())
    fail<DTypeError>("searchsorted: sorted is ", sorted.dtype(), ", values are ", values.dtype(), "; they must agree");
  Shape rows = sorted.shape(), wanted = values.shape();
  if (rows.ndim() > 0) rows.erase(rows.ndim() - 1);
  if (wanted.ndim() > 0) wanted.erase(wanted.ndim() - 1);
  if (sorted.ndim() == 0 || (sorted.ndim() > 1 && (rows != wanted || values.ndim() == 0)))
    fail<ShapeError>("searchsorted: sorted of shape ", sorted.shape(), " does not fit values of shape ", values.shape(),
                     "; it must be a vector, or all sizes but the last must agree");
  const Tensor from = contiguous(sorted.detach()), what = contiguous(values.detach());
  Tensor y = empty(values.shape(), {.dtype = i64, .device = values.device()});
  dispatch("searchsorted", values.device(),
           [&](auto device) { kernels::search_sorted(device, view(from), view(what), view(y), right); });
  return record("searchsorted", {sorted, values}, std::move(y), not_differentiable);
}

Tensor bucketize(const Tensor& x, const Tensor& boundaries, bool right) {
  if (boundaries.ndim() != 1)
    fail<ShapeError>("bucketize: boundaries must be a vector, got shape ", boundaries.shape());
  return searchsorted(boundaries, x, right);
}

}  // namespace tenrec
