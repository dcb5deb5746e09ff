#include "word2vec/pairs.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "word2vec/draws.h"

namespace examples {

using namespace tenrec;

namespace {

// Every weight as a column of equal width that two words share: one draw picks the column, one the word (Walker 1977).
std::vector<std::pair<uint32_t, int64_t>> alias_table(std::vector<double> weights) {
  const auto n = int64_t(weights.size());
  const double mean = std::accumulate(weights.begin(), weights.end(), 0.0) / double(n);
  std::vector<std::pair<uint32_t, int64_t>> table(weights.size());
  std::vector<int64_t> low, high;
  for (int64_t i = 0; i < n; ++i) {
    weights[size_t(i)] /= mean;
    table[size_t(i)] = {UINT32_MAX, i};
    (weights[size_t(i)] < 1 ? low : high).push_back(i);
  }
  while (!low.empty() && !high.empty()) {
    const int64_t small = low.back(), large = high.back();
    low.pop_back();
    table[size_t(small)] = {uint32_t(std::min(weights[size_t(small)] * 0x1p32, 0x1p32 - 1)), large};
    weights[size_t(large)] -= 1 - weights[size_t(small)];
    if (weights[size_t(large)] < 1) {
      high.pop_back();
      low.push_back(large);
    }
  }
  return table;
}

}  // namespace

PairSource::PairSource(const Words& words, PairOptions options) : words_(words), options_(options) {
  std::vector<double> noise;
  const double bound = options.sample * double(words.text.size());
  for (const int64_t count : words.counts) {
    const double keep = options.sample > 0 ? (std::sqrt(double(count) / bound) + 1) * bound / double(count) : 1.0;
    keep_.push_back(keep >= 1 ? UINT32_MAX : uint32_t(keep * 0x1p32));
    noise.push_back(std::pow(double(count), 0.75));
  }
  alias_ = alias_table(std::move(noise));
}

PairSource::Batch PairSource::pairs(int64_t epoch, int64_t piece) const {
  Draws draw(options_.seed, uint64_t(epoch), uint64_t(piece));
  const int64_t begin = piece * kPiece, end = std::min(begin + kPiece, int64_t(words_.text.size()));
  std::vector<int64_t> kept, centers, contexts, negatives;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t word = words_.text[size_t(i)];
    if (draw.next() <= keep_[size_t(word)]) kept.push_back(word);
  }
  const auto n = int64_t(kept.size());
  const auto likely = size_t(n * (options_.window + 1));
  centers.reserve(likely);
  contexts.reserve(likely);
  negatives.reserve(likely * size_t(options_.negatives));
  for (int64_t i = 0; i < n; ++i) {
    const int64_t reach = options_.window - draw.below(options_.window);  // near words more often than far ones
    for (int64_t j = std::max<int64_t>(i - reach, 0); j <= std::min(i + reach, n - 1); ++j) {
      if (j == i) continue;
      const int64_t seen = kept[size_t(i)];
      centers.push_back(kept[size_t(j)]);
      contexts.push_back(seen);
      for (int64_t k = 0; k < options_.negatives;) {
        const int64_t column = draw.below(int64_t(alias_.size()));
        const auto& [share, other] = alias_[size_t(column)];
        const int64_t word = draw.next() <= share ? column : other;
        if (word == seen) continue;
        negatives.push_back(word);
        ++k;
      }
    }
  }
  Batch batch;
  batch.words = end - begin;
  if (centers.empty()) return batch;
  const auto count = int64_t(centers.size());
  const Device device = default_device();
  batch.centers = from_vector(centers, {count}).to(device);
  batch.contexts = from_vector(contexts, {count}).to(device);
  batch.negatives = from_vector(negatives, {count, options_.negatives}).to(device);
  return batch;
}

}  // namespace examples
