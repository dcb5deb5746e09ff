// Skip-gram with negative sampling as one op for a batch of pairs of words (word2vec).
#pragma once

#include "tenrec/core/tensor.h"

namespace tenrec {

// The mean over b of -log sigmoid(o_b . v_b) - sum over k of log sigmoid(-n_bk . v_b), 0-d, with v_b =
// input[centers[b]], o_b = output[contexts[b]] and n_bk = output[negatives[b, k]].
//
// input and output [words, d] are f32 or f64; centers [B], contexts [B] and negatives [B, K] are i64 or i32, B at least
// 1. IndexError for an index out of range. The gradients of the tables are sums over the rows that occur, in the order
// of the pairs. Mikolov et al., "Distributed representations of words and phrases and their compositionality", NIPS
// 2013.
Tensor skip_gram_loss(const Tensor& input, const Tensor& output, const Tensor& centers, const Tensor& contexts,
                      const Tensor& negatives);
// The same loss, and in place a step of gradient descent of rate lr for each pair in turn: it sees the rows as the
// pairs before it left them. Not recorded; allowed where mutation is (mutate.h).
Tensor skip_gram_step_(const Tensor& input, const Tensor& output, const Tensor& centers, const Tensor& contexts,
                       const Tensor& negatives, double lr);

}  // namespace tenrec
