#include "tenrec/data/augment.h"

#include <algorithm>
#include <cmath>

#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/core/error.h"
#include "tenrec/core/random.h"

namespace tenrec {
namespace {

using detail::unit_double;
using detail::unit_float;

// The pictures of a batch whose rows are drawn for, as [B, C, H, W].
Tensor& pictures_of(const char* name, Example& batch, const BatchInfo& info) {
  if (batch.tensors.empty()) fail<ValueError>(name, ": the batch has no tensors");
  Tensor& x = batch.tensors[0];
  if (x.ndim() != 4) fail<ShapeError>(name, ": expected pictures [B, C, H, W], got shape ", x.shape());
  if (x.size(0) != int64_t(info.indices.size())) {
    fail<ShapeError>(name, ": ", info.indices.size(), " indices for a batch of shape ", x.shape());
  }
  if (x.dtype() != DType::u8 && x.dtype() != DType::f32) {
    fail<DTypeError>(name, ": expected u8 or f32, got ", x.dtype());
  }
  x = contiguous(x);
  return x;
}

// An integer in [0, n).
int64_t below(uint32_t word, int64_t n) { return int64_t((uint64_t(word) * uint64_t(n)) >> 32); }

// A transform that makes picture i of the batch by make(i, in, out, x), `in` and `out` being [C, H, W].
template <class Make>
Transform each_picture(const char* name, Make make) {
  return [name, make](Example& batch, const BatchInfo& info) {
    Tensor& x = pictures_of(name, batch, info);
    const Tensor y = empty_like(x);
    const auto run = [&](const auto* in, auto* out) {
      const int64_t size = x.size(1) * x.size(2) * x.size(3);
      for (size_t i = 0; i < info.indices.size(); ++i, in += size, out += size) make(info, i, x.shape(), in, out);
    };
    if (x.dtype() == DType::u8)
      run(x.data<uint8_t>(), y.data<uint8_t>());
    else
      run(x.data<float>(), y.data<float>());
    x = y;
  };
}

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

struct Rgb {
  float r, g, b;
};

// The weights of ITU-R BT.601, by which torchvision turns colours to grey.
float grey_of(Rgb p) { return 0.2989f * p.r + 0.587f * p.g + 0.114f * p.b; }
float to_unit(float value) { return std::clamp(value, 0.0f, 1.0f); }
float blend(float value, float other, float factor) { return to_unit(factor * value + (1 - factor) * other); }

// Turns the hue by `turn` of the circle, by way of hue, saturation and value. A. R. Smith, "Color gamut transform
// pairs", 1978.
Rgb turn_hue(Rgb p, float turn) {
  const float value = std::max({p.r, p.g, p.b}), span = value - std::min({p.r, p.g, p.b});
  if (!(span > 0)) return p;
  const float sixth = p.r == value   ? (p.g - p.b) / span
                      : p.g == value ? 2 + (p.b - p.r) / span
                                     : 4 + (p.r - p.g) / span;
  float hue = sixth / 6 + turn;
  hue = (hue - std::floor(hue)) * 6;
  // A channel is full within one sixth of its own place on the circle, gone beyond two, and in between in between.
  const auto channel = [&](float place) {
    float k = hue + place;
    if (k >= 6) k -= 6;
    return value - span * to_unit(std::min(k, 4 - k));
  };
  return {channel(5), channel(3), channel(1)};
}

class Jitter {
 public:
  // The factors and the order of one picture.
  Jitter(const ColorJitterOptions& o, const BatchInfo& info, size_t row) {
    const PhiloxBlock factors = info.random(row, 0), order = info.random(row, 1);
    const float spreads[4] = {o.brightness, o.contrast, o.saturation, o.hue};
    for (int i = 0; i < 4; ++i) {
      const float low = i < kHue ? std::max(1 - spreads[i], 0.0f) : -spreads[i];
      const float high = i < kHue ? 1 + spreads[i] : spreads[i];
      factor_[i] = low + (high - low) * unit_float(factors.word[i]);
      used_[i] = spreads[i] > 0;
    }
    for (int i = 3; i > 0; --i) std::swap(order_[i], order_[below(order.word[i], i + 1)]);
  }

  void apply(Rgb* pixels, int64_t n) const {
    for (const int what : order_) {
      if (!used_[what]) continue;
      const float factor = factor_[what], mean = what == kContrast ? mean_grey(pixels, n) : 0;
      for (int64_t i = 0; i < n; ++i) {
        Rgb& p = pixels[i];
        if (what == kHue) {
          p = turn_hue(p, factor);
        } else {
          const float other = what == kSaturation ? grey_of(p) : mean;
          p = {blend(p.r, other, factor), blend(p.g, other, factor), blend(p.b, other, factor)};
        }
      }
    }
  }

