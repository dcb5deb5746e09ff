// How kernels cut work into parts: by the shape alone, so that results do not depend on the number of threads.
// Internal.
#pragma once

#include <algorithm>
#include <cstdint>

namespace tenrec::kernels {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t n, int64_t multiple) { return ceil_div(n, multiple) * multiple; }

// Cuts n (at least 1) into ceil(n / most) parts of nearly the same length.
class Parts {
 public:
  Parts(int64_t n, int64_t most) : count_(ceil_div(n, most)), base_(n / count_), longer_(n % count_) {}
  int64_t count() const { return count_; }
  int64_t begin(int64_t i) const { return i * base_ + std::min(i, longer_); }
  int64_t end(int64_t i) const { return begin(i) + size(i); }
  int64_t size(int64_t i) const { return base_ + (i < longer_); }

 private:
  int64_t count_, base_, longer_;
};

// A sum over n things (at least 1) in parallel: fixed chunks of them with a partial sum of `size` elements each, which
// are added in order at the end. As many chunks as keep many threads busy, but no more memory than a few megabytes
// where one sum is not larger.
struct SumChunks {
  int64_t each, count;

  template <class T>
  static SumChunks of(int64_t n, int64_t size) {
    constexpr int64_t kMostChunks = 16, kMostBytes = 4 << 20;
    const int64_t most =
        std::clamp<int64_t>(kMostBytes / std::max<int64_t>(1, size * int64_t(sizeof(T))), 1, kMostChunks);
    const int64_t each = ceil_div(n, most);
    return {each, ceil_div(n, each)};
  }
  // Leaves the sum of the `count` arrays that lie one after the other in the first.
  template <class T>
  void add_up(T* sums, int64_t size) const {
    for (int64_t chunk = 1; chunk < count; ++chunk)
      for (int64_t i = 0; i < size; ++i) sums[i] += sums[chunk * size + i];
  }
};

}  // namespace tenrec::kernels
