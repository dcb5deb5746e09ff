#include "tenrec/autograd/ops/recurrent.h"

#include "tenrec/autograd/autocast.h"
#include "tenrec/autograd/ops/activation.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise_impl.h"
#include "tenrec/autograd/ops/join.h"
#include "tenrec/autograd/ops/matmul.h"
#include "tenrec/autograd/ops/reduce.h"
#include "tenrec/autograd/ops/reduce_impl.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/autograd/ops/unary.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/kernels/gemm.h"
#include "tenrec/kernels/recurrent.h"

namespace tenrec {

using detail::contiguous_data;
using detail::empty_of;
using kernels::RecurrentCell;
using kernels::RecurrentShape;

namespace {

// The op's inputs in the order of its node: x, h0, c0 of the LSTM, w_ih, w_hh, and both biases or none.
class Layer {
 public:
  Layer(const char* op, RecurrentCell cell, const Tensor& x, const Tensor& h0, const Tensor& c0,
        const RecurrentWeights& w, const RecurrentParams& params)
      : op_(op), lstm_(cell == RecurrentCell::lstm), bias_(w.b_ih.defined()) {
    shape_.cell = cell;
    shape_.dtype = x.dtype();
    shape_.reverse = params.reverse;
    check_weights(w);
    check_x(x, params);
    const Shape state{shape_.batch(), shape_.hidden};
    check_shape("the initial state", h0, state, "[batch, hidden]");
    if (lstm_) check_shape("the initial cell", c0, state, "[batch, hidden]");
    for (const Tensor* t : {&h0, &c0, &w.w_ih, &w.w_hh, &w.b_ih, &w.b_hh}) {
      if (!t->defined()) continue;
      if (t->dtype() != x.dtype())
        fail<DTypeError>(op_, ": the input is ", x.dtype(), ", a state or weight ", t->dtype(),
                         "; all must be one dtype");
      detail::check_same_device(op_, x, *t);
    }
  }

  std::vector<Tensor> forward(std::span<const TensorRef> inputs, bool keep) const {
    const NoGrad no_grad;
    const Tensor x = contiguous_data(*inputs[0]), w_ih = contiguous_data(*inputs[w_ih_at()]),
                 w_hh = contiguous_data(*inputs[w_ih_at() + 1]);
    const Tensor bias = bias_ ? input_bias(*inputs[w_ih_at() + 2], *inputs[w_ih_at() + 3]) : Tensor();
    const Tensor bias_n =
        bias_ && gru() ? contiguous(narrow(*inputs[w_ih_at() + 3], 0, 2 * shape_.hidden, shape_.hidden)) : Tensor();
    const Tensor y = like(x, y_shape()), reserve = like(x, {shape_.reserve(keep)}), h = clone(*inputs[1]),
                 c = lstm_ ? clone(*inputs[2]) : Tensor();
    dispatch(op_, x.device(), [&](auto device) {
      kernels::gemm(device, shape_.dtype,
                    {.trans_b = true,
                     .m = shape_.rows(),
                     .n = shape_.gates(),
                     .k = in_,
                     .lda = in_,
                     .ldb = in_,
                     .ldc = shape_.gates()},
                    view(x).data, view(w_ih).data, view(reserve).data, {.bias = data_or_null(bias)});
      kernels::recurrent_forward(device, shape_,
                                 {.w_hh = view(w_hh).data,
                                  .bias_n = data_or_null(bias_n),
                                  .reserve = view(reserve).data,
                                  .keep = keep,
                                  .y = view(y).data,
                                  .h = view(h).data,
                                  .c = data_or_null(c)});
    });
    if (lstm_) return {y, h, c, reserve};
    return {y, h, reserve};
  }

  int reserve_at() const { return lstm_ ? 3 : 2; }

