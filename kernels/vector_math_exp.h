// Exponentials, logarithms and what is made of them (tanh, sigmoid, softplus, erf), for packets of floats. Include
// vector_math.h, which says what holds for all of them.
//
// Reduction after W. J. Cody and W. Waite, "Software Manual for the Elementary Functions" (1980): x = n ln 2 + r for an
// exponential, x = 2^n (1 + f) for a logarithm. Coefficients are minimax fits of ours, rounded one after the other from
// the lowest power with the rest fitted again.
#pragma once

#include "tenrec/kernels/pack.h"
#include "tenrec/kernels/vector_math_double.h"

namespace tenrec::kernels {

namespace detail {

// The integer nearest to x * scale, |x * scale| < 2^22. In `shifted` it stands in the low bits of the pattern.
template <FloatPacket P>
struct Nearest {
  P shifted, value;
  TENREC_INLINE Nearest(P x, float scale) : shifted(fma(x, P(scale), P(0x1.8p23f))), value(shifted - P(0x1.8p23f)) {}
  TENREC_INLINE IntOf<P> integer() const { return cast<IntOf<P>>(bits(shifted) - UintOf<P>(0x4b400000u)); }
  // 2^value, for a value in [-126, 127].
  TENREC_INLINE P power_of_two() const { return cast<P>((bits(shifted) << 23) + UintOf<P>(0x3f800000u)); }
};

// x * 2^n with one rounding, for 0.25 < x < 4 and -190 <= n <= 190.
template <FloatPacket P>
TENREC_INLINE P scale_by_power(P x, const Nearest<P>& n) {
#if defined(__AVX512F__) && !defined(__CUDACC__)
  if constexpr (kSizeOf<P> == 16) {
    return P(__builtin_ia32_scalefps512_mask(x.v, n.value.v, x.v, uint16_t(-1), 4));
  }
#endif
  // In two steps, of which only the second can round.
  const IntOf<P> first = n.integer() >> 1, rest = n.integer() - first;
  const UintOf<P> one(0x3f800000u);
  return x * cast<P>((cast<UintOf<P>>(first) << 23) + one) * cast<P>((cast<UintOf<P>>(rest) << 23) + one);
}

// Bounds that let NaN through (select(bound > x, ...) would be false for it).
template <FloatPacket P>
TENREC_INLINE P at_least(P x, float bound) {
  return select(P(bound) > x, P(bound), x);
}
template <FloatPacket P>
TENREC_INLINE P at_most(P x, float bound) {
  return select(P(bound) < x, P(bound), x);
}

// x = n ln 2 + r with |r| <= ln(2) / 2; ln 2 in two parts, of which the first times n is exact.
template <FloatPacket P>
TENREC_INLINE P reduce_ln2(P x, P n) {
  return fma(n, P(-0x1.7f7d1cp-20f), fma(n, P(-0x1.62e4p-1f), x));
}

// e^r - 1 for |r| <= ln(2) / 2.
template <FloatPacket P>
TENREC_INLINE P expm1_reduced(P r) {
  constexpr float c[] = {0x1p-1f, 0x1.555556p-3f, 0x1.5554f6p-5f, 0x1.110fe6p-7f, 0x1.6d3c96p-10f, 0x1.a28138p-13f};
  return fma(r * r, polynomial(r, c), r);
}

// e^x for -85 <= x <= 85, to about one unit.
template <FloatPacket P>
TENREC_INLINE P exp_bounded(P x) {
  const Nearest<P> n(x, 0x1.715476p0f);
  const P s = n.power_of_two();
  return fma(expm1_reduced(reduce_ln2(x, n.value)), s, s);
}

// log(1 + f) - f for 2/3 <= 1 + f <= 4/3.
template <FloatPacket P>
TENREC_INLINE P log1p_minus(P f) {
  constexpr float c[] = {0x1.555506p-2f, -0x1.fffef8p-3f, 0x1.99d068p-3f, -0x1.559c58p-3f,
                         0x1.1ed30cp-3f, -0x1.f33c84p-4f, 0x1.1e7ad6p-3f, -0x1.07a0b4p-3f};
  const P f2 = f * f;
  return f2 * fma(f, polynomial(f, c), P(-0.5f));
}

// x = 2^exponent (1 + f), 2/3 <= 1 + f < 4/3, for positive finite x, subnormals included.
template <FloatPacket P>
struct LogSplit {
  P exponent, f;
  TENREC_INLINE explicit LogSplit(P x) {
    const MaskOf<P> tiny = x < P(0x1p-126f);
    const UintOf<P> pattern = bits(select(tiny, x * P(0x1p23f), x));
    const UintOf<P> e = (pattern - UintOf<P>(0x3f2aaaabu)) & UintOf<P>(0xff800000u);
    exponent = fma(convert<P>(cast<IntOf<P>>(e)), P(0x1p-23f), select(tiny, P(-23.0f), P(0.0f)));
    f = cast<P>(pattern - e) - P(1.0f);
  }
};

// What a logarithm is outside of (0, inf); `y` inside.
template <FloatPacket P>
TENREC_INLINE P log_edges(P x, P y) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  y = select(x < P(inf), y, x);  // inf and NaN
  y = select(x > P(0.0f), y, select(x == P(0.0f), P(-inf), x + P(std::numeric_limits<float>::quiet_NaN())));
  return y;
}

}  // namespace detail

