// Random tensors, random fills, and dropout.
//
// Each call takes one offset from a generator: the one it is given, or this thread's default (core/random.h,
// manual_seed). An element's value is a pure function of (seed, offset, index), so results are the same for any number
// of threads, and a generator's state is all there is to save.
#pragma once

#include "tenrec/core/random.h"
#include "tenrec/core/tensor.h"

namespace tenrec {

// --- new tensors; floating dtypes, f32 unless told -------------------------------------------------------------------
// Uniform on [0, 1).
Tensor rand(const Shape& shape, const TensorOptions& options = {}, Generator* generator = nullptr);
// Normal, mean 0 and deviation 1.
Tensor randn(const Shape& shape, const TensorOptions& options = {}, Generator* generator = nullptr);
Tensor rand_like(const Tensor& x, Generator* generator = nullptr);
Tensor randn_like(const Tensor& x, Generator* generator = nullptr);
// Integers in [low, high), any dtype, i64 unless told.
Tensor randint(int64_t low, int64_t high, const Shape& shape, const TensorOptions& options = {.dtype = i64},
               Generator* generator = nullptr);
inline Tensor randint(int64_t high, const Shape& shape, const TensorOptions& options = {.dtype = i64},
                      Generator* generator = nullptr) {
  return randint(0, high, shape, options, generator);
}
Tensor randint_like(const Tensor& x, int64_t low, int64_t high, Generator* generator = nullptr);
// 0 .. n-1 in random order, i64.
Tensor randperm(int64_t n, Generator* generator = nullptr);

// --- fills (in place, see mutate.h); floating dtypes, except bernoulli_. Each returns x. -----------------------------
// [low, high).
const Tensor& uniform_(const Tensor& x, double low = 0, double high = 1, Generator* generator = nullptr);
const Tensor& normal_(const Tensor& x, double mean = 0, double std = 1, Generator* generator = nullptr);
// The normal distribution cut to [low, high].
const Tensor& trunc_normal_(const Tensor& x, double mean = 0, double std = 1, double low = -2, double high = 2,
                            Generator* generator = nullptr);
// Density rate * exp(-rate x), x > 0.
const Tensor& exponential_(const Tensor& x, double rate = 1, Generator* generator = nullptr);
// 1 with probability p, else 0.
const Tensor& bernoulli_(const Tensor& x, double p = 0.5, Generator* generator = nullptr);

// --- ops -------------------------------------------------------------------------------------------------------------
// x / (1 - p) with each element zeroed with probability p, in [0, 1]; x itself if not `training` or p = 0. The mask
// is not kept: the backward pass draws it again. (Srivastava et al., "Dropout", JMLR 15, 2014.)
Tensor dropout(const Tensor& x, double p = 0.5, bool training = true, Generator* generator = nullptr);
// 1 with probability p[i], else 0, of p's shape and dtype. Discrete: no gradient.
Tensor bernoulli(const Tensor& p, Generator* generator = nullptr);
// k indices for each row of non-negative weights [n] or [rows, n], i64; weights need not sum to 1. ValueError for rows
// that cannot be drawn from.
Tensor multinomial(const Tensor& weights, int64_t k, bool replacement = false, Generator* generator = nullptr);
// One index for each row of logits [..., n] (unnormalised log-probabilities), i64.
Tensor categorical(const Tensor& logits, Generator* generator = nullptr);
// Gamma(shape, 1) for each element of `shape`, which must not be negative. The derivative is the implicit one, by
// gamma_grad, and the only one.
Tensor gamma(const Tensor& shape, Generator* generator = nullptr);
// dx / d(shape) of a gamma variate x that keeps its probability, shapes broadcast; NaN unless shape > 0 and x >= 0. No
// derivative. M. Figurnov et al., "Implicit reparameterization gradients" (2018).
Tensor gamma_grad(const Tensor& shape, const Tensor& x);
// Poisson(rate) for each element of `rate`, which must be finite and not negative, in rate's dtype. Discrete.
Tensor poisson(const Tensor& rate, Generator* generator = nullptr);

}  // namespace tenrec
