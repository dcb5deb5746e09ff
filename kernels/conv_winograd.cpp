#include "tenrec/kernels/conv_winograd.h"

#include <algorithm>
#include <cstring>

#include "tenrec/core/parallel.h"
#include "tenrec/kernels/gemm_native.h"
#include "tenrec/kernels/scratch.h"
#include "tenrec/kernels/tiles.h"
#include "tenrec/kernels/transpose.h"

namespace tenrec::kernels {
namespace {

using P = NativePack<float>;
constexpr int kW = micro::kWidth<float>;
constexpr int kTile = 4, kPatch = 6, kPlanes = kPatch * kPatch;  // outputs, inputs and products of a tile
constexpr float kRoot = 0.70710678f;                             // 1 / sqrt(2)

// The transforms in one dimension; `s` is the distance between elements. Each is its matrix times a vector.
// The patch's (6 to 6): values of the polynomials that are 1 at one point and 0 at the others, but for a factor.
TENREC_INLINE void patch_1d(const P* d, int s, P* v, int t) {
  const P even1 = fma(P(-2.0f), d[2 * s], d[4 * s]), odd1 = fma(P(-2.0f), d[s], d[3 * s]);
  const P even2 = fma(P(-0.5f), d[2 * s], d[4 * s]), odd2 = fma(P(2.0f), d[3 * s], -d[s]);
  v[0] = fma(P(-2.5f), d[2 * s], d[0] + d[4 * s]);
  v[t] = fma(P(kRoot), odd1, even1);
  v[2 * t] = fma(P(-kRoot), odd1, even1);
  v[3 * t] = fma(P(kRoot), odd2, even2);
  v[4 * t] = fma(P(-kRoot), odd2, even2);
  v[5 * t] = fma(P(-2.5f), d[3 * s], d[s] + d[5 * s]);
}
// The filter's (3 to 6).
TENREC_INLINE void filter_1d(const P* g, int s, P* u, int t) {
  const P even1 = fma(P(0.5f), g[2 * s], g[0]) * P(-2.0f / 3), odd1 = g[s] * P(-2.0f / 3 * kRoot);
  const P even2 = fma(P(2.0f), g[2 * s], g[0]) * P(1.0f / 6), odd2 = g[s] * P(1.0f / 3 * kRoot);
  u[0] = g[0];
  u[t] = even1 + odd1;
  u[2 * t] = even1 - odd1;
  u[3 * t] = even2 + odd2;
  u[4 * t] = even2 - odd2;
  u[5 * t] = g[2 * s];
}
// The products' (6 to 4).
TENREC_INLINE void output_1d(const P* m, int s, P* y, int t) {
  const P even1 = m[s] + m[2 * s], odd1 = m[s] - m[2 * s];
  const P even2 = m[3 * s] + m[4 * s], odd2 = m[3 * s] - m[4 * s];
  y[0] = m[0] + even1 + even2;
  y[t] = fma(P(2.0f), odd2, odd1) * P(kRoot);
  y[2 * t] = fma(P(0.5f), even1, even2 * P(2.0f));
  y[3 * t] = fma(P(kRoot), fma(P(0.5f), odd1, odd2 * P(4.0f)), m[5 * s]);
}
// The weight gradient is a filtering by dy: dy's tile takes the filter's place (4 to 6). What its points' values should
// be divided by is left to gradient_1d.
TENREC_INLINE void gradient_filter_1d(const P* g, int s, P* u, int t) {
  const P even1 = fma(P(0.5f), g[2 * s], g[0]), odd1 = fma(P(0.5f), g[3 * s], g[s]);
  const P even2 = fma(P(2.0f), g[2 * s], g[0]), odd2 = fma(P(2.0f), g[3 * s], g[s]);
  u[0] = g[0];
  u[t] = fma(P(kRoot), odd1, even1);
  u[2 * t] = fma(P(-kRoot), odd1, even1);
  u[3 * t] = fma(P(2 * kRoot), odd2, even2);
  u[4 * t] = fma(P(-2 * kRoot), odd2, even2);
  u[5 * t] = g[3 * s];
}
// ... and its result has 3 elements (6 to 3).
TENREC_INLINE void gradient_1d(const P* m, int s, P* y, int t) {
  const P even1 = (m[s] + m[2 * s]) * P(-2.0f / 3), odd1 = (m[s] - m[2 * s]) * P(-2.0f / 3);
  const P even2 = (m[3 * s] + m[4 * s]) * P(1.0f / 6), odd2 = (m[3 * s] - m[4 * s]) * P(1.0f / 6);
  y[0] = m[0] + even1 + even2;
  y[t] = fma(P(2.0f), odd2, odd1) * P(kRoot);
  y[2 * t] = fma(P(0.5f), even1, fma(P(2.0f), even2, m[5 * s]));
}

// A transform in two dimensions: columns, then rows. `to` gets the R x R result row by row.
template <int kFrom, int kTo, class Transform>
TENREC_INLINE void transform_2d(const P* from, P* to, const Transform& transform) {
  P half[kTo * kFrom];
  micro::unrolled<kFrom>([&](auto j) TENREC_MELT { transform(from + j, kFrom, half + j, kFrom); });
  micro::unrolled<kTo>([&](auto i) TENREC_MELT { transform(half + i * kFrom, 1, to + i * kTo, 1); });
}

// One pass over images in NCHW: what is read, what is written, and how tiles cover it. A unit is a row of tiles.
struct Pass {
  int64_t n, c_in, h, w, c_out, out_h, out_w, pad_h, pad_w;
  int64_t tiles_h = ceil_div(out_h, kTile), tiles_w = ceil_div(out_w, kTile), units = n * tiles_h;
  int64_t in_width = round_up(c_in, kW), out_width = round_up(c_out, kW);  // channels in whole vectors
  int64_t patch_cols = tiles_w * kTile + 2;
};

Pass forward_pass(const ConvShape& s) {
  return {.n = s.n,
          .c_in = s.c_in,
          .h = s.h,
          .w = s.w,
          .c_out = s.c_out,
          .out_h = s.out_h,
          .out_w = s.out_w,
          .pad_h = s.pad_h,
          .pad_w = s.pad_w};
}
// dx is a convolution of dy, padded to full overlap, with the filters turned by 180 degrees.
Pass input_grad_pass(const ConvShape& s) {
  return {.n = s.n,
          .c_in = s.c_out,
          .h = s.out_h,
          .w = s.out_w,
          .c_out = s.c_in,
          .out_h = s.h,
          .out_w = s.w,
          .pad_h = 2 - s.pad_h,
          .pad_w = 2 - s.pad_w};
}

// One matrix for each of the 36 products of a tile. A line more between them, so that they do not share cache sets.
struct Planes {
  int64_t rows, width;
  int64_t stride() const { return rows * width + 16; }
  int64_t size() const { return kPlanes * stride(); }
};

// A row of pixels of all channels, from planes to channels side by side. Columns [first, first + cols) of `to`, the
// rest of its `width` columns zero; row null: all zero.
void load_row(const float* row, int64_t plane, int64_t channels, int64_t first, int64_t cols, int64_t width,
              int64_t lanes, float* to) {
  if (!row || cols <= 0) {
    std::memset(to, 0, size_t(width * lanes) * sizeof(float));
    return;
  }
  std::memset(to, 0, size_t(first * lanes) * sizeof(float));
  transpose_matrix<float, true>(row, plane, channels, cols, to + first * lanes, lanes);
  std::memset(to + (first + cols) * lanes, 0, size_t((width - first - cols) * lanes) * sizeof(float));
}

// Asks for `count` elements each of `channels` planes: rows of a few pixels from many planes are more streams than the
// processor finds by itself.
template <bool write>
void prefetch(const float* from, int64_t plane, int64_t channels, int64_t count) {
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t i = 0; i < count; i += 16) __builtin_prefetch(from + c * plane + i, write);
}

// The six rows of pixels that a unit reads, channels side by side. Units that follow each other share two.
class PatchRows {
 public:
  PatchRows(Scratch& scratch, const Pass& p)
      : row_(p.patch_cols * p.in_width), data_(scratch.get<float>(kPatch * row_)) {}

