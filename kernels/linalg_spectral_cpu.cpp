// Eigenvalues and singular values with Eigen.
#include <Eigen/Eigenvalues>
#include <Eigen/SVD>

#include "tenrec/kernels/linalg_eigen.h"

namespace tenrec::kernels {
namespace {

int32_t info_of(Eigen::ComputationInfo info) { return info == Eigen::Success ? 0 : 1; }

template <class T>
void store_complex(const Eigen::Matrix<std::complex<T>, Eigen::Dynamic, Eigen::Dynamic>& from, T* to) {
  const int64_t n = from.size();
  for (int64_t i = 0; i < n; ++i) {
    to[i] = from.data()[i].real();
    to[n + i] = from.data()[i].imag();
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
    store_complex<T>(solver.eigenvalues(), static_cast<T*>(values) + i * 2 * s.rows);
    if (vectors) store_complex<T>(solver.eigenvectors(), static_cast<T*>(vectors) + i * 2 * s.rows * s.rows);
  });
}

}  // namespace tenrec::kernels
