// What a language model of one text is trained and measured on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/text.h"
#include "gpt/model.h"

namespace examples {

// A text's tokens: of the first nine tenths to learn from, of the rest to measure on. ValueError for a text too short.
struct Tokens {
  tenrec::Tensor train, validation;
  Tokens(const tenrec::Tokenizer& tokenizer, const NamedText& text, int64_t context) {
    const std::vector<int64_t> all = tokenizer.encode(text.bytes);
    const auto n = int64_t(all.size()), cut = n * 9 / 10;
    if (std::min(cut, n - cut) <= context)
      tenrec::fail<tenrec::ValueError>(text.name, ": ", n, " tokens are too few, a context of ", context,
                                       " needs more than ", 10 * (context + 1));
    const tenrec::Tensor whole = tenrec::from_vector(all, {n}).to(tenrec::default_device());
    train = tenrec::narrow(whole, 0, 0, cut);
    validation = tenrec::narrow(whole, 0, cut, n - cut);
  }
};

// Inputs and targets of windows that begin at `starts`, [windows, context] each.
inline tenrec::Example windows(const tenrec::Tensor& tokens, const tenrec::Tensor& starts, int64_t context) {
  const tenrec::Tensor at = tenrec::unsqueeze(starts, 1) + tenrec::arange(context, {.dtype = tenrec::i64});
  return {{tenrec::take(tokens, at), tenrec::take(tokens, at + 1)}};
}

inline tenrec::Tensor loss_of(const Gpt& model, const tenrec::Example& batch) {
  const tenrec::Tensor logits = model(batch.input());
  return tenrec::cross_entropy(tenrec::flatten(logits, 0, 1), tenrec::flatten(batch.target()));
}

// The mean loss in nats over all tokens, in windows side by side.
inline double loss_over(Gpt& model, const tenrec::Tensor& tokens, int64_t context) {
  const tenrec::NoGrad off;
  tenrec::eval(model);
  const int64_t count = (tokens.numel() - 1) / context, together = 32;
  double sum = 0;
  for (int64_t w = 0; w < count; w += together) {
    const int64_t n = std::min(together, count - w);
    const tenrec::Tensor starts = tenrec::arange(w, w + n, {.dtype = tenrec::i64}) * context;
    sum += loss_of(model, windows(tokens, starts, context)).item<double>() * double(n);
  }
  tenrec::train(model);
  return sum / double(count);
}

}  // namespace examples
