// Arguments of extremes, and the gradient of a product.
//
// Floor: x is read once. An extreme is a reduction of (value, place) pairs, cut as any other. The gradient reads x
// twice if a row is longer than a block, and writes once.
#include "tenrec/kernels/cuda/reduce_tiles.cuh"
#include "tenrec/kernels/reduce.h"

namespace tenrec::cuda {
namespace {

// --- extremes -------------------------------------------------------------------------------------------------------

template <class T>
struct Place {
  T value;
  int64_t index;  // -1: none
};

template <class T>
__device__ Place<T> from_lane_xor(const Place<T>& place, int lanes) {
  return {__shfl_xor_sync(kAllLanes, place.value, lanes), __shfl_xor_sync(kAllLanes, place.index, lanes)};
}

// NaN before all else, then the larger (smaller), then the first: independent of the order in which places meet.
template <bool kMax, class T>
__device__ Place<T> better(const Place<T>& a, const Place<T>& b) {
  if (a.index < 0 || b.index < 0) return b.index < 0 ? a : b;
  const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
  if (a_nan != b_nan) return a_nan ? a : b;
  if (a_nan || a.value == b.value) return a.index < b.index ? a : b;
  return (kMax ? a.value > b.value : a.value < b.value) ? a : b;
}

struct Chosen {
  void* values;  // or null
  DType dtype;
  int64_t* indices;

  template <class T>
  __device__ void store(int64_t output, const Place<T>& best) const {
    indices[output] = best.index;
    if (values) store_as(values, output, dtype, best.value);
  }
};

template <bool kMax, class T>
__global__ void __launch_bounds__(kThreads) find_extremes(Reduction p, Place<T>* partial, Chosen to, int64_t tiles) {
  for (int64_t t = blockIdx.x; t < tiles; t += gridDim.x) {
    const Share share(p, t);
    Place<T> best{T(0), -1};
    if (share.active) {
      for_elements<T>(p, place(p.kept, share.output), share.begin, share.end, share.y, [&](T x, int64_t i) {
        if (best.index < 0 || (kMax ? x > best.value : x < best.value) || (x != x && best.value == best.value))
          best = {x, i};
      });
    }
    best = reduce_depth(best, p.depth, p.rows ? 1 : p.width,
                        [](const Place<T>& a, const Place<T>& b) { return better<kMax>(a, b); });
    if (!share.first) continue;
    if (partial)
      partial[share.output * p.chunks + share.chunk] = best;
    else
      to.store(share.output, best);
  }
}

// The chunks of an output, by a warp.
template <bool kMax, class T>
__global__ void join_extremes(const Place<T>* partial, int64_t chunks, Chosen to, int64_t outputs) {
  const int lane = int(threadIdx.x) % kWarp;
  for (int64_t o = grid_start() / kWarp; o < outputs; o += grid_stride() / kWarp) {
    Place<T> best{T(0), -1};
    for (int64_t c = lane; c < chunks; c += kWarp) best = better<kMax>(best, partial[o * chunks + c]);
    for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) best = better<kMax>(best, from_lane_xor(best, lanes));
    if (lane == 0) to.store(o, best);
  }
}

template <bool kMax, class T>
void run_extremes(const Reduction& p, const Chosen& to) {
  const auto find = [&](Place<T>* partial) {
    TENREC_LAUNCH((find_extremes<kMax, T>), p.grid(), unsigned(p.threads()), 0, stream(), p, partial, to, p.tiles());
    TENREC_LAUNCH_CHECK();
  };
  if (p.chunks == 1) return find(nullptr);
  const Buffer<Place<T>> partial(p.outputs * p.chunks);
  find(partial.data());
  TENREC_LAUNCH((join_extremes<kMax, T>), grid_for(p.outputs * kWarp, 4 * kWarp), unsigned(4 * kWarp), 0, stream(),
                partial.data(), p.chunks, to, p.outputs);
  TENREC_LAUNCH_CHECK();
}

// --- the gradient of a product --------------------------------------------------------------------------------------

// A row in tiles of a block's size. What lies left and right of a tile comes from the products of the tiles, and what
// lies left and right of an element within its tile from two scans: the other elements are multiplied, and never
// divided out, so zeros are no exception.
struct Rows {
  const void* x;
  DType dtype;
  int64_t n, tiles;

