// Where is the digit? A digit of any size somewhere on a dark canvas, among pieces of others.
#pragma once

#include <memory>

#include "tenrec/tenrec.h"

namespace examples {

inline constexpr int64_t kSceneSide = 64;

// Scene i holds digit i of a set: {canvas [1, 64, 64] f32 in [0, 1], target [5] f32}. The target is the box of the
// digit's ink as left, top, right, bottom in parts of the canvas, and its class. Size, place and clutter are a pure
// function of (seed, i).
class Scenes : public tenrec::Dataset {
 public:
  Scenes(tenrec::ImageSet digits, uint64_t seed)
      : digits_(std::make_shared<const tenrec::ImageSet>(std::move(digits))), seed_(seed) {}
  int64_t size() const override { return digits_->size(); }
  tenrec::Example get(int64_t index) const override;

 private:
  std::shared_ptr<const tenrec::ImageSet> digits_;
  uint64_t seed_;
};

}  // namespace examples
