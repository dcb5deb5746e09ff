// Reductions: y = f over some dimensions of x.
//
// y is contiguous and has x's rank, with size 1 in every dimension that is reduced. x may have any strides; nothing
// here depends on them: the order in which elements are combined follows from their number alone
// (kernels/reduce_tree.h). f32, bf16 and f16 accumulate in f32 and double, f64 in f64, integers and bool in i64; the
// result is rounded once to y's dtype.
#pragma once

#include "tenrec/core/dispatch.h"
#include "tenrec/core/view.h"

namespace tenrec::kernels {

// Over nothing: 0 for sums and counts, 1 for prod, NaN for mean, the identity for the rest.
enum class ReduceOp {
  sum,
  mean,    // floating y
  nansum,  // NaN counts as 0
  prod,
  amin,  // NaN if there is one
  amax,
  any,  // bool y
  all,  // bool y
  count_nonzero,
  sum_abs,  // floating x, here and below: sum |x|
  norm2,    // sqrt(sum x^2)
  max_abs,
  min_abs,
};
void reduce(Cpu, ReduceOp op, const View& x, const View& y);
void reduce(Cuda, ReduceOp op, const View& x, const View& y);

// Variance in two passes: y = sum (x - mean)^2 / max(0, n - correction), its root if `root`. `mean` is an output too:
// contiguous, as y; f64 for f64 x, else f32.
void variance(Cpu, const View& x, double correction, bool root, const View& mean, const View& y);
void variance(Cuda, const View& x, double correction, bool root, const View& mean, const View& y);

// The gradient of a product over the rows of x [rows, n]: dx_i = dy * product of the others. Contiguous.
void prod_grad(Cpu, const View& x, const View& dy, const View& dx);
void prod_grad(Cuda, const View& x, const View& dy, const View& dx);

// Below, `dim` is reduced: y has size 1 there (quantile: the number of ranks), i64 indices along it are contiguous.
//
// The place of the largest or smallest element: the first at a tie, the first NaN if there is one. `values` may be
// null.
void extreme_index(Cpu, bool largest, const View& x, int64_t dim, const View* values, const View& indices);
void extreme_index(Cuda, bool largest, const View& x, int64_t dim, const View* values, const View& indices);
// The place of the lower median, the first of equals, or the first NaN.
void median_index(Cpu, const View& x, int64_t dim, const View& indices);
void median_index(Cuda, const View& x, int64_t dim, const View& indices);
// The places of the elements of rank floor(q (n - 1)) and ceil(q (n - 1)), or of a NaN.
void quantile_indices(Cpu, const View& x, int64_t dim, const double* q, const View& lower, const View& upper);
void quantile_indices(Cuda, const View& x, int64_t dim, const double* q, const View& lower, const View& upper);

}  // namespace tenrec::kernels
