// JPEG pictures, grey or RGB. Reading only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "tenrec/data/png.h"  // Picture

namespace tenrec {

// Reads a baseline or progressive JPEG. `channels` is 1, 3, or 0 for what the file holds. The orientation that a camera
// may have noted is not looked at. Throws IOError for a broken file, one that is cut off, four colours (CMYK), or more
// than max_pixels.
Picture read_jpeg(const std::string& path, int64_t channels = 0, int64_t max_pixels = int64_t(1) << 26);
// The same from memory; `name` stands for the path in messages.
Picture decode_jpeg(const void* data, size_t size, const std::string& name, int64_t channels = 0,
                    int64_t max_pixels = int64_t(1) << 26);

}  // namespace tenrec
