// Recurrent layers and cells against PyTorch's values and gradients (tools/make_recurrent_fixtures.py), packed
// sequences, states that are carried, dropout between layers, errors.
#include <gtest/gtest.h>

#include <cmath>

#include "support/expect_equal.h"
#include "support/files.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using testing::expect_equal;

constexpr int64_t kIn = 4, kHidden = 3, kBatch = 3, kSteps = 5;
const std::vector<int64_t> kLengths{3, 5, 2};

const Safetensors& fixtures() {
  static const Safetensors file =
      load_safetensors(std::string(TENREC_SOURCE_DIR) + "/tests/fixtures/recurrent.safetensors");
  return file;
}

// One run of PyTorch's: inputs, outputs, cotangents and gradients by name.
struct Recorded {
  std::string prefix;
  Tensor at(const std::string& name) const { return fixtures().at(prefix + "." + name); }
  Tensor leaf(const std::string& name) const { return at(name).detach().set_requires_grad(true); }
  void load_into(Module& module) const {
    std::vector<NamedTensor> state;
    for (const NamedTensor& p : named_parameters(module)) state.push_back({p.name, at("p." + p.name)});
    to(module, at("x").dtype());
    load_state_dict(module, state);
  }
};

// Outputs by name against the file, then the gradients of inputs and parameters.
void compare(const Recorded& r, Module& module, const std::vector<NamedTensor>& outputs,
             const std::vector<NamedTensor>& inputs, double tolerance) {
  std::vector<Tensor> ys, cotangents, xs;
  std::vector<std::string> names;
  for (const NamedTensor& y : outputs) {
    expect_equal(y.name, y.tensor, r.at(y.name), tolerance);
    ys.push_back(y.tensor);
    cotangents.push_back(r.at("d_" + y.name));
  }
  for (const NamedTensor& x : inputs) {
    names.push_back(x.name);
    xs.push_back(x.tensor);
  }
  for (const NamedTensor& p : named_parameters(module)) {
    names.push_back("p." + p.name);
    xs.push_back(p.tensor);
  }
  ASSERT_GE(xs.size(), 4u);
  const std::vector<Tensor> fused = grad(ys, xs, cotangents, {.retain_graph = true});
  const std::vector<Tensor> composed = grad(ys, xs, cotangents, {.create_graph = true});
  for (size_t i = 0; i < xs.size(); ++i) {
    expect_equal("gradient of " + names[i], fused[i], r.at("grad." + names[i]), tolerance);
    expect_equal("composed gradient of " + names[i], composed[i], r.at("grad." + names[i]), tolerance);
  }
}

struct Variant {
  const char* name;
  bool bias = true, deep = false, packed = false;
};
constexpr Variant kVariants[] = {
    {"plain"}, {.name = "no_bias", .bias = false}, {.name = "deep", .deep = true}, {"packed", true, true, true}};

RecurrentOptions options_of(const Variant& v) {
  return {.num_layers = v.deep ? 2 : 1, .bias = v.bias, .batch_first = v.deep, .bidirectional = v.deep};
}

// Of a padded batch or of a packed one, whose result is padded again.
template <class Layer, class State>
auto apply(const Layer& layer, const Variant& v, const Tensor& x, const State& state) {
  if (!v.packed) return layer(x, state);
  const auto r = layer(pack_padded_sequence(x, kLengths, {.batch_first = true, .enforce_sorted = false}), state);
  const PaddedSequence padded = pad_packed_sequence(r.output, {.batch_first = true});
  EXPECT_EQ(padded.lengths, kLengths);
  return decltype(layer(x, state)){padded.data, r.state};
}

template <class Layer>
void compare_plain(const char* name, const Variant& v, const char* dtype, Layer layer) {
  const Recorded r{concat(name, ".", v.name, ".", dtype)};
  SCOPED_TRACE(r.prefix);
  r.load_into(layer);
  const Tensor x = r.leaf("x"), h0 = r.leaf("h0");
  const auto [y, h] = apply(layer, v, x, h0);
  compare(r, layer, {{"y", y}, {"h", h}}, {{"x", x}, {"h0", h0}}, std::string(dtype) == "float64" ? 1e-12 : 2e-6);
}

