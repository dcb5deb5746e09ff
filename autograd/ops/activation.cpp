#include "tenrec/autograd/ops/activation.h"

#include "tenrec/autograd/autocast.h"
#include "tenrec/autograd/ops/compare.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/elementwise_impl.h"
#include "tenrec/autograd/ops/shape.h"

namespace tenrec {

using detail::map;
using detail::piecewise_rule;
using detail::slope_rule;

namespace {
using In = const Tensor&;
}  // namespace

// --- piecewise linear -----------------------------------------------------------------------------------------------
Tensor relu(const Tensor& x) {
  return record("relu", {x}, map("relu", kernels::Relu(), x), save_output, [](const Saved& s, const Tensor& dy, Needs) {
    return Grads{detail::piecewise_grad("relu_grad", kernels::ReluGrad(), dy, s.output())};
  });
}
Tensor relu6(const Tensor& x) { return hardtanh(x, 0, 6); }
Tensor leaky_relu(const Tensor& x, double negative_slope) {
  return record("leaky_relu", {x}, map("leaky_relu", kernels::LeakyRelu{negative_slope}, x), save_inputs,
                piecewise_rule("leaky_relu_grad", kernels::LeakyReluGrad{negative_slope}));
}
Tensor prelu(const Tensor& x, const Tensor& weight) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_low(prelu, x, weight);
  const int64_t channels = x.ndim() >= 2 ? x.shape()[1] : x.numel(), n = weight.numel();
  if (weight.ndim() > 1 || (n != 1 && n != channels))
    fail<ShapeError>("prelu: expected a weight of one element or of shape [", channels, "] for x of shape ", x.shape(),
                     ", got ", weight.shape());
  Shape shape;
  if (n != 1 || weight.ndim())
    for (int64_t d = 0; d < x.ndim(); ++d) shape.push_back(d == (x.ndim() >= 2 ? 1 : 0) ? n : 1);
  return where(gt(x, 0), x, x * reshape(weight, shape));
}
Tensor hardtanh(const Tensor& x, double min, double max) {
  if (min > max) fail<ValueError>("hardtanh: min ", min, " is above max ", max);
  return record("hardtanh", {x}, map("hardtanh", kernels::Clamp{min, max, 0, 0}, x, detail::to_floating(x.dtype())),
                save_inputs, piecewise_rule("hardtanh_grad", kernels::HardTanhGrad{min, max}));
}
Tensor hardsigmoid(const Tensor& x) {
  return record("hardsigmoid", {x}, map("hardsigmoid", kernels::HardSigmoid(), x), save_inputs,
                piecewise_rule("hardsigmoid_grad", kernels::HardSigmoidGrad()));
}
namespace {
void check_lambda(const char* op, double lambda) {
  if (!(lambda >= 0)) fail<ValueError>(op, ": lambda must not be negative, got ", lambda);
}
}  // namespace
Tensor hardshrink(const Tensor& x, double lambda) {
  check_lambda("hardshrink", lambda);
  return record("hardshrink", {x}, map("hardshrink", kernels::HardShrink{lambda}, x), save_inputs,
                piecewise_rule("shrink_grad", kernels::ShrinkGrad{lambda}));
}
Tensor softshrink(const Tensor& x, double lambda) {
  check_lambda("softshrink", lambda);
  return record("softshrink", {x}, map("softshrink", kernels::SoftShrink{lambda}, x), save_inputs,
                piecewise_rule("shrink_grad", kernels::ShrinkGrad{lambda}));
}
Tensor threshold(const Tensor& x, double at, double value) {
  return record("threshold", {x}, map("threshold", kernels::Threshold{at, value}, x), save_inputs,
                piecewise_rule("threshold_grad", kernels::ThresholdGrad{at}));
}

// --- exponential linear units ---------------------------------------------------------------------------------------
namespace {

Tensor elu_like(const char* op, const Tensor& x, double alpha, double scale, double width) {
  const double slope = alpha * scale / width;
  return record(op, {x}, map(op, kernels::Elu{alpha, scale, 1 / width}, x), save_inputs,
                slope_rule(op, kernels::EluGrad{alpha, scale, 1 / width},
                           [=](In v) { return where(gt(v, 0), scale, exp(clamp_max(v, 0) / width) * slope); }));
}

}  // namespace

Tensor elu(const Tensor& x, double alpha) { return elu_like("elu", x, alpha, 1, 1); }
Tensor celu(const Tensor& x, double alpha) {
  if (alpha == 0) fail<ValueError>("celu: alpha must not be 0");
  return elu_like("celu", x, alpha, 1, alpha);
}
Tensor selu(const Tensor& x) { return elu_like("selu", x, 1.6732632423543772, 1.0507009873554805, 1); }

// --- curved ---------------------------------------------------------------------------------------------------------
namespace {

constexpr double kSqrtHalf = 0.7071067811865476, kSqrt2OverPi = 0.7978845608028654, kDensityAt0 = 0.3989422804014327;

Tensor gelu_tanh(const Tensor& x) {
  return record("gelu", {x}, map("gelu", kernels::GeluTanh(), x), save_inputs,
                slope_rule("gelu_grad", kernels::GeluTanhGrad(), [](In v) {
                  const Tensor bounded = clamp(v, -10, 10), cube = bounded * bounded * bounded;
                  const Tensor t = tanh((bounded + cube * 0.044715) * kSqrt2OverPi);
                  const Tensor slope = (bounded + cube * (3 * 0.044715)) * kSqrt2OverPi;
                  return (t + 1 + (1 - t * t) * slope) * 0.5;
                }));
}

}  // namespace

