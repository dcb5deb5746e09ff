// A text as ids of its frequent words, and pairs of words with a judgement of how alike they are.
#pragma once

#include <string>
#include <vector>

#include "tenrec/tenrec.h"

namespace examples {

struct Words {
  std::string name;                // of the text
  std::vector<std::string> names;  // the most frequent first
  std::vector<int64_t> counts;
  std::vector<int64_t> text;  // ids; rare words are left out
};

// Runs of ASCII letters in lower case, those that occur at least min_count times. ValueError if fewer than two words
// do.
Words read_words(const std::string& text, int64_t min_count);
// A text whose words have 16 subjects: words of one subject stand together. No download.
std::string subjects_text(int64_t sentences);

struct Judged {
  std::string a, b;
  double score;
};
// Lines of two words and a number, with tabs between. IOError naming the line otherwise.
std::vector<Judged> read_judged(const std::string& path);
// The same for subjects_text: 1 within a subject, 0 between two.
std::vector<Judged> subjects_judged();
// Spearman's rank correlation of cosine and judgement, over the pairs whose words are both known; 0 if there are none.
double rank_correlation(const tenrec::Tensor& vectors, const Words& words, const std::vector<Judged>& judged);

}  // namespace examples
