#include "tenrec/autograd/ops/norm.h"

#include <cmath>
#include <optional>

#include "tenrec/autograd/checkpoint.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/elementwise_impl.h"
#include "tenrec/autograd/ops/mutate.h"
#include "tenrec/autograd/ops/reduce_impl.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/autograd/ops/unary.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/kernels/norm.h"

namespace tenrec {

using detail::contiguous_data;
using detail::empty_of;
using detail::ReshapedView;

namespace {

DType accumulator(DType dtype) { return dtype == f64 ? f64 : f32; }

// x, and weight and bias as far as they are there: the inputs of the node.
struct Inputs {
  std::vector<TensorRef> list;
  int weight = -1, bias = -1;
  Inputs(const Tensor& x, const Tensor& w, const Tensor& b) : list{x} {
    if (w.defined()) add(w, weight);
    if (b.defined()) add(b, bias);
  }

 private:
  void add(const Tensor& t, int& at) {
    at = int(list.size());
    list.push_back(t);
  }
};

// A parameter as the kernels read it, or nothing.
struct Parameter {
  Tensor tensor;
  std::optional<View> seen;
  Parameter(const Tensor& t, DType dtype) {
    if (!t.defined()) return;
    tensor = contiguous_data(t.dtype() == dtype ? t : t.detach().to(dtype));
    seen = tenrec::view(tensor);
  }
  const View* view() const { return seen ? &*seen : nullptr; }
};

// A view of a tensor that may be undefined, taken within a dispatch.
struct Given {
  std::optional<View> seen;
  explicit Given(const Tensor& t) {
    if (t.defined()) seen = tenrec::view(t);
  }
  const View* view() const { return seen ? &*seen : nullptr; }
};

void check_parameter(const char* op, const char* what, const Tensor& t, const Shape& shape, const Tensor& x) {
  if (!t.defined()) return;
  if (t.shape() != shape) fail<ShapeError>(op, ": ", what, " needs shape ", shape, ", got ", t.shape());
  detail::check_floating(op, t);
  detail::check_same_device(op, x, t);
}

// What a rule returns: gradients in the order of the inputs.
Grads in_order(Tensor dx, const Tensor& dweight, const Tensor& dbias, int weight, int bias) {
  std::vector<Tensor> grads{std::move(dx)};
  if (weight > 0) grads.push_back(dweight);
  if (bias > 0) grads.push_back(dbias);
  return Grads(std::move(grads));
}

// x normalised with weight and bias of a shape that broadcasts, in ops.
Tensor affine(Tensor y, std::span<const Tensor> inputs, int weight, int bias, const Shape& along, DType dtype) {
  const DType wide = accumulator(dtype);
  if (weight > 0) y = y * reshape(inputs[size_t(weight)].to(wide), along);
  if (bias > 0) y = y + reshape(inputs[size_t(bias)].to(wide), along);
  return y.to(dtype);
}

// --- batch norm -----------------------------------------------------------------------------------------------------

struct BatchNorm {
  bool training;
  double eps;
  Shape seen;         // [N, C, inner]
  Tensor mean, rstd;  // [C], as used
  int weight, bias;   // places among the inputs

  Shape along(const Tensor& x) const {
    Shape shape = Shape::filled(x.ndim(), 1);
    shape[1] = seen[1];
    return shape;
  }

  Grads gradient(const Saved& s, const Tensor& dy, Needs needs) const {
    const Tensor x = contiguous_data(s.input()), d = contiguous_data(dy);
    const DType wide = mean.dtype();
    const Parameter w(weight > 0 ? s.input(weight) : Tensor(), wide);
    Tensor dx, dw, db;
    std::optional<View> dx_view, dw_view, db_view;
    if (needs[0]) dx_view = view(dx = empty_like(x));
    if (weight > 0 && needs[size_t(weight)]) dw_view = view(dw = empty_of({seen[1]}, wide, x.device()));
    if (bias > 0 && needs[size_t(bias)]) db_view = view(db = empty_of({seen[1]}, wide, x.device()));
    const auto given = [](const std::optional<View>& v) { return v ? &*v : nullptr; };
    dispatch("batch_norm", x.device(), [&](auto device) {
      kernels::batch_norm_grad(device, ReshapedView(x, seen).view(), ReshapedView(d, seen).view(), view(mean),
                               view(rstd), w.view(), !training, given(dx_view), given(dw_view), given(db_view));
    });
    return in_order(dx, dw, db, weight, bias);
  }