Tensor gelu(const Tensor& x, GeluApproximation approximate) {
  if (approximate == GeluApproximation::tanh) return gelu_tanh(x);
  return record("gelu", {x}, map("gelu", kernels::Gelu(), x), save_inputs,
                slope_rule("gelu_grad", kernels::GeluGrad(), [](In v) {
                  const Tensor density = exp(v * v * -0.5) * kDensityAt0;
                  return (erf(v * kSqrtHalf) + 1) * 0.5 + v * density;
                }));
}

Tensor silu(const Tensor& x) {
  return record("silu", {x}, map("silu", kernels::Silu(), x), save_inputs,
                slope_rule("silu_grad", kernels::SiluGrad(), [](In v) {
                  const Tensor s = sigmoid(v);
                  return s * (v * (1 - s) + 1);
                }));
}

Tensor mish(const Tensor& x) {
  return record("mish", {x}, map("mish", kernels::Mish(), x), save_inputs,
                slope_rule("mish_grad", kernels::MishGrad(), [](In v) {
                  const Tensor t = tanh(softplus(v));
                  return t + clamp_max(v, 20) * sigmoid(v) * (1 - t * t);  // t is 1 beyond
                }));
}

Tensor softplus(const Tensor& x, double beta, double threshold) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_f32(softplus, x, beta, threshold);
  if (beta == 0) fail<ValueError>("softplus: beta must not be 0");
  return record("softplus", {x}, map("softplus", kernels::Softplus{beta, threshold}, x), save_inputs,
                slope_rule("softplus_grad", kernels::SoftplusGrad{beta, threshold}, [=](In v) {
                  const Tensor z = v * beta;
                  return where(gt(z, threshold), 1.0, sigmoid(z));
                }));
}

Tensor softsign(const Tensor& x) {
  return record(
      "softsign", {x}, map("softsign", kernels::Softsign(), x), save_inputs,
      slope_rule("softsign_grad", kernels::SoftsignGrad(), [](In v) { return reciprocal(square(abs(v) + 1)); }));
}

Tensor logsigmoid(const Tensor& x) {
  return record("logsigmoid", {x}, map("logsigmoid", kernels::LogSigmoid(), x), save_inputs,
                slope_rule("logsigmoid_grad", kernels::LogSigmoidGrad(), [](In v) { return sigmoid(-v); }));
}

Tensor hardswish(const Tensor& x) {
  return record("hardswish", {x}, map("hardswish", kernels::HardSwish(), x), save_inputs,
                slope_rule("hardswish_grad", kernels::HardSwishGrad(),
                           [](In v) { return where(lt(v, -3), 0.0, where(ge(v, 3), 1.0, v / 3 + 0.5)); }));
}

Tensor tanhshrink(const Tensor& x) {
  return record("tanhshrink", {x}, map("tanhshrink", kernels::TanhShrink(), x), save_inputs,
                slope_rule("tanhshrink_grad", kernels::TanhShrinkGrad(), [](In v) { return square(tanh(v)); }));
}

// --- gated ----------------------------------------------------------------------------------------------------------
namespace {

std::pair<Tensor, Tensor> halves(const char* op, const Tensor& x, int64_t dim) {
  dim = check_dim(op, x.shape(), dim);
  const int64_t size = x.ndim() ? x.shape()[dim] : 1;
  if (size % 2) fail<ShapeError>(op, ": dimension ", dim, " of shape ", x.shape(), " has the odd size ", size);
  return {narrow(x, dim, 0, size / 2), narrow(x, dim, size / 2, size / 2)};
}

Tensor gate_grad(const Tensor& dy, const Tensor& a, const Tensor& b, const auto& f) {
  return detail::zip3("glu_grad", f, dy, a, b, dy.dtype(), dy.dtype());
}

}  // namespace

Tensor glu(const Tensor& x, int64_t dim) {
  const auto [a, b] = halves("glu", x, dim);
  return record("glu", {a, b}, detail::zip("glu", kernels::Glu(), a, b), save_inputs,
                fused_rule(
                    [](const Saved& s, const Cotangents& dys, Needs needs) {
                      const Tensor dy = dys[0], v = s.input(1);
                      return Grads{needs[0] ? detail::zip("glu_grad", kernels::Glu(), dy, v) : Tensor(),
                                   needs[1] ? gate_grad(dy, s.input(0), v, kernels::GluGateGrad()) : Tensor()};
                    },
                    [](std::span<const Tensor> in) { return in[0] * sigmoid(in[1]); }));
}

Tensor swiglu(const Tensor& gate, const Tensor& x) {
  return record("swiglu", {gate, x}, detail::zip("swiglu", kernels::SwiGlu(), gate, x), save_inputs,
                fused_rule(
                    [](const Saved& s, const Cotangents& dys, Needs needs) {
                      const Tensor dy = dys[0], g = s.input(0);
                      return Grads{needs[0] ? gate_grad(dy, g, s.input(1), kernels::SwiGluGateGrad()) : Tensor(),
                                   needs[1] ? detail::zip("swiglu_grad", kernels::SwiGlu(), g, dy) : Tensor()};
                    },
                    [](std::span<const Tensor> in) { return silu(in[0]) * in[1]; }));
}
Tensor swiglu(const Tensor& x, int64_t dim) {
  const auto [gate, value] = halves("swiglu", x, dim);
  return swiglu(gate, value);
}

}  // namespace tenrec
