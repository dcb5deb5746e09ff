#include "tenrec/autograd/functional.h"

#include "tenrec/autograd/backward.h"
#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"

namespace tenrec {

namespace detail {
namespace {

std::vector<Tensor> or_zeros(std::vector<Tensor> grads, const std::vector<Tensor>& xs) {
  for (size_t i = 0; i < grads.size(); ++i)
    if (!grads[i].defined()) grads[i] = zeros_like(xs[i]);
  return grads;
}

}  // namespace

void check_directions(const char* op, const std::vector<Tensor>& xs, const std::vector<Tensor>& vs) {
  if (xs.size() != vs.size()) fail<ValueError>(op, ": ", vs.size(), " directions for ", xs.size(), " inputs");
  for (size_t i = 0; i < xs.size(); ++i)
    if (xs[i].shape() != vs[i].shape())
      fail<ShapeError>(op, ": direction ", i, " has shape ", vs[i].shape(), ", its input ", xs[i].shape());
}

void check_single(const char* op, const Tensor& y) {
  if (!y.defined()) fail<ValueError>(op, ": the function returned an undefined tensor");
  if (y.numel() != 1) fail<ShapeError>(op, ": the function must return one element, it returned shape ", y.shape());
}

void check_params(const char* op, const std::vector<Tensor>& params) {
  for (size_t i = 0; i < params.size(); ++i)
    if (!params[i].defined() || !params[i].requires_grad())
      fail<AutogradError>(op, ": parameter ", i, " does not require grad");
}

std::vector<Tensor> gradients_or_zeros(const Tensor& y, const std::vector<Tensor>& xs, const Tensor& v,
                                       bool create_graph, bool keep_graph) {
  if (!y.requires_grad()) return or_zeros(std::vector<Tensor>(xs.size()), xs);
  return or_zeros(
      grad(y, xs, {.create_graph = create_graph, .retain_graph = keep_graph, .allow_unused = true, .grad_output = v}),
      xs);
}

std::vector<Tensor> weighted_gradients(const std::vector<Tensor>& ys, const std::vector<Tensor>& xs,
                                       const std::vector<Tensor>& vs, bool create_graph, bool keep_graph) {
  std::vector<Tensor> outputs, cotangents;
  for (size_t i = 0; i < ys.size(); ++i) {
    if (!ys[i].requires_grad()) continue;
    outputs.push_back(ys[i]);
    cotangents.push_back(vs[i]);
  }
  if (outputs.empty()) return or_zeros(std::vector<Tensor>(xs.size()), xs);
  return or_zeros(
      grad(outputs, xs, cotangents, {.create_graph = create_graph, .retain_graph = keep_graph, .allow_unused = true}),
      xs);
}

}  // namespace detail

namespace {

using detail::gradients_or_zeros, detail::weighted_gradients;

// Inputs to differentiate by: on the tape if the caller wants to go through them, else fresh leaves.
std::vector<Tensor> prepare(const std::vector<Tensor>& xs, bool create_graph) {
  std::vector<Tensor> out;
  for (const Tensor& x : xs) {
    Tensor y = create_graph && x.requires_grad() ? alias(x) : x.detach();
    if (!y.requires_grad()) y.set_requires_grad(true);
    out.push_back(y);
  }
  return out;
}

Tensor finish(const Tensor& t, bool create_graph) { return create_graph ? t : t.detach(); }

// g(u) = J^T u, on the tape as a function of u, in which it is linear: its own vjp with v is J v.
struct Transposed {
  Tensor u;
  std::vector<Tensor> g;
  Transposed(const Tensor& y, const std::vector<Tensor>& inputs) : u(zeros_like(y)) {
    u.set_requires_grad(true);
    g = gradients_or_zeros(y, inputs, u, true);
  }
  Tensor times(const std::vector<Tensor>& vs, bool create_graph, bool keep_graph) const {
    return weighted_gradients(g, {u}, vs, create_graph, keep_graph)[0];
  }
};

ValueAndTensors gradient_at(const Tensor& y, const std::vector<Tensor>& inputs, const FunctionalOptions& options) {
  detail::check_single("grad_and_value", y);
  return {finish(y, options.create_graph), gradients_or_zeros(y, inputs, {}, options.create_graph, false)};
}

ValueAndTensors vjp_at(const Tensor& y, const std::vector<Tensor>& inputs, const Tensor& v,
                       const FunctionalOptions& options) {
  return {finish(y, options.create_graph), gradients_or_zeros(y, inputs, v, options.create_graph, false)};
}

ValueAndTensors jvp_at(const Tensor& y, const std::vector<Tensor>& inputs, const std::vector<Tensor>& vs,
                       const FunctionalOptions& options) {
  const Tensor product = Transposed(y, inputs).times(vs, options.create_graph, false);
  return {finish(y, options.create_graph), {product}};
}

ValueAndTensors hvp_at(const Tensor& y, const std::vector<Tensor>& inputs, const std::vector<Tensor>& vs,
                       const FunctionalOptions& options) {
  detail::check_single("hvp", y);
  const std::vector<Tensor> g = gradients_or_zeros(y, inputs, {}, true);
  return {finish(y, options.create_graph), weighted_gradients(g, inputs, vs, options.create_graph, false)};
}

Tensor unit_vector(int64_t n, int64_t i, const Tensor& like) {
  const Tensor v = zeros({n}, {.dtype = like.dtype(), .device = like.device()});
  fill_(select(v, 0, i), 1);
  return v;
}

// Each row by a pass over y: [numel of y, numel of the inputs].
Tensor jacobian_rows(const Tensor& y, const std::vector<Tensor>& inputs, bool create_graph) {
  std::vector<Tensor> rows;
  for (int64_t i = 0; i < y.numel(); ++i) {
    const Tensor v = reshape(unit_vector(y.numel(), i, y), y.shape());
    rows.push_back(parameters_to_vector(gradients_or_zeros(y, inputs, v, create_graph)));
  }
  return stack(rows);
}

Tensor jacobian_columns(const Tensor& y, const std::vector<Tensor>& inputs, bool create_graph) {
  const Transposed transposed(y, inputs);
  const Tensor all = parameters_to_vector(inputs).detach();
  std::vector<Tensor> columns;
  for (int64_t i = 0; i < all.numel(); ++i) {
    const std::vector<Tensor> vs = vector_to_tensors(unit_vector(all.numel(), i, all), inputs);
    columns.push_back(flatten(transposed.times(vs, create_graph, true)));
  }
  return stack(columns, 1);
}

}  // namespace

ValueAndTensors grad_and_value(const TensorFunction& f, const std::vector<Tensor>& xs,
                               const FunctionalOptions& options) {
  const EnableGrad recording;
  const std::vector<Tensor> inputs = prepare(xs, options.create_graph);
  return gradient_at(f(inputs), inputs, options);
}

ValueAndTensors vjp(const TensorFunction& f, const std::vector<Tensor>& xs, const Tensor& v,
                    const FunctionalOptions& options) {
  const EnableGrad recording;
  const std::vector<Tensor> inputs = prepare(xs, options.create_graph);
  return vjp_at(f(inputs), inputs, v, options);
}

ValueAndTensors jvp(const TensorFunction& f, const std::vector<Tensor>& xs, const std::vector<Tensor>& vs,
                    const FunctionalOptions& options) {
  detail::check_directions("jvp", xs, vs);
  const EnableGrad recording;
  const std::vector<Tensor> inputs = prepare(xs, options.create_graph);
  return jvp_at(f(inputs), inputs, vs, options);
}

ValueAndTensors hvp(const TensorFunction& f, const std::vector<Tensor>& xs, const std::vector<Tensor>& vs,
                    const FunctionalOptions& options) {
  detail::check_directions("hvp", xs, vs);
  const EnableGrad recording;
  const std::vector<Tensor> inputs = prepare(xs, options.create_graph);
  return hvp_at(f(inputs), inputs, vs, options);
}

Tensor jacobian(const std::function<Tensor(const Tensor&)>& f, const Tensor& x, const FunctionalOptions& options) {
  const EnableGrad recording;
  const std::vector<Tensor> inputs = prepare({x}, options.create_graph);
  const Tensor y = f(inputs[0]);
  Shape shape = y.shape();
  for (int64_t size : x.shape()) shape.push_back(size);
  if (y.numel() == 0) return zeros(shape, {.dtype = x.dtype(), .device = x.device()});
  return reshape(jacobian_rows(y, inputs, options.create_graph), shape);
}

Tensor hessian(const std::function<Tensor(const Tensor&)>& f, const Tensor& x, const FunctionalOptions& options) {
  const auto gradient = [&](const Tensor& at) {
    const EnableGrad recording;
    const Tensor y = f(at);
    detail::check_single("hessian", y);
    return gradients_or_zeros(y, {at}, {}, true)[0];
  };
  return jacobian(gradient, x, options);
}

ValueAndTensors grad_and_value(const Closure& f, const std::vector<Tensor>& params, const FunctionalOptions& options) {
  detail::check_params("grad_and_value", params);
  const EnableGrad recording;
  return gradient_at(f(), params, options);
}

ValueAndTensors vjp(const Closure& f, const std::vector<Tensor>& params, const Tensor& v,
                    const FunctionalOptions& options) {
  detail::check_params("vjp", params);
  const EnableGrad recording;
  return vjp_at(f(), params, v, options);
}

ValueAndTensors jvp(const Closure& f, const std::vector<Tensor>& params, const std::vector<Tensor>& vs,
                    const FunctionalOptions& options) {
  detail::check_params("jvp", params);
  detail::check_directions("jvp", params, vs);
  const EnableGrad recording;
  return jvp_at(f(), params, vs, options);
}

ValueAndTensors hvp(const Closure& f, const std::vector<Tensor>& params, const std::vector<Tensor>& vs,
                    const FunctionalOptions& options) {
  detail::check_params("hvp", params);
  detail::check_directions("hvp", params, vs);
  const EnableGrad recording;
  return hvp_at(f(), params, vs, options);
}

ValueAndJacobian jacobian(const Closure& f, const std::vector<Tensor>& params, const JacobianOptions& options) {
  detail::check_params("jacobian", params);
  const EnableGrad recording;
  const Tensor y = f();
  int64_t n = 0;
  for (const Tensor& p : params) n += p.numel();
  if (n == 0 || y.numel() == 0)
    return {finish(y, options.create_graph), zeros({y.numel(), n}, {.dtype = y.dtype(), .device = y.device()})};
  const bool columns =
      options.mode == JacobianMode::columns || (options.mode == JacobianMode::automatic && 2 * n < y.numel());
  const Tensor j =
      columns ? jacobian_columns(y, params, options.create_graph) : jacobian_rows(y, params, options.create_graph);
  return {finish(y, options.create_graph), j};
}

Tensor hessian(const Closure& f, const std::vector<Tensor>& params, const FunctionalOptions& options) {
  detail::check_params("hessian", params);
  const EnableGrad recording;
  const Tensor y = f();
  detail::check_single("hessian", y);
  const Tensor g = parameters_to_vector(gradients_or_zeros(y, params, {}, true));
  if (g.numel() == 0) return zeros({0, 0}, {.dtype = g.dtype(), .device = g.device()});
  return jacobian_rows(g, params, options.create_graph);
}

Tensor parameters_to_vector(const std::vector<Tensor>& tensors) {
  if (tensors.empty()) fail<ValueError>("parameters_to_vector: there are no tensors");
  std::vector<Tensor> parts;
  for (const Tensor& x : tensors) parts.push_back(reshape(x, {x.numel()}));
  return cat(parts);
}

std::vector<Tensor> vector_to_tensors(const Tensor& v, const std::vector<Tensor>& like) {
  int64_t n = 0;
  for (const Tensor& x : like) n += x.numel();
  if (v.ndim() != 1 || v.numel() != n)
    fail<ShapeError>("vector_to_tensors: tensors of ", n, " elements from shape ", v.shape());
  std::vector<Tensor> out;
  int64_t at = 0;
  for (const Tensor& x : like) {
    out.push_back(reshape(narrow(v, 0, at, x.numel()), x.shape()).to(x.dtype()));
    at += x.numel();
  }
  return out;
}

void vector_to_parameters(const Tensor& v, const std::vector<Tensor>& params) {
  const std::vector<Tensor> parts = vector_to_tensors(v, params);
  for (size_t i = 0; i < params.size(); ++i) copy_(params[i], parts[i]);
}

}  // namespace tenrec
