// Normalisation layers as functions. Floating dtypes, else DTypeError; statistics of bf16 and f16 are f32. Forward and
// backward are one kernel each (kernels/norm.h) and can be differentiated to any order.
#pragma once

#include "tenrec/core/tensor.h"

namespace tenrec {

struct BatchNormParams {
  bool training = false;
  double momentum = 0.1;  // share of the new statistics
  double eps = 1e-5;
};
// (x - mean) / sqrt(var + eps) * weight + bias for x [N, C, ...], with one mean, variance, weight and bias per channel.
//
// When training, mean and variance (divided by the count) are those of x over all dimensions but 1, and the running
// statistics, if given, become (1 - momentum) * running + momentum * new, with the variance divided by the count less
// one; not while a checkpoint recomputes. Otherwise the running statistics are used, which must be there. running_*,
// weight and bias: [C] or undefined.
// ShapeError on a misfit; ValueError when training with one value per channel, or evaluating without statistics.
// S. Ioffe and C. Szegedy, "Batch normalization" (2015).
Tensor batch_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var, const Tensor& weight = {},
                  const Tensor& bias = {}, const BatchNormParams& params = {});

// (x - mean) / sqrt(var + eps) * weight + bias, with the mean and variance of each row: the last dimensions, whose
// sizes are normalized_shape. weight and bias have that shape or are undefined. ShapeError on a misfit. J. L. Ba, J. R.
// Kiros and G. E. Hinton, "Layer normalization" (2016).
Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight = {}, const Tensor& bias = {},
                  double eps = 1e-5);

// x / sqrt(mean(x^2) + eps) * weight over the same rows, without a mean or a bias. B. Zhang and R. Sennrich, "Root mean
// square layer normalization" (2019).
Tensor rms_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight = {}, double eps = 1e-5);

}  // namespace tenrec
