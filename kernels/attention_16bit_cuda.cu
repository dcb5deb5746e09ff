// Attention in bf16 and f16 on the tensor cores: forward.
//
// Floor: 2 L S E multiply-adds a head, half of them under a causal mask; queries, keys, values and y once each.
#include "tenrec/kernels/cuda/attention_16bit.cuh"

namespace tenrec::cuda {
namespace {

// What the queries of a warp, kM times 16, have seen of the keys so far.
template <class T, int kWidth, int kM, int kKeys, bool kPlain>
struct Attended {
  static constexpr int kTiles = kKeys / 8;
  float sums[kM][kWidth / 8][4] = {};
  // Of rows g and g + 8: the largest score, and this lane's part of the sum.
  float most[kM][2], total[kM][2] = {};
  const float unit;  // makes powers of two of scores; plain ones stay the products that they are

  __device__ explicit Attended(const Problem& p) : unit(kPlain ? float(p.scale) * kLog2E : kLog2E) {
    for (auto& rows : most) rows[0] = rows[1] = -std::numeric_limits<float>::infinity();
  }
  // Keys from j0 on; the warp's queries are row `row` of `queries` and those after it, i0 of all.
  __device__ void add(const Problem& p, int64_t b, int64_t h, int64_t i0, int64_t j0, const Rows<T, kWidth>& queries,
                      int row, const Rows<T, kWidth>& keys, const Rows<T, kWidth>& values) {
    float scores[kM][kTiles][4];
    multiply_transposed(queries, row, keys, scores);
    const bool whole = kPlain && j0 + kKeys <= p.limit(i0);  // each query may look at each key
    TENREC_UNROLL
    for (int at = 0; at < 2 * kM; ++at) {
      const int m = at / 2, r = at % 2;
      const int64_t i = i0 + 16 * m + 8 * r + lane_index() / 4;
      if (!whole) hide(p, b, h, i, j0, r, scores[m]);
      weigh(p, b, h, i, j0, m, r, scores[m]);
    }
    add_product(scores, values, sums);
  }

