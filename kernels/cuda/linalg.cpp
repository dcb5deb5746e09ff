// Linear algebra on CUDA: the library's, on the calling thread's stream.
#include "tenrec/kernels/linalg.h"

#include "tenrec/core/cuda/runtime.h"
#include "tenrec/kernels/cuda/solver.h"

namespace tenrec::kernels {

void cholesky(Cuda, const Matrices& s, bool upper, void* a, int32_t* info) {
  cuda::factor_cholesky(s, upper, a, info, cuda::stream());
}
void solve_triangular(Cuda, const Matrices& s, const Triangle& triangle, bool shared, const void* a, void* b) {
  cuda::solve_triangular(s, triangle, shared, a, b, cuda::stream());
}
void lu_factor(Cuda, const Matrices& s, void* a, int32_t* pivots) { cuda::factor_lu(s, a, pivots, cuda::stream()); }
void lu_solve(Cuda, const Matrices& s, bool transposed, bool shared, const void* lu, const int32_t* pivots, void* b) {
  cuda::solve_lu(s, transposed, shared, lu, pivots, b, cuda::stream());
}
void qr(Cuda, const Matrices& s, void* a, void* r) { cuda::factor_qr(s, a, r, cuda::stream()); }
void eigh(Cuda, const Matrices& s, bool upper, bool vectors, void* a, void* values, int32_t* info) {
  cuda::solve_eigh(s, upper, vectors, a, values, info, cuda::stream());
}
void svd(Cuda, const Matrices& s, void* a, void* u, void* values, void* vt, int32_t* info) {
  cuda::solve_svd(s, a, u, values, vt, info, cuda::stream());
}
void eig(Cuda, const Matrices& s, void* a, void* values, void* vectors, int32_t* info) {
  cuda::solve_eig(s, a, values, vectors, info, cuda::stream());
}

}  // namespace tenrec::kernels
