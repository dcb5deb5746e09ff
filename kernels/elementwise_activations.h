// Functors of the activation functions and of their cotangents in one pass. Included by elementwise_functors.h.
//
// A cotangent takes dy and either the input x or, where that is cheaper, the output y. Where the two sides of a kink
// meet, the derivative is the one PyTorch takes; NaN goes through.
#pragma once

#include "tenrec/kernels/elementwise_unary.h"

namespace tenrec::kernels {

// --- sigmoid and tanh, from the output ------------------------------------------------------------------------------
struct Tanh {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return tanh(x);
  }
};
struct TanhGrad {
  template <class P>
  TENREC_INLINE P operator()(P dy, P y) const {
    return dy * (P(1) - y * y);
  }
};
struct Sigmoid {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return sigmoid(x);
  }
};
struct SigmoidGrad {
  template <class P>
  TENREC_INLINE P operator()(P dy, P y) const {
    return dy * (y * (P(1) - y));
  }
};
struct LogSigmoid {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return log_sigmoid(x);
  }
};
struct LogSigmoidGrad {
  template <class P>
  TENREC_INLINE P operator()(P dy, P x) const {
    return dy * sigmoid(-x);
  }
};

// --- piecewise linear -----------------------------------------------------------------------------------------------
struct Relu {
  static constexpr bool integers = true;
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return select(x < P(0), P(0), x);
  }
};
// From input or output.
struct ReluGrad {
  template <class P>
  TENREC_INLINE P operator()(P dy, P y) const {
    return select(y <= P(0), P(0), dy);
  }
};
struct LeakyRelu {
  double slope;
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return select(x > P(0), x, x * splat<P>(slope));
  }
};
struct LeakyReluGrad {
  double slope;
  template <class P>
  TENREC_INLINE P operator()(P dy, P x) const {
    return select(x > P(0), dy, dy * splat<P>(slope));
  }
};
// Of Clamp, with the bounds outside.
struct HardTanhGrad {
  double low, high;
  template <class P>
  TENREC_INLINE P operator()(P dy, P x) const {
    return select(x > splat<P>(low) && x < splat<P>(high), dy, P(0));
  }
};
// min(max(x + 3, 0), 6) / 6.
struct HardSigmoid {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return Clamp{0, 6, 0, 0}(x + P(3)) / P(6);
  }
};
struct HardSigmoidGrad {
  template <class P>
  TENREC_INLINE P operator()(P dy, P x) const {
    return select(x > P(-3) && x < P(3), dy / P(6), P(0));
  }
};
struct HardShrink {
  double lambda;
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return select(abs(x) <= splat<P>(lambda), P(0), x);
  }
};
// Of hardshrink and softshrink.
struct ShrinkGrad {
  double lambda;
  template <class P>
  TENREC_INLINE P operator()(P dy, P x) const {
    return select(abs(x) > splat<P>(lambda), dy, P(0));
  }
};
struct SoftShrink {
  double lambda;
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return select(abs(x) <= splat<P>(lambda), P(0), x - copysign(splat<P>(lambda), x));
  }
};
struct Threshold {
  double threshold, value;
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return select(x <= splat<P>(threshold), splat<P>(value), x);
  }
};
struct ThresholdGrad {
  double threshold;
  template <class P>
  TENREC_INLINE P operator()(P dy, P x) const {
    return select(x <= splat<P>(threshold), P(0), dy);
  }
};

