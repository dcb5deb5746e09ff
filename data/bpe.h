// Byte-level byte-pair encoding as GPT-2 does it: reads its files and tokenizer.json, and trains one.
//
// A text is cut into pieces (data/gpt2_split.h); in each, the pair of neighbours that was learnt first is joined, until
// no pair is left that was learnt. Sennrich, Haddow and Birch, "Neural machine translation of rare words with subword
// units", ACL 2016; Radford et al., "Language models are unsupervised multitask learners", 2019.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenrec/data/tokenizer.h"

namespace tenrec {

struct BpeTrainOptions {
  int64_t vocab_size = 8192;               // special tokens and the 256 bytes included
  int64_t min_count = 2;                   // a pair that occurs less often is not joined
  std::vector<std::string> specials = {};  // these take the first ids
};

class BpeTokenizer : public Tokenizer {
 public:
  // GPT-2's own pair of files: encoder.json (token to id) and vocab.bpe (a version line, then one merge a line). The
  // token <|endoftext|> is special. IOError naming file and place if they are broken or do not go together.
  static BpeTokenizer load_gpt2(const std::string& encoder_json, const std::string& vocab_bpe);
  // A tokenizer.json whose model is BPE and whose pre-tokenizer is ByteLevel with GPT-2's pattern and no space put in
  // front. IOError naming what is missing, broken or asked for beyond that.
  static BpeTokenizer load(const std::string& path);
  // Learns the merges of a text: always the most frequent pair, of equally frequent ones the pair of lowest ids. The
  // same as the trainer of the tokenizers library with an initial alphabet of all bytes. ValueError if the text is not
  // UTF-8 or for options that make no sense.
  static BpeTokenizer train(std::string_view text, const BpeTrainOptions& options = {});

  int64_t size() const override;
  // The pairs of ids that are joined, the first learnt first.
  std::vector<std::pair<int64_t, int64_t>> merges() const;
  void encode_to(std::string_view text, std::vector<int64_t>& ids) const override;
  // As encode, but names of special tokens in the text become these tokens, of several that begin at one place the
  // longest. Not for text from strangers.
  std::vector<int64_t> encode_with_specials(std::string_view text) const;
  std::string_view token(int64_t id) const override;
  int64_t find(std::string_view token) const override;
  bool is_special(int64_t id) const override;
  // Writes a tokenizer.json.
  void save(const std::string& path) const override;

 private:
  struct Impl;
  explicit BpeTokenizer(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

}  // namespace tenrec
