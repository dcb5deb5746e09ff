// Procedural digits: a stand-in for MNIST that needs no download.
//
// Each picture is drawn, not stored: one of several pen skeletons of its digit is bent (control points, an elastic
// field, shear, rotation, aspect), drawn with a pen of varying width and softness, and normalised as MNIST is: the ink
// fits a 20x20 box and its centre of mass is the centre of 28x28 pixels, white on black. The idea of elastic fields is
// from Simard, Steinkraus and Platt, "Best practices for convolutional neural networks", ICDAR 2003.
//
// Picture `index` of a split is a pure function of (seed, split, index): the same bytes for any number of threads, any
// range asked for, and, as it uses only IEEE arithmetic and square roots, on any machine.
#pragma once

#include <cstdint>

#include "tenrec/data/images.h"

namespace tenrec {

inline constexpr int64_t kDigitSide = 28;
inline constexpr uint64_t kDigitSeed = 1;

// 60,000 for train, 10,000 for test: MNIST's sizes.
int64_t digit_count(Split split);

// Pictures [first, first + count) of a split; count -1 means up to digit_count. Throws ValueError for a bad range.
ImageSet make_digits(Split split, uint64_t seed = kDigitSeed, int64_t first = 0, int64_t count = -1);

// Draws one picture into 28 x 28 bytes and returns its label.
uint8_t draw_digit(Split split, uint64_t seed, int64_t index, uint8_t* pixels);

}  // namespace tenrec