// --- curved ----------------------------------------------------------------------------------------------------------
// x above 0, alpha (e^(x / width) - 1) below, all times scale: ELU, CELU and SELU.
struct Elu {
  double alpha, scale, inverse_width;
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return select(x <= P(0), expm1(x * splat<P>(inverse_width)) * splat<P>(alpha * scale), x * splat<P>(scale));
  }
};
struct EluGrad {
  double alpha, scale, inverse_width;
  template <class P>
  TENREC_INLINE P operator()(P dy, P x) const {
    const P below = exp(x * splat<P>(inverse_width)) * splat<P>(alpha * scale * inverse_width);
    return dy * select(x > P(0), splat<P>(scale), below);
  }
};
// x Phi(x), Phi the normal distribution's (D. Hendrycks and K. Gimpel, arXiv 1606.08415).
struct Gelu {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return splat<P>(0.5) * x * (P(1) + erf(x * splat<P>(0.7071067811865476)));
  }
};
struct GeluGrad {
  template <class P>
  TENREC_INLINE P operator()(P dy, P x) const {
    const P distribution = splat<P>(0.5) * (P(1) + erf(x * splat<P>(0.7071067811865476)));
    const P density = splat<P>(0.3989422804014327) * exp(splat<P>(-0.5) * x * x);
    return dy * (distribution + x * density);
  }
};
// Its approximation by tanh(k (x + 0.044715 x^3)), k = sqrt(2 / pi).
struct GeluTanh {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    const P inner = splat<P>(0.7978845608028654) * (x + splat<P>(0.044715) * x * x * x);
    return splat<P>(0.5) * x * (P(1) + tanh(inner));
  }
};
struct GeluTanhGrad {
  template <class P>
  TENREC_INLINE P operator()(P dy, P x) const {
    const P bounded = Clamp{-10, 10, 0, 0}(x), square = bounded * bounded;  // tanh is +-1 beyond
    const P t = tanh(splat<P>(0.7978845608028654) * (bounded + splat<P>(0.044715) * square * bounded));
    const P slope = splat<P>(0.7978845608028654) * (P(1) + splat<P>(3 * 0.044715) * square);
    return dy * (splat<P>(0.5) * (P(1) + t + bounded * (P(1) - t * t) * slope));
  }
};
// x sigmoid(x).
struct Silu {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return x * sigmoid(x);
  }
};
struct SiluGrad {
  template <class P>
  TENREC_INLINE P operator()(P dy, P x) const {
    const P s = sigmoid(x);
    return dy * (s * (P(1) + x * (P(1) - s)));
  }
};
// x tanh(softplus(x)) (D. Misra, arXiv 1908.08681): with e = e^x and n = e (e + 2), the tanh is n / (n + 2).
struct Mish {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    const P e = exp(select(x > P(20), P(20), x)), n = e * (e + P(2));
    return x * (n / (n + P(2)));
  }
};
struct MishGrad {
  template <class P>
  TENREC_INLINE P operator()(P dy, P x) const {
    const P bounded = select(x > P(20), P(20), x), e = exp(bounded), n = e * (e + P(2)), m = n + P(2);
    const P slope = P(4) * ((n + P(1)) / m / m) * (e / (e + P(1)));
    return dy * (n / m + bounded * slope);
  }
};
// log(1 + e^(beta x)) / beta, x itself where beta x passes the threshold.
struct Softplus {
  double beta, threshold;
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    const P z = x * splat<P>(beta);
    return select(z > splat<P>(threshold), x, softplus(z) / splat<P>(beta));
  }
};
struct SoftplusGrad {
  double beta, threshold;
  template <class P>
  TENREC_INLINE P operator()(P dy, P x) const {
    const P z = x * splat<P>(beta);
    return select(z > splat<P>(threshold), dy, dy * sigmoid(z));
  }
};
struct Softsign {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return x / (P(1) + abs(x));
  }
};
struct SoftsignGrad {
  template <class P>
  TENREC_INLINE P operator()(P dy, P x) const {
    const P bottom = P(1) + abs(x);
    return dy / bottom / bottom;
  }
};
struct HardSwish {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return x * Clamp{0, 6, 0, 0}(x + P(3)) / P(6);
  }
};
struct HardSwishGrad {
  template <class P>
  TENREC_INLINE P operator()(P dy, P x) const {
    return select(x < P(-3), P(0), select(x >= P(3), dy, dy * (x / P(3) + splat<P>(0.5))));
  }
};
struct TanhShrink {
  template <class P>
  TENREC_INLINE P operator()(P x) const {
    return x - tanh(x);
  }
};
struct TanhShrinkGrad {
  template <class P>
  TENREC_INLINE P operator()(P dy, P x) const {
    const P t = tanh(x);
    return dy * (t * t);
  }
};

// --- gated -----------------------------------------------------------------------------------------------------------
// a sigmoid(b). Its cotangent for a is itself, of dy.
struct Glu {
  template <class P>
  TENREC_INLINE P operator()(P a, P b) const {
    return a * sigmoid(b);
  }
};
struct GluGateGrad {
  template <class P>
  TENREC_INLINE P operator()(P dy, P a, P b) const {
    const P s = sigmoid(b);
    return dy * a * (s * (P(1) - s));
  }
};
// silu(gate) x (N. Shazeer, arXiv 2002.05202). Its cotangent for x is itself, of dy.
struct SwiGlu {
  template <class P>
  TENREC_INLINE P operator()(P gate, P x) const {
    return gate * sigmoid(gate) * x;
  }
};
struct SwiGluGateGrad {
  template <class P>
  TENREC_INLINE P operator()(P dy, P gate, P x) const {
    return SiluGrad()(dy * x, gate);
  }
};

using ActivationFunctors =
    FunctorList<Tanh, Sigmoid, LogSigmoid, Relu, LeakyRelu, HardSigmoid, HardShrink, SoftShrink, Threshold, Elu, Gelu,
                GeluTanh, Silu, Mish, Softplus, Softsign, HardSwish, TanhShrink>;
using ActivationGradFunctors =
    FunctorList<TanhGrad, SigmoidGrad, LogSigmoidGrad, ReluGrad, LeakyReluGrad, HardTanhGrad, HardSigmoidGrad,
                ShrinkGrad, ThresholdGrad, EluGrad, GeluGrad, GeluTanhGrad, SiluGrad, MishGrad, SoftplusGrad,
                SoftsignGrad, HardSwishGrad, TanhShrinkGrad, Glu, SwiGlu>;
using GateGradFunctors = FunctorList<GluGateGrad, SwiGluGateGrad>;

}  // namespace tenrec::kernels
