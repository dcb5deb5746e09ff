#include "tenrec/data/dataset.h"

#include <cstring>
#include <utility>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/core/error.h"
#include "tenrec/data/idx.h"

namespace tenrec {
namespace {

size_t bytes_of(const Tensor& t) { return size_t(t.numel() * size_of(t.dtype())); }

void copy_bytes(void* out, const void* from, size_t n) {
  if (n > 0) std::memcpy(out, from, n);
}

// Rows of a shuffled batch lie anywhere in memory; asked for a few rows ahead, they arrive while others are converted.
constexpr size_t kAhead = 4;
void prefetch(const uint8_t* p, int64_t n) {
  for (int64_t i = 0; i < n; i += 64) __builtin_prefetch(p + i);
}

Shape with_batch(int64_t count, const Shape& shape) {
  Shape batch = shape;
  batch.insert(0, count);
  return batch;
}

Tensor stack_tensors(std::span<const Example> examples, size_t which) {
  const Tensor& first = examples[0].tensors[which];
  Tensor batch = empty(with_batch(int64_t(examples.size()), first.shape()), {.dtype = first.dtype(), .device = kCpu});
  auto* out = static_cast<uint8_t*>(batch.data_ptr());
  const size_t bytes = bytes_of(first);
  for (size_t i = 0; i < examples.size(); ++i) {
    const Tensor& t = examples[i].tensors[which];
    if (t.shape() != first.shape()) {
      fail<ShapeError>("stack_examples: tensor ", which, " has shape ", t.shape(), " in example ", i, " and ",
                       first.shape(), " in example 0");
    }
    if (t.dtype() != first.dtype()) {
      fail<DTypeError>("stack_examples: tensor ", which, " is ", t.dtype(), " in example ", i, " and ", first.dtype(),
                       " in example 0");
    }
    copy_bytes(out + i * bytes, contiguous(t).data_ptr(), bytes);
  }
  return batch;
}

}  // namespace

const Tensor& Example::operator[](size_t i) const {
  if (i >= tensors.size()) fail<IndexError>("Example: tensor ", i, " of ", tensors.size());
  return tensors[i];
}

Example Example::to(Device device, bool non_blocking) const {
  Example moved;
  for (const Tensor& t : tensors) moved.tensors.push_back(t.to(device, non_blocking));
  return moved;
}

Example stack_examples(std::span<const Example> examples) {
  const NoGrad guard;
  Example batch;
  if (examples.empty()) return batch;
  for (size_t i = 0; i < examples.size(); ++i) {
    if (examples[i].size() != examples[0].size()) {
      fail<ShapeError>("stack_examples: example ", i, " has ", examples[i].size(), " tensors, example 0 has ",
                       examples[0].size());
    }
  }
  for (size_t which = 0; which < examples[0].size(); ++which) batch.tensors.push_back(stack_tensors(examples, which));
  return batch;
}

Example Dataset::get_batch(std::span<const int64_t> indices) const {
  std::vector<Example> examples;
  examples.reserve(indices.size());
  for (const int64_t index : indices) examples.push_back(get(index));
  return stack_examples(examples);
}

void Dataset::check_index(const char* name, int64_t index) const {
  if (index < 0 || index >= size()) fail<IndexError>(name, ": example ", index, " of ", size());
}

TensorDataset::TensorDataset(std::vector<Tensor> tensors) : tensors_(std::move(tensors)) {
  const NoGrad guard;
  if (tensors_.empty()) fail<ValueError>("TensorDataset: no tensors");
  for (Tensor& t : tensors_) {
    if (t.ndim() == 0) fail<ShapeError>("TensorDataset: a 0-d tensor has no rows");
    if (t.size(0) != tensors_[0].size(0)) {
      fail<ShapeError>("TensorDataset: the tensors have ", tensors_[0].size(0), " and ", t.size(0), " rows");
    }
    t = contiguous(t.detach());
  }
  size_ = tensors_[0].size(0);
}

Example TensorDataset::get(int64_t index) const {
  Example batch = get_batch({&index, 1});
  for (Tensor& t : batch.tensors) {
    Shape shape = t.shape();
    shape.erase(0);
    t = reshape(t, shape);
  }
  return batch;
}

Example TensorDataset::get_batch(std::span<const int64_t> indices) const {
  for (const int64_t index : indices) check_index("TensorDataset", index);
  Example batch;
  batch.tensors.reserve(tensors_.size());
  for (const Tensor& from : tensors_) {
    Shape shape = from.shape();
    shape[0] = int64_t(indices.size());
    Tensor rows = empty(shape, {.dtype = from.dtype(), .device = kCpu});
    const size_t bytes = size_ > 0 ? bytes_of(from) / size_t(size_) : 0;
    auto* out = static_cast<uint8_t*>(rows.data_ptr());
    const auto* in = static_cast<const uint8_t*>(from.data_ptr());
    for (const int64_t index : indices) {
      copy_bytes(out, in + size_t(index) * bytes, bytes);
      out += bytes;
    }
    batch.tensors.push_back(std::move(rows));
  }
  return batch;
}

ImageDataset::ImageDataset(ImageSet images, ImageDatasetOptions options)
    : images_(std::make_shared<const ImageSet>(std::move(images))) {
  const auto channels = size_t(images_->channels);
  if (images_->pixels.size() != images_->labels.size() * size_t(images_->pixels_per_image())) {
    fail<ValueError>("ImageDataset: ", images_->pixels.size(), " pixels for ", images_->size(), " images of ",
                     images_->channels, "x", images_->height, "x", images_->width);
  }
  if (options.mean.empty() && options.std.empty()) return;
  if (options.mean.size() != channels || options.std.size() != channels) {
    fail<ValueError>("ImageDataset: ", options.mean.size(), " means and ", options.std.size(), " deviations for ",
                     channels, " channels");
  }
  for (size_t c = 0; c < channels; ++c) {
    if (!(options.std[c] > 0)) fail<ValueError>("ImageDataset: a deviation of ", double(options.std[c]));
    scale_.push_back(1.0f / (255.0f * options.std[c]));
    shift_.push_back(-options.mean[c] / options.std[c]);
  }
}

void ImageDataset::fill(int64_t index, void* out) const {
  const uint8_t* in = images_->image(index);
  if (scale_.empty()) return copy_bytes(out, in, size_t(images_->pixels_per_image()));
  const int64_t plane = images_->height * images_->width;
  auto* to = static_cast<float*>(out);
  for (size_t c = 0; c < scale_.size(); ++c, in += plane, to += plane) {
    const float scale = scale_[c], shift = shift_[c];
    for (int64_t i = 0; i < plane; ++i) to[i] = float(in[i]) * scale + shift;
  }
}

Tensor ImageDataset::make_images(int64_t count) const {
  return empty({count, images_->channels, images_->height, images_->width},
               {.dtype = scale_.empty() ? DType::u8 : DType::f32, .device = kCpu});
}

Example ImageDataset::get_batch(std::span<const int64_t> indices) const {
  for (const int64_t index : indices) check_index("ImageDataset", index);
  const auto count = int64_t(indices.size());
  Example batch{{make_images(count), empty({count}, {.dtype = DType::i64, .device = kCpu})}};
  auto* pixels = static_cast<uint8_t*>(batch.tensors[0].data_ptr());
  auto* labels = batch.tensors[1].data<int64_t>();
  const size_t bytes = size_t(images_->pixels_per_image() * size_of(batch.tensors[0].dtype()));
  for (size_t i = 0; i < indices.size(); ++i) {
    if (i + kAhead < indices.size()) prefetch(images_->image(indices[i + kAhead]), images_->pixels_per_image());
    fill(indices[i], pixels + i * bytes);
    labels[i] = images_->labels[size_t(indices[i])];
  }
  return batch;
}

Example ImageDataset::get(int64_t index) const {
  const Example batch = get_batch({&index, 1});
  return {{reshape(batch.input(), {images_->channels, images_->height, images_->width}), reshape(batch.target(), {})}};
}

Subset::Subset(std::shared_ptr<const Dataset> dataset, std::vector<int64_t> indices)
    : dataset_(std::move(dataset)), indices_(std::move(indices)) {
  for (const int64_t index : indices_) {
    if (index < 0 || index >= dataset_->size()) fail<IndexError>("Subset: example ", index, " of ", dataset_->size());
  }
}

int64_t Subset::original(int64_t index) const {
  check_index("Subset", index);
  return indices_[size_t(index)];
}

Example Subset::get(int64_t index) const { return dataset_->get(original(index)); }

Example Subset::get_batch(std::span<const int64_t> indices) const {
  std::vector<int64_t> originals;
  originals.reserve(indices.size());
  for (const int64_t index : indices) originals.push_back(original(index));
  return dataset_->get_batch(originals);
}

ImageDataset mnist(const std::string& folder, Split split) {
  return ImageDataset(read_mnist(folder, split), {.mean = {0.1307f}, .std = {0.3081f}});
}

ImageDataset fashion_mnist(const std::string& folder, Split split) {
  return ImageDataset(read_fashion_mnist(folder, split), {.mean = {0.2860f}, .std = {0.3530f}});
}

ImageDataset cifar10(const std::string& folder, Split split) {
  return ImageDataset(read_cifar10(folder, split),
                      {.mean = {0.4914f, 0.4822f, 0.4465f}, .std = {0.2470f, 0.2435f, 0.2616f}});
}

ImageDataset cifar100(const std::string& folder, Split split, Cifar100Labels labels) {
  return ImageDataset(read_cifar100(folder, split, labels),
                      {.mean = {0.5071f, 0.4865f, 0.4409f}, .std = {0.2673f, 0.2564f, 0.2762f}});
}

ImageDataset digits(Split split, uint64_t seed, int64_t count) {
  return ImageDataset(make_digits(split, seed, 0, count), {.mean = {0.1307f}, .std = {0.3081f}});
}

ImageDataset shapes(Split split, uint64_t seed, int64_t count) {
  return ImageDataset(make_shapes(split, seed, 0, count), {.mean = {0.5f, 0.5f, 0.5f}, .std = {0.25f, 0.25f, 0.25f}});
}

}  // namespace tenrec
