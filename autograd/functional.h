// Derivatives of functions: products with the Jacobian and Hessian, and both in full.
//
// They work on the tape, so any function made of ops will do. Results can themselves be differentiated when the inputs
// require grad (`create_graph = true`).
#pragma once

#include <functional>
#include <vector>

#include "tenrec/core/tensor.h"

namespace tenrec {

using TensorFunction = std::function<Tensor(const std::vector<Tensor>&)>;

struct FunctionalOptions {
  bool create_graph = false;
};

struct ValueAndTensors {
  Tensor value;
  std::vector<Tensor> tensors;
};

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

}  // namespace tenrec
