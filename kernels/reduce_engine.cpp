#include "tenrec/kernels/reduce_engine.h"

#include "tenrec/core/parallel.h"
#include "tenrec/kernels/convert.h"
#include "tenrec/kernels/scratch.h"
#include "tenrec/kernels/tiles.h"

namespace tenrec::kernels::detail {

template <class T>
const T* gather_run(const DimSpace& s, const char* base, DType dtype, DimWalker& at, int64_t n, T* buffer) {
  const int64_t size = size_of(dtype), stride = s.inner_stride();
  const bool direct = stride == 1 && dtype == dtype_of<T>;
  if (direct && at.run() >= n) {
    const T* from = reinterpret_cast<const T*>(base) + at.offset();
    at.advance(n);
    return from;
  }
  for (int64_t done = 0; done < n;) {
    const int64_t length = std::min(n - done, at.run());
    if (!direct) {
      convert_strided(base + at.offset() * size, dtype, stride, buffer + done, dtype_of<T>, 1, length);
    } else {
      const T* from = reinterpret_cast<const T*>(base) + at.offset();
      T* to = buffer + done;
      int64_t i = 0;
      for (; i + kTreeLanes<T> <= length; i += kTreeLanes<T>) TreePack<T>::load(from + i).store(to + i);
      for (; i < length; ++i) to[i] = from[i];
    }
    done += length;
    at.advance(length);
  }
  return buffer;
}
template const float* gather_run(const DimSpace&, const char*, DType, DimWalker&, int64_t, float*);
template const double* gather_run(const DimSpace&, const char*, DType, DimWalker&, int64_t, double*);
template const int64_t* gather_run(const DimSpace&, const char*, DType, DimWalker&, int64_t, int64_t*);

namespace {

template <class T>
using Counter = PairwiseCounter<Wide<T>, void (*)(const Wide<T>*, Wide<T>*, int64_t)>;

int64_t levels(int64_t values) { return int64_t(std::bit_width(uint64_t(values))); }

template <class U>
void store_results(const ReducePlan& p, const U* values, int64_t n, int64_t at) {
  if (n == 1 && p.out_dtype == f32)
    reinterpret_cast<float*>(p.out)[at] = float(*values);
  else
    convert_strided(values, dtype_of<U>, 1, p.out + at * size_of(p.out_dtype), p.out_dtype, 1, n);
}

// --- rows -----------------------------------------------------------------------------------------------------------

// Elements [begin, end) of one output, begin at a leaf.
template <class T>
Wide<T> reduce_range(const ReducePlan& p, const char* base, int64_t begin, int64_t end, const ReduceLoops<T>& f,
                     int64_t output) {
  constexpr int64_t kBatch = 16;
  alignas(64) T buffer[kLeaf];
  T values[kBatch];
  Wide<T> slots[64], result;
  Counter<T> counter(f.join_wide, slots, 1);
  const bool dense = p.reduced.shape.ndim() <= 1 && p.reduced.inner_stride() == 1 && p.dtype == dtype_of<T>;
  DimWalker at(p.reduced, begin);
  for (int64_t i = begin; i < end;) {
    const int64_t whole = dense ? std::min(kBatch, (end - i) / kLeaf) : 0;
    if (whole > 0) {
      f.leaves(f.op, reinterpret_cast<const T*>(base) + i, kLeaf, kLeaf, whole, output, true, values);
      for (int64_t k = 0; k < whole; ++k) counter.push(values + k);
      i += whole * kLeaf;
      continue;
    }
    const int64_t m = std::min(kLeaf, end - i);
    const T* x = dense ? reinterpret_cast<const T*>(base) + i : gather_run(p.reduced, base, p.dtype, at, m, buffer);
    f.leaves(f.op, x, m, 0, 1, output, true, values);
    if (m == end - begin) return Wide<T>(values[0]);
    counter.push(values);
    i += m;
  }
  counter.result(&result);
  return result;
}

// Outputs [begin, end), each of a few leaves in place: the same leaf of several rows at once.
template <class T>
void reduce_short_rows(const ReducePlan& p, int64_t begin, int64_t end, const ReduceLoops<T>& f) {
  constexpr int64_t kBlock = 128;
  const int64_t n = p.reduced.numel, block = n <= kLeaf ? kBlock : 8;
  T values[kBlock];
  Wide<T> wide[kBlock], slots[8 * 2];
  DimWalker at(p.kept, begin);
  for (int64_t o = begin; o < end;) {
    const int64_t count = std::min({block, end - o, at.run()}), stride = p.kept.inner_stride();
    const T* x = reinterpret_cast<const T*>(p.data) + at.offset();
    if (n <= kLeaf) {
      f.leaves(f.op, x, n, stride, count, o, false, values);
      for (int64_t i = 0; i < count; ++i) wide[i] = Wide<T>(values[i]);
    } else {
      Counter<T> counter(f.join_wide, slots, count);
      for (int64_t i = 0; i < n; i += kLeaf) {
        f.leaves(f.op, x + i, std::min(kLeaf, n - i), stride, count, o, false, values);
        counter.push(values);
      }
      counter.result(wide);
    }
    f.finish(f.op, wide, count, n);
    store_results(p, wide, count, o);
    o += count;
    at.advance(count);
  }
}

template <class T>
void reduce_rows(const ReducePlan& p, const ReduceLoops<T>& f) {
  using U = Wide<T>;
  const int64_t n = p.reduced.numel, outputs = p.kept.numel, size = size_of(p.dtype);
  const int64_t chunks = ceil_div(n, kReduceGrain);
  if (n <= 2 * kLeaf && p.reduced.shape.ndim() <= 1 && p.reduced.inner_stride() == 1 && p.dtype == dtype_of<T>) {
    parallel_for(outputs, kReduceGrain / n, [&](int64_t begin, int64_t end) { reduce_short_rows(p, begin, end, f); });
    return;
  }
  const auto finish = [&](U value, int64_t o) {
    f.finish(f.op, &value, 1, n);
    store_results(p, &value, 1, o);
  };
  if (chunks == 1) {
    parallel_for(outputs, kReduceGrain / n, [&](int64_t begin, int64_t end) {
      DimWalker at(p.kept, begin);
      for (int64_t o = begin; o < end; ++o, at.advance(1))
        finish(reduce_range(p, p.data + at.offset() * size, 0, n, f, o), o);
    });
    return;
  }
  Scratch scratch;
  U* partial = scratch.get<U>(outputs * chunks);
  parallel_for(outputs * chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const char* base = p.data + DimWalker(p.kept, i / chunks).offset() * size;
      const int64_t first = i % chunks * kReduceGrain;
      partial[i] = reduce_range(p, base, first, std::min(n, first + kReduceGrain), f, i / chunks);
    }
  });
  for (int64_t o = 0; o < outputs; ++o) {
    U slots[64], value;
    Counter<T> counter(f.join_wide, slots, 1);
    for (int64_t c = 0; c < chunks; ++c) counter.push(partial + o * chunks + c);
    counter.result(&value);
    finish(value, o);
  }
}

