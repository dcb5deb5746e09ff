// Pictures as tensors: u8 [channels, height, width], 0 to 255, read from PNG and JPEG files, written as PNG.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "tenrec/core/tensor.h"
#include "tenrec/data/png.h"

namespace tenrec {

// Reads a PNG or a JPEG, which it tells by the first bytes. `channels` is 1 (grey), 3 (RGB), or 0 for what the file
// holds. Alpha is laid over black. Throws IOError for a broken file, another format, or more than max_pixels.
Tensor read_image(const std::string& path, int64_t channels = 0, int64_t max_pixels = int64_t(1) << 26);
// The same from memory; `name` stands for the path in messages.
Tensor decode_image(const void* data, size_t size, const std::string& name, int64_t channels = 0,
                    int64_t max_pixels = int64_t(1) << 26);

// A tensor [C, H, W] or [H, W] with 1 or 3 channels, on any device: u8, or floating in [0, 1] (less and more is cut
// off, NaN is 0). ShapeError or DTypeError for others.
Picture to_picture(const Tensor& image);
// u8 [channels, height, width].
Tensor from_picture(const Picture& picture);
// Writes such a tensor as a PNG, whole or not at all. IOError if the file cannot be written.
void write_png(const std::string& path, const Tensor& image);

struct GridOptions {
  int64_t columns = 8;
  int64_t padding = 2;  // pixels around each picture
  double fill = 0;      // of the padding: 0 is black, 1 is white
};
// Pictures [n, C, H, W] side by side in rows, as one u8 picture for write_png. ValueError if there are none.
Tensor make_grid(const Tensor& images, const GridOptions& options = {});

// Scales a u8 picture [C, H, W] by linear interpolation; made smaller, each pixel is the mean of those it stands for,
// weighted by a triangle of twice their width (the antialiased "bilinear" of Pillow and torchvision). ValueError unless
// the new sides are at least 1.
Tensor resize_image(const Tensor& image, int64_t height, int64_t width);

}  // namespace tenrec
