#include "tenrec/kernels/conv_direct.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "tenrec/core/parallel.h"
#include "tenrec/kernels/conv_micro.h"
#include "tenrec/kernels/gemm_native.h"
#include "tenrec/kernels/scratch.h"
#include "tenrec/kernels/tiles.h"
#include "tenrec/kernels/transpose.h"

namespace tenrec::kernels {

namespace micro {
namespace {
template <int... I>
constexpr auto channel_table(std::integer_sequence<int, I...>) {
  return std::array<ChannelFunction, sizeof...(I)>{&channels<I / kVecs + 1, I % kVecs + 1>...};
}
template <int kM, int kN>
constexpr PixelFunction pixel_entry() {
  if constexpr (kN <= pixel_vecs(kM))
    return &pixels<kM, kN>;
  else
    return nullptr;
}
template <int... I>
constexpr auto pixel_table(std::integer_sequence<int, I...>) {
  return std::array<PixelFunction, sizeof...(I)>{pixel_entry<I / 4 + 1, I % 4 + 1>()...};
}
template <int... I>
constexpr auto product_table(std::integer_sequence<int, I...>) {
  return std::array<ProductFunction, sizeof...(I)>{&products<I / kProductTaps + 1, I % kProductTaps + 1>...};
}
}  // namespace

ChannelFunction channel_function(int rows, int vecs) {
  static constexpr auto table = channel_table(std::make_integer_sequence<int, kRows * kVecs>{});
  return table[size_t((rows - 1) * kVecs + vecs - 1)];
}
PixelFunction pixel_function(int rows, int vecs) {
  static constexpr auto table = pixel_table(std::make_integer_sequence<int, kRows * 4>{});
  return table[size_t((rows - 1) * 4 + vecs - 1)];
}
ProductFunction product_function(int channels, int taps) {
  static constexpr auto table = product_table(std::make_integer_sequence<int, kProductRows * kProductTaps>{});
  return table[size_t((channels - 1) * kProductTaps + taps - 1)];
}
}  // namespace micro

namespace {

using micro::kRows;
constexpr int64_t kW = micro::kWidth<float>, kPanel = kW * micro::kVecs;

// One pass: channels and filters are those of a group.
struct Pass {
  int64_t n, groups, c_in, h, w, c_out, kh, kw, stride_h, stride_w, pad_h, pad_w, dil_h, dil_w, out_h, out_w;

  int64_t taps() const { return c_in * kh * kw; }
  int64_t pixels() const { return out_h * out_w; }
  // What is read of an image, with its padding.
  int64_t rows() const { return (out_h - 1) * stride_h + (kh - 1) * dil_h + 1; }
  int64_t cols() const { return (out_w - 1) * stride_w + (kw - 1) * dil_w + 1; }
  bool padded() const { return pad_h != 0 || pad_w != 0 || rows() > h || cols() > w; }
};

Pass forward_pass(const ConvShape& s) {
  return {s.n,     s.groups, s.c_in / s.groups, s.h,        s.w,     s.c_out / s.groups,
          s.kh,    s.kw,     s.stride_h,        s.stride_w, s.pad_h, s.pad_w,
          s.dil_h, s.dil_w,  s.out_h,           s.out_w};
}
// dx at stride 1 is a convolution of dy, padded to full overlap, with the filters turned by 180 degrees.
Pass input_grad_pass(const ConvShape& s) {
  return {s.n,
          s.groups,
          s.c_out / s.groups,
          s.out_h,
          s.out_w,
          s.c_in / s.groups,
          s.kh,
          s.kw,
          1,
          1,
          s.dil_h * (s.kh - 1) - s.pad_h,
          s.dil_w * (s.kw - 1) - s.pad_w,
          s.dil_h,
          s.dil_w,
          s.h,
          s.w};
}

// A group's channels of an image as the kernels read them: in place, or copied with zeros around.
struct View {
  const float* data;
  int64_t plane, row;
};
class ViewLoader {
 public:
  // `slack`: a vector may be read that begins inside a row and ends behind the image.
  ViewLoader(Scratch& scratch, const Pass& p, bool slack) : copies_(p.padded() || slack) {
    if (!copies_) return;
    const int64_t size = p.c_in * p.rows() * p.cols() + kW;
    data_ = scratch.get<float>(size);
    std::memset(data_, 0, size_t(size) * sizeof(float));  // the padding stays as it is from image to image
  }

