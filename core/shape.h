// Shapes and strides: up to eight int64 numbers, stored inline.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "tenrec/core/error.h"

namespace tenrec {

inline constexpr int kMaxDims = 8;

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes) { assign(sizes.begin(), sizes.size()); }
  explicit Shape(std::span<const int64_t> sizes) { assign(sizes.data(), sizes.size()); }
  // `ndim` copies of one number.
  static Shape filled(int64_t ndim, int64_t value) {
    Shape s;
    for (int64_t i = 0; i < ndim; ++i) s.push_back(value);
    return s;
  }

  int64_t ndim() const { return ndim_; }
  bool empty() const { return ndim_ == 0; }
  int64_t operator[](int64_t i) const { return sizes_[i]; }
  int64_t& operator[](int64_t i) { return sizes_[i]; }
  int64_t back() const { return sizes_[ndim_ - 1]; }
  const int64_t* begin() const { return sizes_; }
  const int64_t* end() const { return sizes_ + ndim_; }
  int64_t* begin() { return sizes_; }
  int64_t* end() { return sizes_ + ndim_; }
  operator std::span<const int64_t>() const { return {sizes_, size_t(ndim_)}; }  // NOLINT(google-explicit-constructor)

  void push_back(int64_t value) {
    if (ndim_ == kMaxDims) too_many(size_t(ndim_) + 1);
    sizes_[ndim_++] = value;
  }
  void insert(int64_t at, int64_t value) {
    push_back(value);
    for (int64_t i = ndim_ - 1; i > at; --i) sizes_[i] = sizes_[i - 1];
    sizes_[at] = value;
  }
  void erase(int64_t at) {
    for (int64_t i = at; i + 1 < ndim_; ++i) sizes_[i] = sizes_[i + 1];
    --ndim_;
  }

  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.ndim_ != b.ndim_) return false;
    for (int64_t i = 0; i < a.ndim_; ++i)
      if (a.sizes_[i] != b.sizes_[i]) return false;
    return true;
  }

 private:
  void assign(const int64_t* data, size_t n) {
    if (n > size_t(kMaxDims)) too_many(n);
    for (size_t i = 0; i < n; ++i) sizes_[i] = data[i];
    ndim_ = int64_t(n);
  }
  [[noreturn]] static void too_many(size_t n);

  int64_t sizes_[kMaxDims];  // NOLINT: only the first ndim_ are ever read
  int64_t ndim_ = 0;
};

using Strides = Shape;  // in elements

// Product of the sizes. Throws ShapeError on a negative size or when the product passes 2^63 - 1.
int64_t checked_numel(const Shape& shape);
// Row-major strides of a contiguous tensor.
Strides contiguous_strides(const Shape& shape);
// The shape two operands broadcast to, by NumPy's rule; ShapeError names `op`.
Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b);
// A dimension in [-ndim, ndim) as one in [0, ndim); a 0-d tensor accepts 0 and -1. IndexError names `op`.
int64_t check_dim(const char* op, const Shape& shape, int64_t dim);
inline int64_t check_dim(const char* op, int64_t ndim, int64_t dim) {
  return check_dim(op, Shape::filled(ndim, 1), dim);
}

std::string to_string(const Shape& shape);  // "[2, 3]"
void append(std::string& out, const Shape& shape);

}  // namespace tenrec
