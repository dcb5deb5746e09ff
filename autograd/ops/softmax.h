// Softmax along one dimension. Floating dtypes, else DTypeError; IndexError for a bad dimension.
//
// Stable: the maximum is subtracted first. -inf counts as probability 0; a row of -inf alone, and one with NaN or +inf,
// gives NaN, as in PyTorch. Forward and backward are one kernel each; both can be differentiated again.
#pragma once

#include "tenrec/core/tensor.h"

namespace tenrec {

// e^x / sum(e^x).
Tensor softmax(const Tensor& x, int64_t dim);
// x - log(sum(e^x)).
Tensor log_softmax(const Tensor& x, int64_t dim);
// softmax(-x).
Tensor softmin(const Tensor& x, int64_t dim);

}  // namespace tenrec
