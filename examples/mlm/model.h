// A transformer that reads both ways and guesses what is hidden, with BERT's head. J. Devlin et al., "BERT:
// Pre-training of deep bidirectional transformers for language understanding", 2019; normalised first, as R. Xiong et
// al., "On layer normalization in the transformer architecture", 2020.
#pragma once

#include <cmath>

#include "tenrec/tenrec.h"

namespace examples {

struct MaskedOptions {
  int64_t vocabulary = 0, context = 64, layers = 4, heads = 4, width = 192;
  double dropout = 0;  // a real text is hardly gone through once
};

class MaskedModel : public tenrec::Module {
 public:
  // start: what the scores of tokens start from, [vocabulary].
  MaskedModel(const MaskedOptions& o, const tenrec::Tensor& start)
      : embedding(o.vocabulary, o.width),
        positions(o.width),
        dropout(o.dropout),
        encoder(tenrec::TransformerEncoderLayer(o.width, o.heads,
                                                {.dim_feedforward = 4 * o.width,
                                                 .dropout = o.dropout,
                                                 .activation = tenrec::TransformerActivation::gelu,
                                                 .batch_first = true,
                                                 .norm_first = true}),
                o.layers, tenrec::LayerNorm(o.width)),
        transform(o.width, o.width),
        norm(o.width) {
    tenrec::init::normal_(embedding.weight.detach(), 0, 1 / std::sqrt(double(o.width)));
    bias = tenrec::clone(start).set_requires_grad(true);
  }
  // Tokens [batch, positions] and places [n] among all of them, row by row, to logits [n, vocabulary] of what stands
  // there.
  tenrec::Tensor operator()(const tenrec::Tensor& tokens, const tenrec::Tensor& places) const {
    const tenrec::ModuleScope scope(*this);
    const tenrec::Tensor y =
        tenrec::flatten(encoder(dropout(positions(embedding(tokens) * std::sqrt(double(norm.weight.numel()))))), 0, 1);
    const tenrec::Tensor there = norm(tenrec::gelu(transform(tenrec::index_select(y, 0, places))));
    return tenrec::linear(there, embedding.weight, bias);
  }
  void visit(tenrec::Visitor& v) override {
    v("embedding", embedding);
    v("positions", positions);
    v("dropout", dropout);
    v("encoder", encoder);
    v("transform", transform);
    v("norm", norm);
    v("bias", bias);
  }

 private:
  tenrec::Embedding embedding;
  tenrec::SinusoidalPositions positions;
  tenrec::Dropout dropout;
  tenrec::TransformerEncoder encoder;
  tenrec::Linear transform;
  tenrec::LayerNorm norm;
  tenrec::Tensor bias;
};

}  // namespace examples
