// The network: characters to vectors, recurrent layers, scores of the next character.
#pragma once

#include "tenrec/tenrec.h"

namespace examples {

class CharModel : public tenrec::Module {
 public:
  struct Options {
    std::string cell = "lstm";  // rnn, lstm or gru
    int64_t characters = 0, hidden = 256, layers = 1;
    double dropout = 0;
  };

  explicit CharModel(const Options& o)
      : embedding(o.characters, kWidth), dropout(o.dropout), head(o.hidden, o.characters) {
    if (o.cell == "lstm")
      lstm.emplace(kWidth, o.hidden, tenrec::RecurrentOptions{.num_layers = o.layers, .dropout = o.dropout});
    else if (o.cell == "gru")
      gru.emplace(kWidth, o.hidden, tenrec::RecurrentOptions{.num_layers = o.layers, .dropout = o.dropout});
    else
      rnn.emplace(kWidth, o.hidden, tenrec::RNNOptions{.num_layers = o.layers, .dropout = o.dropout});
  }

  // Codes [steps, batch] to logits [steps, batch, characters], and the state behind them. The cell of the state is the
  // LSTM's alone.
  tenrec::RecurrentOutput<tenrec::Tensor, tenrec::LSTMState> operator()(const tenrec::Tensor& codes,
                                                                        const tenrec::LSTMState& state) const {
    const tenrec::ModuleScope scope(*this);
    const tenrec::Tensor x = embedding(codes);
    if (lstm) {
      const auto r = (*lstm)(x, state);
      return {head(dropout(r.output)), r.state};
    }
    const auto r = gru ? (*gru)(x, state.h) : (*rnn)(x, state.h);
    return {head(dropout(r.output)), {r.state, {}}};
  }

  void visit(tenrec::Visitor& v) override {
    v("embedding", embedding);
    v("rnn", rnn);
    v("lstm", lstm);
    v("gru", gru);
    v("dropout", dropout);
    v("head", head);
  }

 private:
  static constexpr int64_t kWidth = 64;
  tenrec::Embedding embedding;
  std::optional<tenrec::RNN> rnn;
  std::optional<tenrec::LSTM> lstm;
  std::optional<tenrec::GRU> gru;
  tenrec::Dropout dropout;
  tenrec::Linear head;
};

}  // namespace examples
