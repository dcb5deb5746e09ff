#include "tenrec/data/token_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "tenrec/autograd/ops/shape.h"
#include "tenrec/core/atomic_file.h"
#include "tenrec/core/bounded_reader.h"
#include "tenrec/core/error.h"
#include "tenrec/data/utf8.h"

namespace tenrec {
namespace {

static_assert(std::endian::native == std::endian::little, "ids are stored as they lie in memory");

constexpr char kMagic[] = "tenrtok1";
constexpr int64_t kHeader = 16;
constexpr int64_t kMaxChunks = 64;  // without a place to cut

int64_t bytes_of_id(int64_t vocab_size) { return vocab_size <= 65536 ? 2 : 4; }

// Reads exactly n bytes at `offset`; what came before an end or an error is the result.
int64_t read_at(int fd, void* out, int64_t n, int64_t offset) {
  int64_t done = 0;
  while (done < n) {
    const ssize_t got = ::pread(fd, static_cast<char*>(out) + done, size_t(n - done), off_t(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    done += got;
  }
  return done;
}

// The last place of a valid text where it may be cut: before white space of ASCII that follows something else. No piece
// of a tokenizer crosses such a place, whatever comes later. 0 if there is none.
size_t last_cut(std::string_view text) {
  for (size_t i = text.size(); i-- > 1;) {
    if (uint8_t(text[i]) >= 128 || !is_space(uint8_t(text[i]))) continue;
    size_t before = i - 1;
    while (before > 0 && (uint8_t(text[before]) & 0xC0) == 0x80) --before;
    if (!is_space(next_code_point(text, before))) return i;
  }
  return 0;
}

// The text without a character at its end that may go on.
std::string_view whole_characters(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const auto b = uint8_t(text[text.size() - back]);
    if ((b & 0xC0) == 0x80) continue;
    const size_t length = b < 0xC0 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
    return length > back ? text.substr(0, text.size() - back) : text;
  }
  return text;
}

}  // namespace

struct TokenFileWriter::Impl {
  AtomicFile file;
  int64_t vocab_size, width, count = 0;
};

TokenFileWriter::TokenFileWriter(const std::string& path, int64_t vocab_size) {
  if (vocab_size < 1 || vocab_size > std::numeric_limits<int32_t>::max())
    fail<ValueError>("TokenFileWriter: a vocabulary of ", vocab_size);
  impl_.reset(new Impl{AtomicFile(path), vocab_size, bytes_of_id(vocab_size)});
  const uint32_t numbers[] = {uint32_t(impl_->width), uint32_t(vocab_size)};
  impl_->file.write(kMagic, 8);
  impl_->file.write(numbers, sizeof numbers);
}
TokenFileWriter::~TokenFileWriter() = default;
TokenFileWriter::TokenFileWriter(TokenFileWriter&&) noexcept = default;
TokenFileWriter& TokenFileWriter::operator=(TokenFileWriter&&) noexcept = default;
int64_t TokenFileWriter::size() const { return impl_->count; }
void TokenFileWriter::commit() { impl_->file.commit(); }

void TokenFileWriter::append(std::span<const int64_t> ids) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= impl_->vocab_size)
      fail<IndexError>("TokenFileWriter: token ", ids[i], " at place ", i, " of a vocabulary of ", impl_->vocab_size);
  }
  for (const int64_t id : ids) impl_->file.write(&id, size_t(impl_->width));
  impl_->count += int64_t(ids.size());
}

struct TokenFile::Impl {
  std::string path;
  int fd = -1;
  int64_t width = 0, vocab_size = 0, count = 0;

  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (fd >= 0) close(fd);
  }
};

TokenFile::TokenFile(const std::string& path) {
  auto impl = std::make_shared<Impl>();
  impl->path = path;
  impl->fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (impl->fd < 0) fail<IOError>(path, ": cannot be opened: ", std::strerror(errno));
  struct stat info {};
  if (fstat(impl->fd, &info) != 0 || !S_ISREG(info.st_mode)) fail<IOError>(path, ": is not a regular file");
  char header[kHeader];
  if (read_at(impl->fd, header, kHeader, 0) != kHeader || std::memcmp(header, kMagic, 8) != 0)
    fail<IOError>(path, ": is not a token file: it does not begin with ", kMagic, " and its header");
  uint32_t numbers[2];
  std::memcpy(numbers, header + 8, sizeof numbers);
  impl->width = numbers[0];
  impl->vocab_size = numbers[1];
  if (impl->vocab_size < 1 || impl->vocab_size > std::numeric_limits<int32_t>::max())
    fail<IOError>(path, ": says that its vocabulary has ", impl->vocab_size, " tokens");
  if (impl->width != bytes_of_id(impl->vocab_size))
    fail<IOError>(path, ": says ", impl->width, " bytes an id for a vocabulary of ", impl->vocab_size);
  const int64_t bytes = int64_t(info.st_size) - kHeader;
  if (bytes % impl->width != 0)
    fail<IOError>(path, ": ", bytes, " bytes of ids are not a multiple of ", impl->width, "; it has been cut off");
  impl->count = bytes / impl->width;
  impl_ = std::move(impl);
}

