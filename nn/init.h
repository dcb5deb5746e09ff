// Initial values, in place, under no-grad. Names and formulas of torch.nn.init. Each returns its argument.
//
// fan_in of a weight [out, in, kernel...] is in * prod(kernel), fan_out is out * prod(kernel).
#pragma once

#include "tenrec/core/tensor.h"

namespace tenrec::init {

const Tensor& constant_(const Tensor& x, double value);
const Tensor& zeros_(const Tensor& x);
const Tensor& ones_(const Tensor& x);
const Tensor& uniform_(const Tensor& x, double low = 0, double high = 1);
const Tensor& normal_(const Tensor& x, double mean = 0, double std = 1);
// Normal, drawn again outside [low, high].
const Tensor& trunc_normal_(const Tensor& x, double mean = 0, double std = 1, double low = -2, double high = 2);
// Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
const Tensor& xavier_uniform_(const Tensor& x, double gain = 1);
const Tensor& xavier_normal_(const Tensor& x, double gain = 1);

enum class Fan { in, out };
struct KaimingOptions {
  double slope = 0;  // of the leaky ReLU after it
  Fan fan = Fan::in;
  bool relu = true;  // gain sqrt(2 / (1 + slope^2)); false: gain 1
};
// He et al., "Delving deep into rectifiers", 2015.
const Tensor& kaiming_uniform_(const Tensor& x, const KaimingOptions& options = {});
const Tensor& kaiming_normal_(const Tensor& x, const KaimingOptions& options = {});
// LeCun et al., "Efficient backprop", 1998: variance 1 / fan_in.
const Tensor& lecun_normal_(const Tensor& x);
const Tensor& lecun_uniform_(const Tensor& x);
// Rows (or columns) orthonormal. Saxe et al., 2013. At least two dimensions.
const Tensor& orthogonal_(const Tensor& x, double gain = 1);
// A fraction `sparsity` of each column zero, the rest normal. Martens, 2010.
const Tensor& sparse_(const Tensor& x, double sparsity, double std = 0.01);
const Tensor& eye_(const Tensor& x);
// Convolutions that keep their input's channels.
const Tensor& dirac_(const Tensor& x, int64_t groups = 1);

}  // namespace tenrec::init
