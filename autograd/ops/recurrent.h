// Recurrent layers as functions, one layer and direction each; nn/rnn.h stacks them. Forward and backward are a loop of
// fused steps between large matrix products (kernels/recurrent.h), and can be differentiated to any order.
//
// x is [steps, batch, in], or, with batch_sizes, the packed rows [rows, in] of sequences of unequal length: those of
// step 0 first, batch_sizes[t] of step t, the longest sequence in front. y is [steps, batch, hidden] or [rows, hidden]
// likewise; states are [batch, hidden], and a state returned is that behind each sequence's own last step. Weights have
// torch.nn's layout and gate order, gates below each other: w_ih [gates * hidden, in], w_hh [gates * hidden, hidden],
// biases [gates * hidden], both or none.
//
// All of one floating dtype, else DTypeError; bf16 and f16 are computed in f32 and rounded once, and under autocast all
// is f32. ShapeError for sizes that do not fit and for sequences without a step; ValueError for batch sizes that are
// not positive and falling.
#pragma once

#include <cstdint>
#include <vector>

#include "tenrec/core/tensor.h"

namespace tenrec {

struct RecurrentWeights {
  Tensor w_ih, w_hh, b_ih = {}, b_hh = {};
};
struct RecurrentParams {
  std::vector<int64_t> batch_sizes = {};
  bool reverse = false;  // from each sequence's last step to its first; y keeps the order of x
};
struct RecurrentResult {
  Tensor y, h, c = {};  // c: of the LSTM alone
};
enum class Nonlinearity : uint8_t { tanh, relu };

// h' = tanh or relu of (w_ih x + b_ih + w_hh h + b_hh). J. L. Elman, "Finding structure in time" (1990).
RecurrentResult rnn_layer(const Tensor& x, const Tensor& h0, const RecurrentWeights& weights,
                          Nonlinearity nonlinearity = Nonlinearity::tanh, const RecurrentParams& params = {});
// Gates i, f, g, o: c' = f c + i g, h' = o tanh(c'). S. Hochreiter and J. Schmidhuber, "Long short-term memory" (1997).
RecurrentResult lstm_layer(const Tensor& x, const Tensor& h0, const Tensor& c0, const RecurrentWeights& weights,
                           const RecurrentParams& params = {});
// Gates r, z, n: n = tanh(w_in x + b_in + r (w_hn h + b_hn)), h' = (1 - z) n + z h. K. Cho et al., "Learning phrase
// representations using RNN encoder-decoder" (2014).
RecurrentResult gru_layer(const Tensor& x, const Tensor& h0, const RecurrentWeights& weights,
                          const RecurrentParams& params = {});

}  // namespace tenrec
