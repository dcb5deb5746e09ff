// Loss functions, with PyTorch's names, argument order and defaults.
//
// `reduction` says what becomes of the losses of the single elements or rows: none keeps them, sum adds them, mean
// divides by their number (cross_entropy and nll_loss: by the sum of the weights of their classes). Floating dtypes,
// else DTypeError. Operands of one shape and dtype are computed, summed and differentiated in one pass each; all losses
// can be differentiated to any order, by the target too where that is not an index.
#pragma once

#include <cstdint>

#include "tenrec/core/tensor.h"

namespace tenrec {

enum class Reduction { none, mean, sum };

// (input - target)^2; shapes broadcast, here and in the next three.
Tensor mse_loss(const Tensor& input, const Tensor& target, Reduction reduction = Reduction::mean);
// |input - target|; the derivative is 0 where they are equal.
Tensor l1_loss(const Tensor& input, const Tensor& target, Reduction reduction = Reduction::mean);
// With d = |input - target|: d^2 / (2 beta) below beta, d - beta / 2 above. R. Girshick, "Fast R-CNN" (2015).
// ValueError for a negative beta; 0 is l1_loss.
Tensor smooth_l1_loss(const Tensor& input, const Tensor& target, Reduction reduction = Reduction::mean,
                      double beta = 1);
// d^2 / 2 up to delta, delta (d - delta / 2) above. ValueError unless delta > 0.
Tensor huber_loss(const Tensor& input, const Tensor& target, Reduction reduction = Reduction::mean, double delta = 1);

struct BceOptions {
  Tensor weight = {};  // broadcasts to the losses
  Reduction reduction = Reduction::mean;
};
// -(target log(input) + (1 - target) log(1 - input)) of probabilities; logarithms are not taken below -100. ShapeError
// unless both have one shape, here and in the next. Probabilities outside [0, 1] give NaN.
Tensor binary_cross_entropy(const Tensor& input, const Tensor& target, const BceOptions& options = {});

struct BceWithLogitsOptions {
  Tensor weight = {};      // broadcasts to the losses
  Tensor pos_weight = {};  // multiplies the term of target = 1; broadcasts to the target
  Reduction reduction = Reduction::mean;
};
// The same of sigmoid(input), stable.
Tensor binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target,
                                        const BceWithLogitsOptions& options = {});

struct KlDivOptions {
  Reduction reduction = Reduction::mean;
  bool log_target = false;  // target holds log-probabilities
};
// target (log(target) - input), where input holds log-probabilities; 0 where the target is. Shapes broadcast.
Tensor kl_div(const Tensor& input, const Tensor& target, const KlDivOptions& options = {});

struct CrossEntropyOptions {
  Tensor weight = {};           // one per class; not differentiated
  int64_t ignore_index = -100;  // rows of this class have loss 0 and do not count
  double label_smoothing = 0;   // share of the target that is spread over all classes
  Reduction reduction = Reduction::mean;
};
// -log softmax(logits)[target], the classes being dimension 1 of logits [N, C, ...] (or 0 of a vector). The target
// holds classes, i64 or i32 of shape [N, ...]: one kernel computes log-sum-exp and loss, one writes softmax - target;
// or probabilities of the logits' shape, which ignore_index does not touch and whose mean is over rows. IndexError for
// a class out of range, ValueError unless 0 <= label_smoothing <= 1, ShapeError on a misfit. C. Szegedy et al.,
// "Rethinking the Inception architecture" (2016), for label smoothing.
Tensor cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options = {});

struct NllOptions {
  Tensor weight = {};
  int64_t ignore_index = -100;
  Reduction reduction = Reduction::mean;
};
// -input[target], input [N, C, ...] holding log-probabilities.
Tensor nll_loss(const Tensor& input, const Tensor& target, const NllOptions& options = {});

}  // namespace tenrec
