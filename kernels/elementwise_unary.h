// Functors of one operand, and the cotangents of those whose gradient is done in one pass. Included by
// elementwise_functors.h.
#pragma once

#include "tenrec/kernels/elementwise_base.h"
#include "tenrec/kernels/polygamma.h"

namespace tenrec::kernels {

struct Neg {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    if constexpr (is_integer_packet<P>)
      return wrap_sub(0, x);
    else
      return -x;
  }
};
struct Abs {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    if constexpr (is_integer_packet<P>)
      return x < 0 ? wrap_sub(0, x) : x;
    else
      return abs(x);
  }
};
// 0 for 0 and for NaN.
struct Sign {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return select(x > P(0), P(1), select(x < P(0), P(-1), P(0)));
  }
};
struct Square {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    if constexpr (is_integer_packet<P>)
      return wrap_mul(x, x);
    else
      return x * x;
  }
};

// --- algebra and elementary functions -------------------------------------------------------------------------------
struct Sqrt {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return sqrt(x);
  }
};
struct Rsqrt {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return P(1) / sqrt(x);
  }
};
struct Reciprocal {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return P(1) / x;
  }
};
struct Exp {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return exp(x);
  }
};
struct Exp2 {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return exp2(x);
  }
};
struct Expm1 {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return expm1(x);
  }
};
struct Log {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return log(x);
  }
};
struct Log2 {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return log2(x);
  }
};
struct Log10 {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return log10(x);
  }
};
struct Log1p {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return log1p(x);
  }
};
struct Sin {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return sin(x);
  }
};
struct Cos {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return cos(x);
  }
};
struct Tan {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return tan(x);
  }
};
struct Asin {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return asin(x);
  }
};
struct Acos {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return acos(x);
  }
};
struct Atan {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return atan(x);
  }
};
struct Sinh {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return sinh(x);
  }
};
struct Cosh {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return cosh(x);
  }
};
struct Asinh {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return asinh(x);
  }
};
struct Acosh {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return acosh(x);
  }
};
struct Atanh {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return atanh(x);
  }
};

// --- error and gamma functions --------------------------------------------------------------------------------------
struct Erf {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return erf(x);
  }
};
struct Erfc {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return erfc(x);
  }
};
struct Erfinv {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return erfinv(x);
  }
};
struct Lgamma {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return lgamma(x);
  }
};
struct Digamma {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return digamma(x);
  }
};
struct Polygamma {
  int order;
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return polygamma(order, x);
  }
};

// --- rounding; an integer is its own --------------------------------------------------------------------------------
struct Floor {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    if constexpr (is_integer_packet<P>)
      return x;
    else
      return floor(x);
  }
};
struct Ceil {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    if constexpr (is_integer_packet<P>)
      return x;
    else
      return ceil(x);
  }
};
// Half to even.
struct Round {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    if constexpr (is_integer_packet<P>)
      return x;
    else
      return round(x);
  }
};
struct Trunc {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    if constexpr (is_integer_packet<P>)
      return x;
    else
      return trunc(x);
  }
};
struct Frac {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return x - trunc(x);
  }
};

// --- bounds and repair -----------------------------------------------------------------------------------------------
// high wins where the bounds cross; NaN stays.
struct Clamp {
  static constexpr bool integers = true;
  double low, high;
  int64_t integer_low, integer_high;
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    if constexpr (is_integer_packet<P>) {
      x = x < integer_low ? integer_low : x;
      return x > integer_high ? integer_high : x;
    } else {
      x = select(x < splat<P>(low), splat<P>(low), x);
      return select(x > splat<P>(high), splat<P>(high), x);
    }
  }
};
// dy where low <= x <= high.
struct ClampGrad {
  double low, high;
  template <class P>
  TENREC_INLINE P operator()(P dy, P x) const {
    return select(x >= splat<P>(low) && x <= splat<P>(high), dy, P(0));
  }
};
struct NanToNum {
  double nan, posinf, neginf;
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    const P inf = splat<P>(__builtin_inf());
    x = select(x == inf, splat<P>(posinf), select(x == -inf, splat<P>(neginf), x));
    return select(is_nan(x), splat<P>(nan), x);
  }
};
struct AbsGrad {
  template <class P>
  TENREC_INLINE P operator()(P dy, P x) const {
    return dy * Sign()(x);
  }
};

// --- predicates -----------------------------------------------------------------------------------------------------
struct IsNan {
  static constexpr bool integers = true, predicate = true;
  template <class P>
  TENREC_INLINE MaskOf<P> operator()(P x) const {
    return x != x;
  }
};
struct IsInf {
  static constexpr bool integers = true, predicate = true;
  template <class P>
  TENREC_INLINE MaskOf<P> operator()(P x) const {
    if constexpr (is_integer_packet<P>)
      return false;
    else
      return is_inf(x);
  }
};
struct IsFinite {
  static constexpr bool integers = true, predicate = true;
  template <class P>
  TENREC_INLINE MaskOf<P> operator()(P x) const {
    if constexpr (is_integer_packet<P>)
      return true;
    else
      return is_finite(x);
  }
};
struct LogicalNot {
  static constexpr bool integers = true, predicate = true;
  template <class P>
  TENREC_INLINE MaskOf<P> operator()(P x) const {
    return x == P(0);
  }
};
struct BitNot {
  static constexpr bool integers_only = true;
  TENREC_INLINE int64_t operator()(int64_t x) const { return ~x; }
};

using UnaryFunctors = FunctorList<Neg, Abs, Sign, Square, Sqrt, Rsqrt, Reciprocal, Floor, Ceil, Round, Trunc, Frac,
                                  Clamp, NanToNum, IsNan, IsInf, IsFinite, LogicalNot, BitNot>;
using MathFunctors = FunctorList<Exp, Exp2, Expm1, Log, Log2, Log10, Log1p, Sin, Cos, Tan, Asin, Acos, Atan, Sinh, Cosh,
                                 Asinh, Acosh, Atanh, Erf, Erfc, Erfinv, Lgamma, Digamma, Polygamma>;
using UnaryGradFunctors = FunctorList<ClampGrad, AbsGrad>;

}  // namespace tenrec::kernels
