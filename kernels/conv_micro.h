// The innermost loops of direct convolution: the outer form of gemm_micro.h with one operand read through a table of
// offsets, so that patches of an image are multiplied where they lie. Internal to the convolution kernels; f32.
//
//   channels   sum[i, j..] += rows[i][offsets[p]] * b[p, j..]: vectors of channels (whose weights, or whose gradients,
//              lie side by side in b), times single pixels. For the forward pass i numbers pixels and p taps; for the
//              gradient of the weight it is the other way round.
//   pixels     sum[i, j..] += a[i, p] * columns[j][offsets[p]..]: single weights times vectors of pixels of a row, for
//              few channels.
//   products   sum[i, j] += gradients[i][pixel..] * columns[j][pixel..], lane by lane over the rows of an image: the
//              gradient of the weight for few channels.
#pragma once

#include <cstdint>

#include "tenrec/kernels/gemm_micro.h"

namespace tenrec::kernels::micro {

struct ChannelArgs {
  int64_t k;
  const float* rows[kRows];
  const int32_t* offsets;
  const float* b;
  int64_t b_step;
  float* c;
  int64_t ldc;
  const float* bias;  // or null
  bool accumulate;
};
using ChannelFunction = void (*)(const ChannelArgs&);
// For `rows` (1 to kRows) by `vecs` (1 to kVecs) whole vectors.
ChannelFunction channel_function(int rows, int vecs);

template <int kM, int kN>
void channels(const ChannelArgs& args) {
  using P = NativePack<float>;
  constexpr int kW = kWidth<float>;
  P sum[kM * kN];
  unrolled<kM * kN>([&](auto i) TENREC_MELT { sum[i] = P(0.0f); });
  const float* rows[kM];
  unrolled<kM>([&](auto i) TENREC_MELT { rows[i] = args.rows[i]; });
  const float* b = args.b;
  const int64_t b_step = args.b_step;
  const int32_t* const end = args.offsets + args.k;
  for (const int32_t* offset = args.offsets; offset < end; ++offset) {
    const int64_t at = *offset;
    P right[kN];
    unrolled<kN>([&](auto j) TENREC_MELT {
      right[j] = P::load(b + j * kW);
      pin<float>(right[j]);
    });
    unrolled<kM>([&](auto i) TENREC_MELT {
      const P left(rows[i][at]);
      unrolled<kN>([&](auto j) TENREC_MELT { sum[i * kN + j] = fma(left, right[j], sum[i * kN + j]); });
    });
    b += b_step;
  }
  unrolled<kN>([&](auto j) TENREC_MELT {
    const P bias = args.bias ? P::load(args.bias + j * kW) : P(0.0f);
    unrolled<kM>([&](auto i) TENREC_MELT {
      float* out = args.c + i * args.ldc + j * kW;
      P value = sum[i * kN + j] + bias;
      if (args.accumulate) value += P::load(out);
      value.store(out);
    });
  });
}

// Vectors of pixels in a tile of `rows` channels, at most.
constexpr int pixel_vecs(int rows) {
  if (kVecs < 3) return 2;  // 16 registers
  return rows <= 6 ? 4 : 3;
}

struct PixelArgs {
  int64_t k;
  const float* a;
  int64_t a_row;  // A[i, p] = a[i * a_row + p]
  const float* columns[4];
  const int32_t* offsets;
  float* c[4];  // the first row of each vector's result
  int64_t ldc;
  int count[4];       // pixels in each vector
  const float* bias;  // one per row, or null
};
using PixelFunction = void (*)(const PixelArgs&);
// For `rows` (1 to kRows) by `vecs` (1 to pixel_vecs(rows)).
PixelFunction pixel_function(int rows, int vecs);

template <int kM, int kN>
void pixels(const PixelArgs& args) {
  using P = NativePack<float>;
  P sum[kM * kN];
  unrolled<kM * kN>([&](auto i) TENREC_MELT { sum[i] = P(0.0f); });
  const float *columns[kN], *a = args.a;
  unrolled<kN>([&](auto j) TENREC_MELT { columns[j] = args.columns[j]; });
  const int64_t a_row = args.a_row;
  for (int64_t p = 0; p < args.k; ++p) {
    const int64_t at = args.offsets[p];
    P right[kN];
    unrolled<kN>([&](auto j) TENREC_MELT {
      right[j] = P::load(columns[j] + at);
      pin<float>(right[j]);
    });
    unrolled<kM>([&](auto i) TENREC_MELT {
      const P left(a[i * a_row + p]);
      unrolled<kN>([&](auto j) TENREC_MELT { sum[i * kN + j] = fma(left, right[j], sum[i * kN + j]); });
    });
  }
  unrolled<kN>([&](auto j) TENREC_MELT {
    const Lanes<float> lanes(args.count[j]);
    unrolled<kM>([&](auto i) TENREC_MELT {
      const P bias(args.bias ? args.bias[i] : 0.0f);
      lanes.store(args.c[j] + i * args.ldc, sum[i * kN + j] + bias);
    });
  });
}

// Channels and taps in a tile, at most.
inline constexpr int kProductRows = kVecs < 3 ? 3 : 6, kProductTaps = kVecs < 3 ? 3 : 4;

struct ProductArgs {
  int64_t rows, cols;  // of the pixels
  const float* gradients;
  int64_t plane;  // between the channels' gradients; rows of pixels are `cols` apart
  const float* columns[kProductTaps];
  int64_t columns_row;  // between the rows of a column's pixels
  float* c;             // vectors of sums: channel i, tap j at c + i * ldc + j * kWidth
  int64_t ldc;
};
using ProductFunction = void (*)(const ProductArgs&);
// For `channels` (1 to kProductRows) by `taps` (1 to kProductTaps). Adds to what is there.
ProductFunction product_function(int channels, int taps);

template <int kM, int kN>
void products(const ProductArgs& args) {
  using P = NativePack<float>;
  constexpr int kW = kWidth<float>;
  P sum[kM * kN];
  unrolled<kM>([&](auto i) TENREC_MELT {
    unrolled<kN>([&](auto j) TENREC_MELT { sum[i * kN + j] = P::load(args.c + i * args.ldc + j * kW); });
  });
  const float *columns[kN], *gradients = args.gradients;
  unrolled<kN>([&](auto j) TENREC_MELT { columns[j] = args.columns[j]; });
  const int64_t plane = args.plane, tail = args.cols % kW;
  const Lanes<float> rest(tail ? int(tail) : kW);
  const auto step = [&](int64_t at, const auto& load) TENREC_MELT {
    P right[kN];
    unrolled<kN>([&](auto j) TENREC_MELT {
      right[j] = load(columns[j] + at);
      pin<float>(right[j]);
    });
    unrolled<kM>([&](auto i) TENREC_MELT {
      P left = load(gradients + i * plane + at);
      pin<float>(left);
      unrolled<kN>([&](auto j) TENREC_MELT { sum[i * kN + j] = fma(left, right[j], sum[i * kN + j]); });
    });
  };
  for (int64_t r = args.rows; r > 0; --r) {
    int64_t at = 0;
    for (; at + kW <= args.cols; at += kW) step(at, [](const float* from) TENREC_MELT { return P::load(from); });
    if (tail) step(at, [&](const float* from) TENREC_MELT { return rest.load(from); });
    gradients += args.cols;
    unrolled<kN>([&](auto j) TENREC_MELT { columns[j] += args.columns_row; });
  }
  unrolled<kM>([&](auto i) TENREC_MELT {
    unrolled<kN>([&](auto j) TENREC_MELT { sum[i * kN + j].store(args.c + i * args.ldc + j * kW); });
  });
}

}  // namespace tenrec::kernels::micro
