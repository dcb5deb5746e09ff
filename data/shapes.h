// Procedural coloured shapes: a stand-in for CIFAR-10 that needs no download.
//
// 32x32 RGB pictures of one of ten shapes (disc, ring, half disc, crescent, triangle, square, frame, bar, cross, star),
// of any size, place, turn and colour, on a background that changes its colour from side to side and has blobs of other
// colours behind, and a little noise over all of it. So colour tells nothing of the class.
//
// Picture `index` of a split is a pure function of (seed, split, index): the same bytes for any number of threads, any
// range asked for, and, as it uses only IEEE arithmetic and square roots, on any machine.
#pragma once

#include <cstdint>

#include "tenrec/data/images.h"

namespace tenrec {

inline constexpr int64_t kShapeSide = 32;
inline constexpr uint64_t kShapeSeed = 1;

// 50,000 for train, 10,000 for test: CIFAR-10's sizes.
int64_t shape_count(Split split);

// Pictures [first, first + count) of a split; count -1 means up to shape_count. Throws ValueError for a bad range.
ImageSet make_shapes(Split split, uint64_t seed = kShapeSeed, int64_t first = 0, int64_t count = -1);

// Draws one picture into 3 x 32 x 32 bytes and returns its label.
uint8_t draw_shape(Split split, uint64_t seed, int64_t index, uint8_t* pixels);

}  // namespace tenrec
