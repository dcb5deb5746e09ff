// The pen strokes behind the procedural digits. Internal to data/digits.cpp.
#pragma once

#include <vector>

namespace tenrec::detail {

struct PenPoint {
  float x, y;
};

// A smooth curve through its points; one that stands twice is a corner.
using PenStroke = std::vector<PenPoint>;

struct Skeleton {
  float weight;  // how often this way of writing is used, relative to the digit's other ways
  std::vector<PenStroke> strokes;
};

// The ways of writing a digit, 0 to 9, in a box about 10 wide and 14 high, y downwards.
const std::vector<Skeleton>& digit_skeletons(int digit);

}  // namespace tenrec::detail
