// Files that appear whole or not at all.
//
// The bytes go to a temporary file in the same folder; commit() flushes it to the disk, renames it over the target and
// flushes the folder. Until then, and after any error (no space, an I/O error, a short write, an exception in the
// caller), the target is what it was and the temporary file is gone. A process killed in between leaves `NAME.tmp`,
// which the next writer of NAME takes over; two writers of one name at the same time are an error for the second.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tenrec {

struct AtomicFileOptions {
  bool keep_previous = false;  // the file that was there stays as NAME.bak
};

class AtomicFile {
 public:
  // Opens the temporary file. Throws IOError, also when the target exists and is not a regular file.
  explicit AtomicFile(const std::string& path, AtomicFileOptions options = {});
  // Without commit() before it, removes the temporary file.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  const std::string& path() const { return path_; }
  // Bytes written so far.
  int64_t size() const { return size_; }
  // Throws IOError naming the path and the reason; the object is then dead and the temporary file removed.
  void write(const void* data, size_t n);
  void write(std::string_view text) { write(text.data(), text.size()); }
  // Makes the file appear. Nothing can be written after it.
  void commit();

 private:
  void open_temporary();
  bool open_and_lock();
  void flush_buffer();
  void write_through(const uint8_t* data, size_t n);
  void keep_previous();
  void discard();
  [[noreturn]] void fail_with(const char* action, int error);

  std::string path_;
  std::string temporary_;
  std::vector<uint8_t> buffer_;  // small writes are joined
  int64_t size_ = 0;
  int fd_ = -1;
  bool keep_previous_ = false;
};

// Writes a whole file atomically.
void write_file(const std::string& path, const void* data, size_t n, AtomicFileOptions options = {});
inline void write_file(const std::string& path, std::string_view text, AtomicFileOptions options = {}) {
  write_file(path, text.data(), text.size(), options);
}

namespace detail {
// Flushes the folder that `path` is in, so that a rename in it survives a crash.
void sync_folder_of(const std::string& path);
}  // namespace detail

}  // namespace tenrec
