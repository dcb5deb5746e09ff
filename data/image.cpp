#include "tenrec/data/image.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/core/bounded_reader.h"
#include "tenrec/core/error.h"
#include "tenrec/data/jpeg.h"

namespace tenrec {
namespace {

constexpr int64_t kMaxFileBytes = int64_t(1) << 28;
constexpr uint8_t kPngStart[] = {0x89, 'P', 'N', 'G'}, kJpegStart[] = {0xff, 0xd8, 0xff};

template <size_t N>
bool starts_with(const void* data, size_t size, const uint8_t (&start)[N]) {
  return size >= N && std::memcmp(data, start, N) == 0;
}

uint8_t to_byte(double value) { return value > 0 ? uint8_t(std::lround(std::min(value, 1.0) * 255)) : uint8_t(0); }

// u8 on the CPU, contiguous.
Tensor as_bytes(const char* name, const Tensor& images) {
  const NoGrad off;
  if (images.dtype() == DType::u8) return contiguous(images.detach().to(kCpu));
  if (!is_floating(images.dtype())) fail<DTypeError>(name, ": expected u8 or floating, got ", images.dtype());
  const std::vector<float> values = images.detach().to_vector<float>();
  Tensor bytes = empty(images.shape(), {.dtype = DType::u8, .device = kCpu});
  auto* out = bytes.data<uint8_t>();
  for (const float value : values) *out++ = to_byte(double(value));
  return bytes;
}

// One output pixel is weights times `count` input pixels from `first` on.
struct Taps {
  int64_t first = 0;
  std::vector<float> weights;
};

std::vector<Taps> triangle_taps(int64_t in, int64_t out) {
  const double scale = double(in) / double(out), reach = std::max(scale, 1.0);
  std::vector<Taps> all;
  for (int64_t i = 0; i < out; ++i) {
    const double centre = (double(i) + 0.5) * scale;
    const auto first = int64_t(std::max(std::floor(centre - reach), 0.0));
    const int64_t last = std::min(int64_t(std::ceil(centre + reach)), in);
    std::vector<double> weights;
    double sum = 0;
    for (int64_t j = first; j < last; ++j) {
      weights.push_back(std::max(1 - std::abs(double(j) + 0.5 - centre) / reach, 0.0));
      sum += weights.back();
    }
    Taps taps{first, {}};
    for (const double w : weights) taps.weights.push_back(float(w / sum));
    all.push_back(std::move(taps));
  }
  return all;
}

// in [height, width] to out [new_height, new_width], rows first.
void resize_plane(const uint8_t* in, int64_t height, int64_t width, const std::vector<Taps>& rows,
                  const std::vector<Taps>& columns, uint8_t* out) {
  const auto new_width = int64_t(columns.size());
  std::vector<float> half(size_t(height * new_width)), sums(static_cast<size_t>(new_width));
  for (int64_t y = 0; y < height; ++y, in += width) {
    for (int64_t x = 0; x < new_width; ++x) {
      const Taps& taps = columns[size_t(x)];
      float sum = 0;
      for (size_t k = 0; k < taps.weights.size(); ++k) sum += taps.weights[k] * float(in[size_t(taps.first) + k]);
      half[size_t(y * new_width + x)] = sum;
    }
  }
  for (const Taps& taps : rows) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (size_t k = 0; k < taps.weights.size(); ++k) {
      const float* row = half.data() + (taps.first + int64_t(k)) * new_width;
      for (int64_t x = 0; x < new_width; ++x) sums[size_t(x)] += taps.weights[k] * row[x];
    }
    for (const float sum : sums) *out++ = uint8_t(std::clamp(sum + 0.5f, 0.0f, 255.0f));
  }
}

}  // namespace

Tensor decode_image(const void* data, size_t size, const std::string& name, int64_t channels, int64_t max_pixels) {
  if (starts_with(data, size, kPngStart)) return from_picture(decode_png(data, size, name, channels, max_pixels));
  if (starts_with(data, size, kJpegStart)) return from_picture(decode_jpeg(data, size, name, channels, max_pixels));
  fail<IOError>(name, ": neither a PNG nor a JPEG");
}

