// What every packet can do beyond its operators: fma, sqrt, signs, minimum and maximum, rounding to integers. Included
// by pack.h, which says what a packet is.
#pragma once

#include "tenrec/kernels/pack.h"

namespace tenrec::kernels {

// a * b + c with one rounding, in every build.
TENREC_INLINE float fma(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return ::fmaf(a, b, c);
#else
  return __builtin_fmaf(a, b, c);
#endif
}
TENREC_INLINE double fma(double a, double b, double c) {
#if defined(__CUDA_ARCH__)
  return ::fma(a, b, c);
#else
  return __builtin_fma(a, b, c);
#endif
}
// The IEEE square root.
TENREC_INLINE float sqrt(float x) {
#if defined(__CUDA_ARCH__)
  return ::__fsqrt_rn(x);
#else
  return __builtin_sqrtf(x);
#endif
}
TENREC_INLINE double sqrt(double x) {
#if defined(__CUDA_ARCH__)
  return ::__dsqrt_rn(x);
#else
  return __builtin_sqrt(x);
#endif
}

#if !defined(__CUDACC__)
template <class T, int N>
TENREC_INLINE Pack<T, N> fma(Pack<T, N> a, Pack<T, N> b, Pack<T, N> c) {
  using V = Pack<T, N>;
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float> && N == 16)
    return V(__builtin_ia32_vfmaddps512_mask(a.v, b.v, c.v, uint16_t(-1), 4));
  if constexpr (std::is_same_v<T, double> && N == 8)
    return V(__builtin_ia32_vfmaddpd512_mask(a.v, b.v, c.v, uint8_t(-1), 4));
#endif
#if defined(__FMA__)
  if constexpr (std::is_same_v<T, float> && N == 8) return V(__builtin_ia32_vfmaddps256(a.v, b.v, c.v));
  if constexpr (std::is_same_v<T, double> && N == 4) return V(__builtin_ia32_vfmaddpd256(a.v, b.v, c.v));
  if constexpr (std::is_same_v<T, float> && N == 4) return V(__builtin_ia32_vfmaddps(a.v, b.v, c.v));
  if constexpr (std::is_same_v<T, double> && N == 2) return V(__builtin_ia32_vfmaddpd(a.v, b.v, c.v));
#endif
  V r;
  for (int i = 0; i < N; ++i) r.v[i] = fma(a.v[i], b.v[i], c.v[i]);
  return r;
}
template <class T, int N>
TENREC_INLINE Pack<T, N> fma(Pack<T, N> a, Pack<T, N> b, std::type_identity_t<T> c) {
  return fma(a, b, Pack<T, N>(c));
}
template <class T, int N>
TENREC_INLINE Pack<T, N> fma(Pack<T, N> a, std::type_identity_t<T> b, Pack<T, N> c) {
  return fma(a, Pack<T, N>(b), c);
}
template <class T, int N>
TENREC_INLINE Pack<T, N> fma(Pack<T, N> a, std::type_identity_t<T> b, std::type_identity_t<T> c) {
  return fma(a, Pack<T, N>(b), Pack<T, N>(c));
}

template <class T, int N>
requires std::is_floating_point_v<T> TENREC_INLINE Pack<T, N> sqrt(Pack<T, N> x) {
  using V = Pack<T, N>;
#if defined(__AVX512F__) && defined(__clang__)
  if constexpr (std::is_same_v<T, float> && N == 16) return V(__builtin_ia32_sqrtps512(x.v, 4));
  if constexpr (std::is_same_v<T, double> && N == 8) return V(__builtin_ia32_sqrtpd512(x.v, 4));
#elif defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float> && N == 16) {
    return V(__builtin_ia32_sqrtps512_mask(x.v, x.v, uint16_t(-1), 4));
  }
  if constexpr (std::is_same_v<T, double> && N == 8) {
    return V(__builtin_ia32_sqrtpd512_mask(x.v, x.v, uint8_t(-1), 4));
  }
#endif
#if defined(__AVX__) && __has_builtin(__builtin_ia32_sqrtps256)
  if constexpr (std::is_same_v<T, float> && N == 8) return V(__builtin_ia32_sqrtps256(x.v));
  if constexpr (std::is_same_v<T, double> && N == 4) return V(__builtin_ia32_sqrtpd256(x.v));
#endif
#if defined(__SSE2__) && __has_builtin(__builtin_ia32_sqrtps)
  if constexpr (std::is_same_v<T, float> && N == 4) return V(__builtin_ia32_sqrtps(x.v));
  if constexpr (std::is_same_v<T, double> && N == 2) return V(__builtin_ia32_sqrtpd(x.v));
#endif
  V r;
  for (int i = 0; i < N; ++i) r.v[i] = sqrt(x.v[i]);
  return r;
}
#endif  // !__CUDACC__

// Sign bit and the bits below it.
template <RealPacket P>
TENREC_INLINE UintOf<P> sign_bit() {
  using U = ElementOf<UintOf<P>>;
  return UintOf<P>(U(U(1) << (8 * sizeof(U) - 1)));
}
template <RealPacket P>
TENREC_INLINE P abs(P x) {
  return cast<P>(bits(x) & ~sign_bit<P>());
}
template <RealPacket P>
TENREC_INLINE P copysign(P magnitude, std::type_identity_t<P> sign) {
  return cast<P>((bits(magnitude) & ~sign_bit<P>()) | (bits(P(sign)) & sign_bit<P>()));
}
template <RealPacket P>
TENREC_INLINE MaskOf<P> is_nan(P x) {
  return x != x;  // NOLINT(misc-redundant-expression)
}
template <RealPacket P>
TENREC_INLINE MaskOf<P> is_inf(P x) {
  return abs(x) == P(std::numeric_limits<ElementOf<P>>::infinity());
}
template <RealPacket P>
TENREC_INLINE MaskOf<P> is_finite(P x) {
  return abs(x) < P(std::numeric_limits<ElementOf<P>>::infinity());
}

// NaN if either is NaN; of two zeros of unlike sign, min gives b and max gives b.
template <RealPacket P>
TENREC_INLINE P min(P a, std::type_identity_t<P> b) {
  return select(is_nan(a), a, select(a < b, a, b));
}
template <RealPacket P>
TENREC_INLINE P max(P a, std::type_identity_t<P> b) {
  return select(is_nan(a), a, select(a > b, a, b));
}

// Rounding to an integer: adding 2^23 (2^52) leaves no bit for a fraction, and the adder rounds half to even.
template <RealPacket P>
TENREC_INLINE P round(P x) {
  const P big(sizeof(ElementOf<P>) == 4 ? ElementOf<P>(0x1p23) : ElementOf<P>(0x1p52));
  const P magnitude = abs(x);
  return select(magnitude < big, copysign((magnitude + big) - big, x), x);
}
template <RealPacket P>
TENREC_INLINE P floor(P x) {
  const P r = round(x);
  return copysign(select(r > x, r - P(1), r), x);
}
template <RealPacket P>
TENREC_INLINE P ceil(P x) {
  const P r = round(x);
  return copysign(select(r < x, r + P(1), r), x);
}
template <RealPacket P>
TENREC_INLINE P trunc(P x) {
  const P magnitude = abs(x), r = round(magnitude);
  return copysign(select(r > magnitude, r - P(1), r), x);
}

}  // namespace tenrec::kernels
