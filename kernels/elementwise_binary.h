// Functors of two operands: arithmetic, comparisons, logic and bits. Included by elementwise_functors.h.
#pragma once

#include "tenrec/kernels/elementwise_base.h"
#include "tenrec/kernels/gamma_grad.h"

namespace tenrec::kernels {

struct Add {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P a, P b) const {
    if constexpr (is_integer_packet<P>)
      return wrap_add(a, b);
    else
      return a + b;
  }
};
struct Sub {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P a, P b) const {
    if constexpr (is_integer_packet<P>)
      return wrap_sub(a, b);
    else
      return a - b;
  }
};
struct Mul {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P a, P b) const {
    if constexpr (is_integer_packet<P>)
      return wrap_mul(a, b);
    else
      return a * b;
  }
};
struct Div {
  template <class P>
  TENREC_INLINE P operator()(P a, P b) const {
    return a / b;
  }
};
// a + scale * b, two roundings as written. Used by add_.
struct AddScaled {
  static constexpr bool integers = true;
  double scale;
  template <class P>
  TENREC_INLINE P operator()(P a, P b) const {
    if constexpr (is_integer_packet<P>)
      return wrap_add(a, wrap_mul(int64_t(scale), b));
    else
      return a + splat<P>(scale) * b;
  }
};

// --- division with rounding; an integer divisor of 0 is refused before, here it gives 0 ------------------------------
// Rounded down. Of floats: (a - a mod b) / b, put right where that is not quite an integer; as in PyTorch and
// Python.
struct FloorDivide {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P a, P b) const {
    if constexpr (is_integer_packet<P>) {
      if (b == 0) return 0;
      if (b == -1) return wrap_sub(0, a);
      return a / b - int64_t(a % b != 0 && (a < 0) != (b < 0));
    } else {
      const P zero(0), one(1), rest = fmod(a, b);
      P quotient = (a - rest) / b;
      const MaskOf<P> below = rest != zero && MaskOf<P>((b < zero) ^ (rest < zero));
      quotient = select(below, quotient - one, quotient);
      P down = floor(quotient);
      down = select(quotient - down > splat<P>(0.5), down + one, down);
      down = select(quotient == zero, copysign(zero, a / b), down);
      return select(b == zero, a / b, down);
    }
  }
};
// The sign of b.
struct Remainder {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P a, P b) const {
    if constexpr (is_integer_packet<P>) {
      if (b == 0 || b == -1) return 0;
      const P rest = a % b;
      return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
    } else {
      return remainder(a, b);
    }
  }
};
// The sign of a.
struct Fmod {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P a, P b) const {
    if constexpr (is_integer_packet<P>)
      return b == 0 || b == -1 ? 0 : a % b;
    else
      return fmod(a, b);
  }
};

// --- powers, angles, logarithms of sums -----------------------------------------------------------------------------
struct Pow {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P a, P b) const {
    if constexpr (is_integer_packet<P>) {
      if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 ? -1 : 1) : 0;
      P power = 1;
      for (; b; b >>= 1, a = wrap_mul(a, a))
        if (b & 1) power = wrap_mul(power, a);
      return power;
    } else {
      return pow(a, b);
    }
  }
};
struct Atan2 {
  template <class P>
  TENREC_INLINE P operator()(P y, P x) const {
    return atan2(y, x);
  }
};
struct Hypot {
  template <class P>
  TENREC_INLINE P operator()(P a, P b) const {
    return hypot(a, b);
  }
};
// log(e^a + e^b) = max + log(1 + e^-|a - b|); equal infinities are their own sum.
struct LogAddExp {
  template <class P>
  TENREC_INLINE P operator()(P a, P b) const {
    const P sum = max(a, b) + log1p(exp(-abs(a - b)));
    return select(a == b && is_inf(a), a, sum);
  }
};
struct LogAddExp2 {
  template <class P>
  TENREC_INLINE P operator()(P a, P b) const {
    const P sum = max(a, b) + log1p(exp2(-abs(a - b))) * splat<P>(1.4426950408889634);
    return select(a == b && is_inf(a), a, sum);
  }
};
// a log b, 0 where a is 0 and b is not NaN.
struct Xlogy {
  template <class P>
  TENREC_INLINE P operator()(P a, P b) const {
    return select(a == P(0) && !is_nan(b), P(0), a * log(b));
  }
};
struct Copysign {
  template <class P>
  TENREC_INLINE P operator()(P a, P b) const {
    return copysign(a, b);
  }
};
// dx / d(shape) of the gamma variate x.
struct GammaGrad {
  template <class P>
  TENREC_INLINE P operator()(P shape, P x) const {
    return gamma_grad(shape, x);
  }
};

