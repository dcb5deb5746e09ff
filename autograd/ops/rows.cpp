// Rows by index: what index, index_select and embedding are made of (index.h, namespace detail).
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/elementwise_impl.h"
#include "tenrec/autograd/ops/index.h"
#include "tenrec/autograd/ops/reduce.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/kernels/index.h"

namespace tenrec {
namespace detail {

Tensor as_index(const char* op, const Tensor& index) {
  if (index.dtype() != i64 && index.dtype() != i32)
    fail<DTypeError>(op, ": an index tensor must be i64 or i32, got ", index.dtype());
  return contiguous(index.detach().to(i64));
}

void check_index(const char* op, const Tensor& index, const IndexRule& rule) {
  dispatch(op, index.device(), [&](auto device) { kernels::check_index(device, op, view(index), rule); });
}

Tensor true_positions(const Tensor& x) {
  const Tensor mask = contiguous(x.detach().to(boolean));
  return dispatch("nonzero", x.device(), [&](auto device) {
    Tensor positions = empty({kernels::count_true(device, view(mask))}, {.dtype = i64, .device = x.device()});
    kernels::true_positions(device, view(mask), view(positions));
    return positions;
  });
}

Tensor take_rows(const char* op, const Tensor& x, const Tensor& rows, int64_t skip) {
  Tensor y = empty({x.shape()[0], rows.numel(), x.shape()[2]}, {.dtype = x.dtype(), .device = x.device()});
  dispatch(op, x.device(), [&](auto device) { kernels::take_rows(device, view(x), view(rows), view(y), skip); });
  return record(op, {x, rows}, std::move(y), save_input(1),
                [n = x.shape()[1], skip](const Saved& s, const Tensor& dy, Needs) {
                  return Grads{add_rows("add_rows", dy, s.input(1), n, skip), Tensor()};
                });
}

// Sums of 16-bit floats are kept in f32 and rounded once.
DType sum_dtype(DType t) { return t == bf16 || t == f16 ? f32 : t; }

Tensor add_rows(const char* op, const Tensor& picked, const Tensor& rows, int64_t n, int64_t skip) {
  const DType dtype = picked.dtype();
  const Tensor from = contiguous(picked.detach().to(sum_dtype(dtype)));
  const Shape shape{picked.shape()[0], n, picked.shape()[2]};
  const Tensor sums = zeros(shape, {.dtype = from.dtype(), .device = picked.device()});
  dispatch(op, picked.device(),
           [&](auto device) { kernels::add_rows(device, view(from), view(rows), view(sums), skip); });
  return record(op, {picked, rows}, sums.to(dtype), save_input(1), [skip](const Saved& s, const Tensor& dsums, Needs) {
    return Grads{take_rows("take_rows", dsums, s.input(1), skip), Tensor()};
  });
}

namespace {

// 1 for each of the rows that no later one overwrites, as [count, 1] of `dtype`.
Tensor kept_rows(const Tensor& rows, int64_t n, DType dtype) {
  const Tensor last = empty(rows.shape(), {.dtype = boolean, .device = rows.device()});
  dispatch("put_rows", rows.device(), [&](auto device) { kernels::last_rows(device, view(rows), n, view(last)); });
  return unsqueeze(last.to(dtype), -1);
}

}  // namespace

Tensor put_rows(const Tensor& x, const Tensor& rows, const Tensor& picked) {
  const Tensor y = clone(x.detach()), from = contiguous(picked.detach());
  dispatch("put_rows", x.device(), [&](auto device) { kernels::put_rows(device, view(from), view(rows), view(y)); });
  return record("put_rows", {x, rows, picked}, y, save_input(1), [](const Saved& s, const Tensor& dy, Needs needs) {
    const Tensor r = s.input(1);
    const int64_t n = dy.shape()[1];
    Tensor dx, dpicked;
    if (needs[0])
      dx = put_rows(dy, r,
                    zeros({dy.shape()[0], r.numel(), dy.shape()[2]}, {.dtype = dy.dtype(), .device = dy.device()}));
    if (needs[2]) dpicked = take_rows("take_rows", dy, r) * kept_rows(r, n, dy.dtype());
    return Grads{dx, Tensor(), dpicked};
  });
}

}  // namespace detail

namespace {

// x seen as [outer, n, inner] around one dimension.
Tensor around(const Tensor& x, int64_t dim) {
  int64_t outer = 1, inner = 1;
  for (int64_t d = 0; d < x.ndim(); ++d)
    if (d != dim) (d < dim ? outer : inner) *= x.shape()[d];
  return reshape(x, {outer, x.ndim() ? x.shape()[dim] : 1, inner});
}

void check_vector(const char* op, const Tensor& index) {
  if (index.ndim() > 1) fail<ShapeError>(op, ": the index must be a vector, got shape ", index.shape());
}

}  // namespace

Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index) {
  dim = check_dim("index_select", x.shape(), dim);
  check_vector("index_select", index);
  detail::check_same_device("index_select", x, index);
  const Tensor rows = detail::as_index("index_select", index);
  detail::check_index("index_select", rows, detail::into_dim(dim, x.ndim() ? x.shape()[dim] : 1));
  const Tensor y = detail::take_rows("index_select", around(x, dim), rows);
  Shape shape = x.shape();
  if (x.ndim() == 0) return reshape(y, shape);
  shape[dim] = rows.numel();
  return reshape(y, shape);
}

