// Circular functions and their inverses, for packets of floats. Include vector_math.h, which says what holds for all.
//
// sin and cos reduce by pi/2 in three parts (Cody and Waite) up to |x| = 100,000; lanes beyond are done one by one with
// as many bits of 2/pi as they need (M. Payne and R. Hanek, "Radian reduction for trigonometric functions", SIGNUM
// Newsletter 18, 1983), so the whole range of a float is right.
#pragma once

#include "tenrec/kernels/vector_math_double.h"
#include "tenrec/kernels/vector_math_exp.h"

namespace tenrec::kernels {

namespace detail {

inline constexpr float kCircularLimit = 100000.0f;

// x = quadrant pi/2 + r (quadrant modulo 4), |r| <= pi/4, for finite |x| >= 2^-7 2^23.
struct HugeAngle {
  double r;
  uint32_t quadrant;
  TENREC_HD explicit HugeAngle(float x) {
    // 2/pi in binary, one word of zeros before the point.
    constexpr uint32_t two_over_pi[] = {0u,          0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u,
                                        0xdb629599u, 0x3c439041u, 0xfe5163abu, 0xdebbc561u};
    const uint32_t pattern = std::bit_cast<uint32_t>(x);
    const uint64_t m = (pattern & 0x7fffffu) | 0x800000u;  // |x| = m 2^e
    const int e = int((pattern >> 23) & 0xffu) - 150;
    // Bits of 2/pi with a weight of 2^(2-e) or more give multiples of 4. The 96 behind them are enough: m times what
    // is cut off stays below 2^-70, and no float comes nearer to a multiple of pi/2 than 2^-30.
    const int first = 30 + e, shift = first & 31;
    const uint32_t* word = two_over_pi + (first >> 5);
    const uint64_t high = (uint64_t(word[0]) << 32) | word[1], low = (uint64_t(word[2]) << 32) | word[3];
    const uint64_t top = uint64_t((high << shift) >> 32),
                   middle = uint64_t((((high << 32) | (low >> 32)) << shift) >> 32),
                   bottom = uint64_t((low << shift) >> 32);
    const uint64_t p0 = m * bottom, p1 = m * middle + (p0 >> 32), p2 = m * top + (p1 >> 32);
    const uint64_t product = (p2 << 32) | (p1 & 0xffffffffu);  // in units of 2^-62
    const uint64_t fraction = (product << 2) | ((p0 >> 30) & 3u);
    quadrant = uint32_t(product >> 62) + uint32_t(fraction >> 63);
    r = double(int64_t(fraction)) * (0x1p-64 * 0x1.921fb54442d18p0);
    if (x < 0.0f) {
      r = -r;
      quadrant = 0u - quadrant;
    }
  }
};

[[gnu::cold]] TENREC_HD inline float sin_huge(float x) {
  if (!is_finite(x)) return std::numeric_limits<float>::quiet_NaN();
  const HugeAngle a(x);
  const double y = (a.quadrant & 1u) ? wide_cos(a.r) : wide_sin(a.r);
  return float((a.quadrant & 2u) ? -y : y);
}
[[gnu::cold]] TENREC_HD inline float cos_huge(float x) {
  if (!is_finite(x)) return std::numeric_limits<float>::quiet_NaN();
  const HugeAngle a(x);
  const double y = (a.quadrant & 1u) ? wide_sin(a.r) : wide_cos(a.r);
  return float(((a.quadrant + 1u) & 2u) ? -y : y);
}
[[gnu::cold]] TENREC_HD inline float tan_huge(float x) {
  if (!is_finite(x)) return std::numeric_limits<float>::quiet_NaN();
  const HugeAngle a(x);
  const double s = wide_sin(a.r), c = wide_cos(a.r);
  return float((a.quadrant & 1u) ? -c / s : s / c);
}

// y, with f(x) in the lanes where |x| is above the limit.
template <FloatPacket P>
[[gnu::cold, gnu::noinline]] TENREC_HD inline P patch_huge(P x, P y, float (*f)(float)) {
  if constexpr (kSizeOf<P> == 1) {
    return f(x);
  } else {
    return each_lane([f](float v, float w) { return abs(v) > kCircularLimit ? f(v) : w; }, x, y);
  }
}

// a = n pi/2 + r with |r| <= pi/4, for 0 <= a <= kCircularLimit; the sine and cosine of r.
template <FloatPacket P>
struct Circular {
  Nearest<P> n;
  P sine, cosine;
  TENREC_INLINE explicit Circular(P a) : n(a, 0x1.45f306p-1f) {
    constexpr float s[] = {-0x1.555546p-3f, 0x1.110774p-7f, -0x1.9951eap-13f};
    constexpr float c[] = {0x1.55554ap-5f, -0x1.6c0c28p-10f, 0x1.99e80cp-16f};
    const P k = n.value;
    // The first part of pi/2 times k is taken off without rounding, the second as an unevaluated sum; `rest` is what
    // the rounding of r loses.
    const P near = fma(k, P(-0x1.921fb6p0f), a), p = k * P(0x1.777a5cp-25f);
    const P tail = fma(k, P(0x1.ee59dap-50f), fma(k, P(0x1.777a5cp-25f), -p));
    const P r = near + p, rest = ((near - r) + p) + tail, z = r * r;
    const P half = fma(z, P(-0.5f), P(1.0f)), low = fma(z, P(-0.5f), P(1.0f) - half);
    sine = r + fma(z * r, polynomial(z, s), rest);
    cosine = half + fma(z * z, polynomial(z, c), fma(-r, rest, low));
  }
  // Odd n swap the two; bit 1 of n, moved to the place of the sign, turns it.
  TENREC_INLINE MaskOf<P> swapped() const { return (bits(n.shifted) & UintOf<P>(1)) != UintOf<P>(0); }
  TENREC_INLINE P sin(P x) const {
    const UintOf<P> flip = (bits(n.shifted) << 30) ^ bits(x);
    return cast<P>(bits(select(swapped(), cosine, sine)) ^ (flip & sign_bit<P>()));
  }
  TENREC_INLINE P cos() const {
    const UintOf<P> flip = (bits(n.shifted) + UintOf<P>(1)) << 30;
    return cast<P>(bits(select(swapped(), sine, cosine)) ^ (flip & sign_bit<P>()));
  }
};

}  // namespace detail

template <RealPacket P>
struct SineCosine {
  P sine, cosine;
};

// Both at the price of little more than one.
template <FloatPacket P>
TENREC_INLINE SineCosine<P> sin_cos(P x) {
  const P a = abs(x);
  const detail::Circular<P> t(a);
  SineCosine<P> y{t.sin(x), t.cos()};
  if (any(a > P(detail::kCircularLimit))) [[unlikely]] {
    y.sine = detail::patch_huge(x, y.sine, detail::sin_huge);
    y.cosine = detail::patch_huge(x, y.cosine, detail::cos_huge);
  }
  return y;
}
template <DoublePacket P>
TENREC_INLINE SineCosine<P> sin_cos(P x) {
  return {sin(x), cos(x)};
}

template <FloatPacket P>
TENREC_INLINE P sin(P x) {
  const P a = abs(x);
  P y = detail::Circular<P>(a).sin(x);
  if (any(a > P(detail::kCircularLimit))) [[unlikely]]
    y = detail::patch_huge(x, y, detail::sin_huge);
  return y;
}

template <FloatPacket P>
TENREC_INLINE P cos(P x) {
  const P a = abs(x);
  P y = detail::Circular<P>(a).cos();
  if (any(a > P(detail::kCircularLimit))) [[unlikely]]
    y = detail::patch_huge(x, y, detail::cos_huge);
  return y;
}

template <FloatPacket P>
TENREC_INLINE P tan(P x) {
  const P a = abs(x);
  P y = detail::in_double(
      [](auto v) {
        using D = decltype(v);
        const D shifted = fma(v, D(0x1.45f306dc9c883p-1), D(0x1.8p52)), n = shifted - D(0x1.8p52);
        const D r = fma(n, D(-0x1.1a62633145c07p-54), fma(n, D(-0x1.921fb54442d18p0), v));
        const D s = detail::wide_sin(r), c = detail::wide_cos(r);
        const MaskOf<D> odd = (bits(shifted) & UintOf<D>(1)) != UintOf<D>(0);
        return select(odd, -c, s) / select(odd, s, c);
      },
      a);
  y = cast<P>(bits(y) ^ (bits(x) & sign_bit<P>()));
  if (any(a > P(detail::kCircularLimit))) [[unlikely]]
    y = detail::patch_huge(x, y, detail::tan_huge);
  return y;
}

template <FloatPacket P>
TENREC_INLINE P atan(P x) {
  return copysign(detail::in_double([](auto v) { return detail::wide_angle(v, decltype(v)(1.0)); }, abs(x)), x);
}

// The angle of the point (x, y) in (-pi, pi]; signed zeros as in C.
template <FloatPacket P>
TENREC_INLINE P atan2(P y, std::type_identity_t<P> x) {
  const P angle = detail::in_double(
      [](auto v, auto u) {
        using D = decltype(v);
        const D a = detail::wide_angle(abs(v), abs(u));
        return select(copysign(D(1.0), u) < D(0.0), D(detail::kPi) - a, a);
      },
      y, x);
  return copysign(angle, y);
}

// NaN outside [-1, 1].
template <FloatPacket P>
TENREC_INLINE P asin(P x) {
  const P y = detail::in_double(
      [](auto v) {
        using D = decltype(v);
        return detail::wide_angle(v, sqrt(abs((D(1.0) - v) * (D(1.0) + v))));
      },
      abs(x));
  return select(abs(x) <= P(1.0f), copysign(y, x), x + P(std::numeric_limits<float>::quiet_NaN()));
}
template <FloatPacket P>
TENREC_INLINE P acos(P x) {
  const P y = detail::in_double(
      [](auto v) {
        using D = decltype(v);
        const D a = detail::wide_angle(sqrt(abs((D(1.0) - v) * (D(1.0) + v))), abs(v));
        return select(v < D(0.0), D(detail::kPi) - a, a);
      },
      x);
  return select(abs(x) <= P(1.0f), y, x + P(std::numeric_limits<float>::quiet_NaN()));
}

}  // namespace tenrec::kernels