 private:
  enum { kBrightness, kContrast, kSaturation, kHue };
  static float mean_grey(const Rgb* pixels, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += double(grey_of(pixels[i]));
    return float(sum / double(n));
  }

  float factor_[4] = {};
  bool used_[4] = {};
  int order_[4] = {kBrightness, kContrast, kSaturation, kHue};
};

float as_unit(uint8_t value) { return float(value) * (1 / 255.0f); }
float as_unit(float value) { return value; }
void store(float value, uint8_t& out) { out = uint8_t(std::lround(value * 255)); }
void store(float value, float& out) { out = value; }

template <class T>
void jitter_picture(const Jitter& jitter, const Shape& shape, const T* in, T* out) {
  const int64_t plane = shape[2] * shape[3];
  const bool grey = shape[1] == 1;  // three equal channels keep equal, but for the rounding of their grey
  std::vector<Rgb> pixels(static_cast<size_t>(plane));
  for (int64_t i = 0; i < plane; ++i) {
    const T *g = in + (grey ? 0 : plane), *b = in + (grey ? 0 : 2 * plane);
    pixels[size_t(i)] = {as_unit(in[i]), as_unit(g[i]), as_unit(b[i])};
  }
  jitter.apply(pixels.data(), plane);
  for (int64_t i = 0; i < plane; ++i) {
    store(pixels[size_t(i)].r, out[i]);
    if (grey) continue;
    store(pixels[size_t(i)].g, out[plane + i]);
    store(pixels[size_t(i)].b, out[2 * plane + i]);
  }
}

// The logarithm of a draw from Gamma(alpha), whose value itself may be too small for a double. Marsaglia and Tsang, "A
// simple method for generating gamma variables", 2000, with their step from alpha + 1 down to alpha.
double log_gamma_draw(double alpha, const BatchInfo& info, size_t row, uint32_t first_draw) {
  const double d = alpha + 1 - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  const PhiloxBlock block = info.random(row, first_draw);
  const double boost = std::log(1 - unit_double(block.word[0], block.word[1])) / alpha;
  for (uint32_t draw = first_draw + 1;; draw += 2) {
    const PhiloxBlock a = info.random(row, draw), b = info.random(row, draw + 1);
    const double u = 1 - unit_double(a.word[0], a.word[1]), angle = 2 * M_PI * unit_double(a.word[2], a.word[3]);
    const double x = std::sqrt(-2 * std::log(u)) * std::cos(angle), v = std::pow(1 + c * x, 3);
    if (!(v > 0)) continue;
    if (std::log(1 - unit_double(b.word[0], b.word[1])) < 0.5 * x * x + d - d * v + d * std::log(v))
      return std::log(d * v) + boost;
  }
}

// From Beta(alpha, alpha): x / (x + y) of two gamma draws.
double beta_draw(double alpha, const BatchInfo& info, size_t row) {
  constexpr uint32_t kSecond = 1u << 16;  // far beyond what the first can take
  return 1 / (1 + std::exp(log_gamma_draw(alpha, info, row, kSecond) - log_gamma_draw(alpha, info, row, 1)));
}

// Adds weight[i] to the class of each row of `targets`.
void add_targets(const Tensor& targets, const std::vector<float>& weight, int64_t classes, float* out) {
  if (targets.ndim() != 1 || targets.size(0) != int64_t(weight.size()) || targets.dtype() != DType::i64) {
    fail<ShapeError>("mixup: expected ", weight.size(), " classes as i64, got ", targets.dtype(), " ", targets.shape());
  }
  const auto* label = contiguous(targets).data<int64_t>();
  for (size_t i = 0; i < weight.size(); ++i, out += classes) {
    if (label[i] < 0 || label[i] >= classes) fail<IndexError>("mixup: class ", label[i], " of ", classes);
    out[label[i]] += weight[i];
  }
}

void mix(Example& batch, const Example& partners, const std::vector<float>& lambda, int64_t classes) {
  const Tensor x = contiguous(batch.input()), other = contiguous(partners.input());
  if (x.dtype() != DType::f32) fail<DTypeError>("mixup: expected f32, got ", x.dtype(), "; see to_float");
  if (other.shape() != x.shape() || other.dtype() != DType::f32) {
    fail<ShapeError>("mixup: the partners are ", other.dtype(), " ", other.shape(), ", the batch is ", x.shape());
  }
  const Tensor y = empty_like(x), targets = zeros({x.size(0), classes}, {.device = kCpu});
  const int64_t size = lambda.empty() ? 0 : x.numel() / int64_t(lambda.size());
  const auto *a = x.data<float>(), *b = other.data<float>();
  auto* out = y.data<float>();
  std::vector<float> rest;
  for (const float l : lambda) {
    for (int64_t i = 0; i < size; ++i) out[i] = l * a[i] + (1 - l) * b[i];
    a += size, b += size, out += size;
    rest.push_back(1 - l);
  }
  add_targets(batch.target(), lambda, classes, targets.data<float>());
  add_targets(partners.target(), rest, classes, targets.data<float>());
  batch.tensors[0] = y;
  batch.tensors[1] = targets;
}

}  // namespace

Transform random_crop(int64_t padding, float fill) {
  if (padding < 0) fail<ValueError>("random_crop: a padding of ", padding);
  return each_picture("random_crop",
                      [padding, fill](const BatchInfo& info, size_t i, const Shape& shape, const auto* in, auto* out) {
                        using T = std::remove_pointer_t<decltype(out)>;
                        const PhiloxBlock draw = info.random(i);
                        const int64_t dy = below(draw.word[0], 2 * padding + 1) - padding;
                        const int64_t dx = below(draw.word[1], 2 * padding + 1) - padding;
                        const int64_t plane = shape[2] * shape[3];
                        for (int64_t c = 0; c < shape[1]; ++c)
                          shift_plane(in + c * plane, out + c * plane, shape[2], shape[3], dy, dx, T(fill));
                      });
}

Transform random_flip(double probability) {
  if (!(probability >= 0 && probability <= 1)) fail<ValueError>("random_flip: a probability of ", probability);
  const auto threshold = uint64_t(probability * 0x1p32);
  return each_picture("random_flip",
                      [threshold](const BatchInfo& info, size_t i, const Shape& shape, const auto* in, auto* out) {
                        const bool mirrored = info.random(i).word[0] < threshold;
                        const int64_t width = shape[3];
                        for (int64_t r = shape[1] * shape[2]; r > 0; --r, in += width, out += width) {
                          if (mirrored)
                            std::reverse_copy(in, in + width, out);
                          else
                            std::copy(in, in + width, out);
                        }
                      });
}

Transform cutout(int64_t size, float fill) {
  if (size < 0) fail<ValueError>("cutout: a size of ", size);
  return each_picture(
      "cutout", [size, fill](const BatchInfo& info, size_t i, const Shape& shape, const auto* in, auto* out) {
        using T = std::remove_pointer_t<decltype(out)>;
        const int64_t height = shape[2], width = shape[3];
        const PhiloxBlock draw = info.random(i);
        const int64_t y = below(draw.word[0], height) - size / 2, x = below(draw.word[1], width) - size / 2;
        const int64_t left = std::clamp<int64_t>(x, 0, width), right = std::clamp<int64_t>(x + size, 0, width);
        std::copy(in, in + shape[1] * height * width, out);
        for (int64_t c = 0; c < shape[1]; ++c, out += height * width) {
          for (int64_t row = std::max<int64_t>(y, 0); row < std::min(y + size, height); ++row)
            std::fill(out + row * width + left, out + row * width + right, T(fill));
        }
      });
}

Transform color_jitter(const ColorJitterOptions& options) {
  for (const float x : {options.brightness, options.contrast, options.saturation, options.hue}) {
    if (!(x >= 0 && std::isfinite(x))) fail<ValueError>("color_jitter: ", double(x), " is not a range");
  }
  if (options.hue > 0.5f) fail<ValueError>("color_jitter: a hue of ", double(options.hue), ", expected at most 0.5");
  return each_picture("color_jitter",
                      [options](const BatchInfo& info, size_t i, const Shape& shape, const auto* in, auto* out) {
                        if (shape[1] != 1 && shape[1] != 3) {
                          fail<ShapeError>("color_jitter: expected 1 or 3 channels, got shape ", shape);
                        }
                        ColorJitterOptions used = options;
                        if (shape[1] == 1) used.saturation = used.hue = 0;
                        jitter_picture(Jitter(used, info, i), shape, in, out);
                      });
}

Transform mixup(std::shared_ptr<const Dataset> dataset, const MixupOptions& options) {
  if (!dataset || dataset->size() == 0) fail<ValueError>("mixup: no data set to take partners from");
  if (options.classes < 1) fail<ValueError>("mixup: ", options.classes, " classes");
  if (!(options.alpha > 0 && std::isfinite(options.alpha))) fail<ValueError>("mixup: an alpha of ", options.alpha);
  return [dataset, options](Example& batch, const BatchInfo& info) {
    std::vector<int64_t> indices(info.indices.size());
    std::vector<float> lambda(indices.size());
    for (size_t i = 0; i < indices.size(); ++i) {
      indices[i] = below(info.random(i).word[0], dataset->size());
      lambda[i] = float(beta_draw(options.alpha, info, i));
    }
    Example partners = dataset->get_batch(indices);
    // Streams of their own, beside those that compose() would give.
    BatchInfo own = info, others = info;
    own.stream = info.stream * 64 + 1;
    others.stream = info.stream * 64 + 2;
    others.indices = indices;
    options.transform(batch, own);
    options.transform(partners, others);
    mix(batch, partners, lambda, options.classes);
  };
}

}  // namespace tenrec
