// What the linear algebra ops share. Internal: included by the op files, not by users.
#pragma once

#include <string>

#include "tenrec/autograd/autocast.h"
#include "tenrec/autograd/ops/linalg.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/core/view.h"
#include "tenrec/kernels/linalg.h"

namespace tenrec::detail {

// f32 or f64 (DTypeError) with two dimensions at least (ShapeError).
void check_matrix(const char* op, const Tensor& a);
void check_square(const char* op, const Tensor& a);
// Both f32 or both f64.
void check_same_dtype(const char* op, const Tensor& a, const Tensor& b);

inline int64_t rows_of(const Tensor& a) { return a.shape()[a.ndim() - 2]; }
inline int64_t cols_of(const Tensor& a) { return a.shape()[a.ndim() - 1]; }
// Without the last `count` dimensions, and with others behind.
Shape batch_of(const Tensor& a, int64_t count = 2);
Shape with_dims(Shape batch, std::initializer_list<int64_t> dims);
inline Tensor empty_matrices(const Shape& batch, std::initializer_list<int64_t> dims, const Tensor& like) {
  return empty(with_dims(batch, dims), {.dtype = like.dtype(), .device = like.device()});
}
// The batch as the kernels see it.
inline kernels::Matrices matrices(const Tensor& a) {
  return {a.dtype(), a.numel() / (rows_of(a) * cols_of(a)), rows_of(a), cols_of(a)};
}

// Copies outside the tape that may be written to: row by row, and column by column as a row-major transpose.
Tensor copy_rows(const Tensor& a);
Tensor copy_columns(const Tensor& a);

// One number for each matrix of a batch, i32.
inline Tensor empty_info(const Shape& batch, const Tensor& like) {
  return empty(batch, {.dtype = i32, .device = like.device()});
}
// NumericError "op: [matrix i of the batch]" + what(info) for the first one that is not 0. The host waits for a device.
void check_info(const char* op, const Tensor& info, FunctionRef<std::string(int64_t info)> what);
// NumericError unless all elements are numbers.
void check_finite(const char* op, const Tensor& a);
// NumericError "op: [matrix i of the batch] is singular: " + what for a 0 on the diagonal.
void check_diagonal(const char* op, const Tensor& a, const char* what);

inline Tensor as_row(const Tensor& x) { return unsqueeze(x, -2); }
inline Tensor as_column(const Tensor& x) { return unsqueeze(x, -1); }
double epsilon(DType dtype);
inline constexpr const char* kNotConverged = "could not be brought to its spectrum: the iteration did not converge";

// LU with pivots, outside the tape. `lu` is stored by columns: it is the row-major transpose of LAPACK's matrix.
struct Factored {
  Tensor lu, pivots;
};
Factored factor(const Tensor& a);
// NumericError if a pivot is 0.
Factored factor_regular(const char* op, const Tensor& a);
// Within a rule or a forward pass: op(A)^-1 B from factors made before, A's batch that of B or 1; not recorded.
Tensor solve_factored(const char* op, const Tensor& lu, const Tensor& pivots, const Tensor& b, bool transposed);
// solve for matrices b, and inv, recorded under those names; errors name `op`.
Tensor solve_matrix(const char* op, const Tensor& a, const Tensor& b);
Tensor inverse(const char* op, const Tensor& a);
// Two dimensions at least, rows that fit, dtype and device.
void check_right_hand_side(const char* op, const Tensor& a, const Tensor& b);
// Whether b [..., m] is one vector for each matrix [..., m, n], by PyTorch's rule.
bool is_vector(const Tensor& a, const Tensor& b);
// solve_triangular without the look at the diagonal, recorded.
Tensor solve_triangular_unchecked(const Tensor& a, const Tensor& b, const TriangularOptions& options);

// Outside the tape; vectors undefined unless wanted.
Eigh eigh_forward(const char* op, const Tensor& a, bool vectors);
SVD svd_forward(const char* op, const Tensor& a, bool vectors);
// Which of two values count as equal: where |differences| <= scale eps times the largest of |values| (last dimension).
Tensor count_as_equal(const Tensor& differences, const Tensor& values, int64_t scale);

// 1 or -1 for each column of v [..., n, k], as [..., 1, k]: the sign of the first of its largest elements.
Tensor column_signs(const Tensor& v);
// The upper triangle of x, mirrored to the lower one; and (x + x^T) / 2.
Tensor mirror_upper(const Tensor& x);
Tensor symmetrized(const Tensor& x);
// x with its diagonal times c.
Tensor scale_diagonal(const Tensor& x, double c);
// 1 / x where the mask is false, 0 where it is true; differentiable.
Tensor reciprocal_unless(const Tensor& x, const Tensor& mask);

}  // namespace tenrec::detail
