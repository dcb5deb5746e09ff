// A table of a model: each module's path, type, output shape and parameters.
#pragma once

#include <functional>
#include <string>

#include "tenrec/nn/module.h"

namespace tenrec {

// Runs `forward(input)` once in evaluation mode under no-grad and returns the table as text. Ties are listed below it.
std::string summary(Module& model, const std::function<Tensor(const Tensor&)>& forward, const Tensor& input);
template <class M>
requires std::is_base_of_v<Module, M> std::string summary(M& model, const Tensor& input) {
  return summary(
      model, [&](const Tensor& x) { return model(x); }, input);
}

}  // namespace tenrec