// e^x.
template <FloatPacket P>
TENREC_INLINE P exp(P x) {
  constexpr float c[] = {0x1.fffffcp-2f, 0x1.55548ap-3f, 0x1.55584cp-5f, 0x1.123f66p-7f, 0x1.6ad98cp-10f};
  x = detail::at_most(detail::at_least(x, -105.0f), 89.0f);
  const detail::Nearest<P> n(x, 0x1.715476p0f);
  // r = high + n * low part of ln 2 would round; what it loses, and what 1 + high loses, goes into `rest`.
  const P high = fma(n.value, P(-0x1.62e4p-1f), x);
  const P r = fma(n.value, P(-0x1.7f7d1cp-20f), high);
  const P sum = high + P(1.0f);
  const P rest = fma(n.value, P(-0x1.7f7d1cp-20f), high - (sum - P(1.0f)));
  return detail::scale_by_power(sum + fma(r * r, detail::polynomial(r, c), rest), n);
}

// 2^x.
template <FloatPacket P>
TENREC_INLINE P exp2(P x) {
  constexpr float c[] = {0x1.62e43p-1f,  0x1.ebfbep-3f,   0x1.c6b06ep-5f, 0x1.3b2a4ap-7f,
                         0x1.5da72p-10f, 0x1.442022p-13f, 0x1.dd6866p-17f};
  x = detail::at_most(detail::at_least(x, -151.0f), 129.0f);
  const detail::Nearest<P> n(x, 1.0f);
  const P r = x - n.value;
  return detail::scale_by_power(fma(r, detail::polynomial(r, c), P(1.0f)), n);
}

// e^x - 1.
template <FloatPacket P>
TENREC_INLINE P expm1(P x) {
  const P bounded = detail::at_most(detail::at_least(x, -18.0f), 89.0f);
  const detail::Nearest<P> n(bounded, 0x1.715476p0f);
  const P q = detail::expm1_reduced(detail::reduce_ln2(bounded, n.value));
  // 2^n (q + 1) - 1, at half size because 2^128 is too large.
  const P scale = cast<P>(bits(n.power_of_two()) - UintOf<P>(0x800000u));
  const P scaled = fma(q, scale, scale - P(0.5f));
  return copysign(select(n.value == P(0.0f), q, scaled + scaled), x);
}

// Natural logarithm: -inf at 0, NaN below.
template <FloatPacket P>
TENREC_INLINE P log(P x) {
  const detail::LogSplit<P> s(x);
  // Small to large, so that only the last sum rounds much.
  const P low = fma(s.exponent, P(0x1.7f7d1cp-20f), detail::log1p_minus(s.f));
  return detail::log_edges(x, fma(s.exponent, P(0x1.62e4p-1f), s.f + low));
}

template <FloatPacket P>
TENREC_INLINE P log2(P x) {
  const detail::LogSplit<P> s(x);
  const P low = fma(s.f, P(0x1.4ae0cp-26f), detail::log1p_minus(s.f) * P(0x1.715476p0f));
  return detail::log_edges(x, s.exponent + fma(s.f, P(0x1.715476p0f), low));
}

