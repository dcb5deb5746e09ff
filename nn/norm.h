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
  // Mean 0, variance 1, no batches: as a new layer's.
  void reset_running_stats();
  double momentum() const { return options_.momentum; }
  void set_momentum(double momentum) { options_.momentum = momentum; }
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

struct RMSNormOptions {
  double eps = -1;  // below 0: the epsilon of x's dtype, as in PyTorch
  bool affine = true;
};

// Zhang and Sennrich, "Root mean square layer normalization", 2019: over the last dimensions, without mean and bias.
class RMSNorm : public Module {
 public:
  explicit RMSNorm(const Shape& shape, const RMSNormOptions& options = {});
  explicit RMSNorm(int64_t size, const RMSNormOptions& options = {}) : RMSNorm(Shape{size}, options) {}
  Tensor operator()(const Tensor& x) const;
  void visit(Visitor& v) override { v("weight", weight); }
  std::string details() const override { return to_string(shape_); }
  Tensor weight;

 private:
  Shape shape_;
  double eps_;
};

struct GroupNormOptions {
  double eps = 1e-5;
  bool affine = true;
};

// Wu and He, "Group normalization", 2018. x [n, channels, ...]: each sample's channels in num_groups groups of
// neighbours, each normalised by its own mean and variance. weight and bias [channels].
class GroupNorm : public Module {
 public:
  GroupNorm(int64_t num_groups, int64_t channels, const GroupNormOptions& options = {});
  Tensor operator()(const Tensor& x) const;
  void visit(Visitor& v) override;
  std::string details() const override { return concat(groups_, " groups, ", channels_); }
  Tensor weight, bias;

 private:
  int64_t groups_, channels_;
  double eps_;
};

struct InstanceNormOptions {
  double eps = 1e-5;
  bool affine = false;
};

// Ulyanov, Vedaldi and Lempitsky, "Instance normalization", 2016: every channel of every sample by itself. There are no
// running statistics.
class InstanceNorm : public Module {
 public:
  Tensor operator()(const Tensor& x) const;
  void visit(Visitor& v) override;
  std::string details() const override { return concat(channels_); }
  Tensor weight, bias;

 protected:
  InstanceNorm(int64_t channels, const InstanceNormOptions& options, int64_t dims);

 private:
  int64_t channels_;
  double eps_;
  int64_t dims_;
};
// x [n, c, l] or [c, l].
class InstanceNorm1d : public InstanceNorm {
 public:
  explicit InstanceNorm1d(int64_t channels, const InstanceNormOptions& options = {})
      : InstanceNorm(channels, options, 3) {}
};
// x [n, c, h, w] or [c, h, w].
class InstanceNorm2d : public InstanceNorm {
 public:
  explicit InstanceNorm2d(int64_t channels, const InstanceNormOptions& options = {})
      : InstanceNorm(channels, options, 4) {}
};

}  // namespace tenrec
