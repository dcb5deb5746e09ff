// Scans of integers by CUB: one pass over memory, each tile looking back at those before it. Floor: every element is
// read and written once.
#include <cub/device/device_scan.cuh>

#include "tenrec/core/cuda/runtime.h"
#include "tenrec/kernels/cuda/cub.h"

namespace tenrec::cuda {
namespace {

// run(memory, bytes): asks for the bytes when memory is null.
template <class Run>
void with_temporary(const Run& run) {
  size_t bytes = 0;
  TENREC_CUDA_CHECK(run(nullptr, bytes));
  const Buffer<char> memory{int64_t(bytes)};
  TENREC_CUDA_CHECK(run(memory.data(), bytes));
}

}  // namespace

void exclusive_sum(const int64_t* x, int64_t* sums, int64_t n, cudaStream_t stream) {
  with_temporary(
      [&](void* memory, size_t& bytes) { return cub::DeviceScan::ExclusiveSum(memory, bytes, x, sums, n, stream); });
}
void inclusive_sum(const int64_t* x, int64_t* sums, int64_t n, cudaStream_t stream) {
  with_temporary(
      [&](void* memory, size_t& bytes) { return cub::DeviceScan::InclusiveSum(memory, bytes, x, sums, n, stream); });
}

}  // namespace tenrec::cuda