template <FloatPacket P>
TENREC_INLINE P log10(P x) {
  const detail::LogSplit<P> s(x);
  P low = fma(s.f, P(-0x1.5b235ep-27f), detail::log1p_minus(s.f) * P(0x1.bcb7b2p-2f));
  low = fma(s.exponent, P(0x1.3509f8p-18f), low);
  return detail::log_edges(x, fma(s.exponent, P(0x1.344p-2f), fma(s.f, P(0x1.bcb7b2p-2f), low)));
}

// log(1 + x): -inf at -1, NaN below.
template <FloatPacket P>
TENREC_INLINE P log1p(P x) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  const P u = x + P(1.0f);
  // 1 + x = 2^k (1 + f); f = 2^-k x + (2^-k - 1) comes from x itself, since u has lost its low bits. (4 and 1/4 keep
  // the power in range at both ends.)
  const UintOf<P> k = (bits(u) - UintOf<P>(0x3f2aaaabu)) & UintOf<P>(0xff800000u);
  const P f = cast<P>(bits(x) - k) + fma(cast<P>(UintOf<P>(0x40800000u) - k), P(0.25f), P(-1.0f));
  const P n = convert<P>(cast<IntOf<P>>(k)) * P(0x1p-23f);
  const P low = fma(n, P(0x1.7f7d1cp-20f), detail::log1p_minus(f));
  P y = copysign(fma(n, P(0x1.62e4p-1f), f + low), x);
  y = select(x < P(inf), y, x);
  return select(u > P(0.0f), y, select(u == P(0.0f), P(-inf), x + P(std::numeric_limits<float>::quiet_NaN())));
}

// Hyperbolic tangent: 1 - 2 / (e^2|x| + 1), and near 0, where that cancels, a polynomial.
template <FloatPacket P>
TENREC_INLINE P tanh(P x) {
  constexpr float c[] = {-0x1.55553ep-2f, 0x1.1109b6p-3f, -0x1.b898ecp-5f, 0x1.54b3a8p-6f, -0x1.822d08p-8f};
  const P a = abs(x), doubled = detail::at_most(a + a, 20.0f);
  const P far = P(1.0f) - P(2.0f) / (detail::exp_bounded(doubled) + P(1.0f));
  const P x2 = x * x;
  const P near = fma(x2 * a, detail::polynomial(x2, c), a);
  return copysign(select(a < P(0.6f), near, far), x);
}

// 1 / (1 + e^-x), from e = e^-|x| and q = e / (1 + e): 1 - q above 0, and below q = e - e q, where the errors of q
// count the less the smaller it is.
template <RealPacket P>
TENREC_INLINE P sigmoid(P x) {
  const P e = exp(-abs(x));
  const P q = e / (e + P(1));
  return select(x < P(0), fma(-e, q, e), P(1) - q);
}

// log(1 + e^x), without overflow and with all digits where it is small.
template <RealPacket P>
TENREC_INLINE P softplus(P x) {
  return max(x, P(0)) + log1p(exp(-abs(x)));
}
// log(sigmoid(x)).
template <RealPacket P>
TENREC_INLINE P log_sigmoid(P x) {
  return min(x, P(0)) - log1p(exp(-abs(x)));
}

// Error function: 1 - e^-g(|x|), g a polynomial for -log erfc, and below 1 an odd polynomial.
template <FloatPacket P>
TENREC_INLINE P erf(P x) {
  constexpr float g[] = {0x1.661d06p-12f, 0x1.2088eap0f, 0x1.46bafp-1f,   0x1.a6531cp-4f,
                         -0x1.65cb28p-6f, 0x1.825a7p-9f, -0x1.86dd0ep-13f};
  constexpr float c[] = {0x1.06eba8p-3f, -0x1.81273ep-2f,  0x1.ce2ce6p-4f, -0x1.b7f71ap-6f,
                         0x1.53f224p-8f, -0x1.a3515ep-11f, 0x1.4771fcp-14f};
  const P a = abs(x), bounded = detail::at_most(a, 4.0f);
  const P far = P(1.0f) - detail::exp_bounded(-detail::polynomial(bounded, g));
  const P near = fma(a, detail::polynomial(a * a, c), a);
  return copysign(select(a < P(1.0f), near, far), x);
}

}  // namespace tenrec::kernels
