// What kernels over rows share: softmax, cross-entropy, normalisation. Internal.
//
// A row is worked on by a team of threads: neighbours of a warp, a block, or, where rows lie interleaved, the threads
// of one column of a block's shared memory. An algorithm is written once over a team. A team goes through its row in
// batches, which it holds in registers: forwards for what must be known of the whole row, then backwards from the batch
// it still holds for what is made of that. So a row of up to a batch is read once, and a longer one comes the second
// time from the cache.
//
// The packs of a batch lie on 16 bytes of the first operand, wherever a row begins and ends: those that reach over an
// end, and those of operands that lie otherwise, go by elements.
#pragma once

#include <cmath>
#include <limits>

#include "tenrec/kernels/cuda/launch.h"
#include "tenrec/kernels/vector_math.h"

#if defined(__CUDACC__)
#define TENREC_UNROLL _Pragma("unroll")
#else
#define TENREC_UNROLL
#endif

namespace tenrec::cuda {

constexpr int kMostThreads = 512;  // of a block here: each may have 128 registers

// What elements are computed in.
template <class T>
using Real = std::conditional_t<std::is_same_v<T, double>, double, float>;

// On the device the C library's float takes a third of the instructions of ours, and is as good.
__device__ inline float exp_of(float x) {
#if defined(__CUDA_ARCH__)
  return ::expf(x);
#else
  return kernels::exp(x);
#endif
}
__device__ inline double exp_of(double x) { return std::exp(x); }

struct Add {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Larger {  // NaN left out
  template <class T>
  __device__ T operator()(T a, T b) const {
    return std::fmax(a, b);
  }
};

// --- runs of elements ------------------------------------------------------------------------------------------------

// Elements first, first + 1, ... of n that lie `stride` apart; `fill` for those outside of [0, n).
template <class U, class C, int kCount>
__device__ void load_run(const U* from, int64_t stride, int64_t first, int64_t n, C fill, C (&to)[kCount]) {
  if constexpr (kCount > 1 && kCount * sizeof(U) % 16 == 0) {
    constexpr int kPack = Pack16<U>::kCount;
    if (first >= 0 && first + kCount <= n && reinterpret_cast<uintptr_t>(from + first) % 16 == 0) {
      TENREC_UNROLL
      for (int i = 0; i < kCount / kPack; ++i) {
        const Pack16<U> pack = load16(from + first + i * kPack);
        TENREC_UNROLL
        for (int j = 0; j < kPack; ++j) to[i * kPack + j] = convert_to<C>(pack.values[j]);
      }
      return;
    }
  }
  TENREC_UNROLL
  for (int j = 0; j < kCount; ++j) {
    const int64_t i = first + j;
    to[j] = i >= 0 && i < n ? convert_to<C>(from[i * stride]) : fill;
  }
}
template <class U, class C, int kCount>
__device__ void store_run(U* to, int64_t stride, int64_t first, int64_t n, const C (&from)[kCount]) {
  if constexpr (kCount > 1 && kCount * sizeof(U) == 16) {
    if (first >= 0 && first + kCount <= n && reinterpret_cast<uintptr_t>(to + first) % 16 == 0) {
      Pack16<U> pack;
      TENREC_UNROLL
      for (int j = 0; j < kCount; ++j) pack.values[j] = convert_to<U>(from[j]);
#if defined(__CUDA_ARCH__)
      // nvcc 13 splits a plain store into elements here.
      return __stwb(reinterpret_cast<uint4*>(to + first), __builtin_bit_cast(uint4, pack));
#else
      return store16(to + first, pack);
#endif
    }
  }
  TENREC_UNROLL
  for (int j = 0; j < kCount; ++j) {
    const int64_t i = first + j;
    if (i >= 0 && i < n) to[i * stride] = convert_to<U>(from[j]);
  }
}
// How many elements `x` lies behind a multiple of 16 bytes.
template <class T>
__device__ int elements_past_16(const T* x) {
  return int(reinterpret_cast<uintptr_t>(x) / sizeof(T) % uintptr_t(Pack16<T>::kCount));
}

// --- teams -----------------------------------------------------------------------------------------------------------

// A tensor seen as [outer, n, inner]: rows of n elements that lie `inner` apart.
struct RowShape {
  int64_t rows, n, inner;
  __device__ int64_t start(int64_t r) const { return inner == 1 ? r * n : r / inner * n * inner + r % inner; }
};
inline RowShape row_shape(const View& x, int64_t dim) {
  RowShape s{1, 1, 1};
  for (int64_t d = 0; d < x.ndim(); ++d) (d == dim ? s.n : s.rows) *= x.size(d);
  for (int64_t d = dim + 1; d < x.ndim(); ++d) s.inner *= x.size(d);
  return s;
}

// Every team has `width` threads, of which this is number `rank`, and is number `index` of `per_block`. reduce() gives
// all of its threads the same bits; the whole block must call it.

// `width` neighbours of a warp, a power of two.
struct WarpTeam {
  static constexpr bool kStrided = false;
  int width, rank, index, per_block;
  __device__ explicit WarpTeam(int w)
      : width(w), rank(int(threadIdx.x) % w), index(int(threadIdx.x) / w), per_block(int(blockDim.x) / w) {}
  template <class T, class Op>
  __device__ T reduce(T value, T, Op combine) const {
    for (int lanes = width / 2; lanes > 0; lanes /= 2) value = combine(value, __shfl_xor_sync(kAllLanes, value, lanes));
    return value;
  }
};

// A block of whole warps.
struct BlockTeam {
  static constexpr bool kStrided = false;
  static constexpr int index = 0, per_block = 1;
  int width, rank;
  __device__ explicit BlockTeam(int w) : width(w), rank(int(threadIdx.x)) {}
  template <class T, class Op>
  __device__ T reduce(T value, T identity, Op combine) const {
    return block_reduce(value, identity, combine);
  }
};

// Neighbours among the threads belong to neighbouring columns: they read memory side by side.
struct ColumnTeam {
  static constexpr bool kStrided = true;
  int width, rank, index, per_block;
  __device__ explicit ColumnTeam(int w) : width(w), per_block(int(blockDim.x) / w) {
    rank = int(threadIdx.x) / per_block;
    index = int(threadIdx.x) % per_block;
  }
  template <class T, class Op>
  __device__ T reduce(T value, T, Op combine) const {
    TENREC_SHARED(T, parts, kMostThreads);
    if (width == 1) return value;
    __syncthreads();  // an earlier call may still be reading
    parts[threadIdx.x] = value;
    __syncthreads();
    value = parts[index];
    for (int k = 1; k < width; ++k) value = combine(value, parts[k * per_block + index]);
    return value;
  }
};

// A row of a tensor that begins at `x`, as one thread of a team goes through it.
template <class Team, class T>
struct Row {
  using C = Real<T>;
  static constexpr int kVector = Team::kStrided ? 1 : Pack16<T>::kCount;  // elements of a pack
  static constexpr int kPacks = Team::kStrided ? 8 : 4;                   // of a batch, per thread
  using Values = C[kPacks][kVector];