  __device__ double at(int64_t row, int64_t i) const { return load_as<double>(x, row * n + i, dtype); }
};

struct Times {
  __device__ double operator()(double a, double b) const { return a * b; }
};

__global__ void tile_products(Rows rows, double* products, int64_t blocks) {
  for (int64_t b = blockIdx.x; b < blocks; b += gridDim.x) {
    const int64_t i = b % rows.tiles * blockDim.x + threadIdx.x;
    const double product = block_reduce(i < rows.n ? rows.at(b / rows.tiles, i) : 1.0, 1.0, Times());
    if (threadIdx.x == 0) products[b] = product;
  }
}

// Of every row: the products of the tiles before and behind each.
__global__ void around_tiles(const double* products, int64_t rows, int64_t tiles, double* left, double* right) {
  TENREC_SHARED(double, last, 2);
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const double* p = products + row * tiles;
    double before = 1, behind = 1;
    for (int64_t begin = 0; begin < tiles; begin += blockDim.x) {
      // Shifted by one, so that a tile's own product is left out.
      const int64_t i = begin + threadIdx.x, mirror = tiles - 1 - i;
      const bool inner = i > 0 && i < tiles;
      const double from_left = before * block_scan(inner ? p[i - 1] : 1.0, 1.0, Times());
      const double from_right = behind * block_scan(inner ? p[mirror + 1] : 1.0, 1.0, Times());
      if (i < tiles) {
        left[row * tiles + i] = from_left;
        right[row * tiles + mirror] = from_right;
      }
      __syncthreads();  // the turn before may still be reading
      if (threadIdx.x == blockDim.x - 1) {
        last[0] = from_left;
        last[1] = from_right;
      }
      __syncthreads();
      before = last[0];
      behind = last[1];
    }
  }
}

// left, right: null for rows of one tile.
__global__ void product_gradients(Rows rows, const double* left, const double* right, const void* dy, DType dy_dtype,
                                  void* dx, DType dx_dtype, int64_t blocks) {
  TENREC_SHARED(double, behind, kThreads);
  const int thread = int(threadIdx.x), threads = int(blockDim.x);
  for (int64_t b = blockIdx.x; b < blocks; b += gridDim.x) {
    const int64_t row = b / rows.tiles, begin = b % rows.tiles * threads;
    const int count = int(begin + threads < rows.n ? threads : rows.n - begin);
    const bool inner = thread > 0 && thread < count;
    double from_left = inner ? rows.at(row, begin + thread - 1) : 1.0;
    double from_right = inner ? rows.at(row, begin + count - thread) : 1.0;
    if (thread == 0) {
      from_left = load_as<double>(dy, row, dy_dtype) * (left ? left[b] : 1.0);
      if (right) from_right = right[b];
    }
    from_left = block_scan(from_left, 1.0, Times());
    from_right = block_scan(from_right, 1.0, Times());
    if (thread < count) behind[count - 1 - thread] = from_right;
    __syncthreads();
    if (thread < count) store_as(dx, row * rows.n + begin + thread, dx_dtype, from_left * behind[thread]);
  }
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

void extreme_index(Cuda, bool largest, const View& x, int64_t dim, const View* values, const View& indices) {
  if (indices.numel == 0) return;
  Shape kept, reduced;
  Strides kept_strides, reduced_strides;
  for (int64_t d = 0; d < x.ndim(); ++d) {
    (d == dim ? reduced : kept).push_back(x.size(d));
    (d == dim ? reduced_strides : kept_strides).push_back(x.stride(d));
  }
  const Reduction p = plan_reduction(x.data, x.dtype, detail::merge(kept, &kept_strides, 1),
                                     detail::merge(reduced, &reduced_strides, 1), true);
  const Chosen to{values ? values->data : nullptr, values ? values->dtype : x.dtype, indices.as<int64_t>()};
  if (is_floating(x.dtype))
    largest ? run_extremes<true, double>(p, to) : run_extremes<false, double>(p, to);
  else
    largest ? run_extremes<true, int64_t>(p, to) : run_extremes<false, int64_t>(p, to);
}

void prod_grad(Cuda, const View& x, const View& dy, const View& dx) {
  if (dx.numel == 0) return;
  const int64_t count = x.size(0), n = x.size(1), threads = std::min<int64_t>(round_up(n, kWarp), kThreads);
  const Rows rows{x.data, x.dtype, n, ceil_div(n, threads)};
  const int64_t blocks = count * rows.tiles, around = rows.tiles > 1 ? blocks : 0;
  const auto grid = [](int64_t work) { return unsigned(std::min<int64_t>(work, int64_t(multiprocessors()) * 64)); };
  const Buffer<double> products(around), left(around), right(around);
  if (around) {
    TENREC_LAUNCH(tile_products, grid(blocks), unsigned(threads), 0, stream(), rows, products.data(), blocks);
    TENREC_LAUNCH_CHECK();
    TENREC_LAUNCH(around_tiles, grid(count), kThreads, 0, stream(), products.data(), count, rows.tiles, left.data(),
                  right.data());
    TENREC_LAUNCH_CHECK();
  }
  TENREC_LAUNCH(product_gradients, grid(blocks), unsigned(threads), 0, stream(), rows, around ? left.data() : nullptr,
                around ? right.data() : nullptr, dy.data, dy.dtype, dx.data, dx.dtype, blocks);
  TENREC_LAUNCH_CHECK();
}

}  // namespace tenrec::kernels
