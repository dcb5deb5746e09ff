// Functions of doubles, which go lane by lane through the C library, and the way through double for those functions of
// floats that need not be fastest: in_double widens a pack of floats to two packs of doubles and runs kernels that are
// good to 2^-31 or better, so that the one rounding at the end is nearly the only error. Those kernels, `wide_...`, are
// here. Include vector_math.h, which says what holds for all.
#pragma once

#include <cmath>

#include "tenrec/kernels/pack.h"

namespace tenrec::kernels {

namespace detail {

// c[0] + c[1] x + c[2] x^2 + ..., by Horner's rule.
template <RealPacket P, int K>
TENREC_INLINE P polynomial(P x, const ElementOf<P> (&c)[K]) {
  P y(c[K - 1]);
#if defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)
#pragma GCC unroll 32
#endif
  for (int i = K - 2; i >= 0; --i) y = fma(y, x, P(c[i]));
  return y;
}

// f lane by lane.
template <class F, RealPacket P, class... Rest>
TENREC_HD inline P by_lane(F f, P x, Rest... rest) {
  if constexpr (kSizeOf<P> == 1)
    return f(x, rest...);
  else
    return each_lane(f, x, rest...);
}

#if !defined(__CUDACC__)
template <int kHalf, int N>
TENREC_INLINE Pack<double, N / 2> widen(Pack<float, N> x) {
  Pack<float, N / 2> part;
  __builtin_memcpy(&part.v, reinterpret_cast<const char*>(&x.v) + kHalf * sizeof(part.v), sizeof(part.v));
  return convert<Pack<double, N / 2>>(part);
}
template <int N>
TENREC_INLINE Pack<float, N> narrow(Pack<double, N / 2> low, Pack<double, N / 2> high) {
  const auto a = convert<Pack<float, N / 2>>(low), b = convert<Pack<float, N / 2>>(high);
  Pack<float, N> y;
  __builtin_memcpy(&y.v, &a.v, sizeof(a.v));
  __builtin_memcpy(reinterpret_cast<char*>(&y.v) + sizeof(a.v), &b.v, sizeof(b.v));
  return y;
}
#endif

// float(f(double(x), ...)); f takes packets of doubles.
template <class F, FloatPacket P, class... Rest>
TENREC_INLINE P in_double(F f, P x, Rest... rest) {
  if constexpr (kSizeOf<P> == 1) {
    return float(f(double(x), double(rest)...));
  } else if constexpr (kSizeOf<P> == 2) {
    return each_lane([&](auto... lane) { return float(f(double(lane)...)); }, x, rest...);
  } else {
    return narrow<kSizeOf<P>>(f(widen<0>(x), widen<0>(rest)...), f(widen<1>(x), widen<1>(rest)...));
  }
}

inline constexpr double kInf = std::numeric_limits<double>::infinity();
inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
inline constexpr double kPi = 0x1.921fb54442d18p1;
inline constexpr double kLn2 = 0x1.62e42fefa39efp-1;
inline constexpr double kLog2E = 0x1.71547652b82fep0;

// 2^x for |x| < 1000; NaN stays NaN.
template <DoublePacket P>
TENREC_INLINE P wide_exp2(P x) {
  constexpr double c[] = {0x1.62e42fefa37d2p-1,  0x1.ebfbdff81bde9p-3,  0x1.c6b08d70c8559p-5,
                          0x1.3b2ab72414757p-7,  0x1.5d87fd93db188p-10, 0x1.430897eff766dp-13,
                          0x1.ffce2efe9fc11p-17, 0x1.63e6992335ed9p-20, 0x1.b3debaf984d82p-24};
  const P shifted = x + P(0x1.8p52), r = x - (shifted - P(0x1.8p52));
  const P power = cast<P>((bits(shifted) << 52) + UintOf<P>(uint64_t(1023) << 52));
  return power * fma(r, polynomial(r, c), P(1.0));
}
// Bounded on both sides to what a float can still tell from 0 and infinity.
template <DoublePacket P>
TENREC_INLINE P wide_exp(P x) {
  x = select(P(-200.0) > x, P(-200.0), x);
  return wide_exp2(select(P(200.0) < x, P(200.0), x) * P(kLog2E));
}

// log2 of a positive, normal, finite x; a relative error of 2^-49 even near 1.
template <DoublePacket P>
TENREC_INLINE P wide_log2(P x) {
  constexpr double c[] = {0x1.71547652b8308p1,  0x1.ec709dc388953p-1, 0x1.2776c533d1001p-1, 0x1.a61737b59f293p-2,
                          0x1.4856f791c8f04p-2, 0x1.0aec1dc0734c6p-2, 0x1.011499c942f97p-2};
  using U = UintOf<P>;
  // Exponent relative to 2/3, with 1024 added so that it is positive; through 2^52, as AVX2 converts no 64-bit
  // integers.
  const U pattern = bits(x), biased = (pattern - U(0x3fe5555555555555u) + U(uint64_t(1024) << 52)) >> 52;
  const P exponent = cast<P>(biased | U(0x4330000000000000u)) - P(0x1p52 + 1024.0);
  const P m = cast<P>(pattern - ((biased - U(1024)) << 52));
  const P s = (m - P(1.0)) / (m + P(1.0));
  return fma(s, polynomial(s * s, c), exponent);
}
template <DoublePacket P>
TENREC_INLINE P wide_log(P x) {
  return wide_log2(x) * P(kLn2);
}

// |r| <= pi / 4.
template <DoublePacket P>
TENREC_INLINE P wide_sin(P r) {
  constexpr double c[] = {-0x1.5555555552387p-3, 0x1.1111110c9a428p-7, -0x1.a019f94f01c4cp-13, 0x1.71d776b1ce068p-19,
                          -0x1.a9648f9d661f1p-26};
  const P z = r * r;
  return fma(z * r, polynomial(z, c), r);
}
template <DoublePacket P>
TENREC_INLINE P wide_cos(P r) {
  constexpr double c[] = {-0x1.ffffffffebcbep-2, 0x1.55555546d86f8p-5, -0x1.6c16b3ecd2b06p-10, 0x1.a00f06f20e043p-16,
                          -0x1.23d60d82dfba2p-22};
  const P z = r * r;
  return fma(z, polynomial(z, c), P(1.0));
}

// The angle of (x, y) for x, y >= 0, in [0, pi/2]; 0 at the origin.
template <DoublePacket P>
TENREC_INLINE P wide_angle(P y, P x) {
  constexpr double c[] = {-0x1.555555550cd97p-2, 0x1.9999992ce60e4p-3, -0x1.24922d39c570ep-3, 0x1.c7157b5c409ffp-4,
                          -0x1.73e13db57a68ap-4, 0x1.35febee4762b5p-4, -0x1.e27fefb5fce8dp-5, 0x1.f9e0d62aaa9e1p-6};
  // Infinity as a number that any finite float is negligible beside, and as large as itself.
  y = min(y, P(0x1p600));
  x = min(x, P(0x1p600));
  const P small = min(x, y), large = max(x, y);
  // tan(a - pi/4) = (tan a - 1) / (tan a + 1) above tan(pi/8).
  const MaskOf<P> upper = small > large * P(0x1.a827999fcef34p-2);
  const P top = select(upper, small - large, small), bottom = select(upper, small + large, large);
  const P t = top / select(bottom == P(0.0), P(1.0), bottom), z = t * t;
  const P octant = select(upper, P(kPi / 4), P(0.0)) + fma(z * t, polynomial(z, c), t);
  return select(y > x, P(kPi / 2) - octant, octant);
}

// erfc(x) for x >= 0 (0 from 28 on): e^(-x^2) times erfcx, a polynomial in (x - 2) / (x + 2) (M. M. Shepherd and
// J. G. Laframboise, Mathematics of Computation 36, 1981), fitted up to 10.1, where a float underflows.
template <DoublePacket P>
TENREC_INLINE P wide_erfc(P x) {
  constexpr double c[] = {0x1.058671b52d11fp-2,   -0x1.b57034efdc487p-2, 0x1.eeea7dc7c6c74p-3,   -0x1.437f0b5ea2cc5p-4,
                          0x1.e9471c9dfcd6p-9,    0x1.ca95e05da1b43p-8,  -0x1.bc2717aff37f5p-11, -0x1.0169a60e95f41p-10,
                          0x1.6e031f8ebf28dp-15,  0x1.6d72e5d47cc9p-13,  0x1.c881fa8c09fffp-16,  -0x1.cbe7a3db863b7p-16,
                          -0x1.bb4b2ba3bf386p-17, 0x1.82aa16ae8857dp-20, 0x1.799c5c86fa761p-19,  0x1.711508b08b676p-21};
  x = select(P(10.1) < x, P(10.1), x);
  return wide_exp(-(x * x)) * polynomial((x - P(2.0)) / (x + P(2.0)), c);
}

// The inverse of erf on (-1, 1): a polynomial in w = -log(1 - x^2), and in sqrt(w) where w is large (M. Giles,
// "Approximating the erfinv function", GPU Computing Gems, 2011); up to w = 16.8, |x| = 1 - 2^-25.
template <DoublePacket P>
TENREC_INLINE P wide_erfinv(P x) {
  constexpr double central[] = {0x1.c5bf891b088fep-1,   0x1.db29fb8798589p-3,   0x1.7a729fd1a3402p-7,
                                -0x1.320b58c8588e4p-9,  -0x1.0d74bf44a0233p-13, 0x1.8ccf1390f747dp-15,
                                0x1.6443060502053p-20,  -0x1.2608217e0bb21p-21, -0x1.0cb2f21dfb80cp-22,
                                0x1.7df32d8c935bbp-24,  -0x1.add482075046dp-27, 0x1.fd32cfed610dbp-31,
                                -0x1.2ce2f06438e24p-35, 0x1.ed1f07185a93cp-42};
  constexpr double tail[] = {-0x1.2616d558976f5p2,  0x1.2319388fa2a52p4,   -0x1.a5ea2705fb3abp4,  0x1.67c4ec819ff4ap4,
                             -0x1.84361c65a3966p3,  0x1.18af35fb9d3dp2,    -0x1.1577b5a83cf13p0,  0x1.73f7b05728115p-3,
                             -0x1.4487481abb667p-6, 0x1.4d71e357877d1p-10, -0x1.32cf4b5d4423ap-15};
  const P w = -wide_log((P(1.0) - x) * (P(1.0) + x));
  return x * select(w < P(5.5), polynomial(w, central), polynomial(sqrt(abs(w)), tail));
}

}  // namespace detail

template <DoublePacket P>
TENREC_HD inline P exp(P x) {
  return detail::by_lane([](double v) { return std::exp(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P expm1(P x) {
  return detail::by_lane([](double v) { return std::expm1(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P exp2(P x) {
  return detail::by_lane([](double v) { return std::exp2(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P log(P x) {
  return detail::by_lane([](double v) { return std::log(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P log1p(P x) {
  return detail::by_lane([](double v) { return std::log1p(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P log2(P x) {
  return detail::by_lane([](double v) { return std::log2(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P log10(P x) {
  return detail::by_lane([](double v) { return std::log10(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P sin(P x) {
  return detail::by_lane([](double v) { return std::sin(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P cos(P x) {
  return detail::by_lane([](double v) { return std::cos(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P tan(P x) {
  return detail::by_lane([](double v) { return std::tan(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P asin(P x) {
  return detail::by_lane([](double v) { return std::asin(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P acos(P x) {
  return detail::by_lane([](double v) { return std::acos(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P atan(P x) {
  return detail::by_lane([](double v) { return std::atan(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P sinh(P x) {
  return detail::by_lane([](double v) { return std::sinh(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P cosh(P x) {
  return detail::by_lane([](double v) { return std::cosh(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P tanh(P x) {
  return detail::by_lane([](double v) { return std::tanh(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P asinh(P x) {
  return detail::by_lane([](double v) { return std::asinh(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P acosh(P x) {
  return detail::by_lane([](double v) { return std::acosh(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P atanh(P x) {
  return detail::by_lane([](double v) { return std::atanh(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P erf(P x) {
  return detail::by_lane([](double v) { return std::erf(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P erfc(P x) {
  return detail::by_lane([](double v) { return std::erfc(v); }, x);
}
template <DoublePacket P>
TENREC_HD inline P atan2(P y, std::type_identity_t<P> x) {
  return detail::by_lane([](double v, double u) { return std::atan2(v, u); }, y, P(x));
}
template <DoublePacket P>
TENREC_HD inline P pow(P x, std::type_identity_t<P> y) {
  return detail::by_lane([](double v, double u) { return std::pow(v, u); }, x, P(y));
}
template <DoublePacket P>
TENREC_HD inline P hypot(P x, std::type_identity_t<P> y) {
  return detail::by_lane([](double v, double u) { return std::hypot(v, u); }, x, P(y));
}
template <DoublePacket P>
TENREC_HD inline P fmod(P x, std::type_identity_t<P> y) {
  return detail::by_lane([](double v, double u) { return std::fmod(v, u); }, x, P(y));
}

}  // namespace tenrec::kernels
