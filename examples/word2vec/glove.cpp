#include "word2vec/glove.h"

namespace examples {

using namespace tenrec;

namespace {

// Where each word stands in the text, one word behind the other; those of word w from starts[w] on.
struct Places {
  std::vector<int64_t> starts, places;

  explicit Places(const Words& words) : starts(words.counts.size() + 1), places(words.text.size()) {
    for (const int64_t word : words.text) ++starts[size_t(word) + 1];
    for (size_t w = 1; w < starts.size(); ++w) starts[w] += starts[w - 1];
    std::vector<int64_t> next(starts.begin(), starts.end() - 1);
    for (size_t i = 0; i < words.text.size(); ++i) places[size_t(next[size_t(words.text[i])]++)] = int64_t(i);
  }
};

Tensor table(int64_t words, int64_t d) {
  return ((rand({words, d}) - 0.5) * (1 / double(d))).detach().set_requires_grad(true);
}

}  // namespace

// Word by word, so that the counts of one are a row that fits the cache, and no table of all pairs is searched.
Cooccurrences count_neighbours(const Words& words, int64_t window) {
  const Places all(words);
  const auto n = int64_t(words.text.size());
  Cooccurrences out;
  std::vector<float> near(words.counts.size());
  std::vector<int64_t> seen;
  for (size_t word = 0; word < words.counts.size(); ++word) {
    for (int64_t k = all.starts[word]; k < all.starts[word + 1]; ++k) {
      const int64_t place = all.places[size_t(k)];
      for (int64_t i = std::max<int64_t>(place - window, 0); i <= std::min(place + window, n - 1); ++i) {
        if (i == place) continue;
        const int64_t other = words.text[size_t(i)];
        if (near[size_t(other)] == 0) seen.push_back(other);
        near[size_t(other)] += 1 / float(std::abs(i - place));
      }
    }
    for (const int64_t other : seen) {
      out.a.push_back(int64_t(word));
      out.b.push_back(other);
      out.count.push_back(near[size_t(other)]);
      near[size_t(other)] = 0;
    }
    seen.clear();
  }
  return out;
}

GloveVectors::GloveVectors(int64_t words, int64_t d)
    : input(table(words, d)), output(table(words, d)), input_bias(table(words, 1)), output_bias(table(words, 1)) {}

Tensor GloveVectors::losses(const Tensor& a, const Tensor& b, const Tensor& count) const {
  const ModuleScope scope(*this);
  const Tensor product = sum(embedding(input, a) * embedding(output, b), {.dim = 1});
  const Tensor bias = flatten(embedding(input_bias, a) + embedding(output_bias, b));
  const Tensor weight = pow(clamp(count * (1 / kCommon), {}, 1.0), 0.75);
  return weight * square(product + bias - log(count));
}

}  // namespace examples