  int64_t start, n, batches;
  int width, rank, past;

  // n = 0 for a thread whose team has no row.
  __device__ Row(const Team& team, const T* x, int64_t start_, int64_t n_, int64_t stride)
      : start(start_), n(n_), width(team.width), rank(team.rank), past(0), stride_(stride) {
    if constexpr (!Team::kStrided) past = elements_past_16(x + start);
    batches = n == 0 ? 0 : kernels::ceil_div(n + past, int64_t(kVector) * kPacks * width);
  }
  // The first element of pack k; a few before or behind the row are possible.
  __device__ int64_t place(int64_t batch, int k) const {
    return ((batch * kPacks + k) * width + rank) * kVector - past;
  }
  __device__ bool inside(int64_t batch, int k, int j) const {
    const int64_t i = place(batch, k) + j;
    return i >= 0 && i < n;
  }
  __device__ int count_inside(int64_t batch) const {
    int count = 0;
    TENREC_UNROLL
    for (int k = 0; k < kPacks; ++k) {
      const int64_t at = place(batch, k), first = at > 0 ? at : 0, end = at + kVector < n ? at + kVector : n;
      count += end > first ? int(end - first) : 0;
    }
    return count;
  }
  __device__ void fill_outside(int64_t batch, C fill, Values& v) const {
    TENREC_UNROLL
    for (int k = 0; k < kPacks; ++k) {
      TENREC_UNROLL
      for (int j = 0; j < kVector; ++j) v[k][j] = inside(batch, k, j) ? v[k][j] : fill;
    }
  }
  // `from` is where the row begins in that tensor; `by` is how far apart its elements lie.
  template <class U>
  __device__ void load(const U* from, int64_t batch, C fill, Values& to) const {
    TENREC_UNROLL
    for (int k = 0; k < kPacks; ++k) load_run(from, stride(), place(batch, k), n, fill, to[k]);
  }
  template <class U>
  __device__ void store(U* to, int64_t batch, const Values& from) const {
    TENREC_UNROLL
    for (int k = 0; k < kPacks; ++k) store_run(to, stride(), place(batch, k), n, from[k]);
  }
  // Calls f(place) for all packs of the thread: where nothing is held, the loop without batches takes less registers.
  template <class F>
  __device__ void for_packs(const F& f) const {
    for (int64_t at = int64_t(rank) * kVector - past; at < n; at += int64_t(width) * kVector) f(at);
  }
  __device__ int64_t stride() const { return Team::kStrided ? stride_ : 1; }

