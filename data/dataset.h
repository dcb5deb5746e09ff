// Data sets: a size, and a tensor or more for every index.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "tenrec/core/tensor.h"
#include "tenrec/data/cifar.h"
#include "tenrec/data/digits.h"
#include "tenrec/data/images.h"
#include "tenrec/data/shapes.h"

namespace tenrec {

// The tensors of one example, commonly an input and a target. A batch is an Example too: its tensors have one more
// dimension, the first, of the batch's size.
struct Example {
  std::vector<Tensor> tensors;

  // IndexError if there are fewer tensors.
  const Tensor& operator[](size_t i) const;
  const Tensor& input() const { return (*this)[0]; }
  const Tensor& target() const { return (*this)[1]; }
  size_t size() const { return tensors.size(); }
  // The same tensors on a device; `non_blocking` as of Tensor::to.
  Example to(Device device, bool non_blocking = false) const;
};

// Puts examples on top of each other: n tensors [...] become one [n, ...]. ShapeError or DTypeError if they differ.
Example stack_examples(std::span<const Example> examples);

// Loader threads call get and get_batch at the same time, so both must be safe for that, and pure functions of the
// index if runs are to be reproducible.
class Dataset {
 public:
  Dataset() = default;
  Dataset(const Dataset&) = default;
  Dataset& operator=(const Dataset&) = default;
  Dataset(Dataset&&) noexcept = default;
  Dataset& operator=(Dataset&&) noexcept = default;
  virtual ~Dataset() = default;

  virtual int64_t size() const = 0;
  // IndexError unless 0 <= index < size().
  virtual Example get(int64_t index) const = 0;
  // Several at once, as a batch. By default get() for each, stacked.
  virtual Example get_batch(std::span<const int64_t> indices) const;

 protected:
  void check_index(const char* name, int64_t index) const;
};

// Rows of tensors: example i is {tensors[0][i], tensors[1][i], ...}.
class TensorDataset : public Dataset {
 public:
  // ShapeError unless all have the same first dimension.
  explicit TensorDataset(std::vector<Tensor> tensors);
  int64_t size() const override { return size_; }
  Example get(int64_t index) const override;
  Example get_batch(std::span<const int64_t> indices) const override;
  const std::vector<Tensor>& tensors() const { return tensors_; }

 private:
  std::vector<Tensor> tensors_;
  int64_t size_ = 0;
};

struct ImageDatasetOptions {
  // Per channel, of pixel values scaled to [0, 1]: x = (pixel / 255 - mean) / std. Both empty: u8 as stored.
  std::vector<float> mean = {}, std = {};
};

// Pictures and labels: {image [C, H, W] f32 (or u8), label i64 0-d}.
class ImageDataset : public Dataset {
 public:
  // ValueError unless mean and std are both empty or have one positive deviation for each channel.
  explicit ImageDataset(ImageSet images, ImageDatasetOptions options = {});
  int64_t size() const override { return images_->size(); }
  Example get(int64_t index) const override;
  Example get_batch(std::span<const int64_t> indices) const override;
  // The pictures as bytes, shared by copies of this data set.
  const ImageSet& images() const { return *images_; }

 private:
  void fill(int64_t index, void* out) const;
  Tensor make_images(int64_t count) const;

  std::shared_ptr<const ImageSet> images_;
  std::vector<float> scale_, shift_;
};

// Some examples of another data set, in the given order.
class Subset : public Dataset {
 public:
  // IndexError if an index is out of range.
  Subset(std::shared_ptr<const Dataset> dataset, std::vector<int64_t> indices);
  template <class D>
  requires std::is_base_of_v<Dataset, D> Subset(D dataset, std::vector<int64_t> indices)
      : Subset(std::shared_ptr<const Dataset>(std::make_shared<D>(std::move(dataset))), std::move(indices)) {}
  int64_t size() const override { return int64_t(indices_.size()); }
  Example get(int64_t index) const override;
  Example get_batch(std::span<const int64_t> indices) const override;
  // The index in the underlying data set.
  int64_t original(int64_t index) const;

 private:
  std::shared_ptr<const Dataset> dataset_;
  std::vector<int64_t> indices_;
};

// 28x28 digits from the folder with MNIST's original files, normalised by its mean 0.1307 and deviation 0.3081.
ImageDataset mnist(const std::string& folder, Split split);
// Fashion-MNIST (mean 0.2860, deviation 0.3530).
ImageDataset fashion_mnist(const std::string& folder, Split split);
// 3x32x32 pictures from CIFAR-10's binary files, normalised per channel.
ImageDataset cifar10(const std::string& folder, Split split);
// The same of CIFAR-100.
ImageDataset cifar100(const std::string& folder, Split split, Cifar100Labels labels = Cifar100Labels::fine);
// The procedural digits (data/digits.h), the first `count` of a split (-1: all), normalised as MNIST.
ImageDataset digits(Split split, uint64_t seed = kDigitSeed, int64_t count = -1);
// The procedural coloured shapes (data/shapes.h), the first `count` of a split (-1: all), normalised per channel.
ImageDataset shapes(Split split, uint64_t seed = kShapeSeed, int64_t count = -1);

}  // namespace tenrec
