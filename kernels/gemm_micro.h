// The innermost loops of matrix products, held in registers. Internal to the GEMM and convolution kernels.
//
// Two forms, for the two ways in which operands can lie:
//   outer   C[i, j..] += A[i, p] * B[p, j..]: one element of A times vectors along a row of B, whose rows lie `b_step`
//           apart (packed or in place); A may lie in any way.
//   dot     C[i, j] = sum over p of A[i, p..] * B[j, p..]: vectors along k of both, nothing to pack (x @ W^T).
// Both reach the processor's peak (AMD Zen 4, AVX-512, one core: 116 GFLOP/s in f32 from k = 256 on, 100 at k = 32).
#pragma once

#include <cstdint>
#include <utility>

#include "tenrec/kernels/pack.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// On a lambda: if one of them stayed a function, all that it captures would live in memory.
#define TENREC_MELT __attribute__((always_inline))

namespace tenrec::kernels::micro {

// The register tile of the outer form: rows of A by vectors of B. 32 registers hold 8 x 3, 16 hold 6 x 2. (A sanitizer
// would take minutes to compile all the sizes.)
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr int kRows = 3, kVecs = 2;
#elif defined(__AVX512F__)
inline constexpr int kRows = 8, kVecs = 3;
#else
inline constexpr int kRows = 6, kVecs = 2;
#endif

template <class T>
inline constexpr int kWidth = kLanes<T>;

// Holds a value in its register: g++ would read it from memory again for each use, and loads are what is scarce.
template <class T>
TENREC_INLINE void pin(NativePack<T>& x) {
#if defined(__x86_64__)
  asm("" : "+v"(x.v));
#endif
}

// The first `count` (1 to kWidth) lanes of a vector in memory. Loads give zeros behind them.
template <class T>
class Lanes {
 public:
  TENREC_INLINE explicit Lanes(int count) : count_(count) {
#if defined(__AVX512F__)
    mask_ = uint16_t((1u << count) - 1);
#elif defined(__AVX2__)
    for (int i = 0; i < kWidth<T>; ++i) mask_[i] = i < count ? -1 : 0;
#endif
  }

  TENREC_INLINE NativePack<T> load(const T* from) const {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
      return NativePack<T>(_mm512_maskz_loadu_ps(mask_, from));
    else
      return NativePack<T>(_mm512_maskz_loadu_pd(__mmask8(mask_), from));
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
      return NativePack<T>(_mm256_maskload_ps(from, __m256i(mask_)));
    else
      return NativePack<T>(_mm256_maskload_pd(from, __m256i(mask_)));
#else
    return NativePack<T>::load_partial(from, count_);
#endif
  }

  TENREC_INLINE void store(T* to, NativePack<T> x) const {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
      _mm512_mask_storeu_ps(to, mask_, x.v);
    else
      _mm512_mask_storeu_pd(to, __mmask8(mask_), x.v);
#else
    if (count_ == kWidth<T>)
      x.store(to);
    else
      x.store_partial(to, count_);
#endif
  }

