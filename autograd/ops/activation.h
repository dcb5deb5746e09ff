// Activation functions, element by element, named and defaulted as in PyTorch; formulas are in
// kernels/elementwise_activations.h. Floating tensors keep their dtype, integers become f32 (relu keeps them). Each has
// a gradient in one pass over memory and derivatives of any order. tanh and sigmoid are in unary.h.
#pragma once

#include "tenrec/core/tensor.h"

namespace tenrec {

// max(x, 0). NaN stays; the derivative at 0 is 0.
Tensor relu(const Tensor& x);
// min(max(x, 0), 6).
Tensor relu6(const Tensor& x);
Tensor leaky_relu(const Tensor& x, double negative_slope = 0.01);
// x above 0, weight x below; weight has one element, or one per channel (dimension 1 of x, or 0 of a vector).
// ShapeError otherwise.
Tensor prelu(const Tensor& x, const Tensor& weight);
// x above 0, alpha (e^x - 1) below.
Tensor elu(const Tensor& x, double alpha = 1);
// x above 0, alpha (e^(x / alpha) - 1) below. ValueError for alpha = 0.
Tensor celu(const Tensor& x, double alpha = 1);
// G. Klambauer et al., "Self-normalizing neural networks" (2017).
Tensor selu(const Tensor& x);

enum class GeluApproximation { none, tanh };
// x Phi(x); D. Hendrycks and K. Gimpel, "Gaussian error linear units" (2016).
Tensor gelu(const Tensor& x, GeluApproximation approximate = GeluApproximation::none);
// x sigmoid(x).
Tensor silu(const Tensor& x);
// x tanh(softplus(x)); D. Misra, "Mish" (2019).
Tensor mish(const Tensor& x);
// log(1 + e^(beta x)) / beta; x itself where beta x > threshold. ValueError for beta = 0.
Tensor softplus(const Tensor& x, double beta = 1, double threshold = 20);
// x / (1 + |x|).
Tensor softsign(const Tensor& x);
// log(sigmoid(x)), stable.
Tensor logsigmoid(const Tensor& x);
// min(max(x + 3, 0), 6) / 6, and x times that; A. Howard et al., "Searching for MobileNetV3" (2019).
Tensor hardsigmoid(const Tensor& x);
Tensor hardswish(const Tensor& x);
// x brought into [min, max]; the derivative on the bounds is 0. ValueError if min > max.
Tensor hardtanh(const Tensor& x, double min = -1, double max = 1);
// x - tanh(x).
Tensor tanhshrink(const Tensor& x);
// x where |x| > lambda, else 0. ValueError for a negative lambda, here and in softshrink.
Tensor hardshrink(const Tensor& x, double lambda = 0.5);
// x moved towards 0 by lambda, 0 where it would pass it.
Tensor softshrink(const Tensor& x, double lambda = 0.5);
// x where it is above `at`, else `value`.
Tensor threshold(const Tensor& x, double at, double value);

// The first half of dimension dim times the sigmoid of the second. ShapeError if its size is odd.
// Y. Dauphin et al., "Language modeling with gated convolutional networks" (2016).
Tensor glu(const Tensor& x, int64_t dim = -1);
// silu(gate) x. N. Shazeer, "GLU variants improve transformer" (2020).
Tensor swiglu(const Tensor& gate, const Tensor& x);
// The same with the two halves of dimension dim: silu(first) second. ShapeError if its size is odd.
Tensor swiglu(const Tensor& x, int64_t dim = -1);

}  // namespace tenrec