  const float* load(const Pass& p, const float* x, int64_t unit) {
    const int64_t image = unit / p.tiles_h, top = unit % p.tiles_h * kTile - p.pad_h;
    int first = 0;
    if (unit == last_ + 1 && unit % p.tiles_h != 0) {
      std::memcpy(data_, data_ + kTile * row_, size_t(2 * row_) * sizeof(float));
      first = 2;
    }
    last_ = unit;
    const int64_t next = std::max<int64_t>(0, top + kPatch), ahead = std::min<int64_t>(kTile, p.h - next) * p.w;
    prefetch<false>(x + (image * p.c_in * p.h + next) * p.w, p.h * p.w, p.c_in, ahead);
    // Columns [-pad_w, patch_cols - pad_w) of the image; a negative pad cuts columns off.
    const int64_t begin = std::max<int64_t>(0, -p.pad_w), end = std::min(p.w, p.patch_cols - p.pad_w);
    for (int r = first; r < kPatch; ++r) {
      const int64_t y = top + r;
      const bool inside = y >= 0 && y < p.h;
      load_row(inside ? x + (image * p.c_in * p.h + y) * p.w + begin : nullptr, p.h * p.w, p.c_in, begin + p.pad_w,
               end - begin, p.patch_cols, p.in_width, data_ + r * row_);
    }
    return data_;
  }

