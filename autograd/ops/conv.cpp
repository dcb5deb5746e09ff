#include "tenrec/autograd/ops/conv.h"

#include "tenrec/autograd/autocast.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise_impl.h"
#include "tenrec/autograd/ops/reduce.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/core/view.h"
#include "tenrec/kernels/conv.h"

namespace tenrec {
namespace {

int64_t out_size(const char* op, int64_t size, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  const int64_t span = dilation * (kernel - 1) + 1, padded = size + 2 * padding;
  if (padded < span)
    fail<ShapeError>(op, ": a kernel of ", kernel, " with dilation ", dilation, " spans ", span,
                     " elements, more than the padded input's ", padded);
  return (padded - span) / stride + 1;
}

kernels::ConvShape check(const char* op, const Shape& x, const Shape& weight, const Conv2dParams& p) {
  if (x.ndim() != 4 || weight.ndim() != 4)
    fail<ShapeError>(op, ": expected an input [n, c, h, w] and a weight [out, in / groups, kh, kw], got ", x, " and ",
                     weight);
  if (p.stride.h < 1 || p.stride.w < 1 || p.dilation.h < 1 || p.dilation.w < 1 || p.padding.h < 0 || p.padding.w < 0)
    fail<ValueError>(op, ": stride and dilation must be at least 1 and padding at least 0");
  if (p.groups < 1 || weight[0] % p.groups != 0 || x[1] != weight[1] * p.groups)
    fail<ShapeError>(op, ": an input of shape ", x, " has ", x[1], " channels; a weight of shape ", weight, " with ",
                     p.groups, " groups needs ", weight[1] * p.groups);
  kernels::ConvShape s{x[0],       x[1],       x[2],        x[3],        weight[0],    weight[2],    weight[3],
                       p.stride.h, p.stride.w, p.padding.h, p.padding.w, p.dilation.h, p.dilation.w, p.groups};
  s.out_h = out_size(op, s.h, s.kh, s.stride_h, s.pad_h, s.dil_h);
  s.out_w = out_size(op, s.w, s.kw, s.stride_w, s.pad_w, s.dil_w);
  return s;
}

void check_types(const char* op, const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype() || !is_floating(a.dtype()))
    fail<DTypeError>(op, ": expected two tensors of one floating dtype, got ", a.dtype(), " and ", b.dtype());
  detail::check_same_device(op, a, b);
}

Tensor dense(const Tensor& x) { return contiguous(x.detach()); }

void check_cotangent(const char* op, const Tensor& dy, const kernels::ConvShape& s) {
  const Shape expected{s.n, s.c_out, s.out_h, s.out_w};
  if (dy.shape() != expected) fail<ShapeError>(op, ": dy has shape ", dy.shape(), ", the convolution gives ", expected);
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dParams& p) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_low(conv2d, x, weight, bias, p);
  if (x.ndim() == 3) return squeeze(conv2d(unsqueeze(x, 0), weight, bias, p), 0);
  const kernels::ConvShape s = check("conv2d", x.shape(), weight.shape(), p);
  check_types("conv2d", x, weight);
  if (bias.defined()) {
    check_types("conv2d", x, bias);
    if (bias.ndim() != 1 || bias.shape()[0] != s.c_out)
      fail<ShapeError>("conv2d: a bias of shape ", bias.shape(), " for ", s.c_out, " output channels");
  }
  const Tensor xc = dense(x), wc = dense(weight), bc = bias.defined() ? dense(bias) : Tensor();
  Tensor y = detail::empty_of({s.n, s.c_out, s.out_h, s.out_w}, x.dtype(), x.device());
  dispatch("conv2d", x.device(), [&](auto device) {
    kernels::conv2d(device, x.dtype(), s, view(xc).data, view(wc).data, bc.defined() ? view(bc).data : nullptr,
                    view(y).data);
  });
  const auto rule = [p](const Saved& saved, const Tensor& dy, Needs needs) {
    const Tensor in = saved.input(0), w = saved.input(1);
    return Grads{needs[0] ? conv2d_input_grad(dy, w, in.shape(), p) : Tensor(),
                 needs[1] ? conv2d_weight_grad(in, dy, w.shape(), p) : Tensor()};
  };
  if (!bias.defined()) return record("conv2d", {x, weight}, std::move(y), save_inputs, rule);
  return record("conv2d", {x, weight, bias}, std::move(y), save_input(0) | save_input(1),
                [rule](const Saved& saved, const Tensor& dy, Needs needs) {
                  Grads two = rule(saved, dy, needs);
                  return Grads{two[0], two[1], needs[2] ? sum(dy, {.dim = {0, 2, 3}}) : Tensor()};
                });
}

