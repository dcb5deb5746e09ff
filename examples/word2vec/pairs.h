// What skip-gram learns from: pairs of neighbours drawn from a text, and words drawn at random.
#pragma once

#include <utility>
#include <vector>

#include "word2vec/words.h"

namespace examples {

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
    tenrec::Tensor centers, contexts, negatives;  // on the default device
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
