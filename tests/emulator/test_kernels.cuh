// Kernels for the emulator's own tests: right ones, and ones with the faults that it must find. Compiled by g++ into
// emulator_test; nvcc must take them too.
#pragma once

#include "tenrec/kernels/cuda/kernel.h"
#include "tenrec/kernels/cuda/tensor_cores.cuh"

namespace tenrec::cuda {

struct Plus {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

__global__ void square(const float* x, float* y, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) y[i] = x[i] * x[i];
}

// One sum a block.
__global__ void block_sums(const float* x, float* sums, int64_t n) {
  float sum = 0;
  for (int64_t i = grid_start(); i < n; i += grid_stride()) sum += x[i];
  sum = block_reduce(sum, 0.0f, Plus{});
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void scan(const int64_t* x, int64_t* y, int n) {
  const int i = int(threadIdx.x);
  const int64_t sum = block_scan(i < n ? x[i] : int64_t(0), int64_t(0), Plus{});
  if (i < n) y[i] = sum;
}

__global__ void turn_round(const int* x, int* y) {
  TENREC_DYNAMIC_SHARED(int, tile);
  const int i = int(threadIdx.x), n = int(blockDim.x);
  tile[i] = x[int(blockIdx.x) * n + i];
  __syncthreads();
  y[int(blockIdx.x) * n + i] = tile[n - 1 - i];
}

__global__ void count_votes(const int* x, unsigned* votes) {
  const unsigned bits = __ballot_sync(kAllLanes, x[threadIdx.x] > 0);
  if (threadIdx.x % kWarp == 0) atomicAdd(votes, unsigned(__popc(bits)));
}

// Threads past the end leave before the barrier, which is allowed.
__global__ void leave_early(const int* x, int* y, int n) {
  TENREC_SHARED(int, values, 256);
  const int i = int(threadIdx.x);
  if (i >= n) return;
  values[i] = x[i];
  __syncthreads();
  y[i] = values[n - 1 - i];
}

__global__ void halve(const __nv_bfloat16* x, __nv_bfloat16* y, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) y[i] = __float2bfloat16(0.5f * __bfloat162float(x[i]));
}

__global__ void copy16(const float* x, float* y, int64_t n) {
  constexpr int kCount = Pack16<float>::kCount;
  for (int64_t i = grid_start() * kCount; i < n; i += grid_stride() * kCount) store16(y + i, load16(x + i));
}

// y = a b by one warp: a [16, 16]; b [16, 16], or [16, 16] transposed.
template <class T, bool transposed>
__global__ void multiply_16(const T* a, const T* b, float* y) {
  TENREC_DYNAMIC_SHARED(T, shared);
  const int lane = int(threadIdx.x), row = lane % 16, column = lane / 16 * 8;
  copy16_async(shared + row * 16 + column, a + row * 16 + column, true);
  commit_copies();
  copy16_async(shared + 256 + row * 16 + column, b + row * 16 + column, true);
  commit_copies();
  wait_copies<0>();
  __syncthreads();
  uint32_t left[4], right[4];
  load_matrices(left, shared + row * 16 + column);
  if (transposed)
    load_matrices(right, shared + 256 + (lane % 8 + lane / 16 * 8) * 16 + lane / 8 % 2 * 8);
  else
    load_matrices<true>(right, shared + 256 + row * 16 + column);
  for (int tile = 0; tile < 2; ++tile) {
    float d[4] = {};
    multiply_add<T>(d, left, right + 2 * tile);
    for (int e = 0; e < 4; ++e) y[(lane / 4 + e / 2 * 8) * 16 + tile * 8 + lane % 4 * 2 + e % 2] = d[e];
  }
}

// A row of 16 floats comes to shared memory with or without a wait for its last group, and each lane reads one.
template <int pending>
__global__ void copy_and_wait(const float* x, float* y) {
  TENREC_DYNAMIC_SHARED(float, shared);
  const int lane = int(threadIdx.x);
  if (lane < 4) copy16_async(shared + 4 * lane, x + 4 * lane, lane < 3);
  commit_copies();
  wait_copies<pending>();
  __syncthreads();
  if (lane < 16) y[lane] = shared[lane];
}

// --- faults ---------------------------------------------------------------------------------------------------------

__global__ void missing_barrier(int* y) {
  TENREC_SHARED(int, values, 256);
  const int i = int(threadIdx.x), n = int(blockDim.x);
  values[i] = i;
  y[i] = values[(i + 1) % n];
}

// A second round writes what slower warps still read.
__global__ void write_after_read(int* y, int rounds) {
  TENREC_SHARED(int, values, 256);
  const int i = int(threadIdx.x), n = int(blockDim.x);
  int sum = 0;
  for (int r = 0; r < rounds; ++r) {
    values[i] = i + r;
    __syncthreads();
    sum += values[(i + kWarp) % n];  // and here a barrier is missing
  }
  y[i] = sum;
}

__global__ void barrier_in_a_branch(int* y) {
  if (threadIdx.x < 16) {
    __syncthreads();
    y[threadIdx.x] = 1;
  } else {
    __syncthreads();
    y[threadIdx.x] = 2;
  }
}

__global__ void one_too_far(float* y, int64_t n) {
  for (int64_t i = grid_start(); i <= n; i += grid_stride()) y[i] = 1;
}

__global__ void one_too_far_shared(float* y) {
  TENREC_SHARED(float, values, 64);
  values[threadIdx.x + 1] = 1;
  __syncthreads();
  y[threadIdx.x] = values[threadIdx.x];
}

// Half of a warp works, all of it is named.
__global__ void wrong_mask(float* y) {
  float value = float(threadIdx.x);
  if (threadIdx.x % kWarp < 16) value += __shfl_xor_sync(kAllLanes, value, 1);
  y[threadIdx.x] = value;
}
// And a lane that the mask leaves out.
__global__ void lane_out_of_mask(float* y) { y[threadIdx.x] = __shfl_sync(0x0000ffffu, 1.0f, 0); }
__global__ void reads_a_lane_out_of_mask(float* y) {
  if (threadIdx.x < 16) y[threadIdx.x] = __shfl_down_sync(0x0000ffffu, 1.0f, 8);
}

__global__ void index_of_32_bits(float* y, int64_t n) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);  // negative from 2^31 on
  if (i < n && threadIdx.x == 1) y[i % 64] = float(i);
}