 private:
  int64_t stride_;
};

// v = f(v) for all elements of a batch, and a = f(a, b).
template <class C, int kPacks, int kVector, class F>
__device__ void map(C (&v)[kPacks][kVector], const F& f) {
  TENREC_UNROLL
  for (int k = 0; k < kPacks; ++k) {
    TENREC_UNROLL
    for (int j = 0; j < kVector; ++j) v[k][j] = f(v[k][j]);
  }
}
template <class C, int kPacks, int kVector, class F>
__device__ void map(C (&a)[kPacks][kVector], const C (&b)[kPacks][kVector], const F& f) {
  TENREC_UNROLL
  for (int k = 0; k < kPacks; ++k) {
    TENREC_UNROLL
    for (int j = 0; j < kVector; ++j) a[k][j] = f(a[k][j], b[k][j]);
  }
}
// The sum of f(a, b): packs in C, of which there is one conversion each, then in double.
template <class C, int kPacks, int kVector, class F>
__device__ double sum_of(const C (&a)[kPacks][kVector], const C (&b)[kPacks][kVector], const F& f) {
  double sum = 0;
  TENREC_UNROLL
  for (int k = 0; k < kPacks; ++k) {
    C part = 0;
    TENREC_UNROLL
    for (int j = 0; j < kVector; ++j) part += f(a[k][j], b[k][j]);
    sum += double(part);
  }
  return sum;
}

// Calls f(team, r) with every thread of the block for every row that the block works on; r may lie behind the last row
// for some of the teams.
template <class Team, class F>
__device__ void for_teams(int64_t rows, int width, const F& f) {
  const Team team(width);
  const int64_t step = int64_t(gridDim.x) * team.per_block;
  for (int64_t first = int64_t(blockIdx.x) * team.per_block; first < rows; first += step) f(team, first + team.index);
}
template <class Team, class T>
__device__ Row<Team, T> row_at(const Team& team, const RowShape& s, const T* x, int64_t r) {
  return Row<Team, T>(team, x, r < s.rows ? s.start(r) : 0, r < s.rows ? s.n : 0, s.inner);
}

// Of a tensor that may be absent.
template <class T>
T* data_or_null(const View* v) {
  return v ? v->as<T>() : nullptr;
}

// --- launches --------------------------------------------------------------------------------------------------------

inline int64_t round_to_power(int64_t n) {
  int64_t power = 1;
  while (power < n) power *= 2;
  return power;
}

// The teams of a launch.
struct Teams {
  int width, threads;  // of a team, of a block
  unsigned grid;
  Teams(int64_t rows, int64_t w, int64_t per_block)
      : width(int(w)), threads(int(w * per_block)), grid(blocks_for(kernels::ceil_div(rows, per_block))) {}
};

template <class Team>
struct TeamTag {
  using type = Team;
};

// Calls f(tag, teams) with the kind and number of teams for rows of n neighbours: as few threads to a row as hold it.
template <class T, class F>
void choose_row_teams(int64_t rows, int64_t n, const F& f) {
  constexpr int64_t kVector = Row<WarpTeam, T>::kVector, kPacks = Row<WarpTeam, T>::kPacks;
  // A row that ends or begins within a pack may reach over one more.
  const int64_t packs = kernels::ceil_div(n % kVector ? n + kVector - 1 : n, kVector);
  const int64_t wanted = kernels::ceil_div(packs, kPacks);
  if (wanted <= kWarp) {
    const int64_t width = round_to_power(wanted), most = kThreads / width;
    f(TeamTag<WarpTeam>(), Teams(rows, width, std::min(most, kernels::round_up(rows, kWarp / width))));
  } else {
    f(TeamTag<BlockTeam>(), Teams(rows, std::min<int64_t>(kernels::round_up(wanted, kWarp), kMostThreads), 1));
  }
}
// The same for columns of n.
inline Teams column_teams(int64_t columns, int64_t n) {
  constexpr int64_t kMostWidth = 64;  // a team adds up its parts one after the other
  const int64_t wanted = std::min(round_to_power(kernels::ceil_div(n, 16)), kMostWidth);
  const int64_t beside = std::min<int64_t>(round_to_power(columns), std::max<int64_t>(kWarp, kThreads / wanted));
  return {columns, std::min(wanted, kMostThreads / beside), beside};
}
template <class T, class F>
void choose_teams(const RowShape& s, const F& f) {
  if (s.inner == 1)
    choose_row_teams<T>(s.rows, s.n, f);
  else
    f(TeamTag<ColumnTeam>(), column_teams(s.rows, s.n));
}

}  // namespace tenrec::cuda