  Grads gradient(const Saved& s, const Cotangents& dys, Needs needs) const {
    const size_t w = w_ih_at();
    const Tensor x = contiguous_data(s.input(0)), w_ih = contiguous_data(s.input(int(w))),
                 w_hh = contiguous_data(s.input(int(w) + 1)), reserve = s.output(reserve_at());
    const Tensor dy = dys.arrived(0) ? contiguous_data(dys[0]) : Tensor();
    const auto state = [&](size_t i) { return dys.arrived(i) ? clone(dys[i]) : dys[i]; };  // becomes that before
    const Tensor dh = state(1), dc = lstm_ ? state(2) : Tensor();
    const Tensor dgates = like(x, {shape_.rows(), shape_.gates()}), dhidden = gru() ? empty_like(dgates) : dgates;
    std::vector<Tensor> grads(w + (bias_ ? 4 : 2));
    if (needs[0]) grads[0] = empty_like(x);
    if (needs[w]) grads[w] = empty_like(w_ih);
    if (needs[w + 1]) grads[w + 1] = empty_like(w_hh);
    dispatch(op_, x.device(), [&](auto device) {
      kernels::recurrent_backward(device, shape_,
                                  {.w_hh = view(w_hh).data,
                                   .reserve = view(reserve).data,
                                   .dy = data_or_null(dy),
                                   .dgates = view(dgates).data,
                                   .dhidden = view(dhidden).data,
                                   .dh = view(dh).data,
                                   .dc = data_or_null(dc),
                                   .initial = needs[1]});
      const int64_t rows = shape_.rows(), gates = shape_.gates(), hidden = shape_.hidden;
      if (needs[0])
        kernels::gemm(device, shape_.dtype, {.m = rows, .n = in_, .k = gates, .lda = gates, .ldb = in_, .ldc = in_},
                      view(dgates).data, view(w_ih).data, view(grads[0]).data);
      if (needs[w])
        kernels::gemm(device, shape_.dtype,
                      {.trans_a = true, .m = gates, .n = in_, .k = rows, .lda = gates, .ldb = in_, .ldc = in_},
                      view(dgates).data, view(x).data, view(grads[w]).data);
      if (needs[w + 1])
        kernels::gemm(device, shape_.dtype,
                      {.trans_a = true, .m = gates, .n = hidden, .k = rows, .lda = gates, .ldb = hidden, .ldc = hidden},
                      view(dhidden).data, view(reserve).as<char>() + shape_.before_at() * size_of(shape_.dtype),
                      view(grads[w + 1]).data);
    });
    if (needs[1]) grads[1] = dh;
    if (lstm_ && needs[2]) grads[2] = dc;
    if (!bias_) return Grads(std::move(grads));
    if (needs[w + 2]) grads[w + 2] = sum(dgates, {.dim = 0});
    if (needs[w + 3]) grads[w + 3] = !gru() && needs[w + 2] ? grads[w + 2] : sum(dhidden, {.dim = 0});
    return Grads(std::move(grads));
  }

