// What the sets of procedural pictures share: the random numbers of one picture, and the loop over all of them.
#pragma once

#include <cstdint>

#include "tenrec/core/error.h"
#include "tenrec/core/parallel.h"
#include "tenrec/core/philox.h"
#include "tenrec/data/images.h"

namespace tenrec::detail {

// Draws one after the other, as a pure function of (seed, split, index). Sums and products of uniforms only: no library
// function whose last bit varies from machine to machine.
class Draws {
 public:
  Draws(uint64_t seed, Split split, int64_t index)
      : philox_(seed),
        counter_{{0, uint32_t(index), uint32_t(uint64_t(index) >> 32), split == Split::train ? 0u : 1u}} {}

  uint32_t bits() {
    if (used_ == 4) {
      block_ = philox_(counter_);
      ++counter_.word[0];
      used_ = 0;
    }
    return block_.word[used_++];
  }
  // An integer in [0, n).
  int64_t below(int64_t n) { return int64_t((uint64_t(bits()) * uint64_t(n)) >> 32); }
  float uniform(float low, float high) { return low + (high - low) * (float(bits() >> 8) * 0x1p-24f); }
  // A bell of the given standard deviation: the sum of two uniforms, so never beyond 2.45 deviations.
  float bell(float deviation) {
    const uint32_t word = bits();
    const float sum = float(word & 0xffffu) + float(word >> 16);
    return (sum * 0x1p-16f - 1.0f) * 2.4494897f * deviation;
  }

 private:
  Philox philox_;
  PhiloxBlock counter_;
  PhiloxBlock block_{};
  int used_ = 4;
};

// Pictures [first, first + count) of a split that has `available` ones of channels x side x side bytes; count -1: all
// from `first` on. draw(i, pixels) makes picture i and returns its label. ValueError for a bad range.
template <class Draw>
ImageSet draw_pictures(const char* what, Split split, int64_t available, int64_t channels, int64_t side, int64_t first,
                       int64_t count, const Draw& draw) {
  constexpr int64_t kGrain = 128;  // pictures per chunk of the parallel loop
  if (first < 0 || first > available) fail<ValueError>(what, ": first is ", first, ", expected 0 to ", available);
  if (count == -1) count = available - first;
  if (count < 0 || count > available - first) {
    fail<ValueError>(what, ": asked for ", count, " pictures from ", first, " on, the ", name(split), " split has ",
                     available);
  }
  ImageSet set{channels, side, side, {}, {}, {}};
  set.pixels.resize(size_t(count * set.pixels_per_image()));
  set.labels.resize(size_t(count));
  parallel_for(count, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      set.labels[size_t(i)] = draw(first + i, set.pixels.data() + i * set.pixels_per_image());
  });
  return set;
}

}  // namespace tenrec::detail
