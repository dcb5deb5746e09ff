// What kernels share that move elements and do not look at them: the widest piece that may be moved at once, and
// division of indices.
#pragma once

#include "tenrec/kernels/cuda/launch.h"

namespace tenrec::cuda {

// a / b for 0 <= a, 0 < b; `rest` is what is left. Most indices fit 32 bits, whose division is much quicker.
__device__ inline int64_t divide(int64_t a, int64_t b, int64_t& rest) {
  if ((uint64_t(a) | uint64_t(b)) >> 32) {
    const int64_t quotient = a / b;
    rest = a - quotient * b;
    return quotient;
  }
  const uint32_t quotient = uint32_t(a) / uint32_t(b);
  rest = int64_t(uint32_t(a) - quotient * uint32_t(b));
  return int64_t(quotient);
}

// Collects what must be a multiple of a unit: addresses, sizes and strides in bytes.
class Units {
 public:
  explicit Units(DType dtype) : width_(size_of(dtype)) {}
  Units& address(const void* p) { return bytes(int64_t(reinterpret_cast<uintptr_t>(p))); }
  Units& elements(int64_t n) { return bytes(n * width_); }
  Units& bytes(int64_t n) {
    all_ |= uint64_t(n);
    return *this;
  }

  // Calls f with a zero of the widest type, up to 16 bytes, that divides all of them.
  template <class F>
  void visit(F&& f) const {
    if (all_ % 16 == 0)
      f(Pack16<uint64_t>{});
    else if (all_ % 8 == 0)
      f(uint64_t{});
    else if (all_ % 4 == 0)
      f(uint32_t{});
    else if (all_ % 2 == 0)
      f(uint16_t{});
    else
      f(uint8_t{});
  }
  // A number of elements as one of T.
  template <class T>
  int64_t in(int64_t elements) const {
    return elements * width_ / int64_t(sizeof(T));
  }

 private:
  int64_t width_;
  uint64_t all_ = 0;
};

}  // namespace tenrec::cuda
