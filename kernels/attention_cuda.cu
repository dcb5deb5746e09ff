// Attention by tiles of queries and keys in shared memory, forward and backward.
//
// Floor: q, k, v and y once each, and 2 L S (E + Ev) multiply-adds forward, 2.5 times as many backward. A block owns a
// tile of queries (forward, dq) or of keys (dk, dv) and goes over the others, so nothing is added by two blocks and no
// atomics are needed; the price is that backward makes the scores twice. These kernels multiply on the plain units, not
// on the tensor cores (attention_16bit_cuda.cu): they take any width, stride, mask and dtype.
#include "tenrec/kernels/cuda/attention.cuh"
#include "tenrec/kernels/visit.h"

namespace tenrec::cuda {
namespace {

constexpr int64_t kShared = 48 << 10;  // bytes that every device gives a block
constexpr int kMostTile = 32;          // one key for each lane of a warp

// Rows [r, r + tile) of a head to shared memory with rows of `stride`; zeros behind the last row.
template <class T, class C>
__device__ void load_tile(const Heads<T>& x, int64_t b, int64_t h, int64_t r, int64_t rows, int64_t width, int tile,
                          C* to, int64_t stride) {
  for (int64_t i = threadIdx.x; i < tile * width; i += blockDim.x) {
    const int64_t row = i / width, c = i % width;
    to[row * stride + c] = r + row < rows ? convert_to<C>(x.at(b, h, r + row)[c]) : C(0);
  }
}
// scores[i, j] = the sum over c of a[i, c] b[j, c].
template <class C>
__device__ void inner_products(const C* a, int64_t a_stride, const C* b, int64_t b_stride, int64_t width, int tile,
                               C* scores) {
  for (int at = int(threadIdx.x); at < tile * tile; at += int(blockDim.x)) {
    const C *x = a + at / tile * a_stride, *y = b + at % tile * b_stride;
    C sum = 0;
    for (int64_t c = 0; c < width; ++c) sum = kernels::fma(x[c], y[c], sum);
    scores[at] = sum;
  }
}
// sums[i, c] += the sum over j of weights[i, j] rows[j, c], or of weights[j, i] if `turned`.
template <bool turned, class C>
__device__ void add_products(const C* weights, const C* rows, int64_t stride, int64_t width, int tile, C* sums) {
  for (int64_t at = threadIdx.x; at < tile * width; at += blockDim.x) {
    const int64_t i = at / width, c = at % width;
    C sum = sums[at];
    for (int j = 0; j < tile; ++j)
      sum = kernels::fma(weights[turned ? j * tile + i : i * tile + j], rows[j * stride + c], sum);
    sums[at] = sum;
  }
}
template <class C>
__device__ void clear(C* x, int64_t n) {
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) x[i] = 0;
}
template <class T, class C>
__device__ void store_tile(const Heads<T>& x, int64_t b, int64_t h, int64_t r, int64_t rows, int64_t width, int tile,
                           const C* from) {
  for (int64_t i = threadIdx.x; i < tile * width; i += blockDim.x)
    if (r + i / width < rows) x.at(b, h, r + i / width)[i % width] = convert_to<T>(from[i]);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    attend(Problem p, Heads<const T> q, Heads<const T> k, Heads<const T> v, Heads<T> y, Real<T>* lse) {
  using C = Real<T>;
  constexpr C none = -std::numeric_limits<C>::infinity();
  const int tile = p.tile, lane = int(threadIdx.x) % kWarp;
  TENREC_DYNAMIC_SHARED(C, shared);
  C* queries = shared;
  C* keys = queries + tile * p.width;  // a column more, so that neighbouring keys lie in different banks
  C* values = keys + tile * (p.width + 1);
  C* sums = values + tile * p.out;
  C* scores = sums + tile * p.out;
  C *most = scores + tile * tile, *total = most + tile, *shrink = total + tile;
  const int64_t tiles = kernels::ceil_div(p.queries, int64_t(tile));
  for (int64_t item = blockIdx.x; item < p.batch * p.heads * tiles; item += gridDim.x) {
    const int64_t first = item % tiles * tile, h = item / tiles % p.heads, b = item / tiles / p.heads;
    __syncthreads();  // the block may still be reading from the item before
    load_tile(q, b, h, first, p.queries, p.width, tile, queries, p.width);
    clear(sums, tile * p.out);
    for (int i = int(threadIdx.x); i < tile; i += int(blockDim.x)) {
      most[i] = none;
      total[i] = 0;
    }
    const int64_t end = p.limit(first + tile - 1 < p.queries ? first + tile - 1 : p.queries - 1);
    for (int64_t j0 = 0; j0 < end; j0 += tile) {
      __syncthreads();
      load_tile(k, b, h / p.group, j0, p.keys, p.width, tile, keys, p.width + 1);
      load_tile(v, b, h / p.group, j0, p.keys, p.out, tile, values, p.out);
      __syncthreads();
      inner_products(queries, p.width, keys, p.width + 1, p.width, tile, scores);
      __syncthreads();
      // A warp to a query, a lane to a key.
      for (int i = int(threadIdx.x) / kWarp; i < tile; i += int(blockDim.x) / kWarp) {
        C s = lane < tile ? p.score(scores[i * tile + lane], b, h, first + i, j0 + lane) : none;
        const C before = most[i];
        const C larger = std::fmax(before, warp_reduce(s, Larger()));
        s = exp_of(s - (larger > none ? larger : C(0)));
        const C sum = warp_reduce(s, Add());
        __syncwarp();
        if (lane < tile)
          scores[i * tile + lane] = p.kept == 0 || s == 0 ? s : s * p.template factor<C>(b, h, first + i, j0 + lane);
        if (lane == 0) {
          const C by = before > none ? exp_of(before - larger) : C(0);
          most[i] = larger;
          shrink[i] = by;
          total[i] = total[i] * by + sum;
        }
      }
      __syncthreads();
      for (int64_t at = threadIdx.x; at < tile * p.out; at += blockDim.x) sums[at] *= shrink[at / p.out];
      __syncthreads();
      add_products<false>(scores, values, p.out, p.out, tile, sums);
    }
    __syncthreads();
    for (int64_t at = threadIdx.x; at < tile * p.out; at += blockDim.x) {
      const C sum = total[at / p.out];
      sums[at] = sum == 0 ? C(0) : sums[at] / sum;
    }
    __syncthreads();
    store_tile(y, b, h, first, p.queries, p.out, tile, sums);
    for (int64_t i = threadIdx.x; i < tile && first + i < p.queries; i += blockDim.x)
      lse[(b * p.heads + h) * p.queries + first + i] = total[i] == 0 ? none : most[i] + C(std::log(total[i]));
  }
}

// delta = sum(dy y) of every query: a warp to each.
template <class T>
__global__ void __launch_bounds__(kThreads) sum_dy_y(Problem p, Heads<const T> y, Heads<const T> dy, Real<T>* delta) {
  using C = Real<T>;
  const int64_t warps = grid_stride() / kWarp, count = p.batch * p.heads * p.queries;
  const int lane = int(threadIdx.x) % kWarp;
  for (int64_t r = grid_start() / kWarp; r < count; r += warps) {
    const int64_t i = r % p.queries, h = r / p.queries % p.heads, b = r / p.queries / p.heads;
    const T *a = y.at(b, h, i), *g = dy.at(b, h, i);
    C sum = 0;
    for (int64_t c = lane; c < p.out; c += kWarp) sum = kernels::fma(convert_to<C>(a[c]), convert_to<C>(g[c]), sum);
    sum = warp_reduce(sum, Add());
    if (lane == 0) delta[r] = sum;
  }
}

// From scores and dy v^T of a tile: D P in place of the first, ds in place of the second.
template <class C>
__device__ void to_gradients(const Problem& p, int64_t b, int64_t h, int64_t i0, int64_t j0, const C* lse,
                             const C* delta, C* scores, C* products) {
  for (int at = int(threadIdx.x); at < p.tile * p.tile; at += int(blockDim.x)) {
    const int64_t i = i0 + at / p.tile, j = j0 + at % p.tile;
    const C s = p.score(scores[at], b, h, i, j), end = i < p.queries ? lse[i] : C(0);
    // The log-sum of a query without keys is -inf, as are its scores.
    const C prob = s == -std::numeric_limits<C>::infinity() ? C(0) : exp_of(s - end);
    const C f = prob == 0 ? C(0) : p.template factor<C>(b, h, i, j);
    products[at] = prob == 0 ? C(0) : prob * kernels::fma(products[at], f, -delta[i]) * C(p.scale);
    scores[at] = prob * f;
  }
}

// What both backward kernels hold of a tile.
template <class C>
struct GradTiles {
  C *queries, *keys, *values, *dy, *scores, *products, *rest;
  __device__ GradTiles(C* shared, const Problem& p) {
    queries = shared;
    keys = queries + p.tile * p.width;
    values = keys + p.tile * (p.width + 1);
    dy = values + p.tile * (p.out + 1);
    scores = dy + p.tile * p.out;
    products = scores + p.tile * p.tile;
    rest = products + p.tile * p.tile;
  }
  __device__ void multiply(const Problem& p) const {
    inner_products(queries, p.width, keys, p.width + 1, p.width, p.tile, scores);
    inner_products(dy, p.out, values, p.out + 1, p.out, p.tile, products);
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads)
    attend_grad_queries(Problem p, Heads<const T> q, Heads<const T> k, Heads<const T> v, Heads<const T> dy,
                        const Real<T>* lse, const Real<T>* delta, Heads<T> dq) {
  using C = Real<T>;
  const int tile = p.tile;
  TENREC_DYNAMIC_SHARED(C, shared);
  const GradTiles<C> t(shared, p);
  C* sums = t.rest;
  const int64_t tiles = kernels::ceil_div(p.queries, int64_t(tile));
  for (int64_t item = blockIdx.x; item < p.batch * p.heads * tiles; item += gridDim.x) {
    const int64_t first = item % tiles * tile, h = item / tiles % p.heads, b = item / tiles / p.heads;
    const int64_t row = (b * p.heads + h) * p.queries;
    __syncthreads();
    load_tile(q, b, h, first, p.queries, p.width, tile, t.queries, p.width);
    load_tile(dy, b, h, first, p.queries, p.out, tile, t.dy, p.out);
    clear(sums, tile * p.width);
    const int64_t end = p.limit(first + tile - 1 < p.queries ? first + tile - 1 : p.queries - 1);
    for (int64_t j0 = 0; j0 < end; j0 += tile) {
      __syncthreads();
      load_tile(k, b, h / p.group, j0, p.keys, p.width, tile, t.keys, p.width + 1);
      load_tile(v, b, h / p.group, j0, p.keys, p.out, tile, t.values, p.out + 1);
      __syncthreads();
      t.multiply(p);
      __syncthreads();
      to_gradients(p, b, h, first, j0, lse + row, delta + row, t.scores, t.products);
      __syncthreads();
      add_products<false>(t.products, t.keys, p.width + 1, p.width, tile, sums);
    }
    __syncthreads();
    store_tile(dq, b, h, first, p.queries, p.width, tile, sums);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    attend_grad_keys(Problem p, Heads<const T> q, Heads<const T> k, Heads<const T> v, Heads<const T> dy,
                     const Real<T>* lse, const Real<T>* delta, Heads<T> dk, Heads<T> dv) {
  using C = Real<T>;
  const int tile = p.tile;
  TENREC_DYNAMIC_SHARED(C, shared);
  const GradTiles<C> t(shared, p);
  C *key_sums = t.rest, *value_sums = key_sums + tile * p.width;
  const int64_t tiles = kernels::ceil_div(p.keys, int64_t(tile)), key_heads = p.heads / p.group;
  for (int64_t item = blockIdx.x; item < p.batch * key_heads * tiles; item += gridDim.x) {
    const int64_t first = item % tiles * tile, head = item / tiles % key_heads, b = item / tiles / key_heads;
    __syncthreads();
    load_tile(k, b, head, first, p.keys, p.width, tile, t.keys, p.width + 1);
    load_tile(v, b, head, first, p.keys, p.out, tile, t.values, p.out + 1);
    clear(key_sums, tile * p.width);
    clear(value_sums, tile * p.out);
    for (int64_t h = head * p.group; h < (head + 1) * p.group; ++h) {
      const int64_t row = (b * p.heads + h) * p.queries;
      for (int64_t i0 = 0; i0 < p.queries; i0 += tile) {
        if (p.limit(i0 + tile - 1) <= first) continue;  // none of these queries looks so far
        __syncthreads();
        load_tile(q, b, h, i0, p.queries, p.width, tile, t.queries, p.width);
        load_tile(dy, b, h, i0, p.queries, p.out, tile, t.dy, p.out);
        __syncthreads();
        t.multiply(p);
        __syncthreads();
        to_gradients(p, b, h, i0, first, lse + row, delta + row, t.scores, t.products);
        __syncthreads();
        add_products<true>(t.products, t.queries, p.width, p.width, tile, key_sums);
        add_products<true>(t.scores, t.dy, p.out, p.out, tile, value_sums);
      }
    }
    __syncthreads();
    if (dk.data) store_tile(dk, b, head, first, p.keys, p.width, tile, key_sums);
    if (dv.data) store_tile(dv, b, head, first, p.keys, p.out, tile, value_sums);
  }
}

// Shared elements by the tile: what attend and the backward kernels lay out.
int64_t forward_elements(const Problem& p, int64_t tile) { return tile * (2 * p.width + 1 + 2 * p.out + tile + 3); }
int64_t grad_elements(const Problem& p, int64_t tile) { return tile * (3 * p.width + 2 + 3 * p.out + 2 * tile); }
template <class F>
int tile_for(const F& elements, const Problem& p, int64_t element_size) {
  int tile = kMostTile;
  while (tile > 1 && elements(p, tile) * element_size > kShared) tile /= 2;
  return tile;
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

void attention(Cuda, const Attention& a, const View& q, const View& k, const View& v, const View& y, const View& lse) {
  if (lse.numel == 0) return;
  Problem p = problem_of(a, q, k, v);
  if (attention_16bit(p, q, k, v, y, lse)) return;
  visit_floating("scaled_dot_product_attention", q.dtype, [&](auto zero) {
    using T = decltype(zero);
    using C = Real<T>;
    p.tile = tile_for(forward_elements, p, sizeof(C));
    const size_t shared = size_t(forward_elements(p, p.tile)) * sizeof(C);
    TENREC_LAUNCH(attend<T>, blocks_for(p.batch * p.heads * ceil_div(p.queries, p.tile)), kThreads, shared, stream(), p,
                  Heads<const T>(q), Heads<const T>(k), Heads<const T>(v), Heads<T>(y), lse.as<C>());
  });
  TENREC_LAUNCH_CHECK();
}

void attention_grad(Cuda, const Attention& a, const View& q, const View& k, const View& v, const View& y,
                    const View& lse, const View& dy, const AttentionGrads& grads) {
  Problem p = problem_of(a, q, k, v);
  visit_floating("scaled_dot_product_attention", q.dtype, [&](auto zero) {
    using T = decltype(zero);
    using C = Real<T>;
    const Heads<const T> qs(q), ks(k), vs(v), dys(dy);
    const Buffer<C> delta(lse.numel);
    if (lse.numel > 0)
      TENREC_LAUNCH(sum_dy_y<T>, grid_for(lse.numel * kWarp), kThreads, 0, stream(), p, Heads<const T>(y), dys,
                    delta.data());
    if constexpr (sizeof(T) == 2)
      if (attention_grad_16bit(p, q, k, v, dy, lse.as<float>(), delta.data(), grads)) return;
    p.tile = tile_for(grad_elements, p, sizeof(C));
    const size_t shared = size_t(grad_elements(p, p.tile)) * sizeof(C);
    if (grads.q && grads.q->numel > 0)
      TENREC_LAUNCH(attend_grad_queries<T>, blocks_for(p.batch * p.heads * ceil_div(p.queries, p.tile)), kThreads,
                    shared, stream(), p, qs, ks, vs, dys, lse.as<C>(), delta.data(), Heads<T>(*grads.q));
    if ((grads.k && grads.k->numel > 0) || (grads.v && grads.v->numel > 0))
      TENREC_LAUNCH(attend_grad_keys<T>, blocks_for(p.batch * k.size(1) * ceil_div(p.keys, p.tile)), kThreads, shared,
                    stream(), p, qs, ks, vs, dys, lse.as<C>(), delta.data(), grads.k ? Heads<T>(*grads.k) : Heads<T>(),
                    grads.v ? Heads<T>(*grads.v) : Heads<T>());
  });
  TENREC_LAUNCH_CHECK();
}

}  // namespace tenrec::kernels
