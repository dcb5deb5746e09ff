// Matrix products by the vendor's library: cuBLASLt on a device (cublas.cpp), the CPU's products in its place on the
// emulator (tests/emulator/libraries.cpp). Internal.
#pragma once

#include <cuda_runtime_api.h>

#include "tenrec/kernels/gemm.h"

namespace tenrec::cuda {

// `batch` products whose operands lie a fixed number of elements apart. f64 f32 bf16 f16, k > 0, nothing empty.
struct Product {
  DType dtype = f32;
  kernels::GemmShape shape = {};
  int64_t batch = 1, a_stride = 0, b_stride = 0, c_stride = 0;
};

// C = relu?(op(A) op(B) + (accumulate ? C : 0) + bias), row major, on the stream.
void multiply(const Product& p, const void* a, const void* b, void* c, const kernels::GemmEpilogue& epilogue,
              cudaStream_t stream);

// As kernels::fused_gemm, on the stream.
bool multiply_fused(const Product& p, const void* a, const void* b, void* c, const kernels::GemmFusion& fusion,
                    cudaStream_t stream);

}  // namespace tenrec::cuda
