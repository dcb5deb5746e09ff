#include "tenrec/core/bounded_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace tenrec {
namespace {

constexpr size_t kBufferBytes = 64 * 1024;
constexpr int64_t kFirstStep = 1 << 20;  // what append_to reserves before the first byte has arrived
constexpr int64_t kMaxInflation = 1032;  // deflate's best case: 258 bytes from 2 bits (zlib's technical notes)

std::string reason(int error) { return std::strerror(error); }

}  // namespace

struct BoundedReader::Impl {
  std::string path;
  int fd = -1;
  const uint8_t* memory = nullptr;  // the source when there is no file
  int64_t source_size = 0;
  int64_t source_read = 0;  // raw bytes taken from the source
  int64_t offset = 0;       // decompressed bytes handed out
  int64_t max_bytes = 0;
  bool gzip = false;
  bool member_open = false;  // inside a gzip member, its checksum not yet seen
  z_stream stream{};
  bool stream_ready = false;
  std::vector<uint8_t> buffer;  // raw bytes not yet used: [begin, end)
  size_t begin = 0, end = 0;
  uint8_t peeked = 0;  // one decompressed byte that at_end had to read
  bool has_peeked = false;

  ~Impl() {
    if (stream_ready) inflateEnd(&stream);
    if (fd >= 0) close(fd);
  }

  template <class... Parts>
  [[noreturn, gnu::cold]] void fail(const Parts&... parts) const {
    tenrec::fail<IOError>(path, ": ", concat(parts...), " (at byte ", offset, ")");
  }

  void open_file();
  void detect_gzip();
  // Raw bytes from the source into out, fewer than n only at its end.
  size_t read_source(uint8_t* out, size_t n);
  bool refill();
  size_t read_plain(uint8_t* out, size_t n);
  size_t read_gzip(uint8_t* out, size_t n);
  size_t inflate_some(uint8_t* out, size_t n);
  size_t decode(uint8_t* out, size_t n) { return gzip ? read_gzip(out, n) : read_plain(out, n); }
  // Decompressed bytes, fewer than n only at the end.
  size_t read_some(uint8_t* out, size_t n);
};

void BoundedReader::Impl::open_file() {
  // O_NONBLOCK: a FIFO in the place of a file must not hang us before fstat can refuse it.
  fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) tenrec::fail<IOError>(path, ": cannot be opened: ", reason(errno));
  struct stat info {};
  if (fstat(fd, &info) != 0) tenrec::fail<IOError>(path, ": cannot be examined: ", reason(errno));
  if (!S_ISREG(info.st_mode)) {
    tenrec::fail<IOError>(path, ": is ", S_ISDIR(info.st_mode) ? "a folder" : "not a regular file",
                          ", expected a file");
  }
  source_size = info.st_size;
}

void BoundedReader::Impl::detect_gzip() {
  buffer.resize(size_t(std::min<int64_t>(int64_t(kBufferBytes), std::max<int64_t>(source_size, 1))));
  refill();
  gzip = end >= 2 && buffer[0] == 0x1f && buffer[1] == 0x8b;
  if (!gzip) return;
  if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) {
    tenrec::fail<OutOfMemoryError>(path, ": no memory for decompression");
  }
  stream_ready = member_open = true;
}

