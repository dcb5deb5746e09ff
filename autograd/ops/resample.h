// Pictures and sequences in another size: interpolation, and the exchange of channels for resolution.
#pragma once

#include <optional>

#include "tenrec/autograd/ops/conv.h"  // Pair
#include "tenrec/core/tensor.h"

namespace tenrec {

enum class InterpolateMode { nearest, linear, bilinear };

// Factors for height and width, or one for both.
struct Scale {
  double h, w;
  Scale(double both) : h(both), w(both) {}  // NOLINT(google-explicit-constructor)
  Scale(double height, double width) : h(height), w(width) {}
};

struct InterpolateOptions {
  std::optional<Pair> size = {};           // of the output; of sequences the width counts
  std::optional<Scale> scale_factor = {};  // or this: the output has floor(size * factor)
  InterpolateMode mode = InterpolateMode::nearest;
  bool align_corners = false;  // linear and bilinear: the outermost pixels keep their place, not the edges
};

// x [n, c, l] (nearest, linear) or [n, c, h, w] (nearest, bilinear) in another size, as torch.nn.functional has it.
// Floating dtypes, but nearest takes any; 16-bit types are computed in f32 and rounded once. ValueError unless exactly
// one of size and scale_factor is given, or for a size below 1; ShapeError for other dimensions.
Tensor interpolate(const Tensor& x, const InterpolateOptions& options);

// [..., c r^2, h, w] -> [..., c, h r, w r]: channel (c, i, j) becomes the pixels at (i, j) of each r x r block.
// ShapeError if the channels cannot be divided. W. Shi et al., "Real-time single image and video super-resolution using
// an efficient sub-pixel convolutional neural network" (2016).
Tensor pixel_shuffle(const Tensor& x, int64_t upscale_factor);
// The reverse: [..., c, h r, w r] -> [..., c r^2, h, w].
Tensor pixel_unshuffle(const Tensor& x, int64_t downscale_factor);

}  // namespace tenrec