TEST(Recurrent, LayersEqualPyTorch) {
  for (const char* dtype : {"float64", "float32"}) {
    for (const Variant& v : kVariants) {
      if (!v.packed && std::string(dtype) == "float32") continue;  // the file has only the largest
      const RecurrentOptions o = options_of(v);
      for (const Nonlinearity f : {Nonlinearity::tanh, Nonlinearity::relu})
        compare_plain(f == Nonlinearity::tanh ? "rnn_tanh" : "rnn_relu", v, dtype,
                      RNN(kIn, kHidden, {o.num_layers, f, o.bias, o.batch_first, 0, o.bidirectional}));
      compare_plain("gru", v, dtype, GRU(kIn, kHidden, o));
      const Recorded r{concat("lstm.", v.name, ".", dtype)};
      SCOPED_TRACE(r.prefix);
      LSTM lstm(kIn, kHidden, o);
      r.load_into(lstm);
      const Tensor x = r.leaf("x"), h0 = r.leaf("h0"), c0 = r.leaf("c0");
      const auto [y, state] = apply(lstm, v, x, LSTMState{h0, c0});
      compare(r, lstm, {{"y", y}, {"h", state.h}, {"c", state.c}}, {{"x", x}, {"h0", h0}, {"c0", c0}},
              std::string(dtype) == "float64" ? 1e-12 : 2e-6);
    }
  }
}

TEST(Recurrent, CellsEqualPyTorch) {
  for (const char* dtype : {"float64", "float32"}) {
    const double tolerance = std::string(dtype) == "float64" ? 1e-12 : 2e-6;
    const auto plain = [&](const char* name, auto cell) {
      const Recorded r{concat(name, ".", dtype)};
      SCOPED_TRACE(r.prefix);
      r.load_into(cell);
      const Tensor x = r.leaf("x"), h0 = r.leaf("h0");
      compare(r, cell, {{"h", cell(x, h0)}}, {{"x", x}, {"h0", h0}}, tolerance);
      expect_equal("one sequence", cell(x[1], h0[1]), r.at("h")[1], tolerance);
    };
    plain("rnn_cell", RNNCell(kIn, kHidden));
    plain("gru_cell", GRUCell(kIn, kHidden));
    const Recorded r{concat("lstm_cell.", dtype)};
    LSTMCell cell(kIn, kHidden);
    r.load_into(cell);
    const Tensor x = r.leaf("x"), h0 = r.leaf("h0"), c0 = r.leaf("c0");
    const LSTMState state = cell(x, {h0, c0});
    compare(r, cell, {{"h", state.h}, {"c", state.c}}, {{"x", x}, {"h0", h0}, {"c0", c0}}, tolerance);
  }
}

TEST(Recurrent, OneSequenceIsABatchOfOne) {
  manual_seed(1);
  LSTM lstm(kIn, kHidden, {.num_layers = 2, .bidirectional = true});
  const Tensor x = randn({kSteps, kIn}), h = randn({4, kHidden}), c = randn({4, kHidden});
  const auto one = lstm(x, {h, c});
  const auto batch = lstm(unsqueeze(x, 1), {unsqueeze(h, 1), unsqueeze(c, 1)});
  expect_equal("output", one.output, squeeze(batch.output, 1), 0);
  expect_equal("h", one.state.h, squeeze(batch.state.h, 1), 0);
  expect_equal("c", one.state.c, squeeze(batch.state.c, 1), 0);
}

TEST(Recurrent, AStateThatIsCarriedGoesOn) {
  manual_seed(2);
  const GRU gru(kIn, kHidden, {.num_layers = 2});
  const Tensor x = randn({kSteps, kBatch, kIn});
  const auto whole = gru(x);
  const auto first = gru(slice(x, 0, 0, 2));
  const auto second = gru(slice(x, 0, 2), first.state);
  expect_equal("output", cat({first.output, second.output}), whole.output, 1e-6);
  expect_equal("state", second.state, whole.state, 1e-6);
}

// What a sequence gives does not depend on the others of its batch, nor on what stands behind its end.
TEST(Recurrent, PackedSequencesAreIndependent) {
  manual_seed(3);
  const LSTM lstm(kIn, kHidden, {.bidirectional = true});
  const Tensor x = randn({kSteps, kBatch, kIn}, {.dtype = f32});
  const auto packed = lstm(pack_padded_sequence(x, kLengths, {.enforce_sorted = false}));
  const PaddedSequence y = pad_packed_sequence(packed.output);
  for (int64_t k = 0; k < kBatch; ++k) {
    const auto alone = lstm(slice(select(x, 1, k), 0, 0, kLengths[size_t(k)]));
    const Tensor mine = select(y.data, 1, k);
    expect_equal("output", slice(mine, 0, 0, kLengths[size_t(k)]), alone.output, 1e-6);
    expect_equal("state", select(packed.state.c, 1, k), alone.state.c, 1e-6);
    EXPECT_EQ(sum(abs(slice(mine, 0, kLengths[size_t(k)]))).item<double>(), 0);
  }
}

