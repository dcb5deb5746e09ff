// Convolution (cross-correlation, as torch.nn calls it) and its two gradients on raw pointers, NCHW and contiguous.
//
//   x [n, c_in, h, w]   weight [c_out, c_in / groups, kh, kw]   bias [c_out]   y [n, c_out, out_h, out_w]
//
// A 1-d convolution is one of height 1. f64 f32 bf16 f16; the 16-bit types are summed in f32 and rounded once. The
// result never depends on the number of threads. Any size may be 0. The caller has checked that the sizes fit together
// (out_h = (h + 2 pad_h - dil_h (kh - 1) - 1) / stride_h + 1 and so on).
#pragma once

#include <cstdint>

#include "tenrec/core/dispatch.h"
#include "tenrec/core/dtype.h"

namespace tenrec::kernels {

struct ConvShape {
  int64_t n = 0, c_in = 0, h = 0, w = 0, c_out = 0, kh = 0, kw = 0;
  int64_t stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0, dil_h = 1, dil_w = 1, groups = 1;
  int64_t out_h = 0, out_w = 0;
};

// y = conv(x, weight) + bias; bias may be null.
void conv2d(Cpu, DType dtype, const ConvShape& shape, const void* x, const void* weight, const void* bias, void* y);
void conv2d(Cuda, DType dtype, const ConvShape& shape, const void* x, const void* weight, const void* bias, void* y);
// dx = the gradient of sum(y * dy) by x: also the transposed convolution of dy. Every element of dx is written.
void conv2d_input_grad(Cpu, DType dtype, const ConvShape& shape, const void* dy, const void* weight, void* dx);
void conv2d_input_grad(Cuda, DType dtype, const ConvShape& shape, const void* dy, const void* weight, void* dx);
// dweight = the gradient of sum(y * dy) by the weight. Every element of dweight is written.
void conv2d_weight_grad(Cpu, DType dtype, const ConvShape& shape, const void* x, const void* dy, void* dweight);
void conv2d_weight_grad(Cuda, DType dtype, const ConvShape& shape, const void* x, const void* dy, void* dweight);

}  // namespace tenrec::kernels
