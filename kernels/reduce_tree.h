// The order in which a reduction combines its elements, once for all reductions and layouts.
//
// The n elements that make one output are numbered in row-major order of the reduced dimensions and cut into leaves of
// 512. A leaf is a binary tree over the bits of the number in the leaf: elements that differ in bit 64 are combined
// first, then those that differ in 128, 256, then the bits from the lanes of a 64-byte pack up to 32, then from half a
// pack down to 1. So a leaf can be computed by packs that hold neighbours of one row as well as by packs that hold one
// element each of several columns, with the same bits. Leaves are combined pairwise in order, as a binary counter does
// it, and for f32 in double. Hence
//   - the rounding error of a sum is at most (log2 min(n, 512) + 1) eps / 2 * sum |x|
//     (N. J. Higham, "The accuracy of floating point summation", 1993);
//   - the bits depend on n alone: not on strides, the neighbours, the instruction set or the number of threads;
//   - a sequence whose second half mirrors or repeats the first with the other sign sums to zero at sizes of whole
//   leaves.
//
// An operation `Op` has, for T = float, double, int64_t and packs of them: identity<T>(), with combine(a, identity) ==
// a in every bit; P map(P x), done to an element first; P combine(P, P). Wide<T> is the type of the tree over leaves.
#pragma once

#include <algorithm>
#include <bit>
#include <utility>

#include "tenrec/kernels/pack.h"

namespace tenrec::kernels::detail {

inline constexpr int64_t kLeaf = 512;
inline constexpr int64_t kLeafLanes = 64;
template <class T>
inline constexpr int kTreeLanes = 64 / int(sizeof(T));
template <class T>
using TreePack = Pack<T, kTreeLanes<T>>;
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, float>, double, T>;

// The bits of an element's number in its leaf, in the order in which the tree goes over them.
template <class T>
inline constexpr auto tree_bits = [] {
  struct Bits {
    int64_t at[9];
  } bits{{64, 128, 256}};
  int k = 3;
  for (int64_t bit = kTreeLanes<T>; bit < 64; bit *= 2) bits.at[k++] = bit;
  for (int64_t bit = kTreeLanes<T> / 2; bit > 0; bit /= 2) bits.at[k++] = bit;
  return bits;
}();
// Of these, how many come before those inside a pack.
template <class T>
inline constexpr int kPackLevels = 9 - std::countr_zero(unsigned(kTreeLanes<T>));

// The first `count` lanes from memory, 0 <= count <= lanes; the rest is unspecified.
template <class T>
TENREC_INLINE TreePack<T> load_first(const T* x, int count) {
  using P = TreePack<T>;
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>)
    return P(__builtin_ia32_loadups512_mask(x, P(T(0)).v, uint16_t((1u << count) - 1)));
  if constexpr (std::is_same_v<T, double>)
    return P(__builtin_ia32_loadupd512_mask(x, P(T(0)).v, uint8_t((1u << count) - 1)));
#endif
  alignas(64) T lanes[kTreeLanes<T>] = {};
  for (int i = 0; i < count; ++i) lanes[i] = x[i];
  return P::load(lanes);
}
template <class T>
TENREC_INLINE void store_first(T* y, TreePack<T> value, int count) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>) {
    __builtin_ia32_storeups512_mask(y, value.v, uint16_t((1u << count) - 1));
    return;
  }
#endif
  alignas(64) T lanes[kTreeLanes<T>];
  value.store(lanes);
  for (int i = 0; i < count; ++i) y[i] = lanes[i];
}
template <class T>
inline constexpr auto lane_numbers = [] {
  struct Numbers {
    alignas(64) T at[kTreeLanes<T>];
  } numbers{};
  for (int i = 0; i < kTreeLanes<T>; ++i) numbers.at[i] = T(i);
  return numbers;
}();
// Lanes below `count` of x, `other` in the rest.
template <class T>
TENREC_INLINE TreePack<T> keep_first(TreePack<T> x, int count, T other) {
  using P = TreePack<T>;
  return select(P::load(lane_numbers<T>.at) < P(T(count)), x, P(other));
}

// reduce_lanes of pack.h, by shuffles: a pack that is cut in two in memory waits for its own store.
template <class T, int N, class F>
TENREC_INLINE T fold_lanes(Pack<T, N> x, const F& f) {
  const auto half = [&]<size_t... I>(std::index_sequence<I...>, auto offset) __attribute__((always_inline)) {
    return __builtin_shufflevector(x.v, x.v, int(I + decltype(offset)::value)...);
  };
  const auto lanes = std::make_index_sequence<N / 2>();
  const auto low = half(lanes, std::integral_constant<int, 0>()),
             high = half(lanes, std::integral_constant<int, N / 2>());
  if constexpr (N == 2) {
    return f(x[0], x[1]);
  } else {
    return fold_lanes(f(Pack<T, N / 2>(low), Pack<T, N / 2>(high)), f);
  }
}

// Loads for reduce_leaf: packs of contiguous memory, mapped.
template <class T, class Op>
struct RowLoad {
  const T* x;
  const Op& op;
  TENREC_INLINE TreePack<T> full(int64_t i) const { return op.map(TreePack<T>::load(x + i)); }
  TENREC_INLINE TreePack<T> tail(int64_t i, int count) const {
    return keep_first<T>(op.map(load_first(x + i, count)), count, op.template identity<T>());
  }
};

// Keeps the compiler from reading memory out of order: loads that jump about cost a third of the DRAM's speed, because
// the prefetchers lose the stream.
TENREC_INLINE void keep_load_order() { asm volatile("" ::: "memory"); }

