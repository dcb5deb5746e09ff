// Linear layers with their activation, and two of them as one op. On a device the bias, the activation and the
// activation's gradient are part of a product's kernel where the library has one (kernels/gemm.h, Fusion); where it has
// none, and on the CPU, the same is made of a product and elementwise kernels.
#include "tenrec/autograd/autocast.h"
#include "tenrec/autograd/ops/activation.h"
#include "tenrec/autograd/ops/elementwise_impl.h"
#include "tenrec/autograd/ops/matmul.h"
#include "tenrec/autograd/ops/matmul_impl.h"
#include "tenrec/autograd/ops/reduce.h"
#include "tenrec/autograd/ops/reduce_impl.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/kernels/gemm.h"

namespace tenrec {

using detail::as_rows;
using detail::Factor;
using detail::from_rows;
using detail::linear_grads;
using detail::turned;

namespace {

using Activation = FeedForwardActivation;

struct FusedOperands {
  Tensor bias, aux, sums;
};

void* data_of(const Tensor& x) { return x.defined() ? view(x).data : nullptr; }

// Only a device's library has such kernels; on the CPU not even their outputs are to be made.
bool may_fuse(const Tensor& x) { return !x.device().is_cpu(); }

// y = a b with something behind it in one kernel; false, and nothing done, where there is no such kernel.
bool fused_product(const char* op, kernels::Fusion kind, const Factor& a, const Factor& b, const Tensor& y,
                   const FusedOperands& more) {
  detail::MatrixLayout la, lb;
  const Tensor left = detail::with_layout(a, la), right = detail::with_layout(b, lb);
  const int64_t m = a.rows(), k = a.columns(), n = b.columns();
  return dispatch(op, y.device(), [&](auto device) {
    const kernels::GemmFusion fusion{kind, data_of(more.bias), data_of(more.aux), data_of(more.sums)};
    return kernels::fused_gemm(device, y.dtype(), {la.transposed, lb.transposed, m, n, k, la.leading, lb.leading, n},
                               view(left).data, view(right).data, view(y).data, fusion);
  });
}

Tensor like(const Tensor& x, const Shape& shape) { return detail::empty_of(shape, x.dtype(), x.device()); }

// An activated layer's output, and what the activation's gradient reads beside it.
struct Hidden {
  Tensor h;
  Tensor before;  // GELU: what it was applied to, if it is kept
  Tensor mask;    // ReLU: the bits that a device's kernel left, if any
};

Hidden activated(const char* op, Activation activation, const Tensor& x, const Tensor& weight, const Tensor& bias,
                 bool keep) {
  const Factor w = turned(weight);
  const Tensor row = bias.defined() ? detail::contiguous_data(bias) : Tensor();
  const int64_t m = x.shape()[0], n = w.columns();
  Hidden out;
  if (activation == Activation::relu) {
    if (keep && may_fuse(x)) {
      out.mask = detail::empty_of({m, kernels::relu_mask_bytes(n)}, u8, x.device());
      out.h = like(x, {m, n});
      if (fused_product(op, kernels::Fusion::relu, x, w, out.h, {row, out.mask, {}})) return out;
    }
    return {detail::product(op, x, w, bias, true), {}, {}};
  }
  if (may_fuse(x)) {
    out.h = like(x, {m, n});
    if (keep) out.before = like(x, {m, n});
    if (fused_product(op, kernels::Fusion::gelu, x, w, out.h, {row, out.before, {}})) return out;
  }
  const Tensor before = detail::product(op, x, w, bias);
  return {detail::map(op, kernels::GeluTanh(), before), keep ? before : Tensor(), {}};
}

// The gradient of what the activation was applied to, from that of its output.
Tensor through(Activation activation, const Tensor& dh, const Hidden& hidden) {
  if (activation == Activation::relu) return detail::zip("relu_grad", kernels::ReluGrad(), dh, hidden.h);
  return detail::zip("gelu_grad", kernels::GeluTanhGrad(), dh, hidden.before);
}

// The same from the gradient dy of y = h weight^T, and the sums of its columns if they are wanted.
Tensor through_layer(Activation activation, const Tensor& dy, const Tensor& weight, const Hidden& hidden,
                     Tensor* sums) {
  const bool relu = activation == Activation::relu;
  const Tensor& aux = relu ? hidden.mask : hidden.before;
  if (aux.defined() && may_fuse(dy)) {
    const Tensor dz = like(dy, hidden.h.shape()), total = sums ? like(dy, {dz.shape()[1]}) : Tensor();
    if (fused_product("feed_forward", relu ? kernels::Fusion::relu_grad : kernels::Fusion::gelu_grad, dy, weight, dz,
                      {{}, aux, total})) {
      if (sums) *sums = total;
      return dz;
    }
  }
  const Tensor dz = through(activation, detail::product("feed_forward", dy, weight, {}), hidden);
  if (sums) *sums = sum(dz, {.dim = 0});
  return dz;
}

Tensor activate(Activation activation, const Tensor& x) {
  return activation == Activation::relu ? relu(x) : gelu(x, GeluApproximation::tanh);
}

bool will_record(std::span<const TensorRef> inputs) { return grad_enabled() && detail::wants_grad(inputs); }

void check_floating(const char* op, const Tensor& x) {
  if (!is_floating(x.dtype())) fail<DTypeError>(op, ": needs a floating dtype, got ", x.dtype());
}

std::vector<TensorRef> layer_inputs(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  std::vector<TensorRef> inputs{x, weight};
  if (bias.defined()) inputs.push_back(bias);
  return inputs;
}

}  // namespace

namespace detail {

Grads linear_grads(const Tensor& dy, const Tensor& x, const Tensor& weight, bool bias, Needs needs) {
  Grads grads{needs[0] ? matrix_product(dy, weight) : Tensor(), Tensor(), Tensor()};
  const bool both = bias && needs[1] && needs[2];
  if (both && !grad_enabled() && may_fuse(dy)) {
    const Tensor dw = like(dy, weight.shape()), db = like(dy, {weight.shape()[0]});
    if (fused_product("linear_grad", kernels::Fusion::row_sums, turned(dy), x, dw, {{}, {}, db})) {
      grads[1] = dw;
      grads[2] = db;
      return grads;
    }
  }
  // A weight that is the transpose of what is stored gets a gradient that lies as it does.
  const auto outer = [](const Tensor& a, const Tensor& b) {  // a^T b
    if (grad_enabled()) return matrix_product(t(a), b);
    return record("matmul", {a, b}, product("matmul", turned(a), b, {}), not_differentiable);
  };
  if (needs[1]) grads[1] = lies_turned(weight) ? t(outer(x, dy)) : outer(dy, x);
  if (!bias) return Grads{grads[0], grads[1]};
  if (needs[2]) grads[2] = sum(dy, {.dim = 0});
  return grads;
}

}  // namespace detail

Tensor linear_relu(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_low(linear_relu, x, weight, bias);
  detail::check_linear("linear_relu", x, weight, bias);
  check_floating("linear_relu", x);
  if (x.numel() == 0 && x.ndim() != 2) return relu(linear(x, weight, bias));
  const Tensor rows = as_rows(x);
  const std::vector<TensorRef> inputs = layer_inputs(rows, weight, bias);
  Tensor y = record("linear_relu", inputs, detail::product("linear_relu", rows, turned(weight), bias, true),
                    save_input(0) | save_input(1) | save_output,
                    [has_bias = bias.defined()](const Saved& s, const Tensor& dy, Needs needs) {
                      const Tensor dz = detail::piecewise_grad("relu_grad", kernels::ReluGrad(), dy, s.output());
                      return linear_grads(dz, s.input(0), s.input(1), has_bias, needs);
                    });
  return from_rows(y, x);
}

Tensor linear_gelu(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_low(linear_gelu, x, weight, bias);
  detail::check_linear("linear_gelu", x, weight, bias);
  check_floating("linear_gelu", x);
  if (x.numel() == 0 && x.ndim() != 2) return gelu(linear(x, weight, bias), GeluApproximation::tanh);
  const Tensor rows = as_rows(x);
  const std::vector<TensorRef> inputs = layer_inputs(rows, weight, bias);
  const bool keep = will_record(inputs), has_bias = bias.defined();
  Hidden hidden = activated("linear_gelu", Activation::gelu, rows, weight, bias, keep);
  std::vector<Tensor> outputs{std::move(hidden.h)};
  if (keep) outputs.push_back(std::move(hidden.before));  // an output, so that a checkpoint need not keep it
  const auto fused = [has_bias](const Saved& s, const Cotangents& dys, Needs needs) {
    const Tensor dz = through(Activation::gelu, dys[0], {{}, s.output(1), {}});
    return linear_grads(dz, s.input(0), s.input(1), has_bias, needs);
  };
  const auto composed = [has_bias](std::span<const Tensor> in) {
    return gelu(linear(in[0], in[1], has_bias ? in[2] : Tensor()), GeluApproximation::tanh);
  };
  outputs =
      record("linear_gelu", inputs, std::move(outputs), save_inputs | save_output_at(1), fused_rule(fused, composed));
  return from_rows(outputs[0], x);
}

namespace {

Needs needs_of(bool x, bool weight, bool bias) {
  return Needs{uint64_t((x ? 1 : 0) | (weight ? 2 : 0) | (bias ? 4 : 0))};
}

// Where feed_forward's inputs stand in its node: x, weight1, bias1 if any, weight2, bias2 if any.
struct FeedForward {
  Activation activation;
  bool has_bias1, has_bias2;
  int weight2() const { return has_bias1 ? 3 : 2; }

