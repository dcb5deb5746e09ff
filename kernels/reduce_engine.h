// Reductions of a strided tensor by the tree of reduce_tree.h: finds out which dimensions go, cuts the work by shape
// and brings the elements to the tree. Included only by kernel files that reduce.
//
// Rows (the reduced dimensions are innermost) are read in place; columns (the kept dimension is innermost) are computed
// a pack of columns at a time; anything else is gathered a leaf at a time into a buffer in the first-level cache.
// An operation is a table of small loops, so the code that walks exists once per accumulator type.
#pragma once

#include "tenrec/core/view.h"
#include "tenrec/kernels/reduce_tree.h"

namespace tenrec::kernels::detail {

inline constexpr int64_t kReduceGrain = 32768;  // elements of a parallel chunk; 64 leaves, so that a chunk is a subtree
static_assert(std::has_single_bit(uint64_t(kReduceGrain / kLeaf)));

// Some dimensions of a tensor with their strides, merged where they lie evenly.
struct DimSpace {
  Shape shape;
  Strides strides;
  int64_t numel = 1;

  void add(int64_t size, int64_t stride) {
    numel *= size;
    if (size == 1) return;
    const int64_t last = shape.ndim() - 1;
    if (last >= 0 && strides[last] == stride * size) {
      shape[last] *= size;
      strides[last] = stride;
    } else {
      shape.push_back(size);
      strides.push_back(stride);
    }
  }
  int64_t inner() const { return shape.ndim() ? shape.back() : 1; }
  int64_t inner_stride() const { return shape.ndim() ? strides.back() : 1; }
};

// A place in a DimSpace: the offset of its element, and how to go on.
class DimWalker {
 public:
  DimWalker(const DimSpace& space, int64_t at) : space_(space), last_(space.shape.ndim() - 1) {
    for (int64_t d = last_; d >= 0; --d) {
      index_[d] = d ? at % space.shape[d] : at;
      if (d) at /= space.shape[d];
      offset_ += index_[d] * space.strides[d];
    }
  }
  int64_t offset() const { return offset_; }
  // Elements from here to the end of the innermost dimension.
  int64_t run() const { return last_ < 0 ? 1 : space_.shape[last_] - index_[last_]; }
  // Goes on by n <= run() elements.
  void advance(int64_t n) {
    if (last_ < 0) return;
    index_[last_] += n;
    offset_ += n * space_.strides[last_];
    for (int64_t d = last_; d > 0 && index_[d] == space_.shape[d]; --d) {
      offset_ += space_.strides[d - 1] - space_.shape[d] * space_.strides[d];
      index_[d] = 0;
      ++index_[d - 1];
    }
  }

 private:
  const DimSpace& space_;
  int64_t last_, offset_ = 0;
  int64_t index_[kMaxDims];
};

// x of any strides to y, contiguous, with 1 in the reduced dimensions.
struct ReducePlan {
  DimSpace kept, reduced;
  const char* data;
  DType dtype;
  char* out;
  DType out_dtype;

