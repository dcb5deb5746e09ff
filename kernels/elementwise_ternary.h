// Functors of three operands. Included by elementwise_functors.h.
#pragma once

#include "tenrec/kernels/elementwise_base.h"

namespace tenrec::kernels {

// a where the condition is not 0, else b.
struct Where {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P condition, P a, P b) const {
    return select(condition != P(0), a, b);
  }
};
// a + w (b - a), from the nearer end, so that w = 1 gives b.
struct Lerp {
  template <class P>
  TENREC_INLINE P operator()(P a, P b, P w) const {
    const P span = b - a;
    return select(abs(w) < splat<P>(0.5), a + w * span, b - span * (P(1) - w));
  }
};
// x + value a b.
struct AddCMul {
  static constexpr bool integers = true;
  double value;
  int64_t integer;
  template <class P>
  TENREC_INLINE P operator()(P x, P a, P b) const {
    if constexpr (is_integer_packet<P>)
      return wrap_add(x, wrap_mul(integer, wrap_mul(a, b)));
    else
      return x + splat<P>(value) * a * b;
  }
};
// x + value a / b.
struct AddCDiv {
  double value;
  template <class P>
  TENREC_INLINE P operator()(P x, P a, P b) const {
    return x + splat<P>(value) * a / b;
  }
};
// Cotangent of max(a, b) for a: all of it where a is larger (or one is NaN), half at a tie. For min with a, b swapped.
struct MaximumGrad {
  template <class P>
  TENREC_INLINE P operator()(P dy, P a, P b) const {
    return select(a < b, P(0), select(a == b, dy * splat<P>(0.5), dy));
  }
};

using TernaryFunctors = FunctorList<Where, Lerp, AddCMul, AddCDiv, MaximumGrad>;

}  // namespace tenrec::kernels
