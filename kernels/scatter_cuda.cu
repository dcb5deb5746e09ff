// gather, and what is written by index: scatter, adding and putting rows.
//
// Floor: each index and element is read once, each place written once. What is written twice must come in the order of
// the indices, whatever order threads run in:
//  - short lines, and many lines side by side, have a thread each, which walks in order;
//  - of what overwrites, only the last write counts: it is found as the largest position (an integer maximum, which no
//    order changes) or as the last one of a run of sorted indices;
//  - sums, products and extremes of long lines are combined by runs of sorted indices (cuda/sorted_keys.cuh).
// Elements are combined in double, integers in i64.
#include <cmath>

#include "tenrec/kernels/cuda/combine.cuh"
#include "tenrec/kernels/cuda/sorted_keys.cuh"
#include "tenrec/kernels/elementwise_space.h"
#include "tenrec/kernels/index.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::cuda {
namespace {

using kernels::Scatter;
using kernels::visit_width;

// --- gather ----------------------------------------------------------------------------------------------------------

template <class T>
__global__ void gather_elements(const T* x, const int64_t* index, T* y, Offsets<2> offsets, int64_t along,
                                int64_t places, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    int64_t at[2];
    offsets.at(i, at);
    const int64_t place = index[i];
    y[at[1]] = place >= 0 && place < places ? x[at[0] + place * along] : T{};
  }
}

// --- combinations ----------------------------------------------------------------------------------------------------

struct Larger {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a != a || a > b ? a : b;
  }
};
struct Smaller {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a != a || a < b ? a : b;
  }
};

// --- lines that a thread walks ---------------------------------------------------------------------------------------

template <class T>
__global__ void put_by_line(IndexLines index, PutLines lines) {
  for (int64_t l = grid_start(); l < lines.count; l += grid_stride()) {
    int64_t at[2];
    lines.offsets.at(l, at);
    const T* from = static_cast<const T*>(lines.from) + at[0];
    T* y = static_cast<T*>(lines.y) + at[1];
    const int64_t* places = index.index + index.first(l);
    for (int64_t k = 0; k < lines.length; ++k)
      if (const int64_t place = places[k * index.inner]; index.holds(place))
        y[place * lines.y_along] = from[k * lines.from_along];
  }
}

template <class T, class Op>
__global__ void combine_by_line(Op combine, IndexLines index, PutLines lines, int64_t skip, bool shared) {
  for (int64_t l = grid_start(); l < lines.count; l += grid_stride()) {
    int64_t at[2];
    lines.offsets.at(l, at);
    const int64_t* places = index.index + index.first(shared ? 0 : l);
    for (int64_t k = 0; k < lines.length; ++k) {
      const int64_t place = places[k * index.inner];
      if (place == skip || !index.holds(place)) continue;
      const int64_t to = at[1] + place * lines.y_along;
      const T value = load_as<T>(lines.from, at[0] + k * lines.from_along, lines.dtype);
      store_as(lines.y, to, lines.dtype, combine(load_as<T>(lines.y, to, lines.dtype), value));
    }
  }
}

// last = no later index of the line is the same.
__global__ void look_for_later(IndexLines lines, uint8_t* last, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    int64_t k;
    const int64_t begin = lines.first(divide(i, lines.length, k)), at = begin + k * lines.inner;
    bool is_last = true;
    for (int64_t later = k + 1; later < lines.length && is_last; ++later)
      is_last = lines.index[begin + later * lines.inner] != lines.index[at];
    last[at] = is_last;
  }
}

// --- sorted lines ----------------------------------------------------------------------------------------------------

template <class Key, class Place>
__global__ void mark_last(const Key* keys, const Place* places, IndexLines lines, uint8_t* last, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    int64_t p;
    const int64_t line = divide(i, lines.length, p);
    last[lines.first(line) + int64_t(places[i]) * lines.inner] = p + 1 == lines.length || keys[i + 1] != keys[i];
  }
}

template <class T, class Key, class Place>
__global__ void put_last(const Key* keys, const Place* places, PutLines lines, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    int64_t p, at[2];
    const int64_t line = divide(i, lines.length, p);
    if (keys[i] == kNoKey<Key> || (p + 1 < lines.length && keys[i + 1] == keys[i])) continue;
    lines.offsets.at(line, at);
    static_cast<T*>(lines.y)[at[1] + int64_t(keys[i]) * lines.y_along] =
        static_cast<const T*>(lines.from)[at[0] + int64_t(places[i]) * lines.from_along];
  }
}

// --- rows ------------------------------------------------------------------------------------------------------------

using Position = unsigned long long;  // what integer atomics take

