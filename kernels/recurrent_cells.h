// What a recurrent cell does with one unit of one sequence at one step: on the CPU with packs of units, on a device
// with one. And the walk over the steps of a packed batch. Internal to kernels/recurrent_*.
//
// A cell has
//   forward(x, s, h, c, kept)        x: W_ih x and the biases, becomes the activated gates; s: W_hh h; h: the state
//                                    before. Returns the state after. The LSTM's c goes from before to after.
//   backward(x, kept, h, dh, dc, s)  x: the activated gates, becomes the gradient of W_ih x; s: receives that of W_hh
//   h;
//                                    dh: the gradient of the state after. Returns what of it goes straight to the state
//                                    before. dc goes from after to before.
#pragma once

#include "tenrec/kernels/recurrent.h"
#include "tenrec/kernels/vector_math.h"

namespace tenrec::kernels {

// J. L. Elman, "Finding structure in time", 1990: h' = tanh or relu of (W_ih x + W_hh h).
template <bool kRelu>
struct PlainCell {
  static constexpr int kGates = 1;
  static constexpr bool kHasCell = false, kKeepsMore = false, kTwoGradients = false, kStraight = false;

  template <class P>
  TENREC_INLINE static P forward(P (&x)[1], const P (&s)[1], P, P&, P&) {
    const P sum = x[0] + s[0];
    if constexpr (kRelu)
      x[0] = select(sum < P(0), P(0), sum);
    else
      x[0] = tanh(sum);
    return x[0];
  }
  template <class P>
  TENREC_INLINE static P backward(P (&x)[1], P, P, P dh, P&, P (&s)[1]) {
    if constexpr (kRelu)
      s[0] = select(x[0] <= P(0), P(0), dh);
    else
      s[0] = dh * (P(1) - x[0] * x[0]);
    x[0] = s[0];
    return P(0);
  }
};

// S. Hochreiter and J. Schmidhuber, "Long short-term memory", 1997, with the forget gate of F. Gers et al., 2000.
// Gates i, f, g, o: c' = f c + i g, h' = o tanh(c').
struct LstmCell {
  static constexpr int kGates = 4;
  static constexpr bool kHasCell = true, kKeepsMore = true, kTwoGradients = false, kStraight = false;

  template <class P>
  TENREC_INLINE static P forward(P (&x)[4], const P (&s)[4], P, P& c, P& kept) {
    x[0] = sigmoid(x[0] + s[0]);
    x[1] = sigmoid(x[1] + s[1]);
    x[2] = tanh(x[2] + s[2]);
    x[3] = sigmoid(x[3] + s[3]);
    kept = c;
    c = fma(x[1], c, x[0] * x[2]);
    return x[3] * tanh(c);
  }
  template <class P>
  TENREC_INLINE static P backward(P (&x)[4], P kept, P, P dh, P& dc, P (&s)[4]) {
    const P i = x[0], f = x[1], g = x[2], o = x[3];
    const P after = tanh(fma(f, kept, i * g));
    const P dcell = fma(dh * o, P(1) - after * after, dc);
    dc = dcell * f;
    x[0] = s[0] = dcell * g * (i * (P(1) - i));
    x[1] = s[1] = dcell * kept * (f * (P(1) - f));
    x[2] = s[2] = dcell * i * (P(1) - g * g);
    x[3] = s[3] = dh * after * (o * (P(1) - o));
    return P(0);
  }
};

// K. Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014, with the reset gate behind the
// product, as in cuDNN and PyTorch. Gates r, z, n: n = tanh(W_in x + b_in + r (W_hn h + b_hn)), h' = (1 - z) n + z h.
struct GruCell {
  static constexpr int kGates = 3;
  static constexpr bool kHasCell = false, kKeepsMore = true, kTwoGradients = true, kStraight = true;

  // `kept` comes in as b_hn.
  template <class P>
  TENREC_INLINE static P forward(P (&x)[3], const P (&s)[3], P h, P&, P& kept) {
    x[0] = sigmoid(x[0] + s[0]);
    x[1] = sigmoid(x[1] + s[1]);
    kept = kept + s[2];
    x[2] = tanh(fma(x[0], kept, x[2]));
    return fma(x[1], h - x[2], x[2]);
  }
  template <class P>
  TENREC_INLINE static P backward(P (&x)[3], P kept, P h, P dh, P&, P (&s)[3]) {
    const P r = x[0], z = x[1], n = x[2];
    x[2] = dh * (P(1) - z) * (P(1) - n * n);
    s[2] = x[2] * r;
    x[0] = s[0] = x[2] * kept * (r * (P(1) - r));
    x[1] = s[1] = dh * (h - n) * (z * (P(1) - z));
    return dh * z;
  }
};

// Calls f with the cell's type and a zero of the dtype.
template <class F>
void visit_cell(const RecurrentShape& shape, F&& f) {
  const auto with = [&](auto cell) {
    if (shape.dtype == f64)
      f(cell, double{});
    else
      f(cell, float{});
  };
  switch (shape.cell) {
    case RecurrentCell::rnn_tanh:
      return with(PlainCell<false>{});
    case RecurrentCell::rnn_relu:
      return with(PlainCell<true>{});
    case RecurrentCell::lstm:
      return with(LstmCell{});
    case RecurrentCell::gru:
      return with(GruCell{});
  }
}

// A step in the order of the forward loop.
struct RecurrentStep {
  int64_t row, count;  // its first row, and how many
  int64_t next_count;  // of the step after; 0 at the end. Rows from there on have their last state.
};
std::vector<RecurrentStep> recurrent_steps(const RecurrentShape& shape);

// The matrices of the reserve. The later ones are null where nothing is kept.
template <class T>
struct Reserve {
  T *gates, *kept, *before;
  Reserve(void* reserve, const RecurrentShape& s, bool keep) {
    gates = static_cast<T*>(reserve);
    kept = keep && keeps_more(s.cell) ? gates + s.rows() * s.gates() : nullptr;
    before = keep ? gates + s.before_at() : nullptr;
  }
};

}  // namespace tenrec::kernels
