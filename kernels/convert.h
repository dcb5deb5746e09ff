// Runs of elements from one dtype and stride to another: how kernels read and write what is not contiguous in their own
// arithmetic type.
#pragma once

#include "tenrec/core/dtype.h"

namespace tenrec::kernels {

// to[i * to_stride] = from[i * from_stride] for i < n, converted. Strides in elements; a from_stride of 0 repeats.
// Float to integer truncates (NaN and values out of range give 0 and the nearest end); anything to bool is "not zero".
using Convert = void (*)(const void* from, int64_t from_stride, void* to, int64_t to_stride, int64_t n);

// The conversion between two dtypes, for callers that convert many short runs.
Convert find_convert(DType from, DType to);

inline void convert_strided(const void* from, DType from_dtype, int64_t from_stride, void* to, DType to_dtype,
                            int64_t to_stride, int64_t n) {
  find_convert(from_dtype, to_dtype)(from, from_stride, to, to_stride, n);
}

}  // namespace tenrec::kernels