// winner[row] = the last position that names it, counted from 1.
__global__ void find_winners(const int64_t* rows, int64_t count, int64_t rows_in_all, Position* winner) {
  for (int64_t b = grid_start(); b < count; b += grid_stride())
    if (rows[b] >= 0 && rows[b] < rows_in_all) atomicMax(&winner[rows[b]], Position(b + 1));
}
__global__ void mark_winners(const int64_t* rows, int64_t count, int64_t rows_in_all, const Position* winner,
                             uint8_t* last) {
  for (int64_t b = grid_start(); b < count; b += grid_stride())
    last[b] = rows[b] >= 0 && rows[b] < rows_in_all && winner[rows[b]] == Position(b + 1);
}
template <class T>
__global__ void put_winners(const T* picked, const int64_t* rows, const Position* winner, T* into, int64_t count,
                            int64_t rows_in_all, int64_t inner, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    int64_t k, b;
    const int64_t o = divide(divide(i, inner, k), count, b), row = rows[b];
    if (row >= 0 && row < rows_in_all && winner[row] == Position(b + 1))
      into[(o * rows_in_all + row) * inner + k] = picked[i];
  }
}

class Winners {
 public:
  Winners(const View& rows, int64_t n) : winner_(n) {
    TENREC_CUDA_CHECK(cudaMemsetAsync(winner_.data(), 0, size_t(n) * sizeof(Position), stream()));
    TENREC_LAUNCH(find_winners, grid_for(rows.numel), kThreads, 0, stream(), rows.as<int64_t>(), rows.numel, n,
                  winner_.data());
    TENREC_LAUNCH_CHECK();
  }
  const Position* data() const { return winner_.data(); }

 private:
  Buffer<Position> winner_;
};

// --- how lines are done ----------------------------------------------------------------------------------------------

// Into `places` places along `dim`.
IndexLines index_lines(const View& index, int64_t dim, int64_t places) {
  IndexLines lines{index.as<int64_t>(), index.ndim() ? index.size(dim) : 1, 1, places};
  for (int64_t d = dim + 1; d < index.ndim(); ++d) lines.inner *= index.size(d);
  return lines;
}

PutLines put_lines(const View& src, const View& y, const Shape& index, int64_t dim) {
  Shape shape = index;
  Strides strides[2] = {*src.strides, *y.strides};
  PutLines lines{};
  lines.length = 1;
  if (shape.ndim()) {
    lines.length = shape[dim];
    lines.from_along = strides[0][dim];
    lines.y_along = strides[1][dim];
    shape.erase(dim);
    for (Strides& s : strides) s.erase(dim);
  }
  lines.count = checked_numel(shape);
  const kernels::detail::Space space = kernels::detail::merge(shape, strides, 2);
  lines.offsets = offsets_of<2>(space.shape, space.strides);
  lines.from = src.data;
  lines.y = y.data;
  lines.dtype = y.dtype;
  return lines;
}

// A thread's walk is slow over a long line, but needs no sort; side by side, threads share what they read.
bool walks(const IndexLines& index, int64_t count) {
  constexpr int64_t kShort = 16, kManyLines = 16384;
  return index.length <= kShort || (index.inner > 1 && count >= kManyLines);
}

template <class T, class Op>
void combine_walking(const Op& combine, const IndexLines& index, const PutLines& lines, int64_t skip, bool shared) {
  TENREC_LAUNCH((combine_by_line<T, Op>), grid_for(lines.count, 64), 64, 0, stream(), combine, index, lines, skip,
                shared);
  TENREC_LAUNCH_CHECK();
}

// `shared`: all lines have one index.
template <class T, class Op>
void combine_sorted(const Op& combine, const IndexLines& index, const PutLines& lines, int64_t skip, bool shared) {
  visit_key(index, [&](auto key, auto place) {
    using Key = decltype(key);
    using Place = decltype(place);
    const SortedKeys<Key, Place> sorted(index, shared ? 1 : lines.count);
    combine_levels<Key, Place, T, Op>(combine, {sorted.keys(), sorted.places(), nullptr, lines.length, shared}, lines,
                                      Key(skip));
  });
}

template <class Op>
void scatter_with(const Op& combine, const View& src, const View& index, const View& y, int64_t dim) {
  const IndexLines from = index_lines(index, dim, y.ndim() ? y.size(dim) : 1);
  const PutLines lines = put_lines(src, y, *index.shape, dim);
  visit_combined(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (walks(from, lines.count))
      combine_walking<T>(combine, from, lines, -1, false);
    else
      combine_sorted<T>(combine, from, lines, -1, false);
  });
}

void scatter_put(const View& src, const View& index, const View& y, int64_t dim) {
  const IndexLines from = index_lines(index, dim, y.ndim() ? y.size(dim) : 1);
  const PutLines lines = put_lines(src, y, *index.shape, dim);
  visit_width(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (walks(from, lines.count)) {
      TENREC_LAUNCH(put_by_line<T>, grid_for(lines.count, 64), 64, 0, stream(), from, lines);
      return;
    }
    visit_key(from, [&](auto key, auto place) {
      using Key = decltype(key);
      using Place = decltype(place);
      const SortedKeys<Key, Place> sorted(from, lines.count);
      TENREC_LAUNCH((put_last<T, Key, Place>), grid_for(index.numel), kThreads, 0, stream(), sorted.keys(),
                    sorted.places(), lines, index.numel);
    });
  });
  TENREC_LAUNCH_CHECK();
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