  View operator()(const Pass& p, const float* image) {
    if (!copies_) return {image, p.h * p.w, p.w};
    const int64_t rows = p.rows(), cols = p.cols();
    const int64_t top = std::clamp<int64_t>(p.pad_h, 0, rows), bottom = std::clamp(p.h + p.pad_h, top, rows);
    const int64_t left = std::clamp<int64_t>(p.pad_w, 0, cols), count = std::clamp(p.w + p.pad_w, left, cols) - left;
    for (int64_t c = 0; c < p.c_in; ++c)
      for (int64_t r = top; r < bottom; ++r)
        copy_row(image + (c * p.h + r - p.pad_h) * p.w + left - p.pad_w, count, data_ + (c * rows + r) * cols + left);
    return {data_, rows * cols, cols};
  }

  // The strides of what operator() returns.
  View shape(const Pass& p) const {
    return copies_ ? View{nullptr, p.rows() * p.cols(), p.cols()} : View{nullptr, p.h * p.w, p.w};
  }

 private:
  // Zeros spill over the end: into the padding, or into the next row, which is copied later.
  static void copy_row(const float* from, int64_t count, float* to) {
    for (; count >= kW; count -= kW, from += kW, to += kW) NativePack<float>::load(from).store(to);
    if (count > 0) micro::Lanes<float>(int(count)).load(from).store(to);
  }

  bool copies_;
  float* data_ = nullptr;
};

// Where the taps of a filter lie relative to its first, and the output pixels' patches relative to the image.
const int32_t* tap_offsets(Scratch& scratch, const Pass& p, const View& view) {
  auto* offsets = scratch.get<int32_t>(p.taps());
  auto* out = offsets;
  for (int64_t c = 0; c < p.c_in; ++c)
    for (int64_t r = 0; r < p.kh; ++r)
      for (int64_t q = 0; q < p.kw; ++q) *out++ = int32_t(c * view.plane + r * p.dil_h * view.row + q * p.dil_w);
  return offsets;
}
const int32_t* pixel_offsets(Scratch& scratch, const Pass& p, const View& view) {
  auto* offsets = scratch.get<int32_t>(p.pixels());
  auto* out = offsets;
  for (int64_t i = 0; i < p.out_h; ++i)
    for (int64_t j = 0; j < p.out_w; ++j) *out++ = int32_t(i * p.stride_h * view.row + j * p.stride_w);
  return offsets;
}

// The share of vector lanes that do work, with vectors along channels or along the pixels of a row.
double channel_lanes(const Pass& p) { return double(p.c_out) / double(round_up(p.c_out, kW)); }
double pixel_lanes(const Pass& p) { return p.stride_w == 1 ? double(p.out_w) / double(round_up(p.out_w, kW)) : 0; }
// Time of a pass either way, in multiply-adds of a vector. Vectors along channels have to be turned round at the end.
bool prefers_pixels(const Pass& p) {
  if (p.stride_w != 1) return false;
  const int64_t by_channels = p.pixels() * ceil_div(p.c_out, kW) * (p.taps() + 11);
  const int64_t by_pixels = p.c_out * p.out_h * ceil_div(p.out_w, kW) * (p.taps() + 4);
  return by_pixels < by_channels;
}

// The filters of all groups as panels [taps, up to kPanel channels], whole vectors wide.
class Panels {
 public:
  Panels(Scratch& scratch, const Pass& p, const float* weight)
      : taps_(p.taps()), width_(round_up(p.c_out, kW)), data_(scratch.get<float>(p.groups * taps_ * width_)) {
    const int64_t panels = ceil_div(p.c_out, kPanel);
    parallel_for(p.groups * panels, std::max<int64_t>(1, 16384 / (taps_ * kPanel)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t g = i / panels, first = i % panels * kPanel, count = std::min(kPanel, p.c_out - first);
        transpose_matrix<float, true>(weight + (g * p.c_out + first) * taps_, taps_, count, taps_,
                                      data_ + g * taps_ * width_ + first * taps_, round_up(count, kW));
      }
    });
  }
  const float* at(int64_t group, int64_t channel) const { return data_ + (group * width_ + channel) * taps_; }

