// IDX files, the format of MNIST and Fashion-MNIST (plain or gzip).
//
// Format: two zero bytes, a type byte (8: unsigned byte), the number of dimensions, each dimension as a big-endian
// 32-bit number, the elements in row-major order. http://yann.lecun.com/exdb/mnist/
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tenrec/core/bounded_reader.h"
#include "tenrec/data/images.h"

namespace tenrec {

struct IdxArray {
  std::vector<int64_t> shape;
  std::vector<uint8_t> data;
};

inline constexpr int64_t kIdxMaxBytes = int64_t(1) << 30;

// Reads an array of unsigned bytes with 1 to 4 dimensions. Throws IOError for anything else, a size that does not fit
// the header, or more than max_bytes.
IdxArray read_idx(const std::string& path, int64_t max_bytes = kIdxMaxBytes);
// The same from an open reader.
IdxArray read_idx(BoundedReader& reader, int64_t max_bytes = kIdxMaxBytes);

// MNIST or Fashion-MNIST from the four original files in `folder`, named train-images-idx3-ubyte (or
// train-images.idx3-ubyte) and so on, each plain or with .gz. Images are 28x28, labels 0 to 9. Throws IOError.
ImageSet read_mnist(const std::string& folder, Split split);
// The same with the class names of Fashion-MNIST.
ImageSet read_fashion_mnist(const std::string& folder, Split split);

}  // namespace tenrec