void gather(Cuda, const View& x, const View& index, const View& y, int64_t dim) {
  if (y.numel == 0) return;
  const int64_t along = x.ndim() ? x.stride(dim) : 0;
  Strides strides[2] = {*x.strides, *y.strides};
  if (x.ndim()) strides[0][dim] = 0;
  const detail::Space space = detail::merge(*y.shape, strides, 2);
  visit_width(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    TENREC_LAUNCH(gather_elements<T>, grid_for(y.numel), kThreads, 0, stream(), x.as<T>(), index.as<int64_t>(),
                  y.as<T>(), offsets_of<2>(space.shape, space.strides), along, x.ndim() ? x.size(dim) : 1, y.numel);
  });
  TENREC_LAUNCH_CHECK();
}

void scatter(Cuda, const View& src, const View& index, const View& y, int64_t dim, Scatter how) {
  if (index.numel == 0) return;
  const bool sums = how == Scatter::add || how == Scatter::multiply;
  if (sums && (y.dtype == bf16 || y.dtype == f16))
    fail<InternalError>("scatter: sums of ", y.dtype, " are kept in f32 by the caller");
  switch (how) {
    case Scatter::put:
      return scatter_put(src, index, y, dim);
    case Scatter::add:
      return scatter_with(WideAdd(), src, index, y, dim);
    case Scatter::multiply:
      return scatter_with(WideMultiply(), src, index, y, dim);
    case Scatter::largest:
      return scatter_with(Larger(), src, index, y, dim);
    case Scatter::smallest:
      return scatter_with(Smaller(), src, index, y, dim);
  }
}

void last_writers(Cuda, const View& index, int64_t n, int64_t dim, const View& last) {
  if (index.numel == 0) return;
  constexpr int64_t kShort = 32;
  const IndexLines lines = index_lines(index, dim, n);
  const unsigned grid = grid_for(index.numel);
  if (lines.length <= kShort)
    TENREC_LAUNCH(look_for_later, grid, kThreads, 0, stream(), lines, last.as<uint8_t>(), index.numel);
  else
    visit_key(lines, [&](auto key, auto place) {
      using Key = decltype(key);
      using Place = decltype(place);
      const SortedKeys<Key, Place> sorted(lines, index.numel / lines.length);
      TENREC_LAUNCH((mark_last<Key, Place>), grid, kThreads, 0, stream(), sorted.keys(), sorted.places(), lines,
                    last.as<uint8_t>(), index.numel);
    });
  TENREC_LAUNCH_CHECK();
}

void add_rows(Cuda, const View& picked, const View& rows, const View& into, int64_t skip) {
  if (!(is_floating(into.dtype) ? size_of(into.dtype) >= 4 : into.dtype != boolean))
    fail<DTypeError>("adding rows is not defined for ", into.dtype);
  if (picked.numel == 0) return;
  constexpr int64_t kShort = 32;
  const IndexLines index{rows.as<int64_t>(), rows.numel, 1, into.size(1)};
  const PutLines lines = put_lines(picked, into, *picked.shape, 1);
  visit_combined(into.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (rows.numel <= kShort)
      combine_walking<T>(WideAdd(), index, lines, skip, true);
    else
      combine_sorted<T>(WideAdd(), index, lines, skip, true);
  });
}

void put_rows(Cuda, const View& picked, const View& rows, const View& into) {
  if (picked.numel == 0) return;
  const int64_t n = into.size(1), inner = into.size(2);
  const Winners winners(rows, n);
  Units units(into.dtype);
  units.address(picked.data).address(into.data).elements(inner);
  units.visit([&](auto zero) {
    using T = decltype(zero);
    const int64_t count = units.in<T>(picked.numel);
    TENREC_LAUNCH(put_winners<T>, grid_for(count), kThreads, 0, stream(), picked.as<T>(), rows.as<int64_t>(),
                  winners.data(), into.as<T>(), rows.numel, n, units.in<T>(inner), count);
  });
  TENREC_LAUNCH_CHECK();
}

void last_rows(Cuda, const View& rows, int64_t n, const View& last) {
  if (rows.numel == 0) return;
  const Winners winners(rows, n);
  TENREC_LAUNCH(mark_winners, grid_for(rows.numel), kThreads, 0, stream(), rows.as<int64_t>(), rows.numel, n,
                winners.data(), last.as<uint8_t>());
  TENREC_LAUNCH_CHECK();
}

}  // namespace tenrec::kernels
