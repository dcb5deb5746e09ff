// Reductions. `dim` absent means all dimensions; `keepdim` leaves sizes of 1 behind.
//
// Dimensions count from the end when negative; IndexError when out of range, ValueError when named twice. Sums are
// pairwise (kernels/reduce_tree.h): their error grows with log2 of the number of elements, and their bits depend on
// neither the layout nor the number of threads. f32, bf16 and f16 accumulate in f32 and double, integers and bool in
// i64. Every gradient can be differentiated again.
#pragma once

#include <initializer_list>
#include <vector>

#include "tenrec/core/tensor.h"

namespace tenrec {

// Which dimensions a reduction goes over: none given means all.
struct Dims {
  Dims() = default;
  template <class T>
  requires std::is_integral_v<T> Dims(T dim) : dims{int64_t(dim)}, all(false) {}  // NOLINT(google-explicit-constructor)
  Dims(std::initializer_list<int64_t> list) : dims(list), all(false) {}           // NOLINT(google-explicit-constructor)
  explicit Dims(const Shape& list) : dims(list), all(false) {}
  Shape dims;
  bool all = true;
};

struct ReduceOptions {
  Dims dim = {};
  bool keepdim = false;
};

// Integers and bool sum to i64. 0 over nothing.
Tensor sum(const Tensor& x, const ReduceOptions& options = {});
// Floating dtypes, else DTypeError, here and wherever a result is not an integer. NaN over nothing.
Tensor mean(const Tensor& x, const ReduceOptions& options = {});
// The sum with every NaN as 0.
Tensor nansum(const Tensor& x, const ReduceOptions& options = {});
// Integers and bool give i64. The gradient is right where elements are 0. 1 over nothing.
Tensor prod(const Tensor& x, const ReduceOptions& options = {});
// x summed over the dimensions along which `shape` broadcasts to x's shape: the transpose of expand. Keeps the dtype.
Tensor sum_to(const Tensor& x, const Shape& shape);

struct VarOptions {
  Dims dim = {};
  double correction = 1;  // the sum of squares is divided by n - correction, or by 0 if that is less
  bool keepdim = false;
};
// Variance and its root, in two passes. The gradient of std is 0 where it is 0, as in PyTorch.
Tensor var(const Tensor& x, const VarOptions& options = {});
Tensor std(const Tensor& x, const VarOptions& options = {});

// (sum |x|^p)^(1/p); p = infinity and -infinity give the largest and smallest |x|, p = 0 the number of elements that
// are not 0. The gradient is 0 where it does not exist.
Tensor norm(const Tensor& x, double p = 2, const ReduceOptions& options = {});
// log(sum(e^x)), stable. -inf over nothing and where all elements are -inf; the gradient is 0 there.
Tensor logsumexp(const Tensor& x, const ReduceOptions& options = {});

// Smallest and largest element; NaN if there is one. Ties share the gradient evenly. ShapeError over nothing.
Tensor amin(const Tensor& x, const ReduceOptions& options = {});
Tensor amax(const Tensor& x, const ReduceOptions& options = {});
// Of all elements.
Tensor min(const Tensor& x);
Tensor max(const Tensor& x);

struct ValuesAndIndices {
  Tensor values, indices;  // indices: i64, along the dimension
};
// Along one dimension, with the place: the first one at a tie, the first NaN if there is one. The gradient goes to that
// place. ShapeError over nothing.
ValuesAndIndices min(const Tensor& x, int64_t dim, bool keepdim = false);
ValuesAndIndices max(const Tensor& x, int64_t dim, bool keepdim = false);
// The place alone, i64; without a dimension, counted in row-major order. ValueError for more than one dimension.
Tensor argmin(const Tensor& x, const ReduceOptions& options = {});
Tensor argmax(const Tensor& x, const ReduceOptions& options = {});

// The lower of the two middle elements, NaN if there is one; the second form with its place, the first of equals. Of
// all elements, equals share the gradient. ShapeError over nothing.
Tensor median(const Tensor& x);
ValuesAndIndices median(const Tensor& x, int64_t dim, bool keepdim = false);
// Linear interpolation at q (n - 1) among the sorted elements; NaN if one is. With several q,
// the result has a leading dimension for them. ValueError unless 0 <= q <= 1 or for more than one dimension, ShapeError
// over nothing.
Tensor quantile(const Tensor& x, double q, const ReduceOptions& options = {});
Tensor quantile(const Tensor& x, const std::vector<double>& q, const ReduceOptions& options = {});

// Bool: whether any or all elements are not 0; NaN is not 0. False and true over nothing.
Tensor any(const Tensor& x, const ReduceOptions& options = {});
Tensor all(const Tensor& x, const ReduceOptions& options = {});
// i64.
Tensor count_nonzero(const Tensor& x, const ReduceOptions& options = {});

}  // namespace tenrec
