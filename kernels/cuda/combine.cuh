// The types and operations in which scans and scatters combine elements: double for all floating dtypes, i64, which
// wraps round, for integers.
#pragma once

#include "tenrec/kernels/cuda/launch.h"

namespace tenrec::cuda {

// Calls f with a zero of the type.
template <class F>
void visit_combined(DType t, F&& f) {
  if (is_floating(t))
    f(double{});
  else
    f(int64_t{});
}

struct WideAdd {
  __device__ double operator()(double a, double b) const { return a + b; }
  __device__ int64_t operator()(int64_t a, int64_t b) const { return int64_t(uint64_t(a) + uint64_t(b)); }
};
struct WideMultiply {
  __device__ double operator()(double a, double b) const { return a * b; }
  __device__ int64_t operator()(int64_t a, int64_t b) const { return int64_t(uint64_t(a) * uint64_t(b)); }
};

}  // namespace tenrec::cuda
