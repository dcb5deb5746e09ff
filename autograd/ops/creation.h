// Making tensors.
#pragma once

#include <initializer_list>
#include <vector>

#include "tenrec/core/tensor.h"

namespace tenrec {

// A braced list of numbers, nested: tensor({{1., 2.}, {3., 4.}}).
class NestedList {
 public:
  template <class T>
  requires std::is_arithmetic_v<T> NestedList(T value)
      : values_{double(value)} {}                      // NOLINT(google-explicit-constructor)
  NestedList(std::initializer_list<NestedList> rows);  // NOLINT(google-explicit-constructor)
  const Shape& shape() const { return shape_; }
  const std::vector<double>& values() const { return values_; }

 private:
  Shape shape_;
  std::vector<double> values_;
};

Tensor zeros(const Shape& shape, const TensorOptions& options = {});
Tensor ones(const Shape& shape, const TensorOptions& options = {});
// ValueError where an integer dtype has no such value (infinity, or 300 in u8); fractions are cut off.
Tensor full(const Shape& shape, Scalar value, const TensorOptions& options = {});
// f32 unless told. ShapeError for ragged rows.
Tensor tensor(std::initializer_list<NestedList> rows, const TensorOptions& options = {});
Tensor scalar(Scalar value, const TensorOptions& options = {});  // 0-d
// start, start + step, ... up to but without end. ValueError for a step of 0 or of the wrong sign.
Tensor arange(Scalar start, Scalar end, Scalar step, const TensorOptions& options = {});
Tensor arange(Scalar start, Scalar end, const TensorOptions& options = {});
Tensor arange(Scalar end, const TensorOptions& options = {});
// `steps` numbers from start to end, both included.
Tensor linspace(double start, double end, int64_t steps, const TensorOptions& options = {});
Tensor eye(int64_t n, const TensorOptions& options = {});
Tensor eye(int64_t rows, int64_t cols, const TensorOptions& options = {});

Tensor zeros_like(const Tensor& x);
Tensor ones_like(const Tensor& x);
Tensor full_like(const Tensor& x, Scalar value);

namespace detail {
// The number as an integer or bool dtype holds it, else ValueError; 0 for floating dtypes.
int64_t integer_of(const char* op, Scalar value, DType dtype);
}  // namespace detail

}  // namespace tenrec