Tensor index_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source, Scalar alpha) {
  dim = check_dim("index_add", x.shape(), dim);
  check_vector("index_add", index);
  detail::check_same_device("index_add", x, index);
  const Tensor rows = detail::as_index("index_add", index);
  Shape wanted = x.shape();
  if (x.ndim()) wanted[dim] = rows.numel();
  if (source.shape() != wanted)
    fail<ShapeError>("index_add: source has shape ", source.shape(), ", expected ", wanted, " for an index of ",
                     rows.numel(), " and x of ", x.shape());
  if (source.dtype() != x.dtype())
    fail<DTypeError>("index_add: source is ", source.dtype(), ", x is ", x.dtype(), "; they must agree");
  const int64_t n = x.ndim() ? x.shape()[dim] : 1;
  detail::check_index("index_add", rows, detail::into_dim(dim, n));
  const Tensor scaled = alpha.value == 1 || (!alpha.floating && alpha.integer == 1) ? source : source * alpha;
  return x + reshape(detail::add_rows("index_add", around(scaled, dim), rows, n), x.shape());
}

Tensor embedding(const Tensor& weight, const Tensor& indices, int64_t padding_idx) {
  if (weight.ndim() != 2) fail<ShapeError>("embedding: weight must be a matrix, got shape ", weight.shape());
  const int64_t count = weight.shape()[0];
  if (padding_idx < -1 || padding_idx >= count)
    fail<IndexError>("embedding: padding_idx ", padding_idx, " is out of range for ", count, " rows");
  detail::check_same_device("embedding", weight, indices);
  const Tensor rows = flatten(detail::as_index("embedding", indices));
  detail::check_index("embedding", rows, detail::into_dim(0, count));
  const int64_t dim = weight.shape()[1];
  Shape shape = indices.shape();
  shape.push_back(dim);
  const Tensor table = detail::make_view(weight, {1, count, dim}, {0, weight.strides()[0], weight.strides()[1]}, 0);
  Tensor y = empty(shape, {.dtype = weight.dtype(), .device = weight.device()});
  const Tensor picked = detail::make_view(y, {1, rows.numel(), dim}, {y.numel(), dim, 1}, 0);
  dispatch("embedding", weight.device(),
           [&](auto device) { kernels::take_rows(device, view(table), view(rows), view(picked), -1); });
  return record(
      "embedding", {weight, rows}, std::move(y), save_input(1),
      [count, dim, padding_idx](const Saved& s, const Tensor& dy, Needs) {
        const Tensor r = s.input(1);
        const Tensor sums = detail::add_rows("add_rows", reshape(dy, {1, r.numel(), dim}), r, count, padding_idx);
        return Grads{reshape(sums, {count, dim}), Tensor()};
      });
}

Tensor take(const Tensor& x, const Tensor& index) {
  detail::check_same_device("take", x, index);
  const Tensor given = detail::as_index("take", index);
  detail::check_index("take", given, {.low = -x.numel(), .high = x.numel()});
  const Tensor rows = empty({given.numel()}, {.dtype = i64, .device = x.device()});
  dispatch("take", x.device(),
           [&](auto device) { kernels::combine_rows(device, view(given), x.numel(), true, view(rows)); });
  return reshape(detail::take_rows("take", reshape(x, {1, x.numel(), 1}), rows), index.shape());
}

Tensor bincount(const Tensor& x, int64_t min_length) { return bincount(x, Tensor(), min_length); }

Tensor bincount(const Tensor& x, const Tensor& weights, int64_t min_length) {
  if (x.ndim() != 1 || !is_integral(x.dtype()))
    fail<ShapeError>("bincount: expected a vector of integers, got ", x.dtype(), " ", x.shape());
  if (weights.defined() && weights.shape() != x.shape())
    fail<ShapeError>("bincount: weights of shape ", weights.shape(), " for x of shape ", x.shape());
  if (min_length < 0) fail<ValueError>("bincount: min_length must not be negative, got ", min_length);
  const Tensor bins = contiguous(x.detach().to(i64));
  detail::check_index("bincount", bins, {.low = 0, .high = INT64_MAX});
  int64_t length = min_length;
  if (bins.numel()) length = std::max(length, amax(bins).item<int64_t>() + 1);
  if (!weights.defined()) {
    Tensor y = zeros({length}, {.dtype = i64, .device = x.device()});
    dispatch("bincount", x.device(), [&](auto device) { kernels::count_each(device, view(bins), view(y)); });
    return record("bincount", {x}, std::move(y), not_differentiable);
  }
  const Tensor values = is_floating(weights.dtype()) ? weights : weights.to(f64);
  return reshape(detail::add_rows("bincount", reshape(values, {1, x.numel(), 1}), bins, length), {length});
}

}  // namespace tenrec