TEST(PackedSequence, RoundTrip) {
  const Tensor x = reshape(arange(30), {5, 3, 2}).to(f64);
  const PackedSequence packed = pack_padded_sequence(x, tensor({3., 5., 2.}).to(i64), {.enforce_sorted = false});
  EXPECT_EQ(packed.batch_sizes, (std::vector<int64_t>{3, 3, 2, 1, 1}));
  EXPECT_EQ(packed.sorted_indices.to_vector<int64_t>(), (std::vector<int64_t>{1, 0, 2}));
  EXPECT_EQ(packed.unsorted_indices.to_vector<int64_t>(), (std::vector<int64_t>{1, 0, 2}));
  EXPECT_EQ(select(packed.data, 1, 0).to_vector<double>(), (std::vector<double>{2, 0, 4, 8, 6, 10, 14, 12, 20, 26}));
  const PaddedSequence back =
      pad_packed_sequence(packed, {.batch_first = true, .padding_value = -1, .total_length = 6});
  EXPECT_EQ(to_string(back.data.shape()), "[3, 6, 2]");
  EXPECT_EQ(back.lengths, kLengths);
  EXPECT_EQ(back.data.item<double>(0, 2, 0), 12);
  EXPECT_EQ(back.data.item<double>(0, 3, 0), -1);
  EXPECT_EQ(back.data.item<double>(1, 4, 1), 27);
  const PackedSequence same = pack_sequence({slice(x[0], 0, 0, 2), slice(x[1], 0, 0, 1)});
  EXPECT_EQ(same.batch_sizes, (std::vector<int64_t>{2, 1}));
  EXPECT_FALSE(same.sorted_indices.defined());
  EXPECT_EQ(same.data.to_vector<double>(), (std::vector<double>{0, 1, 6, 7, 2, 3}));
  const PackedSequence turned = pack_sequence({slice(x[1], 0, 0, 1), slice(x[0], 0, 0, 2)}, false);
  EXPECT_EQ(turned.data.to_vector<double>(), same.data.to_vector<double>());
}

TEST(Recurrent, DropoutStandsBetweenLayers) {
  manual_seed(4);
  LSTM lstm(kIn, kHidden, {.num_layers = 2, .dropout = 0.5});
  const Tensor x = randn({kSteps, kBatch, kIn});
  const auto out = [&](uint64_t seed) {
    manual_seed(seed);
    return lstm(x).output;
  };
  EXPECT_GT(sum(abs(out(1) - out(2))).item<double>(), 1e-3);
  expect_equal("the same seed", out(1), out(1), 0);
  // With nothing let through, the second layer sees zeros.
  LSTM closed(kIn, kHidden, {.num_layers = 2, .dropout = 1});
  closed.weights = lstm.weights;
  const auto twice = [&](double scale) { return closed(x * scale).output; };
  expect_equal("the input does not matter", twice(1), twice(-3), 0);
  eval(lstm);
  expect_equal("evaluation", out(1), out(2), 0);
}

TEST(Recurrent, NamesAndInitialValues) {
  manual_seed(5);
  GRU gru(kIn, 16, {.num_layers = 2, .bidirectional = true});
  std::vector<std::string> names;
  for (const NamedTensor& p : named_parameters(gru)) {
    names.push_back(p.name);
    const double largest = amax(abs(p.tensor.detach())).item<double>();
    EXPECT_TRUE(largest > 0.2 && largest <= 0.25) << p.name << " " << largest;
  }
  ASSERT_EQ(names.size(), 16u);
  EXPECT_EQ(names[0], "weight_ih_l0");
  EXPECT_EQ(names[7], "bias_hh_l0_reverse");
  EXPECT_EQ(names[12], "weight_ih_l1_reverse");
  EXPECT_EQ(to_string(named_parameters(gru)[8].tensor.shape()), "[48, 32]");
  EXPECT_EQ(count_parameters(gru), 2 * (48 * 4 + 48 * 16 + 96) + 2 * (48 * 32 + 48 * 16 + 96));
  LSTMCell cell(kIn, 2);
  EXPECT_EQ(named_parameters(cell)[2].name, "bias_ih");
}

