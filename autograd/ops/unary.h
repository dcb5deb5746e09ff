// Functions of one operand, element by element. Floating tensors keep their dtype; bf16 and f16 are computed in f32 and
// rounded once. Functions that leave the integers make f32 of integer and bool tensors; the others keep them.
#pragma once

#include <optional>

#include "tenrec/core/tensor.h"

namespace tenrec {

// Defined on integers.
Tensor neg(const Tensor& x);  // DTypeError for bool
Tensor abs(const Tensor& x);
Tensor sign(const Tensor& x);  // 0 for NaN
Tensor square(const Tensor& x);
// Their gradient is 0. Round goes half to even.
Tensor floor(const Tensor& x);
Tensor ceil(const Tensor& x);
Tensor round(const Tensor& x);
Tensor trunc(const Tensor& x);
// x - trunc(x).
Tensor frac(const Tensor& x);

Tensor sqrt(const Tensor& x);
Tensor rsqrt(const Tensor& x);
Tensor reciprocal(const Tensor& x);
Tensor exp(const Tensor& x);
Tensor exp2(const Tensor& x);
Tensor expm1(const Tensor& x);
Tensor log(const Tensor& x);
Tensor log2(const Tensor& x);
Tensor log10(const Tensor& x);
Tensor log1p(const Tensor& x);
Tensor sin(const Tensor& x);
Tensor cos(const Tensor& x);
Tensor tan(const Tensor& x);
Tensor asin(const Tensor& x);
Tensor acos(const Tensor& x);
Tensor atan(const Tensor& x);
Tensor sinh(const Tensor& x);
Tensor cosh(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor asinh(const Tensor& x);
Tensor acosh(const Tensor& x);
Tensor atanh(const Tensor& x);
// 1 / (1 + e^-x).
Tensor sigmoid(const Tensor& x);

Tensor erf(const Tensor& x);
Tensor erfc(const Tensor& x);
Tensor erfinv(const Tensor& x);
// log |gamma(x)| and its derivatives: digamma, and polygamma(n, x), number n + 1. polygamma(0, x) is digamma(x).
// ValueError unless 0 <= n <= 100.
Tensor lgamma(const Tensor& x);
Tensor digamma(const Tensor& x);
Tensor polygamma(int64_t n, const Tensor& x);

// Brought into [min, max], either of which may be absent (ValueError if both are): clamp(x, 0, 1), clamp(x, {}, 6). NaN
// stays; if min > max the result is max. The gradient passes inside and on the bounds.
Tensor clamp(const Tensor& x, std::optional<Scalar> min, std::optional<Scalar> max = {});
inline Tensor clamp_min(const Tensor& x, Scalar min) { return clamp(x, min); }
inline Tensor clamp_max(const Tensor& x, Scalar max) { return clamp(x, {}, max); }

struct NanToNumOptions {
  double nan = 0;
  std::optional<double> posinf = {};  // the dtype's largest number
  std::optional<double> neginf = {};  // the dtype's lowest
};
// NaN and infinities replaced by numbers; their gradient is 0.
Tensor nan_to_num(const Tensor& x, const NanToNumOptions& options = {});

}  // namespace tenrec
