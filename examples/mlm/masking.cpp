#include "mlm/masking.h"

#include <algorithm>

#include "tenrec/core/philox.h"
#include "tenrec/core/tensor.h"

namespace examples {

using namespace tenrec;

namespace {

// Of a byte of UTF-8: no character beyond ASCII is taken for a boundary.
bool in_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)(c) >= 0x80; }

Tensor ids_of(const std::vector<int64_t>& values, const Shape& shape) {
  return from_vector(values, shape).to(default_device());
}

}  // namespace

WordedTokens::WordedTokens(const Tokenizer& tokenizer, const std::string& text) : ids(tokenizer.encode(text)) {
  bool before = false;
  for (const int64_t id : ids) {
    const std::string_view bytes = tokenizer.token(id);
    begins.push_back(!(before && in_word(bytes.front())));
    before = in_word(bytes.back());
  }
}

WordedTokens::WordedTokens(const WordedTokens& of, int64_t from, int64_t to)
    : ids(of.ids.begin() + from, of.ids.begin() + to), begins(of.begins.begin() + from, of.begins.begin() + to) {}

MaskedBatch mask_words(const WordedTokens& text, const std::vector<int64_t>& starts, const MaskingOptions& options,
                       uint64_t seed) {
  const Philox philox(seed);
  uint64_t draws = 0;
  const auto uniform = [&] { return double(philox(0, draws++).word[0]) * 0x1p-32; };
  const auto random_token = [&] {
    const int64_t n = options.vocabulary - options.first_ordinary;
    return options.first_ordinary + std::min(n - 1, int64_t(uniform() * double(n)));
  };
  std::vector<int64_t> tokens, places, targets;
  for (const int64_t start : starts) {
    bool hidden = false;
    double fate = 0;
    for (int64_t i = start; i < start + options.context; ++i) {
      const int64_t id = text.ids[size_t(i)];
      if (i == start || text.begins[size_t(i)]) {
        hidden = uniform() < options.share;
        fate = uniform();
      }
      if (hidden) {
        places.push_back(int64_t(tokens.size()));
        targets.push_back(id);
      }
      tokens.push_back(!hidden || fate >= 0.9 ? id : fate < 0.8 ? options.mask_token : random_token());
    }
  }
  if (places.empty()) {
    places.push_back(int64_t(tokens.size()) - 1);
    targets.push_back(tokens.back());
    tokens.back() = options.mask_token;
  }
  const Shape count{int64_t(places.size())};
  return {ids_of(tokens, {int64_t(starts.size()), options.context}), ids_of(places, count), ids_of(targets, count)};
}

}  // namespace examples
