#include "tenrec/autograd/functional.h"

#include "tenrec/autograd/backward.h"
#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"

namespace tenrec {
namespace {

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

void check_directions(const char* op, const std::vector<Tensor>& xs, const std::vector<Tensor>& vs) {
  if (xs.size() != vs.size()) fail<ValueError>(op, ": ", vs.size(), " directions for ", xs.size(), " inputs");
  for (size_t i = 0; i < xs.size(); ++i)
    if (xs[i].shape() != vs[i].shape())
      fail<ShapeError>(op, ": direction ", i, " has shape ", vs[i].shape(), ", its input ", xs[i].shape());
}

void check_single(const char* op, const Tensor& y) {
  if (y.numel() != 1) fail<ShapeError>(op, ": the function must return one element, it returned shape ", y.shape());
}

std::vector<Tensor> or_zeros(std::vector<Tensor> grads, const std::vector<Tensor>& xs) {
  for (size_t i = 0; i < grads.size(); ++i)
    if (!grads[i].defined()) grads[i] = zeros_like(xs[i]);
  return grads;
}

// Gradients that are zero where y does not depend on x.
std::vector<Tensor> gradients(const Tensor& y, const std::vector<Tensor>& xs, const Tensor& v, bool create_graph) {
  if (!y.requires_grad()) return or_zeros(std::vector<Tensor>(xs.size()), xs);
  return or_zeros(
      grad(y, xs, {.create_graph = create_graph, .retain_graph = true, .allow_unused = true, .grad_output = v}), xs);
}

Tensor finish(const Tensor& t, bool create_graph) { return create_graph ? t : t.detach(); }

}  // namespace

ValueAndTensors vjp(const TensorFunction& f, const std::vector<Tensor>& xs, const Tensor& v,
                    const FunctionalOptions& options) {
  const EnableGrad recording;
  const std::vector<Tensor> inputs = prepare(xs, options.create_graph);
  const Tensor y = f(inputs);
  return {finish(y, options.create_graph), gradients(y, inputs, v, options.create_graph)};
}

ValueAndTensors jvp(const TensorFunction& f, const std::vector<Tensor>& xs, const std::vector<Tensor>& vs,
                    const FunctionalOptions& options) {
  check_directions("jvp", xs, vs);
  const EnableGrad recording;
  const std::vector<Tensor> inputs = prepare(xs, options.create_graph);
  const Tensor y = f(inputs);
  // g(u) = J^T u is linear in u; its own vjp with v is J v.
  Tensor u = zeros_like(y);
  u.set_requires_grad(true);
  const std::vector<Tensor> g = gradients(y, inputs, u, true);
  Tensor product = zeros_like(y);
  std::vector<Tensor> outputs, cotangents;
  for (size_t i = 0; i < g.size(); ++i) {
    if (!g[i].requires_grad()) continue;
    outputs.push_back(g[i]);
    cotangents.push_back(vs[i]);
  }
  if (!outputs.empty()) {
    const std::vector<Tensor> result =
        grad(outputs, {u}, cotangents, {.create_graph = options.create_graph, .allow_unused = true});
    if (result[0].defined()) product = result[0];
  }
  return {finish(y, options.create_graph), {product}};
}

ValueAndTensors hvp(const TensorFunction& f, const std::vector<Tensor>& xs, const std::vector<Tensor>& vs,
                    const FunctionalOptions& options) {
  check_directions("hvp", xs, vs);
  const EnableGrad recording;
  const std::vector<Tensor> inputs = prepare(xs, options.create_graph);
  const Tensor y = f(inputs);
  check_single("hvp", y);
  const std::vector<Tensor> g = gradients(y, inputs, {}, true);
  std::vector<Tensor> outputs, cotangents;
  for (size_t i = 0; i < g.size(); ++i) {
    if (!g[i].requires_grad()) continue;
    outputs.push_back(g[i]);
    cotangents.push_back(vs[i]);
  }
  std::vector<Tensor> products(xs.size());
  if (!outputs.empty())
    products = grad(outputs, inputs, cotangents, {.create_graph = options.create_graph, .allow_unused = true});
  return {finish(y, options.create_graph), or_zeros(std::move(products), inputs)};
}

Tensor jacobian(const std::function<Tensor(const Tensor&)>& f, const Tensor& x, const FunctionalOptions& options) {
  const EnableGrad recording;
  const std::vector<Tensor> inputs = prepare({x}, options.create_graph);
  const Tensor y = f(inputs[0]);
  const int64_t n = y.numel();
  std::vector<Tensor> rows;
  for (int64_t i = 0; i < n; ++i) {
    Tensor v = zeros({n}, {.dtype = y.dtype(), .device = y.device()});
    fill_(select(v, 0, i), 1);
    rows.push_back(reshape(gradients(y, inputs, reshape(v, y.shape()), options.create_graph)[0], {1, x.numel()}));
  }
  Shape shape = y.shape();
  for (int64_t size : x.shape()) shape.push_back(size);
  if (rows.empty()) return zeros(shape, {.dtype = x.dtype(), .device = x.device()});
  return reshape(cat(rows, 0), shape);
}

Tensor hessian(const std::function<Tensor(const Tensor&)>& f, const Tensor& x, const FunctionalOptions& options) {
  const auto gradient = [&](const Tensor& at) {
    const EnableGrad recording;
    const Tensor y = f(at);
    check_single("hessian", y);
    return gradients(y, {at}, {}, true)[0];
  };
  return jacobian(gradient, x, options);
}

}  // namespace tenrec