// The reserve is freed with the rest of what a node saved, and a checkpoint recomputes it.
TEST(Recurrent, Checkpoints) {
  manual_seed(6);
  LSTM lstm(kIn, kHidden);
  const Tensor x = randn({kSteps, kBatch, kIn}).set_requires_grad(true);
  const Tensor plain = grad(sum(lstm(x).output), {x})[0];
  const Tensor y =
      checkpoint([&](const std::vector<Tensor>& in) { return std::vector<Tensor>{lstm(in[0]).output}; }, {x})[0];
  expect_equal("gradient", grad(sum(y), {x})[0], plain, 0);
  EXPECT_THROW(grad(sum(y), {x}), AutogradError);
}

template <class E, class F>
void expect_error(const std::string& part, F&& f) {
  EXPECT_CONTAINS(testing::message_of<E>(f), part);
}

TEST(Recurrent, ErrorsNameTheRuleAndTheModule) {
  struct Net : Module {
    LSTM lstm{kIn, kHidden};
    GRU gru{kIn, kHidden, {.batch_first = true, .bidirectional = true}};
    void visit(Visitor& v) override {
      v("lstm", lstm);
      v("gru", gru);
    }
  } net;
  parameters(net);
  const Tensor x = zeros({kSteps, kBatch, kIn}), state = zeros({1, kBatch, kHidden});
  expect_error<ShapeError>("[steps, batch, 4] or, for one sequence, [steps, 4], got shape [5, 3, 2] [in module lstm]",
                           [&] {
                             net.lstm(zeros({5, 3, 2}));
                           });
  expect_error<ShapeError>("at least one step", [&] { net.lstm(zeros({0, kBatch, kIn})); });
  expect_error<ShapeError>("the initial state needs shape [1, 3, 3] [layers * directions, batch, hidden]", [&] {
    net.lstm(x, {zeros({1, 2, kHidden}), state});
  });
  expect_error<ShapeError>("the initial cell", [&] { net.lstm(x, {state, zeros({2, kBatch, kHidden})}); });
  expect_error<ValueError>("only one of h and c", [&] { net.lstm(x, {state, {}}); });
  expect_error<ShapeError>("[batch, steps, 4]", [&] { net.gru(zeros({4})); });
  expect_error<ShapeError>("needs shape [2, 5, 3]", [&] { net.gru(x, zeros({1, 5, 3})); });
  expect_error<DTypeError>("all must be one dtype", [&] { net.lstm(x.to(f64)); });
  expect_error<ShapeError>("2 lengths for a batch of 3", [&] { pack_padded_sequence(x, std::vector<int64_t>{5, 2}); });
  expect_error<ValueError>("sequence 1 is empty", [&] { pack_padded_sequence(x, std::vector<int64_t>{5, 0, 2}); });
  expect_error<ValueError>("has length 6, the input has 5", [&] {
    pack_padded_sequence(x, std::vector<int64_t>{6, 2, 2});
  });
  expect_error<ValueError>("enforce_sorted = false", [&] { pack_padded_sequence(x, kLengths); });
  expect_error<ValueError>("total_length 2", [&] {
    pad_packed_sequence(pack_padded_sequence(x, std::vector<int64_t>{5, 5, 1}), {.total_length = 2});
  });
  expect_error<ValueError>("at least one sequence", [&] { pack_sequence({}); });
  expect_error<ValueError>("sequence 0 is empty", [&] { pack_sequence({zeros({0, 2})}); });
  expect_error<ValueError>("without a step", [&] { net.lstm(PackedSequence{}); });
  expect_error<ValueError>("num_layers", [&] { LSTM(2, 2, {.num_layers = 0}); });
  expect_error<ValueError>("at least 1", [&] { GRU(2, 0); });
  expect_error<ShapeError>("a state needs shape [3, 3]", [&] {
    GRUCell(kIn, kHidden)(zeros({3, kIn}), zeros({2, kHidden}));
  });
  expect_error<ShapeError>("[batch, 4] or [4]", [&] { RNNCell(kIn, kHidden)(zeros({3, 5})); });
}

}  // namespace
}  // namespace tenrec
