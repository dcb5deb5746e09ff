// Text to token ids and back: the interface, and tokens that are bytes, characters or words. Byte-pair encoding is in
// data/bpe.h.
//
//   const auto tokenizer = TextTokenizer::build(TextUnit::word, text, {.min_count = 2, .specials = {"<pad>",
//   "<unk>"}}); std::vector<int64_t> ids = tokenizer.encode("two words");
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tenrec {

struct DecodeOptions {
  bool skip_specials = false;  // leave out <pad> and the like
};

// encode and decode may be called from several threads at once.
class Tokenizer {
 public:
  Tokenizer() = default;
  Tokenizer(const Tokenizer&) = default;
  Tokenizer& operator=(const Tokenizer&) = default;
  Tokenizer(Tokenizer&&) noexcept = default;
  Tokenizer& operator=(Tokenizer&&) noexcept = default;
  virtual ~Tokenizer() = default;

  // Tokens; ids are 0 to size() - 1.
  virtual int64_t size() const = 0;
  // Adds the ids of a text to `ids`. Special tokens are never made from text. ValueError if the text is not UTF-8
  // (bytes take anything) or holds what has no token.
  virtual void encode_to(std::string_view text, std::vector<int64_t>& ids) const = 0;
  // The bytes that a token stands for, or a special token's name. IndexError unless 0 <= id < size().
  virtual std::string_view token(int64_t id) const = 0;
  // The id of a token or special token, -1 if there is none.
  virtual int64_t find(std::string_view token) const = 0;
  virtual bool is_special(int64_t id) const = 0;
  // False if any bytes can be encoded, not only text that is UTF-8.
  virtual bool needs_utf8() const { return true; }
  // Writes a file that load_tokenizer reads.
  virtual void save(const std::string& path) const = 0;

  std::vector<int64_t> encode(std::string_view text) const;
  // IndexError naming the id and its place if one is out of range. Tokens that are parts of characters may give a text
  // that is not UTF-8; see replace_bad_utf8.
  std::string decode(std::span<const int64_t> ids, DecodeOptions options = {}) const;
  // As find, but a ValueError if there is no such token.
  int64_t id_of(std::string_view token) const;

 protected:
  // What stands between two tokens of a decoded text.
  virtual std::string_view separator() const { return ""; }
};

enum class TextUnit { byte, character, word };

struct VocabularyOptions {
  int64_t min_count = 1;                   // leave out what occurs less often
  int64_t max_size = 0;                    // keep the most frequent so that there are at most this many tokens, 0: all
  std::vector<std::string> specials = {};  // these take the first ids (with bytes those from 256 on)
  std::string unknown = "<unk>";           // if among the specials, it stands for what is not in the vocabulary
  bool lower = false;                      // read text in lower case
};

// Bytes (ids 0 to 255), characters (code points of UTF-8) or words. Words are runs of letters, digits and marks; any
// other character but white space is a word of its own, and decode puts spaces between all of them.
class TextTokenizer : public Tokenizer {
 public:
  // Bytes need no vocabulary: 256 tokens and the specials. ValueError for a special that is empty or given twice.
  static TextTokenizer bytes(std::vector<std::string> specials = {});
  // The tokens of a text, the most frequent first, equally frequent ones in the order of their bytes. ValueError if it
  // is not UTF-8, or for options that make no sense.
  static TextTokenizer build(TextUnit unit, std::string_view text, const VocabularyOptions& options = {});
  // IOError if the file is not one that save() wrote, naming the place.
  static TextTokenizer load(const std::string& path);

  TextUnit unit() const;
  // The id that stands for what is not in the vocabulary, -1 if nothing does.
  int64_t unknown() const;

  int64_t size() const override;
  void encode_to(std::string_view text, std::vector<int64_t>& ids) const override;
  std::string_view token(int64_t id) const override;
  int64_t find(std::string_view token) const override;
  bool is_special(int64_t id) const override;
  bool needs_utf8() const override;
  void save(const std::string& path) const override;

 protected:
  std::string_view separator() const override;

 private:
  struct Impl;
  explicit TextTokenizer(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

// Whatever a tokenizer's save() wrote, or another program's tokenizer.json with byte-level byte-pair encoding. IOError
// naming file and place if it is neither.
std::unique_ptr<Tokenizer> load_tokenizer(const std::string& path);

}  // namespace tenrec
