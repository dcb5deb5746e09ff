// What word2vec learns from: a text as ids of frequent words, and pairs of neighbours drawn from it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tenrec/tenrec.h"

namespace examples {

struct Words {
  std::vector<std::string> names;  // the most frequent first
  std::vector<int64_t> counts;
  std::vector<int64_t> text;  // ids; rare words are left out
};

// Runs of ASCII letters in lower case, those that occur at least min_count times.
Words read_words(const std::string& text, int64_t min_count);
// A text whose words have 16 subjects: words of one subject stand together. No download.
std::string subjects_text(int64_t sentences);

// Word pairs with a judgement of how alike they are.
struct Judged {
  std::string a, b;
  double score;
};
std::vector<Judged> read_judged(const std::string& path);
// The same for subjects_text: 1 within a subject, 0 between two.
std::vector<Judged> subjects_judged();
// Spearman's rank correlation of cosine and judgement, over the pairs whose words are both known.
double rank_correlation(const tenrec::Tensor& vectors, const Words& words, const std::vector<Judged>& judged);

struct PairOptions {
  int64_t window = 5, negatives = 5;
  double sample = 1e-3;  // words more frequent than this are thinned out
  uint64_t seed = 1;
};

// The training pairs of pieces of the text; a pure function of (seed, epoch, piece).
class PairSource {
 public:
  static constexpr int64_t kPiece = 1000;  // words, and no pair reaches across two pieces
  PairSource(const Words& words, PairOptions options);
  int64_t pieces() const { return (int64_t(words_.text.size()) + kPiece - 1) / kPiece; }
  struct Batch {
    tenrec::Tensor centers, contexts, negatives;
    int64_t words = 0;
  };
  // No pairs (undefined tensors) if a piece has no two words left.
  Batch pairs(int64_t epoch, int64_t piece) const;

 private:
  const Words& words_;
  PairOptions options_;
  std::vector<uint32_t> keep_;                       // of 2^32
  std::vector<std::pair<uint32_t, int64_t>> alias_;  // Walker's table of the noise distribution
};

}  // namespace examples
