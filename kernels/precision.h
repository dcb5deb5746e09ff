// How exactly a device multiplies f32: PyTorch's switch, one for the process. Sums are f32 in any case.
#pragma once

#include "tenrec/core/dtype.h"

namespace tenrec::kernels {

// highest: f32. high: factors are rounded to TF32 (10 bits behind the point). medium: products round theirs to bf16 (7
// bits); convolutions, for which cuDNN has no such mode, stay at TF32. The CPU always multiplies f32.
enum class MatmulPrecision { highest, high, medium };
MatmulPrecision matmul_precision();
void set_matmul_precision(MatmulPrecision precision);

// What a device's library is asked for: the type that factors are brought to before they are multiplied. Those of 16
// bits stay what they are.
enum class Factors { f64, f32, tf32, bf16 };
constexpr Factors product_factors(DType dtype, MatmulPrecision precision) {
  if (dtype == DType::f64) return Factors::f64;
  if (dtype != DType::f32 || precision == MatmulPrecision::highest) return Factors::f32;
  return precision == MatmulPrecision::high ? Factors::tf32 : Factors::bf16;
}
constexpr Factors convolution_factors(DType dtype, MatmulPrecision precision) {
  const Factors factors = product_factors(dtype, precision);
  return factors == Factors::bf16 ? Factors::tf32 : factors;
}

}  // namespace tenrec::kernels
