// Matrix products.
#pragma once

#include <string>
#include <vector>

#include "tenrec/core/tensor.h"

namespace tenrec {

// [..., m, k] x [..., k, n] -> [..., m, n]; batch dimensions broadcast. A vector operand is a row or column that goes
// away again, as in PyTorch. Floating and integer dtypes; operands are promoted to a common one.
Tensor matmul(const Tensor& a, const Tensor& b);
// x [..., in], weight [out, in], bias [out] or undefined -> [..., out]: x weight^T + bias in one pass.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});
// Einstein summation, "bij,bjk->bik"; ellipsis, implicit output and repeated indices as in NumPy.
Tensor einsum(const std::string& equation, const std::vector<Tensor>& operands);

}  // namespace tenrec
