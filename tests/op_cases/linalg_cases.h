// The rows of linear algebra, and the naive matrices that their references are made of.
//
// Inputs that need to be symmetric or positive definite are made so within a row's function, for only then is the
// derivative by a single element that of the op. Factors whose signs are free have them fixed by the op, and the
// references follow its rule.
#pragma once

#include <functional>

#include "op_cases/op_case.h"
#include "tenrec/autograd/ops/linalg.h"

namespace tenrec::testing {

void add_linalg_cases(const Add& add);
void add_spectral_cases(const Add& add);  // determinants, the exponential, spectra

// The matrices have condition numbers up to about 20, and errors are a few of those times the unit roundoff.
inline constexpr Tolerance kLinalgTolerance{.f64 = 1e-12, .f32 = 3e-5};
inline const std::vector<DType> kRealTypes{f64, f32};

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

// --- batches of them -------------------------------------------------------------------------------------------------

std::vector<Dense> matrices_of(const Array& a);
// Outputs of f for each matrix of a, each with the batch before it. Columns lose their last dimension where `vectors`
// has the output's number.
using PerMatrix = std::function<std::vector<Dense>(const Dense&)>;
std::vector<Array> for_each_matrix(const Array& a, const PerMatrix& f, const std::vector<size_t>& vectors = {});
// The same as the reference of a row, for its first input.
Reference reference_of_matrices(const PerMatrix& f, const std::vector<size_t>& vectors = {});

// (x + x^T) / 2 + shift.
Dense symmetric(const Dense& x, double shift);
Tensor symmetric(const Tensor& x, double shift);
// [batch, 3, 3]: elimination gets by without large multipliers, but not without exchanges.
Input regular(const Shape& batch);
// A batch of small matrices and a large one.
Bench batch_bench(double flops_per_matrix_cube);

}  // namespace tenrec::testing
