#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "tenrec/core/error.h"
#include "tenrec/core/parallel.h"
#include "tenrec/kernels/gemm.h"
#include "tenrec/kernels/gemm_eigen.h"
#include "tenrec/kernels/gemm_native.h"
#include "tenrec/kernels/onednn.h"
#include "tenrec/kernels/scratch.h"
#include "tenrec/kernels/widen.h"

namespace tenrec::kernels {
namespace {

constexpr struct {
  Blas which;
  const char* name;
} kBlasNames[] = {{Blas::native, "native"}, {Blas::eigen, "eigen"}, {Blas::onednn, "onednn"}};

bool is_built_in(Blas which) {
  return which == Blas::native ? kHaveNative : which == Blas::eigen || onednn::available();
}

Blas blas_from_environment() {
  const char* text = std::getenv("TENREC_BLAS");
  if (!text || !*text) return kHaveNative ? Blas::native : onednn::available() ? Blas::onednn : Blas::eigen;
  for (const auto& [which, name] : kBlasNames) {
    if (std::string_view(text) != name) continue;
    if (!is_built_in(which)) fail<ValueError>("TENREC_BLAS=", text, ": this build of Tenrec has it not");
    return which;
  }
  fail<ValueError>("TENREC_BLAS=", text, ": must be native, eigen or onednn");
}

std::atomic<Blas>& current_blas() {
  static std::atomic<Blas> current{blas_from_environment()};
  return current;
}

template <class T>
struct Accumulator {
  using type = T;
};
template <>
struct Accumulator<bfloat16> {
  using type = float;
};
template <>
struct Accumulator<float16> {
  using type = float;
};
template <>
struct Accumulator<int64_t> {
  using type = uint64_t;
};  // wraps without undefined behaviour
template <>
struct Accumulator<int32_t> {
  using type = uint32_t;
};
template <class T>
using accumulator = typename Accumulator<T>::type;

// max(value, 0); NaN stays NaN.
template <class T>
accumulator<T> rectified(accumulator<T> value) {
  if constexpr (std::is_integral_v<T>)
    return T(value) < 0 ? 0 : value;
  else
    return value < 0 ? accumulator<T>(0) : value;
}

// bias and ReLU on the tile [m, n] at c.
template <class T>
void finish(int64_t m, int64_t n, T* c, int64_t ldc, const T* bias, bool relu) {
  using A = accumulator<T>;
  if (!bias && !relu) return;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      A value = A(c[i * ldc + j]);
      if (bias) value += A(bias[j]);
      c[i * ldc + j] = T(relu ? rectified<T>(value) : value);
    }
  }
}

template <class T>
void loop_gemm(const GemmShape& s, const T* a, const T* b, T* c, const T* bias, bool relu, bool accumulate) {
  using A = accumulator<T>;
  constexpr int64_t kBlock = 16;
  const int64_t a_row = s.trans_a ? 1 : s.lda, a_step = s.trans_a ? s.lda : 1;
  const int64_t b_col = s.trans_b ? s.ldb : 1, b_step = s.trans_b ? 1 : s.ldb;
  for (int64_t i = 0; i < s.m; ++i) {
    for (int64_t j0 = 0; j0 < s.n; j0 += kBlock) {
      const int64_t width = std::min(kBlock, s.n - j0);
      A sum[kBlock] = {};
      for (int64_t p = 0; p < s.k; ++p) {
        const A left = A(a[i * a_row + p * a_step]);
        for (int64_t j = 0; j < width; ++j) sum[j] += left * A(b[p * b_step + (j0 + j) * b_col]);
      }
      for (int64_t j = 0; j < width; ++j) {
        T& out = c[i * s.ldc + j0 + j];
        A value = sum[j];
        if (accumulate) value += A(out);
        if (bias) value += A(bias[j0 + j]);
        out = T(relu ? rectified<T>(value) : value);
      }
    }
  }
}

template <class T>
void library_tile(Blas which, const GemmShape& s, const T* a, const T* b, T* c, bool accumulate) {
  if constexpr (std::is_same_v<T, float>) {
    if (which == Blas::onednn)
      return onednn::sgemm(s.trans_a, s.trans_b, s.m, s.n, s.k, a, s.lda, b, s.ldb, accumulate, c, s.ldc);
  }
  eigen_gemm(s.trans_a, s.trans_b, s.m, s.n, s.k, a, s.lda, b, s.ldb, accumulate, c, s.ldc);
}

