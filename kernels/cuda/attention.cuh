// What the kernels of attention share: the data as heads, the problem, the score of a query and a key. Internal.
#pragma once

#include "tenrec/core/cuda/step_state.h"
#include "tenrec/kernels/attention.h"
#include "tenrec/kernels/cuda/rows.cuh"

namespace tenrec::cuda {

// [batch, heads, rows, width] with a last stride of 1.
template <class T>
struct Heads {
  T* data = nullptr;
  int64_t batch = 0, head = 0, row = 0;
  Heads() = default;
  explicit Heads(const View& x) : data(x.as<T>()), batch(x.stride(0)), head(x.stride(1)), row(x.stride(2)) {}
  __device__ T* at(int64_t b, int64_t h, int64_t r) const { return data + b * batch + h * head + r * row; }
};

struct Problem {
  int64_t batch, heads, group, queries, keys, width, out;  // `group` query heads share a key head
  int tile;                                                // queries and keys of a tile, on the plain units
  double scale;
  bool causal, boolean_mask;
  int64_t offset;
  const void* mask;
  int64_t mask_stride[4];
  uint32_t below;
  double kept;  // what dropout multiplies with; 0: no dropout
  RandomKey key;

  __device__ int64_t limit(int64_t i) const {
    if (!causal) return keys;
    const int64_t n = i + offset + 1;
    return n < 0 ? 0 : n < keys ? n : keys;
  }
  // The score of query i and key j from their product, where i may look at j so far as the keys' order goes;
  template <class C>
  __device__ C masked(C product, int64_t b, int64_t h, int64_t i, int64_t j) const {
    const C s = product * C(scale);
    if (!mask) return s;
    const int64_t at = b * mask_stride[0] + h * mask_stride[1] + i * mask_stride[2] + j * mask_stride[3];
    if (boolean_mask) return static_cast<const uint8_t*>(mask)[at] ? s : -std::numeric_limits<C>::infinity();
    return s + static_cast<const C*>(mask)[at];
  }
  // and of any.
  template <class C>
  __device__ C score(C product, int64_t b, int64_t h, int64_t i, int64_t j) const {
    if (i >= queries || j >= limit(i)) return -std::numeric_limits<C>::infinity();
    return masked(product, b, h, i, j);
  }
  template <class C>
  __device__ C factor(int64_t b, int64_t h, int64_t i, int64_t j) const {
    if (kept == 0) return C(1);
    const auto index = uint64_t(((b * heads + h) * queries + i) * keys + j);
    return tenrec::detail::philox_word(key.get(), index) < below ? C(0) : C(kept);
  }
};

inline Problem problem_of(const kernels::Attention& a, const View& q, const View& k, const View& v) {
  Problem p{};
  p.batch = q.size(0);
  p.heads = q.size(1);
  p.group = p.heads / k.size(1);
  p.queries = q.size(2);
  p.keys = k.size(2);
  p.width = q.size(3);
  p.out = v.size(3);
  p.scale = a.scale;
  p.causal = a.causal;
  p.offset = a.offset;
  if (a.mask) {
    p.mask = a.mask->data;
    p.boolean_mask = a.mask->dtype == boolean;
    for (int d = 0; d < 4; ++d) p.mask_stride[d] = a.mask->stride(d);
  }
  if (a.dropout > 0) {
    p.below = a.threshold();
    p.kept = 1 / (1 - a.dropout);
    p.key = random_key(a.key);
  }
  return p;
}

// On the tensor cores, where they take the problem: bf16 and f16, values as wide as queries, up to 128, and 16 bytes a
// piece everywhere. False if they do not, and nothing has been done.
bool attention_16bit(const Problem& p, const View& q, const View& k, const View& v, const View& y, const View& lse);
// `delta`: sum(dy y) of every query, as the log-sums.
bool attention_grad_16bit(const Problem& p, const View& q, const View& k, const View& v, const View& dy,
                          const float* lse, const float* delta, const kernels::AttentionGrads& grads);

}  // namespace tenrec::cuda
