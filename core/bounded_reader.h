// The one way bytes from outside come in: a file (plain, or gzip by its magic) or a block of memory, read front to
// back.
//
// What a file says about itself is a claim. Every read states what it expects and either gets exactly that or throws an
// IOError with the path, the field, and the offset; sizes are multiplied with checks; and memory is reserved for bytes
// that have arrived, not for bytes that a header promises. A limit on the decompressed size stops gzip bombs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tenrec/core/error.h"

namespace tenrec {

class BoundedReader {
 public:
  // Opens a regular file. Reading past `max_bytes` (decompressed) is an error. Throws IOError if it cannot be opened.
  BoundedReader(std::string path, int64_t max_bytes);
  // Reads `size` bytes of memory, which must outlive the reader; `name` stands for the path in messages.
  BoundedReader(const void* data, size_t size, std::string name, int64_t max_bytes);
  ~BoundedReader();
  BoundedReader(BoundedReader&&) noexcept;
  BoundedReader& operator=(BoundedReader&&) noexcept;

  const std::string& path() const;
  // Decompressed bytes read so far.
  int64_t offset() const;
  // True if the source is gzip and is being decompressed.
  bool compressed() const;
  // No more than this many bytes can follow: the rest of a plain file, 1,032 times the rest of a gzip (deflate's
  // limit), and never more than max_bytes. A header that promises more is lying.
  int64_t bytes_left_at_most() const;

  // Reads exactly n bytes into `out`. `what` names them in the error: "image header".
  void read(void* out, int64_t n, std::string_view what);
  // Reads up to n bytes, fewer only at the end of the source, and says how many.
  int64_t read_up_to(void* out, int64_t n, std::string_view what);
  // Appends exactly n bytes to `out`, which grows only as bytes arrive.
  void append_to(std::vector<uint8_t>& out, int64_t n, std::string_view what);
  // Appends everything up to the end of the source.
  void append_rest(std::vector<uint8_t>& out, std::string_view what);
  uint8_t read_u8(std::string_view what);
  uint16_t read_le16(std::string_view what);
  uint32_t read_le32(std::string_view what);
  uint64_t read_le64(std::string_view what);
  uint32_t read_be32(std::string_view what);

  // Product of non-negative factors; an overflow, a negative factor or a result above `limit` throws IOError.
  int64_t checked_product(std::initializer_list<int64_t> factors, int64_t limit, std::string_view what) const;
  // The same for a list of dimensions.
  int64_t checked_product(const std::vector<int64_t>& factors, int64_t limit, std::string_view what) const;
  // Throws unless n bytes can still follow.
  void expect_left(int64_t n, std::string_view what) const;
  // True at the end of the source. Also verifies gzip's checksum, which is known only there.
  bool at_end();
  // Throws unless everything has been read.
  void expect_end(std::string_view what);

  // Throws IOError "<path>: <parts> (at byte <offset>)".
  template <class... Parts>
  [[noreturn, gnu::cold]] void fail(const Parts&... parts) const {
    tenrec::fail<IOError>(path(), ": ", concat(parts...), " (at byte ", offset(), ")");
  }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The whole of a file (gzip is decompressed), at most max_bytes.
std::vector<uint8_t> read_file(const std::string& path, int64_t max_bytes);
// True if `path` names an existing regular file (symbolic links are followed).
bool is_file(const std::string& path);
// True if `path` names an existing folder.
bool is_folder(const std::string& path);
// "folder/name" with one slash between them.
std::string join_path(const std::string& folder, const std::string& name);

}  // namespace tenrec