constexpr int64_t kTileRows = 256, kTileCols = 256;

template <class T>
void library_gemm(const GemmShape& s, const T* a, const T* b, T* c, const T* bias, bool relu, bool accumulate) {
  const Blas which = blas();
  const int64_t row_tiles = (s.m + kTileRows - 1) / kTileRows, col_tiles = (s.n + kTileCols - 1) / kTileCols;
  parallel_for(row_tiles * col_tiles, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t i = t / col_tiles * kTileRows, j = t % col_tiles * kTileCols;
      GemmShape tile = s;
      tile.m = std::min(kTileRows, s.m - i);
      tile.n = std::min(kTileCols, s.n - j);
      T* out = c + i * s.ldc + j;
      library_tile(which, tile, a + (s.trans_a ? i : i * s.lda), b + (s.trans_b ? j * s.ldb : j), out, accumulate);
      finish(tile.m, tile.n, out, s.ldc, bias ? bias + j : nullptr, relu);
    }
  });
}

// Tenrec's own kernels: the operand that all tiles need is packed first, then the tiles are free of each other.
// f(plan, tile, packed) computes one.
template <class T, class F>
void for_each_tile(const GemmShape& s, const T* a, const T* b, const F& f) {
  const GemmPlan plan = plan_gemm<T>(s);
  Scratch scratch;
  T* packed = plan.packed ? scratch.get<T>(plan.packed) : nullptr;
  parallel_for(plan.pack_parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) gemm_pack(plan, s, i, a, b, packed);
  });
  parallel_for(plan.tiles(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(plan, i, packed);
  });
}

template <class T>
void native_gemm(const GemmShape& s, const T* a, const T* b, T* c, const micro::Finish<T>& finish) {
  for_each_tile(s, a, b, [&](const GemmPlan& plan, int64_t tile, const T* packed) {
    const GemmArea at = plan.area(s, tile);
    micro::Finish<T> part = finish;
    if (part.bias) part.bias += at.col;
    gemm_tile<T>(plan, s, tile, a, b, c + at.row * s.ldc + at.col, s.ldc, packed, part);
  });
}

// A vector is both a row and a column: the form that is contiguous along k needs no packing.
GemmShape normalized(GemmShape s) {
  if (s.n == 1 && !s.trans_b && s.ldb == 1) s.trans_b = true, s.ldb = s.k;
  if (s.m == 1 && s.trans_a && s.lda == 1) s.trans_a = false, s.lda = s.k;
  return s;
}

template <class T>
void real_gemm(GemmShape s, const T* a, const T* b, T* c, const T* bias, bool relu, bool accumulate) {
  if constexpr (kHaveNative) {
    if (blas() == Blas::native) {
      const micro::Finish<T> finish{bias, relu, accumulate};
      s = normalized(s);
      return is_tiny<T>(s) ? gemm_tiny(s, a, b, c, finish) : native_gemm(s, a, b, c, finish);
    }
  }
  if (s.m * s.n * s.k <= 1024) return loop_gemm(s, a, b, c, bias, relu, accumulate);
  library_gemm(s, a, b, c, bias, relu, accumulate);
}

#ifdef TENREC_HAVE_BF16_PAIRS
static_assert(sizeof(bfloat16) == 2);

// A bf16 matrix whose rows run along k, as pairs in the bits of floats: in place where rows are whole pairs.
struct Pairs {
  const float* data;
  int64_t stride;
};
constexpr int64_t kPairGrain = 1 << 14;  // elements of a matrix that one chunk of a loop lays out

Pairs pairs_in_rows(Scratch& scratch, const bfloat16* x, int64_t stride, int64_t rows, int64_t k) {
  if (k % 2 == 0 && stride % 2 == 0 && reinterpret_cast<uintptr_t>(x) % 4 == 0)
    return {reinterpret_cast<const float*>(x), stride / 2};
  const int64_t pairs = (k + 1) / 2;
  float* out = scratch.get<float>(rows * pairs);
  parallel_for(rows, std::max<int64_t>(1, kPairGrain / std::max<int64_t>(1, k)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      auto* to = reinterpret_cast<char*>(out + i * pairs);
      std::memcpy(to, x + i * stride, size_t(k) * 2);
      if (k % 2) std::memset(to + k * 2, 0, 2);
    }
  });
  return {out, pairs};
}

