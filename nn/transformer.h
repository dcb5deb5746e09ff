// Transformer layers and stacks, with torch.nn's names, arguments and weight layouts. Vaswani et al., "Attention is all
// you need", 2017.
//
//   TransformerEncoder encoder(TransformerEncoderLayer(128, 4, {.batch_first = true}), 6);
//   Tensor y = encoder(x, {.is_causal = true});
#pragma once

#include <optional>
#include <vector>

#include "tenrec/nn/attention.h"
#include "tenrec/nn/dropout.h"
#include "tenrec/nn/norm.h"

namespace tenrec {

enum class TransformerActivation { relu, gelu };

struct TransformerLayerOptions {
  int64_t dim_feedforward = 2048;
  double dropout = 0.1;
  TransformerActivation activation = TransformerActivation::relu;
  double layer_norm_eps = 1e-5;
  bool batch_first = false;
  bool norm_first = false;  // x + f(norm(x)) instead of norm(x + f(x))
  bool bias = true;
  int64_t num_kv_heads = 0;  // see MultiheadAttentionOptions
};

// Of an encoder: as AttentionMasks has them.
struct EncoderMasks {
  Tensor mask = {};
  Tensor src_key_padding_mask = {};
  bool is_causal = false;
};
struct DecoderMasks {
  Tensor tgt_mask = {}, memory_mask = {};
  Tensor tgt_key_padding_mask = {}, memory_key_padding_mask = {};
  bool tgt_is_causal = false, memory_is_causal = false;
  KeyValueCache* cache = nullptr;  // of this layer's self-attention; tgt then holds the new positions alone
};

// Self-attention and a feed-forward part of two linear layers, each with a residual connection and a layer norm.
class TransformerEncoderLayer : public Module {
 public:
  TransformerEncoderLayer(int64_t d_model, int64_t nhead, const TransformerLayerOptions& options = {});
  Tensor operator()(const Tensor& src, const EncoderMasks& masks = {}) const;
  void visit(Visitor& v) override;

  MultiheadAttention self_attn;
  Linear linear1;
  Dropout dropout;
  Linear linear2;
  LayerNorm norm1, norm2;
  Dropout dropout1, dropout2;

 private:
  TransformerLayerOptions options_;
};

// The same with attention to an encoder's output between them.
class TransformerDecoderLayer : public Module {
 public:
  TransformerDecoderLayer(int64_t d_model, int64_t nhead, const TransformerLayerOptions& options = {});
  Tensor operator()(const Tensor& tgt, const Tensor& memory, const DecoderMasks& masks = {}) const;
  void visit(Visitor& v) override;

  MultiheadAttention self_attn, multihead_attn;
  Linear linear1;
  Dropout dropout;
  Linear linear2;
  LayerNorm norm1, norm2, norm3;
  Dropout dropout1, dropout2, dropout3;

 private:
  TransformerLayerOptions options_;
};

// num_layers deep copies of a layer, one after the other, and a norm at the end if there is one.
class TransformerEncoder : public Module {
 public:
  TransformerEncoder(const TransformerEncoderLayer& layer, int64_t num_layers, std::optional<LayerNorm> norm = {});
  Tensor operator()(const Tensor& src, const EncoderMasks& masks = {}) const;
  void visit(Visitor& v) override;

  std::vector<TransformerEncoderLayer> layers;
  std::optional<LayerNorm> norm;
};

class TransformerDecoder : public Module {
 public:
  TransformerDecoder(const TransformerDecoderLayer& layer, int64_t num_layers, std::optional<LayerNorm> norm = {});
  // caches: empty, or one for each layer; masks.cache is not used.
  Tensor operator()(const Tensor& tgt, const Tensor& memory, const DecoderMasks& masks = {},
                    std::vector<KeyValueCache>* caches = nullptr) const;
  void visit(Visitor& v) override;

  std::vector<TransformerDecoderLayer> layers;
  std::optional<LayerNorm> norm;
};

// Encoder and decoder. All matrices start Xavier-uniform.
class Transformer : public Module {
 public:
  Transformer(int64_t d_model, int64_t nhead, int64_t num_encoder_layers, int64_t num_decoder_layers,
              const TransformerLayerOptions& options = {});
  // The decoder sees all of the encoder's output but what decoder_masks.memory_key_padding_mask hides.
  Tensor operator()(const Tensor& src, const Tensor& tgt, const EncoderMasks& encoder_masks = {},
                    const DecoderMasks& decoder_masks = {}) const;
  void visit(Visitor& v) override;

  TransformerEncoder encoder;
  TransformerDecoder decoder;
};

// [n, n]: -inf above the diagonal, else 0. is_causal says the same without a matrix.
Tensor generate_square_subsequent_mask(int64_t n, const TensorOptions& options = {});

struct SwiGLUFeedForwardOptions {
  bool bias = false;
};
// down_proj(silu(gate_proj(x)) up_proj(x)): the feed-forward part of N. Shazeer, "GLU variants improve transformer",
// 2020. x [..., in] -> [..., in].
class SwiGLUFeedForward : public Module {
 public:
  SwiGLUFeedForward(int64_t in, int64_t hidden, const SwiGLUFeedForwardOptions& options = {});
  Tensor operator()(const Tensor& x) const;
  void visit(Visitor& v) override;

  Linear gate_proj, up_proj, down_proj;
};

}  // namespace tenrec