  // The same with ops, step by step.
  std::vector<Tensor> composed(std::span<const Tensor> inputs) const {
    const size_t w = w_ih_at();
    const Tensor none, x = reshape(inputs[0], {shape_.rows(), in_});
    const Tensor before = linear(x, inputs[w], bias_ ? inputs[w + 2] : none);
    Tensor h = inputs[1], c = lstm_ ? inputs[2] : Tensor();
    const int64_t steps = shape_.steps(), batch = shape_.batch();
    std::vector<Tensor> ys(size_t(steps), none);
    std::vector<int64_t> first{0};
    for (const int64_t count : shape_.batch_sizes) first.push_back(first.back() + count);
    for (int64_t i = 0; i < steps; ++i) {
      const auto t = size_t(shape_.reverse ? steps - 1 - i : i);
      const int64_t count = shape_.batch_sizes[t];
      const auto running = [&](const Tensor& state) { return narrow(state, 0, 0, count); };
      // With the rows of the sequences that are over, or have not begun.
      const auto whole = [&](const Tensor& some, const Tensor& state) {
        return count == batch ? some : cat({some, narrow(state, 0, count, batch - count)}, 0);
      };
      const Tensor was = running(h);
      const Tensor a = narrow(before, 0, first[t], count), b = linear(was, inputs[w + 1], bias_ ? inputs[w + 3] : none);
      if (lstm_) {
        const std::vector<Tensor> g = chunk(a + b, 4, 1);
        const Tensor cell = sigmoid(g[1]) * running(c) + sigmoid(g[0]) * tanh(g[2]);
        ys[t] = sigmoid(g[3]) * tanh(cell);
        c = whole(cell, c);
      } else if (gru()) {
        const std::vector<Tensor> g = chunk(a, 3, 1), s = chunk(b, 3, 1);
        const Tensor n = tanh(g[2] + sigmoid(g[0] + s[0]) * s[2]);
        ys[t] = n + sigmoid(g[1] + s[1]) * (was - n);
      } else {
        ys[t] = shape_.cell == RecurrentCell::rnn_relu ? relu(a + b) : tanh(a + b);
      }
      h = whole(ys[t], h);
    }
    const Tensor y = reshape(cat(ys, 0), y_shape());
    if (lstm_) return {y, h, c};
    return {y, h};
  }

 private:
  bool gru() const { return shape_.cell == RecurrentCell::gru; }
  size_t w_ih_at() const { return lstm_ ? 3 : 2; }
  Shape y_shape() const {
    return packed_ ? Shape{shape_.rows(), shape_.hidden} : Shape{shape_.steps(), shape_.batch(), shape_.hidden};
  }
  static Tensor like(const Tensor& x, const Shape& shape) { return empty_of(shape, x.dtype(), x.device()); }
  static void* data_or_null(const Tensor& t) { return t.defined() ? view(t).data : nullptr; }

  // What is added to w_ih x for all steps at once: both biases, but for the GRU's b_hn.
  Tensor input_bias(const Tensor& b_ih, const Tensor& b_hh) const {
    if (!gru()) return contiguous(b_ih + b_hh);
    const int64_t hidden = shape_.hidden;
    return contiguous(b_ih + cat({narrow(b_hh, 0, 0, 2 * hidden), zeros_like(narrow(b_hh, 0, 0, hidden))}, 0));
  }

  void check_shape(const char* what, const Tensor& t, const Shape& shape, const char* rule) const {
    if (!t.defined() || t.shape() != shape)
      fail<ShapeError>(op_, ": ", what, " needs shape ", shape, " ", rule, ", got ",
                       t.defined() ? to_string(t.shape()) : "none");
  }

  void check_weights(const RecurrentWeights& w) {
    const int64_t n = kernels::gates_of(shape_.cell);
    if (!w.w_ih.defined() || !w.w_hh.defined() || w.w_ih.ndim() != 2 || w.w_hh.ndim() != 2)
      fail<ShapeError>(op_, ": weights must be w_ih [", n, " * hidden, in] and w_hh [", n, " * hidden, hidden]");
    in_ = w.w_ih.shape()[1];
    shape_.hidden = w.w_hh.shape()[1];
    if (shape_.hidden < 1) fail<ShapeError>(op_, ": hidden must be at least 1");
    check_shape("w_hh", w.w_hh, {shape_.gates(), shape_.hidden}, "[gates * hidden, hidden]");
    check_shape("w_ih", w.w_ih, {shape_.gates(), in_}, "[gates * hidden, in]");
    if (!w.b_ih.defined() && !w.b_hh.defined()) return;
    check_shape("b_ih", w.b_ih, {shape_.gates()}, "[gates * hidden], as there is a b_hh");
    check_shape("b_hh", w.b_hh, {shape_.gates()}, "[gates * hidden], as there is a b_ih");
  }