size_t BoundedReader::Impl::read_source(uint8_t* out, size_t n) {
  if (fd < 0) {
    const size_t count = std::min(n, size_t(source_size - source_read));
    if (count > 0) std::memcpy(out, memory + source_read, count);
    source_read += int64_t(count);
    return count;
  }
  size_t done = 0;
  while (done < n) {
    const ssize_t got = ::read(fd, out + done, n - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("cannot be read: ", reason(errno));
    if (got == 0) break;
    done += size_t(got);
  }
  source_read += int64_t(done);
  return done;
}

bool BoundedReader::Impl::refill() {
  begin = 0;
  end = read_source(buffer.data(), buffer.size());
  return end > 0;
}

size_t BoundedReader::Impl::read_plain(uint8_t* out, size_t n) {
  const size_t buffered = std::min(n, end - begin);
  if (buffered > 0) std::memcpy(out, buffer.data() + begin, buffered);
  begin += buffered;
  size_t done = buffered;
  while (done < n) {
    if (n - done >= buffer.size()) {  // large reads go straight to their place
      const size_t got = read_source(out + done, n - done);
      return done + got;
    }
    if (!refill()) break;
    const size_t count = std::min(n - done, end);
    std::memcpy(out + done, buffer.data(), count);
    begin = count;
    done += count;
  }
  return done;
}

// One call of inflate. Returns the bytes made; may be 0 while a header or checksum is being read.
size_t BoundedReader::Impl::inflate_some(uint8_t* out, size_t n) {
  const uInt room = uInt(std::min<size_t>(n, 1u << 30));
  stream.next_in = buffer.data() + begin;
  stream.avail_in = uInt(end - begin);
  stream.next_out = out;
  stream.avail_out = room;
  const int status = inflate(&stream, Z_NO_FLUSH);
  begin = end - stream.avail_in;
  if (status == Z_STREAM_END) {
    member_open = false;
  } else if (status == Z_MEM_ERROR) {
    tenrec::fail<OutOfMemoryError>(path, ": no memory for decompression");
  } else if (status != Z_OK && status != Z_BUF_ERROR) {
    fail("gzip data is corrupt", stream.msg != nullptr ? ": " : "", stream.msg != nullptr ? stream.msg : "");
  }
  return room - stream.avail_out;
}

size_t BoundedReader::Impl::read_gzip(uint8_t* out, size_t n) {
  size_t done = 0;
  while (done < n) {
    if (begin == end && !refill()) {
      if (member_open) fail("gzip data is truncated");
      break;
    }
    if (!member_open) {  // gzip allows members one after the other
      if (buffer[begin] != 0x1f) fail("gzip data is followed by something else");
      if (inflateReset(&stream) != Z_OK) fail("gzip data is corrupt");
      member_open = true;
    }
    done += inflate_some(out + done, n - done);
  }
  return done;
}

size_t BoundedReader::Impl::read_some(uint8_t* out, size_t n) {
  if (!has_peeked || n == 0) return decode(out, n);
  out[0] = peeked;
  has_peeked = false;
  return 1 + decode(out + 1, n - 1);
}

BoundedReader::BoundedReader(std::string path, int64_t max_bytes) : impl_(std::make_unique<Impl>()) {
  impl_->path = std::move(path);
  impl_->max_bytes = max_bytes;
  impl_->open_file();
  impl_->detect_gzip();
}

BoundedReader::BoundedReader(const void* data, size_t size, std::string name, int64_t max_bytes)
    : impl_(std::make_unique<Impl>()) {
  impl_->path = std::move(name);
  impl_->max_bytes = max_bytes;
  impl_->memory = static_cast<const uint8_t*>(data);
  impl_->source_size = int64_t(size);
  impl_->detect_gzip();
}

BoundedReader::~BoundedReader() = default;
BoundedReader::BoundedReader(BoundedReader&&) noexcept = default;
BoundedReader& BoundedReader::operator=(BoundedReader&&) noexcept = default;

const std::string& BoundedReader::path() const { return impl_->path; }
int64_t BoundedReader::offset() const { return impl_->offset; }
bool BoundedReader::compressed() const { return impl_->gzip; }

int64_t BoundedReader::bytes_left_at_most() const {
  const Impl& s = *impl_;
  const int64_t allowed = std::max<int64_t>(s.max_bytes - s.offset, 0);
  if (!s.gzip) return std::min(allowed, std::max<int64_t>(s.source_size - s.offset, 0));
  const int64_t raw = std::max<int64_t>(s.source_size - s.source_read, 0) + int64_t(s.end - s.begin);
  // 64 KiB more: what inflate may have taken in and not yet given out (its window and an open block).
  return raw > (allowed >> 10) ? allowed : std::min(allowed, raw * kMaxInflation + 65536);
}

void BoundedReader::expect_left(int64_t n, std::string_view what) const {
  if (n < 0) fail(what, " has a negative size");
  if (n > impl_->max_bytes - impl_->offset) {
    fail(what, " takes ", n, " bytes, which passes the limit of ", impl_->max_bytes, " bytes");
  }
  const int64_t left = bytes_left_at_most();
  if (n > left) fail("truncated: ", what, " takes ", n, " bytes, at most ", left, " are left");
}

void BoundedReader::read(void* out, int64_t n, std::string_view what) {
  expect_left(n, what);
  if (n == 0) return;
  const size_t got = impl_->read_some(static_cast<uint8_t*>(out), size_t(n));
  if (int64_t(got) < n) fail("truncated: ", what, " takes ", n, " bytes, ", got, " are left");
  impl_->offset += n;
}

int64_t BoundedReader::read_up_to(void* out, int64_t n, std::string_view what) {
  if (n <= 0 || at_end()) return 0;
  const int64_t allowed = impl_->max_bytes - impl_->offset;
  if (allowed <= 0) fail(what, " passes the limit of ", impl_->max_bytes, " bytes");
  const auto got = int64_t(impl_->read_some(static_cast<uint8_t*>(out), size_t(std::min(n, allowed))));
  impl_->offset += got;
  return got;
}

void BoundedReader::append_to(std::vector<uint8_t>& out, int64_t n, std::string_view what) {
  expect_left(n, what);
  // The size of a plain source is a fact; what a gzip holds is not, so its memory doubles as bytes arrive.
  const bool known = !impl_->gzip;
  int64_t done = 0;
  while (done < n) {
    const int64_t step = known ? n : std::min(n - done, std::max(kFirstStep, done));
    const size_t old_size = out.size();
    out.reserve(old_size + size_t(step));  // exactly; resize alone would round up to twice the size
    out.resize(old_size + size_t(step));
    read(out.data() + old_size, step, what);
    done += step;
  }
}

void BoundedReader::append_rest(std::vector<uint8_t>& out, std::string_view what) {
  Impl& s = *impl_;
  if (!s.gzip) append_to(out, s.source_size - s.offset, what);
  while (!at_end()) {
    const int64_t allowed = s.max_bytes - s.offset;
    if (allowed <= 0) fail(what, " passes the limit of ", s.max_bytes, " bytes");
    const size_t old_size = out.size();
    const size_t step = size_t(std::min<int64_t>(allowed, std::max<int64_t>(kFirstStep, int64_t(old_size))));
    out.resize(old_size + step);
    const size_t got = s.read_some(out.data() + old_size, step);
    s.offset += int64_t(got);
    out.resize(old_size + got);
  }
}

uint8_t BoundedReader::read_u8(std::string_view what) {
  uint8_t byte = 0;
  read(&byte, 1, what);
  return byte;
}
uint16_t BoundedReader::read_le16(std::string_view what) {
  uint8_t b[2];
  read(b, 2, what);
  return uint16_t(b[0] | (b[1] << 8));
}
uint32_t BoundedReader::read_le32(std::string_view what) {
  uint8_t b[4];
  read(b, 4, what);
  return uint32_t(b[0]) | uint32_t(b[1]) << 8 | uint32_t(b[2]) << 16 | uint32_t(b[3]) << 24;
}
uint64_t BoundedReader::read_le64(std::string_view what) {
  uint8_t b[8];
  read(b, 8, what);
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | b[i];
  return value;
}
uint32_t BoundedReader::read_be32(std::string_view what) {
  uint8_t b[4];
  read(b, 4, what);
  return uint32_t(b[3]) | uint32_t(b[2]) << 8 | uint32_t(b[1]) << 16 | uint32_t(b[0]) << 24;
}

int64_t BoundedReader::checked_product(const std::vector<int64_t>& factors, int64_t limit,
                                       std::string_view what) const {
  int64_t product = 1;
  for (const int64_t factor : factors) {
    if (factor < 0) fail(what, " is negative: ", factor);
    // A zero dimension must not hide an overflow in the others: the product runs over factors of at least one.
    if (__builtin_mul_overflow(product, std::max<int64_t>(factor, 1), &product)) fail(what, " overflows 64 bits");
  }
  for (const int64_t factor : factors) product = factor == 0 ? 0 : product;
  if (product > limit) fail(what, " is ", product, ", the limit is ", limit);
  return product;
}

int64_t BoundedReader::checked_product(std::initializer_list<int64_t> factors, int64_t limit,
                                       std::string_view what) const {
  return checked_product(std::vector<int64_t>(factors), limit, what);
}

bool BoundedReader::at_end() {
  Impl& s = *impl_;
  // The end shows only when a read comes back empty; what it brings otherwise is kept for the next one.
  if (!s.has_peeked) s.has_peeked = s.decode(&s.peeked, 1) == 1;
  return !s.has_peeked;
}

void BoundedReader::expect_end(std::string_view what) {
  if (!at_end()) fail("there are bytes after the end of ", what);
}

std::vector<uint8_t> read_file(const std::string& path, int64_t max_bytes) {
  BoundedReader reader(path, max_bytes);
  std::vector<uint8_t> bytes;
  reader.append_rest(bytes, "file");
  return bytes;
}

bool is_file(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

bool is_folder(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

std::string join_path(const std::string& folder, const std::string& name) {
  return folder.empty() || folder.back() == '/' ? folder + name : folder + "/" + name;
}

}  // namespace tenrec
