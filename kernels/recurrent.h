// The steps of recurrent layers, one layer and direction at a time, forward and backward. f32 and f64.
//
// What does not depend on the step before is left to the caller, as large matrix products: x W_ih^T and the biases for
// all steps before the forward loop, the gradients of x and of the weights for all steps after the backward loop. Here
// is what must go step by step: h W_hh^T with the gates behind it, and dgates W_hh before the gates of the step ahead.
//
// A batch of sequences lies packed: the rows of step t are the sequences that are longer than t, the longest first, so
// step t has batch_sizes[t] rows, never more than step t - 1. `rows` counts the rows of all steps, `batch` those of the
// first. All matrices are dense, row by row.
//
// The reserve is what the backward loop reads again, matrix after matrix:
//   gates [rows, gates hidden]: before the forward loop x W_ih^T + b_ih + b_hh, after it the activated gates;
//   kept [rows, hidden]: the LSTM's cell before the step; the GRU's W_hn h + b_hn;
//   h before the step [rows, hidden].
// Without `keep` there is only the first.
#pragma once

#include <cstdint>
#include <vector>

#include "tenrec/core/dispatch.h"
#include "tenrec/core/dtype.h"

namespace tenrec::kernels {

enum class RecurrentCell : uint8_t { rnn_tanh, rnn_relu, lstm, gru };
constexpr int64_t gates_of(RecurrentCell cell) {
  return cell == RecurrentCell::lstm ? 4 : cell == RecurrentCell::gru ? 3 : 1;
}
constexpr bool keeps_more(RecurrentCell cell) { return gates_of(cell) > 1; }

struct RecurrentShape {
  RecurrentCell cell = RecurrentCell::rnn_tanh;
  DType dtype = f32;
  int64_t hidden = 0;
  std::vector<int64_t> batch_sizes = {};
  bool reverse = false;  // from the last step to the first

  int64_t gates() const { return gates_of(cell) * hidden; }
  int64_t steps() const { return int64_t(batch_sizes.size()); }
  int64_t batch() const { return batch_sizes.empty() ? 0 : batch_sizes[0]; }
  int64_t rows() const;
  // Elements of the reserve, and those in front of its last matrix.
  int64_t reserve(bool keep) const { return keep ? before_at() + rows() * hidden : rows() * gates(); }
  int64_t before_at() const { return rows() * (gates() + (keeps_more(cell) ? hidden : 0)); }
};

struct RecurrentForward {
  const void* w_hh;              // [gates hidden, hidden]
  const void* bias_n = nullptr;  // of the GRU alone, its b_hn [hidden], or null
  void* reserve;
  bool keep = true;
  void* y;            // [rows, hidden]
  void* h;            // [batch, hidden]: the state before, then after
  void* c = nullptr;  // the LSTM's cell likewise
};
void recurrent_forward(Cpu, const RecurrentShape& shape, const RecurrentForward& args);
void recurrent_forward(Cuda, const RecurrentShape& shape, const RecurrentForward& args);

struct RecurrentBackward {
  const void* w_hh;
  const void* reserve;
  const void* dy;  // [rows, hidden], or null for zeros
  void* dgates;    // [rows, gates hidden]: the gradient of x W_ih^T
  void* dhidden;   // that of h W_hh^T, where it is another one (the GRU); else dgates again
  void* dh;        // [batch, hidden]: the gradient of the state after, then before
  void* dc = nullptr;
  bool initial = true;  // false: nobody asks for the gradient of the first state
};
void recurrent_backward(Cpu, const RecurrentShape& shape, const RecurrentBackward& args);
void recurrent_backward(Cuda, const RecurrentShape& shape, const RecurrentBackward& args);

}  // namespace tenrec::kernels
