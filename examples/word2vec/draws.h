// Quick random numbers for drawing pairs.
#pragma once

#include "tenrec/core/philox.h"

namespace examples {

// Knuth's MMIX generator, begun at a place that Philox gives: pairs take ten draws a word, and need not be better.
struct Draws {
  uint64_t state;
  Draws(uint64_t seed, uint64_t epoch, uint64_t piece) {
    const tenrec::PhiloxBlock block = tenrec::Philox(seed)(epoch, piece);
    state = uint64_t(block.word[0]) << 32 | block.word[1];
  }
  uint32_t next() {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return uint32_t(state >> 32);
  }
  int64_t below(int64_t n) { return int64_t(uint64_t(next()) * uint64_t(n) >> 32); }
};

}  // namespace examples
