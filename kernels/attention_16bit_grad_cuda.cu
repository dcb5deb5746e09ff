// Attention in bf16 and f16 on the tensor cores: gradients.
//
// Floor: 5 L S E multiply-adds a head, half of them under a causal mask. Here it takes 7, because queries and keys have
// a kernel each and both make the scores: so nothing is added by two blocks, there are no atomics, and the bits do not
// change from run to run.
#include "tenrec/kernels/cuda/attention_16bit.cuh"

namespace tenrec::cuda {
namespace {

// From the products q k and dy v of query i and key j: the probability, with its dropout, and the gradient of q k but
// for the scale. `lse` times log2(e); a query without keys has none that it may look at. Plain pairs are taken as
// allowed.
template <bool kPlain>
__device__ void to_gradient(const Problem& p, bool may, int64_t b, int64_t h, int64_t i, int64_t j, float lse,
                            float delta, float& product, float& other) {
  if constexpr (kPlain) {
    product = exp2_of(kernels::fma(product, float(p.scale) * kLog2E, -lse));
    other = product * (other - delta);
  } else {
    constexpr float none = -std::numeric_limits<float>::infinity();
    const float score = may ? p.masked(product, b, h, i, j) : none;
    const float probability = score == none ? 0 : exp2_of(kernels::fma(score, kLog2E, -lse));
    const float factor = p.kept == 0 || probability == 0 ? 1 : p.factor<float>(b, h, i, j);
    product = probability * factor;
    other = probability == 0 ? 0 : probability * kernels::fma(other, factor, -delta);
  }
}

// Row r of 16: zeros from column `count` on.
template <int kTiles>
__device__ void keep_first(int count, int r, float (&tiles)[kTiles][4]) {
  TENREC_UNROLL
  for (int at = 0; at < 2 * kTiles; ++at)
    if (8 * (at / 2) + lane_index() % 4 * 2 + at % 2 >= count) tiles[at / 2][2 * r + at % 2] = 0;
}

// dq: as attend_16bit, but there is a product more, and a warp has 16 queries.
template <class T, int kWidth, int kKeys, bool kPlain>
__global__ void __launch_bounds__(kBlock)
    attend_grad_queries_16bit(Problem p, Heads<const T> q, Heads<const T> k, Heads<const T> v, Heads<const T> dy,
                              const float* lse, const float* delta, Heads<T> dq) {
  using Tile = Rows<T, kWidth>;
  constexpr int kQueries = 16 * kWarps, kTiles = kKeys / 8;
  TENREC_DYNAMIC_SHARED(T, shared);
  const auto own = [&](int i) { return Tile{shared + i * kQueries * Tile::kStride}; };  // queries, dy
  const auto other = [&](int i) { return Tile{shared + (2 * kQueries + i * kKeys) * Tile::kStride}; };
  const int64_t tiles = kernels::ceil_div(p.queries, int64_t(kQueries));
  const int row = warp_index() * 16;
  for (int64_t item = blockIdx.x; item < p.batch * p.heads * tiles; item += gridDim.x) {
    const int64_t first = (tiles - 1 - item % tiles) * kQueries, h = item / tiles % p.heads, b = item / tiles / p.heads;
    const int64_t end = p.limit(first + kQueries < p.queries ? first + kQueries - 1 : p.queries - 1);
    const int64_t i0 = first + row, own_end = p.limit(i0 + 15);
    const auto copy_keys = [&](int64_t j0, int stage) {
      other(2 * stage).template copy<kKeys>(k, b, h / p.group, j0, p.keys, p.width);
      other(2 * stage + 1).template copy<kKeys>(v, b, h / p.group, j0, p.keys, p.width);
    };
    __syncthreads();
    own(0).template copy<kQueries>(q, b, h, first, p.queries, p.width);
    own(1).template copy<kQueries>(dy, b, h, first, p.queries, p.width);
    copy_keys(0, 0);
    commit_copies();
    float sums[1][kWidth / 8][4] = {}, own_lse[2] = {}, own_delta[2] = {};
    TENREC_UNROLL
    for (int r = 0; r < 2; ++r)
      if (const int64_t i = i0 + 8 * r + lane_index() / 4; i < p.queries) {
        own_lse[r] = lse[(b * p.heads + h) * p.queries + i] * kLog2E;
        own_delta[r] = delta[(b * p.heads + h) * p.queries + i];
      }
    int stage = 0;
    for (int64_t j0 = 0; j0 < end; j0 += kKeys, stage ^= 1) {
      wait_copies<0>();
      __syncthreads();
      if (j0 + kKeys < end) copy_keys(j0 + kKeys, stage ^ 1);
      commit_copies();
      if (j0 >= own_end) continue;
      const Tile keys = other(2 * stage), values = other(2 * stage + 1);
      float scores[1][kTiles][4], gradients[1][kTiles][4];
      multiply_transposed(own(0), row, keys, scores);
      multiply_transposed(own(1), row, values, gradients);
      const bool whole = j0 + kKeys <= p.limit(i0);  // each query may look at each key
      TENREC_UNROLL
      for (int r = 0; r < 2; ++r) {
        const int64_t i = i0 + 8 * r + lane_index() / 4;
        const int may = whole ? kKeys : allowed(p, i, j0, kKeys);
        TENREC_UNROLL
        for (int at = 0; at < 2 * kTiles; ++at) {
          const int n = at / 2, e = at % 2, j = 8 * n + lane_index() % 4 * 2 + e;
          float &score = scores[0][n][2 * r + e], &gradient = gradients[0][n][2 * r + e];
          to_gradient<kPlain>(p, j < may, b, h, i, j0 + j, own_lse[r], own_delta[r], score, gradient);
        }
        if (kPlain && !whole) keep_first(may, r, gradients[0]);
      }
      add_product(gradients, keys, sums);
    }
    wait_copies<0>();
    for (int r = 0; r < 2; ++r) scale_row(sums[0], r, float(p.scale));
    store_rows(dq, b, h, i0, p.queries, p.width, sums[0]);
  }
}

// dk and dv: scores transposed, so a warp has 16 keys, and all queries that may look at them pass by.
template <class T, int kWidth, int kQueries, bool kPlain>
__global__ void __launch_bounds__(kBlock)
    attend_grad_keys_16bit(Problem p, Heads<const T> q, Heads<const T> k, Heads<const T> v, Heads<const T> dy,
                           const float* lse, const float* delta, Heads<T> dk, Heads<T> dv) {
  using Tile = Rows<T, kWidth>;
  constexpr int kKeys = 16 * kWarps, kTiles = kQueries / 8;
  TENREC_DYNAMIC_SHARED(T, shared);
  const auto own = [&](int i) { return Tile{shared + i * kKeys * Tile::kStride}; };  // keys, values
  const auto other = [&](int i) { return Tile{shared + (2 * kKeys + i * kQueries) * Tile::kStride}; };
  float* const numbers = reinterpret_cast<float*>(other(4).data);  // log-sums and deltas of a tile, twice
  const int64_t tiles = kernels::ceil_div(p.keys, int64_t(kKeys)), key_heads = p.heads / p.group;
  const int row = warp_index() * 16;
  for (int64_t item = blockIdx.x; item < p.batch * key_heads * tiles; item += gridDim.x) {
    const int64_t first = item % tiles * kKeys, head = item / tiles % key_heads, b = item / tiles / key_heads;
    const int64_t j0 = first + row;
    // The first tile of queries of which one may look at the block's keys.
    const int64_t looks = p.causal && first > p.offset ? first - p.offset : 0, begin = looks / kQueries * kQueries;
    const auto copy_queries = [&](int64_t h, int64_t i0, int stage) {
      other(2 * stage).template copy<kQueries>(q, b, h, i0, p.queries, p.width);
      other(2 * stage + 1).template copy<kQueries>(dy, b, h, i0, p.queries, p.width);
      const int t = int(threadIdx.x);
      if (t < 2 * kQueries) {
        const int64_t i = i0 + t % kQueries;
        copy4_async(numbers + 2 * kQueries * stage + t,
                    (t < kQueries ? lse : delta) + (b * p.heads + h) * p.queries + i, i < p.queries);
      }
    };
    __syncthreads();
    own(0).template copy<kKeys>(k, b, head, first, p.keys, p.width);
    own(1).template copy<kKeys>(v, b, head, first, p.keys, p.width);
    int64_t h = head * p.group, i0 = begin;
    const int64_t last = h + p.group;
    copy_queries(h, i0, 0);
    commit_copies();
    float key_sums[1][kWidth / 8][4] = {}, value_sums[1][kWidth / 8][4] = {};
    for (int stage = 0; h < last && i0 < p.queries; stage ^= 1) {
      const int64_t next = i0 + kQueries < p.queries ? i0 + kQueries : begin, next_head = next == begin ? h + 1 : h;
      wait_copies<0>();
      __syncthreads();
      if (next_head < last) copy_queries(next_head, next, stage ^ 1);
      commit_copies();
      const Tile queries = other(2 * stage), dys = other(2 * stage + 1);
      float scores[1][kTiles][4], gradients[1][kTiles][4];
      multiply_transposed(own(0), row, queries, scores);
      multiply_transposed(own(1), row, dys, gradients);
      const bool whole = i0 + kQueries <= p.queries && j0 + 16 <= p.limit(i0);
      const float* number = numbers + 2 * kQueries * stage;
      TENREC_UNROLL
      for (int at = 0; at < 4 * kTiles; ++at) {
        const int n = at / 4, e = at / 2 % 2, r = at % 2, c = 8 * n + lane_index() % 4 * 2 + e;
        const int j = lane_index() / 4 + 8 * r;
        const bool may = kPlain || j < allowed(p, i0 + c, j0, 16);
        to_gradient<kPlain>(p, may, b, h, i0 + c, j0 + j, number[c] * kLog2E, number[kQueries + c],
                            scores[0][n][2 * r + e], gradients[0][n][2 * r + e]);
      }
      if (kPlain && !whole) {
        TENREC_UNROLL
        for (int at = 0; at < 2 * kTiles; ++at) {
          const int n = at / 2, e = at % 2, may = allowed(p, i0 + 8 * n + lane_index() % 4 * 2 + e, j0, 16);
          TENREC_UNROLL
          for (int r = 0; r < 2; ++r)
            if (lane_index() / 4 + 8 * r >= may) scores[0][n][2 * r + e] = gradients[0][n][2 * r + e] = 0;
        }
      }
      add_product(gradients, queries, key_sums);
      add_product(scores, dys, value_sums);
      i0 = next;
      h = next_head;
    }
    wait_copies<0>();
    for (int r = 0; r < 2; ++r) scale_row(key_sums[0], r, float(p.scale));
    if (dk.data) store_rows(dk, b, head, j0, p.keys, p.width, key_sums[0]);
    if (dv.data) store_rows(dv, b, head, j0, p.keys, p.width, value_sums[0]);
  }
}

}  // namespace

bool attention_grad_16bit(const Problem& p, const View& q, const View& k, const View& v, const View& dy,
                          const float* lse, const float* delta, const kernels::AttentionGrads& grads) {
  if (!suits(p, {&q, &k, &v, &dy, grads.q, grads.k, grads.v})) return false;
  visit_problem(p, q.dtype, [&](auto zero, auto width, auto plain) {
    using T = decltype(zero);
    constexpr int kWidth = width, kOwn = 16 * kWarps, kOthers = kWidth > 64 ? 32 : 64;
    constexpr size_t shared = bytes_of<T, kWidth>(2 * kOwn + 4 * kOthers), numbers = 4 * kOthers * sizeof(float);
    const Heads<const T> qs(q), ks(k), vs(v), dys(dy);
    if (grads.q && grads.q->numel > 0) {
      allow_shared(attend_grad_queries_16bit<T, kWidth, kOthers, plain>, shared);
      TENREC_LAUNCH((attend_grad_queries_16bit<T, kWidth, kOthers, plain>),
                    blocks_for(p.batch * p.heads * kernels::ceil_div(p.queries, int64_t(kOwn))), kBlock, shared,
                    stream(), p, qs, ks, vs, dys, lse, delta, Heads<T>(*grads.q));
    }
    if ((grads.k && grads.k->numel > 0) || (grads.v && grads.v->numel > 0)) {
      allow_shared(attend_grad_keys_16bit<T, kWidth, kOthers, plain>, shared + numbers);
      TENREC_LAUNCH((attend_grad_keys_16bit<T, kWidth, kOthers, plain>),
                    blocks_for(p.batch * k.size(1) * kernels::ceil_div(p.keys, int64_t(kOwn))), kBlock,
                    shared + numbers, stream(), p, qs, ks, vs, dys, lse, delta,
                    grads.k ? Heads<T>(*grads.k) : Heads<T>(), grads.v ? Heads<T>(*grads.v) : Heads<T>());
    }
  });
  TENREC_LAUNCH_CHECK();
  return true;
}

}  // namespace tenrec::cuda
