// Padding and its transpose.
//
// Floor: every element of y is written and what it shows read once. Neighbouring dimensions that are not padded are one
// dimension, which needs no map; if it is the innermost, its rows go by the widest unit they allow. The other maps
// (for the gradient: their inverses) lie behind each other in one buffer.
//
// The gradient has a thread for each element of dx, which adds all places that show it, in their order and in double.
#include <cstring>

#include "tenrec/kernels/cuda/moves.cuh"
#include "tenrec/kernels/cuda/staged.cuh"
#include "tenrec/kernels/pad.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::cuda {
namespace {

// Of the small tensor and the large one, outermost dimension first. Sizes are of the one that is written, strides of
// the one that is read.
struct PadSpace {
  int ndim = 0;
  int64_t size[kMaxDims];
  int64_t stride[kMaxDims];
  int64_t map[kMaxDims];  // where the dimension's map begins; -1 if it needs none
};

template <class T>
__global__ void pad_units(const T* x, T* y, T fill, const int64_t* maps, PadSpace s, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    int64_t rest = i, from = 0;
    bool inside = true;
    for (int d = s.ndim - 1; d >= 0; --d) {
      int64_t at;
      rest = divide(rest, s.size[d], at);
      if (s.map[d] >= 0) at = maps[s.map[d] + at];
      inside = inside && at >= 0;
      from += at * s.stride[d];
    }
    y[i] = inside ? x[from] : fill;
  }
}

// A dimension's inverse map: coordinate a of dx is shown by lists[starts[a]] .. lists[starts[a + 1] - 1], with the
// starts first.
template <class T>
__global__ void pad_grad_sums(const T* dy, T* dx, const int64_t* maps, PadSpace s, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    int64_t first[kMaxDims], count[kMaxDims], rest = i, places = 1;
    for (int d = s.ndim - 1; d >= 0; --d) {
      int64_t at;
      rest = divide(rest, s.size[d], at);
      first[d] = at;
      count[d] = 1;
      if (s.map[d] < 0) continue;
      const int64_t* starts = maps + s.map[d];
      first[d] = starts[at];
      count[d] = starts[at + 1] - starts[at];
      places *= count[d];
    }
    double sum = 0;
    for (int64_t place = 0; place < places; ++place) {
      int64_t left = place, from = 0;
      for (int d = s.ndim - 1; d >= 0; --d) {
        int64_t pick;
        left = divide(left, count[d], pick);
        from += (s.map[d] < 0 ? first[d] : maps[s.map[d] + s.size[d] + 1 + first[d] + pick]) * s.stride[d];
      }
      sum += convert_to<double>(dy[from]);
    }
    dx[i] = convert_to<T>(sum);
  }
}

bool is_identity(const std::vector<int64_t>& map, int64_t size) {
  if (int64_t(map.size()) != size) return false;
  for (int64_t i = 0; i < size; ++i)
    if (map[size_t(i)] != i) return false;
  return true;
}

// Dimensions of the small and the large tensor, those without a map merged, and their maps.
struct Dims {
  struct Dim {
    int64_t small, large;
    const std::vector<int64_t>* map;  // null if it needs none
  };
  std::vector<Dim> dims;
  int64_t inner() const { return dims.back().map ? 1 : dims.back().small; }
};
Dims merge_dims(const View& small, const View& large, kernels::PadMaps maps) {
  Dims out;
  for (int64_t d = 0; d < small.ndim(); ++d) {
    const std::vector<int64_t>& map = maps[size_t(d)];
    const int64_t size = small.size(d);
    const bool plain = is_identity(map, size);
    if (plain && !out.dims.empty() && !out.dims.back().map)
      out.dims.back().small = out.dims.back().large *= size;
    else
      out.dims.push_back({size, large.size(d), plain ? nullptr : &map});
  }
  return out;
}

// `scale`: elements of a unit, which the innermost dimension counts in.
PadSpace make_space(const Dims& dims, bool reads_small, int64_t scale) {
  PadSpace s;
  s.ndim = int(dims.dims.size());
  int64_t step = 1, map = 0;
  for (int d = s.ndim - 1; d >= 0; --d) {
    const Dims::Dim& dim = dims.dims[size_t(d)];
    const int64_t divisor = d == s.ndim - 1 ? scale : 1;
    s.size[d] = (reads_small ? dim.large : dim.small) / divisor;
    s.stride[d] = step;
    step *= (reads_small ? dim.small : dim.large) / divisor;
  }
  for (int d = 0; d < s.ndim; ++d) {
    const Dims::Dim& dim = dims.dims[size_t(d)];
    s.map[d] = dim.map ? map : -1;
    if (dim.map) map += reads_small ? dim.large : dim.small + 1 + dim.large;
  }
  return s;
}

std::vector<int64_t> all_maps(const Dims& dims) {
  std::vector<int64_t> out;
  for (const Dims::Dim& dim : dims.dims)
    if (dim.map) out.insert(out.end(), dim.map->begin(), dim.map->end());
  return out;
}

// Of a dimension: small + 1 starts and a list with room for `large` coordinates, in rising order for each of x's.
std::vector<int64_t> all_inverses(const Dims& dims) {
  std::vector<int64_t> out;
  for (const Dims::Dim& dim : dims.dims) {
    if (!dim.map) continue;
    std::vector<int64_t> starts(size_t(dim.small) + 1), list(static_cast<size_t>(dim.large));
    for (const int64_t to : *dim.map)
      if (to >= 0) ++starts[size_t(to) + 1];
    for (size_t a = 1; a < starts.size(); ++a) starts[a] += starts[a - 1];
    std::vector<int64_t> next = starts;
    for (size_t i = 0; i < dim.map->size(); ++i)
      if (const int64_t to = (*dim.map)[i]; to >= 0) list[size_t(next[size_t(to)]++)] = int64_t(i);
    out.insert(out.end(), starts.begin(), starts.end());
    out.insert(out.end(), list.begin(), list.end());
  }
  return out;
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

void pad(Cuda, const View& x, const View& y, PadMaps maps, const void* fill) {
  if (y.numel == 0) return;
  const Dims dims = merge_dims(x, y, maps);
  const Staged<int64_t> on_device(all_maps(dims));
  Units units(x.dtype);
  units.address(x.data).address(y.data).elements(dims.inner());
  units.visit([&](auto pattern) {
    using T = decltype(pattern);
    const int64_t width = size_of(x.dtype), n = units.in<T>(y.numel);
    for (int64_t at = 0; at < int64_t(sizeof(T)); at += width)
      std::memcpy(reinterpret_cast<char*>(&pattern) + at, fill, size_t(width));
    TENREC_LAUNCH(pad_units<T>, grid_for(n), kThreads, 0, stream(), x.as<T>(), y.as<T>(), pattern, on_device.data(),
                  make_space(dims, true, int64_t(sizeof(T)) / width), n);
  });
  TENREC_LAUNCH_CHECK();
}

void pad_grad(Cuda, const View& dy, const View& dx, PadMaps maps) {
  if (dx.numel == 0) return;
  const Dims dims = merge_dims(dx, dy, maps);
  const Staged<int64_t> on_device(all_inverses(dims));
  visit_floating("pad_grad", dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    TENREC_LAUNCH(pad_grad_sums<T>, grid_for(dx.numel), kThreads, 0, stream(), dy.as<T>(), dx.as<T>(), on_device.data(),
                  make_space(dims, false, 1), dx.numel);
  });
  TENREC_LAUNCH_CHECK();
}

}  // namespace tenrec::kernels