// A matrix whose rows run across k: two rows become one of pairs.
Pairs pairs_across_rows(Scratch& scratch, const bfloat16* x, int64_t stride, int64_t k, int64_t cols) {
  const int64_t pairs = (k + 1) / 2;
  float* out = scratch.get<float>(pairs * cols);
  parallel_for(pairs, std::max<int64_t>(1, kPairGrain / (2 * cols)), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const bfloat16 *even = x + 2 * p * stride, *odd = even + stride;
      auto* to = reinterpret_cast<uint32_t*>(out + p * cols);
      if (2 * p + 1 < k)
        for (int64_t j = 0; j < cols; ++j) to[j] = even[j].bits | uint32_t(odd[j].bits) << 16;
      else
        for (int64_t j = 0; j < cols; ++j) to[j] = even[j].bits;
    }
  });
  return {out, cols};
}

// bf16 by the processor's own products of pairs, two to a lane: tiles of C in f32, rounded as they are stored.
void paired_gemm(const GemmShape& s, const bfloat16* a, const bfloat16* b, bfloat16* c, const bfloat16* bias, bool relu,
                 bool accumulate) {
  Scratch scratch;
  const Pairs left =
      s.trans_a ? pairs_across_rows(scratch, a, s.lda, s.k, s.m) : pairs_in_rows(scratch, a, s.lda, s.m, s.k);
  const Pairs right =
      s.trans_b ? pairs_in_rows(scratch, b, s.ldb, s.n, s.k) : pairs_across_rows(scratch, b, s.ldb, s.k, s.n);
  GemmShape paired = s;
  paired.k = (s.k + 1) / 2;
  paired.lda = left.stride;
  paired.ldb = right.stride;
  for_each_tile(paired, left.data, right.data, [&](const GemmPlan& plan, int64_t tile, const float* packed) {
    const GemmArea at = plan.area(s, tile);
    Scratch local;
    float *sum = local.get<float>(at.rows * at.cols), *wide = local.get<float>(at.cols);
    gemm_tile<float, micro::MultiplyAddPairs>(plan, paired, tile, left.data, right.data, sum, at.cols, packed, {});
    bfloat16* out = c + at.row * s.ldc + at.col;
    if (accumulate)
      for (int64_t i = 0; i < at.rows; ++i) {
        widen(out + i * s.ldc, at.cols, wide);
        for (int64_t j = 0; j < at.cols; ++j) sum[i * at.cols + j] += wide[j];
      }
    if (bias) widen(bias + at.col, at.cols, wide);
    finish(at.rows, at.cols, sum, at.cols, bias ? wide : nullptr, relu);
    narrow_rows(sum, at.cols, at.rows, at.cols, out, s.ldc);
  });
}
#endif

// The 16-bit types: tiles of C in f32, from blocks of k that are widened and multiplied.
template <class T>
void widened_gemm(const GemmShape& s, const T* a, const T* b, T* c, const T* bias, bool relu, bool accumulate) {
  constexpr int64_t kTile = 256, kDepth = 1024;
  const int64_t col_tiles = (s.n + kTile - 1) / kTile, row_tiles = (s.m + kTile - 1) / kTile;
  parallel_for(row_tiles * col_tiles, 1, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    const int64_t depth = std::min(kDepth, s.k), most_m = std::min(kTile, s.m), most_n = std::min(kTile, s.n);
    float *wide_a = scratch.get<float>(most_m * depth), *wide_b = scratch.get<float>(most_n * depth);
    float *sum = scratch.get<float>(most_m * most_n), *wide_bias = scratch.get<float>(most_n);
    for (int64_t t = begin; t < end; ++t) {
      const int64_t i = t / col_tiles * kTile, j = t % col_tiles * kTile;
      GemmShape tile = s;
      tile.m = std::min(kTile, s.m - i);
      tile.n = tile.ldc = std::min(kTile, s.n - j);
      T* out = c + i * s.ldc + j;
      if (accumulate)
        widen_rows(out, s.ldc, tile.m, tile.n, sum, tile.n);
      else if (s.k == 0)
        std::fill_n(sum, tile.m * tile.n, 0.0f);
      for (int64_t p = 0; p < s.k; p += kDepth) {
        tile.k = std::min(kDepth, s.k - p);
        tile.lda = s.trans_a ? tile.m : tile.k;
        tile.ldb = s.trans_b ? tile.k : tile.n;
        if (s.trans_a)
          widen_rows(a + p * s.lda + i, s.lda, tile.k, tile.m, wide_a, tile.lda);
        else
          widen_rows(a + i * s.lda + p, s.lda, tile.m, tile.k, wide_a, tile.lda);
        if (s.trans_b)
          widen_rows(b + j * s.ldb + p, s.ldb, tile.n, tile.k, wide_b, tile.ldb);
        else
          widen_rows(b + p * s.ldb + j, s.ldb, tile.k, tile.n, wide_b, tile.ldb);
        real_gemm<float>(tile, wide_a, wide_b, sum, nullptr, false, accumulate || p > 0);
      }
      if (bias) widen(bias + j, tile.n, wide_bias);
      finish(tile.m, tile.n, sum, tile.n, bias ? wide_bias : nullptr, relu);
      narrow_rows(sum, tile.n, tile.m, tile.n, out, s.ldc);
    }
  });
}

