#include "tenrec/data/png.h"

#include <png.h>

#include "tenrec/core/atomic_file.h"
#include "tenrec/core/bounded_reader.h"
#include "tenrec/core/error.h"

// libpng's simplified interface: it reports errors by return value, where the older one would longjmp over destructors.

namespace tenrec {
namespace {

constexpr int64_t kMaxSide = 1 << 16;
constexpr int64_t kMaxFileBytes = int64_t(1) << 28;

// Frees what libpng holds, on every way out.
class Image {
 public:
  Image() { image_.version = PNG_IMAGE_VERSION; }
  ~Image() { png_image_free(&image_); }
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  png_image* operator->() { return &image_; }
  png_image* get() { return &image_; }

 private:
  png_image image_{};
};

}  // namespace

void write_png(const std::string& path, const uint8_t* pixels, int64_t width, int64_t height, int64_t channels) {
  if (channels != 1 && channels != 3) fail<ValueError>("write_png: ", channels, " channels, expected 1 or 3");
  if (width < 1 || height < 1 || width > kMaxSide || height > kMaxSide) {
    fail<ValueError>("write_png: ", width, "x", height, " pixels, each side must be 1 to ", kMaxSide);
  }
  Image image;
  image->width = png_uint_32(width);
  image->height = png_uint_32(height);
  image->format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  png_alloc_size_t size = 0;
  const int stride = int(width * channels);
  if (png_image_write_to_memory(image.get(), nullptr, &size, 0, pixels, stride, nullptr) == 0) {
    fail<IOError>(path, ": the picture cannot be encoded: ", image->message);
  }
  std::vector<uint8_t> bytes(size);
  if (png_image_write_to_memory(image.get(), bytes.data(), &size, 0, pixels, stride, nullptr) == 0) {
    fail<IOError>(path, ": the picture cannot be encoded: ", image->message);
  }
  write_file(path, bytes.data(), size);
}

void write_png(const std::string& path, const Picture& picture) {
  if (int64_t(picture.pixels.size()) != picture.width * picture.height * picture.channels) {
    fail<ValueError>("write_png: ", picture.pixels.size(), " bytes do not make ", picture.width, "x", picture.height,
                     "x", picture.channels);
  }
  write_png(path, picture.pixels.data(), picture.width, picture.height, picture.channels);
}

Picture decode_png(const void* data, size_t size, const std::string& name, int64_t channels, int64_t max_pixels) {
  if (channels != 0 && channels != 1 && channels != 3) fail<ValueError>("read_png: channels must be 0, 1 or 3");
  Image image;
  if (png_image_begin_read_from_memory(image.get(), data, size) == 0) {
    fail<IOError>(name, ": not a PNG that can be read: ", image->message);
  }
  const int64_t width = image->width, height = image->height;
  if (width > kMaxSide || height > kMaxSide || width * height > max_pixels) {
    fail<IOError>(name, ": ", width, "x", height, " pixels pass the limit of ", max_pixels);
  }
  if (channels == 0) channels = (image->format & PNG_FORMAT_FLAG_COLOR) != 0 ? 3 : 1;
  image->format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  Picture picture{width, height, channels, std::vector<uint8_t>(size_t(width * height * channels))};
  const png_color black{0, 0, 0};
  if (png_image_finish_read(image.get(), &black, picture.pixels.data(), int(width * channels), nullptr) == 0) {
    fail<IOError>(name, ": the PNG is corrupt: ", image->message);
  }
  // A warning means that libpng carried on with a part that was wrong or missing; a file from outside gets no credit.
  if ((image->warning_or_error & PNG_IMAGE_ERROR) != 0) fail<IOError>(name, ": the PNG is corrupt: ", image->message);
  return picture;
}

Picture read_png(const std::string& path, int64_t channels, int64_t max_pixels) {
  const std::vector<uint8_t> bytes = read_file(path, kMaxFileBytes);
  return decode_png(bytes.data(), bytes.size(), path, channels, max_pixels);
}

}  // namespace tenrec
