// What the tokenizers have in common inside: tokens by id and ids by token.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tenrec/core/error.h"

namespace tenrec {

class TokenTable {
 public:
  TokenTable() = default;
  TokenTable(const TokenTable&) = delete;
  TokenTable& operator=(const TokenTable&) = delete;

  // Takes over the tokens of ids 0, 1, ... The place of the second of two equal ones, -1 if all differ.
  int64_t assign(std::vector<std::string> tokens) {
    tokens_ = std::move(tokens);
    special_.assign(tokens_.size(), 0);
    ids_.clear();
    ids_.reserve(tokens_.size());
    for (size_t id = 0; id < tokens_.size(); ++id) {
      if (!ids_.emplace(tokens_[id], int64_t(id)).second) return int64_t(id);
    }
    return -1;
  }
  void mark_special(int64_t id) { special_[size_t(id)] = 1; }

  int64_t size() const { return int64_t(tokens_.size()); }
  int64_t find(std::string_view token) const {
    const auto found = ids_.find(token);
    return found == ids_.end() ? -1 : found->second;
  }
  const std::string& token(int64_t id) const {
    check(id);
    return tokens_[size_t(id)];
  }
  bool is_special(int64_t id) const {
    check(id);
    return special_[size_t(id)] != 0;
  }
  const std::vector<std::string>& tokens() const { return tokens_; }

 private:
  void check(int64_t id) const {
    if (id < 0 || id >= size()) fail<IndexError>("token ", id, " of a vocabulary of ", size());
  }

  std::vector<std::string> tokens_;
  std::vector<uint8_t> special_;
  std::unordered_map<std::string_view, int64_t> ids_;  // views into tokens_
};

}  // namespace tenrec
