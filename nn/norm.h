// Normalisation layers.
#pragma once

#include "tenrec/nn/module.h"

namespace tenrec {

struct BatchNormOptions {
  double eps = 1e-5;
  double momentum = 0.1;  // weight of the new batch in the running statistics
  bool affine = true;
  bool track_running_stats = true;
};

// Ioffe and Szegedy, "Batch normalization", 2015. In training each channel (dimension 1) is normalised over the batch
// and the running statistics are updated; in evaluation the running statistics are used. weight and bias [channels].
class BatchNorm : public Module {
 public:
  Tensor operator()(const Tensor& x) const;
  void visit(Visitor& v) override;
  std::string details() const override { return concat(channels_); }
  Tensor weight, bias, running_mean, running_var, num_batches_tracked;

 protected:
  BatchNorm(int64_t channels, const BatchNormOptions& options, int64_t min_dims, int64_t max_dims);

 private:
  int64_t channels_;
  BatchNormOptions options_;
  int64_t min_dims_, max_dims_;
};

// x [n, c] or [n, c, l].
class BatchNorm1d : public BatchNorm {
 public:
  explicit BatchNorm1d(int64_t channels, const BatchNormOptions& options = {}) : BatchNorm(channels, options, 2, 3) {}
};
// x [n, c, h, w].
class BatchNorm2d : public BatchNorm {
 public:
  explicit BatchNorm2d(int64_t channels, const BatchNormOptions& options = {}) : BatchNorm(channels, options, 4, 4) {}
};

struct LayerNormOptions {
  double eps = 1e-5;
  bool affine = true;
  bool bias = true;
};

// Ba, Kiros and Hinton, "Layer normalization", 2016: over the last dimensions, which are `shape`.
class LayerNorm : public Module {
 public:
  explicit LayerNorm(const Shape& shape, const LayerNormOptions& options = {});
  explicit LayerNorm(int64_t size, const LayerNormOptions& options = {}) : LayerNorm(Shape{size}, options) {}
  Tensor operator()(const Tensor& x) const;
  void visit(Visitor& v) override;
  std::string details() const override { return to_string(shape_); }
  Tensor weight, bias;

 private:
  Shape shape_;
  double eps_;
};

}  // namespace tenrec
