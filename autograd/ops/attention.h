// Attention.
#pragma once

#include <optional>

#include "tenrec/core/random.h"
#include "tenrec/core/tensor.h"

namespace tenrec {

struct AttentionOptions {
  // Broadcasts to [..., heads, queries, keys]: boolean (true: the key may be looked at), or floating and added to the
  // scores (ALiBi, relative positions). ShapeError if it does not fit.
  Tensor mask = {};
  double dropout = 0;                // of the probabilities, in [0, 1); what is kept is divided by 1 - dropout
  bool causal = false;               // query i looks at keys up to i + causal_offset
  int64_t causal_offset = 0;         // keys that came before the first query, when queries go on from a cache
  std::optional<double> scale = {};  // of the scores; 1 / sqrt(width) unless given
  Generator* generator = nullptr;
};

// softmax(q k^T scale + mask) v without ever storing the [queries, keys] matrix, forward or backward (T. Dao et al.,
// "FlashAttention", 2022). q [..., heads, queries, width], k [..., key heads, keys, width], v [..., key heads, keys,
// out] -> [..., heads, queries, out]; heads is a multiple of key heads, each of which serves that many neighbours
// (J. Ainslie et al., "GQA", 2023). Two dimensions are one head. f64 f32 bf16 f16, the same for all three.
// A query that may look at no key gives zeros, and its gradients are zero.
// Second and higher derivatives, and the gradient of a mask, go through the matrix. Where q is a view of [...,
// queries, heads, width], so is the result: putting the heads back together is then no copy.
Tensor scaled_dot_product_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                    const AttentionOptions& options = {});

// The same for queries, keys and values that one product made: qkv [..., positions, (heads + 2 key_heads) width], the
// query heads first, then the keys', then the values' -> [..., positions, heads width]; two or three dimensions.
// key_heads = 0 stands for as many as heads. The gradient is made in one piece.
Tensor self_attention(const Tensor& qkv, int64_t heads, const AttentionOptions& options = {}, int64_t key_heads = 0);

}  // namespace tenrec
