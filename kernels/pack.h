// Pack<T, N>: N values of one type that are computed together, and the handful of operations that an algorithm written
// "once over a packet type" needs. `float` and `double` are the one-lane packets: every function here and in
// vector_math.h takes either, and a lane of a pack holds bit for bit what the scalar call gives.
//
//   template <class P> void scale(const float* x, float* y) { (P::load(x) * 2.0f).store(y); }
//
// A Pack wraps a GCC vector (g++ >= 12, clang >= 14), so + - * / & | ^ ~ << >> and comparisons are single instructions
// where the target has them and are split by the compiler where it has not. Only fma, sqrt and the mask tests name a
// builtin, because no operator spells them and because they must not depend on the optimisation level. A comparison
// gives a Mask (all ones or all zeros per lane; `bool` for a scalar), which select() turns into a blend; under AVX-512
// it lives in a mask register. Device code sees the scalar half of this file only.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "tenrec/core/dtype.h"

// Small functions that must melt into the caller's loop: a Pack passed in memory would cost more than the arithmetic.
#define TENREC_INLINE [[gnu::always_inline]] TENREC_HD inline

namespace tenrec::kernels {

#if defined(__AVX512F__)
inline constexpr int kPackBytes = 64;
#elif defined(__AVX2__)
inline constexpr int kPackBytes = 32;
#else
inline constexpr int kPackBytes = 16;
#endif

// Lanes of the widest pack that the target computes in one instruction.
template <class T>
inline constexpr int kLanes = kPackBytes / int(sizeof(T));

namespace detail {
template <int kBytes>
struct IntOfSize;
template <>
struct IntOfSize<4> {
  using Signed = int32_t;
  using Unsigned = uint32_t;
};
template <>
struct IntOfSize<8> {
  using Signed = int64_t;
  using Unsigned = uint64_t;
};
}  // namespace detail

#if !defined(__CUDACC__)

namespace detail {
template <class T, int N>
struct VectorOf {
  typedef T Type __attribute__((vector_size(N * sizeof(T))));
};
}  // namespace detail

// One truth value per lane of a pack whose elements have the size of `Int`. & | ^ ! combine; none of them short-cuts.
template <class Int, int N>
struct Mask {
  using Vec = typename detail::VectorOf<Int, N>::Type;
  Vec v;

  bool operator[](int lane) const { return v[lane] != 0; }
  TENREC_INLINE friend Mask operator&(Mask a, Mask b) { return {a.v & b.v}; }
  TENREC_INLINE friend Mask operator|(Mask a, Mask b) { return {a.v | b.v}; }
  TENREC_INLINE friend Mask operator^(Mask a, Mask b) { return {a.v ^ b.v}; }
  TENREC_INLINE friend Mask operator!(Mask a) { return {~a.v}; }
  // As && and || of bool, for code that is also written for one lane.
  TENREC_INLINE friend Mask operator&&(Mask a, Mask b) { return {a.v & b.v}; }
  TENREC_INLINE friend Mask operator||(Mask a, Mask b) { return {a.v | b.v}; }
};

template <class T, int N>
struct Pack {
  static_assert(N >= 2 && (N & (N - 1)) == 0, "a pack has 2, 4, 8, 16, ... lanes");
  using Element = T;
  using Signed = typename detail::IntOfSize<int(sizeof(T))>::Signed;
  using MaskType = Mask<Signed, N>;
  using Vec = typename detail::VectorOf<T, N>::Type;
  static constexpr int kSize = N;

  Vec v;

  Pack() = default;
  // Every lane the same. (Subtracting 0 keeps the sign of -0, adding it would not.)
  TENREC_INLINE Pack(T value) : v(value - Vec{}) {}  // NOLINT(google-explicit-constructor)
  TENREC_INLINE explicit Pack(Vec value) : v(value) {}