const std::string& TokenFile::path() const { return impl_->path; }
int64_t TokenFile::size() const { return impl_->count; }
int64_t TokenFile::vocab_size() const { return impl_->vocab_size; }

void TokenFile::read(int64_t begin, std::span<int64_t> out) const {
  const Impl& s = *impl_;
  const auto n = int64_t(out.size());
  if (begin < 0 || n > s.count || begin > s.count - n)
    fail<IndexError>("TokenFile: tokens ", begin, " to ", begin + n, " of ", s.count);
  std::array<char, 16384> buffer;
  const int64_t step = int64_t(buffer.size()) / s.width;
  for (int64_t done = 0; done < n;) {
    const int64_t part = std::min(step, n - done), bytes = part * s.width;
    if (read_at(s.fd, buffer.data(), bytes, kHeader + (begin + done) * s.width) != bytes)
      fail<IOError>(s.path, ": cannot be read at token ", begin + done, "; has it become shorter?");
    for (int64_t i = 0; i < part; ++i, ++done) {
      uint32_t id = 0;
      std::memcpy(&id, buffer.data() + i * s.width, size_t(s.width));
      if (int64_t(id) >= s.vocab_size)
        fail<IOError>(s.path, ": token ", id, " at place ", begin + done, " of a vocabulary of ", s.vocab_size);
      out[size_t(done)] = id;
    }
  }
}

int64_t encode_file(const Tokenizer& tokenizer, const std::string& text_path, const std::string& token_path,
                    const EncodeFileOptions& options) {
  if (options.chunk_bytes < 1 || options.chunk_bytes > int64_t(1) << 30)
    fail<ValueError>("encode_file: chunks of ", options.chunk_bytes, " bytes");
  BoundedReader reader(text_path, options.max_bytes);
  TokenFileWriter out(token_path, tokenizer.size());
  std::string text;
  int64_t offset = 0;  // of text in the file
  std::vector<int64_t> ids;
  const auto encode = [&](size_t length) {
    ids.clear();
    tokenizer.encode_to(std::string_view(text).substr(0, length), ids);
    out.append(ids);
    text.erase(0, length);
    offset += int64_t(length);
  };
  for (bool more = true; more;) {
    const size_t old_size = text.size();
    text.resize(old_size + size_t(options.chunk_bytes));
    const int64_t got = reader.read_up_to(text.data() + old_size, options.chunk_bytes, "text");
    text.resize(old_size + size_t(got));
    more = got > 0;
    if (!tokenizer.needs_utf8()) {
      encode(text.size());
      continue;
    }
    const std::string_view whole = more ? whole_characters(text) : text;
    const int64_t bad = find_bad_utf8(whole);
    if (bad >= 0) fail<IOError>(text_path, ": not UTF-8 at byte ", offset + bad);
    encode(more ? last_cut(whole) : text.size());
    if (int64_t(text.size()) > kMaxChunks * options.chunk_bytes)
      fail<IOError>(text_path, ": no blank in ", text.size(), " bytes from byte ", offset, " on");
  }
  out.commit();
  return out.size();
}

TokenWindows::TokenWindows(TokenFile file, WindowOptions options)
    : file_(std::make_shared<const TokenFile>(std::move(file))) {
  set_options(options, file_->size());
}

TokenWindows::TokenWindows(std::vector<int64_t> tokens, WindowOptions options)
    : tokens_(std::make_shared<const std::vector<int64_t>>(std::move(tokens))) {
  set_options(options, int64_t(tokens_->size()));
}

void TokenWindows::set_options(WindowOptions options, int64_t tokens) {
  if (options.length < 1) fail<ValueError>("TokenWindows: a length of ", options.length);
  if (options.stride < 0) fail<ValueError>("TokenWindows: a stride of ", options.stride);
  options_ = {options.length, options.stride == 0 ? options.length : options.stride};
  size_ = tokens > options.length ? (tokens - 1 - options.length) / options_.stride + 1 : 0;
}

void TokenWindows::read(int64_t begin, std::span<int64_t> out) const {
  if (file_) return file_->read(begin, out);
  std::copy_n(tokens_->begin() + begin, out.size(), out.begin());
}

Example TokenWindows::get_batch(std::span<const int64_t> indices) const {
  for (const int64_t index : indices) check_index("TokenWindows", index);
  const Shape shape{int64_t(indices.size()), options_.length};
  Example batch{{empty(shape, {.dtype = i64, .device = kCpu}), empty(shape, {.dtype = i64, .device = kCpu})}};
  auto* input = batch.tensors[0].data<int64_t>();
  auto* target = batch.tensors[1].data<int64_t>();
  std::vector<int64_t> window(size_t(options_.length) + 1);
  for (const int64_t index : indices) {
    read(index * options_.stride, window);
    input = std::copy(window.begin(), window.end() - 1, input);
    target = std::copy(window.begin() + 1, window.end(), target);
  }
  return batch;
}

Example TokenWindows::get(int64_t index) const {
  const Example batch = get_batch({&index, 1});
  return {{reshape(batch.input(), {options_.length}), reshape(batch.target(), {options_.length})}};
}

}  // namespace tenrec
