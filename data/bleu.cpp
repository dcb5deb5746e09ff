#include "tenrec/data/bleu.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <unordered_map>

#include "tenrec/core/error.h"
#include "tenrec/data/utf8.h"

namespace tenrec {
namespace {

constexpr int kOrder = 4;

// Python's str.split and rstrip take four separators of ASCII for white space as well.
bool is_python_space(uint32_t c) { return is_space(c) || (c >= 0x1C && c <= 0x1F); }
bool is_digit(uint32_t c) { return c >= '0' && c <= '9'; }
bool is_stop(uint32_t c) { return c == '.' || c == ','; }

// Punctuation that always stands alone: all of ASCII's but ' , - .
bool is_separate(uint32_t c) {
  return (c >= '{' && c <= '~') || (c >= '[' && c <= '`') || (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') ||
         (c >= ':' && c <= '@') || c == '/';
}

using Points = std::vector<uint32_t>;

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

Points code_points(std::string_view text) {
  Points out;
  for (size_t i = 0; i < text.size();) out.push_back(next_code_point(text, i));
  return out;
}

// The four rules of mteval, each over the whole line, matches never overlapping.
Points separate_punctuation(const Points& in) {
  Points out;
  for (const uint32_t c : in) {
    if (is_separate(c)) {
      out.insert(out.end(), {' ', c, ' '});
    } else {
      out.push_back(c);
    }
  }
  return out;
}

// Where two neighbours match first and second, puts them down by `write` and goes on behind both.
template <class First, class Second, class Write>
Points rewrite_pairs(const Points& in, First&& first, Second&& second, Write&& write) {
  Points out;
  for (size_t i = 0; i < in.size();) {
    if (i + 1 < in.size() && first(in[i]) && second(in[i + 1])) {
      write(out, in[i], in[i + 1]);
      i += 2;
    } else {
      out.push_back(in[i++]);
    }
  }
  return out;
}

Points apply_rules(const Points& line) {
  const auto not_digit = [](uint32_t c) { return !is_digit(c); };
  const auto behind = [](Points& out, uint32_t a, uint32_t b) { out.insert(out.end(), {a, ' ', b, ' '}); };
  const auto before = [](Points& out, uint32_t a, uint32_t b) { out.insert(out.end(), {' ', a, ' ', b}); };
  Points points = separate_punctuation(line);
  points = rewrite_pairs(points, not_digit, is_stop, behind);
  points = rewrite_pairs(points, is_stop, not_digit, before);
  return rewrite_pairs(
      points, is_digit, [](uint32_t c) { return c == '-'; }, behind);
}

std::string_view without_trailing_space(std::string_view line) {
  size_t end = 0;
  for (size_t i = 0; i < line.size();)
    if (!is_python_space(next_code_point(line, i))) end = i;
  return line.substr(0, end);
}

// How often each n-gram occurs. Words are joined by a blank, which no word holds, and the order is the first byte.
using NgramCounts = std::unordered_map<std::string, int64_t>;

NgramCounts count_ngrams(const std::vector<std::string>& words) {
  NgramCounts counts;
  for (size_t begin = 0; begin < words.size(); ++begin) {
    std::string ngram(1, '0');
    for (size_t n = 1; n <= kOrder && begin + n <= words.size(); ++n) {
      ngram[0] = char('0' + n);
      ngram += ' ';
      ngram += words[begin + n - 1];
      ++counts[ngram];
    }
  }
  return counts;
}

}  // namespace

std::vector<std::string> tokenize_13a(std::string_view line) {
  check_utf8(line, "tokenize_13a");
  std::string text(without_trailing_space(line));
  replace_all(text, "<skipped>", "");
  replace_all(text, "-\n", "");
  replace_all(text, "\n", " ");
  replace_all(text, "&quot;", "\"");
  replace_all(text, "&amp;", "&");
  replace_all(text, "&lt;", "<");
  replace_all(text, "&gt;", ">");
  std::vector<std::string> words;
  std::string word;
  Points points = apply_rules(code_points(" " + text + " "));
  points.push_back(' ');
  for (const uint32_t c : points) {
    if (!is_python_space(c)) {
      append_utf8(word, c);
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  return words;
}

void Bleu::add(std::string_view hypothesis, std::span<const std::string> references) {
  if (references.empty()) fail<ValueError>("Bleu: no reference");
  const std::vector<std::string> words = tokenize_13a(hypothesis);
  const auto length = int64_t(words.size());
  NgramCounts wanted;
  int64_t nearest = -1;
  for (const std::string& reference : references) {
    const std::vector<std::string> expected = tokenize_13a(reference);
    const auto n = int64_t(expected.size());
    const int64_t distance = std::abs(n - length), best = std::abs(nearest - length);
    if (nearest < 0 || distance < best || (distance == best && n < nearest)) nearest = n;
    for (const auto& [ngram, count] : count_ngrams(expected)) {
      int64_t& most = wanted[ngram];
      most = std::max(most, count);
    }
  }
  for (const auto& [ngram, count] : count_ngrams(words)) {
    const auto order = size_t(ngram[0] - '1');
    total_[order] += count;
    const auto found = wanted.find(ngram);
    if (found != wanted.end()) correct_[order] += std::min(count, found->second);
  }
  hypothesis_length_ += length;
  reference_length_ += nearest;
}

BleuScore Bleu::score() const {
  BleuScore result;
  result.hypothesis_length = hypothesis_length_;
  result.reference_length = reference_length_;
  result.brevity_penalty = 1;
  if (hypothesis_length_ < reference_length_)
    result.brevity_penalty =
        hypothesis_length_ > 0 ? std::exp(1 - double(reference_length_) / double(hypothesis_length_)) : 0.0;
  if (std::all_of(correct_, correct_ + kOrder, [](int64_t n) { return n == 0; })) return result;
  double smooth = 1, logs = 0;  // each order without a match counts for half of the one before it (NIST)
  for (int n = 0; n < kOrder; ++n) {
    if (total_[n] == 0) return result;  // translations shorter than n words: the mean is that of a zero
    if (correct_[n] == 0) smooth *= 2;
    const double matched = correct_[n] == 0 ? 1 / smooth : double(correct_[n]);
    result.precisions[n] = 100 * matched / double(total_[n]);
    logs += std::log(result.precisions[n]);
  }
  result.score = result.brevity_penalty * std::exp(logs / kOrder);
  return result;
}

}  // namespace tenrec
