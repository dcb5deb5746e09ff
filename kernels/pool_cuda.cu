// Pooling over windows of planes.
//
// Floor: x is read and y written once (max: and the 4 bytes of an index; the gradient of avg: the other way round). A
// thread for each output, or input in a gradient, in the order of memory; what windows share comes from the caches.
// Nothing is added by atomics: the gradient of avg gathers from the windows that hold an element, a contiguous range on
// each side. That of max only has the indices: each output joins the list of its maximum (an exchange of integers), and
// each input adds up its list in the order of the outputs. Sums have the CPU's order and bits, but for windows of 32
// elements or more, which a warp adds up.
//
// The windows' bounds travel as a kernel parameter where they fit, else as several (cuda/staged.cuh), so that pooling
// uploads nothing.
#include <bit>
#include <optional>
#include <vector>

#include "tenrec/kernels/cuda/staged.cuh"
#include "tenrec/kernels/pool.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::cuda {
namespace {

using kernels::PooledPlane;
using kernels::Windows;

template <class T>
using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;

// --- windows --------------------------------------------------------------------------------------------------------

// A range [begin, end) for each row and each column of something.
struct Ranges {
  static constexpr int kMost = 1600;
  int rows, cols;
  const int32_t* staged;  // row begins, row ends, column begins, column ends; null: they are in `values`
  uint16_t values[kMost];

  __device__ int64_t size() const { return 2 * (int64_t(rows) + cols); }
};

// Ranges as a kernel reads them. All threads of the block take part.
struct RangeTable {
  const int32_t *row_begin, *row_end, *col_begin, *col_end;

  __device__ explicit RangeTable(const Ranges& ranges) {
    TENREC_SHARED(int32_t, values, Ranges::kMost);
    const int32_t* table = ranges.staged;
    if (!table) {
      for (int i = int(threadIdx.x); i < int(ranges.size()); i += int(blockDim.x)) values[i] = ranges.values[i];
      __syncthreads();
      table = values;
    }
    row_begin = table;
    row_end = row_begin + ranges.rows;
    col_begin = row_end + ranges.rows;
    col_end = col_begin + ranges.cols;
  }
};

class HostRanges {
 public:
  HostRanges(const std::vector<int32_t>& row_begin, const std::vector<int32_t>& row_end,
             const std::vector<int32_t>& col_begin, const std::vector<int32_t>& col_end) {
    ranges_.rows = int(row_begin.size());
    ranges_.cols = int(col_begin.size());
    ranges_.staged = nullptr;
    std::vector<int32_t> all;
    for (const std::vector<int32_t>* part : {&row_begin, &row_end, &col_begin, &col_end})
      all.insert(all.end(), part->begin(), part->end());
    const bool narrow = std::all_of(all.begin(), all.end(), [](int32_t v) { return v >= 0 && v <= UINT16_MAX; });
    if (narrow && all.size() <= size_t(Ranges::kMost)) {
      std::copy(all.begin(), all.end(), ranges_.values);
      return;
    }
    ranges_.staged = staged_.emplace(all).data();
  }
  const Ranges& get() const { return ranges_; }

 private:
  Ranges ranges_;
  std::optional<Staged<int32_t>> staged_;
};

HostRanges windows_of(const Windows& rows, const Windows& cols) { return {rows.begin, rows.end, cols.begin, cols.end}; }

// The windows that hold each element, for windows in rising order.
std::pair<std::vector<int32_t>, std::vector<int32_t>> holders(const Windows& w) {
  std::vector<int32_t> first, end;
  for (int64_t at = 0, low = 0, high = 0; at < w.size; ++at) {
    while (low < w.count() && w.end[size_t(low)] <= at) ++low;
    while (high < w.count() && w.begin[size_t(high)] <= at) ++high;
    first.push_back(int32_t(low));
    end.push_back(int32_t(high));
  }
  return {first, end};
}

// The number that each window's sum is divided by.
struct Divisors {
  float all;
  const float* each;  // or null
  __device__ float at(int64_t window) const { return each ? each[window] : all; }
};
class HostDivisors {
 public:
  HostDivisors(const float* divisor, int64_t count) {
    if (count == 0 || std::all_of(divisor, divisor + count, [=](float d) { return d == *divisor; })) {
      divisors_ = {count ? *divisor : 1, nullptr};
      return;
    }
    divisors_ = {0, staged_.emplace(std::vector<float>(divisor, divisor + count)).data()};
  }
  const Divisors& get() const { return divisors_; }

