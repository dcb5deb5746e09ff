// Going back through the tape: `grad` returns gradients, `backward` adds them to the leaves' `.grad`.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tenrec/core/tensor.h"

namespace tenrec {

struct GradOptions {
  bool create_graph = false;  // the gradients are on the tape themselves; implies retain_graph
  bool retain_graph = false;  // keep what the nodes saved for another pass
  bool allow_unused = false;  // an x that the loss does not depend on gets an undefined gradient instead of an error
  Tensor grad_output = {};    // cotangent of the loss, of its shape; needed unless the loss has one element
};

// d loss / d x for each x. Primary entry. AutogradError if the loss is not on the tape or does not depend on an x.
std::vector<Tensor> grad(const Tensor& loss, const std::vector<Tensor>& xs, const GradOptions& options = {});
// The same for several losses: the sum over i of the vjp of losses[i] with grad_outputs[i] (undefined: ones).
std::vector<Tensor> grad(const std::vector<Tensor>& losses, const std::vector<Tensor>& xs,
                         const std::vector<Tensor>& grad_outputs, const GradOptions& options = {});

struct BackwardOptions {
  bool retain_graph = false;
  Tensor grad_output = {};
};

// Adds d loss / d leaf to the `.grad` of every leaf that requires one. There is no create_graph here: gradients that
// hold the graph that made them, which holds the leaves, would never be freed; use `grad` for higher derivatives.
void backward(const Tensor& loss, const BackwardOptions& options = {});

namespace detail {
// As grad, but the pass does not look past xs. For inner passes whose xs are fresh aliases.
std::vector<Tensor> grad_up_to(std::span<const Tensor> losses, std::span<const Tensor> xs,
                               std::span<const Tensor> grad_outputs, bool create_graph);
}  // namespace detail

}  // namespace tenrec
