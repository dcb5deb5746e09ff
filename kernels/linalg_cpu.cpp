// Factorizations and solvers with Eigen. Its LU takes square matrices only, so that one is ours: right-looking by
// panels (G. H. Golub and C. F. Van Loan, Matrix Computations, 4th ed., 3.2.11), with Eigen's product and solver.
#include "tenrec/kernels/linalg_cpu_impl.h"

#include <Eigen/Cholesky>
#include <Eigen/QR>
#include <cmath>

namespace tenrec::kernels {
namespace {

// The order of the first leading minor that is not positive, by the definition; only asked for when there is one.
template <class T>
int32_t first_bad_minor(Matrix<T> a) {  // lower triangle
  for (int64_t j = 0; j < a.rows(); ++j) {
    const T pivot = a(j, j) - a.row(j).head(j).squaredNorm();
    if (!(pivot > 0)) return int32_t(j + 1);
    a(j, j) = std::sqrt(pivot);
    for (int64_t i = j + 1; i < a.rows(); ++i) a(i, j) = (a(i, j) - a.row(i).head(j).dot(a.row(j).head(j))) / a(j, j);
  }
  return int32_t(a.rows());  // rounding alone
}

template <class T, int kTriangle>
int32_t factor_cholesky(MatrixMap<T> a) {
  const Matrix<T> before = a;
  const Eigen::LLT<Eigen::Ref<Matrix<T>>, kTriangle> llt(a);
  bool positive = llt.info() == Eigen::Success;
  for (int64_t j = 0; j < a.rows() && positive; ++j) positive = a(j, j) > 0;  // Eigen lets NaN through
  if (positive) return 0;
  return first_bad_minor<T>(kTriangle == Eigen::Lower ? before : Matrix<T>(before.transpose()));
}

template <class T, class A>
void solve_with(const A& a, const Triangle& t, MatrixMap<T> b) {
  if (t.upper && t.unit)
    a.template triangularView<Eigen::UnitUpper>().solveInPlace(b);
  else if (t.upper)
    a.template triangularView<Eigen::Upper>().solveInPlace(b);
  else if (t.unit)
    a.template triangularView<Eigen::UnitLower>().solveInPlace(b);
  else
    a.template triangularView<Eigen::Lower>().solveInPlace(b);
}

// The first largest of |a(from.., j)|.
template <class T>
int64_t pivot_row(const MatrixMap<T>& a, int64_t j) {
  int64_t best = j;
  for (int64_t i = j + 1; i < a.rows(); ++i)
    if (std::abs(a(i, j)) > std::abs(a(best, j))) best = i;
  return best;
}

// Columns begin..end of the rows from `begin` on; whole rows are exchanged.
template <class T>
void factor_panel(MatrixMap<T>& a, int64_t begin, int64_t end, int32_t* pivots) {
  for (int64_t j = begin; j < end; ++j) {
    const int64_t p = pivot_row(a, j), below = a.rows() - j - 1, right = end - j - 1;
    pivots[j] = int32_t(p + 1);
    if (p != j) a.row(j).swap(a.row(p));
    if (a(j, j) != 0) a.col(j).tail(below) /= a(j, j);
    a.block(j + 1, j + 1, below, right).noalias() -= a.col(j).tail(below) * a.row(j).segment(j + 1, right);
  }
}

template <class T>
void factor_lu(MatrixMap<T> a, int32_t* pivots) {
  constexpr int64_t kPanel = 32;
  const int64_t least = std::min(a.rows(), a.cols());
  for (int64_t j = 0; j < least; j += kPanel) {
    const int64_t width = std::min(kPanel, least - j), below = a.rows() - j - width, right = a.cols() - j - width;
    factor_panel(a, j, j + width, pivots);
    if (right == 0) continue;
    auto beside = a.block(j, j + width, width, right);
    a.block(j, j, width, width).template triangularView<Eigen::UnitLower>().solveInPlace(beside);
    if (below > 0)
      a.block(j + width, j + width, below, right).noalias() -= a.block(j + width, j, below, width) * beside;
  }
}

template <class T>
void exchange_rows(MatrixMap<T>& b, const int32_t* pivots, bool backwards) {
  for (int64_t k = 0; k < b.rows(); ++k) {
    const int64_t i = backwards ? b.rows() - 1 - k : k, p = pivots[i] - 1;
    if (p != i) b.row(i).swap(b.row(p));
  }
}

}  // namespace

void cholesky(Cpu, const Matrices& s, bool upper, void* a, int32_t* info) {
  for_matrices("cholesky", s, [&](int64_t i, auto zero) {
    using T = decltype(zero);
    const auto matrix = matrix_at<T>(a, i, s.rows, s.rows);
    info[i] = upper ? factor_cholesky<T, Eigen::Upper>(matrix) : factor_cholesky<T, Eigen::Lower>(matrix);
  });
}

void solve_triangular(Cpu, const Matrices& s, const Triangle& t, bool shared, const void* a, void* b) {
  for_matrices("solve_triangular", s, [&](int64_t i, auto zero) {
    using T = decltype(zero);
    const auto matrix = matrix_at<T>(a, shared ? 0 : i, s.rows, s.rows);
    const auto right = matrix_at<T>(b, i, s.rows, s.cols);
    if (t.transposed)
      solve_with<T>(matrix.transpose(), {.upper = !t.upper, .unit = t.unit}, right);
    else
      solve_with<T>(matrix, t, right);
  });
}

void lu_factor(Cpu, const Matrices& s, void* a, int32_t* pivots) {
  for_matrices("lu_factor", s, [&](int64_t i, auto zero) {
    using T = decltype(zero);
    factor_lu<T>(matrix_at<T>(a, i, s.rows, s.cols), pivots + i * std::min(s.rows, s.cols));
  });
}

void lu_solve(Cpu, const Matrices& s, bool transposed, bool shared, const void* lu, const int32_t* pivots, void* b) {
  for_matrices("lu_solve", s, [&](int64_t i, auto zero) {
    using T = decltype(zero);
    const auto a = matrix_at<T>(lu, shared ? 0 : i, s.rows, s.rows);
    const int32_t* exchanges = pivots + (shared ? 0 : i * s.rows);
    auto right = matrix_at<T>(b, i, s.rows, s.cols);
    if (!transposed) exchange_rows<T>(right, exchanges, false);
    if (transposed) {
      solve_with<T>(a.transpose(), {.upper = false}, right);
      solve_with<T>(a.transpose(), {.upper = true, .unit = true}, right);
    } else {
      solve_with<T>(a, {.upper = false, .unit = true}, right);
      solve_with<T>(a, {.upper = true}, right);
    }
    if (transposed) exchange_rows<T>(right, exchanges, true);
  });
}

void qr(Cpu, const Matrices& s, void* a, void* r) {
  for_matrices("qr", s, [&](int64_t i, auto zero) {
    using T = decltype(zero);
    auto q = matrix_at<T>(a, i, s.rows, s.cols);
    const Eigen::HouseholderQR<Matrix<T>> factors(q);
    matrix_at<T>(r, i, s.cols, s.cols) =
        factors.matrixQR().topRows(s.cols).template triangularView<Eigen::Upper>().toDenseMatrix();
    q = factors.householderQ() * Matrix<T>::Identity(s.rows, s.cols);
  });
}

}  // namespace tenrec::kernels
