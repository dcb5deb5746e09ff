// Layers with their activation: shapes whose rows are whole eights, which a device's library takes as one kernel, and
// others, which it does not.
#include <cmath>

#include "op_cases/op_case.h"

namespace tenrec::testing {
namespace {

using Activation = std::function<double(double)>;

double rectified(double x) { return std::isnan(x) ? x : std::max(x, 0.0); }
double gelu_tanh(double x) { return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }
double same(double x) { return x; }

// activation(x w^T + b) from the definition; x [..., in], w [out, in], b [out] or null.
Array layer(const Array& x, const Array& w, const Array* b, const Activation& activation) {
  const int64_t out = w.shape[0], in = w.shape[1];
  Array y{x.shape, {}};
  y.shape[y.shape.ndim() - 1] = out;
  const int64_t rows = checked_numel(y.shape) / out;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < out; ++j) {
      double sum = b ? b->values[size_t(j)] : 0;
      for (int64_t k = 0; k < in; ++k) sum += x.values[size_t(i * in + k)] * w.values[size_t(j * in + k)];
      y.values.push_back(activation(sum));
    }
  return y;
}

Bench layer_bench() {
  return {.shapes = {{64, 784}, {512, 1024}},
          .inputs =
              [](const Shape& s) {
                return std::vector<Input>{{.shape = s}, {.shape = {4 * s[1], s[1]}}, {.shape = {4 * s[1]}}};
              },
          .bytes_per_element = 4,
          .flops = [](const Shape& s) { return 8.0 * double(s[0]) * double(s[1]) * double(s[1]); }};
}

OpCase layer_case(const char* op, const char* variant, const Shape& x, int64_t out, bool bias) {
  const bool relu = std::string(op) == "linear_relu";
  OpCase row{.op = op,
             .variant = variant,
             .inputs = {{.shape = x}, {.shape = {out, x.back()}}},
             .f =
                 [relu](std::span<const Tensor> in) {
                   const Tensor b = in.size() > 2 ? in[2] : Tensor();
                   return std::vector<Tensor>{relu ? linear_relu(in[0], in[1], b) : linear_gelu(in[0], in[1], b)};
                 },
             .reference =
                 [relu](std::span<const Array> in) {
                   return std::vector<Array>{
                       layer(in[0], in[1], in.size() > 2 ? &in[2] : nullptr, relu ? rectified : gelu_tanh)};
                 },
             .tolerance = {.f32 = 1e-5, .bf16 = 4e-2, .f16 = 6e-3},
             .also_covers = {"linear", "relu", "relu_grad", "gelu", "matmul", "sum", "transpose", "reshape"}};
  if (bias) row.inputs.push_back({.shape = {out}});
  return row;
}

OpCase feed_forward_case(const char* variant, FeedForwardActivation activation, const Shape& x, int64_t hidden,
                         bool bias1, bool bias2) {
  constexpr int64_t kOut = 3;
  const auto unpacked = [bias1, bias2](auto in, auto&& f) {
    const size_t w2 = bias1 ? 3 : 2;
    return f(in[0], in[1], bias1 ? &in[2] : nullptr, in[w2], bias2 ? &in[w2 + 1] : nullptr);
  };
  OpCase row{
      .op = "feed_forward",
      .variant = variant,
      .inputs = {{.shape = x}, {.shape = {hidden, x.back()}, .low = -0.6, .high = 0.6}},
      .f =
          [=](std::span<const Tensor> in) {
            return unpacked(
                in, [&](const Tensor& rows, const Tensor& w1, const Tensor* b1, const Tensor& w2, const Tensor* b2) {
                  return std::vector<Tensor>{
                      feed_forward(rows, w1, b1 ? *b1 : Tensor(), w2, b2 ? *b2 : Tensor(), activation)};
                });
          },
      .reference =
          [=](std::span<const Array> in) {
            return unpacked(
                in, [&](const Array& rows, const Array& w1, const Array* b1, const Array& w2, const Array* b2) {
                  const bool relu = activation == FeedForwardActivation::relu;
                  return std::vector<Array>{layer(layer(rows, w1, b1, relu ? rectified : gelu_tanh), w2, b2, same)};
                });
          },
      .tolerance = {.f32 = 2e-5, .bf16 = 6e-2, .f16 = 1e-2},  // the hidden layer is rounded too, and summed again
      .also_covers = {"linear", "relu", "relu_grad", "gelu", "matmul", "sum", "transpose", "reshape"}};
  if (bias1) row.inputs.push_back({.shape = {hidden}});
  row.inputs.push_back({.shape = {kOut, hidden}, .low = -0.6, .high = 0.6});
  if (bias2) row.inputs.push_back({.shape = {kOut}});
  return row;
}

}  // namespace

void add_linear_cases(const Add& add) {
  for (const char* op : {"linear_relu", "linear_gelu"}) {
    const bool relu = std::string(op) == "linear_relu";
    OpCase row = layer_case(op, "", {3, 4}, 8, true);
    const auto f = relu ? linear_relu : linear_gelu;
    row.bad = {{[f] {
                  f(zeros({2, 3}), zeros({5, 4}), {});
                },
                "the last size of the input must equal in"},
               {[f] {
                  f(zeros({2, 4}), zeros({5, 4}), zeros({4}));
                },
                "a bias of shape [4]"},
               {[f] {
                  f(zeros({2, 4}, {.dtype = i64}), zeros({5, 4}, {.dtype = i64}), {});
                },
                "needs a floating dtype"}};
    row.bench = layer_bench();
    add(row);
    add(layer_case(op, "odd sizes", {3, 4}, 5, true));
    add(layer_case(op, "three dimensions, no bias", {2, 3, 4}, 16, false));
    add(layer_case(op, "one row", {1, 3}, 8, true));
    add(layer_case(op, "empty batch", {0, 4}, 8, true));
    add(layer_case(op, "inner size 0", {2, 0}, 8, true));
  }

  using A = FeedForwardActivation;
  OpCase row = feed_forward_case("gelu", A::gelu, {3, 4}, 8, true, true);
  row.bad = {{[] {
                feed_forward(zeros({2, 3}), zeros({5, 4}), {}, zeros({2, 5}), {});
              },
              "the last size of the input must equal in"},
             {[] {
                feed_forward(zeros({2, 4}), zeros({5, 4}), {}, zeros({5, 2}), {});
              },
              "it must be [out, hidden]"},
             {[] {
                feed_forward(zeros({2, 4}), zeros({5, 4}), {}, zeros({2, 5}), zeros({5}));
              },
              "a bias of shape [5]"}};
  add(row);
  add(feed_forward_case("relu", A::relu, {3, 4}, 8, true, true));
  add(feed_forward_case("gelu, odd sizes", A::gelu, {3, 4}, 5, true, true));
  add(feed_forward_case("relu, odd sizes", A::relu, {3, 4}, 5, true, true));
  add(feed_forward_case("gelu, no biases, three dimensions", A::gelu, {2, 2, 3}, 8, false, false));
  add(feed_forward_case("relu, one bias", A::relu, {3, 4}, 130, true, false));
  add(feed_forward_case("gelu, the other bias", A::gelu, {3, 4}, 8, false, true));
  add(feed_forward_case("empty batch", A::relu, {0, 4}, 8, true, true));
}

}  // namespace tenrec::testing
