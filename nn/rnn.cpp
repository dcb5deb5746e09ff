#include "tenrec/nn/rnn.h"

#include <cmath>

#include "tenrec/autograd/ops.h"
#include "tenrec/nn/init.h"

namespace tenrec {

namespace {

void check_sizes(const char* name, int64_t input, int64_t hidden) {
  if (input < 1 || hidden < 1)
    fail<ValueError>(name, ": sizes must be at least 1, got an input of ", input, " and a hidden state of ", hidden);
}

RecurrentWeights make_weights(int64_t gates, int64_t input, int64_t hidden, bool bias) {
  const double bound = 1 / std::sqrt(double(hidden));
  const auto uniform = [&](const Shape& shape) {
    Tensor t = init::uniform_(empty(shape), -bound, bound);
    return t.set_requires_grad(true);
  };
  RecurrentWeights w{uniform({gates * hidden, input}), uniform({gates * hidden, hidden})};
  if (!bias) return w;
  w.b_ih = uniform({gates * hidden});
  w.b_hh = uniform({gates * hidden});
  return w;
}

Tensor zeros_beside(const Tensor& x, const Shape& shape) {
  return zeros(shape, {.dtype = x.dtype(), .device = x.device()});
}

}  // namespace

RecurrentLayers::RecurrentLayers(const char* name, int64_t gates, int64_t input, int64_t hidden,
                                 const RecurrentOptions& options)
    : name_(name), gates_(gates), input_(input), hidden_(hidden), options_(options) {
  check_sizes(name, input, hidden);
  if (options.num_layers < 1) fail<ValueError>(name, ": num_layers must be at least 1, got ", options.num_layers);
  if (!(options.dropout >= 0 && options.dropout <= 1))
    fail<ValueError>(name, ": dropout must lie in [0, 1], got ", options.dropout);
  for (int64_t layer = 0; layer < options.num_layers; ++layer)
    for (int64_t d = 0; d < directions(); ++d)
      weights.push_back(make_weights(gates, layer == 0 ? input : directions() * hidden, hidden, options.bias));
}

std::string RecurrentLayers::suffix(size_t i) const {
  const int64_t layer = int64_t(i) / directions();
  return concat("_l", layer, int64_t(i) % directions() ? "_reverse" : "");
}

void RecurrentLayers::visit(Visitor& v) {
  for (size_t i = 0; i < weights.size(); ++i) {
    v("weight_ih" + suffix(i), weights[i].w_ih);
    v("weight_hh" + suffix(i), weights[i].w_hh);
    v("bias_ih" + suffix(i), weights[i].b_ih);
    v("bias_hh" + suffix(i), weights[i].b_hh);
  }
}

std::string RecurrentLayers::details() const {
  return concat(input_, " -> ", hidden_, options_.num_layers > 1 ? concat(", ", options_.num_layers, " layers") : "",
                options_.bidirectional ? ", bidirectional" : "", options_.bias ? "" : ", no bias");
}

void RecurrentLayers::check_state(const char* what, const Tensor& state, const Shape& shape, const char* rule) const {
  if (state.defined() && state.shape() != shape)
    fail<ShapeError>(name_, ": ", what, " needs shape ", shape, " ", rule, ", got ", state.shape());
}

RecurrentOutput<Tensor, LSTMState> RecurrentLayers::run_all(Step step, Tensor x, const LSTMState& state, int64_t batch,
                                                            const std::vector<int64_t>& batch_sizes) const {
  const bool lstm = gates_ == 4;
  const Shape shape{int64_t(weights.size()), batch, hidden_};
  constexpr const char* kRule = "[layers * directions, batch, hidden]";
  check_state("the initial state", state.h, shape, kRule);
  check_state("the initial cell", state.c, shape, kRule);
  if (lstm && state.h.defined() != state.c.defined())
    fail<ValueError>(name_, ": the initial state has only one of h and c; give both or none");
  const Tensor zero = state.h.defined() ? Tensor() : zeros_beside(x, {batch, hidden_});
  const auto initial = [&](const Tensor& all, size_t i) { return all.defined() ? select(all, 0, int64_t(i)) : zero; };
  std::vector<Tensor> hs, cs;
  for (size_t i = 0; i < weights.size();) {
    if (i > 0 && is_training() && options_.dropout > 0) x = dropout(x, options_.dropout);
    std::vector<Tensor> sides;
    for (int64_t d = 0; d < directions(); ++d, ++i) {
      const LSTMState from{initial(state.h, i), lstm ? initial(state.c, i) : Tensor()};
      const RecurrentResult r = step(*this, x, from, weights[i], {.batch_sizes = batch_sizes, .reverse = d == 1});
      sides.push_back(r.y);
      hs.push_back(r.h);
      if (lstm) cs.push_back(r.c);
    }
    x = sides.size() == 1 ? sides[0] : cat(sides, -1);
  }
  return {x, {stack(hs), lstm ? stack(cs) : Tensor()}};
}

RecurrentOutput<Tensor, LSTMState> RecurrentLayers::run(Step step, const Tensor& x, const LSTMState& state) const {
  const bool single = x.ndim() == 2;
  if ((x.ndim() != 3 && !single) || x.shape()[x.ndim() - 1] != input_)
    fail<ShapeError>(name_, ": expected an input ", options_.batch_first ? "[batch, steps, " : "[steps, batch, ",
                     input_, "] or, for one sequence, [steps, ", input_, "], got shape ", x.shape());
  if (single) {
    const auto widen = [&](const Tensor& t) {
      if (!t.defined()) return t;
      check_state("the state of one sequence", t, {int64_t(weights.size()), hidden_}, "[layers * directions, hidden]");
      return unsqueeze(t, 1);
    };
    const RecurrentOutput<Tensor, LSTMState> r =
        run_all(step, unsqueeze(x, 1), {widen(state.h), widen(state.c)}, 1, {});
    return {squeeze(r.output, 1), {squeeze(r.state.h, 1), r.state.c.defined() ? squeeze(r.state.c, 1) : r.state.c}};
  }
  if (!options_.batch_first) return run_all(step, x, state, x.shape()[1], {});
  RecurrentOutput<Tensor, LSTMState> r = run_all(step, transpose(x, 0, 1), state, x.shape()[0], {});
  return {transpose(r.output, 0, 1), r.state};
}

RecurrentOutput<PackedSequence, LSTMState> RecurrentLayers::run(Step step, const PackedSequence& x,
                                                                const LSTMState& state) const {
  if (!x.data.defined() || x.batch_sizes.empty()) fail<ValueError>(name_, ": a packed sequence without a step");
  if (x.data.ndim() != 2 || x.data.shape()[1] != input_)
    fail<ShapeError>(name_, ": expected packed rows [rows, ", input_, "], got shape ", x.data.shape());
  const auto reorder = [&](const Tensor& t, const Tensor& order) {
    return t.defined() && order.defined() && t.ndim() == 3 ? index_select(t, 1, order) : t;
  };
  const int64_t batch = x.batch_sizes[0];
  for (const Tensor* t : {&state.h, &state.c})
    check_state("the initial state", *t, {int64_t(weights.size()), batch, hidden_},
                "[layers * directions, batch, hidden]");
  const LSTMState from{reorder(state.h, x.sorted_indices), reorder(state.c, x.sorted_indices)};
  const RecurrentOutput<Tensor, LSTMState> r = run_all(step, x.data, from, batch, x.batch_sizes);
  return {{r.output, x.batch_sizes, x.sorted_indices, x.unsorted_indices},
          {reorder(r.state.h, x.unsorted_indices), reorder(r.state.c, x.unsorted_indices)}};
}

// --- the three layers -----------------------------------------------------------------------------------------------

RNN::RNN(int64_t input, int64_t hidden, const RNNOptions& o)
    : RecurrentLayers("RNN", 1, input, hidden, {o.num_layers, o.bias, o.batch_first, o.dropout, o.bidirectional}),
      nonlinearity_(o.nonlinearity) {}

RecurrentResult RNN::step(const RecurrentLayers& self, const Tensor& x, const LSTMState& state,
                          const RecurrentWeights& weights, const RecurrentParams& params) {
  return rnn_layer(x, state.h, weights, static_cast<const RNN&>(self).nonlinearity_, params);
}

RecurrentOutput<Tensor, Tensor> RNN::operator()(const Tensor& x, const Tensor& h0) const {
  const ModuleScope scope(*this);
  const auto r = run(step, x, {h0, {}});
  return {r.output, r.state.h};
}
RecurrentOutput<PackedSequence, Tensor> RNN::operator()(const PackedSequence& x, const Tensor& h0) const {
  const ModuleScope scope(*this);
  const auto r = run(step, x, {h0, {}});
  return {r.output, r.state.h};
}

namespace {

RecurrentResult lstm_step(const RecurrentLayers&, const Tensor& x, const LSTMState& state,
                          const RecurrentWeights& weights, const RecurrentParams& params) {
  return lstm_layer(x, state.h, state.c, weights, params);
}
RecurrentResult gru_step(const RecurrentLayers&, const Tensor& x, const LSTMState& state,
                         const RecurrentWeights& weights, const RecurrentParams& params) {
  return gru_layer(x, state.h, weights, params);
}

}  // namespace

LSTM::LSTM(int64_t input, int64_t hidden, const RecurrentOptions& options)
    : RecurrentLayers("LSTM", 4, input, hidden, options) {}

RecurrentOutput<Tensor, LSTMState> LSTM::operator()(const Tensor& x, const LSTMState& state) const {
  const ModuleScope scope(*this);
  return run(lstm_step, x, state);
}
RecurrentOutput<PackedSequence, LSTMState> LSTM::operator()(const PackedSequence& x, const LSTMState& state) const {
  const ModuleScope scope(*this);
  return run(lstm_step, x, state);
}

GRU::GRU(int64_t input, int64_t hidden, const RecurrentOptions& options)
    : RecurrentLayers("GRU", 3, input, hidden, options) {}

RecurrentOutput<Tensor, Tensor> GRU::operator()(const Tensor& x, const Tensor& h0) const {
  const ModuleScope scope(*this);
  const auto r = run(gru_step, x, {h0, {}});
  return {r.output, r.state.h};
}
RecurrentOutput<PackedSequence, Tensor> GRU::operator()(const PackedSequence& x, const Tensor& h0) const {
  const ModuleScope scope(*this);
  const auto r = run(gru_step, x, {h0, {}});
  return {r.output, r.state.h};
}

// --- cells ----------------------------------------------------------------------------------------------------------

RecurrentCellBase::RecurrentCellBase(const char* name, int64_t gates, int64_t input, int64_t hidden, bool bias)
    : name_(name) {
  check_sizes(name, input, hidden);
  const RecurrentWeights w = make_weights(gates, input, hidden, bias);
  weight_ih = w.w_ih;
  weight_hh = w.w_hh;
  bias_ih = w.b_ih;
  bias_hh = w.b_hh;
}

void RecurrentCellBase::visit(Visitor& v) {
  v("weight_ih", weight_ih);
  v("weight_hh", weight_hh);
  v("bias_ih", bias_ih);
  v("bias_hh", bias_hh);
}

std::string RecurrentCellBase::details() const {
  return concat(weight_ih.shape()[1], " -> ", weight_hh.shape()[1], bias_ih.defined() ? "" : ", no bias");
}

template <class F>
LSTMState RecurrentCellBase::run(const Tensor& x, const LSTMState& state, bool has_c, F f) const {
  const bool single = x.ndim() == 1;
  const int64_t in = weight_ih.shape()[1], hidden = weight_hh.shape()[1];
  if ((x.ndim() != 2 && !single) || x.shape()[x.ndim() - 1] != in)
    fail<ShapeError>(name_, ": expected an input [batch, ", in, "] or [", in, "], got shape ", x.shape());
  if (has_c && state.h.defined() != state.c.defined())
    fail<ValueError>(name_, ": the state has only one of h and c; give both or none");
  const Shape shape = single ? Shape{hidden} : Shape{x.shape()[0], hidden};
  const auto prepared = [&](const Tensor& t) {
    if (t.defined() && t.shape() != shape)
      fail<ShapeError>(name_, ": a state needs shape ", shape, " for an input of shape ", x.shape(), ", got ",
                       t.shape());
    const Tensor given = t.defined() ? t : zeros_beside(x, shape);
    return single ? unsqueeze(given, 0) : given;
  };
  const LSTMState from{prepared(state.h), has_c ? prepared(state.c) : Tensor()};
  const RecurrentResult r = f(unsqueeze(single ? unsqueeze(x, 0) : x, 0), from);
  if (!single) return {r.h, r.c};
  return {squeeze(r.h, 0), has_c ? squeeze(r.c, 0) : Tensor()};
}

RNNCell::RNNCell(int64_t input, int64_t hidden, const RNNCellOptions& options)
    : RecurrentCellBase("RNNCell", 1, input, hidden, options.bias), nonlinearity_(options.nonlinearity) {}

Tensor RNNCell::operator()(const Tensor& x, const Tensor& h) const {
  const ModuleScope scope(*this);
  return run(x, {h, {}}, false,
             [&](const Tensor& in, const LSTMState& from) {
               return rnn_layer(in, from.h, {weight_ih, weight_hh, bias_ih, bias_hh}, nonlinearity_);
             })
      .h;
}

LSTMCell::LSTMCell(int64_t input, int64_t hidden, const CellOptions& options)
    : RecurrentCellBase("LSTMCell", 4, input, hidden, options.bias) {}

LSTMState LSTMCell::operator()(const Tensor& x, const LSTMState& state) const {
  const ModuleScope scope(*this);
  return run(x, state, true, [&](const Tensor& in, const LSTMState& from) {
    return lstm_layer(in, from.h, from.c, {weight_ih, weight_hh, bias_ih, bias_hh});
  });
}

GRUCell::GRUCell(int64_t input, int64_t hidden, const CellOptions& options)
    : RecurrentCellBase("GRUCell", 3, input, hidden, options.bias) {}

Tensor GRUCell::operator()(const Tensor& x, const Tensor& h) const {
  const ModuleScope scope(*this);
  return run(x, {h, {}}, false,
             [&](const Tensor& in, const LSTMState& from) {
               return gru_layer(in, from.h, {weight_ih, weight_hh, bias_ih, bias_hh});
             })
      .h;
}

}  // namespace tenrec
