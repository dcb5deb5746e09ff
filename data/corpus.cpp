#include "tenrec/data/corpus.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <numeric>
#include <utility>

#include "tenrec/core/bounded_reader.h"
#include "tenrec/core/error.h"
#include "tenrec/data/permutation.h"
#include "tenrec/data/utf8.h"

namespace tenrec {
namespace {

constexpr size_t kChunk = 64 * 1024;

Tensor new_ids(const Shape& shape) { return empty(shape, {.dtype = i64, .device = kCpu}); }

}  // namespace

struct LineReader::Impl {
  BoundedReader reader;
  int64_t max_line;
  std::string buffer;  // what is read and not yet handed out begins at `begin`, which is byte `offset` of the file
  size_t begin = 0;
  int64_t offset = 0, lines = 0;

  // Reads more. False at the end of the file.
  bool refill() {
    buffer.erase(0, begin);
    begin = 0;
    const size_t old_size = buffer.size();
    buffer.resize(old_size + kChunk);
    const int64_t got = reader.read_up_to(buffer.data() + old_size, int64_t(kChunk), "text");
    buffer.resize(old_size + size_t(got));
    return got > 0;
  }
};

LineReader::LineReader(const std::string& path, int64_t max_line)
    : impl_(new Impl{BoundedReader(path, std::numeric_limits<int64_t>::max()), max_line, {}}) {
  if (max_line < 1) fail<ValueError>("LineReader: max_line of ", max_line);
}
LineReader::~LineReader() = default;
LineReader::LineReader(LineReader&&) noexcept = default;
LineReader& LineReader::operator=(LineReader&&) noexcept = default;
int64_t LineReader::count() const { return impl_->lines; }

bool LineReader::next(std::string& line) {
  Impl& s = *impl_;
  const auto too_long = [&] {
    fail<IOError>(s.reader.path(), ": line ", s.lines + 1, " is longer than ", s.max_line, " bytes");
  };
  size_t searched = 0, end = 0;
  while ((end = s.buffer.find('\n', s.begin + searched)) == std::string::npos) {
    searched = s.buffer.size() - s.begin;
    if (int64_t(searched) > s.max_line) too_long();
    if (s.refill()) continue;
    if (searched == 0) return false;
    end = s.buffer.size();  // the last line need not end in a line feed
    break;
  }
  line.assign(s.buffer, s.begin, end - s.begin);
  if (int64_t(line.size()) > s.max_line) too_long();
  const int64_t bad = find_bad_utf8(line);
  if (bad >= 0) {
    char hex[8];
    std::snprintf(hex, sizeof hex, "0x%02X", unsigned(uint8_t(line[size_t(bad)])));
    fail<IOError>(s.reader.path(), ": not UTF-8 at byte ", s.offset + bad, " (", hex, ", in line ", s.lines + 1, ")");
  }
  const size_t taken = std::min(end + 1, s.buffer.size()) - s.begin;
  s.begin += taken;
  s.offset += int64_t(taken);
  ++s.lines;
  if (line.ends_with('\r')) line.pop_back();
  return true;
}

std::vector<std::string> read_lines(const std::string& path) {
  LineReader reader(path);
  std::vector<std::string> lines;
  for (std::string line; reader.next(line);) lines.push_back(line);
  return lines;
}

ParallelCorpus read_parallel(const std::string& source_path, const std::string& target_path) {
  ParallelCorpus corpus{read_lines(source_path), read_lines(target_path)};
  if (corpus.source.size() != corpus.target.size())
    fail<IOError>(source_path, ": has ", corpus.source.size(), " lines, but ", target_path, " has ",
                  corpus.target.size());
  return corpus;
}

void TokenSequences::add(std::span<const int64_t> ids) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] > std::numeric_limits<int32_t>::max())
      fail<IndexError>("TokenSequences: token ", ids[i], " at place ", i, " is out of range");
  }
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  ends_.push_back(int64_t(ids_.size()));
}

std::span<const int32_t> TokenSequences::operator[](int64_t i) const {
  if (i < 0 || i >= size()) fail<IndexError>("TokenSequences: sequence ", i, " of ", size());
  const int64_t begin = i == 0 ? 0 : ends_[size_t(i - 1)];
  return std::span(ids_).subspan(size_t(begin), size_t(ends_[size_t(i)] - begin));
}