  // No alignment is asked for.
  TENREC_INLINE static Pack load(const T* from) {
    Pack p;
    __builtin_memcpy(&p.v, from, sizeof(Vec));
    return p;
  }
  TENREC_INLINE void store(T* to) const { __builtin_memcpy(to, &v, sizeof(Vec)); }
  // The tail of an array: `count` elements from memory (0 <= count <= N), `pad` in the lanes behind them.
  TENREC_INLINE static Pack load_partial(const T* from, int count, T pad = T(0)) {
    Pack p(pad);
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, float> && N == 16) {
      return Pack(__builtin_ia32_loadups512_mask(from, p.v, uint16_t((1u << count) - 1u)));
    }
    if constexpr (std::is_same_v<T, double> && N == 8) {
      return Pack(__builtin_ia32_loadupd512_mask(from, p.v, uint8_t((1u << count) - 1u)));
    }
#endif
    T lanes[N];
    p.store(lanes);
    for (int i = 0; i < count; ++i) lanes[i] = from[i];
    return load(lanes);
  }
  TENREC_INLINE void store_partial(T* to, int count) const {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, float> && N == 16) {
      return __builtin_ia32_storeups512_mask(to, v, uint16_t((1u << count) - 1u));
    }
    if constexpr (std::is_same_v<T, double> && N == 8) {
      return __builtin_ia32_storeupd512_mask(to, v, uint8_t((1u << count) - 1u));
    }
#endif
    T lanes[N];
    store(lanes);
    for (int i = 0; i < count; ++i) to[i] = lanes[i];
  }

  T operator[](int lane) const { return v[lane]; }
  TENREC_INLINE Pack& set(int lane, T value) {
    v[lane] = value;
    return *this;
  }

  TENREC_INLINE friend Pack operator+(Pack a, Pack b) { return Pack(a.v + b.v); }
  TENREC_INLINE friend Pack operator-(Pack a, Pack b) { return Pack(a.v - b.v); }
  TENREC_INLINE friend Pack operator*(Pack a, Pack b) { return Pack(a.v * b.v); }
  TENREC_INLINE friend Pack operator/(Pack a, Pack b) { return Pack(a.v / b.v); }
  TENREC_INLINE friend Pack operator-(Pack a) { return Pack(-a.v); }
  TENREC_INLINE Pack& operator+=(Pack b) { return *this = *this + b; }
  TENREC_INLINE Pack& operator-=(Pack b) { return *this = *this - b; }
  TENREC_INLINE Pack& operator*=(Pack b) { return *this = *this * b; }
  TENREC_INLINE Pack& operator/=(Pack b) { return *this = *this / b; }

  // Integers only.
  TENREC_INLINE friend Pack operator&(Pack a, Pack b) { return Pack(a.v & b.v); }
  TENREC_INLINE friend Pack operator|(Pack a, Pack b) { return Pack(a.v | b.v); }
  TENREC_INLINE friend Pack operator^(Pack a, Pack b) { return Pack(a.v ^ b.v); }
  TENREC_INLINE friend Pack operator~(Pack a) { return Pack(~a.v); }
  TENREC_INLINE friend Pack operator<<(Pack a, int count) { return Pack(a.v << T(count)); }
  TENREC_INLINE friend Pack operator>>(Pack a, int count) { return Pack(a.v >> T(count)); }

  // Comparisons with a NaN are false, but for != .
  TENREC_INLINE friend MaskType operator<(Pack a, Pack b) { return {typename MaskType::Vec(a.v < b.v)}; }
  TENREC_INLINE friend MaskType operator<=(Pack a, Pack b) { return {typename MaskType::Vec(a.v <= b.v)}; }
  TENREC_INLINE friend MaskType operator>(Pack a, Pack b) { return {typename MaskType::Vec(a.v > b.v)}; }
  TENREC_INLINE friend MaskType operator>=(Pack a, Pack b) { return {typename MaskType::Vec(a.v >= b.v)}; }
  TENREC_INLINE friend MaskType operator==(Pack a, Pack b) { return {typename MaskType::Vec(a.v == b.v)}; }
  TENREC_INLINE friend MaskType operator!=(Pack a, Pack b) { return {typename MaskType::Vec(a.v != b.v)}; }
};

template <class T>
using NativePack = Pack<T, kLanes<T>>;

#endif  // !__CUDACC__

// What a packet type is made of: its element, its lanes, the pack of another element with as many lanes, its mask.
template <class P>
struct PacketTraits;
template <class T>
requires std::is_arithmetic_v<T>
struct PacketTraits<T> {
  using Element = T;
  template <class U>
  using Rebind = U;
  using Mask = bool;
  static constexpr int kSize = 1;
};
#if !defined(__CUDACC__)
template <class T, int N>
struct PacketTraits<Pack<T, N>> {
  using Element = T;
  template <class U>
  using Rebind = Pack<U, N>;
  using Mask = typename Pack<T, N>::MaskType;
  static constexpr int kSize = N;
};
#endif

template <class P>
using ElementOf = typename PacketTraits<P>::Element;
template <class P, class U>
using Rebind = typename PacketTraits<P>::template Rebind<U>;
template <class P>
using MaskOf = typename PacketTraits<P>::Mask;
template <class P>
using IntOf = Rebind<P, typename detail::IntOfSize<int(sizeof(ElementOf<P>))>::Signed>;
template <class P>
using UintOf = Rebind<P, typename detail::IntOfSize<int(sizeof(ElementOf<P>))>::Unsigned>;
template <class P>
inline constexpr int kSizeOf = PacketTraits<P>::kSize;

// A packet of floats, a packet of doubles, either.
template <class P>
concept FloatPacket = std::same_as < ElementOf<P>,
float > ;
template <class P>
concept DoublePacket = std::same_as < ElementOf<P>,
double > ;
template <class P>
concept RealPacket = FloatPacket<P> || DoublePacket<P>;

