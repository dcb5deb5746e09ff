// Random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//
// A draw is a pure function of (seed, offset of the call, element index): bit-equal for any thread count and on any
// device. A generator is two numbers, so it can be saved and restored.
#pragma once

#include <cstdint>

#include "tenrec/core/philox.h"

namespace tenrec {

struct GeneratorState {
  uint64_t seed = 0;
  uint64_t offset = 0;  // calls made so far
  friend bool operator==(const GeneratorState&, const GeneratorState&) = default;
};

class Generator {
 public:
  explicit Generator(uint64_t seed = 0) : state_{seed, 0} {}
  GeneratorState state() const { return state_; }
  void set_state(GeneratorState state) { state_ = state; }
  // The key of the next call: each op that draws takes one.
  GeneratorState next() { return {state_.seed, state_.offset++}; }

 private:
  GeneratorState state_;
};

// The generator of this thread that ops draw from unless they are given one. Seeded with 0 until told otherwise.
Generator& default_generator();
// Seeds this thread's default generator and sets its offset to 0.
void manual_seed(uint64_t seed);

namespace detail {

// Four words for block `index` of the call `state`.
TENREC_HD inline PhiloxBlock philox(GeneratorState state, uint64_t index) {
  return Philox(state.seed)(state.offset, index);
}

// The word of element `index`.
TENREC_HD inline uint32_t philox_word(GeneratorState state, uint64_t index) {
  return philox(state, index >> 2).word[index & 3];
}

// 24 bits to [0, 1), 53 bits to [0, 1).
TENREC_HD inline float unit_float(uint32_t word) { return float(word >> 8) * 0x1p-24f; }
TENREC_HD inline double unit_double(uint32_t high, uint32_t low) {
  return double((uint64_t(high) << 21) ^ (low >> 11)) * 0x1p-53;
}

}  // namespace detail
}  // namespace tenrec