BucketLoader::BucketLoader(std::vector<TokenSequences> columns, BucketOptions options)
    : columns_(std::move(columns)), options_(options) {
  if (columns_.empty()) fail<ValueError>("BucketLoader: no columns");
  size_ = columns_[0].size();
  for (const TokenSequences& column : columns_) {
    if (column.size() != size_)
      fail<ValueError>("BucketLoader: columns of ", size_, " and ", column.size(), " sequences");
  }
  if (options.batch_size < 1) fail<ValueError>("BucketLoader: a batch size of ", options.batch_size);
  if (options.max_tokens < 0) fail<ValueError>("BucketLoader: max_tokens of ", options.max_tokens);
  if (options.width < 1) fail<ValueError>("BucketLoader: a width of ", options.width);
  plan(0);
}

int64_t BucketLoader::longest(int64_t index) const {
  size_t most = 0;
  for (const TokenSequences& column : columns_) most = std::max(most, column[index].size());
  return int64_t(most);
}

// The examples in shuffled order, sorted by lengths in steps of `width`, cut into batches; and an order of the batches.
void BucketLoader::plan(uint64_t epoch) {
  order_.resize(size_t(size_));
  std::iota(order_.begin(), order_.end(), int64_t(0));
  if (options_.shuffle) {
    const Permutation shuffled(size_, options_.seed, epoch);
    for (int64_t i = 0; i < size_; ++i) order_[size_t(i)] = shuffled[i];
  }
  const auto bucket = [&](const TokenSequences& column, int64_t i) {
    return int64_t(column[i].size()) / options_.width;
  };
  std::stable_sort(order_.begin(), order_.end(), [&](int64_t a, int64_t b) {
    for (const TokenSequences& column : columns_) {
      const int64_t left = bucket(column, a), right = bucket(column, b);
      if (left != right) return left < right;
    }
    return false;
  });
  starts_ = {0};
  int64_t rows = 0, width = 0;
  for (int64_t i = 0; i < size_; ++i, ++rows) {
    const int64_t wider = std::max(width, longest(order_[size_t(i)]));
    const bool full = rows == options_.batch_size ||
                      (options_.max_tokens > 0 && rows > 0 && wider > options_.max_tokens / (rows + 1));
    if (full) starts_.push_back(i);
    width = full ? longest(order_[size_t(i)]) : wider;
    rows = full ? 0 : rows;
  }
  if (size_ > 0) starts_.push_back(size_);
  batch_order_.resize(size_t(batches()));
  std::iota(batch_order_.begin(), batch_order_.end(), int64_t(0));
  if (options_.shuffle) {
    const Permutation shuffled(batches(), ~options_.seed, epoch);
    for (int64_t i = 0; i < batches(); ++i) batch_order_[size_t(i)] = shuffled[i];
  }
  state_ = {epoch, 0};
}

Example BucketLoader::make_batch(std::span<const int64_t> indices) const {
  const auto rows = int64_t(indices.size());
  Example batch;
  for (const TokenSequences& column : columns_) {
    size_t width = 0;
    for (const int64_t i : indices) width = std::max(width, column[i].size());
    const Tensor ids = new_ids({rows, int64_t(width)}), lengths = new_ids({rows});
    auto* out = ids.data<int64_t>();
    for (int64_t row = 0; row < rows; ++row, out += width) {
      const std::span<const int32_t> from = column[indices[size_t(row)]];
      std::fill(std::copy(from.begin(), from.end(), out), out + width, options_.pad);
      lengths.data<int64_t>()[row] = int64_t(from.size());
    }
    batch.tensors.push_back(ids);
    batch.tensors.push_back(lengths);
  }
  const Tensor which = new_ids({rows});
  std::copy(indices.begin(), indices.end(), which.data<int64_t>());
  batch.tensors.push_back(which);
  return batch;
}

std::optional<Example> BucketLoader::next() {
  if (state_.position == batches()) {
    plan(state_.epoch + 1);
    return std::nullopt;
  }
  const auto which = size_t(batch_order_[size_t(state_.position++)]);
  const auto begin = size_t(starts_[which]);
  return make_batch(std::span<const int64_t>(order_).subspan(begin, size_t(starts_[which + 1]) - begin));
}

void BucketLoader::seek(LoaderState state) {
  const LoaderState before = state_;
  if (state.epoch != state_.epoch) plan(state.epoch);
  if (state.position < 0 || state.position > batches()) {
    const int64_t there = batches();
    if (state.epoch != before.epoch) plan(before.epoch);
    state_ = before;
    fail<ValueError>("BucketLoader: batch ", state.position, " of ", there, " in epoch ", int64_t(state.epoch));
  }
  state_.position = state.position;
}

}  // namespace tenrec
