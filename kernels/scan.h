// Scans: y_i is made of x_0 .. x_i along one dimension. x has any strides, y has x's shape and is contiguous.
//
// A line is scanned in order, f32, bf16 and f16 in double, integers in i64; each result is rounded once. NaN goes
// through all of them.
#pragma once

#include "tenrec/core/dispatch.h"
#include "tenrec/core/view.h"

namespace tenrec::kernels {

// `reverse`: of x_i .. x_n-1.
void cumsum(Cpu, const View& x, const View& y, int64_t dim, bool reverse);
void cumsum(Cuda, const View& x, const View& y, int64_t dim, bool reverse);
void cumprod(Cpu, const View& x, const View& y, int64_t dim);
void cumprod(Cuda, const View& x, const View& y, int64_t dim);
// log(sum(e^x)), stable.
void logcumsumexp(Cpu, const View& x, const View& y, int64_t dim);
void logcumsumexp(Cuda, const View& x, const View& y, int64_t dim);
// The largest (smallest) so far and its place, the last one at a tie. indices: i64, contiguous.
void cumextreme(Cpu, bool largest, const View& x, const View& y, const View& indices, int64_t dim);
void cumextreme(Cuda, bool largest, const View& x, const View& y, const View& indices, int64_t dim);

// Gradients in linear time. dy has any strides, y and dx are contiguous.
void cumprod_grad(Cpu, const View& x, const View& dy, const View& dx, int64_t dim);
void cumprod_grad(Cuda, const View& x, const View& dy, const View& dx, int64_t dim);
void logcumsumexp_grad(Cpu, const View& x, const View& y, const View& dy, const View& dx, int64_t dim);
void logcumsumexp_grad(Cuda, const View& x, const View& y, const View& dy, const View& dx, int64_t dim);

}  // namespace tenrec::kernels
