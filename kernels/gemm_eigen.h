// Eigen's matrix product on one thread, for gemm_cpu.cpp. Internal.
#pragma once

#include <cstdint>

namespace tenrec::kernels {

// C = (accumulate ? C : 0) + op(A) op(B), row major. T is float or double.
template <class T>
void eigen_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
                int64_t ldb, bool accumulate, T* c, int64_t ldc);

extern template void eigen_gemm(bool, bool, int64_t, int64_t, int64_t, const float*, int64_t, const float*, int64_t,
                                bool, float*, int64_t);
extern template void eigen_gemm(bool, bool, int64_t, int64_t, int64_t, const double*, int64_t, const double*, int64_t,
                                bool, double*, int64_t);

}  // namespace tenrec::kernels
