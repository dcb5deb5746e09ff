// CPU kernels behind the functions of cuSOLVER and cuBLAS that Tenrec calls (kernels/cuda/solver.h), in the stream's
// order.
#include "tenrec/kernels/cuda/solver.h"

#include "emulator/library_call.h"

namespace tenrec::cuda {

using kernels::Matrices;
using simt::call_library;

void factor_cholesky(const Matrices& s, bool upper, void* a, int32_t* info, cudaStream_t stream) {
  call_library(stream, "cusolverDnXpotrf", [=] { kernels::cholesky(Cpu{}, s, upper, a, info); });
}
void solve_triangular(const Matrices& s, const kernels::Triangle& triangle, bool shared, const void* a, void* b,
                      cudaStream_t stream) {
  call_library(stream, "cublasDtrsm", [=] { kernels::solve_triangular(Cpu{}, s, triangle, shared, a, b); });
}
void factor_lu(const Matrices& s, void* a, int32_t* pivots, cudaStream_t stream) {
  call_library(stream, "cusolverDnDgetrf", [=] { kernels::lu_factor(Cpu{}, s, a, pivots); });
}
void solve_lu(const Matrices& s, bool transposed, bool shared, const void* lu, const int32_t* pivots, void* b,
              cudaStream_t stream) {
  call_library(stream, "cusolverDnDgetrs", [=] { kernels::lu_solve(Cpu{}, s, transposed, shared, lu, pivots, b); });
}
void factor_qr(const Matrices& s, void* a, void* r, cudaStream_t stream) {
  call_library(stream, "cusolverDnDgeqrf", [=] { kernels::qr(Cpu{}, s, a, r); });
}
void solve_eigh(const Matrices& s, bool upper, bool vectors, void* a, void* values, int32_t* info,
                cudaStream_t stream) {
  call_library(stream, "cusolverDnXsyevd", [=] { kernels::eigh(Cpu{}, s, upper, vectors, a, values, info); });
}
void solve_svd(const Matrices& s, void* a, void* u, void* values, void* vt, int32_t* info, cudaStream_t stream) {
  call_library(stream, "cusolverDnXgesvd", [=] { kernels::svd(Cpu{}, s, a, u, values, vt, info); });
}
void solve_eig(const Matrices& s, void* a, void* values, void* vectors, int32_t* info, cudaStream_t stream) {
  call_library(stream, "cusolverDnXgeev", [=] { kernels::eig(Cpu{}, s, a, values, vectors, info); });
}

}  // namespace tenrec::cuda