  Tensor composed(std::span<const Tensor> inputs) const {
    const Tensor x = inputs[0].to(mean.dtype());
    const Shape shape = along(x);
    if (!training)
      return affine((x - reshape(mean, shape)) * reshape(rstd, shape), inputs, weight, bias, shape, inputs[0].dtype());
    Dims dims{0};
    for (int64_t d = 2; d < x.ndim(); ++d) dims.dims.push_back(d);
    const Tensor centered = x - tenrec::mean(x, {.dim = dims, .keepdim = true});
    const Tensor var = tenrec::mean(square(centered), {.dim = dims, .keepdim = true});
    return affine(centered * rsqrt(var + eps), inputs, weight, bias, shape, inputs[0].dtype());
  }
};

// running = (1 - momentum) running + momentum value, in place.
void update_running(const Tensor& running, const Tensor& value, double momentum) {
  if (!running.defined()) return;
  copy_(running, running * (1 - momentum) + value * momentum);
}

void check_batch_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var, const Tensor& weight,
                      const Tensor& bias, bool training) {
  const char* op = "batch_norm";
  detail::check_floating(op, x);
  if (x.ndim() < 2) fail<ShapeError>(op, ": needs [rows, channels, ...], got shape ", x.shape());
  const Shape channels{x.shape()[1]};
  check_parameter(op, "running_mean", running_mean, channels, x);
  check_parameter(op, "running_var", running_var, channels, x);
  check_parameter(op, "weight", weight, channels, x);
  check_parameter(op, "bias", bias, channels, x);
  if (!training && (!running_mean.defined() || !running_var.defined()))
    fail<ValueError>(op, ": evaluation needs running_mean and running_var");
  if (training && x.numel() == channels[0] && x.numel() > 0)
    fail<ValueError>(op, ": training needs more than one value per channel, got shape ", x.shape());
}

}  // namespace

Tensor batch_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var, const Tensor& weight,
                  const Tensor& bias, const BatchNormParams& params) {
  const bool training = params.training;
  check_batch_norm(x, running_mean, running_var, weight, bias, training);
  const Inputs inputs(x, weight, bias);
  const int64_t channels = x.shape()[1], rows = x.shape()[0];
  const int64_t inner = rows > 0 && channels > 0 ? x.numel() / (rows * channels) : 1;
  BatchNorm norm{training, params.eps, {rows, channels, inner}, {}, {}, inputs.weight, inputs.bias};
  const DType wide = accumulator(x.dtype());
  const Tensor from = contiguous_data(x);
  Tensor y = empty_of(x.shape(), x.dtype(), x.device());
  {
    const NoGrad no_grad;
    Tensor var;
    if (training) {
      norm.mean = empty_of({channels}, wide, x.device());
      var = empty_like(norm.mean);
      const Shape kept{1, channels, 1};
      dispatch("batch_norm", x.device(), [&](auto device) {
        kernels::batch_norm_stats(device, ReshapedView(from, norm.seen).view(), ReshapedView(norm.mean, kept).view(),
                                  ReshapedView(var, kept).view());
      });
      if (!is_recomputing() && x.numel() > 0) {
        const double count = double(rows * inner);
        update_running(running_mean, norm.mean, params.momentum);
        update_running(running_var, var * (count / (count - 1)), params.momentum);
      }
    } else {
      norm.mean = clone(running_mean.detach().to(wide));
      var = running_var.detach().to(wide);
    }
    norm.rstd = contiguous(rsqrt(var + params.eps));
    const Parameter w(weight, wide), b(bias, wide);
    dispatch("batch_norm", x.device(), [&](auto device) {
      kernels::batch_norm(device, ReshapedView(from, norm.seen).view(), view(norm.mean), view(norm.rstd), w.view(),
                          b.view(), ReshapedView(y, norm.seen).view());
    });
  }
  return record(
      "batch_norm", std::span<const TensorRef>(inputs.list), std::move(y), save_inputs,
      fused_rule([norm](const Saved& s, const Cotangents& dys, Needs needs) { return norm.gradient(s, dys[0], needs); },
                 [norm](std::span<const Tensor> xs) { return norm.composed(xs); }));
}

// --- layer norm and RMS norm -----------------------------------------------------------------------------------------