 private:
  int64_t row_;
  float* data_;
  int64_t last_ = -2;
};

// Transforms the tiles of a unit to the rows of the planes that begin at `to`.
void transform_patches(const Pass& p, const float* rows, float* to, int64_t plane) {
  for (int64_t t = 0; t < p.tiles_w; ++t) {
    for (int64_t c = 0; c < p.in_width; c += kW) {
      P patch[kPlanes], values[kPlanes];
      const float* from = rows + t * kTile * p.in_width + c;
      micro::unrolled<kPlanes>([&](auto i) TENREC_MELT {
        patch[i] = P::load(from + (i / kPatch * p.patch_cols + i % kPatch) * p.in_width);
      });
      transform_2d<kPatch, kPatch>(patch, values, patch_1d);
      float* out = to + t * p.in_width + c;
      micro::unrolled<kPlanes>([&](auto i) TENREC_MELT { values[i].store(out + i * plane); });
    }
  }
}

// The filters' planes, [c_in, out_width] each: from [c_out, c_in, 3, 3], or for the input gradient, where `flipped`,
// from [c_in, c_out, 3, 3].
void transform_filters(const Pass& p, const float* weight, bool flipped, float* to, int64_t plane) {
  parallel_for(p.c_in, 16, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    const int64_t steps = 9 * (end - begin);
    float* turned = scratch.get<float>(steps * p.out_width);  // [c_in, 9, out_width]
    if (flipped) {
      for (int64_t c = begin; c < end; ++c)
        transpose_matrix<float, true>(weight + c * p.c_out * 9, 9, p.c_out, 9, turned + (c - begin) * 9 * p.out_width,
                                      p.out_width);
    } else {
      transpose_matrix<float, true>(weight + begin * 9, p.c_in * 9, p.c_out, steps, turned, p.out_width);
    }
    for (int64_t c = begin; c < end; ++c) {
      for (int64_t o = 0; o < p.out_width; o += kW) {
        P filter[9], values[kPlanes];
        const float* from = turned + (c - begin) * 9 * p.out_width + o;
        for (int i = 0; i < 9; ++i) filter[flipped ? 8 - i : i] = P::load(from + i * p.out_width);
        transform_2d<3, kPatch>(filter, values, filter_1d);
        for (int i = 0; i < kPlanes; ++i) values[i].store(to + i * plane + c * p.out_width + o);
      }
    }
  });
}

