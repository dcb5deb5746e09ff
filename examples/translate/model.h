// Two networks that translate: a recurrent one that looks back at the source (T. Luong, H. Pham and C. Manning,
// "Effective approaches to attention-based neural machine translation", 2015, whose decoder is fed no earlier context,
// so that a whole sentence is one call), and a transformer (A. Vaswani et al., "Attention is all you need", 2017).
#pragma once

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "tenrec/tenrec.h"

namespace examples {

struct TranslatorOptions {
  std::string kind = "gru";  // or transformer
  int64_t vocabulary = 0, width = 256, layers = 1, heads = 4;
  double dropout = 0.2;
};

// What a decoder knows: the source, and what it has written.
struct Decoding {
  tenrec::Tensor memory, padding;  // [batch, source, width]; [batch, source], true behind a sentence's end
  tenrec::Tensor hidden = {};      // of the GRU: [1, batch, width]
  std::vector<tenrec::KeyValueCache> caches = {};  // of the transformer

  // Picks rows of the batch, which may repeat.
  void select(const tenrec::Tensor& rows) {
    memory = tenrec::index_select(memory, 0, rows);
    padding = tenrec::index_select(padding, 0, rows);
    if (hidden.defined()) hidden = tenrec::index_select(hidden, 1, rows);
    for (tenrec::KeyValueCache& cache : caches) cache.select(rows);
  }
};

class Translator : public tenrec::Module {
 public:
  // Tokens [batch, source] with their lengths [batch].
  virtual Decoding encode(const tenrec::Tensor& source, const tenrec::Tensor& lengths) const = 0;
  // The tokens that come next, [batch, n], to logits of those behind them, [batch, n, vocabulary]. In evaluation mode
  // `state` moves behind them; in training a sentence is one call.
  virtual tenrec::Tensor decode(const tenrec::Tensor& tokens, Decoding& state) const = 0;

  // [batch, n], true at and behind each length.
  static tenrec::Tensor behind(const tenrec::Tensor& lengths, int64_t n) {
    return tenrec::arange(n, {.dtype = tenrec::i64, .device = lengths.device()}) >= tenrec::unsqueeze(lengths, 1);
  }
};

class GruTranslator : public Translator {
 public:
  explicit GruTranslator(const TranslatorOptions& o)
      : source(o.vocabulary, o.width),
        target(o.vocabulary, o.width),
        encoder(o.width, o.width,
                {.num_layers = o.layers, .batch_first = true, .dropout = o.dropout, .bidirectional = true}),
        decoder(o.width, o.width, {.batch_first = true}),
        memory(2 * o.width, o.width),
        start(2 * o.width, o.width),
        query(o.width, o.width, {.bias = false}),
        combine(2 * o.width, o.width),
        dropout(o.dropout),
        scale_(std::sqrt(double(o.width))) {
    bias = tenrec::zeros({o.vocabulary}, {.requires_grad = true});
    for (const tenrec::Tensor& w : {source.weight, target.weight}) tenrec::init::normal_(w.detach(), 0, 1 / scale_);
  }

  Decoding encode(const tenrec::Tensor& tokens, const tenrec::Tensor& lengths) const override {
    const tenrec::ModuleScope scope(*this);
    const tenrec::PackedSequence words = tenrec::pack_padded_sequence(dropout(source(tokens) * scale_), lengths,
                                                                      {.batch_first = true, .enforce_sorted = false});
    const auto [read, state] = encoder(words);
    const tenrec::Tensor all =
        tenrec::pad_packed_sequence(read, {.batch_first = true, .total_length = tokens.size(1)}).data;
    const int64_t last = state.size(0) - 2;
    const tenrec::Tensor ends = tenrec::cat({state[last], state[last + 1]}, 1);
    return {memory(dropout(all)), behind(lengths.to(tokens.device()), tokens.size(1)),
            tenrec::unsqueeze(tenrec::tanh(start(ends)), 0)};
  }

  tenrec::Tensor decode(const tenrec::Tensor& tokens, Decoding& d) const override {
    const tenrec::ModuleScope scope(*this);
    const auto [written, state] = decoder(dropout(target(tokens) * scale_), d.hidden);
    d.hidden = state;
    const tenrec::Tensor mask = tenrec::unsqueeze(tenrec::logical_not(d.padding), 1);
    const tenrec::Tensor keys = tenrec::unsqueeze(d.memory, 1);
    const tenrec::Tensor seen =
        tenrec::squeeze(tenrec::scaled_dot_product_attention(tenrec::unsqueeze(query(written), 1), keys, keys,
                                                             {.mask = tenrec::unsqueeze(mask, 1), .scale = 1}),
                        1);
    const tenrec::Tensor y = tenrec::tanh(combine(tenrec::cat({written, seen}, 2)));
    return tenrec::linear(dropout(y), target.weight, bias);
  }

  void visit(tenrec::Visitor& v) override {
    v("source", source);
    v("target", target);
    v("encoder", encoder);
    v("decoder", decoder);
    v("memory", memory);
    v("start", start);
    v("query", query);
    v("combine", combine);
    v("dropout", dropout);
    v("bias", bias);
  }

 private:
  tenrec::Embedding source, target;
  tenrec::GRU encoder, decoder;
  tenrec::Linear memory, start, query, combine;
  tenrec::Dropout dropout;
  tenrec::Tensor bias;
  double scale_;  // of embeddings that go in; the target's are the scores' weights too, which want to be small
};

class TransformerTranslator : public Translator {
 public:
  explicit TransformerTranslator(const TranslatorOptions& o)
      : embedding(o.vocabulary, o.width),
        positions(o.width),
        transformer(o.width, o.heads, o.layers, o.layers,
                    {.dim_feedforward = 2 * o.width, .dropout = o.dropout, .batch_first = true, .norm_first = true}),
        dropout(o.dropout) {
    tenrec::init::normal_(embedding.weight.detach(), 0, 1 / std::sqrt(double(o.width)));
  }

  Decoding encode(const tenrec::Tensor& source, const tenrec::Tensor& lengths) const override {
    const tenrec::ModuleScope scope(*this);
    const tenrec::Tensor padding = behind(lengths.to(source.device()), source.size(1));
    return {transformer.encoder(embed(source, 0), {.src_key_padding_mask = padding}), padding};
  }

  tenrec::Tensor decode(const tenrec::Tensor& tokens, Decoding& d) const override {
    const tenrec::ModuleScope scope(*this);
    const int64_t before = d.caches.empty() ? 0 : d.caches.front().length();
    const tenrec::Tensor y = transformer.decoder(embed(tokens, before), d.memory,
                                                 {.memory_key_padding_mask = d.padding, .tgt_is_causal = true},
                                                 is_training() ? nullptr : &d.caches);
    return tenrec::linear(y, embedding.weight);
  }

  void visit(tenrec::Visitor& v) override {
    v("embedding", embedding);
    v("positions", positions);
    v("transformer", transformer);
    v("dropout", dropout);
  }

 private:
  tenrec::Tensor embed(const tenrec::Tensor& tokens, int64_t first) const {
    return dropout(positions(embedding(tokens) * std::sqrt(double(embedding.weight.size(1))), first));
  }

  tenrec::Embedding embedding;  // both languages', and the scores'
  tenrec::SinusoidalPositions positions;
  tenrec::Transformer transformer;
  tenrec::Dropout dropout;
};

inline std::unique_ptr<Translator> make_translator(const TranslatorOptions& o) {
  if (o.kind == "gru") return std::make_unique<GruTranslator>(o);
  return std::make_unique<TransformerTranslator>(o);
}

}  // namespace examples
