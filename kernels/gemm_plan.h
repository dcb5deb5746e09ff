// How a matrix product is computed, and how it is cut into tiles that are computed independently: a function of its
// shape. Internal to gemm_native.h.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tenrec/kernels/gemm.h"
#include "tenrec/kernels/gemm_micro.h"
#include "tenrec/kernels/tiles.h"

namespace tenrec::kernels {

enum class GemmForm : uint8_t {
  outer,    // vectors along n
  swapped,  // vectors along m: computes the transpose of C and turns it round
  dot,      // vectors along k, for x @ W^T without packing
};

// A part of C.
struct GemmArea {
  int64_t row, col, rows, cols;
};

struct GemmPlan {
  GemmForm form = GemmForm::outer;
  int64_t tile_m = 0, tile_n = 0, row_tiles = 0, col_tiles = 0;
  // Elements of the operand that all tiles need in packed form, 0 where each tile packs for itself or none needs it;
  // and the number of parts in which it is packed.
  int64_t packed = 0, pack_parts = 0;

  int64_t tiles() const { return row_tiles * col_tiles; }
  GemmArea area(const GemmShape& s, int64_t tile) const {
    // x W^T goes down the columns of C, which are the rows of W: neighbouring tiles, and with them a thread, keep to a
    // part of W, as they do in its gradient and in the optimizer.
    const bool by_cols = s.trans_b && !s.trans_a;
    const int64_t i = (by_cols ? tile % row_tiles : tile / col_tiles) * tile_m;
    const int64_t j = (by_cols ? tile / row_tiles : tile % col_tiles) * tile_n;
    return {i, j, std::min(tile_m, s.m - i), std::min(tile_n, s.n - j)};
  }
};

// T is the type of the elements as they are loaded, float or double.
template <class T>
GemmPlan plan_gemm(const GemmShape& shape);
template <class T>
GemmPlan plan_gemm(const GemmShape& shape, GemmForm form);

// k is summed in blocks of at most kDepth, so that what a register tile reads stays in the caches.
template <class T>
constexpr int64_t kDepth = 1536 / int64_t(sizeof(T));
template <class T>
Parts depth_parts(int64_t k) {
  return Parts(std::max<int64_t>(k, 1), kDepth<T>);
}

// A packed panel of the operand that is read as vectors: so many columns, rows one after the other.
template <class T>
constexpr int64_t kPanel = int64_t(micro::kVecs) * micro::kWidth<T>;

// Columns that are packed together for all tiles.
template <class T>
constexpr int64_t kPackCols = 4 * kPanel<T>;

// Rows that lie a multiple of so many bytes apart share a few sets of the cache and push each other out. Wide vectors
// forgive it longer, because they ask the second cache for less.
constexpr int64_t kBadStride = kPackBytes >= 64 ? 2048 : 1024;
template <class T>
bool bad_stride(int64_t stride) {
  return stride * int64_t(sizeof(T)) % kBadStride == 0;
}

// Whether a copy of the vector operand, whose vectors do (turned) or do not lie across its rows, pays for m rows.
template <class T>
bool wants_packing(int64_t m, bool turned, int64_t stride) {
  return turned || (m > 2 * micro::kRows && bad_stride<T>(stride));
}

}  // namespace tenrec::kernels