Tensor conv2d_input_grad(const Tensor& dy, const Tensor& weight, const Shape& x_shape, const Conv2dParams& p) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_low(conv2d_input_grad, dy, weight, x_shape, p);
  const kernels::ConvShape s = check("conv2d_input_grad", x_shape, weight.shape(), p);
  check_types("conv2d_input_grad", dy, weight);
  check_cotangent("conv2d_input_grad", dy, s);
  const Tensor dyc = dense(dy), wc = dense(weight);
  Tensor dx = detail::empty_of(x_shape, dy.dtype(), dy.device());
  dispatch("conv2d_input_grad", dy.device(), [&](auto device) {
    kernels::conv2d_input_grad(device, dy.dtype(), s, view(dyc).data, view(wc).data, view(dx).data);
  });
  return record("conv2d_input_grad", {dy, weight}, std::move(dx), save_inputs,
                [p](const Saved& saved, const Tensor& ddx, Needs needs) {
                  const Tensor w = saved.input(1);
                  return Grads{needs[0] ? conv2d(ddx, w, {}, p) : Tensor(),
                               needs[1] ? conv2d_weight_grad(ddx, saved.input(0), w.shape(), p) : Tensor()};
                });
}

Tensor conv2d_weight_grad(const Tensor& x, const Tensor& dy, const Shape& weight_shape, const Conv2dParams& p) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_low(conv2d_weight_grad, x, dy, weight_shape, p);
  const kernels::ConvShape s = check("conv2d_weight_grad", x.shape(), weight_shape, p);
  check_types("conv2d_weight_grad", x, dy);
  check_cotangent("conv2d_weight_grad", dy, s);
  const Tensor xc = dense(x), dyc = dense(dy);
  Tensor dw = detail::empty_of(weight_shape, x.dtype(), x.device());
  dispatch("conv2d_weight_grad", x.device(), [&](auto device) {
    kernels::conv2d_weight_grad(device, x.dtype(), s, view(xc).data, view(dyc).data, view(dw).data);
  });
  return record("conv2d_weight_grad", {x, dy}, std::move(dw), save_inputs,
                [p](const Saved& saved, const Tensor& ddw, Needs needs) {
                  const Tensor in = saved.input(0);
                  return Grads{needs[0] ? conv2d_input_grad(saved.input(1), ddw, in.shape(), p) : Tensor(),
                               needs[1] ? conv2d(in, ddw, {}, p) : Tensor()};
                });
}

Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv1dParams& p) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_low(conv1d, x, weight, bias, p);
  if (x.ndim() == 2) return squeeze(conv1d(unsqueeze(x, 0), weight, bias, p), 0);
  if (x.ndim() != 3 || weight.ndim() != 3)
    fail<ShapeError>("conv1d: expected an input [n, c, l] and a weight [out, in / groups, k], got ", x.shape(), " and ",
                     weight.shape());
  return squeeze(
      conv2d(unsqueeze(x, 2), unsqueeze(weight, 2), bias,
             {.stride = {1, p.stride}, .padding = {0, p.padding}, .dilation = {1, p.dilation}, .groups = p.groups}),
      2);
}

}  // namespace tenrec