 private:
  int64_t taps_, width_;
  float* data_;
};

// Vectors along the output channels: a block of pixels of a panel of channels at a time, turned round into y.
void forward_channels(const Pass& p, const float* x, const float* weight, const float* bias, float* y) {
  constexpr int64_t kBlock = 256;
  Scratch shared;
  const View shape = ViewLoader(shared, p, false).shape(p);
  const int32_t *taps = tap_offsets(shared, p, shape), *pixels = pixel_offsets(shared, p, shape);
  const Panels panels(shared, p, weight);
  const int64_t bias_width = round_up(p.c_out, kW);
  float* biases = bias ? shared.get<float>(p.groups * bias_width) : nullptr;
  for (int64_t g = 0; bias && g < p.groups; ++g) std::copy_n(bias + g * p.c_out, p.c_out, biases + g * bias_width);
  parallel_for(p.n * p.groups, 1, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    ViewLoader loader(scratch, p, false);
    float* block = scratch.get<float>(kBlock * kPanel);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t g = i % p.groups;
      const View view = loader(p, x + i * p.c_in * p.h * p.w);
      for (int64_t first = 0; first < p.c_out; first += kPanel) {
        const int64_t count = std::min(kPanel, p.c_out - first), width = round_up(count, kW);
        micro::ChannelArgs args{.k = p.taps(),
                                .rows = {},
                                .offsets = taps,
                                .b = panels.at(g, first),
                                .b_step = width,
                                .c = block,
                                .ldc = width,
                                .bias = bias ? biases + g * bias_width + first : nullptr,
                                .accumulate = false};
        for (int64_t base = 0; base < p.pixels(); base += kBlock) {
          const int64_t some = std::min(kBlock, p.pixels() - base);
          for (int64_t q = 0; q < some; q += kRows) {
            const int rows = int(std::min<int64_t>(kRows, some - q));
            for (int r = 0; r < rows; ++r) args.rows[r] = view.data + pixels[base + q + r];
            args.c = block + q * width;
            micro::channel_function(rows, int(width / kW))(args);
          }
          transpose_matrix(block, width, some, count, y + (i * p.c_out + first) * p.pixels() + base, p.pixels());
        }
      }
    }
  });
}

// The filters with the taps of a row of the kernel together: [c_out, kh, c_in, kw]. Rows that read padding alone are
// then a part of the sum that can be left out.
const float* filters_by_rows(Scratch& scratch, const Pass& p, const float* weight) {
  if (p.kh == 1 || p.c_in == 1) return weight;
  float* out = scratch.get<float>(p.groups * p.c_out * p.taps());
  float* to = out;
  for (int64_t o = 0; o < p.groups * p.c_out; ++o)
    for (int64_t r = 0; r < p.kh; ++r)
      for (int64_t c = 0; c < p.c_in; ++c, to += p.kw)
        std::copy_n(weight + ((o * p.c_in + c) * p.kh + r) * p.kw, p.kw, to);
  return out;
}
const int32_t* tap_offsets_by_rows(Scratch& scratch, const Pass& p, const View& view) {
  auto* offsets = scratch.get<int32_t>(p.taps());
  auto* out = offsets;
  for (int64_t r = 0; r < p.kh; ++r)
    for (int64_t c = 0; c < p.c_in; ++c)
      for (int64_t q = 0; q < p.kw; ++q) *out++ = int32_t(c * view.plane + r * p.dil_h * view.row + q * p.dil_w);
  return offsets;
}

