#include "tenrec/autograd/ops/conv.h"

#include "tenrec/autograd/autocast.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise_impl.h"
#include "tenrec/autograd/ops/join.h"
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

void check_params(const char* op, const Pair& stride, const Pair& padding, const Pair& dilation) {
  if (stride.h < 1 || stride.w < 1 || dilation.h < 1 || dilation.w < 1 || padding.h < 0 || padding.w < 0)
    fail<ValueError>(op, ": stride and dilation must be at least 1 and padding at least 0");
}

kernels::ConvShape check(const char* op, const Shape& x, const Shape& weight, const Conv2dParams& p) {
  if (x.ndim() != 4 || weight.ndim() != 4)
    fail<ShapeError>(op, ": expected an input [n, c, h, w] and a weight [out, in / groups, kh, kw], got ", x, " and ",
                     weight);
  check_params(op, p.stride, p.padding, p.dilation);
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

void check_bias(const char* op, const Tensor& x, const Tensor& bias, int64_t channels) {
  if (!bias.defined()) return;
  check_types(op, x, bias);
  if (bias.ndim() != 1 || bias.shape()[0] != channels)
    fail<ShapeError>(op, ": a bias of shape ", bias.shape(), " for ", channels, " output channels");
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
  check_bias("conv2d", x, bias, s.c_out);
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

namespace {

// Along one dimension of a transposed convolution.
struct Transposed {
  int64_t zeros;  // behind the input
  int64_t out;
};
// An output padding of whole strides is what zeros behind the input give; the rest is less than a stride, and then the
// convolution of the output has the input's size.
Transposed transposed(int64_t size, int64_t kernel, int64_t stride, int64_t padding, int64_t extra, int64_t dilation) {
  if (extra < 0 || (extra >= stride && extra >= dilation))
    fail<ValueError>("conv_transpose2d: output_padding ", extra, " must be at least 0 and less than stride ", stride,
                     " or dilation ", dilation);
  const int64_t out = (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra + 1;
  if (out < 1)
    fail<ShapeError>("conv_transpose2d: an input of size ", size, " with kernel ", kernel, ", stride ", stride,
                     " and padding ", padding, " has no output");
  return {extra / stride, out};
}

}  // namespace

Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const ConvTranspose2dParams& p) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_low(conv_transpose2d, x, weight, bias, p);
  if (x.ndim() == 3) return squeeze(conv_transpose2d(unsqueeze(x, 0), weight, bias, p), 0);
  if (x.ndim() != 4 || weight.ndim() != 4)
    fail<ShapeError>("conv_transpose2d: expected an input [n, c, h, w] and a weight [in, out / groups, kh, kw], got ",
                     x.shape(), " and ", weight.shape());
  check_params("conv_transpose2d", p.stride, p.padding, p.dilation);
  if (p.groups < 1 || weight.size(0) % p.groups != 0 || x.size(1) != weight.size(0))
    fail<ShapeError>("conv_transpose2d: an input of shape ", x.shape(), " has ", x.size(1),
                     " channels, a weight of shape ", weight.shape(), " with ", p.groups, " groups takes ",
                     weight.size(0));
  const int64_t channels = weight.size(1) * p.groups;
  check_bias("conv_transpose2d", x, bias, channels);
  const auto [rows, out_h] =
      transposed(x.size(2), weight.size(2), p.stride.h, p.padding.h, p.output_padding.h, p.dilation.h);
  const auto [columns, out_w] =
      transposed(x.size(3), weight.size(3), p.stride.w, p.padding.w, p.output_padding.w, p.dilation.w);
  const Tensor in = rows > 0 || columns > 0 ? pad(x, {0, columns, 0, rows}) : x;
  const Tensor y =
      conv2d_input_grad(in, weight, {x.size(0), channels, out_h, out_w},
                        {.stride = p.stride, .padding = p.padding, .dilation = p.dilation, .groups = p.groups});
  return bias.defined() ? y + reshape(bias, {channels, 1, 1}) : y;
}

Tensor conv_transpose1d(const Tensor& x, const Tensor& weight, const Tensor& bias, const ConvTranspose1dParams& p) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_low(conv_transpose1d, x, weight, bias, p);
  if (x.ndim() == 2) return squeeze(conv_transpose1d(unsqueeze(x, 0), weight, bias, p), 0);
  if (x.ndim() != 3 || weight.ndim() != 3)
    fail<ShapeError>("conv_transpose1d: expected an input [n, c, l] and a weight [in, out / groups, k], got ",
                     x.shape(), " and ", weight.shape());
  return squeeze(conv_transpose2d(unsqueeze(x, 2), unsqueeze(weight, 2), bias,
                                  {.stride = {1, p.stride},
                                   .padding = {0, p.padding},
                                   .output_padding = {0, p.output_padding},
                                   .dilation = {1, p.dilation},
                                   .groups = p.groups}),
                 2);
}

}  // namespace tenrec
