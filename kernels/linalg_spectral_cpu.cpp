// Eigenvalues and singular values with Eigen.
#include "tenrec/kernels/linalg_cpu_impl.h"

#include <Eigen/Eigenvalues>
#include <Eigen/SVD>
#include <cmath>

namespace tenrec::kernels {
namespace {

int32_t info_of(Eigen::ComputationInfo info) { return info == Eigen::Success ? 0 : 1; }

// To norm 1, the two columns of a complex pair together.
template <class T>
void normalize_columns(MatrixMap<T> v, const T* imaginary) {
  for (int64_t j = 0; j < v.cols(); ++j) {
    const int64_t width = imaginary[j] == 0 ? 1 : 2;
    auto columns = v.middleCols(j, width);
    columns /= std::hypot(columns.col(0).stableNorm(), width == 2 ? columns.col(1).stableNorm() : T(0));
    j += width - 1;
  }
}

}  // namespace

void eigh(Cpu, const Matrices& s, bool upper, bool vectors, void* a, void* values, int32_t* info) {
  for_matrices("eigh", s, [&](int64_t i, auto zero) {
    using T = decltype(zero);
    auto matrix = matrix_at<T>(a, i, s.rows, s.rows);
    const Matrix<T> lower = upper ? Matrix<T>(matrix.transpose()) : Matrix<T>(matrix);  // Eigen reads that triangle
    const Eigen::SelfAdjointEigenSolver<Matrix<T>> solver(
        lower, vectors ? Eigen::ComputeEigenvectors : Eigen::EigenvaluesOnly);
    info[i] = info_of(solver.info());
    if (info[i]) return;
    VectorMap<T>(static_cast<T*>(values) + i * s.rows, s.rows) = solver.eigenvalues();
    if (vectors) matrix = solver.eigenvectors();
  });
}

void svd(Cpu, const Matrices& s, void* a, void* u, void* values, void* vt, int32_t* info) {
  const unsigned wanted = u ? unsigned(Eigen::ComputeThinU | Eigen::ComputeThinV) : 0u;
  for_matrices("svd", s, [&](int64_t i, auto zero) {
    using T = decltype(zero);
    const Matrix<T> matrix = matrix_at<T>(a, i, s.rows, s.cols);
    const Eigen::BDCSVD<Matrix<T>> solver(matrix, wanted);
    info[i] = info_of(solver.info());
    if (info[i]) return;
    VectorMap<T>(static_cast<T*>(values) + i * s.cols, s.cols) = solver.singularValues();
    if (!u) return;
    matrix_at<T>(u, i, s.rows, s.cols) = solver.matrixU();
    matrix_at<T>(vt, i, s.cols, s.cols) = solver.matrixV().transpose();
  });
}

void eig(Cpu, const Matrices& s, void* a, void* values, void* vectors, int32_t* info) {
  for_matrices("eig", s, [&](int64_t i, auto zero) {
    using T = decltype(zero);
    const Matrix<T> matrix = matrix_at<T>(a, i, s.rows, s.rows);
    const Eigen::EigenSolver<Matrix<T>> solver(matrix, vectors != nullptr);
    info[i] = info_of(solver.info());
    if (info[i]) return;
    T* const real = static_cast<T*>(values) + i * 2 * s.rows;
    VectorMap<T>(real, s.rows) = solver.eigenvalues().real();
    VectorMap<T>(real + s.rows, s.rows) = solver.eigenvalues().imag();
    if (!vectors) return;
    auto v = matrix_at<T>(vectors, i, s.rows, s.rows);
    v = solver.pseudoEigenvectors();
    normalize_columns<T>(v, real + s.rows);
  });
}

}  // namespace tenrec::kernels
