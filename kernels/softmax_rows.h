// Rows for the kernels over the middle dimension of [outer, n, inner]. Internal.
#pragma once

#include <array>

#include "tenrec/core/parallel.h"
#include "tenrec/core/view.h"
#include "tenrec/kernels/convert.h"
#include "tenrec/kernels/reduce_tree.h"
#include "tenrec/kernels/scratch.h"
#include "tenrec/kernels/vector_math.h"

namespace tenrec::kernels::detail {

inline constexpr int64_t kRowGrain = 8192;  // elements of a parallel chunk

struct RowSpace {
  int64_t outer = 1, n = 1, inner = 1;
  RowSpace(const View& x, int64_t dim) {
    for (int64_t d = 0; d < x.ndim(); ++d) (d < dim ? outer : d == dim ? n : inner) *= x.size(d);
  }
  int64_t rows() const { return outer * inner; }
};

// Calls f(rows, r) for each row r: pointers to that row of every tensor as contiguous T, in place where it is so. The
// first `inputs` tensors are read, the others written.
template <class T, size_t K, class F>
void for_rows(const RowSpace& s, const std::array<View, K>& tensors, size_t inputs, F&& f) {
  if (s.n == 0) return;
  parallel_for(s.rows(), std::max<int64_t>(1, kRowGrain / s.n), [&](int64_t begin, int64_t end) {
    Scratch scratch;
    std::array<T*, K> buffers{}, rows;
    for (size_t k = 0; k < K; ++k)
      if (s.inner != 1 || tensors[k].dtype != dtype_of<T>) buffers[k] = scratch.get<T>(s.n);
    for (int64_t r = begin; r < end; ++r) {
      const int64_t at = s.inner == 1 ? r * s.n : r / s.inner * s.n * s.inner + r % s.inner;
      for (size_t k = 0; k < K; ++k) {
        rows[k] = buffers[k] ? buffers[k] : static_cast<T*>(tensors[k].data) + at;
        if (k < inputs && buffers[k])
          convert_strided(tensors[k].template as<char>() + at * size_of(tensors[k].dtype), tensors[k].dtype, s.inner,
                          buffers[k], dtype_of<T>, 1, s.n);
      }
      f(rows, r);
      for (size_t k = inputs; k < K; ++k)
        if (buffers[k])
          convert_strided(buffers[k], dtype_of<T>, 1, tensors[k].template as<char>() + at * size_of(tensors[k].dtype),
                          tensors[k].dtype, s.inner, s.n);
    }
  });
}

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
  Wide<T> slots[64], sum;
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
  return reduce_lanes(larger(larger(best[0], best[1]), larger(best[2], best[3])), larger);
}

// The sum of e^(x - m); the exponentials go to `e` unless it is null.
template <class T>
Wide<T> sum_of_exp(const T* x, T m, int64_t n, T* e) {
  alignas(64) T buffer[kLeaf];
  const TreePack<T> shift(m);
  return tree_sum<T>(n, [&](int64_t i, int64_t count) {
    T* to = e ? e + i : buffer;
    map_row(
        count, to, [=](TreePack<T> v) { return exp(v - shift); }, x + i);
    return static_cast<const T*>(to);
  });
}

}  // namespace tenrec::kernels::detail
