// Value and derivative (by a) of each loss of loss.h, over packets: shared by CPU and CUDA. Internal.
#pragma once

#include "tenrec/kernels/loss.h"
#include "tenrec/kernels/vector_math.h"

namespace tenrec::kernels::detail {

template <class T>
struct Squared {
  explicit Squared(T) {}
  template <class P>
  TENREC_INLINE P value(P a, P b) const {
    return (a - b) * (a - b);
  }
  template <class P>
  TENREC_INLINE P slope(P a, P b) const {
    return P(T(2)) * (a - b);
  }
};

template <class P>
TENREC_INLINE P sign_of(P d) {
  using T = ElementOf<P>;
  return select(d > P(T(0)), P(T(1)), select(d < P(T(0)), P(T(-1)), d));
}

template <class T>
struct Absolute {
  explicit Absolute(T) {}
  template <class P>
  TENREC_INLINE P value(P a, P b) const {
    return abs(a - b);
  }
  template <class P>
  TENREC_INLINE P slope(P a, P b) const {
    return sign_of(a - b);
  }
};

template <class T>
struct SmoothL1 {
  T beta;
  explicit SmoothL1(T p) : beta(p) {}
  template <class P>
  TENREC_INLINE P value(P a, P b) const {
    const P d = abs(a - b), near = P(T(0.5)) * d * d / P(beta);
    return select(d < P(beta), near, d - P(T(0.5) * beta));
  }
  template <class P>
  TENREC_INLINE P slope(P a, P b) const {
    const P d = a - b;
    return select(abs(d) < P(beta), d / P(beta), sign_of(d));
  }
};

template <class T>
struct Huber {
  T delta;
  explicit Huber(T p) : delta(p) {}
  template <class P>
  TENREC_INLINE P value(P a, P b) const {
    const P d = abs(a - b);
    return select(d < P(delta), P(T(0.5)) * d * d, P(delta) * (d - P(T(0.5) * delta)));
  }
  template <class P>
  TENREC_INLINE P slope(P a, P b) const {
    const P d = a - b;
    return select(abs(d) < P(delta), d, P(delta) * sign_of(d));
  }
};

template <class T>
struct Bce {
  explicit Bce(T) {}
  // NaN passes: the comparison is false for it.
  template <class P>
  TENREC_INLINE static P bounded(P log) {
    return select(log < P(T(-100)), P(T(-100)), log);
  }
  template <class P>
  TENREC_INLINE P value(P a, P b) const {
    return (b - P(T(1))) * bounded(log1p(-a)) - b * bounded(log(a));
  }
  template <class P>
  TENREC_INLINE P slope(P a, P b) const {
    const P width = (P(T(1)) - a) * a, least = P(T(1e-12));
    return (a - b) / select(width < least, least, width);
  }
};

template <class T>
struct BceLogits {
  explicit BceLogits(T) {}
  template <class P>
  TENREC_INLINE P value(P a, P b) const {
    const P positive = select(a < P(T(0)), P(T(0)), a);
    return positive - a * b + log1p(exp(-abs(a)));
  }
  template <class P>
  TENREC_INLINE P slope(P a, P b) const {
    return sigmoid(a) - b;
  }
};

template <class T>
struct Kl {
  explicit Kl(T) {}
  template <class P>
  TENREC_INLINE P value(P a, P b) const {
    const P zero(T(0));
    return select(b == zero, zero, b * log(b)) - b * a;
  }
  template <class P>
  TENREC_INLINE P slope(P, P b) const {
    return -b;
  }
};

template <class T>
struct KlLog {
  explicit KlLog(T) {}
  template <class P>
  TENREC_INLINE P value(P a, P b) const {
    return exp(b) * (b - a);
  }
  template <class P>
  TENREC_INLINE P slope(P, P b) const {
    return -exp(b);
  }
};

// Calls f with the functor of a loss; `parameter`: beta or delta.
template <class T, class F>
decltype(auto) visit_loss(PairLoss loss, double parameter, const F& f) {
  switch (loss) {
    case PairLoss::squared:
      return f(Squared<T>(T(parameter)));
    case PairLoss::absolute:
      return f(Absolute<T>(T(parameter)));
    case PairLoss::smooth_l1:
      return f(SmoothL1<T>(T(parameter)));
    case PairLoss::huber:
      return f(Huber<T>(T(parameter)));
    case PairLoss::bce:
      return f(Bce<T>(T(parameter)));
    case PairLoss::bce_logits:
      return f(BceLogits<T>(T(parameter)));
    case PairLoss::kl:
      return f(Kl<T>(T(parameter)));
    case PairLoss::kl_log:
      break;
  }
  return f(KlLog<T>(T(parameter)));
}

}  // namespace tenrec::kernels::detail
