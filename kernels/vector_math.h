// Elementary and special functions for elementwise kernels: each algorithm is written once over a packet type
// (kernels/pack.h), of which float and double are the one-lane case. From outside of tenrec::kernels call them by their
// qualified names, or the C library's overloads may win.
//
// Floats: basic arithmetic, bit patterns and explicit fma only (lgamma, digamma and the remainder of huge quotients
// apart, which ask the C library for a double or an exact result), so a value depends on its argument alone: not on its
// lane, its neighbours, the width of the pack, the instruction set or the compiler. Special cases are selects; the only
// branch is for |x| > 100,000 in sin, cos and tan. Doubles go lane by lane through the C library, but for sigmoid,
// softplus, log_sigmoid, erfinv and digamma, which are ours, good to a few units (digamma: to 4e-15, absolute or
// relative, whichever is larger).
//
// Largest error for floats, in units in the last place, over every third or fourth one (tests/vector_math_test.cpp):
//
//   sqrt 0.5     exp 0.78    exp2 0.87    expm1 1.44   log 0.92   log2 1.60   log10 1.51   log1p 1.66
//   tanh 1.35    sigmoid 1.51    erf 1.09    sin 0.88    cos 0.87    softplus log_sigmoid 1.97
//   the rest 0.51 (remainder: 0.5 of the exact fmod plus y), fmod and the roundings exact
//
//   exp expm1 exp2 log log1p log2 log10 tanh sigmoid softplus log_sigmoid erf                    vector_math_exp.h
//   sin cos sin_cos tan asin acos atan atan2                                                     vector_math_trig.h
//   sinh cosh asinh acosh atanh pow hypot erfc erfinv lgamma digamma fmod remainder              vector_math_special.h
//   fma sqrt abs copysign min max floor ceil trunc round is_nan is_inf is_finite                 pack_math.h
#pragma once

#include "tenrec/kernels/pack.h"
#include "tenrec/kernels/vector_math_exp.h"
#include "tenrec/kernels/vector_math_special.h"
#include "tenrec/kernels/vector_math_trig.h"
