// Recurrent layers: RNN, LSTM and GRU, stacked, in one or both directions, and their cells, with torch.nn's parameter
// names (weight_ih_l0, bias_hh_l1_reverse), layouts and gate order. One layer and direction is one fused op
// (autograd/ops/recurrent.h, which has the formulas). All weights and biases start uniform in +-1/sqrt(hidden).
//
//   LSTM lstm(65, 256, {.num_layers = 2, .dropout = 0.2});
//   const auto [y, state] = lstm(x);          // x [steps, batch, 65] -> y [steps, batch, 256]
//   const auto [z, next] = lstm(more, state);  // goes on where the first call ended
#pragma once

#include <string>
#include <vector>

#include "tenrec/autograd/ops/recurrent.h"
#include "tenrec/nn/module.h"
#include "tenrec/nn/packed_sequence.h"

namespace tenrec {

struct RecurrentOptions {
  int64_t num_layers = 1;
  bool bias = true;
  bool batch_first = false;  // [batch, steps, ...] in and out; states stay [layers * directions, batch, hidden]
  double dropout = 0;        // in training, on what each layer but the last gives to the next
  bool bidirectional = false;
};
struct RNNOptions {
  int64_t num_layers = 1;
  Nonlinearity nonlinearity = Nonlinearity::tanh;
  bool bias = true, batch_first = false;
  double dropout = 0;
  bool bidirectional = false;
};

// Both [layers * directions, batch, hidden], layer by layer, forward before backward.
struct LSTMState {
  Tensor h, c;
};
// What a layer returns: the last layer's states at every step [steps, batch, directions * hidden], forward beside
// backward, in the form of the input; and all layers' states behind the last step.
template <class Sequence, class State>
struct RecurrentOutput {
  Sequence output;
  State state;
};

// What the three have in common.
class RecurrentLayers : public Module {
 public:
  void visit(Visitor& v) override;
  std::string details() const override;
  // [layer * directions + direction].
  std::vector<RecurrentWeights> weights;

 protected:
  RecurrentLayers(const char* name, int64_t gates, int64_t input, int64_t hidden, const RecurrentOptions& options);

  // c stays undefined but in the LSTM.
  using Step = RecurrentResult (*)(const RecurrentLayers& self, const Tensor& x, const LSTMState& state,
                                   const RecurrentWeights& weights, const RecurrentParams& params);
  RecurrentOutput<Tensor, LSTMState> run(Step step, const Tensor& x, const LSTMState& state) const;
  RecurrentOutput<PackedSequence, LSTMState> run(Step step, const PackedSequence& x, const LSTMState& state) const;

 private:
  int64_t directions() const { return options_.bidirectional ? 2 : 1; }
  std::string suffix(size_t i) const;
  RecurrentOutput<Tensor, LSTMState> run_all(Step step, Tensor x, const LSTMState& state, int64_t batch,
                                             const std::vector<int64_t>& batch_sizes) const;
  void check_state(const char* what, const Tensor& state, const Shape& shape, const char* rule) const;

  const char* name_;
  int64_t gates_, input_, hidden_;
  RecurrentOptions options_;
};

// All three take x [steps, batch, in] (batch_first: [batch, steps, in]), one sequence [steps, in], whose states are
// [layers * directions, hidden], or a packed batch of unequal lengths. A state left out is zeros. ShapeError for sizes
// that do not fit and for sequences without a step.
class RNN : public RecurrentLayers {
 public:
  RNN(int64_t input, int64_t hidden, const RNNOptions& options = {});
  RecurrentOutput<Tensor, Tensor> operator()(const Tensor& x, const Tensor& h0 = {}) const;
  RecurrentOutput<PackedSequence, Tensor> operator()(const PackedSequence& x, const Tensor& h0 = {}) const;

 private:
  static RecurrentResult step(const RecurrentLayers& self, const Tensor& x, const LSTMState& state,
                              const RecurrentWeights& weights, const RecurrentParams& params);
  Nonlinearity nonlinearity_;
};

class LSTM : public RecurrentLayers {
 public:
  LSTM(int64_t input, int64_t hidden, const RecurrentOptions& options = {});
  RecurrentOutput<Tensor, LSTMState> operator()(const Tensor& x, const LSTMState& state = {}) const;
  RecurrentOutput<PackedSequence, LSTMState> operator()(const PackedSequence& x, const LSTMState& state = {}) const;
};

class GRU : public RecurrentLayers {
 public:
  GRU(int64_t input, int64_t hidden, const RecurrentOptions& options = {});
  RecurrentOutput<Tensor, Tensor> operator()(const Tensor& x, const Tensor& h0 = {}) const;
  RecurrentOutput<PackedSequence, Tensor> operator()(const PackedSequence& x, const Tensor& h0 = {}) const;
};

struct CellOptions {
  bool bias = true;
};
struct RNNCellOptions {
  bool bias = true;
  Nonlinearity nonlinearity = Nonlinearity::tanh;
};

// One step: x [batch, in] and states [batch, hidden], or all without batch. A state left out is zeros.
class RecurrentCellBase : public Module {
 public:
  void visit(Visitor& v) override;
  std::string details() const override;
  Tensor weight_ih, weight_hh, bias_ih, bias_hh;

 protected:
  RecurrentCellBase(const char* name, int64_t gates, int64_t input, int64_t hidden, bool bias);
  // f(x [1, batch, in], state) is the layer's op.
  template <class F>
  LSTMState run(const Tensor& x, const LSTMState& state, bool has_c, F f) const;

 private:
  const char* name_;
};

class RNNCell : public RecurrentCellBase {
 public:
  RNNCell(int64_t input, int64_t hidden, const RNNCellOptions& options = {});
  Tensor operator()(const Tensor& x, const Tensor& h = {}) const;

 private:
  Nonlinearity nonlinearity_;
};

class LSTMCell : public RecurrentCellBase {
 public:
  LSTMCell(int64_t input, int64_t hidden, const CellOptions& options = {});
  LSTMState operator()(const Tensor& x, const LSTMState& state = {}) const;
};

class GRUCell : public RecurrentCellBase {
 public:
  GRUCell(int64_t input, int64_t hidden, const CellOptions& options = {});
  Tensor operator()(const Tensor& x, const Tensor& h = {}) const;
};

}  // namespace tenrec
