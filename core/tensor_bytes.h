// The elements of a tensor as bytes in row-major order, whatever its strides. For the file formats.
#pragma once

#include "tenrec/core/parallel.h"
#include "tenrec/core/tensor.h"

namespace tenrec::detail {

// Calls sink(bytes, n) with consecutive pieces.
void for_each_piece(const Tensor& t, FunctionRef<void(const void*, size_t)> sink);
// The first byte that is neither 0 nor 1, which no bool may hold; -1 if there is none.
int64_t find_bad_bool(const void* bytes, int64_t n);

}  // namespace tenrec::detail
