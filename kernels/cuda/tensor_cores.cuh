// The tensor cores of Ampere and later, and what feeds them, as functions that a whole warp calls together. Internal.
//
// A product is 16 x 16 times 16 x 8 of bf16 or f16, added up in float (PTX: mma.m16n8k16). Its factors and its result
// lie in fragments: with g = lane / 4 and t = lane % 4, and two 16-bit elements to a word,
//
//   left   a[0] row g, columns 2t, 2t + 1    a[1] row g + 8    a[2] row g, columns 2t + 8, 2t + 9    a[3] both + 8
//   right  b[0] rows 2t, 2t + 1, column g    b[1] rows 2t + 8, 2t + 9
//   result d[0], d[1] row g, columns 2t, 2t + 1    d[2], d[3] row g + 8
//
// so the results of two neighbouring products, rounded, are the left fragment of the next. The emulator does the same
// with the lanes' registers, so a wrong fragment shows there. Source: PTX ISA, "Matrix fragments for mma.m16n8k16",
// "ldmatrix", "cp.async".
#pragma once

#include "tenrec/core/dtype.h"
#include "tenrec/kernels/cuda/kernel.h"

// Nothing on devices that lack these instructions, where has_tensor_cores() keeps such kernels from being launched.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define TENREC_AMPERE(...)
#else
#define TENREC_AMPERE(...) __VA_ARGS__
#endif

namespace tenrec::cuda {

// Two elements of T, the first in the lower half.
template <class T>
__device__ inline uint32_t pack2(float first, float second) {
#if defined(__CUDA_ARCH__)
  uint32_t word = 0;
  if constexpr (std::is_same_v<T, bfloat16>)
    TENREC_AMPERE(asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first)));
  else
    TENREC_AMPERE(asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first)));
  return word;
#else
  return uint32_t(T(first).bits) | uint32_t(T(second).bits) << 16;
#endif
}

// d += a b.
template <class T>
__device__ inline void multiply_add(float (&d)[4], const uint32_t (&a)[4], const uint32_t* b) {
  static_assert(std::is_same_v<T, bfloat16> || std::is_same_v<T, float16>);
#if defined(__CUDACC__)
  if constexpr (std::is_same_v<T, bfloat16>)
    TENREC_AMPERE(
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1])));
  else
    TENREC_AMPERE(
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1])));
#else
  const uint32_t mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  const uint32_t* all[kWarp];
  simt::gather(mine, 6, all, simt::Site::current());
  const auto half = [](uint32_t word, int k) {
    T value;
    value.bits = uint16_t(word >> (k % 2 * 16));
    return float(value);
  };
  const int lane = int(simt::lane());
  for (int e = 0; e < 4; ++e) {
    const int row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
    for (int k = 0; k < 16; ++k)
      d[e] +=
          half(all[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2], k) * half(all[column * 4 + k % 8 / 2][4 + k / 8], k);
  }
#endif
}

// Four 8 x 8 matrices of 16-bit elements from shared memory: lane l names a row of 16 bytes, that is row l % 8 of
// matrix l / 8; word m gets row g of matrix m, columns 2t and 2t + 1. `turned`: of the transposed matrices.
template <bool turned = false>
__device__ inline void load_matrices(uint32_t (&words)[4], const void* row) {
#if defined(__CUDACC__)
  const auto address = uint32_t(__cvta_generic_to_shared(row));
  if constexpr (turned)
    TENREC_AMPERE(asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                               : "r"(address)
                               : "memory"));
  else
    TENREC_AMPERE(asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                               : "r"(address)
                               : "memory"));
#else
  if (reinterpret_cast<uintptr_t>(row) % 16)
    simt::fault("a row of a matrix at an address that is not a multiple of 16", simt::Site::current());
  const auto address = reinterpret_cast<uintptr_t>(row);
  const uint32_t mine[2] = {uint32_t(address), uint32_t(address >> 32)};
  const uint32_t* all[kWarp];
  simt::gather(mine, 2, all, simt::Site::current());
  const int g = int(simt::lane()) / 4, t = int(simt::lane()) % 4;
  for (int m = 0; m < 4; ++m) {
    const auto at = [&](int r, int c) {
      const uintptr_t begin = uintptr_t(all[m * 8 + r][0]) | uintptr_t(all[m * 8 + r][1]) << 32;
      return uint32_t(reinterpret_cast<const uint16_t*>(begin)[c]);
    };
    words[m] = turned ? at(2 * t, g) | at(2 * t + 1, g) << 16 : at(g, 2 * t) | at(g, 2 * t + 1) << 16;
  }
  __syncwarp();  // none overwrites what another has not read
#endif
}

// Begins to copy 16 bytes of global memory to shared memory, or, unless `present`, 16 zeros. Both addresses must be
// multiples of 16. The bytes are there for this thread after wait_copies, for its block after a barrier that follows.
__device__ inline void copy16_async(void* to, const void* from, bool present) {
#if defined(__CUDACC__)
  TENREC_AMPERE(
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(uint32_t(__cvta_generic_to_shared(to))),
                   "l"(from), "r"(present ? 16 : 0)
                   : "memory"));
#else
  simt::copy_async(to, present ? from : nullptr, 16, simt::Site::current());
#endif
}
// The same with 4 bytes.
__device__ inline void copy4_async(void* to, const void* from, bool present) {
#if defined(__CUDACC__)
  TENREC_AMPERE(
      asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(uint32_t(__cvta_generic_to_shared(to))),
                   "l"(from), "r"(present ? 4 : 0)
                   : "memory"));
#else
  simt::copy_async(to, present ? from : nullptr, 4, simt::Site::current());
#endif
}
// Ends a group of copies.
__device__ inline void commit_copies() {
#if defined(__CUDACC__)
  TENREC_AMPERE(asm volatile("cp.async.commit_group;" ::: "memory"));
#else
  simt::commit_copies();
#endif
}
// Waits for this thread's groups, but for the last `pending`.
template <int pending>
__device__ inline void wait_copies() {
#if defined(__CUDACC__)
  TENREC_AMPERE(asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory"));
#else
  simt::wait_copies(pending);
#endif
}

}  // namespace tenrec::cuda
