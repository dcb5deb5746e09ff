// Named tensors in a file: the safetensors format (https://huggingface.co/docs/safetensors), both ways with PyTorch.
//
// A file is eight bytes (the header's length, little endian), a JSON header that gives dtype, shape and place of each
// tensor, and the elements. Nothing in it is code. A header is a claim: every size is checked against the bytes that
// are there before memory is taken for it, tensors must fill the data without holes or overlaps, and whatever is wrong
// is an IOError that names the file, the tensor and the reason.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenrec/core/atomic_file.h"
#include "tenrec/core/tensor.h"

namespace tenrec {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

// What a file holds: tensors in the order of their data, and free text by name.
struct Safetensors {
  std::vector<NamedTensor> tensors;
  std::vector<std::pair<std::string, std::string>> metadata = {};

  // Null if there is none of that name.
  const Tensor* find(std::string_view name) const;
  const std::string* find_metadata(std::string_view key) const;
  // IOError if there is none of that name.
  const Tensor& at(std::string_view name) const;
};

struct SafetensorsLimits {
  int64_t header_bytes = 100'000'000;  // as the reference implementation
  int64_t file_bytes = INT64_MAX;
};

// Throws IOError. Files of dtypes that Tenrec has not (I8, I16, F8_E4M3, ...) are refused by name.
Safetensors load_safetensors(const std::string& path, const SafetensorsLimits& limits = {});
// The same from memory; `name` stands for the path in messages.
Safetensors parse_safetensors(const void* data, size_t size, const std::string& name,
                              const SafetensorsLimits& limits = {});
// Writes atomically. Tensors may have any strides; they are laid out by falling element size, so that each is aligned.
// ValueError for a name that is repeated, is "__metadata__" or is not UTF-8; IOError if the file cannot be written.
void save_safetensors(const std::string& path, const Safetensors& contents, AtomicFileOptions options = {});

}  // namespace tenrec
