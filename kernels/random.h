// Random numbers: an element's value is a pure function of (seed, offset of the call, index of the element), so it does
// not depend on the number of threads, on the tensor's layout or on its neighbours. All outputs are contiguous.
//
// Which bits an element uses (core/random.h: block b of a call is philox(offset, b), four words):
//   uniform, exponential                    word i; f64: words 2i and 2i + 1
//   bernoulli, dropout                      word i
//   integers, truncated normal, multinomial words 2i and 2i + 1
//   normal (Box and Muller, 1958)           words i and i ^ 1; f64: the four words of block i / 2
//   gamma, poisson                          blocks i + 2^48 t, for as many tries t as rejection takes
#pragma once

#include "tenrec/core/dispatch.h"
#include "tenrec/core/random.h"
#include "tenrec/core/view.h"

namespace tenrec::kernels {

// Floating dtypes. [low, high): what rounding would put at `high` becomes `low`.
void random_uniform(Cpu, GeneratorState state, double low, double high, const View& y);
void random_uniform(Cuda, GeneratorState state, double low, double high, const View& y);
void random_normal(Cpu, GeneratorState state, double mean, double std, const View& y);
void random_normal(Cuda, GeneratorState state, double mean, double std, const View& y);
// Normal, cut to [low, high], by the inverse of its distribution function.
void random_truncated_normal(Cpu, GeneratorState state, double mean, double std, double low, double high,
                             const View& y);
void random_truncated_normal(Cuda, GeneratorState state, double mean, double std, double low, double high,
                             const View& y);
void random_exponential(Cpu, GeneratorState state, double rate, const View& y);
void random_exponential(Cuda, GeneratorState state, double rate, const View& y);
// Any dtype: 1 with probability p, else 0. p to 2^-32.
void random_bernoulli(Cpu, GeneratorState state, double p, const View& y);
void random_bernoulli(Cuda, GeneratorState state, double p, const View& y);
void random_bernoulli(Cpu, GeneratorState state, const View& p, const View& y);   // p[i], contiguous
void random_bernoulli(Cuda, GeneratorState state, const View& p, const View& y);  // p[i], contiguous
// Any dtype: low + an integer below `range` (0 stands for 2^64).
void random_integers(Cpu, GeneratorState state, int64_t low, uint64_t range, const View& y);
void random_integers(Cuda, GeneratorState state, int64_t low, uint64_t range, const View& y);

// y = x / (1 - p) where word i is at least p 2^32, else 0. 0 < p < 1.
void dropout(Cpu, GeneratorState state, double p, const View& x, const View& y);
void dropout(Cuda, GeneratorState state, double p, const View& x, const View& y);

// Rows of non-negative f64 weights [rows, n] -> [rows, k] indices. Returns the first row that cannot be drawn from, or
// -1: a weight that is negative or not finite, a sum of 0, or fewer than k positive weights without replacement.
int64_t random_multinomial(Cpu, GeneratorState state, const View& weights, bool replacement, const View& y);
int64_t random_multinomial(Cuda, GeneratorState state, const View& weights, bool replacement, const View& y);
// Rows of f32 logits [rows, n] and of standard exponential noise -> [rows], where logit - log(noise) is largest: the
// Gumbel trick. Returns the first row without a logit above -inf, or -1.
int64_t random_categorical(Cpu, const View& logits, const View& noise, const View& y);
int64_t random_categorical(Cuda, const View& logits, const View& noise, const View& y);
// f64 parameters and results, element by element. Parameters are checked by the caller.
void random_gamma(Cpu, GeneratorState state, const View& shape, const View& y);
void random_gamma(Cuda, GeneratorState state, const View& shape, const View& y);
void random_poisson(Cpu, GeneratorState state, const View& rate, const View& y);
void random_poisson(Cuda, GeneratorState state, const View& rate, const View& y);

}  // namespace tenrec::kernels
