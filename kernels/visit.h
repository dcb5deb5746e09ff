// How kernels pick the C++ type they work in. Internal. core/dtype.h has visit_dtype, which takes every dtype.
#pragma once

#include <cstdint>

#include "tenrec/core/dtype.h"
#include "tenrec/core/error.h"

namespace tenrec::kernels {

// Calls f with a value of a floating dtype's C++ type. DTypeError, in the op's name, for the others.
template <class F>
void visit_floating(const char* op, DType t, F&& f) {
  switch (t) {
    case f64:
      return f(double{});
    case f32:
      return f(float{});
    case bf16:
      return f(bfloat16{});
    case f16:
      return f(float16{});
    default:
      fail<DTypeError>(op, ": expected a floating dtype, got ", t);
  }
}

// With a zero of the type in which values of a floating dtype are added up: double or float.
template <class F>
void visit_real(DType t, F&& f) {
  if (t == f64)
    f(double{});
  else
    f(float{});
}

// The same for every dtype: integers and bool are added up as int64_t.
template <class F>
void visit_wide(DType t, F&& f) {
  if (is_floating(t))
    visit_real(t, f);
  else
    f(int64_t{});
}

// With an unsigned integer of the dtype's width: for kernels that only move elements.
template <class F>
void visit_width(DType t, F&& f) {
  switch (size_of(t)) {
    case 1:
      return f(uint8_t{});
    case 2:
      return f(uint16_t{});
    case 4:
      return f(uint32_t{});
    default:
      return f(uint64_t{});
  }
}

}  // namespace tenrec::kernels
