// The iteration space of several strided operands: dimensions merged where all of them allow it, and walks over its
// innermost rows. Internal to the elementwise engine and the copies.
#pragma once

#include <algorithm>

#include "tenrec/core/view.h"
#include "tenrec/kernels/elementwise.h"

namespace tenrec::kernels::detail {

inline constexpr int64_t kGrain = 16384;  // elements of a parallel chunk

// At least one dimension; sizes of 1 are gone but for that.
struct Space {
  Shape shape;
  Strides strides[kMaxInputs + 1];
  size_t operands = 0;
};

// The strides of x seen at `shape`, which x broadcasts to: 0 where it repeats.
inline Strides expand_strides(const View& x, const Shape& shape) {
  Strides out = Shape::filled(shape.ndim(), 0);
  const int64_t offset = shape.ndim() - x.ndim();
  for (int64_t d = 0; d < x.ndim(); ++d)
    if (x.size(d) != 1) out[d + offset] = x.stride(d);
  return out;
}

inline Space merge(const Shape& shape, const Strides* strides, size_t operands) {
  Space s;
  s.operands = operands;
  for (int64_t d = 0; d < shape.ndim(); ++d) {
    if (shape[d] == 1) continue;
    const int64_t last = s.shape.ndim() - 1;
    bool merges = last >= 0;
    for (size_t k = 0; k < operands && merges; ++k) merges = s.strides[k][last] == strides[k][d] * shape[d];
    if (merges) {
      s.shape[last] *= shape[d];
    } else {
      s.shape.push_back(shape[d]);
      for (size_t k = 0; k < operands; ++k) s.strides[k].push_back(0);
    }
    for (size_t k = 0; k < operands; ++k) s.strides[k][s.shape.ndim() - 1] = strides[k][d];
  }
  if (s.shape.ndim() == 0) {
    s.shape.push_back(1);
    for (size_t k = 0; k < operands; ++k) s.strides[k].push_back(1);
  }
  return s;
}

// True if operand k lies in memory in the order of the walk, without gaps.
inline bool is_linear(const Space& s, size_t k) {
  int64_t step = 1;
  for (int64_t d = s.shape.ndim() - 1; d >= 0; step *= s.shape[d--])
    if (s.strides[k][d] != step) return false;
  return true;
}
// After how many elements operand k repeats: 1 for a single value, everything if it never does.
inline int64_t period(const Space& s, size_t k) {
  int64_t first = 0, n = 1;
  while (first < s.shape.ndim() && s.strides[k][first] == 0) ++first;
  for (int64_t d = first; d < s.shape.ndim(); ++d) n *= s.shape[d];
  return n;
}

// Where a linear index stands in a shape.
struct Position {
  Shape index;
  Position(const Shape& shape, int64_t at) : index(shape) {
    for (int64_t d = shape.ndim() - 1; d >= 0; --d) {
      index[d] = at % shape[d];
      at /= shape[d];
    }
  }
  int64_t offset(const Strides& strides) const {
    int64_t sum = 0;
    for (int64_t d = 0; d < index.ndim(); ++d) sum += index[d] * strides[d];
    return sum;
  }
};

// Elements [begin, begin + n) of operands first..last, row by row of the innermost dimension: f(offsets, length).
template <size_t kOperands, class F>
void walk(const Space& s, size_t first, int64_t begin, int64_t n, F&& f) {
  const int64_t inner = s.shape.ndim() - 1;
  Position at(s.shape, begin);
  const size_t count = kOperands ? kOperands : s.operands;
  int64_t offset[kMaxInputs + 1];
  for (size_t k = 0; k < count; ++k) offset[k] = at.offset(s.strides[first + k]);
  for (int64_t done = 0; done < n;) {
    const int64_t length = std::min(s.shape[inner] - at.index[inner], n - done);
    f(offset, length);
    done += length;
    at.index[inner] += length;
    for (size_t k = 0; k < count; ++k) offset[k] += length * s.strides[first + k][inner];
    for (int64_t d = inner; d > 0 && at.index[d] == s.shape[d]; --d) {
      at.index[d] = 0;
      ++at.index[d - 1];
      for (size_t k = 0; k < count; ++k) {
        const Strides& strides = s.strides[first + k];
        offset[k] += strides[d - 1] - s.shape[d] * strides[d];
      }
    }
  }
}

// All operands together: f(offsets, length).
template <class F>
void walk_rows(const Space& s, int64_t begin, int64_t n, F&& f) {
  walk<0>(s, 0, begin, n, f);
}
// One operand: f(offset, stride, length).
template <class F>
void walk_rows(const Space& s, size_t operand, int64_t begin, int64_t n, F&& f) {
  const int64_t stride = s.strides[operand].back();
  walk<1>(s, operand, begin, n, [&](const int64_t* offset, int64_t length) { f(offset[0], stride, length); });
}

}  // namespace tenrec::kernels::detail