// All 64 lanes of a leaf: packs side by side, so that memory is read in order. (Indices are constants everywhere: that
// is what lets the compiler keep the array in registers.)
template <class T>
inline constexpr int kLeafPacks = kLeafLanes / kTreeLanes<T>;
template <class T>
struct LanePacks {
  TreePack<T> at[kLeafPacks<T>];
};
template <class T>
using PackNumbers = std::make_integer_sequence<int, kLeafPacks<T>>;

template <class T, class Load, int... J>
TENREC_INLINE LanePacks<T> load_lanes(int64_t i, const Load& load, std::integer_sequence<int, J...>) {
  return {{load.full(i + J * kTreeLanes<T>)...}};
}
template <class T, class Load, int... J>
TENREC_INLINE LanePacks<T> load_last_lanes(int64_t i, int64_t m, const Load& load, std::integer_sequence<int, J...>) {
  const auto count = [=](int64_t at) { return int(std::clamp<int64_t>(m - at, 0, kTreeLanes<T>)); };
  return {{load.tail(i + J * kTreeLanes<T>, count(i + J * kTreeLanes<T>))...}};
}
template <class T, class Op, int... J>
TENREC_INLINE LanePacks<T> combine_lanes(const LanePacks<T>& a, const LanePacks<T>& b, const Op& op,
                                         std::integer_sequence<int, J...>) {
  return {{op.combine(a.at[J], b.at[J])...}};
}
template <class T, int kBegin, int kCount, class Op>
TENREC_INLINE TreePack<T> join_packs(const LanePacks<T>& a, const Op& op) {
  if constexpr (kCount == 1) {
    return a.at[kBegin];
  } else {
    return op.combine(join_packs<T, kBegin, kCount / 2>(a, op), join_packs<T, kBegin + kCount / 2, kCount / 2>(a, op));
  }
}

// The tree over the elements of each lane, from element i on. `last`: the group of 64 that is not full, if there is
// one.
template <class T, int kLevel, bool kWhole, class Op, class Load>
TENREC_INLINE LanePacks<T> lane_tree(int64_t i, int64_t m, const LanePacks<T>& last, const Op& op, const Load& load) {
  if constexpr (kLevel == 0) {
    if (!kWhole && i + kLeafLanes > m) return last;
    return load_lanes<T>(i, load, PackNumbers<T>());
  } else {
    const LanePacks<T> a = lane_tree<T, kLevel - 1, kWhole>(i, m, last, op, load);
    const int64_t other = i + tree_bits<T>.at[kLevel - 1];
    if (!kWhole && other >= m) return a;
    keep_load_order();
    return combine_lanes(a, lane_tree<T, kLevel - 1, kWhole>(other, m, last, op, load), op, PackNumbers<T>());
  }
}
template <class T, bool kWhole, class Op, class Load>
TENREC_INLINE TreePack<T> pack_tree(int64_t m, const Op& op, const Load& load) {
  LanePacks<T> last{};
  if (const int64_t begin = m / kLeafLanes * kLeafLanes; !kWhole && begin < m)
    last = load_last_lanes<T>(begin, m, load, PackNumbers<T>());
  return join_packs<T, 0, kLeafPacks<T>>(lane_tree<T, 3, kWhole>(0, m, last, op, load), op);
}

// Elements [0, m) of a leaf; load.full(i) gives the mapped pack at i, load.tail(i, count) one filled up with identity.
template <class T, class Op, class Load>
TENREC_INLINE T reduce_leaf(int64_t m, const Op& op, const Load& load) {
  TreePack<T> all;
  if (m == kLeaf)
    all = pack_tree<T, true>(m, op, load);
  else if (m <= kTreeLanes<T>)
    all = load.tail(0, int(m));
  else
    all = pack_tree<T, false>(m, op, load);
  return fold_lanes(all, [&op](auto a, auto b) { return op.combine(a, b); });
}

// The same tree for columns, levels kFrom to kTo: load(i) gives element i of as many columns as a pack has lanes.
template <class T, int kFrom, int kTo, class Op, class Load>
TENREC_INLINE TreePack<T> column_tree(int64_t at, int64_t m, const Op& op, const Load& load) {
  if constexpr (kFrom == kTo) {
    return load(at);
  } else {
    const int64_t bit = tree_bits<T>.at[kTo - 1];
    TreePack<T> a = column_tree<T, kFrom, kTo - 1>(at, m, op, load);
    if (at + bit < m) a = op.combine(a, column_tree<T, kFrom, kTo - 1>(at + bit, m, op, load));
    return a;
  }
}

// Combines values that arrive in order into a balanced tree, `width` columns of them at once: slot k holds 2^k values a
// column. The slots are the caller's, width * bit_width(number of values). Join: (const T* a, T* b, n): b = combine(a,
// b).
template <class T, class Join>
class PairwiseCounter {
 public:
  PairwiseCounter(Join join, T* slots, int64_t width) : join_(join), slots_(slots), width_(width) {}
  template <class From>
  void push(const From* values) {
    const int level = std::countr_one(count_++);
    T* to = slots_ + level * width_;
    for (int64_t c = 0; c < width_; ++c) to[c] = T(values[c]);
    for (int k = 0; k < level; ++k) join_(slots_ + k * width_, to, width_);
  }
  // Of all values pushed; zeros if none were. The counter is used up.
  void result(T* out) {
    if (count_ == 0) return void(std::fill_n(out, width_, T()));
    int level = std::countr_zero(count_);
    std::copy_n(slots_ + level * width_, width_, out);
    for (uint64_t n = count_ >> (level + 1); n; n >>= 1) {
      ++level;
      if (n & 1) join_(slots_ + level * width_, out, width_);
    }
  }

 private:
  Join join_;
  T* slots_;
  int64_t width_;
  uint64_t count_ = 0;
};

}  // namespace tenrec::kernels::detail