  Tensor composed(std::span<const Tensor> in) const {
    const auto at = [&](bool there, int i) { return there ? in[size_t(i)] : Tensor(); };
    const Tensor h = activate(activation, linear(in[0], in[1], at(has_bias1, 2)));
    return linear(h, in[size_t(weight2())], at(has_bias2, weight2() + 1));
  }

  Grads gradient(const Saved& s, const Tensor& dy, Needs needs, const Hidden& hidden) const {
    const int w2 = weight2();
    std::vector<Tensor> grads(size_t(w2) + (has_bias2 ? 2 : 1));
    const Tensor weight = s.input(w2);
    const Needs second = needs_of(false, needs[size_t(w2)], has_bias2 && needs[size_t(w2) + 1]);
    Grads of_second = linear_grads(dy, hidden.h, weight, has_bias2, second);
    grads[size_t(w2)] = of_second[1];
    if (has_bias2) grads[size_t(w2) + 1] = of_second[2];
    const bool wants_sums = has_bias1 && needs[2];
    if (needs[0] || needs[1] || wants_sums) {
      const Tensor dz = through_layer(activation, dy, weight, hidden, wants_sums ? &grads[2] : nullptr);
      const Needs first = needs_of(needs[0], needs[1], false);
      Grads of_first = linear_grads(dz, s.input(0), s.input(1), false, first);
      grads[0] = of_first[0];
      grads[1] = of_first[1];
    }
    return Grads(std::move(grads));
  }
};

}  // namespace

Tensor feed_forward(const Tensor& x, const Tensor& weight1, const Tensor& bias1, const Tensor& weight2,
                    const Tensor& bias2, FeedForwardActivation activation) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_low(
        [activation](const auto&... arguments) { return feed_forward(arguments..., activation); }, x, weight1, bias1,
        weight2, bias2);
  detail::check_linear("feed_forward", x, weight1, bias1);
  check_floating("feed_forward", x);
  if (weight2.ndim() != 2 || weight2.shape()[1] != weight1.shape()[0])
    fail<ShapeError>("feed_forward: a second weight of shape ", weight2.shape(),
                     " does not follow a first one of shape ", weight1.shape(),
                     " [hidden, in]: it must be [out, hidden]");
  if (x.numel() == 0 && x.ndim() != 2) return linear(activate(activation, linear(x, weight1, bias1)), weight2, bias2);
  const Tensor rows = as_rows(x);
  std::vector<TensorRef> inputs = layer_inputs(rows, weight1, bias1);
  inputs.push_back(weight2);
  if (bias2.defined()) inputs.push_back(bias2);
  const bool keep = will_record(inputs);
  Hidden hidden = activated("feed_forward", activation, rows, weight1, bias1, keep);
  detail::check_linear("feed_forward", hidden.h, weight2, bias2);
  std::vector<Tensor> outputs{detail::product("feed_forward", hidden.h, turned(weight2), bias2)};
  if (keep) {
    outputs.push_back(std::move(hidden.h));
    if (hidden.before.defined()) outputs.push_back(std::move(hidden.before));
  }
  const FeedForward layers{activation, bias1.defined(), bias2.defined()};
  const auto fused = [layers, mask = std::move(hidden.mask)](const Saved& s, const Cotangents& dys, Needs needs) {
    const bool gelu = layers.activation == Activation::gelu;
    return layers.gradient(s, dys[0], needs, {s.output(1), gelu ? s.output(2) : Tensor(), mask});
  };
  const auto composed = [layers](std::span<const Tensor> in) { return layers.composed(in); };
  outputs = record("feed_forward", inputs, std::move(outputs), save_inputs | save_output_at(1) | save_output_at(2),
                   fused_rule(fused, composed));
  return from_rows(outputs[0], x);
}

}  // namespace tenrec
