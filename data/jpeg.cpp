#include "tenrec/data/jpeg.h"

#include <csetjmp>
#include <cstdio>

#include <jpeglib.h>

#include "tenrec/core/bounded_reader.h"
#include "tenrec/core/error.h"

// libjpeg reports an error by a function that must not return. It jumps out here, back into functions that hold nothing
// with a destructor; what has one lives in their callers.

namespace tenrec {
namespace {

constexpr int64_t kMaxFileBytes = int64_t(1) << 28;
constexpr int kMaxScans = 200;  // of a progressive file; each one goes over the whole picture

struct Errors {
  jpeg_error_mgr manager;  // first, so that libjpeg's pointer to it is one to all of this
  std::jmp_buf back;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* errors = reinterpret_cast<Errors*>(info->err);
  info->err->format_message(info, errors->message);
  std::longjmp(errors->back, 1);
}
// A warning means that libjpeg carried on with a part that was wrong or missing; a file from outside gets no credit.
void on_message(j_common_ptr info, int level) {
  if (level < 0) on_error(info);
}
void on_progress(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMaxScans) return;
  auto* errors = reinterpret_cast<Errors*>(info->err);
  std::snprintf(errors->message, sizeof errors->message, "more than %d scans", kMaxScans);
  std::longjmp(errors->back, 1);
}

class Decoder {
 public:
  Decoder() {
    info_.err = jpeg_std_error(&errors_.manager);
    errors_.manager.error_exit = on_error;
    errors_.manager.emit_message = on_message;
    progress_.progress_monitor = on_progress;
  }
  ~Decoder() { jpeg_destroy_decompress(&info_); }  // also fine for one that was never created
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  const char* message() const { return errors_.message; }
  jpeg_decompress_struct& info() { return info_; }

  // Reads up to the first scan. False: see message(); here and below.
  bool open(const void* data, size_t size) {
    if (setjmp(errors_.back) != 0) return false;
    jpeg_create_decompress(&info_);
    info_.progress = &progress_;
    jpeg_mem_src(&info_, static_cast<const unsigned char*>(data), size);
    jpeg_read_header(&info_, TRUE);
    return true;
  }
  // Decodes into rows of `stride` bytes.
  bool read(uint8_t* out, int64_t stride) {
    if (setjmp(errors_.back) != 0) return false;
    jpeg_start_decompress(&info_);
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = out + int64_t(info_.output_scanline) * stride;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    jpeg_finish_decompress(&info_);
    return true;
  }

 private:
  jpeg_decompress_struct info_{};
  jpeg_progress_mgr progress_{};
  Errors errors_{};
};

}  // namespace

Picture decode_jpeg(const void* data, size_t size, const std::string& name, int64_t channels, int64_t max_pixels) {
  if (channels != 0 && channels != 1 && channels != 3) fail<ValueError>("read_jpeg: channels must be 0, 1 or 3");
  Decoder decoder;
  if (!decoder.open(data, size)) fail<IOError>(name, ": not a JPEG that can be read: ", decoder.message());
  jpeg_decompress_struct& info = decoder.info();
  const int64_t width = info.image_width, height = info.image_height;
  if (width * height > max_pixels) {
    fail<IOError>(name, ": ", width, "x", height, " pixels pass the limit of ", max_pixels);
  }
  if (info.num_components != 1 && info.num_components != 3) {
    fail<IOError>(name, ": a JPEG of ", info.num_components, " colours, expected grey or RGB");
  }
  if (channels == 0) channels = info.num_components;
  info.out_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  Picture picture{width, height, channels, std::vector<uint8_t>(size_t(width * height * channels))};
  if (!decoder.read(picture.pixels.data(), width * channels)) {
    fail<IOError>(name, ": the JPEG is corrupt: ", decoder.message());
  }
  return picture;
}

Picture read_jpeg(const std::string& path, int64_t channels, int64_t max_pixels) {
  const std::vector<uint8_t> bytes = read_file(path, kMaxFileBytes);
  return decode_jpeg(bytes.data(), bytes.size(), path, channels, max_pixels);
}

}  // namespace tenrec
