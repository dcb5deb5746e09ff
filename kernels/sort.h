// Sorting and selecting along the last dimension of contiguous tensors, all dtypes.
//
// NaN is larger than everything, as in PyTorch, so it comes last in rising order and first in falling order; -0 equals
// +0. Equal elements keep their order, so there is one right answer for any number of threads.
#pragma once

#include "tenrec/core/dispatch.h"
#include "tenrec/core/view.h"

namespace tenrec::kernels {

// values[r, :] = the first values.size(-1) elements of row r of x in rising (or falling) order, indices[r, :] where
// they were (i64). Rows of x are `n` long.
void sort_rows(Cpu, const View& x, int64_t n, bool descending, const View& values, const View& indices);
void sort_rows(Cuda, const View& x, int64_t n, bool descending, const View& values, const View& indices);
// The element that stands at place k (from 0) of each row in rising order.
void kth_of_rows(Cpu, const View& x, int64_t n, int64_t k, const View& values, const View& indices);
void kth_of_rows(Cuda, const View& x, int64_t n, int64_t k, const View& values, const View& indices);

// Runs of equal elements of a vector, where NaN equals nothing: group[i] is the number of i's run. Returns how many.
int64_t number_runs(Cpu, const View& x, const View& group);
int64_t number_runs(Cuda, const View& x, const View& group);
// The first element and the length of each run.
void describe_runs(Cpu, const View& x, const View& group, const View& values, const View& counts);
void describe_runs(Cuda, const View& x, const View& group, const View& values, const View& counts);

}  // namespace tenrec::kernels
