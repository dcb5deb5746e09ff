// Philox4x32-10: random bits as a pure function of a key and a counter.
//
// There is no state to advance: draw i of stream s is philox(counter made of i and s), the same on every thread, in any
// order, on CPU and GPU. Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once

#include <cstdint>

#include "tenrec/core/dtype.h"  // TENREC_HD

namespace tenrec {

// Four 32-bit words: a counter going in, random bits coming out.
struct PhiloxBlock {
  uint32_t word[4];
};

struct Philox {
  uint32_t key[2];

  Philox() = default;
  TENREC_HD explicit Philox(uint64_t seed) : key{uint32_t(seed), uint32_t(seed >> 32)} {}
  TENREC_HD Philox(uint32_t key0, uint32_t key1) : key{key0, key1} {}

  // The 128 random bits that belong to `counter`.
  TENREC_HD PhiloxBlock operator()(PhiloxBlock counter) const {
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; ++round) {
      const uint64_t product0 = uint64_t(0xd2511f53u) * counter.word[0];
      const uint64_t product1 = uint64_t(0xcd9e8d57u) * counter.word[2];
      counter = {{uint32_t(product1 >> 32) ^ counter.word[1] ^ k0, uint32_t(product1),
                  uint32_t(product0 >> 32) ^ counter.word[3] ^ k1, uint32_t(product0)}};
      k0 += 0x9e3779b9u;  // the golden ratio and sqrt(3) - 1: Weyl sequences keep the round keys apart
      k1 += 0xbb67ae85u;
    }
    return counter;
  }
  // Counter from two 64-bit numbers, commonly (stream, index).
  TENREC_HD PhiloxBlock operator()(uint64_t high, uint64_t low) const {
    return (*this)(PhiloxBlock{{uint32_t(low), uint32_t(low >> 32), uint32_t(high), uint32_t(high >> 32)}});
  }
};

}  // namespace tenrec
