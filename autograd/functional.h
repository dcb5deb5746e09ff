// Derivatives of functions: products with the Jacobian and Hessian, and both in full.
//
// They work on the tape, so any function made of ops will do. A function is given in one of two ways: as a function of
// tensors and the point, or as a closure over the parameters that it captures, those of a module say:
//
//   hvp([&] { return cross_entropy(net(x), y); }, parameters(net), vs)
//
// Of the first the inputs need not require grad; with `create_graph = true` results can be differentiated again by
// those that do. The parameters of a closure must require grad (AutogradError), are not changed, and their `.grad` is
// neither read nor written. What a function does not depend on has a gradient of zero.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "tenrec/core/tensor.h"

namespace tenrec {

using TensorFunction = std::function<Tensor(const std::vector<Tensor>&)>;
using Closure = std::function<Tensor()>;

struct FunctionalOptions {
  bool create_graph = false;
};

struct ValueAndTensors {
  Tensor value;
  std::vector<Tensor> tensors;
};

// f(xs), a single element, and its gradient for each x.
ValueAndTensors grad_and_value(const TensorFunction& f, const std::vector<Tensor>& xs,
                               const FunctionalOptions& options = {});
// f(xs) and v^T J for each x; v has f's shape.
ValueAndTensors vjp(const TensorFunction& f, const std::vector<Tensor>& xs, const Tensor& v,
                    const FunctionalOptions& options = {});
// f(xs) and J v; vs have the shapes of xs. By two reverse passes (the vjp is linear in its cotangent).
ValueAndTensors jvp(const TensorFunction& f, const std::vector<Tensor>& xs, const std::vector<Tensor>& vs,
                    const FunctionalOptions& options = {});
// f(xs), a single element, and H v.
ValueAndTensors hvp(const TensorFunction& f, const std::vector<Tensor>& xs, const std::vector<Tensor>& vs,
                    const FunctionalOptions& options = {});
// d f / d x of shape f.shape() + x.shape().
Tensor jacobian(const std::function<Tensor(const Tensor&)>& f, const Tensor& x, const FunctionalOptions& options = {});
// d2 f / dx2 of shape x.shape() + x.shape(), f a single element.
Tensor hessian(const std::function<Tensor(const Tensor&)>& f, const Tensor& x, const FunctionalOptions& options = {});

// The same by the parameters that a closure captures.
ValueAndTensors grad_and_value(const Closure& f, const std::vector<Tensor>& params,
                               const FunctionalOptions& options = {});
ValueAndTensors vjp(const Closure& f, const std::vector<Tensor>& params, const Tensor& v,
                    const FunctionalOptions& options = {});
ValueAndTensors jvp(const Closure& f, const std::vector<Tensor>& params, const std::vector<Tensor>& vs,
                    const FunctionalOptions& options = {});
ValueAndTensors hvp(const Closure& f, const std::vector<Tensor>& params, const std::vector<Tensor>& vs,
                    const FunctionalOptions& options = {});

// A row takes a pass over f, a column one over the gradient of f, which needs second derivatives of its ops. Automatic:
// columns where there are fewer than half as many.
enum class JacobianMode { automatic, rows, columns };
struct JacobianOptions {
  bool create_graph = false;
  JacobianMode mode = JacobianMode::automatic;
};
struct ValueAndJacobian {
  Tensor value;
  Tensor jacobian;  // [f.numel(), n], n the elements of all parameters, laid end to end
};
ValueAndJacobian jacobian(const Closure& f, const std::vector<Tensor>& params, const JacobianOptions& options = {});
// [n, n], f a single element. n passes over the gradient.
Tensor hessian(const Closure& f, const std::vector<Tensor>& params, const FunctionalOptions& options = {});

// Tensors of one device laid end to end as a vector, of the dtype that holds them all; differentiable. And back:
// pieces of v of the shapes and dtypes of `like`; ShapeError unless the sizes add up.
Tensor parameters_to_vector(const std::vector<Tensor>& tensors);
std::vector<Tensor> vector_to_tensors(const Tensor& v, const std::vector<Tensor>& like);
// The same, copied into the parameters (see autograd/ops/mutate.h: under NoGrad).
void vector_to_parameters(const Tensor& v, const std::vector<Tensor>& params);

namespace detail {
// d y / d xs with cotangent v (undefined: y is a single element); zeros where y does not depend on an x. A graph that
// is not kept is freed on the way, as `grad` does.
std::vector<Tensor> gradients_or_zeros(const Tensor& y, const std::vector<Tensor>& xs, const Tensor& v,
                                       bool create_graph, bool keep_graph = true);
// The same of several: the sum over i of the vjp of ys[i] with vs[i].
std::vector<Tensor> weighted_gradients(const std::vector<Tensor>& ys, const std::vector<Tensor>& xs,
                                       const std::vector<Tensor>& vs, bool create_graph, bool keep_graph = true);
void check_directions(const char* op, const std::vector<Tensor>& xs, const std::vector<Tensor>& vs);
// ShapeError unless y is a single element, AutogradError unless all params require grad.
void check_single(const char* op, const Tensor& y);
void check_params(const char* op, const std::vector<Tensor>& params);
}  // namespace detail

}  // namespace tenrec
