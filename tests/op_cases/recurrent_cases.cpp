#include <cmath>

#include "op_cases/op_case.h"

namespace tenrec::testing {
namespace {

struct Row {
  enum Cell { tanh, relu, lstm, gru } cell;
  int64_t in, hidden;
  std::vector<int64_t> batch_sizes;
  bool packed = false, reverse = false, bias = true;

  int64_t gates() const { return cell == lstm ? 4 : cell == gru ? 3 : 1; }
};

RecurrentResult run(const Row& row, std::span<const Tensor> in) {
  const size_t w = row.cell == Row::lstm ? 3 : 2;
  RecurrentWeights weights{in[w], in[w + 1]};
  if (row.bias) weights = {in[w], in[w + 1], in[w + 2], in[w + 3]};
  RecurrentParams params{.reverse = row.reverse};
  if (row.packed) params.batch_sizes = row.batch_sizes;
  if (row.cell == Row::lstm) return lstm_layer(in[0], in[1], in[2], weights, params);
  if (row.cell == Row::gru) return gru_layer(in[0], in[1], weights, params);
  return rnn_layer(in[0], in[1], weights, row.cell == Row::relu ? Nonlinearity::relu : Nonlinearity::tanh, params);
}

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

// Unit by unit from the formulas, the states of all sequences in one table.
std::vector<Array> reference(const Row& row, std::span<const Array> in) {
  const size_t w = row.cell == Row::lstm ? 3 : 2;
  const Array &x = in[0], &w_ih = in[w], &w_hh = in[w + 1];
  const int64_t hidden = row.hidden, steps = int64_t(row.batch_sizes.size());
  Array h = in[1], c = row.cell == Row::lstm ? in[2] : Array{}, y = x;
  y.shape[y.shape.ndim() - 1] = hidden;
  y.values.assign(x.values.size() / size_t(row.in) * size_t(hidden), 0);
  std::vector<int64_t> first{0};
  for (const int64_t count : row.batch_sizes) first.push_back(first.back() + count);
  for (int64_t i = 0; i < steps; ++i) {
    const int64_t t = row.reverse ? steps - 1 - i : i;
    for (int64_t k = 0; k < row.batch_sizes[size_t(t)]; ++k) {
      const int64_t at = first[size_t(t)] + k;
      const auto product = [&](const Array& m, const double* v, int64_t n, int64_t gate, size_t bias) {
        double sum = row.bias ? in[bias].values[size_t(gate)] : 0;
        for (int64_t j = 0; j < n; ++j) sum += m.values[size_t(gate * n + j)] * v[j];
        return sum;
      };
      const std::vector<double> was(h.values.begin() + k * hidden, h.values.begin() + (k + 1) * hidden);
      for (int64_t u = 0; u < hidden; ++u) {
        const auto a = [&](int64_t g) {
          return product(w_ih, x.values.data() + at * row.in, row.in, g * hidden + u, w + 2);
        };
        const auto b = [&](int64_t g) { return product(w_hh, was.data(), hidden, g * hidden + u, w + 3); };
        double& out = h.values[size_t(k * hidden + u)];
        if (row.cell == Row::lstm) {
          double& cell = c.values[size_t(k * hidden + u)];
          cell = logistic(a(1) + b(1)) * cell + logistic(a(0) + b(0)) * std::tanh(a(2) + b(2));
          out = logistic(a(3) + b(3)) * std::tanh(cell);
        } else if (row.cell == Row::gru) {
          const double z = logistic(a(1) + b(1)), n = std::tanh(a(2) + logistic(a(0) + b(0)) * b(2));
          out = (1 - z) * n + z * was[size_t(u)];
        } else {
          out = row.cell == Row::relu ? std::max(0.0, a(0) + b(0)) : std::tanh(a(0) + b(0));
        }
        y.values[size_t(at * hidden + u)] = out;
      }
    }
  }
  if (row.cell == Row::lstm) return {y, h, c};
  return {y, h};
}

std::vector<Input> inputs_of(const Row& row, double scale) {
  const int64_t gates = row.gates() * row.hidden, batch = row.batch_sizes[0];
  int64_t rows = 0;
  for (const int64_t count : row.batch_sizes) rows += count;
  const auto input = [](const Shape& shape, double most) { return Input{.shape = shape, .low = -most, .high = most}; };
  const Shape x = row.packed ? Shape{rows, row.in} : Shape{int64_t(row.batch_sizes.size()), batch, row.in};
  std::vector<Input> inputs{input(x, 1), input({batch, row.hidden}, 1)};
  if (row.cell == Row::lstm) inputs.push_back(input({batch, row.hidden}, 1));
  inputs.push_back(input({gates, row.in}, scale));
  inputs.push_back(input({gates, row.hidden}, scale));
  if (!row.bias) return inputs;
  inputs.push_back(input({gates}, scale));
  inputs.push_back(input({gates}, scale));
  return inputs;
}

OpCase recurrent_row(const char* variant, const Row& row, int order = 2) {
  const char* op = row.cell == Row::lstm ? "lstm_layer" : row.cell == Row::gru ? "gru_layer" : "rnn_layer";
  OpCase c{.op = op, .variant = variant, .inputs = inputs_of(row, 1.5 / std::sqrt(double(row.hidden))), .f = {}};
  c.f = [row](std::span<const Tensor> in) {
    const RecurrentResult r = run(row, in);
    return row.cell == Row::lstm ? std::vector<Tensor>{r.y, r.h, r.c} : std::vector<Tensor>{r.y, r.h};
  };
  c.reference = [row](std::span<const Array> in) { return reference(row, in); };
  c.order = order;
  return c;
}

std::vector<BadCall> bad_calls() {
  const Tensor x = zeros({2, 3, 4}), h = zeros({3, 5}), w_ih = zeros({15, 4}), w_hh = zeros({15, 5}), b = zeros({15});
  return {{[=] {
             gru_layer(x, h, {w_ih, zeros({15, 4})});
           },
           "w_hh needs shape [12, 4] [gates * hidden, hidden]"},
          {[=] {
             gru_layer(x, h, {zeros({14, 4}), w_hh});
           },
           "w_ih needs shape [15, 4]"},
          {[=] {
             gru_layer(x, h, {w_ih, w_hh, b, {}});
           },
           "b_hh needs shape [15] [gates * hidden], as there is a b_ih"},
          {[=] {
             gru_layer(x, h, {w_ih, {}});
           },
           "weights must be w_ih [3 * hidden, in]"},
          {[=] {
             gru_layer(zeros({2, 3, 7}), h, {w_ih, w_hh});
           },
           "[steps, batch, in] with in = 4, got shape [2, 3, 7]"},
          {[=] {
             gru_layer(zeros({0, 3, 4}), h, {w_ih, w_hh});
           },
           "a sequence needs at least one step"},
          {[=] {
             gru_layer(x, zeros({2, 5}), {w_ih, w_hh});
           },
           "the initial state needs shape [3, 5] [batch, hidden]"},
          {[=] {
             gru_layer(x.to(f64), h, {w_ih, w_hh});
           },
           "all must be one dtype"},
          {[=] {
             gru_layer(x.to(i64), h, {w_ih, w_hh});
           },
           "needs a floating dtype"},
          {[=] {
             gru_layer(zeros({4, 4}), h, {w_ih, w_hh}, {.batch_sizes = {3, 2}});
           },
           "batch sizes that add up to 5 rows for an input of shape [4, 4]"},
          {[=] {
             gru_layer(zeros({5, 4}), zeros({2, 5}), {w_ih, w_hh}, {.batch_sizes = {2, 3}});
           },
           "must be positive and never rise, got 3 behind 2"}};
}

}  // namespace

void add_recurrent_cases(const Add& add) {
  for (const Row::Cell cell : {Row::tanh, Row::relu, Row::lstm, Row::gru}) {
    const auto named = [&](const char* what) {
      static constexpr const char* kNames[] = {"tanh, ", "relu, ", "", ""};
      return std::string(kNames[cell]) + what;
    };
    const auto put = [&](const char* what, const Row& row, int order = 2) {
      OpCase c = recurrent_row("", row, order);
      c.variant = named(what);
      if (cell == Row::gru && row.batch_sizes.size() == 1) c.bad = bad_calls();
      add(std::move(c));
    };
    put("one step", {cell, 3, 2, {2}});
    put("steps", {cell, 2, 2, {2, 2, 2, 2}});
    put("no bias", {.cell = cell, .in = 2, .hidden = 3, .batch_sizes = {1, 1}, .bias = false});
    put("reverse", {.cell = cell, .in = 2, .hidden = 2, .batch_sizes = {2, 2, 2}, .reverse = true});
    put("packed", {.cell = cell, .in = 2, .hidden = 2, .batch_sizes = {3, 2, 2, 1}, .packed = true});
    put("packed, reverse",
        {.cell = cell, .in = 2, .hidden = 2, .batch_sizes = {3, 2, 1, 1}, .packed = true, .reverse = true});
    put("many units", {cell, 5, 75, {6, 6, 6, 6}}, 0);
    put("many units, packed, reverse",
        {.cell = cell, .in = 3, .hidden = 130, .batch_sizes = {9, 9, 7, 2, 1}, .packed = true, .reverse = true}, 0);
  }
}

}  // namespace tenrec::testing
