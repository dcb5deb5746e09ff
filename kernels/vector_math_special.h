// Hyperbolic functions, powers, the error and gamma functions, and division with remainder, for packets of floats.
// Include vector_math.h, which says what holds for all.
#pragma once

#include "tenrec/kernels/vector_math_double.h"
#include "tenrec/kernels/vector_math_exp.h"

namespace tenrec::kernels {

namespace detail {

// The last digits of y = erfinv(a), 0 < a < 1, by Halley's rule on erf(y) - a.
TENREC_HD inline double refine_erfinv(double a, double y) {
  for (int step = 0; step < 2; ++step) {
    const double miss = a < 0.5 ? std::erf(y) - a : (1.0 - a) - std::erfc(y);
    const double u = miss * (std::exp(y * y) * 0x1.c5bf891b4ef6bp-1);
    y -= u / (1.0 + y * u);
  }
  return y;
}

TENREC_HD inline double erfinv(double x) {
  const double a = std::fabs(x);
  if (!(a < 1.0)) return a == 1.0 ? std::copysign(kInf, x) : kNaN;
  if (a < 0x1p-30) return x * 0x1.c5bf891b4ef6bp-1;  // sqrt(pi) / 2
  double y = wide_erfinv(a);
  if (a > 1.0 - 0x1p-25) {
    constexpr double c[] = {-0x1.01d1e57e1617fp-4, 0x1.c81c13e8ee3dcp-1,  0x1.4de641252c6efp-5,
                            -0x1.c48e50cea6a33p-8, 0x1.32830dfeaa4efp-11, -0x1.4fba3377148b4p-16};
    y = a * polynomial(std::sqrt(-std::log((1.0 - a) * (1.0 + a))), c);
  }
  return std::copysign(refine_erfinv(a, y), x);
}

// log|gamma(x)|. lgamma_r, because lgamma writes a global.
TENREC_HD inline double lgamma(double x) {
#if defined(__CUDA_ARCH__) || !defined(__GLIBC__)
  return ::lgamma(x);
#else
  int sign = 0;
  return ::lgamma_r(x, &sign);
#endif
}

// Derivative of log gamma: reflection below 0, recurrence up to 10, then Stirling's series (Abramowitz and Stegun,
// 6.3.5, 6.3.7, 6.3.18); beside its positive root a Taylor series about it, which keeps the relative error.
TENREC_HD inline double digamma(double x) {
  if (x == 0.0) return std::copysign(kInf, -x);
  if (x < 0.0) {
    const double fraction = x - std::nearbyint(x);
    if (!(fraction != 0.0)) return kNaN;  // a negative integer, or -inf
    return digamma(1.0 - x) - kPi / std::tan(kPi * fraction);
  }
  const double d = (x - 0x1.762d86356be3fp0) - 0x1.b86a722197829p-54;
  if (std::fabs(d) < 0.2) {
    constexpr double c[] = {0x1.ef72bc8ee38acp-1,  -0x1.c563b54aa1a35p-2, 0x1.08b4294d50381p-2, -0x1.4fc1317257da8p-3,
                            0x1.b9a5b6370f3abp-4,  -0x1.27baba261cc2cp-4, 0x1.8fce02b239ca7p-5, -0x1.0fa7ec36a7d8fp-5,
                            0x1.723d6807edccp-6,   -0x1.f970508e1b6a2p-7, 0x1.5955caaa962f3p-7, -0x1.d828079282eb8p-8,
                            0x1.42e1acf81d8dcp-8,  -0x1.b9afc7cee8a14p-9, 0x1.2e23345f79aafp-9, -0x1.9d626f71d1f7ap-10,
                            0x1.1acebbd761089p-10, -0x1.82f6345c65b35p-11};
    return d * polynomial(d, c);
  }
  double sum = 0.0;
  for (; x < 10.0; x += 1.0) sum -= 1.0 / x;
  const double z = 1.0 / (x * x);
  constexpr double b[] = {1.0 / 12, -1.0 / 120, 1.0 / 252, -1.0 / 240, 1.0 / 132, -691.0 / 32760, 1.0 / 12};
  return sum + (std::log(x) - 0.5 / x - z * polynomial(z, b));
}

}  // namespace detail

template <FloatPacket P>
TENREC_INLINE P sinh(P x) {
  const P y = detail::in_double(
      [](auto v) {
        using D = decltype(v);
        constexpr double c[] = {0x1.5555555578ba7p-3, 0x1.111110f1bca1ep-7, 0x1.a01a25a3902bap-13,
                                0x1.71cc2beef840ap-19, 0x1.b6995148604ddp-26};
        const D e = detail::wide_exp(v), z = v * v;
        return select(v < D(1.0), fma(z * v, detail::polynomial(z, c), v), D(0.5) * (e - D(1.0) / e));
      },
      abs(x));
  return copysign(y, x);
}

template <FloatPacket P>
TENREC_INLINE P cosh(P x) {
  return detail::in_double(
      [](auto v) {
        using D = decltype(v);
        const D e = detail::wide_exp(v);
        return D(0.5) * (e + D(1.0) / e);
      },
      x);
}

template <FloatPacket P>
TENREC_INLINE P asinh(P x) {
  const P a = abs(x);
  const P y = detail::in_double(
      [](auto v) {
        using D = decltype(v);
        const D z = v * v;
        return select(v < D(0x1p-10), fma(z * v, D(-1.0 / 6), v), detail::wide_log(v + sqrt(z + D(1.0))));
      },
      a);
  return copysign(select(is_finite(x), y, a), x);
}

// NaN below 1.
template <FloatPacket P>
TENREC_INLINE P acosh(P x) {
  const P y = detail::in_double(
      [](auto v) {
        using D = decltype(v);
        return detail::wide_log(v + sqrt(abs(v * v - D(1.0))));
      },
      x);
  return select(x >= P(1.0f), select(is_inf(x), x, y), x + P(std::numeric_limits<float>::quiet_NaN()));
}

// +-inf at +-1, NaN beyond.
template <FloatPacket P>
TENREC_INLINE P atanh(P x) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  const P a = abs(x);
  const P y = detail::in_double(
      [](auto v) {
        using D = decltype(v);
        const D far = D(0.5) * detail::wide_log((D(1.0) + v) / (D(1.0) - v));
        return select(v < D(0x1p-10), fma(v * v * v, D(1.0 / 3), v), far);
      },
      a);
  const P edge = select(a == P(1.0f), P(inf), a + P(std::numeric_limits<float>::quiet_NaN()));
  return copysign(select(a < P(1.0f), y, edge), x);
}

