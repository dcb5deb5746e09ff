// Training of byte-pair encodings: the text is counted once as pieces, then each merge touches only the pieces that
// hold its pair.
#include <algorithm>
#include <queue>
#include <unordered_set>

#include "tenrec/core/error.h"
#include "tenrec/data/bpe_impl.h"
#include "tenrec/data/gpt2_split.h"
#include "tenrec/data/utf8.h"

namespace tenrec {
namespace {

using bpe::Id;
using bpe::pair_key;

struct Word {
  std::vector<Id> ids;
  int64_t count;
};

// A pair and how often it occurred when it was put down. It is put down again when that rises, and a stale one with a
// higher count goes back when it comes up.
struct Candidate {
  int64_t count;
  uint64_t key;
  bool operator<(const Candidate& other) const { return count != other.count ? count < other.count : key > other.key; }
};

class Trainer {
 public:
  Trainer(std::string_view text, const Id (&byte_ids)[256]) {
    std::unordered_map<std::string_view, int64_t> counts;
    for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
      end = gpt2_piece_end(text, begin);
      ++counts[text.substr(begin, end - begin)];
    }
    for (const auto& [piece, count] : counts) {
      if (piece.size() < 2) continue;
      Word word{{}, count};
      for (const char c : piece) word.ids.push_back(byte_ids[uint8_t(c)]);
      words_.push_back(std::move(word));
    }
    for (size_t i = 0; i < words_.size(); ++i) count_pairs(i, 1, kAny);
    push_risen();
  }

  // The most frequent pair, of equal ones the smallest. False if none occurs min_count times.
  bool best(int64_t min_count, uint64_t& key) {
    while (!queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      const int64_t now = pairs_[top.key].count;
      if (now == top.count) {
        key = top.key;
        return now >= std::max<int64_t>(min_count, 1);
      }
      if (now > 0) queue_.push({now, top.key});
    }
    return false;
  }

  void join(uint64_t key, Id joined) {
    const std::vector<int32_t> where = std::move(pairs_[key].words);
    for (const int32_t i : where) {
      count_pairs(size_t(i), -1, joined);
      join_word(words_[size_t(i)].ids, Id(key >> 32), Id(uint32_t(key)), joined);
      count_pairs(size_t(i), 1, joined);
    }
    push_risen();
  }

 private:
  struct Pair {
    int64_t count = 0;
    std::vector<int32_t> words;  // that hold it, or did once
  };
  static constexpr Id kAny = -1;

  // Adds the pairs of a word, or takes them away. Only those with `made` in them can be new to the word.
  void count_pairs(size_t which, int64_t sign, Id made) {
    const Word& word = words_[which];
    for (size_t i = 0; i + 1 < word.ids.size(); ++i) {
      const Id left = word.ids[i], right = word.ids[i + 1];
      const uint64_t key = pair_key(left, right);
      Pair& pair = pairs_[key];
      pair.count += sign * word.count;
      if (sign < 0 || (made != kAny && left != made && right != made)) continue;
      if (pair.words.empty() || pair.words.back() != int32_t(which)) pair.words.push_back(int32_t(which));
      risen_.push_back(key);
    }
  }

  void push_risen() {
    std::sort(risen_.begin(), risen_.end());
    risen_.erase(std::unique(risen_.begin(), risen_.end()), risen_.end());
    for (const uint64_t key : risen_) queue_.push({pairs_[key].count, key});
    risen_.clear();
  }

  static void join_word(std::vector<Id>& ids, Id left, Id right, Id joined) {
    size_t out = 0;
    for (size_t i = 0; i < ids.size(); ++out) {
      const bool here = i + 1 < ids.size() && ids[i] == left && ids[i + 1] == right;
      ids[out] = here ? joined : ids[i];
      i += here ? 2 : 1;
    }
    ids.resize(out);
  }

  std::vector<Word> words_;
  std::unordered_map<uint64_t, Pair, bpe::KeyHash> pairs_;
  std::vector<uint64_t> risen_;  // pairs whose count has risen, not yet in the queue
  std::priority_queue<Candidate> queue_;
};

void check_options(const BpeTrainOptions& options) {
  const char* name = "BpeTokenizer::train";
  const int64_t least = 256 + int64_t(options.specials.size());
  if (options.vocab_size < least || options.vocab_size > bpe::kMaxTokens)
    fail<ValueError>(name, ": vocab_size of ", options.vocab_size, ", expected ", least, " to ", bpe::kMaxTokens);
  if (options.min_count < 0) fail<ValueError>(name, ": min_count of ", options.min_count);
  std::unordered_set<std::string_view> seen;
  for (const std::string& special : options.specials) {
    check_utf8(special, concat(name, ": special token '", special, "'"));
    if (special.size() < 2 || !seen.insert(special).second)
      fail<ValueError>(name, ": special token '", special, "' is ", special.size() < 2 ? "too short" : "given twice");
  }
}

}  // namespace

BpeTokenizer BpeTokenizer::train(std::string_view text, const BpeTrainOptions& options) {
  check_options(options);
  check_utf8(text, "BpeTokenizer::train");
  std::vector<std::string> tokens = options.specials;
  std::vector<std::pair<uint32_t, int>> alphabet;  // in the order of the characters that bytes are written as
  for (int b = 0; b < 256; ++b) alphabet.emplace_back(bpe::byte_to_character(uint8_t(b)), b);
  std::sort(alphabet.begin(), alphabet.end());
  Id byte_ids[256];
  for (const auto& [character, byte] : alphabet) {
    byte_ids[byte] = Id(tokens.size());
    tokens.emplace_back(1, char(byte));
  }
  std::vector<uint64_t> keys;
  std::unordered_map<std::string, Id> known;  // two merges may make the same bytes; they share the token
  for (size_t id = 0; id < tokens.size(); ++id) known.emplace(tokens[id], Id(id));
  Trainer trainer(text, byte_ids);
  uint64_t key = 0;
  while (int64_t(tokens.size()) < options.vocab_size && trainer.best(options.min_count, key)) {
    std::string made = tokens[size_t(key >> 32)] + tokens[size_t(uint32_t(key))];
    const auto [found, is_new] = known.emplace(made, Id(tokens.size()));
    if (is_new) tokens.push_back(std::move(made));
    keys.push_back(key);
    trainer.join(key, found->second);
  }
  auto impl = std::make_shared<Impl>();
  impl->table.assign(std::move(tokens));
  for (size_t i = 0; i < options.specials.size(); ++i) impl->table.mark_special(int64_t(i));
  for (const uint64_t pair : keys) impl->add_merge(Id(pair >> 32), Id(uint32_t(pair)));
  impl->finish();
  return BpeTokenizer(std::move(impl));
}

}  // namespace tenrec
