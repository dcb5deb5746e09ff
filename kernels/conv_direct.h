// Direct convolution: patches are read where they lie in a padded copy of the image, nothing is laid out for a product.
// Any kernel, stride, padding, dilation and groups. Internal to the convolution kernels; f32.
#pragma once

#include "tenrec/kernels/conv.h"

namespace tenrec::kernels {

// Whether the passes of a shape are ones for these functions.
bool suits_direct_forward(const ConvShape& shape);
bool suits_direct_input_grad(const ConvShape& shape);
bool suits_direct_weight_grad(const ConvShape& shape);

void direct_forward(const ConvShape& shape, const float* x, const float* weight, const float* bias, float* y);
// Stride 1 only.
void direct_input_grad(const ConvShape& shape, const float* dy, const float* weight, float* dx);
void direct_weight_grad(const ConvShape& shape, const float* x, const float* dy, float* dweight);

}  // namespace tenrec::kernels
