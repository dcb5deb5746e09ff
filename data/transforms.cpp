#include "tenrec/data/transforms.h"

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

}  // namespace tenrec
