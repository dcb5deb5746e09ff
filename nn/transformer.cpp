#include "tenrec/nn/transformer.h"

#include <limits>

#include "tenrec/autograd/ops.h"
#include "tenrec/nn/init.h"

namespace tenrec {
namespace {

MultiheadAttentionOptions attention_options(const TransformerLayerOptions& o) {
  return {.dropout = o.dropout, .bias = o.bias, .batch_first = o.batch_first, .num_kv_heads = o.num_kv_heads};
}
LayerNormOptions norm_options(const TransformerLayerOptions& o) { return {.eps = o.layer_norm_eps, .bias = o.bias}; }

Tensor activate(const Tensor& x, TransformerActivation activation) {
  return activation == TransformerActivation::gelu ? gelu(x) : relu(x);
}

// x with f of it added, normalised before or after.
template <class F>
Tensor residual(const Tensor& x, const LayerNorm& norm, bool norm_first, const F& f) {
  return norm_first ? x + f(norm(x)) : norm(x + f(x));
}

void check_layers(const char* name, int64_t n) {
  if (n < 0) fail<ValueError>(name, ": the number of layers must not be negative, got ", n);
}

}  // namespace

TransformerEncoderLayer::TransformerEncoderLayer(int64_t d_model, int64_t nhead, const TransformerLayerOptions& o)
    : self_attn(d_model, nhead, attention_options(o)),
      linear1(d_model, o.dim_feedforward, {.bias = o.bias}),
      dropout(o.dropout),
      linear2(o.dim_feedforward, d_model, {.bias = o.bias}),
      norm1(d_model, norm_options(o)),
      norm2(d_model, norm_options(o)),
      dropout1(o.dropout),
      dropout2(o.dropout),
      options_(o) {}

Tensor TransformerEncoderLayer::operator()(const Tensor& src, const EncoderMasks& masks) const {
  const ModuleScope scope(*this);
  const Tensor x = residual(src, norm1, options_.norm_first, [&](const Tensor& in) {
    return dropout1(self_attn(in, {masks.src_key_padding_mask, masks.mask, masks.is_causal, nullptr}));
  });
  return residual(x, norm2, options_.norm_first, [&](const Tensor& in) {
    return dropout2(linear2(dropout(activate(linear1(in), options_.activation))));
  });
}

void TransformerEncoderLayer::visit(Visitor& v) {
  v("self_attn", self_attn);
  v("linear1", linear1);
  v("dropout", dropout);
  v("linear2", linear2);
  v("norm1", norm1);
  v("norm2", norm2);
  v("dropout1", dropout1);
  v("dropout2", dropout2);
}

TransformerDecoderLayer::TransformerDecoderLayer(int64_t d_model, int64_t nhead, const TransformerLayerOptions& o)
    : self_attn(d_model, nhead, attention_options(o)),
      multihead_attn(d_model, nhead, attention_options(o)),
      linear1(d_model, o.dim_feedforward, {.bias = o.bias}),
      dropout(o.dropout),
      linear2(o.dim_feedforward, d_model, {.bias = o.bias}),
      norm1(d_model, norm_options(o)),
      norm2(d_model, norm_options(o)),
      norm3(d_model, norm_options(o)),
      dropout1(o.dropout),
      dropout2(o.dropout),
      dropout3(o.dropout),
      options_(o) {}

Tensor TransformerDecoderLayer::operator()(const Tensor& tgt, const Tensor& memory, const DecoderMasks& masks) const {
  const ModuleScope scope(*this);
  Tensor x = residual(tgt, norm1, options_.norm_first, [&](const Tensor& in) {
    return dropout1(self_attn(in, {masks.tgt_key_padding_mask, masks.tgt_mask, masks.tgt_is_causal, masks.cache}));
  });
  x = residual(x, norm2, options_.norm_first, [&](const Tensor& in) {
    return dropout2(multihead_attn(
        in, memory, memory, {masks.memory_key_padding_mask, masks.memory_mask, masks.memory_is_causal, nullptr}));
  });
  return residual(x, norm3, options_.norm_first, [&](const Tensor& in) {
    return dropout3(linear2(dropout(activate(linear1(in), options_.activation))));
  });
}

void TransformerDecoderLayer::visit(Visitor& v) {
  v("self_attn", self_attn);
  v("multihead_attn", multihead_attn);
  v("linear1", linear1);
  v("dropout", dropout);
  v("linear2", linear2);
  v("norm1", norm1);
  v("norm2", norm2);
  v("norm3", norm3);
  v("dropout1", dropout1);
  v("dropout2", dropout2);
  v("dropout3", dropout3);
}

TransformerEncoder::TransformerEncoder(const TransformerEncoderLayer& layer, int64_t num_layers,
                                       std::optional<LayerNorm> end)
    : norm(std::move(end)) {
  check_layers("TransformerEncoder", num_layers);
  layers = repeat(num_layers, [&] { return clone(layer); });
}

Tensor TransformerEncoder::operator()(const Tensor& src, const EncoderMasks& masks) const {
  const ModuleScope scope(*this);
  Tensor x = src;
  for (const TransformerEncoderLayer& layer : layers) x = layer(x, masks);
  return norm ? (*norm)(x) : x;
}

void TransformerEncoder::visit(Visitor& v) {
  v("layers", layers);
  v("norm", norm);
}

TransformerDecoder::TransformerDecoder(const TransformerDecoderLayer& layer, int64_t num_layers,
                                       std::optional<LayerNorm> end)
    : norm(std::move(end)) {
  check_layers("TransformerDecoder", num_layers);
  layers = repeat(num_layers, [&] { return clone(layer); });
}

Tensor TransformerDecoder::operator()(const Tensor& tgt, const Tensor& memory, const DecoderMasks& masks,
                                      std::vector<KeyValueCache>* caches) const {
  const ModuleScope scope(*this);
  if (caches && caches->empty()) caches->resize(layers.size());
  if (caches && caches->size() != layers.size())
    fail<ValueError>("TransformerDecoder: ", caches->size(), " caches for ", layers.size(), " layers");
  Tensor x = tgt;
  for (size_t i = 0; i < layers.size(); ++i) {
    DecoderMasks own = masks;
    own.cache = caches ? &(*caches)[i] : nullptr;
    x = layers[i](x, memory, own);
  }
  return norm ? (*norm)(x) : x;
}

void TransformerDecoder::visit(Visitor& v) {
  v("layers", layers);
  v("norm", norm);
}

Transformer::Transformer(int64_t d_model, int64_t nhead, int64_t num_encoder_layers, int64_t num_decoder_layers,
                         const TransformerLayerOptions& o)
    : encoder(TransformerEncoderLayer(d_model, nhead, o), num_encoder_layers, LayerNorm(d_model, norm_options(o))),
      decoder(TransformerDecoderLayer(d_model, nhead, o), num_decoder_layers, LayerNorm(d_model, norm_options(o))) {
  for (const Tensor& p : parameters(*this))
    if (p.ndim() > 1) init::xavier_uniform_(p);
}

Tensor Transformer::operator()(const Tensor& src, const Tensor& tgt, const EncoderMasks& encoder_masks,
                               const DecoderMasks& decoder_masks) const {
  const ModuleScope scope(*this);
  return decoder(tgt, encoder(src, encoder_masks), decoder_masks);
}

void Transformer::visit(Visitor& v) {
  v("encoder", encoder);
  v("decoder", decoder);
}

Tensor generate_square_subsequent_mask(int64_t n, const TensorOptions& options) {
  return triu(full({n, n}, -std::numeric_limits<double>::infinity(), options), 1);
}

SwiGLUFeedForward::SwiGLUFeedForward(int64_t in, int64_t hidden, const SwiGLUFeedForwardOptions& options)
    : gate_proj(in, hidden, {.bias = options.bias}),
      up_proj(in, hidden, {.bias = options.bias}),
      down_proj(hidden, in, {.bias = options.bias}) {}

Tensor SwiGLUFeedForward::operator()(const Tensor& x) const {
  const ModuleScope scope(*this);
  return down_proj(swiglu(gate_proj(x), up_proj(x)));
}

void SwiGLUFeedForward::visit(Visitor& v) {
  v("gate_proj", gate_proj);
  v("up_proj", up_proj);
  v("down_proj", down_proj);
}

}  // namespace tenrec