// Rows [first, last) of the kernel that read something of the image from one of the rows [top, bottom] of y.
std::pair<int64_t, int64_t> kernel_rows(const Pass& p, int64_t top, int64_t bottom) {
  int64_t first = 0, last = p.kh;
  while (first < p.kh && bottom * p.stride_h - p.pad_h + first * p.dil_h < 0) ++first;
  while (last > first && top * p.stride_h - p.pad_h + (last - 1) * p.dil_h >= p.h) --last;
  return {first, last};
}

// The vectors of an image in tiles of at most `most`, for `channels` at a time: fewer where that leaves out more rows
// of padding, but not so few that multiply-adds wait for each other.
Parts pixel_tiles(const Pass& p, int64_t channels, int64_t most) {
  constexpr int64_t kStart = 6;     // what a tile costs beside its multiply-adds, in those of a vector
  constexpr int64_t kUnderWay = 8;  // multiply-adds that a core has begun and not ended: two a cycle, four cycles each
  const int64_t row_vecs = ceil_div(p.out_w, kW), vecs = p.out_h * row_vecs;
  int64_t best = most, least = std::numeric_limits<int64_t>::max();
  for (int64_t size = most; size >= 1; --size) {
    const Parts tiles(vecs, size);
    int64_t cost = 0;
    for (int64_t t = 0; t < tiles.count(); ++t) {
      const auto [first, last] = kernel_rows(p, tiles.begin(t) / row_vecs, (tiles.end(t) - 1) / row_vecs);
      cost += std::max(tiles.size(t) * channels, kUnderWay) * (last - first) * p.c_in * p.kw + kStart * channels;
    }
    if (cost < least) best = size, least = cost;
  }
  return Parts(vecs, best);
}

// Vectors along the pixels of rows: several rows of y at a time, in blocks of channels.
void forward_pixels(const Pass& p, const float* x, const float* weight, const float* bias, float* y) {
  Scratch shared;
  const int32_t* taps = tap_offsets_by_rows(shared, p, ViewLoader(shared, p, true).shape(p));
  const float* filters = filters_by_rows(shared, p, weight);
  const Parts blocks(p.c_out, kRows);
  const int64_t row_vecs = ceil_div(p.out_w, kW);
  const Parts tiles = pixel_tiles(p, blocks.size(0), micro::pixel_vecs(int(blocks.size(0))));
  parallel_for(p.n * p.groups, 1, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    ViewLoader loader(scratch, p, true);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t g = i % p.groups;
      const View view = loader(p, x + i * p.c_in * p.h * p.w);
      for (int64_t t = 0; t < tiles.count(); ++t) {
        const auto [first_row, last_row] = kernel_rows(p, tiles.begin(t) / row_vecs, (tiles.end(t) - 1) / row_vecs);
        const int64_t skip = first_row * p.c_in * p.kw;
        micro::PixelArgs args{};
        args.k = (last_row - first_row) * p.c_in * p.kw;
        args.a_row = p.taps();
        args.offsets = taps + skip;
        args.ldc = p.pixels();
        for (int64_t v = 0; v < tiles.size(t); ++v) {
          const int64_t row = (tiles.begin(t) + v) / row_vecs, col = (tiles.begin(t) + v) % row_vecs * kW;
          args.columns[v] = view.data + row * p.stride_h * view.row + col;
          args.c[v] = y + i * p.c_out * p.pixels() + row * p.out_w + col;
          args.count[v] = int(std::min(kW, p.out_w - col));
        }
        for (int64_t b = 0; b < blocks.count(); ++b) {
          const int64_t channel = g * p.c_out + blocks.begin(b);
          args.a = filters + channel * p.taps() + skip;
          args.bias = bias ? bias + channel : nullptr;
          micro::pixel_function(int(blocks.size(b)), int(tiles.size(t)))(args);
          for (int64_t v = 0; v < tiles.size(t); ++v) args.c[v] += blocks.size(b) * p.pixels();
        }
      }
    }
  });
}

