// Philox on all lanes: the words of consecutive blocks, in their order. Included only by the random kernels.
//
// A vector of 64-bit lanes holds one word of as many blocks. A lane's upper half may hold anything: the 32-bit multiply
// does not read it. A round is then two multiplies, two shifts and four exclusive-ors. Two or four vectors go side by
// side, because one alone would wait for its multiplies.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "tenrec/core/random.h"
#include "tenrec/kernels/pack.h"

namespace tenrec::kernels::detail {

using Blocks = NativePack<uint64_t>;
inline constexpr int kBlocks = kLanes<uint64_t>;        // blocks in a vector
inline constexpr int kSide = kPackBytes == 64 ? 4 : 2;  // vectors side by side
inline constexpr int64_t kBufferWords = 1024;           // of a random kernel's buffer
static_assert(kBufferWords % (4 * kBlocks * kSide) == 0);

// Lower halves multiplied to 64 bits.
TENREC_INLINE Blocks multiply_low(Blocks a, Blocks b) {
#if defined(__GNUC__) && !defined(__clang__) && defined(__SSE2__)
  typedef int32_t Halves __attribute__((vector_size(kPackBytes)));
  typedef long long Longs __attribute__((vector_size(kPackBytes)));
  const Halves x = Halves(a.v), y = Halves(b.v);
#if defined(__AVX512F__)
  return Blocks(Blocks::Vec(__builtin_ia32_pmuludq512_mask(x, y, Longs{}, uint8_t(-1))));
#elif defined(__AVX2__)
  return Blocks(Blocks::Vec(Longs(__builtin_ia32_pmuludq256(x, y))));
#else
  return Blocks(Blocks::Vec(Longs(__builtin_ia32_pmuludq128(x, y))));
#endif
#else
  const Blocks low(0xffffffffu);
  return (a & low) * (b & low);
#endif
}

// a0 b0 a1 b1 ... in two vectors.
template <size_t... I>
TENREC_INLINE void store_interleaved(Blocks a, Blocks b, uint64_t* to, std::index_sequence<I...>) {
  constexpr int n = kBlocks;
  Blocks(Blocks::Vec(__builtin_shufflevector(a.v, b.v, (int(I) / 2 + (int(I) % 2) * n)...))).store(to);
  Blocks(Blocks::Vec(__builtin_shufflevector(a.v, b.v, (n / 2 + int(I) / 2 + (int(I) % 2) * n)...))).store(to + n);
}

// The words of kSide * kBlocks blocks from `block` on.
inline void philox_blocks(GeneratorState state, uint64_t block, uint32_t* words) {
  alignas(64) uint64_t lanes[kBlocks];
  for (int i = 0; i < kBlocks; ++i) lanes[i] = block + uint64_t(i);
  Blocks c[4][kSide];
  for (int s = 0; s < kSide; ++s) {
    c[0][s] = Blocks::load(lanes) + Blocks(uint64_t(s) * kBlocks);
    c[1][s] = c[0][s] >> 32;
    c[2][s] = Blocks(state.offset);
    c[3][s] = Blocks(state.offset >> 32);
  }
  uint32_t k0 = uint32_t(state.seed), k1 = uint32_t(state.seed >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    for (int s = 0; s < kSide; ++s) {
      const Blocks p0 = multiply_low(c[0][s], Blocks(0xd2511f53u)), p1 = multiply_low(c[2][s], Blocks(0xcd9e8d57u));
      c[0][s] = (p1 >> 32) ^ c[1][s] ^ Blocks(uint64_t(k0));
      c[2][s] = (p0 >> 32) ^ c[3][s] ^ Blocks(uint64_t(k1));
      c[1][s] = p1;
      c[3][s] = p0;
    }
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  const Blocks low(0xffffffffu);
  for (int s = 0; s < kSide; ++s) {
    uint64_t pairs[2 * kBlocks];
    store_interleaved((c[0][s] & low) | (c[1][s] << 32), (c[2][s] & low) | (c[3][s] << 32), pairs,
                      std::make_index_sequence<size_t(kBlocks)>());
    std::memcpy(words + s * 4 * kBlocks, pairs, sizeof(pairs));
  }
}

// kBufferWords words from word `first` on, a multiple of four.
[[gnu::noinline]] inline void philox_words(GeneratorState state, uint64_t first, uint32_t* words) {
  for (int64_t i = 0; i < kBufferWords; i += 4 * kBlocks * kSide)
    philox_blocks(state, (first + uint64_t(i)) >> 2, words + i);
}

}  // namespace tenrec::kernels::detail
