// Tensors as text, in PyTorch's layout: `std::cout << x`. `to_string(const Tensor&)` stands beside the type
// (core/tensor.h). Above 1,000 elements only the first and last three of each dimension are shown.
#pragma once

#include <iosfwd>

#include "tenrec/core/tensor.h"

namespace tenrec {

std::ostream& operator<<(std::ostream& out, const Tensor& t);
std::ostream& operator<<(std::ostream& out, const Shape& shape);
std::ostream& operator<<(std::ostream& out, DType dtype);

}  // namespace tenrec