void run_pass(const Pass& p, const float* x, const float* weight, const float* bias, float* y) {
  if (prefers_pixels(p))
    forward_pixels(p, x, weight, bias, y);
  else
    forward_channels(p, x, weight, bias, y);
}

// [groups, c_out, c_in, kh, kw] to [groups, c_in, c_out, kh, kw], each filter turned by 180 degrees.
void turn_filters(const ConvShape& s, const float* weight, float* to) {
  const int64_t in = s.c_in / s.groups, out = s.c_out / s.groups, taps = s.kh * s.kw;
  for (int64_t g = 0; g < s.groups; ++g)
    for (int64_t c = 0; c < in; ++c)
      for (int64_t o = 0; o < out; ++o, to += taps)
        std::reverse_copy(weight + ((g * out + o) * in + c) * taps, weight + ((g * out + o) * in + c + 1) * taps, to);
}

// Sizes that 32-bit offsets reach; passes that vectors fill to a fair part.
bool suits(const Pass& p) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  if (!kHaveNative || p.n <= 0 || p.taps() <= 0 || p.c_out <= 0 || p.out_h <= 0 || p.out_w <= 0) return false;
  const int64_t plane = std::max(p.rows() * p.cols(), p.h * p.w);
  return p.h > 0 && p.w > 0 && p.c_in * plane < kMost && std::max(channel_lanes(p), pixel_lanes(p)) >= 0.3;
}

}  // namespace

bool suits_direct_forward(const ConvShape& s) { return suits(forward_pass(s)); }
bool suits_direct_input_grad(const ConvShape& s) {
  return s.stride_h == 1 && s.stride_w == 1 && suits(input_grad_pass(s));
}
bool suits_direct_weight_grad(const ConvShape& s) { return suits(forward_pass(s)); }

void direct_forward(const ConvShape& s, const float* x, const float* weight, const float* bias, float* y) {
  run_pass(forward_pass(s), x, weight, bias, y);
}

void direct_input_grad(const ConvShape& s, const float* dy, const float* weight, float* dx) {
  Scratch scratch;
  float* turned = scratch.get<float>(s.c_out * (s.c_in / s.groups) * s.kh * s.kw);
  turn_filters(s, weight, turned);
  run_pass(input_grad_pass(s), dy, turned, nullptr, dx);
}

namespace {

// Vectors along the output channels: dy is turned round, a block of pixels of a panel of channels at a time.
void weight_grad_channels(const Pass& p, const float* x, const float* dy, float* dweight) {
  constexpr int64_t kBlock = 384;
  const int64_t width = round_up(p.c_out, kW), size = p.groups * p.taps() * width, panels = ceil_div(p.c_out, kPanel);
  const auto chunks = SumChunks::of<float>(p.n, size);
  Scratch shared;
  const View shape = ViewLoader(shared, p, false).shape(p);
  const int32_t *taps = tap_offsets(shared, p, shape), *pixels = pixel_offsets(shared, p, shape);
  float* sums = shared.get<float>(chunks.count * size);  // [chunks, groups, panels: taps x channels]
  parallel_for(chunks.count * p.groups * panels, 1, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    ViewLoader loader(scratch, p, false);
    float* gradients = scratch.get<float>(kBlock * kPanel);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t chunk = task / (p.groups * panels), g = task / panels % p.groups, first = task % panels * kPanel;
      const int64_t count = std::min(kPanel, p.c_out - first), cols = round_up(count, kW);
      float* sum = sums + chunk * size + (g * width + first) * p.taps();
      for (int64_t i = chunk * chunks.each; i < std::min(p.n, (chunk + 1) * chunks.each); ++i) {
        const View view = loader(p, x + (i * p.groups + g) * p.c_in * p.h * p.w);
        const float* from = dy + ((i * p.groups + g) * p.c_out + first) * p.pixels();
        for (int64_t base = 0; base < p.pixels(); base += kBlock) {
          const int64_t some = std::min(kBlock, p.pixels() - base);
          transpose_matrix<float, true>(from + base, p.pixels(), count, some, gradients, cols);
          micro::ChannelArgs args{.k = some,
                                  .rows = {},
                                  .offsets = pixels + base,
                                  .b = gradients,
                                  .b_step = cols,
                                  .c = sum,
                                  .ldc = cols,
                                  .bias = nullptr,
                                  .accumulate = base > 0 || i > chunk * chunks.each};
          for (int64_t t = 0; t < p.taps(); t += kRows) {
            const int rows = int(std::min<int64_t>(kRows, p.taps() - t));
            for (int r = 0; r < rows; ++r) args.rows[r] = view.data + taps[t + r];
            args.c = sum + t * cols;
            micro::channel_function(rows, int(cols / kW))(args);
          }
        }
      }
    }
  });
  chunks.add_up(sums, size);
  for (int64_t g = 0; g < p.groups; ++g)
    for (int64_t first = 0; first < p.c_out; first += kPanel) {
      const int64_t count = std::min(kPanel, p.c_out - first);
      transpose_matrix(sums + (g * width + first) * p.taps(), round_up(count, kW), p.taps(), count,
                       dweight + (g * p.c_out + first) * p.taps(), p.taps());
    }
}

