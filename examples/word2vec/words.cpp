#include "word2vec/words.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include "word2vec/draws.h"

namespace examples {

using namespace tenrec;

namespace {

// Ranks from 1, equal values sharing the mean of theirs.
std::vector<double> ranks_of(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t i = 0, end = 0; i < order.size(); i = end) {
    while (end < order.size() && values[order[end]] == values[order[i]]) ++end;
    for (size_t k = i; k < end; ++k) ranks[order[k]] = double(i + end + 1) / 2;
  }
  return ranks;
}

double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const auto n = double(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

constexpr int64_t kSubjects = 16, kWordsOfSubject = 12;

// "ab", "cd" and so on: a word of its own for every number.
std::string made_word(int64_t number) {
  std::string word = "w";
  for (; word.size() < 4; number /= 20) word += char('a' + number % 20);
  return word;
}

}  // namespace

Words read_words(const std::string& text, int64_t min_count) {
  std::unordered_map<std::string, int64_t> counts;
  std::vector<const std::string*> all;
  std::string word;
  for (size_t i = 0; i <= text.size(); ++i) {
    const char c = i < text.size() ? char(text[i] | 32) : ' ';
    if (c >= 'a' && c <= 'z') {
      word += c;
    } else if (!word.empty()) {
      const auto found = counts.try_emplace(word, 0).first;
      ++found->second;
      all.push_back(&found->first);
      word.clear();
    }
  }
  std::vector<std::pair<int64_t, std::string>> ordered;
  for (const auto& [name, count] : counts)
    if (count >= min_count) ordered.emplace_back(-count, name);
  std::sort(ordered.begin(), ordered.end());
  if (ordered.size() < 2) fail<ValueError>("the text has ", ordered.size(), " words that occur ", min_count, " times");
  Words words;
  for (const auto& [count, name] : ordered) {
    words.names.push_back(name);
    words.counts.push_back(-count);
  }
  std::unordered_map<std::string_view, int64_t> ids;
  for (size_t i = 0; i < words.names.size(); ++i) ids.emplace(words.names[i], int64_t(i));
  for (const std::string* name : all) {
    const auto found = ids.find(*name);
    if (found != ids.end()) words.text.push_back(found->second);
  }
  return words;
}

std::string subjects_text(int64_t sentences) {
  Draws draw(7, 0, 0);
  std::string text;
  for (int64_t s = 0; s < sentences; ++s) {
    const int64_t subject = draw.below(kSubjects);
    for (int i = 0; i < 8; ++i) text += made_word(subject * kWordsOfSubject + draw.below(kWordsOfSubject)) + " the ";
  }
  return text;
}

std::vector<Judged> subjects_judged() {
  Draws draw(8, 0, 0);
  std::vector<Judged> judged;
  for (int i = 0; i < 300; ++i) {
    const int64_t a = draw.below(kSubjects * kWordsOfSubject);
    const int64_t b = i % 2 == 0 ? draw.below(kSubjects * kWordsOfSubject)
                                 : a / kWordsOfSubject * kWordsOfSubject + draw.below(kWordsOfSubject);
    if (a != b) judged.push_back({made_word(a), made_word(b), a / kWordsOfSubject == b / kWordsOfSubject ? 1.0 : 0.0});
  }
  return judged;
}

std::vector<Judged> read_judged(const std::string& path) {
  std::vector<Judged> judged;
  for (const std::string& line : read_lines(path)) {
    const size_t one = line.find('\t'), two = line.find('\t', one + 1);
    char* end = nullptr;
    const double score = two < line.size() ? std::strtod(line.c_str() + two + 1, &end) : 0;
    if (end == nullptr || *end != '\0')
      fail<IOError>(path, ": line ", judged.size() + 1, ": expected two words and a number");
    judged.push_back({lower_case(line.substr(0, one)), lower_case(line.substr(one + 1, two - one - 1)), score});
  }
  return judged;
}

double rank_correlation(const Tensor& vectors, const Words& words, const std::vector<Judged>& judged) {
  std::unordered_map<std::string_view, int64_t> ids;
  for (size_t i = 0; i < words.names.size(); ++i) ids.emplace(words.names[i], int64_t(i));
  const Tensor table = contiguous(vectors.detach().to(kCpu));
  const int64_t d = table.size(1);
  std::vector<double> cosines, scores;
  for (const Judged& pair : judged) {
    const auto a = ids.find(pair.a), b = ids.find(pair.b);
    if (a == ids.end() || b == ids.end()) continue;
    const float *u = table.data<float>() + a->second * d, *v = table.data<float>() + b->second * d;
    double uv = 0, uu = 0, vv = 0;
    for (int64_t i = 0; i < d; ++i) {
      uv += double(u[i]) * v[i];
      uu += double(u[i]) * u[i];
      vv += double(v[i]) * v[i];
    }
    cosines.push_back(uv / std::sqrt(std::max(uu * vv, 1e-300)));
    scores.push_back(pair.score);
  }
  return cosines.empty() ? 0 : correlation(ranks_of(cosines), ranks_of(scores));
}

}  // namespace examples