 private:
  Divisors divisors_;
  std::optional<Staged<float>> staged_;
};

// Where an element of the planes stands.
struct Spot {
  int64_t plane, row, col;
  __device__ Spot(int64_t i, int64_t rows, int64_t cols) {
    const int64_t line = i / cols;
    plane = line / rows;
    row = line - plane * rows;
    col = i - line * cols;
  }
};

// --- maximum --------------------------------------------------------------------------------------------------------

// The largest of a window: the first of equals, and a NaN before all else.
template <class T>
struct Largest {
  T raw;
  Wide<T> value;
  int64_t place;

  __device__ Largest(const T* x, int64_t at) : raw(x[at]), value(convert_to<Wide<T>>(raw)), place(at) {}
  __device__ void see(const T* x, int64_t at) {
    const T candidate = x[at];
    const auto v = convert_to<Wide<T>>(candidate);
    if (!(v > value || (v != v && value == value))) return;
    raw = candidate;
    value = v;
    place = at;
  }
};

// kernel 2, stride 2, without padding.
template <class T>
__global__ void max_pool_halving(PooledPlane p, const T* x, T* y, int32_t* indices, int64_t outputs) {
  for (int64_t i = grid_start(); i < outputs; i += grid_stride()) {
    const Spot spot(i, p.out_rows, p.out_cols);
    const T* plane = x + spot.plane * p.area();
    const int64_t at = 2 * spot.row * p.cols + 2 * spot.col;
    Largest<T> best(plane, at);
    best.see(plane, at + 1);
    best.see(plane, at + p.cols);
    best.see(plane, at + p.cols + 1);
    y[i] = best.raw;
    indices[i] = int32_t(best.place);
  }
}

template <class T>
__global__ void max_pool_windows(PooledPlane p, Ranges windows, int64_t row_step, int64_t col_step, const T* x, T* y,
                                 int32_t* indices, int64_t outputs) {
  const RangeTable w(windows);
  for (int64_t i = grid_start(); i < outputs; i += grid_stride()) {
    const Spot spot(i, p.out_rows, p.out_cols);
    const T* plane = x + spot.plane * p.area();
    Largest<T> best(plane, w.row_begin[spot.row] * p.cols + w.col_begin[spot.col]);
    for (int64_t r = w.row_begin[spot.row]; r < w.row_end[spot.row]; r += row_step)
      for (int64_t c = w.col_begin[spot.col]; c < w.col_end[spot.col]; c += col_step) best.see(plane, r * p.cols + c);
    y[i] = best.raw;
    indices[i] = int32_t(best.place);
  }
}

template <class T>
__global__ void scatter_halving(PooledPlane p, const T* dy, const int32_t* indices, T* dx, int64_t inputs) {
  for (int64_t i = grid_start(); i < inputs; i += grid_stride()) {
    const Spot spot(i, p.rows, p.cols);
    const int64_t row = spot.row / 2, col = spot.col / 2;
    const int64_t window = (spot.plane * p.out_rows + row) * p.out_cols + col;
    auto sum = Wide<T>(0);
    if (row < p.out_rows && col < p.out_cols && indices[window] == spot.row * p.cols + spot.col)
      sum += convert_to<Wide<T>>(dy[window]);
    dx[i] = convert_to<T>(sum);
  }
}

// Lists of outputs by the input they come from: first[input] is an output, next[output] another one, -1 ends. Numbers
// of outputs count within their plane. The order within a list depends on chance.
__global__ void list_outputs(const int32_t* indices, int64_t area, int64_t outputs, int32_t* first, int32_t* next,
                             int64_t total) {
  for (int64_t i = grid_start(); i < total; i += grid_stride()) {
    const int64_t plane = i / outputs;
    next[i] = atomicExch(first + plane * area + indices[i], int32_t(i - plane * outputs));
  }
}

// Adds up the lists, each in rising order.
template <class T>
__global__ void scatter_lists(const T* dy, const int32_t* first, const int32_t* next, int64_t area, int64_t outputs,
                              T* dx, int64_t inputs) {
  for (int64_t i = grid_start(); i < inputs; i += grid_stride()) {
    const int64_t base = i / area * outputs;
    auto sum = Wide<T>(0);
    for (int32_t done = -1; done != INT32_MAX;) {
      int32_t least = INT32_MAX;
      for (int32_t o = first[i]; o >= 0; o = next[base + o])
        if (o > done && o < least) least = o;
      if (least != INT32_MAX) sum += convert_to<Wide<T>>(dy[base + least]);
      done = least;
    }
    dx[i] = convert_to<T>(sum);
  }
}

template <class Bits>
__global__ void gather_indices(const Bits* x, const int32_t* indices, int64_t area, int64_t outputs, Bits* y,
                               int64_t total) {
  for (int64_t i = grid_start(); i < total; i += grid_stride()) y[i] = x[i / outputs * area + indices[i]];
}

// --- average --------------------------------------------------------------------------------------------------------

constexpr int64_t kLargeWindow = 32;

template <class T>
__global__ void avg_pool_windows(PooledPlane p, Ranges windows, Divisors divisors, const T* x, T* y, int64_t outputs) {
  const RangeTable w(windows);
  for (int64_t i = grid_start(); i < outputs; i += grid_stride()) {
    const Spot spot(i, p.out_rows, p.out_cols);
    const T* plane = x + spot.plane * p.area();
    auto sum = Wide<T>(0);
    for (int64_t r = w.row_begin[spot.row]; r < w.row_end[spot.row]; ++r)
      for (int64_t c = w.col_begin[spot.col]; c < w.col_end[spot.col]; ++c)
        sum += convert_to<Wide<T>>(plane[r * p.cols + c]);
    y[i] = convert_to<T>(sum / Wide<T>(divisors.at(spot.row * p.out_cols + spot.col)));
  }
}

// Large windows: a warp each.
template <class T>
__global__ void avg_pool_large(PooledPlane p, Ranges windows, Divisors divisors, const T* x, T* y, int64_t outputs) {
  const RangeTable w(windows);
  const int lane = int(threadIdx.x) % kWarp;
  for (int64_t i = grid_start() / kWarp; i < outputs; i += grid_stride() / kWarp) {
    const Spot spot(i, p.out_rows, p.out_cols);
    const int64_t top = w.row_begin[spot.row], left = w.col_begin[spot.col];
    const int64_t width = w.col_end[spot.col] - left, size = (w.row_end[spot.row] - top) * width;
    const T* corner = x + spot.plane * p.area() + top * p.cols + left;
    auto sum = Wide<T>(0);
    for (int64_t k = lane; k < size; k += kWarp) {
      const int64_t row = width == p.cols ? 0 : k / width;
      sum += convert_to<Wide<T>>(corner[row * (p.cols - width) + k]);
    }
    sum = warp_reduce(sum, [](Wide<T> a, Wide<T> b) { return a + b; });
    if (lane == 0) y[i] = convert_to<T>(sum / Wide<T>(divisors.at(spot.row * p.out_cols + spot.col)));
  }
}

// holders: the windows that hold each row and each column.
template <class T>
__global__ void avg_pool_gather(PooledPlane p, Ranges holders, Divisors divisors, const T* dy, T* dx, int64_t inputs) {
  const RangeTable h(holders);
  for (int64_t at = grid_start(); at < inputs; at += grid_stride()) {
    const Spot spot(at, p.rows, p.cols);
    const T* plane = dy + spot.plane * p.outputs();
    auto sum = Wide<T>(0);
    for (int64_t i = h.row_begin[spot.row]; i < h.row_end[spot.row]; ++i)
      for (int64_t j = h.col_begin[spot.col]; j < h.col_end[spot.col]; ++j) {
        const int64_t window = i * p.out_cols + j;
        sum += convert_to<Wide<T>>(plane[window]) / Wide<T>(divisors.at(window));
      }
    dx[at] = convert_to<T>(sum);
  }
}

PooledPlane plane_of(const Windows& rows, const Windows& cols) {
  return {rows.size, cols.size, rows.count(), cols.count(), false};
}

int64_t longest(const Windows& w) {
  int64_t n = 0;
  for (int64_t i = 0; i < w.count(); ++i) n = std::max<int64_t>(n, w.end[size_t(i)] - w.begin[size_t(i)]);
  return n;
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

void max_pool(Cuda, DType dtype, int64_t planes, const Windows& rows, const Windows& cols, const void* x, void* y,
              int32_t* indices) {
  const PooledPlane plane = plane_of(rows, cols);
  const int64_t total = planes * plane.outputs();
  if (total == 0) return;
  visit_floating("pooling", dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* from = static_cast<const T*>(x);
    T* to = static_cast<T*>(y);
    if (is_halving(rows, cols)) {
      TENREC_LAUNCH(max_pool_halving<T>, grid_for(total), kThreads, 0, stream(), plane, from, to, indices, total);
      return;
    }
    const HostRanges windows = windows_of(rows, cols);
    TENREC_LAUNCH(max_pool_windows<T>, grid_for(total), kThreads, 0, stream(), plane, windows.get(), rows.step,
                  cols.step, from, to, indices, total);
  });
  TENREC_LAUNCH_CHECK();
}

void pool_scatter(Cuda, DType dtype, int64_t planes, const PooledPlane& plane, const void* dy, const int32_t* indices,
                  void* dx) {
  const int64_t inputs = planes * plane.area(), outputs = planes * plane.outputs();
  if (inputs == 0) return;
  visit_floating("pooling", dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* from = static_cast<const T*>(dy);
    T* to = static_cast<T*>(dx);
    if (plane.halving) {
      TENREC_LAUNCH(scatter_halving<T>, grid_for(inputs), kThreads, 0, stream(), plane, from, indices, to, inputs);
      return;
    }
    const Buffer<int32_t> first(inputs), next(outputs);
    TENREC_CUDA_CHECK(cudaMemsetAsync(first.data(), 0xff, size_t(inputs) * sizeof(int32_t), stream()));
    if (outputs > 0)
      TENREC_LAUNCH(list_outputs, grid_for(outputs), kThreads, 0, stream(), indices, plane.area(), plane.outputs(),
                    first.data(), next.data(), outputs);
    TENREC_LAUNCH(scatter_lists<T>, grid_for(inputs), kThreads, 0, stream(), from, first.data(), next.data(),
                  plane.area(), plane.outputs(), to, inputs);
  });
  TENREC_LAUNCH_CHECK();
}

