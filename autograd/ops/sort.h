// Order: sorting, selecting the largest, distinct values, lookup in sorted sequences.
//
// Sorting is stable. NaN is larger than everything, so it comes last in rising order and first in falling order. The
// values are differentiable, the indices (i64) are not.
#pragma once

#include "tenrec/core/tensor.h"

namespace tenrec {

struct Sorted {
  Tensor values, indices;
};

Sorted sort(const Tensor& x, int64_t dim = -1, bool descending = false);
// sort's indices.
Tensor argsort(const Tensor& x, int64_t dim = -1, bool descending = false);
// sort's values along the first dimension.
Tensor msort(const Tensor& x);
// The k largest (or smallest) of a dimension, best first; of equal elements those that come first. IndexError for a k
// that the dimension does not hold.
Sorted topk(const Tensor& x, int64_t k, int64_t dim = -1, bool largest = true);
// The k-th smallest of a dimension, k from 1.
Sorted kthvalue(const Tensor& x, int64_t k, int64_t dim = -1, bool keepdim = false);

struct Unique {
  Tensor values;   // a vector
  Tensor inverse;  // of x's shape: values[inverse] is x
  Tensor counts;   // how often each value appears
};
// The distinct elements of x in rising order. NaN equals nothing. No derivative.
Unique unique(const Tensor& x);
// Runs of equal elements of the flattened x as one.
Unique unique_consecutive(const Tensor& x);

// Where each value would be inserted into the ascending last dimension of `sorted`, as i64: before equal elements, or
// behind them (`right`). `sorted` is a vector, or has the shape of `values` but for the last size. One dtype.
Tensor searchsorted(const Tensor& sorted, const Tensor& values, bool right = false);
// The same for one vector of boundaries, in the order of arguments that torch.bucketize has.
Tensor bucketize(const Tensor& x, const Tensor& boundaries, bool right = false);

}  // namespace tenrec
