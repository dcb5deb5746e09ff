#include "tenrec/data/bpe.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <queue>

#include "tenrec/core/error.h"
#include "tenrec/data/bpe_impl.h"
#include "tenrec/data/gpt2_split.h"
#include "tenrec/data/utf8.h"

namespace tenrec {
namespace bpe {
namespace {

constexpr bool is_printable(int b) { return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE; }

constexpr std::array<uint16_t, 256> kCharacters = [] {
  std::array<uint16_t, 256> out{};
  uint16_t next = 0x100;
  for (int b = 0; b < 256; ++b) out[size_t(b)] = is_printable(b) ? uint16_t(b) : next++;
  return out;
}();

constexpr std::array<int16_t, 0x144> kBytes = [] {
  std::array<int16_t, 0x144> out{};
  out.fill(-1);
  for (int b = 0; b < 256; ++b) out[kCharacters[size_t(b)]] = int16_t(b);
  return out;
}();

// A symbol of the piece that is being joined; neighbours by index, -1 at the ends.
struct Symbol {
  Id id;
  int32_t before, after;
};

// A pair that could be joined, and what it was made of when it was found: if that has changed, it is void.
struct Candidate {
  int32_t rank, left;
  Id left_id, right_id;
  bool operator<(const Candidate& other) const {  // the lowest rank first, of equal ones the leftmost
    return rank != other.rank ? rank > other.rank : left > other.left;
  }
};

template <class Ranks>
void join_pairs(const Ranks& ranks, std::vector<Symbol>& symbols) {
  std::vector<Candidate> storage;
  storage.reserve(symbols.size() + 8);
  std::priority_queue<Candidate> queue({}, std::move(storage));
  const auto offer = [&](int32_t left) {
    if (left < 0 || symbols[size_t(left)].after < 0) return;
    const Id a = symbols[size_t(left)].id, b = symbols[size_t(symbols[size_t(left)].after)].id;
    const auto found = ranks.find(pair_key(a, b));
    if (found != ranks.end()) queue.push({found->second.rank, left, a, b});
  };
  for (size_t i = 0; i + 1 < symbols.size(); ++i) offer(int32_t(i));
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[size_t(best.left)];
    if (left.id != best.left_id || left.after < 0 || symbols[size_t(left.after)].id != best.right_id) continue;
    Symbol& right = symbols[size_t(left.after)];
    left.id = ranks.find(pair_key(best.left_id, best.right_id))->second.joined;
    left.after = right.after;
    right.id = -1;
    if (left.after >= 0) symbols[size_t(left.after)].before = best.left;
    offer(left.before);
    offer(best.left);
  }
}

}  // namespace

uint32_t byte_to_character(uint8_t byte) { return kCharacters[byte]; }

bool bytes_of_written(std::string_view written, std::string& bytes) {
  bytes.clear();
  for (size_t i = 0; i < written.size();) {
    const uint32_t c = next_code_point(written, i);
    if (c >= kBytes.size() || kBytes[c] < 0) return false;
    bytes += char(kBytes[c]);
  }
  return true;
}

std::string written_from_bytes(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) append_utf8(out, byte_to_character(uint8_t(c)));
  return out;
}

void Model::finish() {
  for (int b = 0; b < 256; ++b) {
    const char byte = char(b);
    const int64_t id = table.find({&byte, 1});
    byte_ids[b] = id >= 0 && !table.is_special(id) ? Id(id) : -1;
  }
  for (int64_t id = 0; id < table.size(); ++id)
    if (table.is_special(id)) specials.emplace_back(table.token(id), Id(id));
  std::stable_sort(specials.begin(), specials.end(),
                   [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
}

int64_t Model::add_merge(Id left, Id right) {
  const int64_t joined = table.find(table.token(left) + table.token(right));
  if (joined < 0 || table.is_special(joined)) return -1;
  const Merge merge{int32_t(merges.size()), Id(joined)};
  if (!ranks.emplace(pair_key(left, right), merge).second) return -2;
  merges.emplace_back(left, right);
  return joined;
}

void Model::encode_piece(std::string_view piece, std::vector<int64_t>& ids) const {
  std::vector<Symbol> symbols(piece.size());
  const auto n = int32_t(piece.size());
  for (int32_t i = 0; i < n; ++i) {
    const auto byte = uint8_t(piece[size_t(i)]);
    if (byte_ids[byte] < 0) {
      char hex[8];
      std::snprintf(hex, sizeof hex, "0x%02X", unsigned(byte));
      fail<ValueError>("encode: the vocabulary has no token for byte ", hex);
    }
    symbols[size_t(i)] = {byte_ids[byte], i - 1, i + 1 < n ? i + 1 : -1};
  }
  join_pairs(ranks, symbols);
  for (int32_t i = 0; i >= 0; i = symbols[size_t(i)].after) ids.push_back(symbols[size_t(i)].id);
}

}  // namespace bpe

void BpeTokenizer::Impl::encode_text(std::string_view text, std::vector<int64_t>& ids) const {
  const std::unique_lock lock(cache_mutex_, std::try_to_lock);
  for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
    end = gpt2_piece_end(text, begin);
    const std::string_view piece = text.substr(begin, end - begin);
    if (piece.size() > size_t(1) << 30) fail<ValueError>("encode: a piece of ", piece.size(), " bytes");
    if (!lock || piece.size() > kCachedLength) {
      encode_piece(piece, ids);
      continue;
    }
    auto found = cache_.find(piece);
    if (found == cache_.end()) {
      if (cache_.size() >= kCached) cache_.clear();
      std::vector<int64_t> made;
      encode_piece(piece, made);
      found = cache_.emplace(std::string(piece), std::vector<bpe::Id>(made.begin(), made.end())).first;
    }
    ids.insert(ids.end(), found->second.begin(), found->second.end());
  }
}

BpeTokenizer::BpeTokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

int64_t BpeTokenizer::size() const { return impl_->table.size(); }
std::string_view BpeTokenizer::token(int64_t id) const { return impl_->table.token(id); }
int64_t BpeTokenizer::find(std::string_view token) const { return impl_->table.find(token); }
bool BpeTokenizer::is_special(int64_t id) const { return impl_->table.is_special(id); }

std::vector<std::pair<int64_t, int64_t>> BpeTokenizer::merges() const {
  return {impl_->merges.begin(), impl_->merges.end()};
}

void BpeTokenizer::encode_to(std::string_view text, std::vector<int64_t>& ids) const {
  check_utf8(text, "encode");
  impl_->encode_text(text, ids);
}

std::vector<int64_t> BpeTokenizer::encode_with_specials(std::string_view text) const {
  check_utf8(text, "encode");
  std::vector<int64_t> ids;
  size_t done = 0;
  for (size_t i = 0; i < text.size();) {
    const auto starts = [&](const auto& special) { return text.substr(i).starts_with(special.first); };
    const auto found = std::find_if(impl_->specials.begin(), impl_->specials.end(), starts);
    if (found == impl_->specials.end()) {
      ++i;
      continue;
    }
    impl_->encode_text(text.substr(done, i - done), ids);
    ids.push_back(found->second);
    done = i += found->first.size();
  }
  impl_->encode_text(text.substr(done), ids);
  return ids;
}

}  // namespace tenrec