// load<P>(p) and store(p, x) for any packet, one lane included.
template <class P>
TENREC_INLINE P load(const ElementOf<P>* from) {
  if constexpr (kSizeOf<P> == 1)
    return *from;
  else
    return P::load(from);
}
template <class P>
TENREC_INLINE void store(ElementOf<P>* to, P x) {
  if constexpr (kSizeOf<P> == 1)
    *to = x;
  else
    x.store(to);
}

// The same bits, read as another type of the same size.
template <class To, class From>
TENREC_INLINE To cast(From x) {
  if constexpr (kSizeOf<From> == 1)
    return std::bit_cast<To>(x);
  else
    return To(typename To::Vec(x.v));  // between vectors of one size a C++ conversion keeps the bits
}
template <RealPacket P>
TENREC_INLINE UintOf<P> bits(P x) {
  return cast<UintOf<P>>(x);
}

// The value converted, lane by lane; float to integer truncates and needs a value in range.
template <class To, class From>
TENREC_INLINE To convert(From x) {
  if constexpr (kSizeOf<From> == 1)
    return To(x);
  else
    return To(__builtin_convertvector(x.v, typename To::Vec));
}

// mask ? a : b, both sides computed.
template <class P>
requires std::is_arithmetic_v<P> TENREC_INLINE P select(bool mask, P a, P b) { return mask ? a : b; }
TENREC_INLINE bool any(bool mask) { return mask; }
TENREC_INLINE bool all(bool mask) { return mask; }

#if !defined(__CUDACC__)
template <class T, int N>
TENREC_INLINE Pack<T, N> select(typename Pack<T, N>::MaskType mask, Pack<T, N> a, Pack<T, N> b) {
  return Pack<T, N>(mask.v ? a.v : b.v);
}
template <class T, int N>
TENREC_INLINE Pack<T, N> select(typename Pack<T, N>::MaskType mask, std::type_identity_t<T> a, Pack<T, N> b) {
  return select(mask, Pack<T, N>(a), b);
}
template <class T, int N>
TENREC_INLINE Pack<T, N> select(typename Pack<T, N>::MaskType mask, Pack<T, N> a, std::type_identity_t<T> b) {
  return select(mask, a, Pack<T, N>(b));
}

// Bit i is lane i.
template <class Int, int N>
TENREC_INLINE uint32_t lane_bits(Mask<Int, N> m) {
#if defined(__AVX512DQ__)
  if constexpr (sizeof(Int) == 4 && N == 16) return uint32_t(uint16_t(__builtin_ia32_cvtd2mask512(m.v)));
  if constexpr (sizeof(Int) == 8 && N == 8) {
    typedef long long V __attribute__((vector_size(64)));
    return uint32_t(uint8_t(__builtin_ia32_cvtq2mask512(V(m.v))));
  }
#endif
#if defined(__AVX2__)
  typedef float F8 __attribute__((vector_size(32)));
  typedef double D4 __attribute__((vector_size(32)));
  if constexpr (sizeof(Int) == 4 && N == 8) return uint32_t(__builtin_ia32_movmskps256(F8(m.v)));
  if constexpr (sizeof(Int) == 8 && N == 4) return uint32_t(__builtin_ia32_movmskpd256(D4(m.v)));
#endif
#if defined(__SSE2__)
  typedef float F4 __attribute__((vector_size(16)));
  typedef double D2 __attribute__((vector_size(16)));
  if constexpr (sizeof(Int) == 4 && N == 4) return uint32_t(__builtin_ia32_movmskps(F4(m.v)));
  if constexpr (sizeof(Int) == 8 && N == 2) return uint32_t(__builtin_ia32_movmskpd(D2(m.v)));
#endif
  uint32_t r = 0;
  for (int i = 0; i < N; ++i) r |= uint32_t(m.v[i] & 1) << i;
  return r;
}
template <class Int, int N>
TENREC_INLINE bool any(Mask<Int, N> m) {
  return lane_bits(m) != 0;
}
template <class Int, int N>
TENREC_INLINE bool all(Mask<Int, N> m) {
  return lane_bits(!m) == 0;
}

// f of every lane, for functions that have only a scalar form.
template <class T, int N, class F, class... Rest>
inline Pack<T, N> each_lane(F f, Pack<T, N> x, Rest... rest) {
  T out[N];
  for (int i = 0; i < N; ++i) out[i] = f(x[i], rest[i]...);
  return Pack<T, N>::load(out);
}

// Combines the lanes in a tree that depends on N alone: f over the lower and upper half, then over quarters, ...
template <class T, int N, class F>
TENREC_INLINE T reduce_lanes(Pack<T, N> x, F f) {
  if constexpr (N == 2) {
    return f(x[0], x[1]);
  } else {
    Pack<T, N / 2> low, high;
    __builtin_memcpy(&low.v, &x.v, sizeof(low.v));
    __builtin_memcpy(&high.v, reinterpret_cast<const char*>(&x.v) + sizeof(low.v), sizeof(high.v));
    return reduce_lanes(f(low, high), f);
  }
}
#endif  // !__CUDACC__

}  // namespace tenrec::kernels

#include "tenrec/kernels/pack_math.h"
