// GPT-2 with its Hugging Face names and layouts: a file of transformers loads as it is. A. Radford et al., "Language
// models are unsupervised multitask learners", 2019.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tenrec/tenrec.h"

namespace examples {

struct GptOptions {
  int64_t vocabulary = 50257, context = 1024, layers = 12, heads = 12, width = 768;
  double dropout = 0;
};

// A linear layer whose weight is [in, out], as in GPT-2's files.
class Conv1D : public tenrec::Module {
 public:
  Conv1D(int64_t in, int64_t out, double std = 0.02) {
    weight = tenrec::init::normal_(tenrec::empty({in, out}), 0, std);
    weight.set_requires_grad(true);
    bias = tenrec::zeros({out}, {.requires_grad = true});
  }
  tenrec::Tensor operator()(const tenrec::Tensor& x) const {
    const tenrec::ModuleScope scope(*this);
    return tenrec::linear(x, tenrec::t(weight), bias);
  }
  void visit(tenrec::Visitor& v) override {
    v("weight", weight);
    v("bias", bias);
  }
  tenrec::Tensor weight, bias;
};

class GptAttention : public tenrec::Module {
 public:
  explicit GptAttention(const GptOptions& o)
      : c_attn(o.width, 3 * o.width),
        c_proj(o.width, o.width, 0.02 / std::sqrt(2.0 * double(o.layers))),
        resid_dropout(o.dropout),
        heads_(o.heads),
        dropout_(o.dropout) {}
  tenrec::Tensor operator()(const tenrec::Tensor& x, tenrec::KeyValueCache* cache) const {
    const tenrec::ModuleScope scope(*this);
    const tenrec::Tensor qkv = c_attn(x);
    const double p = is_training() ? dropout_ : 0;
    if (!cache) return resid_dropout(c_proj(tenrec::self_attention(qkv, heads_, {.dropout = p, .causal = true})));
    const int64_t width = x.size(-1), before = cache->length();
    const auto part = [&](int64_t i) {
      const tenrec::Tensor y = tenrec::narrow(qkv, -1, i * width, width);
      return tenrec::transpose(tenrec::unflatten(y, -1, {heads_, width / heads_}), 1, 2);
    };
    cache->append(part(1), part(2));
    const tenrec::Tensor y = tenrec::scaled_dot_product_attention(part(0), cache->keys(), cache->values(),
                                                                  {.causal = true, .causal_offset = before});
    return c_proj(tenrec::flatten(tenrec::transpose(y, 1, 2), 2, 3));
  }
  void visit(tenrec::Visitor& v) override {
    v("c_attn", c_attn);
    v("c_proj", c_proj);
    v("resid_dropout", resid_dropout);
  }
  Conv1D c_attn, c_proj;
  tenrec::Dropout resid_dropout;

