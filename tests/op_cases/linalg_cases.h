// The rows of linear algebra, and the naive matrices that their references are made of.
#pragma once

#include <functional>

#include "op_cases/op_case.h"
#include "tenrec/autograd/ops/linalg.h"

namespace tenrec::testing {

void add_linalg_cases(const Add& add);

// A matrix of a batch, row by row.
struct Dense {
  int64_t rows = 0, cols = 0;
  std::vector<double> values = {};
  Dense() = default;
  Dense(int64_t m, int64_t n) : rows(m), cols(n), values(size_t(m * n)) {}
  double& operator()(int64_t i, int64_t j) { return values[size_t(i * cols + j)]; }
  double operator()(int64_t i, int64_t j) const { return values[size_t(i * cols + j)]; }
};

Dense transposed(const Dense& a);
Dense times(const Dense& a, const Dense& b);
Dense identity(int64_t n);
// Gauss-Jordan with row exchanges.
Dense naive_solve(Dense a, Dense b);
Dense naive_cholesky(const Dense& a);
// Textbook elimination with row exchanges: p, l, u.
std::vector<Dense> naive_lu(const Dense& a);
// Gram-Schmidt, each column twice: q, r.
std::vector<Dense> naive_qr(const Dense& a);
// Jacobi's rotations from both sides: values (a column), vectors; and from one side: u, s (a column), vh.
std::vector<Dense> naive_eigh(Dense a);
std::vector<Dense> naive_svd(const Dense& a);
// By expansion along the first row.
double naive_det(const Dense& a);
// The series.
Dense naive_exp(const Dense& a);
// By the normal equations, for matrices of full rank.
Dense naive_pinv(const Dense& a);

}  // namespace tenrec::testing
