#include "tenrec/autograd/ops/matmul.h"

#include "tenrec/autograd/autocast.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/elementwise_impl.h"
#include "tenrec/autograd/ops/matmul_impl.h"
#include "tenrec/autograd/ops/reduce_impl.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/core/view.h"
#include "tenrec/kernels/gemm.h"
#include "tenrec/kernels/precision.h"

namespace tenrec {
namespace {

using Layout = detail::MatrixLayout;

constexpr struct {
  kernels::MatmulPrecision which;
  const char* name;
} kPrecisions[] = {{kernels::MatmulPrecision::highest, "highest"},
                   {kernels::MatmulPrecision::high, "high"},
                   {kernels::MatmulPrecision::medium, "medium"}};

bool find_layout(const Tensor& x, Layout& out) {
  const int64_t n = x.ndim(), rows = x.shape()[n - 2], cols = x.shape()[n - 1];
  const int64_t row = x.strides()[n - 2], col = x.strides()[n - 1];
  if ((col == 1 || cols <= 1) && (row >= cols || rows <= 1))
    out = {false, rows <= 1 ? std::max<int64_t>(cols, 1) : row};
  else if ((row == 1 || rows <= 1) && (col >= rows || cols <= 1))
    out = {true, cols <= 1 ? std::max<int64_t>(rows, 1) : col};
  else
    return false;
  return true;
}

void check_inner(const char* op, const Tensor& a, const Tensor& b) {
  if (a.shape().back() != b.shape()[b.ndim() - 2])
    fail<ShapeError>(op, ": shapes ", a.shape(), " and ", b.shape(), " do not multiply: the inner sizes ",
                     a.shape().back(), " and ", b.shape()[b.ndim() - 2], " differ");
  detail::check_same_device(op, a, b);
}

void check_arithmetic(const char* op, const Tensor& x) {
  if (x.dtype() == boolean || x.dtype() == u8)
    fail<DTypeError>(op, ": not defined for ", x.dtype(), "; cast with x.to(i64) or x.to(f32)");
}

}  // namespace

namespace detail {

Tensor with_layout(const Tensor& x, Layout& out) {
  if (find_layout(x, out)) return x;
  const Tensor copy = clone(x.detach());
  TENREC_ASSERT(find_layout(copy, out));
  return copy;
}

bool lies_turned(const Tensor& x) { return x.strides()[0] == 1 && !x.is_contiguous(); }

Tensor with_layout(const Factor& x, Layout& out) {
  const Tensor matrix = with_layout(x.matrix, out);
  out.transposed ^= x.transposed;
  return matrix;
}

Tensor product(const char* op, const Factor& a, const Factor& b, const Tensor& bias, bool relu) {
  Layout la, lb;
  const Tensor x = with_layout(a, la), w = with_layout(b, lb);
  const int64_t m = a.rows(), k = a.columns(), n = b.columns();
  const DType dtype = x.dtype();
  Tensor y = detail::empty_of({m, n}, dtype, x.device());
  const Tensor row = bias.defined() ? contiguous_data(bias) : Tensor();
  dispatch(op, x.device(), [&](auto device) {
    kernels::gemm(device, dtype, {la.transposed, lb.transposed, m, n, k, la.leading, lb.leading, n}, view(x).data,
                  view(w).data, view(y).data, {.bias = row.defined() ? view(row).data : nullptr, .relu = relu});
  });
  return y;
}

// A factor that lies column by column gets a gradient that lies so too: what it is a transpose of, and all that is
// added to it there, is then read in order.
Tensor matrix_product(const Tensor& a, const Tensor& b) {
  check_inner("matmul", a, b);
  return record("matmul", {a, b}, product("matmul", a, b, {}), save_inputs,
                [turn_a = lies_turned(a), turn_b = lies_turned(b)](const Saved& s, const Tensor& dy, Needs needs) {
                  Tensor da, db;
                  if (needs[0]) da = turn_a ? t(matrix_product(s.input(1), t(dy))) : matrix_product(dy, t(s.input(1)));
                  if (needs[1]) db = turn_b ? t(matrix_product(t(dy), s.input(0))) : matrix_product(t(s.input(0)), dy);
                  return Grads{da, db};
                });
}

Tensor as_rows(const Tensor& x) {
  return x.ndim() == 2 ? x : reshape(x, {x.numel() / std::max<int64_t>(x.size(-1), 1), x.size(-1)});
}
Tensor from_rows(const Tensor& y, const Tensor& x) {
  if (x.ndim() == 2) return y;
  Shape shape = x.shape();
  shape[shape.ndim() - 1] = y.size(-1);
  return reshape(y, shape);
}

void check_linear(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (x.ndim() < 1 || weight.ndim() != 2 || x.size(-1) != weight.shape()[1])
    fail<ShapeError>(op, ": an input of shape ", x.shape(), " does not fit a weight of shape ", weight.shape(),
                     " [out, in]: the last size of the input must equal in");
  if (bias.defined() && (bias.ndim() != 1 || bias.shape()[0] != weight.shape()[0]))
    fail<ShapeError>(op, ": a bias of shape ", bias.shape(), " for a weight of shape ", weight.shape(), " [out, in]");
  if (x.dtype() != weight.dtype() || (bias.defined() && bias.dtype() != weight.dtype()))
    fail<DTypeError>(op, ": input of ", x.dtype(), ", weight of ", weight.dtype(),
                     "; cast the input or the module with .to(dtype)");
  check_arithmetic(op, x);
  check_same_device(op, x, weight);
}

}  // namespace detail

namespace {

Shape batch_of(const Tensor& x) {
  Shape shape;
  for (int64_t d = 0; d + 2 < x.ndim(); ++d) shape.push_back(x.shape()[d]);
  return shape;
}

// Where each matrix of a batch starts, in elements; dimensions that broadcast have stride 0.
std::vector<int64_t> batch_offsets(const Tensor& x, const Shape& batch) {
  const int64_t lead = batch.ndim() - (x.ndim() - 2);
  std::vector<int64_t> offsets(static_cast<size_t>(checked_numel(batch)));
  Shape index = Shape::filled(batch.ndim(), 0);
  for (int64_t& offset : offsets) {
    offset = 0;
    for (int64_t d = lead; d < batch.ndim(); ++d)
      if (x.shape()[d - lead] != 1) offset += index[d] * x.strides()[d - lead];
    for (int64_t d = batch.ndim() - 1; d >= 0 && ++index[d] == batch[d]; --d) index[d] = 0;
  }
  return offsets;
}

Tensor batch_product(const Tensor& a, const Tensor& b) {
  check_inner("matmul", a, b);
  const Shape batch = broadcast_shapes("matmul", batch_of(a), batch_of(b));
  Layout la, lb;
  const Tensor x = with_layout(a, la), w = with_layout(b, lb);
  const int64_t m = a.size(-2), k = a.size(-1), n = b.size(-1);
  Shape shape = batch;
  shape.push_back(m);
  shape.push_back(n);
  Tensor y = detail::empty_of(shape, a.dtype(), a.device());
  const std::vector<int64_t> from_a = batch_offsets(x, batch), from_b = batch_offsets(w, batch),
                             to = batch_offsets(y, batch);
  dispatch("matmul", a.device(), [&](auto device) {
    kernels::batched_gemm(device, a.dtype(), {la.transposed, lb.transposed, m, n, k, la.leading, lb.leading, n},
                          int64_t(to.size()), from_a.data(), from_b.data(), to.data(), view(x).data, view(w).data,
                          view(y).data);
  });
  return record("batched_matmul", {a, b}, std::move(y), save_inputs, [](const Saved& s, const Tensor& dy, Needs needs) {
    return Grads{needs[0] ? batch_product(dy, t(s.input(1))) : Tensor(),
                 needs[1] ? batch_product(t(s.input(0)), dy) : Tensor()};
  });
}

}  // namespace

using detail::as_rows;
using detail::from_rows;
using detail::matrix_product;

Tensor matmul(const Tensor& left, const Tensor& right) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_low(matmul, left, right);
  if (left.ndim() == 0 || right.ndim() == 0)
    fail<ShapeError>("matmul: needs at least one dimension in each operand, got ", left.shape(), " and ",
                     right.shape());
  const DType dtype = promote(left.dtype(), right.dtype());
  Tensor a = left.to(dtype), b = right.to(dtype);
  check_arithmetic("matmul", a);
  const bool row = a.ndim() == 1, column = b.ndim() == 1;
  if (row) a = unsqueeze(a, 0);
  if (column) b = unsqueeze(b, 1);
  Tensor y;
  if (b.ndim() == 2 && (a.ndim() == 2 || a.numel() > 0))
    y = from_rows(matrix_product(as_rows(a), b), a);
  else
    y = batch_product(a, b);
  if (column) y = squeeze(y, -1);
  if (row) y = squeeze(y, column ? -1 : -2);
  return y;
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_low(linear, x, weight, bias);
  detail::check_linear("linear", x, weight, bias);
  if (x.numel() == 0 && x.ndim() != 2) {
    const Tensor y = matmul(x, t(weight));
    return bias.defined() ? y + bias : y;
  }
  const Tensor rows = as_rows(x);
  Tensor y = detail::product("linear", rows, detail::turned(weight), bias);
  const auto rule = [has_bias = bias.defined()](const Saved& s, const Tensor& dy, Needs needs) {
    return detail::linear_grads(dy, s.input(0), s.input(1), has_bias, needs);
  };
  const Save save = save_input(0) | save_input(1);
  y = bias.defined() ? record("linear", {rows, weight, bias}, std::move(y), save, rule)
                     : record("linear", {rows, weight}, std::move(y), save, rule);
  return from_rows(y, x);
}

void set_float32_matmul_precision(const std::string& precision) {
  for (const auto& [which, name] : kPrecisions)
    if (precision == name) return kernels::set_matmul_precision(which);
  fail<ValueError>("set_float32_matmul_precision: must be highest, high or medium, got \"", precision, "\"");
}

std::string get_float32_matmul_precision() {
  for (const auto& [which, name] : kPrecisions)
    if (kernels::matmul_precision() == which) return name;
  return {};
}

}  // namespace tenrec
