#include "tenrec/data/transforms.h"

#include <algorithm>
#include <cstring>

#include "tenrec/autograd/ops/shape.h"
#include "tenrec/core/error.h"

namespace tenrec {
namespace {

constexpr uint64_t kDomain = 0x6175676d656e74ULL;  // "augment": keeps these draws apart from others of the same seed

Tensor& input_of(const char* name, Example& batch) {
  if (batch.tensors.empty()) fail<ValueError>(name, ": the batch has no tensors");
  batch.tensors[0] = contiguous(batch.tensors[0]);
  return batch.tensors[0];
}

// The pictures of a batch whose rows are drawn for, as [B, C, H, W].
Tensor& pictures_of(const char* name, Example& batch, const BatchInfo& info) {
  Tensor& x = input_of(name, batch);
  if (x.ndim() != 4) fail<ShapeError>(name, ": expected pictures [B, C, H, W], got shape ", x.shape());
  if (x.size(0) != int64_t(info.indices.size())) {
    fail<ShapeError>(name, ": ", info.indices.size(), " indices for a batch of shape ", x.shape());
  }
  return x;
}

// An integer in [0, n).
int64_t below(uint32_t word, int64_t n) { return int64_t((uint64_t(word) * uint64_t(n)) >> 32); }

// out[y, x] = in[y + dy, x + dx], `fill` where that lies outside.
template <class T>
void shift_plane(const T* in, T* out, int64_t height, int64_t width, int64_t dy, int64_t dx, T fill) {
  const int64_t from = std::clamp<int64_t>(-dx, 0, width), to = std::clamp<int64_t>(width - dx, from, width);
  for (int64_t y = 0; y < height; ++y, out += width) {
    const int64_t row = y + dy;
    if (row < 0 || row >= height) {
      std::fill(out, out + width, fill);
      continue;
    }
    std::fill(out, out + from, fill);
    std::copy(in + row * width + from + dx, in + row * width + to + dx, out + from);
    std::fill(out + to, out + width, fill);
  }
}

template <class T>
Tensor crop(const Tensor& x, const BatchInfo& info, int64_t padding, T fill) {
  const Tensor y = empty_like(x);
  const int64_t channels = x.size(1), height = x.size(2), width = x.size(3), plane = height * width;
  const T* in = x.data<T>();
  T* out = y.data<T>();
  for (size_t i = 0; i < info.indices.size(); ++i) {
    const PhiloxBlock draw = info.random(i);
    const int64_t dy = below(draw.word[0], 2 * padding + 1) - padding;
    const int64_t dx = below(draw.word[1], 2 * padding + 1) - padding;
    for (int64_t c = 0; c < channels; ++c, in += plane, out += plane) shift_plane(in, out, height, width, dy, dx, fill);
  }
  return y;
}

template <class T>
Tensor flip(const Tensor& x, const BatchInfo& info, uint64_t threshold) {
  const Tensor y = empty_like(x);
  const int64_t rows = x.size(1) * x.size(2), width = x.size(3);
  const T* in = x.data<T>();
  T* out = y.data<T>();
  for (size_t i = 0; i < info.indices.size(); ++i) {
    const bool mirrored = info.random(i).word[0] < threshold;
    for (int64_t r = 0; r < rows; ++r, in += width, out += width) {
      if (mirrored)
        std::reverse_copy(in, in + width, out);
      else
        std::copy(in, in + width, out);
    }
  }
  return y;
}

}  // namespace

PhiloxBlock BatchInfo::random(size_t row, uint32_t draw) const {
  if (row >= indices.size()) fail<IndexError>("BatchInfo: row ", row, " of ", indices.size());
  // The key takes in seed, epoch and transform, so that the whole counter is free for index and draw.
  const PhiloxBlock key = Philox(seed ^ kDomain)(epoch, stream);
  const auto index = uint64_t(indices[row]);
  return Philox(key.word[0], key.word[1])(PhiloxBlock{{uint32_t(index), uint32_t(index >> 32), draw, key.word[2]}});
}

Transform compose(std::vector<Transform> transforms) {
  return [transforms = std::move(transforms)](Example& batch, const BatchInfo& info) {
    BatchInfo inner = info;
    for (size_t i = 0; i < transforms.size(); ++i) {
      inner.stream = info.stream * 64 + i + 1;
      transforms[i](batch, inner);
    }
  };
}

Transform to_float(float scale) {
  return [scale](Example& batch, const BatchInfo&) {
    Tensor& x = input_of("to_float", batch);
    if (x.dtype() != DType::u8) fail<DTypeError>("to_float: expected u8, got ", x.dtype());
    const Tensor y = empty(x.shape(), {.device = kCpu});
    const auto* in = x.data<uint8_t>();
    auto* out = y.data<float>();
    for (int64_t i = 0, n = x.numel(); i < n; ++i) out[i] = float(in[i]) * scale;
    x = y;
  };
}

Transform normalize(std::vector<float> mean, std::vector<float> std) {
  if (mean.empty() || mean.size() != std.size()) {
    fail<ValueError>("normalize: ", mean.size(), " means and ", std.size(), " deviations");
  }
  for (const float s : std) {
    if (!(s > 0)) fail<ValueError>("normalize: a deviation of ", double(s));
  }
  return [mean = std::move(mean), std = std::move(std)](Example& batch, const BatchInfo&) {
    Tensor& x = input_of("normalize", batch);
    if (x.dtype() != DType::f32) fail<DTypeError>("normalize: expected f32, got ", x.dtype(), "; see to_float");
    const auto channels = int64_t(mean.size());
    if (x.ndim() < 2 || x.size(1) != channels) {
      fail<ShapeError>("normalize: ", channels, " means for a batch of shape ", x.shape());
    }
    const Tensor y = empty(x.shape(), {.device = kCpu});
    const auto* in = x.data<float>();
    auto* out = y.data<float>();
    const int64_t planes = x.size(0) * channels, plane = planes > 0 ? x.numel() / planes : 0;
    for (int64_t p = 0; p < planes; ++p, in += plane, out += plane) {
      const float m = mean[size_t(p % channels)], s = std[size_t(p % channels)];
      for (int64_t i = 0; i < plane; ++i) out[i] = (in[i] - m) / s;
    }
    x = y;
  };
}

Transform random_crop(int64_t padding, float fill) {
  if (padding < 0) fail<ValueError>("random_crop: a padding of ", padding);
  return [padding, fill](Example& batch, const BatchInfo& info) {
    Tensor& x = pictures_of("random_crop", batch, info);
    if (x.dtype() == DType::u8)
      x = crop<uint8_t>(x, info, padding, uint8_t(fill));
    else if (x.dtype() == DType::f32)
      x = crop<float>(x, info, padding, fill);
    else
      tenrec::fail<DTypeError>("random_crop: expected u8 or f32, got ", x.dtype());
  };
}

Transform random_flip(double probability) {
  if (!(probability >= 0 && probability <= 1)) fail<ValueError>("random_flip: a probability of ", probability);
  const auto threshold = uint64_t(probability * 0x1p32);
  return [threshold](Example& batch, const BatchInfo& info) {
    Tensor& x = pictures_of("random_flip", batch, info);
    if (x.dtype() == DType::u8)
      x = flip<uint8_t>(x, info, threshold);
    else if (x.dtype() == DType::f32)
      x = flip<float>(x, info, threshold);
    else
      fail<DTypeError>("random_flip: expected u8 or f32, got ", x.dtype());
  };
}

}  // namespace tenrec
