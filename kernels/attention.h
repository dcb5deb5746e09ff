// Scaled dot-product attention, forward and backward, without the matrix of probabilities.
//
// Keys come in tiles; of a query the running maximum, sum and weighted values are kept and scaled when the maximum
// grows (M. Milakov and N. Gimelshein, "Online normalizer calculation for softmax", 2018; T. Dao et al.,
// "FlashAttention", 2022). Forward leaves the logarithm of each query's sum, from which backward makes the
// probabilities again, tile by tile. A query that may look at no key gives zeros, and its log-sum is -inf.
//
// All data is seen as [batch, heads, rows, width] with a last stride of 1 and any others; f32, bf16 and f16 are
// computed in f32 and rounded once. Key and value heads serve heads / key heads neighbouring query heads each.
#pragma once

#include <cmath>

#include "tenrec/core/dispatch.h"
#include "tenrec/core/random.h"
#include "tenrec/core/view.h"

namespace tenrec::kernels {

struct Attention {
  double scale = 1;
  bool causal = false;
  int64_t offset = 0;  // causal: query i looks at keys up to i + offset
  // 0 for no dropout. Probability (batch, head, i, j) takes the word of its place in [batch, heads, queries, keys].
  double dropout = 0;
  GeneratorState key = {};
  // Null, or boolean (true: may be looked at) or added to the scores, in their type; strides of any kind, 0 included.
  const View* mask = nullptr;

  // Words below it are dropped, as in random.h.
  uint32_t threshold() const {
    return uint32_t(std::ceil(dropout * 0x1p32) < 0x1p32 ? std::ceil(dropout * 0x1p32) : 0x1p32 - 1);
  }
};

// y and lse [batch, heads, queries] (the accumulator's type) are written.
void attention(Cpu, const Attention& a, const View& q, const View& k, const View& v, const View& y, const View& lse);
void attention(Cuda, const Attention& a, const View& q, const View& k, const View& v, const View& y, const View& lse);

// What is null is not computed. Where memory of an output overlaps, results are undefined.
struct AttentionGrads {
  const View *q = nullptr, *k = nullptr, *v = nullptr;
};
void attention_grad(Cpu, const Attention& a, const View& q, const View& k, const View& v, const View& y,
                    const View& lse, const View& dy, const AttentionGrads& grads);
void attention_grad(Cuda, const Attention& a, const View& q, const View& k, const View& v, const View& y,
                    const View& lse, const View& dy, const AttentionGrads& grads);
// The widest rows that the kernels of a device take; wider ones are composed of other ops.
constexpr int64_t attention_most_width(Cpu) { return INT64_MAX; }
constexpr int64_t attention_most_width(Cuda) { return 1000; }

}  // namespace tenrec::kernels
