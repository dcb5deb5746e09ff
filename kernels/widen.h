// Runs of 16-bit floats to float and back, at the speed of memory. Internal.
#pragma once

#include <cstdint>

#include "tenrec/core/dtype.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace tenrec::kernels {

inline void widen(const bfloat16* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = float(from[i]);
}
inline void narrow(const float* from, int64_t count, bfloat16* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = bfloat16(from[i]);
}

inline void widen(const float16* from, int64_t count, float* to) {
  int64_t i = 0;
#if defined(__F16C__)
  for (; i + 8 <= count; i += 8)
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
#endif
  for (; i < count; ++i) to[i] = float(from[i]);
}
inline void narrow(const float* from, int64_t count, float16* to) {
  int64_t i = 0;
#if defined(__F16C__)
  for (; i + 8 <= count; i += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
#endif
  for (; i < count; ++i) to[i] = float16(from[i]);
}

// The same over the rows of a matrix.
template <class T>
void widen_rows(const T* from, int64_t stride, int64_t rows, int64_t cols, float* to, int64_t to_stride) {
  for (int64_t i = 0; i < rows; ++i) widen(from + i * stride, cols, to + i * to_stride);
}
template <class T>
void narrow_rows(const float* from, int64_t stride, int64_t rows, int64_t cols, T* to, int64_t to_stride) {
  for (int64_t i = 0; i < rows; ++i) narrow(from + i * stride, cols, to + i * to_stride);
}

}  // namespace tenrec::kernels
