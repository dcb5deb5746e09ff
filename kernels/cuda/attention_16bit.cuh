// What the kernels of attention on tensor cores share: rows in shared memory, products of a warp's rows with them, and
// which problems they take. Internal.
//
// As FlashAttention-2 (T. Dao, 2023): a block owns a tile of queries (of keys, for dk and dv) and a warp 16 or 32 rows
// of it. Scores never leave the registers: rounded, they are the left factor of the next product. The other side's rows
// come through shared memory in two halves, of which one is copied while the other is worked on, and a block meets at
// one barrier a tile.
#pragma once

#include "tenrec/kernels/cuda/attention.cuh"
#include "tenrec/kernels/cuda/tensor_cores.cuh"

namespace tenrec::cuda {

constexpr int kWarps = 4, kBlock = kWarps * kWarp;
constexpr float kLog2E = 1.44269504f, kLn2 = 0.69314718f;

// The device's own instruction; results below 2^-126, which no probability is the worse for, are 0.
__device__ inline float exp2_of(float x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return std::exp2(x);
#endif
}
__device__ inline int lane_index() { return int(threadIdx.x) % kWarp; }
__device__ inline int warp_index() { return int(threadIdx.x) / kWarp; }

// Rows in shared memory, `kWidth` columns each and 16 bytes apart, so that the eight that ldmatrix reads at once lie in
// different banks. Columns and rows that a tensor lacks are zeros.
template <class T, int kWidth>
struct Rows {
  static constexpr int kStride = kWidth + 8;
  T* data;

