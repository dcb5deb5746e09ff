// The one header of a kernel file. The same source is compiled by nvcc for the device and by g++ for the emulator
// (tests/emulator/), so launches and shared memory go through macros and never through <<<>>> and __shared__.
//
//   TENREC_SHARED(float, sums, 32);           an array of the block
//   TENREC_DYNAMIC_SHARED(float, tile);       the launch's dynamic shared memory
//   TENREC_LAUNCH(kernel, grid, block, shared_bytes, stream, arguments...);
//
// Indices are 64 bits, loops go by the stride of the grid, arithmetic on bf16 and f16 is done in float. Every warp
// operation names its lanes.
#pragma once

#include <cuda_runtime_api.h>
// After the line above, before our own names for the keywords.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#if defined(__CUDACC__)

#define TENREC_SHARED(T, name, n) __shared__ T name[n]
#define TENREC_DYNAMIC_SHARED(T, name)                        \
  extern __shared__ __align__(16) unsigned char name##_raw[]; \
  T* const name = reinterpret_cast<T*>(name##_raw)
#define TENREC_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__)

#else

#include "emulator/runtime.h"

#define TENREC_SHARED(T, name, n)   \
  static const char name##_tag = 0; \
  T* const name = static_cast<T*>(::tenrec::simt::shared_array(&name##_tag, #name, sizeof(T) * (n), alignof(T)))
#define TENREC_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(::tenrec::simt::dynamic_shared())
#define TENREC_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                         \
  ::tenrec::simt::launch(::tenrec::simt::Launch{#kernel, grid, block, size_t(shared_bytes)}, stream, &kernel, \
                         __VA_ARGS__)

#endif

namespace tenrec::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

__device__ inline int64_t grid_start() { return int64_t(blockIdx.x) * int64_t(blockDim.x) + int64_t(threadIdx.x); }
__device__ inline int64_t grid_stride() { return int64_t(gridDim.x) * int64_t(blockDim.x); }

// combine over the 32 lanes of a full warp; every lane gets the result. The tree is fixed, so the bits are too.
template <class T, class Op>
__device__ T warp_reduce(T value, Op combine) {
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) value = combine(value, __shfl_xor_sync(kAllLanes, value, lanes));
  return value;
}

// combine over a block of whole warps, at most 1024 threads; every thread gets the result. `identity` fills up what
// is missing in the last step. Two barriers.
template <class T, class Op>
__device__ T block_reduce(T value, T identity, Op combine) {
  TENREC_SHARED(T, parts, kWarp);
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp, warps = int(blockDim.x) / kWarp;
  value = warp_reduce(value, combine);
  __syncthreads();  // an earlier call may still be reading
  if (lane == 0) parts[warp] = value;
  __syncthreads();
  return warp_reduce(lane < warps ? parts[lane] : identity, combine);
}

// The combination of the values of this thread and all before it, over a block of whole warps. Two barriers.
template <class T, class Op>
__device__ T block_scan(T value, T identity, Op combine) {
  TENREC_SHARED(T, parts, kWarp);
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const T before = __shfl_up_sync(kAllLanes, value, unsigned(distance));
    if (lane >= distance) value = combine(before, value);
  }
  __syncthreads();  // an earlier call may still be reading
  if (lane == kWarp - 1) parts[warp] = value;
  __syncthreads();
  T before = identity;
  for (int w = 0; w < warp; ++w) before = combine(before, parts[w]);
  return combine(before, value);
}

// 16 bytes at once, which is what memory likes best. The address must be a multiple of 16.
template <class T>
struct alignas(16) Pack16 {
  static constexpr int kCount = 16 / int(sizeof(T));
  T values[kCount];
};
template <class T>
__device__ Pack16<T> load16(const T* from) {
#if !defined(__CUDACC__)
  if (reinterpret_cast<uintptr_t>(from) % 16)
    simt::fault("a 16-byte load from an address that is not a multiple of 16", simt::Site::current());
#endif
  return *reinterpret_cast<const Pack16<T>*>(from);
}
template <class T>
__device__ void store16(T* to, const Pack16<T>& pack) {
#if !defined(__CUDACC__)
  if (reinterpret_cast<uintptr_t>(to) % 16)
    simt::fault("a 16-byte store to an address that is not a multiple of 16", simt::Site::current());
#endif
  *reinterpret_cast<Pack16<T>*>(to) = pack;
}

}  // namespace tenrec::cuda
