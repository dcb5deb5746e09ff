// The inside of BpeTokenizer, shared by its encoder (bpe.cpp), its files (bpe_file.cpp) and its trainer
// (bpe_train.cpp).
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tenrec/data/bpe.h"
#include "tenrec/data/token_table_impl.h"

namespace tenrec {

namespace bpe {

using Id = int32_t;
inline constexpr int64_t kMaxTokens = int64_t(1) << 24;

// Two neighbours as one key. Keys are ordered as the pairs are.
inline uint64_t pair_key(Id left, Id right) { return uint64_t(uint32_t(left)) << 32 | uint32_t(right); }

struct KeyHash {
  size_t operator()(uint64_t key) const {
    key *= 0x9e3779b97f4a7c15ULL;  // multiply-shift: ids are small numbers and would share the low bits
    return size_t(key ^ key >> 32);
  }
};

// What joining a pair gives, and how early the pair was learnt.
struct Merge {
  int32_t rank;
  Id joined;
};

// GPT-2 writes bytes as printable characters: those that are printable in Latin-1 as they are, the others, in their
// order, from U+0100 on.
uint32_t byte_to_character(uint8_t byte);
// The bytes of a token that is written so. False if it holds a character that stands for no byte.
bool bytes_of_written(std::string_view written, std::string& bytes);
std::string written_from_bytes(std::string_view bytes);

// All that a tokenizer knows.
struct Model {
  TokenTable table;                       // tokens as bytes, special ones by name
  Id byte_ids[256];                       // -1 where a byte has no token
  std::vector<std::pair<Id, Id>> merges;  // by rank
  std::unordered_map<uint64_t, Merge, KeyHash> ranks;
  std::vector<std::pair<std::string, Id>> specials;  // longest names first

  // Adds a merge by the ids of its halves. The id of what they make, -1 if that is no token, -2 if the pair is known.
  int64_t add_merge(Id left, Id right);
  // Fills byte_ids and specials from the table.
  void finish();
  void encode_piece(std::string_view piece, std::vector<int64_t>& ids) const;
};

}  // namespace bpe

struct BpeTokenizer::Impl : bpe::Model {
  void encode_text(std::string_view text, std::vector<int64_t>& ids) const;

 private:
  // Pieces met before; most of a text is common words. One thread at a time uses it, others do without.
  static constexpr size_t kCached = 1 << 16, kCachedLength = 32;
  struct StringHash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
  };
  mutable std::mutex cache_mutex_;
  mutable std::unordered_map<std::string, std::vector<bpe::Id>, StringHash, std::equal_to<>> cache_;
};

}  // namespace tenrec
