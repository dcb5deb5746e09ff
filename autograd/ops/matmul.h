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
// relu(linear(x, weight, bias)) and gelu(linear(x, weight, bias)), GELU by its tanh approximation, as one op: on a
// device one kernel, whose ReLU may lose a NaN; on the CPU linear_relu is one pass as well.
Tensor linear_relu(const Tensor& x, const Tensor& weight, const Tensor& bias = {});
Tensor linear_gelu(const Tensor& x, const Tensor& weight, const Tensor& bias = {});
// Two layers with an activation between: x [..., in], weight1 [hidden, in], weight2 [out, hidden], biases undefined or
// of the sizes hidden and out -> [..., out]. As linear(linear_relu(x, weight1, bias1), weight2, bias2), but the
// gradient's product by weight2 and the activation's gradient are one kernel on a device.
enum class FeedForwardActivation { relu, gelu };
Tensor feed_forward(const Tensor& x, const Tensor& weight1, const Tensor& bias1, const Tensor& weight2,
                    const Tensor& bias2, FeedForwardActivation activation = FeedForwardActivation::gelu);

// How exactly a device multiplies f32, in products and convolutions, for the whole process; PyTorch's names.
// "highest", the default: f32. "high": factors rounded to TF32 (10 bits). "medium": to bf16 (7 bits; convolutions
// TF32). Sums are f32 always. The CPU multiplies f32 whatever is set. ValueError for another name.
void set_float32_matmul_precision(const std::string& precision);
std::string get_float32_matmul_precision();

// Einstein summation, "bij,bjk->bik"; ellipsis, implicit output and repeated indices as in NumPy.
Tensor einsum(const std::string& equation, const std::vector<Tensor>& operands);

}  // namespace tenrec
