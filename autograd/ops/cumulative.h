// Running sums, products and extremes along one dimension. Results have x's shape. IndexError for a bad dimension.
#pragma once

#include "tenrec/autograd/ops/reduce.h"
#include "tenrec/core/tensor.h"

namespace tenrec {

// x_0 + .. + x_i, or x_i + .. + x_n-1 if `reverse`. Integers and bool give i64; floating dtypes are summed in double
// and rounded once.
Tensor cumsum(const Tensor& x, int64_t dim, bool reverse = false);
// The same for products. The gradient is right where elements are 0.
Tensor cumprod(const Tensor& x, int64_t dim);
// log(e^x_0 + .. + e^x_i), stable. Floating dtypes, else DTypeError.
Tensor logcumsumexp(const Tensor& x, int64_t dim);
// The largest and smallest so far, with the place (i64) of the last one that reached it; once NaN, always NaN. The
// gradient goes to that place.
ValuesAndIndices cummax(const Tensor& x, int64_t dim);
ValuesAndIndices cummin(const Tensor& x, int64_t dim);

}  // namespace tenrec
