// Linear algebra, with the names and meanings of torch.linalg: factorizations, solvers, spectra and what is made of
// them.
//
// Matrices are the last two dimensions, everything before them is a batch; sizes of 0 are allowed everywhere. f32 and
// f64, else DTypeError (bf16 and f16: cast with x.to(f32)); under autocast f32. On the CPU a matrix is the work of one
// thread, so the bits do not depend on how many there are; a batch is shared out.
//
// What a matrix cannot be used for is a NumericError that names the op, the matrix's place in the batch and the fact:
// not positive definite, singular, not converged, or not finite where an iteration needs numbers (eigh, svd, eig and
// what stands on them). Elsewhere NaN and infinity go through as arithmetic takes them. To know it, the host waits for
// a device.
//
// Every op has derivatives of any order. Where one does not exist (equal eigenvalues, a change of rank) the op says
// what it gives instead.
#pragma once

#include <optional>

#include "tenrec/core/numeric_error.h"
#include "tenrec/core/tensor.h"

namespace tenrec {

// --- factorizations --------------------------------------------------------------------------------------------------

struct CholeskyOptions {
  bool upper = false;
};
// L with L L^T = a, zeros above the diagonal, from the lower triangle of a alone; or its transpose from the upper one.
// NumericError unless a is positive definite. The gradient is symmetric (I. Murray, "Differentiation of the Cholesky
// decomposition", 2016).
Tensor cholesky(const Tensor& a, const CholeskyOptions& options = {});

// a [..., m, n] = p l u with partial pivoting: p [..., m, m] a permutation, l [..., m, k] with ones on its diagonal, u
// [..., k, n], k = min(m, n). A singular matrix has factors too; where a pivot is 0 its derivative does not exist and
// is infinite or NaN. The gradient holds for the pivots as they are. On a device the host waits for the pivots.
struct LU {
  Tensor p, l, u;
};
LU lu(const Tensor& a);
// The same in one matrix, l below the diagonal and u on and above it. pivots [..., k], i32: row i was exchanged with
// row pivots[i] - 1, i = 0, 1, ... in turn, as LAPACK counts.
struct LUFactors {
  Tensor lu, pivots;
};
LUFactors lu_factor(const Tensor& a);

// a [..., m, n] = q r, q [..., m, k] with orthonormal columns, r [..., k, n] upper triangular, k = min(m, n). The
// diagonal of r is not negative, which makes the factors unique (LAPACK leaves the signs open). The gradient needs the
// first k columns of a to be independent, else NumericError. S. F. Walter and L. Lehmann, "Algorithmic differentiation
// of linear algebra functions with application in optimum experimental design" (2010).
struct QR {
  Tensor q, r;
};
QR qr(const Tensor& a);

// --- solvers ---------------------------------------------------------------------------------------------------------

// x with a x = b: a [..., n, n], b [..., n, k] -> [..., n, k], batches broadcast; or b [..., n], the batch of a before
// it, -> [..., n], as torch.linalg.solve tells them apart. NumericError for a singular matrix: one with a pivot of 0.
Tensor solve(const Tensor& a, const Tensor& b);

struct TriangularOptions {
  bool upper = false;
  bool left = true;            // a x = b, else x a = b
  bool unitriangular = false;  // ones on the diagonal, whatever stands there
};
// The same for a triangular matrix; the other triangle is not read. b is a matrix. NumericError for a 0 on the
// diagonal.
Tensor solve_triangular(const Tensor& a, const Tensor& b, const TriangularOptions& options = {});

// NumericError for a singular matrix.
Tensor inv(const Tensor& a);

// Which singular values count as 0: those up to max(atol, rtol times the largest). rtol is max(m, n) eps of the dtype
// unless given, and 0 where only an atol above 0 is. `hermitian`: a is symmetric, and its lower triangle is read.
struct RankOptions {
  std::optional<double> atol = {}, rtol = {};
  bool hermitian = false;
};
// The Moore-Penrose inverse [..., n, m] of a [..., m, n], from its singular values. The gradient holds where the rank
// does not change (G. H. Golub and V. Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares
// problems whose variables separate", 1973).
Tensor pinv(const Tensor& a, const RankOptions& options = {});
// How many singular values do not count as 0: i64, the batch's shape. No derivative.
Tensor matrix_rank(const Tensor& a, const RankOptions& options = {});

struct LstsqOptions {
  std::optional<double> rcond = {};  // singular values up to rcond times the largest count as 0; max(m, n) eps
};
struct Lstsq {
  Tensor solution;         // [..., n, k]
  Tensor residuals;        // sums of squares of b - a x, [..., k], also where the rank is below n; empty unless m > n
  Tensor rank;             // i64, the batch's shape
  Tensor singular_values;  // [..., min(m, n)]; no gradient
};
// The x of least norm among those that make the norm of a x - b least: a [..., m, n], b [..., m, k] or [..., m] as for
// solve. By singular values (LAPACK's gelsd), so any rank will do; the gradient holds where the rank does not change.
Lstsq lstsq(const Tensor& a, const Tensor& b, const LstsqOptions& options = {});

// --- determinants ----------------------------------------------------------------------------------------------------

// [..., n, n] -> [...]. The gradient is the matrix of cofactors, right for singular matrices too; second derivatives of
// a singular matrix: NumericError.
Tensor det(const Tensor& a);
// The sign of the determinant and the logarithm of its size, where the number itself would overflow: 0 and -infinity
// for a singular matrix, whose gradient is a NumericError.
struct SignLogDet {
  Tensor sign, logabsdet;
};
SignLogDet slogdet(const Tensor& a);

// --- functions -------------------------------------------------------------------------------------------------------

// e^a = 1 + a + a^2 / 2 + ..., by scaling, a Pade approximant and squaring (N. J. Higham, "The scaling and squaring
// method for the matrix exponential revisited", 2005), each matrix with its own scale. NaN all over for a matrix that
// is not finite. The gradient is a block of the exponential of a matrix of twice the size (R. Mathias, "A chain rule
// for matrix functions and applications", 1996).
Tensor matrix_exp(const Tensor& a);

// --- spectra ---------------------------------------------------------------------------------------------------------

// a = vectors diag(values) vectors^T from the lower triangle of a, which counts as symmetric. values [..., n] rise,
// vectors are columns; the first of the largest components of each is positive. The gradient is symmetric. Eigenvalues
// that differ by no more than n eps times the largest count as equal: vectors have no derivative within an eigenspace
// and that part is 0, so only functions that do not depend on the choice of vectors there have a gradient. M. B.
// Giles, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation" (2008).
struct Eigh {
  Tensor values, vectors;
};
Eigh eigh(const Tensor& a);
// eigh's values.
Tensor eigvalsh(const Tensor& a);

// a [..., m, n] = u diag(s) vh, u [..., m, k] and vh [..., k, n] with k = min(m, n), s [..., k] falling. The first of
// the largest components of each column of u is positive. The gradient by Giles (2008); where singular values differ by
// no more than max(m, n) eps times the largest, or are not above that, what eigh says of equal eigenvalues holds.
struct SVD {
  Tensor u, s, vh;
};
SVD svd(const Tensor& a);
// svd's s.
Tensor svdvals(const Tensor& a);

// Of any square matrix: a v = v diag(values). There are no complex dtypes, so real and imaginary parts are tensors of
// their own: values [..., n], in no order but that a complex pair stands together, the positive imaginary part first;
// vectors [..., n, n] are columns of norm 1 whose largest component is real and positive. Equal eigenvalues as in eigh;
// a matrix without n independent eigenvectors has no derivative, and rounding alone decides what comes instead.
struct Eig {
  Tensor values_real, values_imag, vectors_real, vectors_imag;
};
Eig eig(const Tensor& a);
struct Eigvals {
  Tensor real, imag;
};
Eigvals eigvals(const Tensor& a);

}  // namespace tenrec
