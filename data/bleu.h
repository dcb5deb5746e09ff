// BLEU of a corpus, as sacrebleu computes it by default: tokenizer 13a, n-grams up to 4, exponential smoothing, case
// kept.
//
// Papineni, Roukos, Ward and Zhu, "BLEU: a method for automatic evaluation of machine translation", ACL 2002; Post, "A
// call for clarity in reporting BLEU scores", WMT 2018.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tenrec {

// The words of a line as mteval-v13a cuts it: punctuation is separated, but not within numbers. ValueError unless it is
// UTF-8.
std::vector<std::string> tokenize_13a(std::string_view line);

struct BleuScore {
  double score = 0;           // 0 to 100
  double precisions[4] = {};  // in per cent, smoothed
  double brevity_penalty = 0;
  int64_t hypothesis_length = 0, reference_length = 0;
};

// Adds up a corpus line by line.
class Bleu {
 public:
  // One translation and what it should be; of several references the best match of each n-gram counts, and the length
  // nearest to the translation's. ValueError without a reference, or if a text is not UTF-8.
  void add(std::string_view hypothesis, std::span<const std::string> references);
  void add(std::string_view hypothesis, const std::string& reference) { add(hypothesis, {&reference, 1}); }
  void reset() { *this = {}; }
  BleuScore score() const;
  double value() const { return score().score; }

 private:
  int64_t correct_[4] = {}, total_[4] = {};
  int64_t hypothesis_length_ = 0, reference_length_ = 0;
};

}  // namespace tenrec
