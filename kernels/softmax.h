// Softmax and what is made of it, over the middle dimension of tensors seen as [outer, n, inner].
//
// All tensors are contiguous; f32, bf16 and f16 are computed in f32 and rounded once. A row is read once for its
// maximum and once for the exponentials, which are summed by the tree of reduce_tree.h; rows of other layouts go
// through a buffer, so the layout does not show in the bits. A row of -inf alone, and one with NaN or +inf, gives NaN.
#pragma once

#include "tenrec/core/dispatch.h"
#include "tenrec/core/view.h"

namespace tenrec::kernels {

// y = e^(x - m) / sum, or x - m - log(sum) if `log`; the sum over dimension `dim`.
void softmax(Cpu, const View& x, const View& y, int64_t dim, bool log);
void softmax(Cuda, const View& x, const View& y, int64_t dim, bool log);
// dx = y (dy - sum(dy y)), or dy - e^y sum(dy) if `log`.
void softmax_grad(Cpu, const View& y, const View& dy, const View& dx, int64_t dim, bool log);
void softmax_grad(Cuda, const View& y, const View& dy, const View& dx, int64_t dim, bool log);

// x [rows, n] -> y [rows]: log(sum(e^x)); -inf over nothing and of a row of -inf.
void logsumexp(Cpu, const View& x, const View& y);
void logsumexp(Cuda, const View& x, const View& y);

// Cross-entropy with class indices. Accumulators are f64 for f64 logits, else f32; weight has their type.
struct CrossEntropy {
  int64_t dim;                   // of the classes
  bool from_logits = true;       // false: x holds log-probabilities
  const int64_t* targets;        // one per row; on a device, what is no class is ignored too
  const void* weight = nullptr;  // one per class
  int64_t ignore_index = -100;
  double smoothing = 0;
  const void* total = nullptr;  // of the accumulator's type: what gradients are divided by
};
// Per row: its loss, the weight of its class (0 if ignored), and in stats [rows, 2] the maximum and the sum of
// e^(x - maximum), in one pass.
void cross_entropy(Cpu, const CrossEntropy& c, const View& x, const View& losses, const View& weights,
                   const View& stats);
void cross_entropy(Cuda, const CrossEntropy& c, const View& x, const View& losses, const View& weights,
                   const View& stats);
// dx = scale * (softmax(x) - target), weighted and smoothed; scale (the accumulator's type) has one element or one per
// row.
void cross_entropy_grad(Cpu, const CrossEntropy& c, const View& x, const View& stats, const View& scale,
                        const View& dx);
void cross_entropy_grad(Cuda, const CrossEntropy& c, const View& x, const View& stats, const View& scale,
                        const View& dx);

}  // namespace tenrec::kernels