// Vectors along the pixels of rows: a vector of sums for each weight.
void weight_grad_pixels(const Pass& p, const float* x, const float* dy, float* dweight) {
  const int64_t size = p.groups * p.c_out * p.taps() * kW;
  const Parts blocks(p.c_out, micro::kProductRows), tiles(p.taps(), micro::kProductTaps);
  const auto chunks = SumChunks::of<float>(p.n, size);
  Scratch shared;
  const int32_t* taps = tap_offsets(shared, p, ViewLoader(shared, p, false).shape(p));
  float* sums = shared.get<float>(chunks.count * size);
  parallel_for(chunks.count * p.groups, 1, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    ViewLoader loader(scratch, p, false);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t chunk = task / p.groups, g = task % p.groups;
      float* sum = sums + chunk * size + g * p.c_out * p.taps() * kW;
      std::fill_n(sum, p.c_out * p.taps() * kW, 0.0f);
      for (int64_t i = chunk * chunks.each; i < std::min(p.n, (chunk + 1) * chunks.each); ++i) {
        const View view = loader(p, x + (i * p.groups + g) * p.c_in * p.h * p.w);
        const float* gradients = dy + (i * p.groups + g) * p.c_out * p.pixels();
        for (int64_t b = 0; b < blocks.count(); ++b) {
          for (int64_t t = 0; t < tiles.count(); ++t) {
            const int64_t first = blocks.begin(b), from = tiles.begin(t);
            micro::ProductArgs args{.rows = p.out_h,
                                    .cols = p.out_w,
                                    .gradients = gradients + first * p.pixels(),
                                    .plane = p.pixels(),
                                    .columns = {},
                                    .columns_row = p.stride_h * view.row,
                                    .c = sum + (first * p.taps() + from) * kW,
                                    .ldc = p.taps() * kW};
            for (int64_t j = 0; j < tiles.size(t); ++j) args.columns[j] = view.data + taps[from + j];
            micro::product_function(int(blocks.size(b)), int(tiles.size(t)))(args);
          }
        }
      }
    }
  });
  chunks.add_up(sums, size);
  for (int64_t i = 0; i < p.groups * p.c_out * p.taps(); ++i)
    dweight[i] = reduce_lanes(NativePack<float>::load(sums + i * kW), [](auto a, auto b) { return a + b; });
}

}  // namespace

void direct_weight_grad(const ConvShape& s, const float* x, const float* dy, float* dweight) {
  const Pass p = forward_pass(s);
  if (pixel_lanes(p) > 1.15 * channel_lanes(p))
    weight_grad_pixels(p, x, dy, dweight);
  else
    weight_grad_channels(p, x, dy, dweight);
}

}  // namespace tenrec::kernels
