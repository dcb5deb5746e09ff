// What matrix products and linear layers share. Internal: included by the op files, not by users.
#pragma once

#include "tenrec/autograd/tape.h"

namespace tenrec::detail {

// How a matrix lies in memory: rows one after the other, or columns (then GEMM reads it transposed).
struct MatrixLayout {
  bool transposed = false;
  int64_t leading = 1;
};
// Whether a matrix lies column by column alone.
bool lies_turned(const Tensor& x);
// x, or a contiguous copy if it lies in neither way.
Tensor with_layout(const Tensor& x, MatrixLayout& out);

// A matrix or its transpose as a factor of a product that is not recorded. It holds no view: making one would take as
// long as a small product.
struct Factor {
  Factor(const Tensor& m) : matrix(m) {}  // NOLINT(google-explicit-constructor)
  Factor(const Tensor& m, bool t) : matrix(m), transposed(t) {}
  int64_t rows() const { return matrix.shape()[transposed ? 1 : 0]; }
  int64_t columns() const { return matrix.shape()[transposed ? 0 : 1]; }
  const Tensor& matrix;
  bool transposed = false;
};
inline Factor turned(const Tensor& matrix) { return {matrix, true}; }
Tensor with_layout(const Factor& x, MatrixLayout& out);

// relu?([m, k] x [k, n] + bias), the bias a row or undefined. Not recorded.
Tensor product(const char* op, const Factor& a, const Factor& b, const Tensor& bias, bool relu = false);
// [m, k] x [k, n], recorded.
Tensor matrix_product(const Tensor& a, const Tensor& b);

// x's leading dimensions as one, so that a product with one matrix is one GEMM; and back to those of x.
Tensor as_rows(const Tensor& x);
Tensor from_rows(const Tensor& y, const Tensor& x);

// Shapes, dtypes and devices of x [..., in], weight [out, in] and bias [out] or undefined.
void check_linear(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias);
// The gradients of y = x weight^T + bias: inputs 0, 1 and, if there is one, 2. dy and x are matrices.
Grads linear_grads(const Tensor& dy, const Tensor& x, const Tensor& weight, bool bias, Needs needs);

}  // namespace tenrec::detail
