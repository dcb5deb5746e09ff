#include "tenrec/autograd/ops/linalg_impl.h"

#include <limits>

#include "tenrec/autograd/ops/compare.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/index.h"
#include "tenrec/autograd/ops/join.h"
#include "tenrec/autograd/ops/reduce.h"
#include "tenrec/autograd/ops/shape.h"

namespace tenrec::detail {
namespace {

// "the matrix", or "matrix [1, 0] of the batch".
std::string matrix_name(const Shape& batch, int64_t i) {
  if (batch.ndim() == 0) return "the matrix";
  Shape index = batch;
  for (int64_t d = batch.ndim() - 1; d >= 0; --d) {
    index[d] = i % batch[d];
    i /= batch[d];
  }
  return concat("matrix ", index, " of the batch");
}

// NumericError for the first matrix whose flag (bool, the batch's shape) is set.
void check_flags(const char* op, const Tensor& flags, const char* what) {
  check_info(op, flags.to(i32), [&](int64_t) { return std::string(what); });
}

}  // namespace

void check_matrix(const char* op, const Tensor& a) {
  if (a.dtype() != f32 && a.dtype() != f64)
    fail<DTypeError>(op, ": takes f32 or f64, got ", a.dtype(), "; cast with x.to(f32)");
  if (a.ndim() < 2) fail<ShapeError>(op, ": needs a matrix or a batch of them, got a tensor of shape ", a.shape());
}

void check_square(const char* op, const Tensor& a) {
  check_matrix(op, a);
  if (rows_of(a) != cols_of(a))
    fail<ShapeError>(op, ": the matrices must be square, got a tensor of shape ", a.shape());
}

void check_same_dtype(const char* op, const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype())
    fail<DTypeError>(op, ": the matrix is ", a.dtype(), ", the right-hand side ", b.dtype(), "; cast one of them");
}

Shape batch_of(const Tensor& a, int64_t count) {
  Shape batch;
  for (int64_t d = 0; d + count < a.ndim(); ++d) batch.push_back(a.shape()[d]);
  return batch;
}

Shape with_dims(Shape batch, std::initializer_list<int64_t> dims) {
  for (int64_t d : dims) batch.push_back(d);
  return batch;
}

Tensor copy_rows(const Tensor& a) { return clone(a.detach()); }
Tensor copy_columns(const Tensor& a) { return clone(t(a.detach())); }

void check_info(const char* op, const Tensor& info, FunctionRef<std::string(int64_t info)> what) {
  const Tensor host = contiguous(info.to(kCpu));
  const auto* codes = host.data<int32_t>();
  for (int64_t i = 0; i < host.numel(); ++i)
    if (codes[i] != 0) fail<NumericError>(op, ": ", matrix_name(info.shape(), i), " ", what(codes[i]));
}

void check_finite(const char* op, const Tensor& a) {
  const NoGrad off;
  check_flags(op, logical_not(all(isfinite(a.detach()), {.dim = {-2, -1}})),
              "has an element that is not finite; its spectrum is not defined");
}

void check_diagonal(const char* op, const Tensor& a, const char* what) {
  const NoGrad off;
  check_flags(op, any(eq(diagonal(a.detach(), 0, -2, -1), 0), {.dim = -1}), what);
}

double epsilon(DType dtype) {
  return dtype == f64 ? std::numeric_limits<double>::epsilon() : double(std::numeric_limits<float>::epsilon());
}

Tensor count_as_equal(const Tensor& differences, const Tensor& values, int64_t scale) {
  const Tensor largest = amax(abs(values.detach()), {.dim = -1, .keepdim = true});
  return le(abs(differences.detach()), as_column(largest * (double(scale) * epsilon(values.dtype()))));
}

Tensor column_signs(const Tensor& v) {
  const Tensor at = argmax(abs(v), {.dim = -2, .keepdim = true});
  return where(lt(take_along_dim(v, at, -2), 0), -ones_like(slice(v, -2, 0, 1)), ones_like(slice(v, -2, 0, 1)));
}

Tensor mirror_upper(const Tensor& x) { return triu(x) + t(triu(x, 1)); }
Tensor symmetrized(const Tensor& x) { return (x + t(x)) * 0.5; }

Tensor scale_diagonal(const Tensor& x, double c) { return x + diag_embed(diagonal(x, 0, -2, -1) * (c - 1)); }

Tensor reciprocal_unless(const Tensor& x, const Tensor& mask) {
  return masked_fill(1.0 / masked_fill(x, mask, 1), mask, 0);
}

}  // namespace tenrec::detail
