// A set of small labelled pictures in memory, as bytes: what every image reader and the digit generator return.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tenrec {

enum class Split { train, test };
inline const char* name(Split split) { return split == Split::train ? "train" : "test"; }

struct ImageSet {
  int64_t channels = 1, height = 0, width = 0;
  std::vector<uint8_t> pixels;  // [size(), channels, height, width], 0 to 255
  std::vector<uint8_t> labels;  // [size()], each below classes.size()
  std::vector<std::string> classes;

  int64_t size() const { return int64_t(labels.size()); }
  int64_t pixels_per_image() const { return channels * height * width; }
  const uint8_t* image(int64_t i) const { return pixels.data() + i * pixels_per_image(); }
};

}  // namespace tenrec
