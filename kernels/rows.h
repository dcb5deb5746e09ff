// What kernels over rows share: softmax, losses, normalisation. Internal.
//
// Rows are contiguous runs of the accumulator's type T (f64 for f64 tensors, else f32), in place or copied and
// converted.
#pragma once

#include <array>

#include "tenrec/core/parallel.h"
#include "tenrec/core/view.h"
#include "tenrec/kernels/convert.h"
#include "tenrec/kernels/reduce_tree.h"
#include "tenrec/kernels/scratch.h"
#include "tenrec/kernels/vector_math.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::kernels::detail {

inline constexpr int64_t kRowGrain = 8192;  // elements of a parallel chunk
inline constexpr int64_t kSerialRows = 64;  // rows added one after the other before they go to a wider sum

// Of a tensor that may be absent.
template <class T>
T* pointer(const View* v) {
  return v ? v->as<T>() : nullptr;
}

struct RowSpace {
  int64_t outer = 1, n = 1, inner = 1;
  RowSpace(const View& x, int64_t dim) {
    for (int64_t d = 0; d < x.ndim(); ++d) (d < dim ? outer : d == dim ? n : inner) *= x.size(d);
  }
  int64_t rows() const { return outer * inner; }
};

// Rows are taken some at a time and in stages: within a row a stage waits for the one before it, but rows do not wait
// for each other.
inline constexpr int64_t kRowsAtOnce = 16;
inline int64_t rows_at_once(int64_t n) { return std::clamp<int64_t>(4096 / std::max<int64_t>(n, 1), 1, kRowsAtOnce); }

// Calls f(rows, r, count) for blocks of at most kRowsAtOnce rows r, r + 1, ..: pointers to those rows of every tensor,
// one behind the other, as contiguous T; in place where it is so. The first `inputs` tensors are read, the others
// written.
template <class T, size_t K, class F>
void for_rows(const RowSpace& s, const std::array<View, K>& tensors, size_t inputs, F&& f) {
  if (s.n == 0) return;
  const int64_t step = rows_at_once(s.n), grain = std::max(step, kRowGrain / s.n / step * step);
  parallel_for(s.rows(), grain, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    std::array<T*, K> buffers{}, rows;
    for (size_t k = 0; k < K; ++k)
      if (s.inner != 1 || tensors[k].dtype != dtype_of<T>) buffers[k] = scratch.get<T>(step * s.n);
    for (int64_t r = begin; r < end; r += step) {
      const int64_t count = std::min(step, end - r);
      // Brings the block into its buffer, or back out of it.
      const auto copy = [&](size_t k, bool back) {
        for (int64_t i = 0; i < count; ++i) {
          const int64_t row = r + i, at = row / s.inner * s.n * s.inner + row % s.inner;
          char* there = tensors[k].template as<char>() + at * size_of(tensors[k].dtype);
          T* here = buffers[k] + i * s.n;
          if (back)
            convert_strided(here, dtype_of<T>, 1, there, tensors[k].dtype, s.inner, s.n);
          else
            convert_strided(there, tensors[k].dtype, s.inner, here, dtype_of<T>, 1, s.n);
        }
      };
      for (size_t k = 0; k < K; ++k) {
        rows[k] = buffers[k] ? buffers[k] : static_cast<T*>(tensors[k].data) + r * s.n;
        if (k < inputs && buffers[k]) copy(k, false);
      }
      f(rows, r, count);
      for (size_t k = inputs; k < K; ++k)
        if (buffers[k]) copy(k, true);
    }
  });
}

// Elements [i, i + n) of a contiguous tensor as T, in place or copied to `buffer`.
template <class T>
const T* elements(const View& x, int64_t i, int64_t n, T* buffer) {
  if (x.dtype == dtype_of<T>) return x.as<T>() + i;
  convert_strided(x.as<char>() + i * size_of(x.dtype), x.dtype, 1, buffer, dtype_of<T>, 1, n);
  return buffer;
}
// Where to write such elements, and what brings them home after.
template <class T>
T* place(const View& y, int64_t i, T* buffer) {
  return y.dtype == dtype_of<T> ? y.as<T>() + i : buffer;
}
template <class T>
void put(const View& y, int64_t i, int64_t n, const T* values) {
  if (y.dtype == dtype_of<T>) return;
  convert_strided(values, dtype_of<T>, 1, y.as<char>() + i * size_of(y.dtype), y.dtype, 1, n);
}