// sqrt(x^2 + y^2) without overflow; inf if either is infinite.
template <FloatPacket P>
TENREC_INLINE P hypot(P x, std::type_identity_t<P> y) {
  const P r = detail::in_double([](auto v, auto u) { return sqrt(fma(v, v, u * u)); }, x, y);
  return select(is_inf(x) || is_inf(y), P(std::numeric_limits<float>::infinity()), r);
}

// x^y, with the special cases of C (ISO C, annex F): x^0 = 1^y = 1 even for NaN; a negative x needs an integer y.
template <FloatPacket P>
TENREC_INLINE P pow(P x, std::type_identity_t<P> y) {
  return detail::in_double(
      [](auto v, auto u) {
        using D = decltype(v);
        const D a = abs(v);
        D l = detail::wide_log2(a);
        l = select(a == D(0.0), D(-detail::kInf), select(is_inf(a), a, l));
        D t = u * l;
        t = select(D(-300.0) > t, D(-300.0), t);
        t = select(D(300.0) < t, D(300.0), t);
        D r = select(a == D(1.0), D(1.0), detail::wide_exp2(t));
        const D halved = u * D(0.5);
        const MaskOf<D> integer = floor(u) == u, odd = integer && floor(halved) != halved;
        r = select(odd, copysign(r, v), r);
        r = select(v < D(0.0) && !integer && is_finite(v), D(detail::kNaN), r);
        r = select(is_nan(v) || is_nan(u), v + u, r);
        return select(u == D(0.0) || v == D(1.0), D(1.0), r);
      },
      x, y);
}

// 1 - erf(x), with all its digits for large x.
template <FloatPacket P>
TENREC_INLINE P erfc(P x) {
  return detail::in_double(
      [](auto v) {
        using D = decltype(v);
        const D y = detail::wide_erfc(abs(v));
        return select(v < D(0.0), D(2.0) - y, y);
      },
      x);
}

// +-inf at +-1, NaN beyond.
template <FloatPacket P>
TENREC_INLINE P erfinv(P x) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  const P a = abs(x), y = detail::in_double([](auto v) { return detail::wide_erfinv(v); }, a);
  const P edge = select(a == P(1.0f), P(inf), a + P(std::numeric_limits<float>::quiet_NaN()));
  return copysign(select(a < P(1.0f), y, edge), x);
}

template <DoublePacket P>
TENREC_HD inline P erfinv(P x) {
  return detail::by_lane([](double v) { return detail::erfinv(v); }, x);
}

// log|gamma(x)|: inf at 0 and the negative integers.
template <RealPacket P>
TENREC_HD inline P lgamma(P x) {
  using T = ElementOf<P>;
  return detail::by_lane([](T v) { return T(detail::lgamma(double(v))); }, x);
}

// The derivative of log gamma. As PyTorch has it: -inf at 0, inf at -0, NaN at the negative integers.
template <RealPacket P>
TENREC_HD inline P digamma(P x) {
  using T = ElementOf<P>;
  return detail::by_lane([](T v) { return T(detail::digamma(double(v))); }, x);
}

// The remainder of x / y, rounded towards zero: exact, with the sign of x. NaN for an infinite x or y = 0.
template <FloatPacket P>
TENREC_INLINE P fmod(P x, std::type_identity_t<P> y) {
  const P a = abs(x), b = abs(P(y));
  // A quotient beyond 2^50 has no room in a double.
  if (any(a * P(0x1p-50f) > b)) [[unlikely]] {
    return detail::by_lane([](float v, float u) { return std::fmod(v, u); }, x, P(y));
  }
  const P r = detail::in_double(
      [](auto v, auto u) {
        using D = decltype(v);
        D rest = fma(-trunc(v / u), u, v);  // exact; the quotient may be one too large
        rest = select(rest < D(0.0), rest + u, rest);
        return select(is_inf(u) && is_finite(v), v, rest);
      },
      a, b);
  return copysign(r, x);
}

// PyTorch's and Python's remainder: x - y floor(x / y), with the sign of y.
template <RealPacket P>
TENREC_INLINE P remainder(P x, std::type_identity_t<P> y) {
  const P r = fmod(x, y);
  return select(r != P(0) && ((r < P(0)) ^ (y < P(0))), r + y, r);
}

}  // namespace tenrec::kernels
