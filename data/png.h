// PNG pictures, 8 bits a channel, grey or RGB.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tenrec {

struct Picture {
  int64_t width = 0, height = 0, channels = 1;  // 1: grey, 3: RGB
  std::vector<uint8_t> pixels;                  // [height, width, channels]
};

// Writes [height, width, channels] bytes (row by row, channels 1 or 3) as a PNG, whole or not at all.
// Throws ValueError for sizes that make no picture, IOError if the file cannot be written.
void write_png(const std::string& path, const uint8_t* pixels, int64_t width, int64_t height, int64_t channels);
void write_png(const std::string& path, const Picture& picture);

// Reads a PNG of any kind; alpha is laid over black, palettes and 16 bits become 8-bit channels. `channels` is 1, 3, or
// 0 for what the file holds. Throws IOError for a broken file or one of more than max_pixels.
Picture read_png(const std::string& path, int64_t channels = 0, int64_t max_pixels = int64_t(1) << 26);
// The same from memory; `name` stands for the path in messages.
Picture decode_png(const void* data, size_t size, const std::string& name, int64_t channels = 0,
                   int64_t max_pixels = int64_t(1) << 26);

}  // namespace tenrec
