// Texts for training: lines of a file of any size, parallel corpora, and batches of sequences of like length.
//
//   const ParallelCorpus text = read_parallel("train.de.gz", "train.en.gz");
//   TokenSequences source, target;
//   for (int64_t i = 0; i < text.size(); ++i) { source.add(de.encode(text.source[i])); target.add(...); }
//   BucketLoader loader({source, target}, {.batch_size = 64, .seed = 1});
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tenrec/data/dataset.h"
#include "tenrec/data/loader.h"

namespace tenrec {

// The lines of a text file (gzip is decompressed), read in pieces of fixed size.
class LineReader {
 public:
  // IOError if the file cannot be opened. A line longer than max_line bytes is an error.
  explicit LineReader(const std::string& path, int64_t max_line = int64_t(1) << 24);
  ~LineReader();
  LineReader(LineReader&&) noexcept;
  LineReader& operator=(LineReader&&) noexcept;
  // The next line without its line feed and the carriage return before that. False at the end. IOError naming the byte
  // of the file if it is not UTF-8.
  bool next(std::string& line);
  // Lines read so far.
  int64_t count() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// All lines of a file.
std::vector<std::string> read_lines(const std::string& path);

// Line i of one file is the translation of line i of the other.
struct ParallelCorpus {
  std::vector<std::string> source, target;
  int64_t size() const { return int64_t(source.size()); }
};
// IOError naming both counts unless the files have as many lines.
ParallelCorpus read_parallel(const std::string& source_path, const std::string& target_path);

// Sequences of token ids of any lengths, one behind the other.
class TokenSequences {
 public:
  // IndexError unless every id is in 0 to 2^31 - 1. A sequence may be empty.
  void add(std::span<const int64_t> ids);
  int64_t size() const { return int64_t(ends_.size()); }
  int64_t tokens() const { return int64_t(ids_.size()); }
  // IndexError unless 0 <= i < size().
  std::span<const int32_t> operator[](int64_t i) const;

 private:
  std::vector<int32_t> ids_;
  std::vector<int64_t> ends_;
};

struct BucketOptions {
  int64_t batch_size = 32;
  int64_t max_tokens = 0;  // if not 0, a batch also ends before its rows times its longest row pass this
  int64_t width = 4;       // lengths that differ by less than this count as equal
  bool shuffle = true;     // within equal lengths, and the batches
  uint64_t seed = 0;
  int64_t pad = 0;  // the id that fills rows up
};

// Batches of examples of one sequence or more (commonly source and target), each batch of similar lengths. Which
// examples a batch holds and the order of batches are pure functions of (seed, epoch); without shuffle, batches come
// from short to long.
//
// A batch is, for each column, the ids [B, L] i64 with `pad` behind each row's end and the lengths [B] i64; then the
// indices [B] i64 of its examples.
class BucketLoader {
 public:
  // ValueError for no columns, columns of unequal size (naming both), or options that make no sense.
  explicit BucketLoader(std::vector<TokenSequences> columns, BucketOptions options = {});

  // Examples, and batches of the epoch it stands in (with max_tokens another epoch may cut a few more or fewer).
  int64_t size() const { return size_; }
  int64_t batches() const { return int64_t(starts_.size()) - 1; }
  // The next batch of this epoch; empty at its end, and the call after that begins the next epoch.
  std::optional<Example> next();
  // The epoch, and as position the batches of it that have been handed out.
  LoaderState state() const { return state_; }
  // ValueError unless the position is within the epoch's batches.
  void seek(LoaderState state);

 private:
  void plan(uint64_t epoch);
  Example make_batch(std::span<const int64_t> indices) const;
  int64_t longest(int64_t index) const;

  std::vector<TokenSequences> columns_;
  BucketOptions options_;
  int64_t size_ = 0;
  LoaderState state_;
  std::vector<int64_t> order_, starts_, batch_order_;  // of state_.epoch
};

}  // namespace tenrec
