// Token files: ids of a text of any size, 2 or 4 bytes each, read in windows and never as a whole.
//
//   encode_file(tokenizer, "book.txt", "book.tok");
//   DataLoader loader(TokenWindows(TokenFile("book.tok"), {.length = 64, .stride = 1}), {.batch_size = 12, .shuffle =
//   true});
//
// Format: the 8 bytes "tenrtok1", bytes of an id (2 or 4) and size of the vocabulary as little-endian 32-bit numbers,
// then the ids, little-endian.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tenrec/data/dataset.h"
#include "tenrec/data/tokenizer.h"

namespace tenrec {

class TokenFileWriter {
 public:
  // ValueError unless there are 1 to 2^31 - 1 tokens in the vocabulary. IOError if the file cannot be made.
  TokenFileWriter(const std::string& path, int64_t vocab_size);
  ~TokenFileWriter();
  TokenFileWriter(TokenFileWriter&&) noexcept;
  TokenFileWriter& operator=(TokenFileWriter&&) noexcept;
  // IndexError, and nothing is written, if an id is not of the vocabulary.
  void append(std::span<const int64_t> ids);
  int64_t size() const;
  // Makes the file appear, whole; without it nothing does.
  void commit();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// An open token file. Copies share it; reading is safe from several threads at once.
class TokenFile {
 public:
  // IOError if it is not one.
  explicit TokenFile(const std::string& path);
  const std::string& path() const;
  int64_t size() const;
  int64_t vocab_size() const;
  // Tokens begin to begin + out.size(). IndexError if there are fewer; IOError naming the place if one is not of the
  // vocabulary, or the file has become shorter.
  void read(int64_t begin, std::span<int64_t> out) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

struct EncodeFileOptions {
  int64_t chunk_bytes = int64_t(1) << 20;  // of text in memory at a time
  int64_t max_bytes = int64_t(1) << 40;    // of text
};
// Encodes a text file (gzip is decompressed) chunk by chunk, to the same ids as at once: chunks end where a word ends.
// Returns the number of tokens. IOError if the text is not UTF-8 (unless tokens are bytes), or has no blank in 64
// chunks.
int64_t encode_file(const Tokenizer& tokenizer, const std::string& text_path, const std::string& token_path,
                    const EncodeFileOptions& options = {});

struct WindowOptions {
  int64_t length = 64;
  int64_t stride = 0;  // from the start of a window to that of the next; 0: length
};

// Windows for language models: example i is {tokens [s, s + length), tokens [s + 1, s + length + 1)} with s = i stride,
// both i64 [length]. What is left at the end is in no window.
class TokenWindows : public Dataset {
 public:
  // ValueError unless length and stride make sense; a text too short for one window has none.
  explicit TokenWindows(TokenFile file, WindowOptions options = {});
  explicit TokenWindows(std::vector<int64_t> tokens, WindowOptions options = {});
  int64_t size() const override { return size_; }
  Example get(int64_t index) const override;
  Example get_batch(std::span<const int64_t> indices) const override;

 private:
  void set_options(WindowOptions options, int64_t tokens);
  void read(int64_t begin, std::span<int64_t> out) const;

  std::shared_ptr<const TokenFile> file_;  // one of the two
  std::shared_ptr<const std::vector<int64_t>> tokens_;
  WindowOptions options_;
  int64_t size_ = 0;
};

}  // namespace tenrec