  void check_x(const Tensor& x, const RecurrentParams& params) {
    detail::check_floating(op_, x);
    packed_ = !params.batch_sizes.empty();
    if (x.ndim() != (packed_ ? 2 : 3) || x.shape()[x.ndim() - 1] != in_)
      fail<ShapeError>(op_, ": needs an input ", packed_ ? "[rows, in]" : "[steps, batch, in]", " with in = ", in_,
                       ", got shape ", x.shape());
    if (!packed_) {
      if (x.shape()[0] < 1) fail<ShapeError>(op_, ": a sequence needs at least one step, got shape ", x.shape());
      shape_.batch_sizes.assign(size_t(x.shape()[0]), x.shape()[1]);
      return;
    }
    shape_.batch_sizes = params.batch_sizes;
    int64_t last = params.batch_sizes[0];
    for (const int64_t count : params.batch_sizes) {
      if (count < 1 || count > last)
        fail<ValueError>(op_, ": batch sizes must be positive and never rise, got ", count, " behind ", last);
      last = count;
    }
    if (shape_.rows() != x.shape()[0])
      fail<ShapeError>(op_, ": batch sizes that add up to ", shape_.rows(), " rows for an input of shape ", x.shape());
  }

  const char* op_;
  RecurrentShape shape_;
  int64_t in_ = 0;
  bool lstm_, bias_, packed_ = false;
};

RecurrentResult run(const char* op, RecurrentCell cell, const Tensor& x, const Tensor& h0, const Tensor& c0,
                    const RecurrentWeights& w, const RecurrentParams& params) {
  const auto run_wide = [&](auto wide) {
    return run(op, cell, wide(x), wide(h0), wide(c0), {wide(w.w_ih), wide(w.w_hh), wide(w.b_ih), wide(w.b_hh)}, params);
  };
  if (is_autocast_enabled()) [[unlikely]] {
    const Autocast off(false);
    return run_wide([](const Tensor& t) { return detail::autocast_input(t, f32); });
  }
  Layer layer(op, cell, x, h0, c0, w, params);
  if (size_of(x.dtype()) == 2) {
    const RecurrentResult r = run_wide([](const Tensor& t) { return t.defined() ? t.to(f32) : t; });
    const DType dtype = x.dtype();
    return {r.y.to(dtype), r.h.to(dtype), c0.defined() ? r.c.to(dtype) : Tensor()};
  }
  std::vector<TensorRef> inputs;
  for (const Tensor* t : {&x, &h0, &c0, &w.w_ih, &w.w_hh, &w.b_ih, &w.b_hh})
    if (t->defined()) inputs.emplace_back(*t);
  const bool keep = grad_enabled() && detail::wants_grad(inputs);
  std::vector<Tensor> outputs = layer.forward(inputs, keep);
  const Save save = save_inputs | save_output_at(layer.reserve_at());
  outputs = record(
      op, inputs, std::move(outputs), save,
      fused_rule([layer](const Saved& s, const Cotangents& dys, Needs needs) { return layer.gradient(s, dys, needs); },
                 [layer](std::span<const Tensor> xs) { return layer.composed(xs); }));
  return {outputs[0], outputs[1], cell == RecurrentCell::lstm ? outputs[2] : Tensor()};
}

}  // namespace

RecurrentResult rnn_layer(const Tensor& x, const Tensor& h0, const RecurrentWeights& weights, Nonlinearity nonlinearity,
                          const RecurrentParams& params) {
  const auto cell = nonlinearity == Nonlinearity::relu ? RecurrentCell::rnn_relu : RecurrentCell::rnn_tanh;
  return run("rnn_layer", cell, x, h0, {}, weights, params);
}

RecurrentResult lstm_layer(const Tensor& x, const Tensor& h0, const Tensor& c0, const RecurrentWeights& weights,
                           const RecurrentParams& params) {
  return run("lstm_layer", RecurrentCell::lstm, x, h0, c0, weights, params);
}

RecurrentResult gru_layer(const Tensor& x, const Tensor& h0, const RecurrentWeights& weights,
                          const RecurrentParams& params) {
  return run("gru_layer", RecurrentCell::gru, x, h0, {}, weights, params);
}

}  // namespace tenrec
