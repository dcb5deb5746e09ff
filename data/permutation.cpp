#include "tenrec/data/permutation.h"

#include <bit>
#include <numeric>
#include <utility>

#include "tenrec/core/error.h"
#include "tenrec/core/philox.h"

namespace tenrec {
namespace {

constexpr int64_t kTable = 1024;
constexpr uint64_t kDomain = 0x6f72646572ULL;  // "order": keeps these draws apart from others of the same seed

// The multiply-shift finalizer of MurmurHash3.
uint64_t mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}

}  // namespace

Permutation::Permutation(int64_t n, uint64_t seed, uint64_t epoch) : n_(n) {
  if (n < 0) fail<ValueError>("Permutation: a size of ", n);
  const Philox philox(seed ^ kDomain);
  if (n <= kTable) {
    table_.resize(size_t(n));
    std::iota(table_.begin(), table_.end(), int16_t(0));
    for (int64_t i = n - 1; i > 0; --i) {
      const uint32_t word = philox(epoch, uint64_t(i)).word[0];
      const auto j = int64_t((uint64_t(word) * uint64_t(i + 1)) >> 32);
      std::swap(table_[size_t(i)], table_[size_t(j)]);
    }
    return;
  }
  const int bits = int(std::bit_width(uint64_t(n - 1)));
  left_bits_ = bits / 2;
  right_bits_ = bits - left_bits_;
  for (int round = 0; round < kRounds; ++round) {
    const PhiloxBlock draw = philox(epoch, uint64_t(round));
    keys_[round] = uint64_t(draw.word[0]) << 32 | draw.word[1];
  }
}

int64_t Permutation::encrypt(int64_t i) const {
  const uint64_t left_mask = (uint64_t(1) << left_bits_) - 1, right_mask = (uint64_t(1) << right_bits_) - 1;
  uint64_t left = uint64_t(i) >> right_bits_, right = uint64_t(i) & right_mask;
  for (int round = 0; round < kRounds; round += 2) {
    left ^= mix(right + keys_[round]) & left_mask;
    right ^= mix(left + keys_[round + 1]) & right_mask;
  }
  return int64_t(left << right_bits_ | right);
}

}  // namespace tenrec
