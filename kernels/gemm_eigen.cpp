#include "tenrec/kernels/gemm_eigen.h"

#include "tenrec/kernels/eigen_impl.h"

namespace tenrec::kernels {

template <class T>
void eigen_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
                int64_t ldb, bool accumulate, T* c, int64_t ldc) {
  using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Stride = Eigen::OuterStride<>;
  using In = Eigen::Map<const Matrix, 0, Stride>;
  Eigen::Map<Matrix, 0, Stride> out(c, m, n, Stride(ldc));
  const In left(a, trans_a ? k : m, trans_a ? m : k, Stride(lda));
  const In right(b, trans_b ? n : k, trans_b ? k : n, Stride(ldb));
  if (!accumulate) out.setZero();
  if (trans_a && trans_b)
    out.noalias() += left.transpose() * right.transpose();
  else if (trans_a)
    out.noalias() += left.transpose() * right;
  else if (trans_b)
    out.noalias() += left * right.transpose();
  else
    out.noalias() += left * right;
}

template void eigen_gemm(bool, bool, int64_t, int64_t, int64_t, const float*, int64_t, const float*, int64_t, bool,
                         float*, int64_t);
template void eigen_gemm(bool, bool, int64_t, int64_t, int64_t, const double*, int64_t, const double*, int64_t, bool,
                         double*, int64_t);

}  // namespace tenrec::kernels