 private:
  // Row r: products become scores, -inf where query i may not look.
  __device__ __forceinline__ void hide(const Problem& p, int64_t b, int64_t h, int64_t i, int64_t j0, int r,
                                       float (&scores)[kTiles][4]) const {
    const int keys = allowed(p, i, j0, kKeys);
    TENREC_UNROLL
    for (int at = 0; at < 2 * kTiles; ++at) {
      float& s = scores[at / 2][2 * r + at % 2];
      const int j = lane_index() % 4 * 2 + 8 * (at / 2) + at % 2;
      if (!kPlain && j < keys) s = p.masked(s, b, h, i, j0 + j);
      if (j >= keys) s = -std::numeric_limits<float>::infinity();
    }
  }
  // Row r: scores become weights, and what there was before is put on the new scale.
  __device__ __forceinline__ void weigh(const Problem& p, int64_t b, int64_t h, int64_t i, int64_t j0, int m, int r,
                                        float (&scores)[kTiles][4]) {
    constexpr float none = -std::numeric_limits<float>::infinity();
    float largest = none;
    TENREC_UNROLL
    for (int n = 0; n < kTiles; ++n) largest = std::fmax(largest, std::fmax(scores[n][2 * r], scores[n][2 * r + 1]));
    const float before = most[m][r], now = std::fmax(before, reduce_row(largest, Larger()));
    const float base = now > none ? now * unit : 0, by = exp2_of(kernels::fma(before, unit, -base));
    float sum = 0;
    TENREC_UNROLL
    for (int at = 0; at < 2 * kTiles; ++at) {
      float& s = scores[at / 2][2 * r + at % 2];
      s = exp2_of(kernels::fma(s, unit, -base));
      sum += s;
      if (!kPlain && p.kept != 0 && s != 0)
        s *= p.factor<float>(b, h, i, j0 + lane_index() % 4 * 2 + 8 * (at / 2) + at % 2);
    }
    most[m][r] = now;
    total[m][r] = kernels::fma(total[m][r], by, sum);
    scale_row(sums[m], r, by);
  }
};

template <class T, int kWidth, int kM, int kKeys, bool kPlain>
__global__ void __launch_bounds__(kBlock)
    attend_16bit(Problem p, Heads<const T> q, Heads<const T> k, Heads<const T> v, Heads<T> y, float* lse) {
  using Tile = Rows<T, kWidth>;
  constexpr int kQueries = 16 * kM * kWarps;
  TENREC_DYNAMIC_SHARED(T, shared);
  const Tile queries{shared};
  const auto other = [&](int i) { return Tile{shared + (kQueries + i * kKeys) * Tile::kStride}; };
  const int64_t tiles = kernels::ceil_div(p.queries, int64_t(kQueries));
  const int row = warp_index() * 16 * kM;
  for (int64_t item = blockIdx.x; item < p.batch * p.heads * tiles; item += gridDim.x) {
    // The last queries first: under a causal mask they have the most to do.
    const int64_t first = (tiles - 1 - item % tiles) * kQueries, h = item / tiles % p.heads, b = item / tiles / p.heads;
    const int64_t end = p.limit(first + kQueries < p.queries ? first + kQueries - 1 : p.queries - 1);
    const int64_t own_end = p.limit(first + row + 16 * kM - 1);
    const auto copy_keys = [&](int64_t j0, int stage) {
      other(2 * stage).template copy<kKeys>(k, b, h / p.group, j0, p.keys, p.width);
      other(2 * stage + 1).template copy<kKeys>(v, b, h / p.group, j0, p.keys, p.width);
    };
    __syncthreads();  // the block may still be reading from the item before
    queries.template copy<kQueries>(q, b, h, first, p.queries, p.width);
    copy_keys(0, 0);
    commit_copies();
    Attended<T, kWidth, kM, kKeys, kPlain> attended(p);
    int stage = 0;
    for (int64_t j0 = 0; j0 < end; j0 += kKeys, stage ^= 1) {
      wait_copies<0>();
      __syncthreads();  // all have copied their part, and none still reads what is copied over next
      if (j0 + kKeys < end) copy_keys(j0 + kKeys, stage ^ 1);
      commit_copies();
      if (j0 < own_end) attended.add(p, b, h, first + row, j0, queries, row, other(2 * stage), other(2 * stage + 1));
    }
    wait_copies<0>();
    TENREC_UNROLL
    for (int m = 0; m < kM; ++m) {
      const int64_t i0 = first + row + 16 * m;
      TENREC_UNROLL
      for (int r = 0; r < 2; ++r) {
        const float total = reduce_row(attended.total[m][r], Add()), by = total == 0 ? 0 : 1 / total;
        scale_row(attended.sums[m], r, by);
        const int64_t i = i0 + 8 * r + lane_index() / 4;
        if (lane_index() % 4 == 0 && i < p.queries)
          lse[(b * p.heads + h) * p.queries + i] = total == 0
                                                       ? -std::numeric_limits<float>::infinity()
                                                       : attended.most[m][r] * attended.unit * kLn2 + std::log(total);
      }
      store_rows(y, b, h, i0, p.queries, p.width, attended.sums[m]);
    }
  }
}

}  // namespace

bool attention_16bit(const Problem& p, const View& q, const View& k, const View& v, const View& y, const View& lse) {
  if (!suits(p, {&q, &k, &v, &y})) return false;
  visit_problem(p, q.dtype, [&](auto zero, auto width, auto plain) {
    using T = decltype(zero);
    constexpr int kWidth = width, kM = kWidth > 64 ? 1 : 2, kKeys = 64, kQueries = 16 * kM * kWarps;
    constexpr size_t shared = bytes_of<T, kWidth>(kQueries + 4 * kKeys);
    allow_shared(attend_16bit<T, kWidth, kM, kKeys, plain>, shared);
    TENREC_LAUNCH((attend_16bit<T, kWidth, kM, kKeys, plain>),
                  blocks_for(p.batch * p.heads * kernels::ceil_div(p.queries, int64_t(kQueries))), kBlock, shared,
                  stream(), p, Heads<const T>(q), Heads<const T>(k), Heads<const T>(v), Heads<T>(y), lse.as<float>());
  });
  TENREC_LAUNCH_CHECK();
  return true;
}

}  // namespace tenrec::cuda
