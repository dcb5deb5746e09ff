#include "tenrec/kernels/convert.h"

#include <cmath>
#include <cstring>
#include <limits>

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace tenrec::kernels {
namespace {

template <class T>
using Stored = std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>;  // any byte may be a bool

template <class Int, class Float>
Int truncate(Float v) {
  constexpr Float low = Float(std::numeric_limits<Int>::min());
  const Float high = -low + (low == 0 ? Float(std::numeric_limits<Int>::max()) + 1 : 0);  // 2^(bits - 1), exact
  if (v != v) return 0;
  return v < low ? std::numeric_limits<Int>::min() : v >= high ? std::numeric_limits<Int>::max() : Int(v);
}

// Half precision goes through the processor's conversion in every path, so that even the bits of a NaN agree.
float widen(bfloat16 v) { return static_cast<float>(v); }
float widen(float16 v) {
#if defined(__F16C__)
  return _cvtsh_ss(v.bits);
#else
  return static_cast<float>(v);
#endif
}
template <class Half>
Half narrow(float v) {
#if defined(__F16C__)
  if constexpr (std::is_same_v<Half, float16>) {
    Half h;
    h.bits = uint16_t(_mm_extract_epi16(_mm_cvtps_ph(_mm_set_ss(v), _MM_FROUND_TO_NEAREST_INT), 0));
    return h;
  }
#endif
  return Half(v);
}

template <class To, class From>
Stored<To> convert_one(Stored<From> v) {
  if constexpr (std::is_same_v<From, To>)
    return v;
  else if constexpr (std::is_class_v<From>)
    return convert_one<To, float>(widen(v));
  else if constexpr (std::is_same_v<To, bool>)
    return uint8_t(v != Stored<From>(0));
  else if constexpr (std::is_same_v<From, bool>)
    return convert_one<To, int32_t>(v != 0);
  else if constexpr (std::is_class_v<To>)
    return narrow<To>(static_cast<float>(v));
  else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>)
    return truncate<To>(v);
  else
    return static_cast<To>(v);
}

// The contiguous case. The compiler vectorises all but binary16.
template <class To, class From>
void convert_dense(const Stored<From>* x, Stored<To>* y, int64_t n) {
  int64_t i = 0;
#if defined(__F16C__)
  if constexpr (std::is_same_v<From, float16> && std::is_same_v<To, float>) {
    for (; i + 8 <= n; i += 8) {
      _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i))));
    }
  } else if constexpr (std::is_same_v<From, float> && std::is_same_v<To, float16>) {
    for (; i + 8 <= n; i += 8) {
      const __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i), half);
    }
  }
#endif
  for (; i < n; ++i) y[i] = convert_one<To, From>(x[i]);
}

template <class From, class To>
void convert_run(const void* from, int64_t from_stride, void* to, int64_t to_stride, int64_t n) {
  const auto* x = static_cast<const Stored<From>*>(from);
  auto* y = static_cast<Stored<To>*>(to);
  if (from_stride == 1 && to_stride == 1) {
    if constexpr (std::is_same_v<From, To>)
      std::memcpy(y, x, size_t(n) * sizeof(*x));
    else
      convert_dense<To, From>(x, y, n);
  } else if (from_stride == 0 && to_stride == 1) {
    const Stored<To> value = convert_one<To, From>(*x);
    for (int64_t i = 0; i < n; ++i) y[i] = value;
  } else if (to_stride == 1) {
    for (int64_t i = 0; i < n; ++i) y[i] = convert_one<To, From>(x[i * from_stride]);
  } else {
    for (int64_t i = 0; i < n; ++i) y[i * to_stride] = convert_one<To, From>(x[i * from_stride]);
  }
}

}  // namespace

Convert find_convert(DType from, DType to) {
  return visit_dtype(from, [&](auto x) {
    return visit_dtype(to, [&](auto y) -> Convert { return &convert_run<decltype(x), decltype(y)>; });
  });
}

}  // namespace tenrec::kernels