// --- columns --------------------------------------------------------------------------------------------------------

// The tree of a leaf over a strip of columns: the first levels in registers, the others through `temporaries`.
//
// Below the levels inside a pack, lanes that follow each other are done in blocks: of a narrow matrix they are one run
// of memory, and runs are what prefetchers see. In a wide one a single row is run enough, and a block would not fit the
// first-level cache.
template <class T>
class ColumnTree {
  static constexpr int64_t kWide = 256;
  const ReduceLoops<T>& f_;
  const ColumnLeaf<T>& leaf_;
  const int64_t width_, block_;
  const bool shallow_, dense_;
  T* temporaries_;

 public:
  // Values that `out` and the temporaries must have room for.
  static int64_t out_size(int64_t width) { return (width <= kWide ? kTreeLanes<T> : 1) * width + kTreeLanes<T>; }
  static int64_t temporary_size(int64_t width) { return (width <= kWide ? 3 : 6) * out_size(width); }

  // dense: row i + 1 follows right behind row i.
  ColumnTree(const ReduceLoops<T>& f, const ColumnLeaf<T>& leaf, int64_t width, bool dense, T* temporaries)
      : f_(f),
        leaf_(leaf),
        width_(width),
        block_(width <= kWide ? kTreeLanes<T> : 1),
        shallow_(leaf.m <= kLeafLanes),
        dense_(dense && f.alike),
        temporaries_(temporaries) {}

  void run(T* out) const {
    if (block_ == 1) return tree(9, 0, out);
    tree(kPackLevels<T>, 0, out);
    for (int64_t rows = std::min(block_, leaf_.m), half = block_ / 2; half > 0; rows = std::min(rows, half), half /= 2)
      if (rows > half) f_.join(out, out + half * width_, (rows - half) * width_);
  }

 private:
  int64_t rows_at(int64_t lane) const { return std::min(block_, leaf_.m - lane); }
  // How many elements a lane has.
  int64_t depth(int64_t lane) const { return (leaf_.m - lane + kLeafLanes - 1) / kLeafLanes; }
  // Whether all lanes of the block have the same elements; in the shallow tree those of the blocks behind it count too.
  bool even(int64_t lane) const {
    if (shallow_) return leaf_.m % block_ == 0 || leaf_.m < block_;
    return depth(lane) == depth(lane + rows_at(lane) - 1);
  }

  void tree(int level, int64_t lane, T* out) const {
    // Without blocks, more than 8 rows at once would be more streams than a processor prefetches.
    if (level == (shallow_ ? kPackLevels<T> : 3)) {
      const int64_t rows = rows_at(lane);
      if (dense_ && even(lane)) return f_.columns(f_.op, leaf_, lane, shallow_, rows * width_, out);
      for (int64_t r = 0; r < rows; ++r) f_.columns(f_.op, leaf_, lane + r, shallow_, width_, out + r * width_);
      return;
    }
    tree(level - 1, lane, out);
    const int64_t other_lane = lane + tree_bits<T>.at[level - 1];
    if (other_lane >= leaf_.m) return;
    T* other = temporaries_ + (level - 4) * out_size(width_);
    tree(level - 1, other_lane, other);
    f_.join(out, other, rows_at(other_lane) * width_);
  }
};