 private:
  int64_t heads_;
  double dropout_;
};

class GptMlp : public tenrec::Module {
 public:
  explicit GptMlp(const GptOptions& o)
      : c_fc(o.width, 4 * o.width),
        c_proj(4 * o.width, o.width, 0.02 / std::sqrt(2.0 * double(o.layers))),
        dropout(o.dropout) {}
  tenrec::Tensor operator()(const tenrec::Tensor& x) const {
    const tenrec::ModuleScope scope(*this);
    return dropout(c_proj(tenrec::gelu(c_fc(x), tenrec::GeluApproximation::tanh)));
  }
  void visit(tenrec::Visitor& v) override {
    v("c_fc", c_fc);
    v("c_proj", c_proj);
    v("dropout", dropout);
  }
  Conv1D c_fc, c_proj;
  tenrec::Dropout dropout;
};

class GptBlock : public tenrec::Module {
 public:
  explicit GptBlock(const GptOptions& o) : ln_1(o.width), ln_2(o.width), attn(o), mlp(o) {}
  tenrec::Tensor operator()(tenrec::Tensor x, tenrec::KeyValueCache* cache) const {
    const tenrec::ModuleScope scope(*this);
    x = x + attn(ln_1(x), cache);
    return x + mlp(ln_2(x));
  }
  void visit(tenrec::Visitor& v) override {
    v("ln_1", ln_1);
    v("attn", attn);
    v("ln_2", ln_2);
    v("mlp", mlp);
  }
  tenrec::LayerNorm ln_1, ln_2;
  GptAttention attn;
  GptMlp mlp;
};

// The part that transformers calls "transformer".
class GptBody : public tenrec::Module {
 public:
  explicit GptBody(const GptOptions& o)
      : wte(o.vocabulary, o.width), wpe(o.context, o.width), ln_f(o.width), drop(o.dropout) {
    tenrec::init::normal_(wte.weight.detach(), 0, 0.02);
    tenrec::init::normal_(wpe.weight.detach(), 0, 0.02);
    h = tenrec::repeat(o.layers, [&] { return GptBlock(o); });
  }
  // tokens [batch, positions] -> [batch, positions, width]; with caches, one per layer, they go on from there.
  tenrec::Tensor operator()(const tenrec::Tensor& tokens, std::vector<tenrec::KeyValueCache>* caches) const {
    const tenrec::ModuleScope scope(*this);
    const int64_t first = caches && !caches->empty() ? caches->front().length() : 0;
    if (tokens.ndim() != 2 || first + tokens.size(1) > wpe.weight.size(0))
      tenrec::fail<tenrec::ShapeError>("Gpt: tokens ", tokens.shape(), " after ", first,
                                       " others do not fit a context of ", wpe.weight.size(0));
    if (caches && caches->empty()) caches->resize(h.size());
    tenrec::Tensor x = drop(wte(tokens) + tenrec::narrow(wpe.weight, 0, first, tokens.size(1)));
    for (size_t i = 0; i < h.size(); ++i) x = h[i](x, caches ? &(*caches)[i] : nullptr);
    return ln_f(x);
  }
  void visit(tenrec::Visitor& v) override {
    v("wte", wte);
    v("wpe", wpe);
    v("h", h);
    v("ln_f", ln_f);
    v("drop", drop);
  }
  tenrec::Embedding wte, wpe;
  std::vector<GptBlock> h;
  tenrec::LayerNorm ln_f;
  tenrec::Dropout drop;
};

// Logits of the next token, by the transposed embedding (the two are tied).
class Gpt : public tenrec::Module {
 public:
  explicit Gpt(const GptOptions& o) : transformer(o), options(o) {
    if (o.heads < 1 || o.width % o.heads)
      tenrec::fail<tenrec::ValueError>("Gpt: width must be a multiple of heads, got ", o.width, " and ", o.heads);
  }
  // tokens [batch, positions] -> [batch, positions, vocabulary].
  tenrec::Tensor operator()(const tenrec::Tensor& tokens, std::vector<tenrec::KeyValueCache>* caches = nullptr) const {
    const tenrec::ModuleScope scope(*this);
    return tenrec::linear(transformer(tokens, caches), transformer.wte.weight);
  }
  void visit(tenrec::Visitor& v) override { v("transformer", transformer); }
  GptBody transformer;
  GptOptions options;
};

// A model from a safetensors file with GPT-2's names, with or without "transformer." in front; sizes are those of the
// tensors. `heads` is not in the file: 0 stands for GPT-2's own, one for 64 of width.
inline Gpt load_gpt2(const std::string& path, int64_t heads = 0) {
  const tenrec::Safetensors file = tenrec::load_safetensors(path);
  const std::string prefix = "transformer.";
  std::vector<tenrec::NamedTensor> state;
  int64_t layers = 0;
  for (const tenrec::NamedTensor& entry : file.tensors) {
    const std::string& name = entry.name;
    const auto ends_with = [&](const char* end) { return name.ends_with(end); };
    // Masks, and the tied head that some files repeat.
    if (ends_with(".attn.bias") || ends_with(".attn.masked_bias") || name == "lm_head.weight") continue;
    state.push_back({name.starts_with(prefix) ? name : prefix + name, entry.tensor.to(tenrec::f32)});
    layers += ends_with(".ln_1.weight");
  }
  const auto find = [&](const std::string& name) -> const tenrec::Tensor& {
    for (const tenrec::NamedTensor& entry : state)
      if (entry.name == prefix + name && entry.tensor.ndim() == 2) return entry.tensor;
    tenrec::fail<tenrec::IOError>(path, " is not a GPT-2: it has no matrix ", name);
  };
  const tenrec::Tensor &tokens = find("wte.weight"), &positions = find("wpe.weight");
  const int64_t width = tokens.size(1);
  Gpt model({.vocabulary = tokens.size(0),
             .context = positions.size(0),
             .layers = layers,
             .heads = heads > 0 ? heads : std::max<int64_t>(1, width / 64),
             .width = width});
  tenrec::load_state_dict(model, state);
  return model;
}

}  // namespace examples