  ReducePlan(const View& x, const View& y) : data(x.as<char>()), dtype(x.dtype), out(y.as<char>()), out_dtype(y.dtype) {
    for (int64_t d = 0; d < x.ndim(); ++d) (y.size(d) == x.size(d) ? kept : reduced).add(x.size(d), x.stride(d));
  }
  bool by_columns() const {
    return kept.shape.ndim() && kept.strides.back() == 1 && (reduced.shape.ndim() == 0 || reduced.strides.back() != 1);
  }
};

// The n elements from `at` on, of a tensor whose first one is at `base`, as contiguous T: in place if they lie so, else
// in `buffer`. Moves `at` behind them.
template <class T>
const T* gather_run(const DimSpace& s, const char* base, DType dtype, DimWalker& at, int64_t n, T* buffer);

// One leaf of neighbouring columns: element i of the first of them lies at data + rows[i].
template <class T>
struct ColumnLeaf {
  const T* data;
  const int64_t* rows;
  int64_t m;
  int64_t output;  // number of the first column among all outputs
};

// What an operation is made of. `op` is its state.
template <class T>
struct ReduceLoops {
  const void* op;
  // `count` leaves of m elements, `stride` apart. The first belongs to output `output`, the others to the ones after it
  // or, if `one`, to the same.
  void (*leaves)(const void* op, const T* x, int64_t m, int64_t stride, int64_t count, int64_t output, bool one,
                 T* out);
  // The tree over the first levels, from element `at` on: bits 64 to 256, or those up to 32 if `shallow` (m <= 64), for
  // `width` columns. May write up to a pack behind them.
  void (*columns)(const void* op, const ColumnLeaf<T>& leaf, int64_t at, bool shallow, int64_t width, T* out);
  void (*join)(T* a, const T* b, int64_t n);                   // a = combine(a, b)
  void (*join_wide)(const Wide<T>* a, Wide<T>* b, int64_t n);  // b = combine(a, b)
  void (*finish)(const void* op, Wide<T>* values, int64_t count, int64_t reduced);
  Wide<T> empty;
  bool alike;  // all outputs are computed by the same operation
};

// T: float, double, int64_t.
template <class T>
void run_reduction(const ReducePlan& plan, const ReduceLoops<T>& loops);

template <class Op, class T>
ReduceLoops<T> make_loops(const Op& op) {
  using P = TreePack<T>;
  ReduceLoops<T> loops;
  loops.op = &op;
  loops.alike = !requires { op.at(0); };
  loops.empty = op.template empty<Wide<T>>();
  loops.leaves = [](const void* state, const T* x, int64_t m, int64_t stride, int64_t count, int64_t output, bool one,
                    T* out) {
    const auto& f = *static_cast<const Op*>(state);
    for (int64_t i = 0; i < count; ++i, x += stride) {
      // The operation of one output may differ from that of another, by the centre for instance.
      if constexpr (requires { f.at(output); }) {
        const auto g = f.at(one ? output : output + i);
        out[i] = reduce_leaf<T>(m, g, RowLoad<T, decltype(g)>{x, g});
      } else {
        out[i] = reduce_leaf<T>(m, f, RowLoad<T, Op>{x, f});
      }
    }
  };
  loops.columns = [](const void* state, const ColumnLeaf<T>& leaf, int64_t at, bool shallow, int64_t width, T* out) {
    const auto& f = *static_cast<const Op*>(state);
    constexpr int64_t lanes = kTreeLanes<T>;
    const auto mapped = [&](P x, int64_t column) __attribute__((always_inline)) {
      if constexpr (requires { f.map_column(x, column); })
        return f.map_column(x, leaf.output + column);
      else
        return f.map(x);
    };
    const auto column = [&](auto load) __attribute__((always_inline)) {
      return shallow ? column_tree<T, 3, kPackLevels<T>>(at, leaf.m, f, load)
                     : column_tree<T, 0, 3>(at, leaf.m, f, load);
    };
    const auto at_column = [&](int64_t c) {
      column([&](int64_t i) __attribute__((always_inline)) {
        return mapped(P::load(leaf.data + leaf.rows[i] + c), c);
      }).store(out + c);
    };
    if (width < lanes) {
      column([&](int64_t i) __attribute__((always_inline)) {
        return mapped(load_first(leaf.data + leaf.rows[i], int(width)), 0);
      }).store(out);
      return;
    }
    for (int64_t c = 0; c < width; c += lanes) at_column(std::min(c, width - lanes));
  };
  loops.join = [](T* a, const T* b, int64_t n) {
    int64_t i = 0;
    for (; i + kTreeLanes<T> <= n; i += kTreeLanes<T>) Op::combine(P::load(a + i), P::load(b + i)).store(a + i);
    for (; i < n; ++i) a[i] = Op::combine(a[i], b[i]);
  };
  loops.join_wide = [](const Wide<T>* a, Wide<T>* b, int64_t n) {
    for (int64_t i = 0; i < n; ++i) b[i] = Op::combine(a[i], b[i]);
  };
  loops.finish = [](const void* state, Wide<T>* values, int64_t count, int64_t reduced) {
    const auto& f = *static_cast<const Op*>(state);
    for (int64_t i = 0; i < count; ++i) values[i] = f.finish(values[i], reduced);
  };
  return loops;
}

}  // namespace tenrec::kernels::detail
