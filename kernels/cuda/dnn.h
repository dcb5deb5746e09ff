// Convolutions by the vendor's library: cuDNN on a device (cudnn.cpp), the CPU's convolutions in its place on the
// emulator (tests/emulator/libraries.cpp). Internal.
#pragma once

#include <cuda_runtime_api.h>

#include "tenrec/kernels/conv.h"

namespace tenrec::cuda {

// As the functions of kernels/conv.h, on the stream; nothing is empty.
void convolve(DType dtype, const kernels::ConvShape& s, const void* x, const void* weight, const void* bias, void* y,
              cudaStream_t stream);
void convolve_input_grad(DType dtype, const kernels::ConvShape& s, const void* dy, const void* weight, void* dx,
                         cudaStream_t stream);
void convolve_weight_grad(DType dtype, const kernels::ConvShape& s, const void* x, const void* dy, void* dweight,
                          cudaStream_t stream);

size_t dnn_version();

}  // namespace tenrec::cuda