 private:
  int count_;
#if defined(__AVX512F__)
  uint16_t mask_;
#elif defined(__AVX2__)
  typename detail::VectorOf<typename detail::IntOfSize<int(sizeof(T))>::Signed, kWidth<T>>::Type mask_;
#endif
};

// How elements are multiplied and added to a sum. An element of the second is a pair of bfloat16 of neighbouring k in
// the bits of a float: two products each, summed in f32 (denormals count as zero).
template <class T>
struct MultiplyAdd {
  TENREC_INLINE static NativePack<T> broadcast(const T* x) { return NativePack<T>(*x); }
  TENREC_INLINE static NativePack<T> run(NativePack<T> a, NativePack<T> b, NativePack<T> sum) { return fma(a, b, sum); }
};
#if defined(__AVX512BF16__)
#define TENREC_HAVE_BF16_PAIRS 1
struct MultiplyAddPairs {
  TENREC_INLINE static NativePack<float> broadcast(const float* x) {
    int32_t bits;
    __builtin_memcpy(&bits, x, sizeof(bits));
    return NativePack<float>(_mm512_castsi512_ps(_mm512_set1_epi32(bits)));
  }
  TENREC_INLINE static NativePack<float> run(NativePack<float> a, NativePack<float> b, NativePack<float> sum) {
    return NativePack<float>(_mm512_dpbf16_ps(sum.v, std::bit_cast<__m512bh>(a.v), std::bit_cast<__m512bh>(b.v)));
  }
};
#endif

// max(x, 0); NaN stays NaN.
template <class P>
TENREC_INLINE P rectified(P x) {
  return select(x < P(0), P(0), x);
}

// What happens to a sum on its way to C. The bias points at the tile's first column.
template <class T>
struct Finish {
  const T* bias = nullptr;
  bool relu = false, accumulate = false;
};

template <class T>
struct OuterArgs {
  int64_t k;
  const T* a;
  int64_t a_row, a_step;  // A[i, p] = a[i * a_row + p * a_step]
  const T* b;
  int64_t b_step;  // B[p, j] = b[p * b_step + j]
  T* c;
  int64_t ldc;
  int last;  // columns in the last vector
  Finish<T> finish;
};

// Vectors in a tile of `rows` rows, at most: few rows need many vectors, or each sum would wait for the one before.
constexpr int most_vecs(int rows) {
  if (kRows < 6) return kVecs;
#if defined(__AVX512F__)
  return rows <= 2 ? 8 : rows == 3 ? 6 : rows == 4 ? 5 : kVecs;
#else
  return rows == 1 ? 8 : rows == 2 ? 4 : rows == 3 ? 3 : kVecs;
#endif
}
// Vectors in the next tile of `rows` rows, where `left` are left: the most, or few.
constexpr int tile_vecs(int rows, int64_t left) {
  return left >= most_vecs(rows) ? most_vecs(rows) : left < kVecs ? int(left) : kVecs;
}

template <class T>
using OuterFunction = void (*)(const OuterArgs<T>&);
// The function for a tile of `rows` (1 to kRows) by `vecs` (1 to kVecs, or most_vecs(rows)) vectors.
template <class T, class Op = MultiplyAdd<T>>
OuterFunction<T> outer_function(int rows, int vecs);

// f(0), f(1), ... f(N - 1), each with its number as a constant: only then does g++ keep an array of packs in registers
// in every build (a loop that it unrolls itself it may unroll too late, and every sum goes through memory).
template <int N, class F>
TENREC_INLINE void unrolled(F&& f) {
  [&]<int... I>(std::integer_sequence<int, I...>) TENREC_MELT { (f(std::integral_constant<int, I>{}), ...); }
  (std::make_integer_sequence<int, N>{});
}

// Writes a tile's sums. Most tiles are whole and have nothing but C to add: those take the short way.
template <class T, int kM, int kN>
TENREC_INLINE void finish_outer(const OuterArgs<T>& args, const NativePack<T>* sum) {
  using P = NativePack<T>;
  constexpr int kW = kWidth<T>;
  const Finish<T> finish = args.finish;
  const auto at = [&](auto i, auto j) TENREC_MELT { return args.c + i * args.ldc + j * kW; };
  if (args.last == kW && !finish.bias && !finish.relu) {
    if (finish.accumulate) {
      unrolled<kM>([&](auto i) TENREC_MELT {
        unrolled<kN>([&](auto j) TENREC_MELT { (sum[i * kN + j] + P::load(at(i, j))).store(at(i, j)); });
      });
    } else {
      unrolled<kM>([&](auto i)
                       TENREC_MELT { unrolled<kN>([&](auto j) TENREC_MELT { sum[i * kN + j].store(at(i, j)); }); });
    }
    return;
  }
  unrolled<kN>([&](auto j) TENREC_MELT {
    const Lanes<T> lanes(j + 1 < kN ? kW : args.last);
    const P bias = finish.bias ? lanes.load(finish.bias + j * kW) : P(T(0));
    unrolled<kM>([&](auto i) TENREC_MELT {
      P value = sum[i * kN + j];
      if (finish.accumulate) value += lanes.load(at(i, j));
      if (finish.bias) value += bias;
      if (finish.relu) value = rectified(value);
      lanes.store(at(i, j), value);
    });
  });
}

template <class T, class Op, int kM, int kN>
void outer(const OuterArgs<T>& args) {
  using P = NativePack<T>;
  constexpr int kW = kWidth<T>;
  P sum[kM * kN];
  unrolled<kM * kN>([&](auto i) TENREC_MELT { sum[i] = P(T(0)); });
  const Lanes<T> last(args.last);
  const T *a = args.a, *b = args.b;
  const int64_t a_row = args.a_row, a_step = args.a_step, b_step = args.b_step;
  for (int64_t p = args.k; p > 0; --p) {
    P right[kN];
    unrolled<kN>([&](auto j) TENREC_MELT {
      right[j] = j + 1 < kN ? P::load(b + j * kW) : last.load(b + j * kW);
      pin<T>(right[j]);
    });
    unrolled<kM>([&](auto i) TENREC_MELT {
      const P left = Op::broadcast(a + i * a_row);
      unrolled<kN>([&](auto j) TENREC_MELT { sum[i * kN + j] = Op::run(left, right[j], sum[i * kN + j]); });
    });
    a += a_step;
    b += b_step;
  }
  finish_outer<T, kM, kN>(args, sum);
}

namespace detail {
// Exchanges the blocks of D lanes that lie off the diagonal of two rows: one step of a transposition.
template <int D, class P>
TENREC_INLINE void exchange(P& a, P& b) {
  constexpr int kN = P::kSize;
  const auto shuffle = [&]<int... I>(std::integer_sequence<int, I...>) TENREC_MELT {
    const typename P::Vec x = a.v, y = b.v;
    a.v = __builtin_shufflevector(x, y, (I & D ? kN + (I ^ D) : I)...);
    b.v = __builtin_shufflevector(x, y, (I & D ? kN + I : (I ^ D))...);
  };
  shuffle(std::make_integer_sequence<int, kN>{});
}
}  // namespace detail

// Transposes a square of kWidth rows in registers.
template <class P, int D = P::kSize / 2>
TENREC_INLINE void transpose(P* rows) {
  unrolled<P::kSize>([&](auto i) TENREC_MELT {
    if constexpr (!(i & D)) detail::exchange<D>(rows[i], rows[i + D]);
  });
  if constexpr (D > 1) transpose<P, D / 2>(rows);
}

// The sums of the lanes of kWidth vectors, as one vector: lane i holds the sum of rows[i]. Destroys the rows.
template <class P, int D = 1>
TENREC_INLINE P lane_sums(P* rows) {
  unrolled<P::kSize / (2 * D)>([&](auto i) TENREC_MELT {
    detail::exchange<D>(rows[2 * D * i], rows[2 * D * i + D]);
    rows[2 * D * i] += rows[2 * D * i + D];
  });
  if constexpr (2 * D < P::kSize)
    return lane_sums<P, 2 * D>(rows);
  else
    return rows[0];
}

// The register tile of the dot form: rows of A by rows of B. The sums of the largest tile fill one vector.
template <class T>
inline constexpr int kMostDotRows = kWidth<T> < 4 ? kWidth<T> : 4;
template <class T>
constexpr int dot_cols(int rows) {
  const int cols = kWidth<T> / (rows == 3 ? 4 : rows);
  return cols < 1 ? 1 : cols;
}

template <class T>
struct DotArgs {
  int64_t k;
  const T* a;
  int64_t lda;
  const T* b;
  int64_t ldb;
  T* c;
  int64_t ldc;
  int cols;  // 1 to kN; what is read beyond is the last row again
  Finish<T> finish;
};

template <class T>
using DotFunction = void (*)(const DotArgs<T>&);
// The function for `rows` (1 to kMostDotRows) by `cols` (1 to dot_cols(rows)).
template <class T, class Op = MultiplyAdd<T>>
DotFunction<T> dot_function(int rows, int cols);

template <class T, class Op, int kM, int kN>
void dot(const DotArgs<T>& args) {
  using P = NativePack<T>;
  constexpr int kW = kWidth<T>;
  P sum[kW];
  unrolled<kW>([&](auto i) TENREC_MELT { sum[i] = P(T(0)); });
  const T *a = args.a, *b[kN];
  const int64_t lda = args.lda;
  for (int j = 0; j < kN; ++j) b[j] = args.b + (j < args.cols ? j : args.cols - 1) * args.ldb;
  const auto step = [&](int64_t p, const auto& load) TENREC_MELT {
    P left[kM];
    unrolled<kM>([&](auto i) TENREC_MELT {
      left[i] = load(a + i * lda + p);
      pin<T>(left[i]);
    });
    unrolled<kN>([&](auto j) TENREC_MELT {
      P right = load(b[j] + p);
      pin<T>(right);
      unrolled<kM>([&](auto i) TENREC_MELT { sum[i * kN + j] = Op::run(left[i], right, sum[i * kN + j]); });
    });
  };
  int64_t p = 0;
  for (; p + kW <= args.k; p += kW) step(p, [](const T* from) TENREC_MELT { return P::load(from); });
  if (p < args.k) {
    const Lanes<T> rest(int(args.k - p));
    step(p, [&](const T* from) TENREC_MELT { return rest.load(from); });
  }
  T sums[2 * kW];
  lane_sums(sum).store(sums);
  const Lanes<T> lanes(args.cols);
  const Finish<T> finish = args.finish;
  const P bias = finish.bias ? lanes.load(finish.bias) : P(T(0));
  unrolled<kM>([&](auto i) TENREC_MELT {
    P value = P::load(sums + i * kN);
    T* out = args.c + i * args.ldc;
    if (finish.accumulate) value += lanes.load(out);
    if (finish.bias) value += bias;
    if (finish.relu) value = rectified(value);
    lanes.store(out, value);
  });
}

}  // namespace tenrec::kernels::micro