// C[m, n] = (accumulate ? C : 0) + A B by register tiles; the operands are read in place.
void multiply(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row, int64_t a_step, const float* b,
              int64_t b_step, float* c, int64_t ldc, bool accumulate) {
  const Parts panels(n / kW, micro::kVecs), blocks(m, micro::kRows);
  for (int64_t v = 0; v < panels.count(); ++v) {
    const int64_t j = panels.begin(v) * kW;
    for (int64_t r = 0; r < blocks.count(); ++r) {
      const int64_t i = blocks.begin(r);
      micro::outer_function<float>(int(blocks.size(r)), int(panels.size(v)))({.k = k,
                                                                              .a = a + i * a_row,
                                                                              .a_row = a_row,
                                                                              .a_step = a_step,
                                                                              .b = b + j,
                                                                              .b_step = b_step,
                                                                              .c = c + i * ldc + j,
                                                                              .ldc = ldc,
                                                                              .last = kW,
                                                                              .finish = {nullptr, false, accumulate}});
    }
  }
}

// Turns the products of a unit's tiles into rows of y.
void transform_outputs(const Pass& p, const float* from, int64_t plane, const float* bias, int64_t unit, float* tiles,
                       float* y) {
  const int64_t image = unit / p.tiles_h, top = unit % p.tiles_h * kTile, cols = p.tiles_w * kTile;
  const int64_t rows = std::min<int64_t>(kTile, p.out_h - top);
  for (int64_t o = 0; o < p.c_out; o += kW) {
    const int64_t channels = std::min<int64_t>(kW, p.c_out - o);
    float* out_rows = y + ((image * p.c_out + o) * p.out_h + top) * p.out_w;
    const P add = bias ? micro::Lanes<float>(int(channels)).load(bias + o) : P(0.0f);
    for (int64_t t = 0; t < p.tiles_w; ++t) {
      P products[kPlanes], out[kTile * kTile];
      micro::unrolled<kPlanes>([&](auto i)
                                   TENREC_MELT { products[i] = P::load(from + i * plane + t * p.out_width + o); });
      transform_2d<kPatch, kTile>(products, out, output_1d);
      float* to = tiles + t * kTile * kW;
      micro::unrolled<kTile * kTile>(
          [&](auto i) TENREC_MELT { (out[i] + add).store(to + (i / kTile * cols + i % kTile) * kW); });
    }
    for (int64_t r = 0; r < rows; ++r)
      transpose_matrix(tiles + r * cols * kW, kW, p.out_w, channels, out_rows + r * p.out_w, p.out_h * p.out_w);
  }
}

// The memory that units will be written to is fetched while their planes are multiplied: a part with each plane.
void prefetch_outputs(const Pass& p, int64_t begin, int64_t end, int plane, float* y) {
  for (int64_t i = begin; i < end; ++i) {
    const int64_t image = i / p.tiles_h, top = i % p.tiles_h * kTile, rows = std::min<int64_t>(kTile, p.out_h - top);
    const int64_t first = plane * p.c_out / kPlanes, last = (plane + 1) * p.c_out / kPlanes;
    prefetch<true>(y + ((image * p.c_out + first) * p.out_h + top) * p.out_w, p.out_h * p.out_w, last - first,
                   rows * p.out_w);
  }
}

// A chunk of units whose planes stay in the second level cache.
int64_t units_per_chunk(const Pass& p) {
  constexpr int64_t kBytes = 384 << 10;
  const int64_t unit = p.tiles_w * (p.in_width + p.out_width) * kPlanes * int64_t(sizeof(float));
  return std::clamp<int64_t>(kBytes / unit, 1, std::max<int64_t>(1, p.units));
}

// A pass whose filters stay in a core's cache beside the planes of a chunk: a chunk goes through all three stages.
void run_chunks(const Pass& p, const float* x, const float* u, const Planes& filters, const float* bias, float* y) {
  const int64_t chunk = units_per_chunk(p);
  parallel_for(p.units, chunk, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    const Planes patches{chunk * p.tiles_w, p.in_width}, products{chunk * p.tiles_w, p.out_width};
    float *v = scratch.get<float>(patches.size()), *m = scratch.get<float>(products.size());
    float* tiles = scratch.get<float>(kTile * p.tiles_w * kTile * kW);
    PatchRows rows(scratch, p);
    for (int64_t i = begin; i < end; ++i)
      transform_patches(p, rows.load(p, x, i), v + (i - begin) * p.tiles_w * p.in_width, patches.stride());
    for (int i = 0; i < kPlanes; ++i) {
      prefetch_outputs(p, begin, end, i, y);
      multiply((end - begin) * p.tiles_w, p.out_width, p.c_in, v + i * patches.stride(), p.in_width, 1,
               u + i * filters.stride(), p.out_width, m + i * products.stride(), p.out_width, false);
    }
    for (int64_t i = begin; i < end; ++i)
      transform_outputs(p, m + (i - begin) * p.tiles_w * p.out_width, products.stride(), bias, i, tiles, y);
  });
}