// A leaf's worth of scratch in the first-level cache.
template <class T>
struct Block {
  alignas(64) T values[kLeaf];
};

// y_i = f(x_i...) over a row.
template <class T, class F, class... X>
TENREC_INLINE void map_row(int64_t n, T* y, const F& f, const X*... x) {
  constexpr int64_t lanes = kTreeLanes<T>;
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) f(TreePack<T>::load(x + i)...).store(y + i);
  if (i < n) store_first(y + i, f(load_first(x + i, int(n - i))...), int(n - i));
}

// The tree sum of n <= 512 contiguous elements, and of any number of values that leaf(i, m) makes of elements [i, i +
// m) (it returns where they are).
template <class T>
T leaf_sum(const T* x, int64_t n);  // softmax_cpu.cpp, for float and double
template <class T, class Leaf>
Wide<T> tree_sum(int64_t n, const Leaf& leaf) {
  if (n < 1) return 0;
  if (n <= kLeaf) return Wide<T>(leaf_sum(leaf(0, n), n));
  Wide<T> slots[64] = {}, sum = 0;
  const auto join = [](const Wide<T>* a, Wide<T>* b, int64_t) { *b += *a; };
  PairwiseCounter<Wide<T>, decltype(join)> counter(join, slots, 1);
  for (int64_t i = 0; i < n; i += kLeaf) {
    const int64_t m = std::min(kLeaf, n - i);
    const T value = leaf_sum(leaf(i, m), m);
    counter.push(&value);
  }
  counter.result(&sum);
  return sum;
}
// Of f(x_i...), i in [0, n).
template <class T, class F, class... X>
Wide<T> sum_row(int64_t n, const F& f, const X*... x) {
  alignas(64) T buffer[kLeaf];
  return tree_sum<T>(n, [&](int64_t i, int64_t m) {
    map_row(m, buffer, f, x + i...);
    return static_cast<const T*>(buffer);
  });
}

// The largest element, NaN left out; -inf if there is none.
template <class T>
T row_max(const T* x, int64_t n) {
  using P = TreePack<T>;
  constexpr int64_t lanes = kTreeLanes<T>, packs = 4;
  const T none = -std::numeric_limits<T>::infinity();
  const auto larger = [](auto a, auto b) { return select(a > b, a, b); };
  P best[packs] = {P(none), P(none), P(none), P(none)};
  int64_t i = 0;
  for (; i + packs * lanes <= n; i += packs * lanes)
    for (int64_t j = 0; j < packs; ++j) best[j] = larger(P::load(x + i + j * lanes), best[j]);
  for (; i + lanes <= n; i += lanes) best[0] = larger(P::load(x + i), best[0]);
  if (i < n) best[0] = larger(keep_first<T>(load_first(x + i, int(n - i)), int(n - i), none), best[0]);
  return fold_lanes(larger(larger(best[0], best[1]), larger(best[2], best[3])), larger);
}

// e^x for x <= 0, to about one unit: what exp does, less what only larger arguments and half a unit need.
template <RealPacket P>
TENREC_INLINE P exp_below(P x) {
  if constexpr (DoublePacket<P>) {
    return exp(x);
  } else {
    x = at_least(x, -105.0f);
    const Nearest<P> n(x, 0x1.715476p0f);
    return scale_by_power(P(1.0f) + expm1_reduced(reduce_ln2(x, n.value)), n);
  }
}

// The sum of e^(x - m); the exponentials go to `e` unless it is null.
template <class T>
Wide<T> sum_of_exp(const T* x, T m, int64_t n, T* e) {
  alignas(64) T buffer[kLeaf];
  const TreePack<T> shift(m);
  return tree_sum<T>(n, [&](int64_t i, int64_t count) {
    T* to = e ? e + i : buffer;
    map_row(
        count, to, [=](TreePack<T> v) { return exp_below(v - shift); }, x + i);
    return static_cast<const T*>(to);
  });
}

}  // namespace tenrec::kernels::detail