__global__ void reads_unwritten_shared(float* y) {
  TENREC_SHARED(float, values, 64);
  if (threadIdx.x < 32) values[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = values[threadIdx.x];
}

// The next round's copy begins before all have read this one's.
__global__ void copies_over_what_is_read(const int* x, int* y, int rounds) {
  TENREC_DYNAMIC_SHARED(int, shared);
  const int i = int(threadIdx.x), n = int(blockDim.x);
  int sum = 0;
  for (int r = 0; r < rounds; ++r) {
    copy16_async(shared + 4 * i, x + (r * n + i) * 4, true);
    commit_copies();
    wait_copies<0>();
    __syncthreads();
    sum += shared[(4 * i + 2 * n) % (4 * n)];  // and here a barrier is missing
  }
  y[i] = sum;
}

__global__ void row_of_a_matrix_at_an_odd_place(float* y) {
  TENREC_DYNAMIC_SHARED(uint16_t, shared);
  uint32_t words[4];
  load_matrices(words, shared + threadIdx.x * 4);
  y[threadIdx.x] = float(words[0]);
}

__global__ void missing_tail(const float* x, float* y, int64_t n) {
  constexpr int kCount = Pack16<float>::kCount;
  for (int64_t i = grid_start() * kCount; i + kCount <= n; i += grid_stride() * kCount) store16(y + i, load16(x + i));
}

}  // namespace tenrec::cuda
