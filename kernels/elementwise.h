// Elementwise kernels: y[i] = f(x0[i], x1[i], x2[i]) with broadcasting, any strides and mixed dtypes.
//
// The output's shape is the broadcast shape. Arithmetic is done in `compute`: f32 (also for bf16 and f16), f64 or i64
// (for all integers; results are truncated to the output's width, which is arithmetic modulo 2^n). Inputs are converted
// as they are read, so promotion needs no extra pass. A functor that is listed in elementwise_functors.h can be passed.
//
// Layout, conversion and partition stand once, in elementwise_engine.cpp; a functor's own code is one loop over runs of
// `compute` values per type (elementwise_loop.h).
#pragma once

#include <array>
#include <span>

#include "tenrec/core/dispatch.h"
#include "tenrec/core/view.h"

namespace tenrec::kernels {

template <class F>
void unary(Cpu, const F& f, DType compute, const View& x, const View& y);
template <class F>
void unary(Cuda, const F& f, DType compute, const View& x, const View& y);
template <class F>
void binary(Cpu, const F& f, DType compute, const View& a, const View& b, const View& y);
template <class F>
void binary(Cuda, const F& f, DType compute, const View& a, const View& b, const View& y);
template <class F>
void ternary(Cpu, const F& f, DType compute, const View& a, const View& b, const View& c, const View& y);
template <class F>
void ternary(Cuda, const F& f, DType compute, const View& a, const View& b, const View& c, const View& y);

// to = from, broadcast to `to`'s shape, converted. Float to integer truncates; to bool: not equal to zero.
void copy(Cpu, const View& from, const View& to);
void copy(Cuda, const View& from, const View& to);
void fill(Cpu, const View& y, double value, int64_t integer);
void fill(Cuda, const View& y, double value, int64_t integer);
// True if no element is zero; true for an empty x.
bool all_nonzero(Cpu, const View& x);
bool all_nonzero(Cuda, const View& x);

// The dtype that elementwise arithmetic on `t` is done in.
constexpr DType compute_dtype(DType t) { return t == f64 ? f64 : is_floating(t) ? f32 : i64; }

namespace detail {

inline constexpr size_t kMaxInputs = 3;

// Elements to work on. Input k advances by step[k], which is 1, or 0 for a value that repeats; what repeats is one pack
// (64 bytes) of equal values, so that a loop need not know the difference.
struct Run {
  const void* in[kMaxInputs];
  int64_t step[kMaxInputs];
  void* out;
  int64_t n;
};
using ElementLoop = void (*)(const void* functor, const Run& run);

struct Kernel {
  ElementLoop loop;
  const void* functor;
  DType compute;
  bool predicate;  // the loop writes bytes, 0 or 1
};

// Cuts the work, brings inputs into runs, calls the loop, puts results in place.
void run_elementwise(const Kernel& kernel, std::span<const View> inputs, const View& y);

}  // namespace detail
}  // namespace tenrec::kernels