// Filters that fill a core's cache (512 by 512 channels: 37 MB) would be read anew for each chunk, whose few tiles do
// not pay for that. Here many units go through a stage together, and each plane of the filters is read once for them.
void run_stages(const Pass& p, const float* x, const float* u, const Planes& filters, const float* bias, float* y) {
  constexpr int64_t kBytes = 16 << 20;  // patches and products: in the third cache
  const int64_t unit = p.tiles_w * (p.in_width + p.out_width) * kPlanes * int64_t(sizeof(float));
  const int64_t most = std::clamp<int64_t>(kBytes / unit, 1, p.units), grain = units_per_chunk(p);
  Scratch shared;
  const Planes patches{most * p.tiles_w, p.in_width}, products{most * p.tiles_w, p.out_width};
  float *v = shared.get<float>(patches.size()), *m = shared.get<float>(products.size());
  for (int64_t first = 0; first < p.units; first += most) {
    const int64_t count = std::min(most, p.units - first);
    parallel_for(count, grain, [&](int64_t begin, int64_t end) {
      Scratch scratch;
      PatchRows rows(scratch, p);
      for (int64_t i = begin; i < end; ++i)
        transform_patches(p, rows.load(p, x, first + i), v + i * p.tiles_w * p.in_width, patches.stride());
    });
    parallel_for(kPlanes, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        multiply(count * p.tiles_w, p.out_width, p.c_in, v + i * patches.stride(), p.in_width, 1,
                 u + i * filters.stride(), p.out_width, m + i * products.stride(), p.out_width, false);
    });
    parallel_for(count, grain, [&](int64_t begin, int64_t end) {
      Scratch scratch;
      float* tiles = scratch.get<float>(kTile * p.tiles_w * kTile * kW);
      for (int64_t i = begin; i < end; ++i)
        transform_outputs(p, m + i * p.tiles_w * p.out_width, products.stride(), bias, first + i, tiles, y);
    });
  }
}

void run_pass(const Pass& p, const float* x, const float* weight, bool flipped, const float* bias, float* y) {
  constexpr int64_t kCached = 512 << 10;  // half of a second level cache
  Scratch shared;
  const Planes filters{p.c_in, p.out_width};
  float* u = shared.get<float>(filters.size());
  transform_filters(p, weight, flipped, u, filters.stride());
  const bool cached = filters.size() * int64_t(sizeof(float)) <= kCached;
  (cached ? run_chunks : run_stages)(p, x, u, filters, bias, y);
}

// The tiles of dy that belong to a unit, as planes.
void transform_gradients(const Pass& p, const float* dy, int64_t unit, float* rows, float* to, int64_t plane) {
  const int64_t image = unit / p.tiles_h, top = unit % p.tiles_h * kTile, cols = p.tiles_w * kTile;
  for (int64_t r = 0; r < kTile; ++r)
    load_row(top + r < p.out_h ? dy + (image * p.c_out * p.out_h + top + r) * p.out_w : nullptr, p.out_h * p.out_w,
             p.c_out, 0, p.out_w, cols, p.out_width, rows + r * cols * p.out_width);
  for (int64_t t = 0; t < p.tiles_w; ++t) {
    for (int64_t o = 0; o < p.out_width; o += kW) {
      P tile[kTile * kTile], values[kPlanes];
      const float* from = rows + t * kTile * p.out_width + o;
      micro::unrolled<kTile * kTile>(
          [&](auto i) TENREC_MELT { tile[i] = P::load(from + (i / kTile * cols + i % kTile) * p.out_width); });
      transform_2d<kTile, kPatch>(tile, values, gradient_filter_1d);
      micro::unrolled<kPlanes>([&](auto i) TENREC_MELT { values[i].store(to + i * plane + t * p.out_width + o); });
    }
  }
}