template <class T>
void run(const GemmShape& s, const T* a, const T* b, T* c, const GemmEpilogue& epilogue) {
  const T* bias = static_cast<const T*>(epilogue.bias);
  if (s.m <= 0 || s.n <= 0) return;
#ifdef TENREC_HAVE_BF16_PAIRS
  if constexpr (std::is_same_v<T, bfloat16>)
    if (blas() == Blas::native) return paired_gemm(s, a, b, c, bias, epilogue.relu, epilogue.accumulate);
#endif
  if constexpr (std::is_integral_v<T>)
    return loop_gemm(s, a, b, c, bias, epilogue.relu, epilogue.accumulate);
  else if constexpr (sizeof(T) == 2)
    return widened_gemm(s, a, b, c, bias, epilogue.relu, epilogue.accumulate);
  else
    real_gemm(s, a, b, c, bias, epilogue.relu, epilogue.accumulate);
}

// Many small products: a chunk of the loop is as many as make up a tile's work.
template <class T>
void run_batch(const GemmShape& s, int64_t batch, const int64_t* a_at, const int64_t* b_at, const int64_t* c_at,
               const T* a, const T* b, T* c) {
  constexpr int64_t kChunkWork = 1 << 17;
  const int64_t work = std::max<int64_t>(1, s.m * s.n * std::max<int64_t>(1, s.k));
  if (work >= 8 * kChunkWork) {  // large ones share the threads one by one
    for (int64_t i = 0; i < batch; ++i) run<T>(s, a + a_at[i], b + b_at[i], c + c_at[i], {});
    return;
  }
  parallel_for(batch, std::max<int64_t>(1, kChunkWork / work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) run<T>(s, a + a_at[i], b + b_at[i], c + c_at[i], {});
  });
}

template <class F>
void visit_gemm_dtype(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    case DType::bf16:
      return f(bfloat16{});
    case DType::f16:
      return f(float16{});
    case DType::i64:
      return f(int64_t{});
    case DType::i32:
      return f(int32_t{});
    default:
      fail<DTypeError>("gemm: no matrix product for dtype ", dtype);
  }
}

}  // namespace

Blas blas() { return current_blas().load(std::memory_order_relaxed); }

void set_blas(Blas which) {
  if (!is_built_in(which)) fail<ValueError>("set_blas: this build of Tenrec does not have that library");
  current_blas().store(which, std::memory_order_relaxed);
}
bool has_blas(Blas which) { return is_built_in(which); }

void gemm(Cpu, DType dtype, const GemmShape& shape, const void* a, const void* b, void* c,
          const GemmEpilogue& epilogue) {
  visit_gemm_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    run(shape, static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(c), epilogue);
  });
}

void batched_gemm(Cpu, DType dtype, const GemmShape& shape, int64_t batch, const int64_t* a_offsets,
                  const int64_t* b_offsets, const int64_t* c_offsets, const void* a, const void* b, void* c) {
  visit_gemm_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    run_batch(shape, batch, a_offsets, b_offsets, c_offsets, static_cast<const T*>(a), static_cast<const T*>(b),
              static_cast<T*>(c));
  });
}

}  // namespace tenrec::kernels
