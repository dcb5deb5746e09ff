// Linear algebra by the vendor's library: cuSOLVER and cuBLAS on a device (cusolver.cpp), the CPU's kernels in its
// place on the emulator (tests/emulator/solver.cpp). Internal.
#pragma once

#include <cuda_runtime_api.h>

#include "tenrec/kernels/linalg.h"

namespace tenrec::cuda {

// As the functions of kernels/linalg.h, on the stream; all memory is the device's. Like cuSOLVER they store matrices by
// columns.
void factor_cholesky(const kernels::Matrices& s, bool upper, void* a, int32_t* info, cudaStream_t stream);
void solve_triangular(const kernels::Matrices& s, const kernels::Triangle& triangle, bool shared, const void* a,
                      void* b, cudaStream_t stream);
void factor_lu(const kernels::Matrices& s, void* a, int32_t* pivots, cudaStream_t stream);
void solve_lu(const kernels::Matrices& s, bool transposed, bool shared, const void* lu, const int32_t* pivots, void* b,
              cudaStream_t stream);
void factor_qr(const kernels::Matrices& s, void* a, void* r, cudaStream_t stream);
void solve_eigh(const kernels::Matrices& s, bool upper, bool vectors, void* a, void* values, int32_t* info,
                cudaStream_t stream);
void solve_svd(const kernels::Matrices& s, void* a, void* u, void* values, void* vt, int32_t* info,
               cudaStream_t stream);
void solve_eig(const kernels::Matrices& s, void* a, void* values, void* vectors, int32_t* info, cudaStream_t stream);

}  // namespace tenrec::cuda