  template <int kRows>
  __device__ void copy(const Heads<const T>& x, int64_t b, int64_t h, int64_t first, int64_t rows,
                       int64_t width) const {
    constexpr int kPacks = kWidth / 8, kStep = kBlock / kPacks;
    const int row = int(threadIdx.x) / kPacks, column = int(threadIdx.x) % kPacks * 8;
    const int present = column < width && rows - first > row ? int(rows - first < kRows ? rows - first : kRows) : 0;
    const T* from = x.at(b, h, first + row) + column;
    T* to = data + row * kStride + column;
    TENREC_UNROLL
    for (int i = 0; i < kRows; i += kStep) {
      copy16_async(to + i * kStride, from, i + row < present);
      from += kStep * x.row;
    }
  }
  // Rows [row, row + 16) and columns [column, column + 16) as a left factor;
  __device__ void left(uint32_t (&words)[4], int row, int column) const {
    const int lane = lane_index();
    load_matrices(words, data + (row + lane % 16) * kStride + column + lane / 16 * 8);
  }
  // transposed, as two right factors beside each other;
  __device__ void transposed(uint32_t (&words)[4], int row, int column) const {
    const int lane = lane_index();
    load_matrices(words, data + (row + lane % 8 + lane / 16 * 8) * kStride + column + lane / 8 % 2 * 8);
  }
  // and as they are, as two right factors.
  __device__ void right(uint32_t (&words)[4], int row, int column) const {
    const int lane = lane_index();
    load_matrices<true>(words, data + (row + lane % 16) * kStride + column + lane / 16 * 8);
  }
};

// products[m] = rows [row + 16 m, row + 16 m + 16) of x times the first 8 kTiles rows of y, transposed.
template <class T, int kWidth, int kM, int kTiles>
__device__ void multiply_transposed(const Rows<T, kWidth>& x, int row, const Rows<T, kWidth>& y,
                                    float (&products)[kM][kTiles][4]) {
  TENREC_UNROLL
  for (int at = 0; at < kM * kTiles * 4; ++at) products[at / (4 * kTiles)][at / 4 % kTiles][at % 4] = 0;
  TENREC_UNROLL
  for (int column = 0; column < kWidth; column += 16) {
    uint32_t left[kM][4];
    TENREC_UNROLL
    for (int m = 0; m < kM; ++m) x.left(left[m], row + 16 * m, column);
    TENREC_UNROLL
    for (int n = 0; n < kTiles; n += 2) {
      uint32_t right[4];
      y.transposed(right, 8 * n, column);
      TENREC_UNROLL
      for (int m = 0; m < kM; ++m) {
        multiply_add<T>(products[m][n], left[m], right);
        multiply_add<T>(products[m][n + 1], left[m], right + 2);
      }
    }
  }
}

// sums[m] += weights[m], rounded, times the first 8 kTiles rows of y.
template <class T, int kWidth, int kM, int kTiles>
__device__ void add_product(const float (&weights)[kM][kTiles][4], const Rows<T, kWidth>& y,
                            float (&sums)[kM][kWidth / 8][4]) {
  TENREC_UNROLL
  for (int j = 0; j < kTiles; j += 2) {
    uint32_t left[kM][4];
    TENREC_UNROLL
    for (int at = 0; at < 4 * kM; ++at) {
      const float* two = &weights[at / 4][j + at % 4 / 2][at % 2 * 2];
      left[at / 4][at % 4] = pack2<T>(two[0], two[1]);
    }
    TENREC_UNROLL
    for (int n = 0; n < kWidth / 8; n += 2) {
      uint32_t right[4];
      y.right(right, 8 * j, 8 * n);
      TENREC_UNROLL
      for (int m = 0; m < kM; ++m) {
        multiply_add<T>(sums[m][n], left[m], right);
        multiply_add<T>(sums[m][n + 1], left[m], right + 2);
      }
    }
  }
}

// The four lanes that hold a row of a result.
template <class Op>
__device__ float reduce_row(float value, Op combine) {
  value = combine(value, __shfl_xor_sync(kAllLanes, value, 1));
  return combine(value, __shfl_xor_sync(kAllLanes, value, 2));
}

// Row g of 16 (r = 0) or row g + 8 (r = 1), times `by`.
template <int kTiles>
__device__ void scale_row(float (&tiles)[kTiles][4], int r, float by) {
  TENREC_UNROLL
  for (int at = 0; at < 2 * kTiles; ++at) tiles[at / 2][2 * r + at % 2] *= by;
}

// Rows [first, first + 16) of a result, as far as there are rows and columns.
template <class T, int kTiles>
__device__ void store_rows(const Heads<T>& x, int64_t b, int64_t h, int64_t first, int64_t rows, int64_t width,
                           const float (&tiles)[kTiles][4]) {
  const int g = lane_index() / 4, t = lane_index() % 4;
  TENREC_UNROLL
  for (int r = 0; r < 2; ++r) {
    const int64_t row = first + g + 8 * r;
    if (row >= rows) continue;
    T* to = x.at(b, h, row);
    TENREC_UNROLL
    for (int n = 0; n < kTiles; ++n)
      if (8 * n < width)
        *reinterpret_cast<uint32_t*>(to + 8 * n + 2 * t) = pack2<T>(tiles[n][2 * r], tiles[n][2 * r + 1]);
  }
}

// How many of `keys` keys from j on query i may look at, were there no mask.
__device__ inline int allowed(const Problem& p, int64_t i, int64_t j, int keys) {
  const int64_t n = i < p.queries ? p.limit(i) - j : 0;
  return n < keys ? int(n) : keys;
}

inline bool in_pieces_of_16_bytes(const View& x) {
  for (int d = 0; d < 3; ++d)
    if (x.size(d) > 1 && x.stride(d) % 8 != 0) return false;
  return reinterpret_cast<uintptr_t>(x.data) % 16 == 0;
}
inline bool suits(const Problem& p, std::initializer_list<const View*> views) {
  const DType dtype = (*views.begin())->dtype;
  if ((dtype != bf16 && dtype != f16) || p.width != p.out || p.width % 8 != 0 || p.width > 128) return false;
  return has_tensor_cores() &&
         std::all_of(views.begin(), views.end(), [](const View* x) { return !x || in_pieces_of_16_bytes(*x); });
}
// f with a zero of the dtype, and as constants the width that there are kernels for and kPlain: whether there are
// neither masks nor dropout, and the largest product is the largest score.
template <class F>
void visit_problem(const Problem& p, DType dtype, const F& f) {
  const auto with = [&](auto... known) {
    if (!p.mask && p.kept == 0 && p.scale > 0)
      f(known..., std::true_type());
    else
      f(known..., std::false_type());
  };
  const auto with_type = [&](auto zero) {
    if (p.width <= 64)
      with(zero, std::integral_constant<int, 64>());
    else
      with(zero, std::integral_constant<int, 128>());
  };
  if (dtype == bf16)
    with_type(bfloat16{});
  else
    with_type(float16{});
}
template <class T, int kWidth>
constexpr size_t bytes_of(int rows) {
  return size_t(rows) * Rows<T, kWidth>::kStride * sizeof(T);
}

}  // namespace tenrec::cuda