template <class T>
class ColumnReducer {
  using U = Wide<T>;
  const ReducePlan& p_;
  const ReduceLoops<T>& f_;
  int64_t n_, columns_, outer_, strip_, strips_, chunk_rows_, chunks_;

 public:
  ColumnReducer(const ReducePlan& p, const ReduceLoops<T>& f)
      : p_(p), f_(f), n_(p.reduced.numel), columns_(p.kept.inner()), outer_(p.kept.numel / columns_) {
    strip_ = std::min<int64_t>(columns_, 1024);
    strips_ = ceil_div(columns_, strip_);
    chunk_rows_ = kLeaf;
    while (chunk_rows_ * strip_ < 8 * kReduceGrain) chunk_rows_ *= 2;
    chunks_ = ceil_div(n_, chunk_rows_);
  }

  void run() const {
    Scratch scratch;
    U* partial = chunks_ > 1 ? scratch.get<U>(outer_ * chunks_ * columns_) : nullptr;
    const int64_t task = std::min(n_, chunk_rows_) * strip_;
    parallel_for(outer_ * strips_ * chunks_, std::max<int64_t>(1, kReduceGrain / task),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i)
                     run_task(i / chunks_ / strips_, i / chunks_ % strips_, i % chunks_, partial);
                 });
    if (chunks_ > 1) combine_chunks(partial);
  }

 private:
  void finish(U* values, int64_t width, int64_t output) const {
    f_.finish(f_.op, values, width, n_);
    store_results(p_, values, width, output);
  }

  void run_task(int64_t o, int64_t strip, int64_t chunk, U* partial) const {
    const int64_t first = strip * strip_, width = std::min(strip_, columns_ - first), output = o * columns_ + first;
    const int64_t begin = chunk * chunk_rows_, end = std::min(n_, begin + chunk_rows_);
    const int64_t size = size_of(p_.dtype);
    const char* base = p_.data + DimWalker(p_.kept, output).offset() * size;
    const bool dense = p_.reduced.shape.ndim() <= 1 && p_.reduced.inner_stride() == width;
    Scratch scratch;
    int64_t rows[kLeaf];
    T* out = scratch.get<T>(ColumnTree<T>::out_size(width));
    T* temporaries = scratch.get<T>(ColumnTree<T>::temporary_size(width));
    T* copy = p_.dtype == dtype_of<T> ? nullptr : scratch.get<T>(std::min(kLeaf, n_) * width);
    U* upper = partial ? partial + (o * chunks_ + chunk) * columns_ + first : scratch.get<U>(width);
    Counter<T> counter(f_.join_wide, scratch.get<U>(levels(ceil_div(end - begin, kLeaf)) * width), width);
    DimWalker at(p_.reduced, begin);
    for (int64_t i = begin; i < end; i += kLeaf) {
      const int64_t m = std::min(kLeaf, end - i);
      for (int64_t r = 0; r < m; ++r, at.advance(1)) {
        rows[r] = at.offset();
        if (!copy) continue;
        convert_strided(base + rows[r] * size, p_.dtype, 1, copy + r * width, dtype_of<T>, 1, width);
        rows[r] = r * width;
      }
      const ColumnLeaf<T> leaf{copy ? copy : reinterpret_cast<const T*>(base), rows, m, output};
      ColumnTree<T>(f_, leaf, width, copy || dense, temporaries).run(out);
      if (end - begin > kLeaf) counter.push(out);
    }
    if (end - begin > kLeaf)
      counter.result(upper);
    else
      std::copy_n(out, width, upper);
    if (!partial) finish(upper, width, output);
  }

  void combine_chunks(const U* partial) const {
    parallel_for(outer_ * strips_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t o = i / strips_, first = i % strips_ * strip_, width = std::min(strip_, columns_ - first);
        Scratch scratch;
        U* out = scratch.get<U>(width);
        Counter<T> counter(f_.join_wide, scratch.get<U>(levels(chunks_) * width), width);
        for (int64_t k = 0; k < chunks_; ++k) counter.push(partial + (o * chunks_ + k) * columns_ + first);
        counter.result(out);
        finish(out, width, o * columns_ + first);
      }
    });
  }
};

}  // namespace

template <class T>
void run_reduction(const ReducePlan& p, const ReduceLoops<T>& loops) {
  if (p.kept.numel == 0) return;
  if (p.reduced.numel == 0)
    convert_strided(&loops.empty, dtype_of<Wide<T>>, 0, p.out, p.out_dtype, 1, p.kept.numel);
  else if (p.by_columns())
    ColumnReducer<T>(p, loops).run();
  else
    reduce_rows(p, loops);
}
template void run_reduction(const ReducePlan&, const ReduceLoops<float>&);
template void run_reduction(const ReducePlan&, const ReduceLoops<double>&);
template void run_reduction(const ReducePlan&, const ReduceLoops<int64_t>&);

}  // namespace tenrec::kernels::detail
