// 3 x 3 convolutions of stride 1 by Winograd's minimal filtering, F(4 x 4, 3 x 3): a quarter of the multiplications.
// Internal to the convolution kernels; f32.
//
// Lavin and Gray, "Fast algorithms for convolutional neural networks", 2015. The interpolation points are
// 0, +-1/sqrt(2), +-sqrt(2) and infinity instead of their 0, +-1, +-2: the error against float64 is 2 to 3 times that
// of a sum in order, theirs is 9 to 13 times (README.md has the measurements).
#pragma once

#include "tenrec/kernels/conv.h"

namespace tenrec::kernels {

// Whether the shape is one for these functions, by size and by what pays.
bool suits_winograd(const ConvShape& shape);

void winograd_forward(const ConvShape& shape, const float* x, const float* weight, const float* bias, float* y);
void winograd_input_grad(const ConvShape& shape, const float* dy, const float* weight, float* dx);
void winograd_weight_grad(const ConvShape& shape, const float* x, const float* dy, float* dweight);

}  // namespace tenrec::kernels
