// Pooling over windows of planes. Fixed and adaptive pools differ only in their windows, so the kernels take those.
#pragma once

#include <cstdint>
#include <vector>

#include "tenrec/core/dispatch.h"
#include "tenrec/core/dtype.h"

namespace tenrec::kernels {

// Window i along one side: elements begin[i], begin[i] + step, ... below end[i], already cut to the plane.
struct Windows {
  int64_t size = 0;  // of the plane along this side
  int64_t step = 1;
  std::vector<int32_t> begin, end;
  int64_t count() const { return int64_t(begin.size()); }
};

// x [planes, rows.size, cols.size] -> y [planes, rows.count, cols.count]. `indices` (i32) gets the place of each
// maximum within its plane; the first of equals, and a NaN beats everything.
void max_pool(Cpu, DType dtype, int64_t planes, const Windows& rows, const Windows& cols, const void* x, void* y,
              int32_t* indices);
void max_pool(Cuda, DType dtype, int64_t planes, const Windows& rows, const Windows& cols, const void* x, void* y,
              int32_t* indices);
// A plane of x and of y. `halving`: the windows are "kernel 2, stride 2" without padding, by far the most common.
struct PooledPlane {
  int64_t rows, cols, out_rows, out_cols;
  bool halving;
  TENREC_HD int64_t area() const { return rows * cols; }
  TENREC_HD int64_t outputs() const { return out_rows * out_cols; }
};
bool is_halving(const Windows& rows, const Windows& cols);
// dx = 0, then dx[indices] += dy.
void pool_scatter(Cpu, DType dtype, int64_t planes, const PooledPlane& plane, const void* dy, const int32_t* indices,
                  void* dx);
void pool_scatter(Cuda, DType dtype, int64_t planes, const PooledPlane& plane, const void* dy, const int32_t* indices,
                  void* dx);
// y = x[indices], the transpose of pool_scatter.
void pool_gather(Cpu, DType dtype, int64_t planes, int64_t area, int64_t outputs, const void* x, const int32_t* indices,
                 void* y);
void pool_gather(Cuda, DType dtype, int64_t planes, int64_t area, int64_t outputs, const void* x,
                 const int32_t* indices, void* y);
// Sums over windows divided by `divisor[i * cols.count + j]`, and the transpose of that.
void avg_pool(Cpu, DType dtype, int64_t planes, const Windows& rows, const Windows& cols, const float* divisor,
              const void* x, void* y);
void avg_pool(Cuda, DType dtype, int64_t planes, const Windows& rows, const Windows& cols, const float* divisor,
              const void* x, void* y);
void avg_pool_grad(Cpu, DType dtype, int64_t planes, const Windows& rows, const Windows& cols, const float* divisor,
                   const void* dy, void* dx);
void avg_pool_grad(Cuda, DType dtype, int64_t planes, const Windows& rows, const Windows& cols, const float* divisor,
                   const void* dy, void* dx);

}  // namespace tenrec::kernels