// dweight from the planes [c_in, out_width] of its products.
void transform_weight_grad(const Pass& p, const float* m, int64_t plane, float* dweight) {
  parallel_for(p.c_in, 16, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    float* turned = scratch.get<float>(9 * (end - begin) * p.out_width);
    for (int64_t c = begin; c < end; ++c) {
      for (int64_t o = 0; o < p.out_width; o += kW) {
        P products[kPlanes], out[9];
        for (int i = 0; i < kPlanes; ++i) products[i] = P::load(m + i * plane + c * p.out_width + o);
        transform_2d<kPatch, 3>(products, out, gradient_1d);
        for (int i = 0; i < 9; ++i) out[i].store(turned + ((c - begin) * 9 + i) * p.out_width + o);
      }
    }
    transpose_matrix(turned, p.out_width, 9 * (end - begin), p.c_out, dweight + begin * 9, p.c_in * 9);
  });
}

}  // namespace

bool suits_winograd(const ConvShape& s) {
  const bool possible = kHaveNative && s.kh == 3 && s.kw == 3 && s.stride_h == 1 && s.stride_w == 1 && s.dil_h == 1 &&
                        s.dil_w == 1 && s.groups == 1 && s.pad_h <= 2 && s.pad_w <= 2;
  return possible && s.n > 0 && s.c_in >= 16 && s.c_out >= 16 && s.out_h >= 4 && s.out_w >= 4;
}

void winograd_forward(const ConvShape& s, const float* x, const float* weight, const float* bias, float* y) {
  run_pass(forward_pass(s), x, weight, false, bias, y);
}

void winograd_input_grad(const ConvShape& s, const float* dy, const float* weight, float* dx) {
  run_pass(input_grad_pass(s), dy, weight, true, nullptr, dx);
}

// Images go through the caches a few at a time: their tiles become planes, then each of the 36 planes of the result
// takes in its products, in an order that is the same for any number of threads.
void winograd_weight_grad(const ConvShape& s, const float* x, const float* dy, float* dweight) {
  constexpr int64_t kSteps = 48;  // sums of 48 products at a time: F(3 x 3, 4 x 4) needs the accuracy
  const Pass p = forward_pass(s);
  const Planes products{p.c_in, p.out_width};
  const int64_t bytes = std::max<int64_t>(3 << 20, 2 * products.size() * int64_t(sizeof(float)));
  const int64_t unit = p.tiles_w * (p.in_width + p.out_width) * kPlanes * int64_t(sizeof(float));
  const int64_t most = std::clamp<int64_t>(bytes / unit, 1, p.units), grain = units_per_chunk(p);
  Scratch shared;
  const Planes patches{most * p.tiles_w, p.in_width}, gradients{most * p.tiles_w, p.out_width};
  float *v = shared.get<float>(patches.size()), *u = shared.get<float>(gradients.size());
  float* m = shared.get<float>(products.size());
  for (int64_t first = 0; first < p.units; first += most) {
    const int64_t count = std::min(most, p.units - first), steps = count * p.tiles_w;
    parallel_for(count, grain, [&](int64_t begin, int64_t end) {
      Scratch scratch;
      PatchRows rows(scratch, p);
      float* gradient_rows = scratch.get<float>(kTile * p.tiles_w * kTile * p.out_width);
      for (int64_t i = begin; i < end; ++i) {
        transform_patches(p, rows.load(p, x, first + i), v + i * p.tiles_w * p.in_width, patches.stride());
        transform_gradients(p, dy, first + i, gradient_rows, u + i * p.tiles_w * p.out_width, gradients.stride());
      }
    });
    parallel_for(kPlanes, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        for (int64_t k = 0; k < steps; k += kSteps)
          multiply(p.c_in, p.out_width, std::min(kSteps, steps - k), v + i * patches.stride() + k * p.in_width, 1,
                   p.in_width, u + i * gradients.stride() + k * p.out_width, p.out_width, m + i * products.stride(),
                   p.out_width, first > 0 || k > 0);
    });
  }
  transform_weight_grad(p, m, products.stride(), dweight);
}

}  // namespace tenrec::kernels
