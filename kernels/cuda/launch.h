// What the launchers of kernels share: grids, checks, and dtypes that are known only when a kernel runs. Internal.
#pragma once

#include <algorithm>
#include <limits>

#include "tenrec/core/cuda/runtime.h"
#include "tenrec/core/dtype.h"
#include "tenrec/core/shape.h"
#include "tenrec/core/view.h"
#include "tenrec/kernels/cuda/kernel.h"
#include "tenrec/kernels/tiles.h"

namespace tenrec::cuda {

constexpr int kThreads = 256;  // of a block, where nothing speaks for another number

// Blocks for a loop by the grid's stride over `n` pieces, each the work of a thread: as many as the device holds.
inline unsigned grid_for(int64_t n, int threads = kThreads) {
  const int64_t held = int64_t(multiprocessors()) * (2048 / threads);
  return unsigned(std::clamp<int64_t>(kernels::ceil_div(n, threads), 1, held));
}
// Blocks for `n` pieces, each the work of a block.
inline unsigned blocks_for(int64_t n) { return unsigned(std::clamp<int64_t>(n, 1, 0x7fffffff)); }

// Lets a kernel have dynamic shared memory beyond the 48 KiB that every kernel may have.
template <class... P>
void allow_shared(void (*kernel)(P...), size_t bytes) {
  TENREC_CUDA_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                         cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)));
}

// After a launch: throws what the runtime says of it.
#define TENREC_LAUNCH_CHECK() TENREC_CUDA_CHECK(cudaGetLastError())

// --- elements whose dtype is known only when the kernel runs ---------------------------------------------------------

// Float to integer truncates; NaN gives 0 and what is out of range the nearest end, as on the CPU.
template <class Int, class Float>
__device__ inline Int truncate(Float v) {
  constexpr Float low = Float(std::numeric_limits<Int>::min());
  const Float high = -low + (low == 0 ? Float(std::numeric_limits<Int>::max()) + 1 : 0);  // 2^bits, exact
  if (v != v) return 0;
  return v < low ? std::numeric_limits<Int>::min() : v >= high ? std::numeric_limits<Int>::max() : Int(v);
}

template <class To, class From>
__device__ inline To convert_to(From v) {
  if constexpr (std::is_same_v<From, To>)
    return v;
  else if constexpr (std::is_class_v<From>)
    return convert_to<To>(float(v));
  else if constexpr (std::is_same_v<To, bool>)
    return v != From(0);
  else if constexpr (std::is_class_v<To>)
    return To(float(v));
  else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>)
    return truncate<To>(v);
  else
    return To(v);
}

// Any byte may be a bool.
template <class T>
using Stored = std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>;

template <class To>
__device__ inline To load_as(const void* from, int64_t i, DType dtype) {
  switch (dtype) {
    case DType::f64:
      return convert_to<To>(static_cast<const double*>(from)[i]);
    case DType::f32:
      return convert_to<To>(static_cast<const float*>(from)[i]);
    case DType::bf16:
      return convert_to<To>(static_cast<const bfloat16*>(from)[i]);
    case DType::f16:
      return convert_to<To>(static_cast<const float16*>(from)[i]);
    case DType::i64:
      return convert_to<To>(static_cast<const int64_t*>(from)[i]);
    case DType::i32:
      return convert_to<To>(static_cast<const int32_t*>(from)[i]);
    case DType::u8:
      return convert_to<To>(static_cast<const uint8_t*>(from)[i]);
    default:
      return convert_to<To>(static_cast<const uint8_t*>(from)[i] != 0);
  }
}
template <class From>
__device__ inline void store_as(void* to, int64_t i, DType dtype, From v) {
  switch (dtype) {
    case DType::f64:
      static_cast<double*>(to)[i] = convert_to<double>(v);
      return;
    case DType::f32:
      static_cast<float*>(to)[i] = convert_to<float>(v);
      return;
    case DType::bf16:
      static_cast<bfloat16*>(to)[i] = convert_to<bfloat16>(v);
      return;
    case DType::f16:
      static_cast<float16*>(to)[i] = convert_to<float16>(v);
      return;
    case DType::i64:
      static_cast<int64_t*>(to)[i] = convert_to<int64_t>(v);
      return;
    case DType::i32:
      static_cast<int32_t*>(to)[i] = convert_to<int32_t>(v);
      return;
    case DType::u8:
      static_cast<uint8_t*>(to)[i] = convert_to<uint8_t>(v);
      return;
    default:
      static_cast<uint8_t*>(to)[i] = convert_to<bool>(v);
  }
}

// --- strided operands
// -------------------------------------------------------------------------------------------------

// Where element i of a space lies in each of K operands. Sizes of the last dimension vary fastest.
template <int K>
struct Offsets {
  int ndim = 0;
  bool short_index = true;  // everything fits 32 bits, whose division is much quicker
  int64_t sizes[kMaxDims];
  int64_t strides[kMaxDims][K];

  __device__ void at(int64_t i, int64_t (&offset)[K]) const {
    for (int k = 0; k < K; ++k) offset[k] = 0;
    if (short_index)
      add<uint32_t>(uint32_t(i), offset);
    else
      add<uint64_t>(uint64_t(i), offset);
  }

 private:
  template <class Index>
  __device__ void add(Index i, int64_t (&offset)[K]) const {
    for (int d = ndim - 1; d >= 0; --d) {
      const Index size = Index(sizes[d]), rest = i / size, at = i - rest * size;
      for (int k = 0; k < K; ++k) offset[k] += int64_t(at) * strides[d][k];
      i = rest;
    }
  }
};

template <int K>
Offsets<K> offsets_of(const Shape& shape, const Strides* strides) {
  Offsets<K> o;
  o.ndim = int(shape.ndim());
  int64_t numel = 1;
  for (int d = 0; d < o.ndim; ++d) {
    o.sizes[d] = shape[d];
    numel *= shape[d];
    for (int k = 0; k < K; ++k) o.strides[d][k] = strides[k][d];
  }
  o.short_index = numel <= INT32_MAX;
  return o;
}

}  // namespace tenrec::cuda
