// CPU references behind the functions of cuBLASLt and cuDNN that Tenrec calls (kernels/cuda/blas.h, dnn.h). They run in
// the stream's order, like a launch, and may touch device memory as one may.
#include "emulator/device_memory.h"
#include "emulator/runtime.h"
#include "tenrec/kernels/cuda/blas.h"
#include "tenrec/kernels/cuda/dnn.h"

namespace tenrec::cuda {
namespace {

template <class F>
void call_library(cudaStream_t stream, const char* name, F&& f) {
  simt::enqueue(stream, [name, f] { simt::DeviceMemory::instance().launch(name, f); });
}

}  // namespace

void multiply(const Product& p, const void* a, const void* b, void* c, const kernels::GemmEpilogue& epilogue,
              cudaStream_t stream) {
  call_library(stream, "cublasLtMatmul", [=] {
    const int64_t size = size_of(p.dtype);
    for (int64_t i = 0; i < p.batch; ++i)
      kernels::gemm(Cpu{}, p.dtype, p.shape, static_cast<const char*>(a) + i * p.a_stride * size,
                    static_cast<const char*>(b) + i * p.b_stride * size, static_cast<char*>(c) + i * p.c_stride * size,
                    epilogue);
  });
}

void convolve(DType dtype, const kernels::ConvShape& s, const void* x, const void* weight, const void* bias, void* y,
              cudaStream_t stream) {
  call_library(stream, "cudnnConvolutionForward", [=] { kernels::conv2d(Cpu{}, dtype, s, x, weight, bias, y); });
}
void convolve_input_grad(DType dtype, const kernels::ConvShape& s, const void* dy, const void* weight, void* dx,
                         cudaStream_t stream) {
  call_library(stream, "cudnnConvolutionBackwardData",
               [=] { kernels::conv2d_input_grad(Cpu{}, dtype, s, dy, weight, dx); });
}
void convolve_weight_grad(DType dtype, const kernels::ConvShape& s, const void* x, const void* dy, void* dweight,
                          cudaStream_t stream) {
  call_library(stream, "cudnnConvolutionBackwardFilter",
               [=] { kernels::conv2d_weight_grad(Cpu{}, dtype, s, x, dy, dweight); });
}

}  // namespace tenrec::cuda
