// Scans along one dimension.
//
// Floor: each operand crosses memory once. Short lines, and many lines that lie side by side, have a thread each, which
// goes through its line in order as the CPU does; longer lines have a block each, which scans tile after tile, and a
// few very long ones are cut into parts: the total of each part, a scan of the totals, then all parts at once, for
// which x is read twice. What does not depend on the order by more than the last bit of a double may be cut so.
// Products may overflow on the way in one order and not in another, so cumprod and its gradient stay with a thread for
// each line. A single line of i64 is summed by CUB, which reads it once; not so floating ones (cuda/cub.h says why).
#include <cmath>

#include "tenrec/kernels/cuda/block_scan.cuh"
#include "tenrec/kernels/cuda/combine.cuh"
#include "tenrec/kernels/cuda/moves.cuh"
#include "tenrec/kernels/elementwise_space.h"
#include "tenrec/kernels/scan.h"

namespace tenrec::cuda {
namespace {

constexpr int kItems = 8;  // of a thread in a tile

// Element i of a line of each operand, counted in the order of the scan.
template <int K>
struct Line {
  int64_t base[K], along[K];
  __device__ int64_t at(int k, int64_t i) const { return base[k] + i * along[k]; }
};
template <int K>
struct Lines {
  Offsets<K> offsets;
  int64_t begin[K], along[K];
  int64_t count, length;
  __device__ Line<K> line(int64_t i) const {
    Line<K> line;
    offsets.at(i, line.base);
    for (int k = 0; k < K; ++k) {
      line.base[k] += begin[k];
      line.along[k] = along[k];
    }
    return line;
  }
};

// The lines of tensors of one shape. Backwards, a line begins at its end.
template <int K>
Lines<K> lines_of(const View (&tensors)[K], int64_t dim, bool backwards) {
  Shape shape = *tensors[0].shape;
  Strides strides[K];
  Lines<K> lines;
  lines.length = shape.ndim() ? shape[dim] : 1;
  for (int k = 0; k < K; ++k) {
    strides[k] = *tensors[k].strides;
    const int64_t step = shape.ndim() ? strides[k][dim] : 0;
    lines.begin[k] = backwards ? (lines.length - 1) * step : 0;
    lines.along[k] = backwards ? -step : step;
    if (shape.ndim()) strides[k].erase(dim);
  }
  if (shape.ndim()) shape.erase(dim);
  lines.count = tensors[0].numel / lines.length;
  const kernels::detail::Space space = kernels::detail::merge(shape, strides, K);
  lines.offsets = offsets_of<K>(space.shape, space.strides);
  return lines;
}

// An operand with its dtype.
struct In {
  const void* data;
  DType dtype;
  explicit In(const View& v) : data(v.data), dtype(v.dtype) {}
  template <class T>
  __device__ T get(int64_t i) const {
    return load_as<T>(data, i, dtype);
  }
};
struct Out {
  void* data;
  DType dtype;
  explicit Out(const View& v) : data(v.data), dtype(v.dtype) {}
  template <class T>
  __device__ void set(int64_t i, T v) const {
    store_as(data, i, dtype, v);
  }
};

// --- what is scanned -------------------------------------------------------------------------------------------------
//
// A scan has a State, combine(a, b) for a before b, load for the state of element i alone and store for the result.

struct LogAdd {
  __device__ double operator()(double a, double b) const {
    if (a != a || b != b) return a + b;
    const double high = a > b ? a : b, low = a > b ? b : a;
    return high - high != 0 ? high : high + log1p(exp(low - high));  // an infinity stays
  }
};

template <class T, class Op>
struct Plain {
  using State = T;
  static constexpr int kOperands = 2;
  In x;
  Out y;
  __device__ T load(const Line<2>& line, int64_t i) const { return x.get<T>(line.at(0, i)); }
  __device__ T combine(T a, T b) const { return Op()(a, b); }
  __device__ void store(const Line<2>& line, int64_t i, T v) const { y.set(line.at(1, i), v); }
};

// The later of two equal ones, and NaN above all.
template <class T>
struct Extreme {
  struct State {
    T value;
    int64_t place;
  };
  static constexpr int kOperands = 2;
  In x;
  Out y;
  int64_t* indices;
  bool largest;
  __device__ State load(const Line<2>& line, int64_t i) const { return {x.get<T>(line.at(0, i)), i}; }
  __device__ State combine(State a, State b) const {
    const bool later =
        b.value != b.value || (a.value == a.value && (largest ? b.value >= a.value : b.value <= a.value));
    return later ? b : a;
  }
  __device__ void store(const Line<2>& line, int64_t i, State s) const {
    y.set(line.at(1, i), s.value);
    indices[line.at(1, i)] = s.place;
  }
};

// Backwards: t = dy_i + factor t, with no factor above 1. dx_i = e^(x_i - y_i) t.
struct LogSumGrad {
  struct State {
    double factor, value;
  };
  static constexpr int kOperands = 4;
  In x, y, dy;
  Out dx;
  __device__ State load(const Line<4>& line, int64_t i) const {
    const double none = -INFINITY, after = i > 0 ? y.get<double>(line.at(1, i - 1)) : none;
    const double factor = after == none ? 1 : exp(y.get<double>(line.at(1, i)) - after);
    return {factor, dy.get<double>(line.at(2, i))};
  }
  __device__ State combine(State a, State b) const { return {b.factor * a.factor, b.value + b.factor * a.value}; }
  __device__ void store(const Line<4>& line, int64_t i, State s) const {
    const double v = x.get<double>(line.at(0, i));
    dx.set(line.at(3, i), v == -INFINITY ? 0 : exp(v - y.get<double>(line.at(1, i))) * s.value);
  }
};

// For the gradient of cumprod, dx_i = t_i (product of x before i) with t_i = dy_i + x_i+1 t_i+1. Backwards: the t.
struct ProductTail {
  struct State {
    double factor, value;
  };
  static constexpr int kOperands = 3;
  In x, dy;
  Out tail;
  __device__ State load(const Line<3>& line, int64_t i) const {
    return {i > 0 ? x.get<double>(line.at(0, i - 1)) : 0, dy.get<double>(line.at(1, i))};
  }
  __device__ State combine(State a, State b) const { return {0, b.value + b.factor * a.value}; }  // in order only
  __device__ void store(const Line<3>& line, int64_t i, State s) const { tail.set(line.at(2, i), s.value); }
};
// And then forwards, with the product of what comes before.
struct ProductGrad {
  using State = double;
  static constexpr int kOperands = 3;
  In x, tail;
  Out dx;
  __device__ double load(const Line<3>& line, int64_t i) const { return i > 0 ? x.get<double>(line.at(0, i - 1)) : 1; }
  __device__ double combine(double a, double b) const { return a * b; }
  __device__ void store(const Line<3>& line, int64_t i, double before) const {
    dx.set(line.at(2, i), before * tail.get<double>(line.at(1, i)));
  }
};

// The totals of a line's parts, one behind the other, become their scan.
template <class Scan>
struct Totals {
  using State = typename Scan::State;
  static constexpr int kOperands = 1;
  Scan scan;
  State* totals;
  __device__ State load(const Line<1>& line, int64_t i) const { return totals[line.at(0, i)]; }
  __device__ State combine(State a, State b) const { return scan.combine(a, b); }
  __device__ void store(const Line<1>& line, int64_t i, State s) const { totals[line.at(0, i)] = s; }
};

// --- kernels ---------------------------------------------------------------------------------------------------------

template <class Scan>
__global__ void scan_by_thread(Scan scan, Lines<Scan::kOperands> lines) {
  using State = typename Scan::State;
  for (int64_t l = grid_start(); l < lines.count; l += grid_stride()) {
    const auto line = lines.line(l);
    State state{};
    for (int64_t i = 0; i < lines.length; i += kItems) {
      State next[kItems];  // read ahead: what is stored might be what is loaded next
      for (int j = 0; j < kItems; ++j)
        if (i + j < lines.length) next[j] = scan.load(line, i + j);
      for (int j = 0; j < kItems; ++j) {
        if (i + j >= lines.length) continue;
        state = i + j == 0 ? next[j] : scan.combine(state, next[j]);
        scan.store(line, i + j, state);
      }
    }
  }
}

// A block for each of the `parts` parts of a line, of `size` elements. `before`: the scan of the parts' totals.
// `totals`: nothing but these is wanted.
template <class Scan>
__global__ void scan_by_block(Scan scan, Lines<Scan::kOperands> lines, int64_t parts, int64_t size,
                              const typename Scan::State* before, typename Scan::State* totals) {
  using State = typename Scan::State;
  const auto combine = [scan](State a, State b) { return scan.combine(a, b); };
  for (int64_t b = blockIdx.x; b < lines.count * parts; b += gridDim.x) {
    const int64_t l = b / parts, part = b % parts, end = std::min(lines.length, (part + 1) * size);
    const auto line = lines.line(l);
    bool carries = before && part > 0;
    State carry{};
    if (carries) carry = before[b - 1];
    for (int64_t begin = part * size; begin < end; begin += int64_t(blockDim.x) * kItems) {
      const TilePart<kItems> own(end - begin);
      State v[kItems]{};
      for (int j = 0; j < kItems; ++j)
        if (begin + own.at(j) < end) v[j] = scan.load(line, begin + own.at(j));
      const State total = scan_tile(v, own.turns, combine);
      for (int j = 0; j < kItems; ++j)
        if (!totals && begin + own.at(j) < end)
          scan.store(line, begin + own.at(j), carries ? scan.combine(carry, v[j]) : v[j]);
      carry = carries ? scan.combine(carry, total) : total;
      carries = true;
    }
    if (totals && threadIdx.x == 0) totals[b] = carry;
  }
}

// --- launchers -------------------------------------------------------------------------------------------------------

constexpr int64_t kTile = int64_t(kThreads) * kItems;

template <class Scan>
void launch_blocks(const Scan& scan, const Lines<Scan::kOperands>& lines, int64_t parts, int64_t size,
                   const typename Scan::State* before, typename Scan::State* totals) {
  const int threads =
      int(std::clamp<int64_t>(kernels::round_up(kernels::ceil_div(size, kItems), kWarp), kWarp, kThreads));
  TENREC_LAUNCH(scan_by_block<Scan>, blocks_for(lines.count * parts), threads, 0, stream(), scan, lines, parts, size,
                before, totals);
  TENREC_LAUNCH_CHECK();
}

template <class Scan>
void launch_threads(const Scan& scan, const Lines<Scan::kOperands>& lines) {
  constexpr int kSmall = 64;  // lines are few more often than not: spread them over the multiprocessors
  TENREC_LAUNCH(scan_by_thread<Scan>, grid_for(lines.count, kSmall), kSmall, 0, stream(), scan, lines);
  TENREC_LAUNCH_CHECK();
}

template <class Scan>
void run_scan(const Scan& scan, const Lines<Scan::kOperands>& lines) {
  constexpr int64_t kShort = 32, kManyLines = 1024, kFewLines = 64, kMostParts = 256;
  const int64_t last = Scan::kOperands - 1, step = lines.along[last] < 0 ? -lines.along[last] : lines.along[last];
  if (lines.length <= kShort || (step != 1 && lines.count >= kManyLines)) return launch_threads(scan, lines);
  if (lines.count >= kFewLines || lines.length <= 4 * kTile)
    return launch_blocks(scan, lines, 1, lines.length, nullptr, nullptr);

  using State = typename Scan::State;
  const int64_t most = std::min(kMostParts, kernels::ceil_div(lines.length, 2 * kTile));
  const int64_t size = kernels::round_up(kernels::ceil_div(lines.length, most), kTile);
  const int64_t parts = kernels::ceil_div(lines.length, size);
  const Buffer<State> totals(lines.count * parts);
  launch_blocks(scan, lines, parts, size, nullptr, totals.data());
  Lines<1> of_totals;
  const Strides stride{parts};
  of_totals.offsets = offsets_of<1>(Shape{lines.count}, &stride);
  of_totals.begin[0] = 0;
  of_totals.along[0] = 1;
  of_totals.count = lines.count;
  of_totals.length = parts;
  launch_blocks(Totals<Scan>{scan, totals.data()}, of_totals, 1, parts, nullptr, nullptr);
  launch_blocks<Scan>(scan, lines, parts, size, totals.data(), nullptr);
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

void cumsum(Cuda, const View& x, const View& y, int64_t dim, bool reverse) {
  if (x.numel == 0) return;
  if (x.dtype == i64 && y.dtype == i64 && !reverse && x.contiguous && (x.ndim() == 0 || x.size(dim) == x.numel))
    return inclusive_sum(x.as<int64_t>(), y.as<int64_t>(), x.numel, stream());
  const Lines<2> lines = lines_of<2>({x, y}, dim, reverse);
  visit_combined(x.dtype, [&](auto zero) { run_scan(Plain<decltype(zero), WideAdd>{In(x), Out(y)}, lines); });
}

void cumprod(Cuda, const View& x, const View& y, int64_t dim) {
  if (x.numel == 0) return;
  const Lines<2> lines = lines_of<2>({x, y}, dim, false);
  visit_combined(x.dtype, [&](auto zero) {
    launch_threads(Plain<decltype(zero), WideMultiply>{In(x), Out(y)}, lines);
  });
}

void logcumsumexp(Cuda, const View& x, const View& y, int64_t dim) {
  if (x.numel == 0) return;
  run_scan(Plain<double, LogAdd>{In(x), Out(y)}, lines_of<2>({x, y}, dim, false));
}

void cumextreme(Cuda, bool largest, const View& x, const View& y, const View& indices, int64_t dim) {
  if (x.numel == 0) return;
  const Lines<2> lines = lines_of<2>({x, y}, dim, false);
  visit_combined(x.dtype, [&](auto zero) {
    run_scan(Extreme<decltype(zero)>{In(x), Out(y), indices.as<int64_t>(), largest}, lines);
  });
}

void cumprod_grad(Cuda, const View& x, const View& dy, const View& dx, int64_t dim) {
  if (x.numel == 0) return;
  const Buffer<double> values(x.numel);  // f32 may not hold them
  View tail = dx;
  tail.data = values.data();
  tail.dtype = f64;
  launch_threads(ProductTail{In(x), In(dy), Out(tail)}, lines_of<3>({x, dy, tail}, dim, true));
  launch_threads(ProductGrad{In(x), In(tail), Out(dx)}, lines_of<3>({x, tail, dx}, dim, false));
}

void logcumsumexp_grad(Cuda, const View& x, const View& y, const View& dy, const View& dx, int64_t dim) {
  if (x.numel == 0) return;
  run_scan(LogSumGrad{In(x), In(y), In(dy), Out(dx)}, lines_of<4>({x, y, dy, dx}, dim, true));
}

}  // namespace tenrec::kernels