Tensor read_image(const std::string& path, int64_t channels, int64_t max_pixels) {
  const std::vector<uint8_t> bytes = read_file(path, kMaxFileBytes);
  return decode_image(bytes.data(), bytes.size(), path, channels, max_pixels);
}

Picture to_picture(const Tensor& image) {
  const bool planes = image.ndim() == 3;
  if ((!planes && image.ndim() != 2) || (planes && image.size(0) != 1 && image.size(0) != 3)) {
    fail<ShapeError>("to_picture: expected [1, H, W], [3, H, W] or [H, W], got ", image.shape());
  }
  const Tensor bytes = as_bytes("to_picture", image);
  const int64_t channels = planes ? image.size(0) : 1, height = image.size(-2), width = image.size(-1);
  const int64_t plane = height * width;
  Picture picture{width, height, channels, std::vector<uint8_t>(size_t(plane * channels))};
  const auto* in = bytes.data<uint8_t>();
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t i = 0; i < plane; ++i) picture.pixels[size_t(i * channels + c)] = *in++;
  }
  return picture;
}

Tensor from_picture(const Picture& picture) {
  const int64_t plane = picture.width * picture.height;
  Tensor image = empty({picture.channels, picture.height, picture.width}, {.dtype = DType::u8, .device = kCpu});
  auto* out = image.data<uint8_t>();
  for (int64_t c = 0; c < picture.channels; ++c) {
    for (int64_t i = 0; i < plane; ++i) *out++ = picture.pixels[size_t(i * picture.channels + c)];
  }
  return image;
}

void write_png(const std::string& path, const Tensor& image) { write_png(path, to_picture(image)); }

Tensor make_grid(const Tensor& images, const GridOptions& options) {
  if (images.ndim() != 4) fail<ShapeError>("make_grid: expected pictures [n, C, H, W], got ", images.shape());
  const int64_t count = images.size(0), channels = images.size(1), height = images.size(2), width = images.size(3);
  if (count == 0) fail<ValueError>("make_grid: no pictures");
  if (options.columns < 1 || options.padding < 0) {
    fail<ValueError>("make_grid: ", options.columns, " columns, padding ", options.padding);
  }
  const Tensor bytes = as_bytes("make_grid", images);
  const int64_t columns = std::min(options.columns, count), rows = (count + columns - 1) / columns;
  const int64_t grid_height = rows * (height + options.padding) + options.padding;
  const int64_t grid_width = columns * (width + options.padding) + options.padding;
  Tensor grid = empty({channels, grid_height, grid_width}, {.dtype = DType::u8, .device = kCpu});
  const auto* in = bytes.data<uint8_t>();
  auto* out = grid.data<uint8_t>();
  std::fill(out, out + grid.numel(), to_byte(options.fill));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t top = options.padding + i / columns * (height + options.padding);
    const int64_t left = options.padding + i % columns * (width + options.padding);
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t y = 0; y < height; ++y, in += width)
        std::copy(in, in + width, out + (c * grid_height + top + y) * grid_width + left);
    }
  }
  return grid;
}

Tensor resize_image(const Tensor& image, int64_t height, int64_t width) {
  if (image.dtype() != DType::u8) fail<DTypeError>("resize_image: expected u8, got ", image.dtype());
  if (image.ndim() != 3 || image.numel() == 0)
    fail<ShapeError>("resize_image: expected [C, H, W], got ", image.shape());
  if (height < 1 || width < 1) fail<ValueError>("resize_image: a picture of ", width, "x", height);
  const Tensor from = as_bytes("resize_image", image);
  const int64_t channels = image.size(0), old_height = image.size(1), old_width = image.size(2);
  Tensor to = empty({channels, height, width}, {.dtype = DType::u8, .device = kCpu});
  const std::vector<Taps> rows = triangle_taps(old_height, height), columns = triangle_taps(old_width, width);
  for (int64_t c = 0; c < channels; ++c) {
    resize_plane(from.data<uint8_t>() + c * old_height * old_width, old_height, old_width, rows, columns,
                 to.data<uint8_t>() + c * height * width);
  }
  return to;
}

}  // namespace tenrec
