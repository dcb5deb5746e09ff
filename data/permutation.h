// Shuffled orders that are pure functions of (size, seed, epoch) and can be entered anywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tenrec {

// A random permutation of [0, n): element i costs a few nanoseconds, whichever i comes first, and needs no memory.
//
// It is a Feistel network over the smallest power of two that holds n, walked until it lands inside (Black and Rogaway,
// "Ciphers with arbitrary finite domains", CT-RSA 2002), with round keys from Philox. A network over a handful of
// elements cannot reach most of their permutations, so up to 1,024 elements are shuffled by Fisher and Yates instead.
class Permutation {
 public:
  Permutation() = default;
  // Throws ValueError if n is negative.
  Permutation(int64_t n, uint64_t seed, uint64_t epoch);
  int64_t size() const { return n_; }
  // The index that stands at place i. i must be in [0, size()).
  int64_t operator[](int64_t i) const {
    if (!table_.empty()) return table_[static_cast<size_t>(i)];
    do i = encrypt(i);
    while (i >= n_);
    return i;
  }

 private:
  static constexpr int kRounds = 10;
  int64_t encrypt(int64_t i) const;

  int64_t n_ = 0;
  int left_bits_ = 0, right_bits_ = 0;
  uint64_t keys_[kRounds] = {};
  std::vector<int16_t> table_;
};

}  // namespace tenrec
