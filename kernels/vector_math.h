// Elementary and special functions for elementwise kernels: each algorithm is written once over a packet type
// (kernels/pack.h), of which float and double are the one-lane case.
//
//   exp expm1 exp2 log log1p log2 log10 tanh sigmoid softplus log_sigmoid erf                    vector_math_exp.h
//   sin cos tan asin acos atan atan2                                                              vector_math_trig.h
//   sinh cosh asinh acosh atanh pow hypot erfc erfinv lgamma digamma fmod remainder               vector_math_special.h
//   fma sqrt abs copysign min max floor ceil trunc round is_nan is_inf is_finite select           pack.h
#pragma once

#include "tenrec/kernels/pack.h"
#include "tenrec/kernels/vector_math_exp.h"
#include "tenrec/kernels/vector_math_special.h"
#include "tenrec/kernels/vector_math_trig.h"