namespace {

struct LayerNorm {
  const char* op;
  double eps;
  Shape seen;         // [rows, n]
  Shape along;        // normalized_shape
  Tensor mean, rstd;  // [rows]; no mean: rows are not centred
  int weight, bias;

  Grads gradient(const Saved& s, const Tensor& dy, Needs needs) const {
    const Tensor x = contiguous_data(s.input()), d = contiguous_data(dy);
    const DType wide = rstd.dtype();
    const Parameter w(weight > 0 ? s.input(weight) : Tensor(), wide);
    Tensor dx, dw, db;
    std::optional<View> dx_view, dw_view, db_view;
    if (needs[0]) dx_view = view(dx = empty_like(x));
    if (weight > 0 && needs[size_t(weight)]) dw_view = view(dw = empty_of(along, wide, x.device()));
    if (bias > 0 && needs[size_t(bias)]) db_view = view(db = empty_of(along, wide, x.device()));
    const auto given = [](const std::optional<View>& v) { return v ? &*v : nullptr; };
    dispatch(op, x.device(), [&](auto device) {
      const Given means(mean);
      kernels::layer_norm_grad(device, ReshapedView(x, seen).view(), ReshapedView(d, seen).view(), means.view(),
                               view(rstd), w.view(), given(dx_view), given(dw_view), given(db_view));
    });
    return in_order(dx, dw, db, weight, bias);
  }

  Tensor composed(std::span<const Tensor> inputs) const {
    const Tensor x = inputs[0].to(rstd.dtype());
    Dims dims = Dims(Shape{});
    for (int64_t d = x.ndim() - along.ndim(); d < x.ndim(); ++d) dims.dims.push_back(d);
    const Tensor centered = !mean.defined() ? x : x - tenrec::mean(x, {.dim = dims, .keepdim = true});
    const Tensor var = tenrec::mean(square(centered), {.dim = dims, .keepdim = true});
    return affine(centered * rsqrt(var + eps), inputs, weight, bias, along, inputs[0].dtype());
  }
};

// Both, recorded under the name of the one it is.
Tensor normalize_rows(const char* op, bool centred, const Tensor& x, const Shape& normalized_shape,
                      const Tensor& weight, const Tensor& bias, double eps) {
  detail::check_floating(op, x);
  const int64_t lead = x.ndim() - normalized_shape.ndim();
  bool fits = lead >= 0 && normalized_shape.ndim() > 0;
  for (int64_t d = 0; fits && d < normalized_shape.ndim(); ++d) fits = x.shape()[lead + d] == normalized_shape[d];
  if (!fits) fail<ShapeError>(op, ": the last sizes of ", x.shape(), " must be normalized_shape ", normalized_shape);
  check_parameter(op, "weight", weight, normalized_shape, x);
  check_parameter(op, "bias", bias, normalized_shape, x);
  const Inputs inputs(x, weight, bias);
  const int64_t n = checked_numel(normalized_shape), rows = n ? x.numel() / n : 0;
  const DType wide = accumulator(x.dtype());
  LayerNorm norm{op,
                 eps,
                 {rows, n},
                 normalized_shape,
                 centred ? empty_of({rows}, wide, x.device()) : Tensor(),
                 empty_of({rows}, wide, x.device()),
                 inputs.weight,
                 inputs.bias};
  const Tensor from = contiguous_data(x);
  Tensor y = empty_of(x.shape(), x.dtype(), x.device());
  const Parameter w(weight, wide), b(bias, wide);
  dispatch(op, x.device(), [&](auto device) {
    const Given means(norm.mean);
    kernels::layer_norm(device, ReshapedView(from, norm.seen).view(), w.view(), b.view(), eps,
                        ReshapedView(y, norm.seen).view(), means.view(), view(norm.rstd));
  });
  return record(
      op, std::span<const TensorRef>(inputs.list), std::move(y), save_inputs,
      fused_rule([norm](const Saved& s, const Cotangents& dys, Needs needs) { return norm.gradient(s, dys[0], needs); },
                 [norm](std::span<const Tensor> xs) { return norm.composed(xs); }));
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight, const Tensor& bias,
                  double eps) {
  return normalize_rows("layer_norm", true, x, normalized_shape, weight, bias, eps);
}

Tensor rms_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight, double eps) {
  return normalize_rows("rms_norm", false, x, normalized_shape, weight, Tensor(), eps);
}

}  // namespace tenrec