// --- the smaller, the larger -----------------------------------------------------------------------------------------
// NaN if either is NaN.
struct Minimum {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P a, P b) const {
    if constexpr (is_integer_packet<P>)
      return a < b ? a : b;
    else
      return min(a, b);
  }
};
struct Maximum {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P a, P b) const {
    if constexpr (is_integer_packet<P>)
      return a > b ? a : b;
    else
      return max(a, b);
  }
};
// The other one if one is NaN.
struct Fmin {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P a, P b) const {
    if constexpr (is_integer_packet<P>)
      return a < b ? a : b;
    else
      return select(is_nan(a), b, select(is_nan(b), a, min(a, b)));
  }
};
struct Fmax {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P a, P b) const {
    if constexpr (is_integer_packet<P>)
      return a > b ? a : b;
    else
      return select(is_nan(a), b, select(is_nan(b), a, max(a, b)));
  }
};

// --- predicates -----------------------------------------------------------------------------------------------------
struct Predicate {
  static constexpr bool integers = true, predicate = true;
};
struct Eq : Predicate {
  template <class P>
  TENREC_INLINE MaskOf<P> operator()(P a, P b) const {
    return a == b;
  }
};
struct Ne : Predicate {
  template <class P>
  TENREC_INLINE MaskOf<P> operator()(P a, P b) const {
    return a != b;
  }
};
struct Lt : Predicate {
  template <class P>
  TENREC_INLINE MaskOf<P> operator()(P a, P b) const {
    return a < b;
  }
};
struct Le : Predicate {
  template <class P>
  TENREC_INLINE MaskOf<P> operator()(P a, P b) const {
    return a <= b;
  }
};
struct Gt : Predicate {
  template <class P>
  TENREC_INLINE MaskOf<P> operator()(P a, P b) const {
    return a > b;
  }
};
struct Ge : Predicate {
  template <class P>
  TENREC_INLINE MaskOf<P> operator()(P a, P b) const {
    return a >= b;
  }
};
struct LogicalAnd : Predicate {
  template <class P>
  TENREC_INLINE MaskOf<P> operator()(P a, P b) const {
    return a != P(0) && b != P(0);
  }
};
struct LogicalOr : Predicate {
  template <class P>
  TENREC_INLINE MaskOf<P> operator()(P a, P b) const {
    return a != P(0) || b != P(0);
  }
};
struct LogicalXor : Predicate {
  template <class P>
  TENREC_INLINE MaskOf<P> operator()(P a, P b) const {
    return MaskOf<P>((a != P(0)) ^ (b != P(0)));
  }
};
// |a - b| <= atol + rtol |b|, or equal (infinities), or both NaN if that counts.
struct IsClose {
  static constexpr bool predicate = true;
  double rtol, atol;
  bool equal_nan;
  template <class P>
  TENREC_INLINE MaskOf<P> operator()(P a, P b) const {
    const P allowed = splat<P>(atol) + splat<P>(rtol) * abs(b), actual = abs(a - b);
    const MaskOf<P> close = a == b || (is_finite(actual) && actual <= allowed);
    return equal_nan ? MaskOf<P>(close || (is_nan(a) && is_nan(b))) : close;
  }
};

// --- bits -----------------------------------------------------------------------------------------------------------
struct BitAnd {
  static constexpr bool integers_only = true;
  TENREC_INLINE int64_t operator()(int64_t a, int64_t b) const { return a & b; }
};
struct BitOr {
  static constexpr bool integers_only = true;
  TENREC_INLINE int64_t operator()(int64_t a, int64_t b) const { return a | b; }
};
struct BitXor {
  static constexpr bool integers_only = true;
  TENREC_INLINE int64_t operator()(int64_t a, int64_t b) const { return a ^ b; }
};
// A count that is negative or too large shifts everything out.
struct ShiftLeft {
  static constexpr bool integers_only = true;
  TENREC_INLINE int64_t operator()(int64_t a, int64_t count) const {
    return uint64_t(count) < 64 ? int64_t(uint64_t(a) << count) : 0;
  }
};
struct ShiftRight {
  static constexpr bool integers_only = true;
  TENREC_INLINE int64_t operator()(int64_t a, int64_t count) const { return a >> (uint64_t(count) < 64 ? count : 63); }
};

using BinaryFunctors =
    FunctorList<Add, Sub, Mul, Div, AddScaled, FloorDivide, Remainder, Fmod, Pow, Atan2, Hypot, LogAddExp, LogAddExp2,
                Xlogy, Copysign, GammaGrad, Minimum, Maximum, Fmin, Fmax, Eq, Ne, Lt, Le, Gt, Ge, LogicalAnd, LogicalOr,
                LogicalXor, IsClose, BitAnd, BitOr, BitXor, ShiftLeft, ShiftRight>;
// Those with a number for one operand; they are unary functors.
using BoundFunctors = FunctorList<BindRight<Add>, BindRight<Sub>, BindLeft<Sub>, BindRight<Mul>, BindRight<Div>,
                                  BindLeft<Div>, BindRight<Pow>, BindLeft<Pow>, BindRight<Eq>, BindRight<Ne>,
                                  BindRight<Lt>, BindRight<Le>, BindRight<Gt>, BindRight<Ge>>;

}  // namespace tenrec::kernels
