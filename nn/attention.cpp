#include "tenrec/nn/attention.h"

#include <cmath>
#include <limits>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"
#include "tenrec/nn/init.h"

namespace tenrec {

void KeyValueCache::append(const Tensor& k, const Tensor& v) {
  const NoGrad off;
  const auto fits = [](const Tensor& kept, const Tensor& x) {
    if (x.ndim() != 4) return false;
    for (int64_t d : {0, 1, 3})
      if (kept.defined() && kept.shape()[d] != x.shape()[d]) return false;
    return true;
  };
  if (!fits(keys_, k) || !fits(values_, v) || k.shape()[2] != v.shape()[2])
    fail<ShapeError>("KeyValueCache: keys ", k.shape(), " and values ", v.shape(), " do not go on from ",
                     keys_.defined() ? to_string(keys().shape()) : "an empty cache",
                     " [batch, heads, positions, width]");
  const int64_t added = k.shape()[2], needed = length_ + added;
  const auto grow = [&](Tensor& kept, const Tensor& x) {
    if (kept.defined() && kept.shape()[2] >= needed) return;
    Shape shape = x.shape();
    shape[2] = std::max<int64_t>(needed, kept.defined() ? 2 * kept.shape()[2] : 16);
    const Tensor larger = empty(shape, {.dtype = x.dtype(), .device = x.device()});
    if (length_ > 0) copy_(narrow(larger, 2, 0, length_), narrow(kept, 2, 0, length_));
    kept = larger;
  };
  grow(keys_, k);
  grow(values_, v);
  copy_(narrow(keys_, 2, length_, added), k.detach());
  copy_(narrow(values_, 2, length_, added), v.detach());
  length_ = needed;
}

Tensor KeyValueCache::keys() const { return keys_.defined() ? narrow(keys_, 2, 0, length_) : Tensor(); }
Tensor KeyValueCache::values() const { return values_.defined() ? narrow(values_, 2, 0, length_) : Tensor(); }

void KeyValueCache::select(const Tensor& index) {
  if (!keys_.defined()) return;
  const NoGrad off;
  keys_ = index_select(keys_, 0, index);
  values_ = index_select(values_, 0, index);
}

MultiheadAttention::MultiheadAttention(int64_t embed_dim, int64_t num_heads, const MultiheadAttentionOptions& options)
    : out_proj(std::max<int64_t>(embed_dim, 0), std::max<int64_t>(embed_dim, 0), {.bias = options.bias}),
      embed_dim_(embed_dim),
      heads_(num_heads),
      key_heads_(options.num_kv_heads ? options.num_kv_heads : num_heads),
      width_(0),
      options_(options) {
  if (embed_dim < 1 || num_heads < 1 || embed_dim % num_heads)
    fail<ValueError>("MultiheadAttention: embed_dim must be a multiple of num_heads, got ", embed_dim, " and ",
                     num_heads);
  if (key_heads_ < 1 || num_heads % key_heads_)
    fail<ValueError>("MultiheadAttention: num_heads must be a multiple of num_kv_heads, got ", num_heads, " and ",
                     key_heads_);
  width_ = embed_dim / num_heads;
  const int64_t key_width = key_heads_ * width_;
  const int64_t kdim = options.kdim ? options.kdim : embed_dim, vdim = options.vdim ? options.vdim : embed_dim;
  const auto weight = [](int64_t out, int64_t in) {
    Tensor w = init::xavier_uniform_(empty({out, in}));
    return w.set_requires_grad(true);
  };
  if (kdim == embed_dim && vdim == embed_dim) {
    in_proj_weight = weight(embed_dim + 2 * key_width, embed_dim);
  } else {
    q_proj_weight = weight(embed_dim, embed_dim);
    k_proj_weight = weight(key_width, kdim);
    v_proj_weight = weight(key_width, vdim);
  }
  if (!options.bias) return;
  in_proj_bias = zeros({embed_dim + 2 * key_width}, {.requires_grad = true});
  init::zeros_(out_proj.bias);
}

void MultiheadAttention::visit(Visitor& v) {
  v("in_proj_weight", in_proj_weight);
  v("q_proj_weight", q_proj_weight);
  v("k_proj_weight", k_proj_weight);
  v("v_proj_weight", v_proj_weight);
  v("in_proj_bias", in_proj_bias);
  v("out_proj", out_proj);
}

namespace {

// [N, positions, heads width] as [N, heads, positions, width].
Tensor split_heads(const Tensor& x, int64_t heads) {
  return transpose(unflatten(x, -1, {heads, x.size(-1) / heads}), 1, 2);
}

// Boolean masks the way the op has them, true where a key may be looked at.
Tensor as_allowed(const Tensor& mask) { return mask.dtype() == boolean ? logical_not(mask) : mask; }

// The scores' mask as the op takes it, from both of PyTorch's.
Tensor joined_mask(const AttentionMasks& masks, int64_t batch, int64_t heads, int64_t queries, int64_t keys,
                   DType dtype) {
  const char* name = "MultiheadAttention";
  Tensor padding, scores;
  if (masks.key_padding_mask.defined()) {
    Tensor m = masks.key_padding_mask;
    if (m.ndim() == 1) m = unsqueeze(m, 0);
    if (m.shape() != Shape{batch, keys})
      fail<ShapeError>(name, ": key_padding_mask needs shape [", batch, ", ", keys, "], got ", m.shape());
    padding = reshape(as_allowed(m), {batch, 1, 1, keys});
  }
  if (masks.attn_mask.defined()) {
    const Tensor& m = masks.attn_mask;
    if (m.shape() == Shape{queries, keys})
      scores = as_allowed(m);
    else if (m.shape() == Shape{batch * heads, queries, keys})
      scores = reshape(as_allowed(m), {batch, heads, queries, keys});
    else
      fail<ShapeError>(name, ": attn_mask needs shape [", queries, ", ", keys, "] or [", batch * heads, ", ", queries,
                       ", ", keys, "], got ", m.shape());
  }
  if (!padding.defined() || !scores.defined()) return padding.defined() ? padding : scores;
  if (padding.dtype() == boolean && scores.dtype() == boolean) return logical_and(padding, scores);
  const auto added = [&](const Tensor& m) {
    if (m.dtype() != boolean) return m.to(dtype);
    const Tensor none = zeros(m.shape(), {.dtype = dtype, .device = m.device()});
    return masked_fill(none, logical_not(m), -std::numeric_limits<double>::infinity());
  };
  return added(padding) + added(scores);
}

}  // namespace

// Part 0, 1 or 2: the query, key or value of x.
Tensor MultiheadAttention::project(const Tensor& x, int part) const {
  const int64_t key_width = key_heads_ * width_;
  const int64_t first = part == 0 ? 0 : embed_dim_ + (part - 1) * key_width, rows = part == 0 ? embed_dim_ : key_width;
  const Tensor separate[3] = {q_proj_weight, k_proj_weight, v_proj_weight};
  const Tensor weight = in_proj_weight.defined() ? narrow(in_proj_weight, 0, first, rows) : separate[part];
  return linear(x, weight, in_proj_bias.defined() ? narrow(in_proj_bias, 0, first, rows) : Tensor());
}

// All batch first.
Tensor MultiheadAttention::attend(const Tensor& query, const Tensor& key, const Tensor& value,
                                  const AttentionMasks& masks) const {
  const int64_t batch = query.size(0), queries = query.size(1);
  const int64_t before = masks.cache ? masks.cache->length() : 0, keys = before + key.size(1);
  AttentionOptions options{.mask = joined_mask(masks, batch, heads_, queries, keys, query.dtype()),
                           .dropout = is_training() ? options_.dropout : 0,
                           .causal = masks.is_causal,
                           .causal_offset = before};
  const bool one = &query.impl() == &key.impl() && &query.impl() == &value.impl() && in_proj_weight.defined();
  Tensor q, k, v;
  if (one) {
    const Tensor qkv = linear(query, in_proj_weight, in_proj_bias);
    if (!masks.cache) return self_attention(qkv, heads_, options, key_heads_);
    const int64_t key_width = key_heads_ * width_;
    q = narrow(qkv, -1, 0, embed_dim_);
    k = narrow(qkv, -1, embed_dim_, key_width);
    v = narrow(qkv, -1, embed_dim_ + key_width, key_width);
  } else {
    q = project(query, 0);
    k = project(key, 1);
    v = project(value, 2);
  }
  q = split_heads(q, heads_);
  k = split_heads(k, key_heads_);
  v = split_heads(v, key_heads_);
  if (masks.cache) {
    masks.cache->append(k, v);
    k = masks.cache->keys();
    v = masks.cache->values();
  }
  return flatten(transpose(scaled_dot_product_attention(q, k, v, options), 1, 2), 2, 3);
}

Tensor MultiheadAttention::operator()(const Tensor& query, const Tensor& key, const Tensor& value,
                                      const AttentionMasks& masks) const {
  const ModuleScope scope(*this);
  const int64_t n = query.ndim(), batch_dim = options_.batch_first ? 0 : 1;
  const int64_t kdim = options_.kdim ? options_.kdim : embed_dim_, vdim = options_.vdim ? options_.vdim : embed_dim_;
  bool fits = (n == 2 || n == 3) && key.ndim() == n && value.ndim() == n && query.size(-1) == embed_dim_ &&
              key.size(-1) == kdim && value.size(-1) == vdim && key.size(-2) == value.size(-2) &&
              key.size(0) == value.size(0);
  if (fits && n == 3) fits = query.size(batch_dim) == key.size(batch_dim) && key.size(1) == value.size(1);
  if (!fits)
    fail<ShapeError>("MultiheadAttention: needs query, key and value [", options_.batch_first ? "N, L" : "L, N", ", ",
                     embed_dim_, " or ", kdim, " or ", vdim, "], got ", query.shape(), ", ", key.shape(), " and ",
                     value.shape());
  const auto batched = [&](const Tensor& x) {
    return n == 2 ? unsqueeze(x, 0) : options_.batch_first ? x : transpose(x, 0, 1);
  };
  // One tensor stays one: then a single product makes queries, keys and values.
  const bool self = &query.impl() == &key.impl() && &query.impl() == &value.impl();
  const Tensor q = batched(query);
  const Tensor y = out_proj(self ? attend(q, q, q, masks) : attend(q, batched(key), batched(value), masks));
  return n == 2 ? squeeze(y, 0) : options_.batch_first ? y : transpose(y, 0, 1);
}

}  // namespace tenrec
