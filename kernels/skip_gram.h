// Skip-gram with negative sampling: scores of pairs of words by two tables of vectors.
//
// Pair b is v = input[centers[b]] and u_k = output[targets[b, k]]: target 0 is the word that stood near it, the others
// were drawn. Its loss is -log sigmoid(u_0 . v) - sum over k > 0 of log sigmoid(-u_k . v).
// Mikolov, Sutskever, Chen, Corrado and Dean, "Distributed representations of words and phrases and their
// compositionality", NIPS 2013.
#pragma once

#include "tenrec/core/dispatch.h"
#include "tenrec/core/view.h"

namespace tenrec::kernels {

// Tables [words, d], f32 or f64; centers [pairs] and targets [pairs, count], i64. All contiguous. On a device an index
// may be out of range (kernels/index.h): its row reads as zeros and is not written.
struct SkipGram {
  View input, output, centers, targets;
};

// The loss of each pair.
void skip_gram_loss(Cpu, const SkipGram& pairs, const View& losses);
void skip_gram_loss(Cuda, const SkipGram& pairs, const View& losses);
// What each pair adds to the gradients of its rows, times scale * dy (one element): d_center [pairs, d] and d_target
// [pairs, count, d].
void skip_gram_grad(Cpu, const SkipGram& pairs, const View& dy, double scale, const View& d_center,
                    const View& d_target);
void skip_gram_grad(Cuda, const SkipGram& pairs, const View& dy, double scale, const View& d_center,
                    const View& d_target);
// A step of gradient descent for each pair in turn, in place: each sees the rows as those before it left them. losses:
// of each pair before its step.
void skip_gram_step(Cpu, const SkipGram& pairs, double lr, const View& losses);
void skip_gram_step(Cuda, const SkipGram& pairs, double lr, const View& losses);

}  // namespace tenrec::kernels
