// Multi-head attention and the cache with which a model generates one token after the other.
#pragma once

#include "tenrec/nn/linear.h"

namespace tenrec {

// Keys and values of the positions that a layer has seen: [batch, key heads, positions, width]. It grows as needed and
// is for generation: no gradient goes back through it.
class KeyValueCache {
 public:
  // Adds k and v [batch, key heads, new positions, width]. ShapeError if they do not go on from what is there.
  void append(const Tensor& k, const Tensor& v);
  // All so far; undefined before the first append.
  Tensor keys() const;
  Tensor values() const;
  int64_t length() const { return length_; }
  // Picks rows of the batch, which may repeat: what beam search does to its hypotheses. index: i64 vector.
  void select(const Tensor& index);
  void clear() { *this = {}; }

 private:
  Tensor keys_, values_;
  int64_t length_ = 0;
};

struct MultiheadAttentionOptions {
  double dropout = 0;  // of the probabilities, in training
  bool bias = true;
  int64_t kdim = 0, vdim = 0;  // widths of key and value; 0: embed_dim
  bool batch_first = false;    // [batch, positions, width] instead of [positions, batch, width]
  int64_t num_kv_heads = 0;    // key and value heads, of which each serves neighbours; 0: num_heads. Not in PyTorch
};

// Masks as in torch.nn, the other way round than in scaled_dot_product_attention: a boolean one is true where a key
// must NOT be looked at; a floating one is added to the scores.
struct AttentionMasks {
  Tensor key_padding_mask = {};  // [batch, keys]
  Tensor attn_mask = {};         // [queries, keys] or [batch * num_heads, queries, keys]
  bool is_causal = false;        // without a mask in memory; with a cache the queries go on from what it holds
  KeyValueCache* cache = nullptr;
};

// Vaswani et al., "Attention is all you need", 2017. query [L, N, embed_dim], key [S, N, kdim], value [S, N, vdim] ->
// [L, N, embed_dim]; with batch_first [N, L, ...]; without N for one sequence. Parameters as in torch.nn:
// in_proj_weight [embed_dim + 2 key width, embed_dim] (or q_, k_, v_proj_weight where kdim or vdim differ),
// in_proj_bias, out_proj.weight, out_proj.bias. A query whose keys are all masked gives out_proj's bias. The
// probabilities are never made, so they cannot be returned.
class MultiheadAttention : public Module {
 public:
  MultiheadAttention(int64_t embed_dim, int64_t num_heads, const MultiheadAttentionOptions& options = {});
  Tensor operator()(const Tensor& query, const Tensor& key, const Tensor& value,
                    const AttentionMasks& masks = {}) const;
  Tensor operator()(const Tensor& x, const AttentionMasks& masks = {}) const { return (*this)(x, x, x, masks); }
  void visit(Visitor& v) override;
  std::string details() const override { return concat(embed_dim_, ", ", heads_, " heads"); }
  bool batch_first() const { return options_.batch_first; }

  Tensor in_proj_weight, q_proj_weight, k_proj_weight, v_proj_weight, in_proj_bias;
  Linear out_proj;

 private:
  Tensor project(const Tensor& x, int part) const;
  Tensor attend(const Tensor& query, const Tensor& key, const Tensor& value, const AttentionMasks& masks) const;

  int64_t embed_dim_, heads_, key_heads_, width_;
  MultiheadAttentionOptions options_;
};

}  // namespace tenrec
