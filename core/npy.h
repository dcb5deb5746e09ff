// One tensor in a file of NumPy's format (numpy.lib.format, versions 1 to 3), for exchange with Python.
//
// Little-endian arrays of the dtypes that Tenrec has, in C or Fortran order. Object arrays (pickles: code) are refused,
// as is everything else that is not plain numbers. The same care as with every file from outside: nothing is allocated
// for more elements than the file holds, and an IOError names the file and the reason.
#pragma once

#include <string>

#include "tenrec/core/atomic_file.h"
#include "tenrec/core/tensor.h"

namespace tenrec {

struct NpyLimits {
  int64_t header_bytes = 1 << 20;
  int64_t file_bytes = INT64_MAX;
};

// A contiguous tensor for an array in C order, one with column-major strides for Fortran order. Throws IOError.
Tensor load_npy(const std::string& path, const NpyLimits& limits = {});
// The same from memory; `name` stands for the path in messages.
Tensor parse_npy(const void* data, size_t size, const std::string& name, const NpyLimits& limits = {});
// Writes atomically, in C order. DTypeError for bf16, which NumPy has not (save x.to(f32)).
void save_npy(const std::string& path, const Tensor& x, AtomicFileOptions options = {});

}  // namespace tenrec
