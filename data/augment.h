// Augmentation: pictures that are moved, mirrored, covered, recoloured and mixed at random.
//
// Every draw is a pure function of (seed, epoch, index in the data set), see data/transforms.h, so a picture of an
// epoch is the same for any batch size, order and number of threads:
//
//   {.transform = compose({random_crop(4), random_flip(), color_jitter({.brightness = 0.2f}), to_float()})}
//
// All act on tensor 0 of the batch, pictures [B, C, H, W] of u8 (0 to 255) or f32; ShapeError and DTypeError for
// others.
#pragma once

#include <cstdint>
#include <memory>

#include "tenrec/data/transforms.h"

namespace tenrec {

// Pads each side with `padding` pixels of `fill` and cuts a picture of the original size out at a random place.
Transform random_crop(int64_t padding, float fill = 0);

// Mirrors left and right with the given probability.
Transform random_flip(double probability = 0.5);

// Covers a square of size x size pixels with `fill`. Its centre is anywhere in the picture, so part of it may fall
// outside. DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.
Transform cutout(int64_t size, float fill = 0);

// How far each property may go: a factor is drawn from [1 - x, 1 + x], the hue is turned by [-x, x] of the circle.
struct ColorJitterOptions {
  float brightness = 0, contrast = 0, saturation = 0, hue = 0;
};
// Multiplies pixels (brightness), their distance from the picture's mean grey (contrast) and from their own grey
// (saturation), and turns their hue, in an order that is drawn too, as torchvision's ColorJitter does. f32 pictures are
// in [0, 1], and results are kept there. One channel has neither saturation nor hue; else there must be three.
// ValueError for a negative number, or a hue above 0.5.
Transform color_jitter(const ColorJitterOptions& options);

struct MixupOptions {
  int64_t classes = 0;       // of the targets
  double alpha = 0.2;        // lambda is drawn from Beta(alpha, alpha)
  Transform transform = {};  // what comes before, applied to both pictures with draws of their own; it ends in f32
};
// lambda * picture + (1 - lambda) * another one of the data set, and the same of their targets, which become
// probabilities [B, classes], f32. The partner is drawn from the whole data set, not from the batch, so that it does
// not depend on who else is in it. Zhang et al., "mixup: beyond empirical risk minimization", 2018. IndexError for a
// class out of range, ValueError for options that make no sense.
Transform mixup(std::shared_ptr<const Dataset> dataset, const MixupOptions& options);

}  // namespace tenrec