void pool_gather(Cuda, DType dtype, int64_t planes, int64_t area, int64_t outputs, const void* x,
                 const int32_t* indices, void* y) {
  const int64_t total = planes * outputs;
  if (total == 0) return;
  visit_width(dtype, [&](auto zero) {
    using Bits = decltype(zero);
    TENREC_LAUNCH(gather_indices<Bits>, grid_for(total), kThreads, 0, stream(), static_cast<const Bits*>(x), indices,
                  area, outputs, static_cast<Bits*>(y), total);
  });
  TENREC_LAUNCH_CHECK();
}

void avg_pool(Cuda, DType dtype, int64_t planes, const Windows& rows, const Windows& cols, const float* divisor,
              const void* x, void* y) {
  const PooledPlane plane = plane_of(rows, cols);
  const int64_t total = planes * plane.outputs();
  if (total == 0) return;
  const HostRanges windows = windows_of(rows, cols);
  const HostDivisors divisors(divisor, plane.outputs());
  visit_floating("pooling", dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* from = static_cast<const T*>(x);
    T* to = static_cast<T*>(y);
    if (longest(rows) * longest(cols) >= kLargeWindow)
      TENREC_LAUNCH(avg_pool_large<T>, grid_for(total * kWarp), kThreads, 0, stream(), plane, windows.get(),
                    divisors.get(), from, to, total);
    else
      TENREC_LAUNCH(avg_pool_windows<T>, grid_for(total), kThreads, 0, stream(), plane, windows.get(), divisors.get(),
                    from, to, total);
  });
  TENREC_LAUNCH_CHECK();
}

void avg_pool_grad(Cuda, DType dtype, int64_t planes, const Windows& rows, const Windows& cols, const float* divisor,
                   const void* dy, void* dx) {
  const PooledPlane plane = plane_of(rows, cols);
  const int64_t total = planes * plane.area();
  if (total == 0) return;
  const auto [row_first, row_end] = holders(rows);
  const auto [col_first, col_end] = holders(cols);
  const HostRanges ranges(row_first, row_end, col_first, col_end);
  const HostDivisors divisors(divisor, plane.outputs());
  visit_floating("pooling", dtype, [&](auto zero) {
    using T = decltype(zero);
    TENREC_LAUNCH(avg_pool_gather<T>, grid_for(total), kThreads, 0, stream(), plane, ranges.get(), divisors.get(),
                  static_cast<const T*>(dy), static_cast<T*>(dx), total);
  });
  TENREC_LAUNCH_CHECK();
}

}  // namespace tenrec::kernels
