// Reductions: y = f over some dimensions of x.
//
// y is contiguous and has x's rank, with size 1 in every dimension that is reduced. x may have any strides; nothing here
// depends on them: the order in which elements are combined follows from their number alone (kernels/reduce_tree.h).
// f32, bf16 and f16 accumulate in f32 and double, f64 in f64, integers and bool in i64; the result is rounded once to
// y's dtype.
#pragma once

#include "tenrec/core/dispatch.h"
#include "tenrec/core/view.h"

namespace tenrec::kernels {

// Over nothing: 0 for sums and counts, 1 for prod, NaN for mean, the identity for the rest.
enum class ReduceOp {
  sum,
  mean,      // floating y
  nansum,    // NaN counts as 0
  prod,
  amin,      // NaN if there is one
  amax,
  any,       // bool y
  all,       // bool y
  count_nonzero,
  sum_abs,   // floating x, here and below: sum |x|
  norm2,     // sqrt(sum x^2)
  max_abs,
  min_abs,
};
void reduce(Cpu, ReduceOp op, const View& x, const View& y);

// Variance in two passes: y = sum (x - mean)^2 / max(0, n - correction), its root if `root`. `mean` is an output too:
// contiguous, as y; f64 for f64 x, else f32.
void variance(Cpu, const View& x, double correction, bool root, const View& mean, const View& y);

}  // namespace tenrec::kernels
