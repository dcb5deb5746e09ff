// Convolutions on CUDA: the library's, but for what is empty.
#include "tenrec/kernels/conv.h"
#include "tenrec/core/cuda/runtime.h"
#include "tenrec/kernels/cuda/dnn.h"
#include "tenrec/kernels/elementwise.h"

namespace tenrec::kernels {
namespace {

bool is_empty(const ConvShape& s) {
  return s.n * s.c_out * s.out_h * s.out_w == 0 || s.c_in * s.kh * s.kw == 0 || s.h * s.w == 0;
}

void zero(DType dtype, void* data, int64_t numel) {
  if (numel) TENREC_CUDA_CHECK(cudaMemsetAsync(data, 0, size_t(numel * size_of(dtype)), cuda::stream()));
}

}  // namespace

void conv2d(Cuda, DType dtype, const ConvShape& s, const void* x, const void* weight, const void* bias, void* y) {
  if (!is_empty(s)) return cuda::convolve(dtype, s, x, weight, bias, y, cuda::stream());
  zero(dtype, y, s.n * s.c_out * s.out_h * s.out_w);
  if (!bias || s.n * s.c_out * s.out_h * s.out_w == 0) return;
  const Shape channels{1, s.c_out, 1, 1}, out{s.n, s.c_out, s.out_h, s.out_w};
  const Strides from{0, 1, 0, 0}, to = contiguous_strides(out);
  copy(Cuda{}, View{const_cast<void*>(bias), &channels, &from, s.c_out, dtype, true},
       View{y, &out, &to, s.n * s.c_out * s.out_h * s.out_w, dtype, true});
}

void conv2d_input_grad(Cuda, DType dtype, const ConvShape& s, const void* dy, const void* weight, void* dx) {
  if (is_empty(s)) return zero(dtype, dx, s.n * s.c_in * s.h * s.w);
  cuda::convolve_input_grad(dtype, s, dy, weight, dx, cuda::stream());
}

void conv2d_weight_grad(Cuda, DType dtype, const ConvShape& s, const void* x, const void* dy, void* dweight) {
  if (is_empty(s)) return zero(dtype, dweight, s.c_out * (s.c_in / s.groups) * s.kh * s.kw);
  cuda::convolve_weight_grad(dtype, s, x, dy, dweight, cuda::stream());
}

}  // namespace tenrec::kernels
