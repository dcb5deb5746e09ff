// Losses of a prediction a and a target b, element by element, summed in the same pass over memory.
//
// a, b and the gradient have one shape and are contiguous; f32, bf16 and f16 are computed in f32 and rounded once. Sums
// follow the tree of reduce_tree.h.
#pragma once

#include "tenrec/core/dispatch.h"
#include "tenrec/core/view.h"

namespace tenrec::kernels {

enum class PairLoss {
  squared,     // (a - b)^2
  absolute,    // |a - b|
  smooth_l1,   // (a - b)^2 / (2 beta) up to |a - b| = beta, then |a - b| - beta / 2
  huber,       // (a - b)^2 / 2 up to delta, then delta (|a - b| - delta / 2)
  bce,         // -(b log a + (1 - b) log(1 - a)), logarithms not below -100
  bce_logits,  // the same of sigmoid(a), stable
  kl,          // b (log b - a), 0 where b = 0
  kl_log,      // e^b (b - a)
};

// y (0-d) = scale * sum of the losses. `parameter`: beta or delta.
void loss_sum(Cpu, PairLoss loss, double parameter, const View& a, const View& b, double scale, const View& y);
void loss_sum(Cuda, PairLoss loss, double parameter, const View& a, const View& b, double scale, const View& y);
// y = the losses.
void loss_each(Cpu, PairLoss loss, double parameter, const View& a, const View& b, const View& y);
void loss_each(Cuda, PairLoss loss, double parameter, const View& a, const View& b, const View& y);
// da = scale * dy * the derivative by a; dy has one element or as many as a.
void loss_grad(Cpu, PairLoss loss, double parameter, const View& a, const View& b, const View& dy, double scale,
               const View& da);
void loss_grad(Cuda, PairLoss loss, double parameter, const View& a, const View& b, const View& dy, double scale,
               const View& da);

}  // namespace tenrec::kernels
