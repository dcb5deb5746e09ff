#include "tenrec/core/npy.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string_view>
#include <vector>

#include "tenrec/core/bounded_reader.h"
#include "tenrec/core/tensor_bytes.h"

namespace tenrec {
namespace {

static_assert(std::endian::native == std::endian::little, "arrays are stored as they lie in memory");

constexpr char kMagic[] = "\x93NUMPY";  // six bytes
struct Name {
  std::string_view text;
  DType dtype;
};
constexpr Name kNames[] = {{"<f8", f64}, {"<f4", f32}, {"<f2", f16},    {"<i8", i64},
                           {"<i4", i32}, {"|u1", u8},  {"|b1", boolean}};

struct Header {
  std::string descr;
  bool fortran = false;
  std::vector<int64_t> shape;
};

// The header is a Python dictionary of three known keys; this reads exactly that and nothing else of Python.
class HeaderParser {
 public:
  HeaderParser(const BoundedReader& reader, std::string_view text) : reader_(reader), text_(text) {}

  Header run() {
    Header h;
    unsigned seen = 0;
    expect('{');
    while (!accept('}')) {
      const std::string key = string();
      expect(':');
      const unsigned bit = key == "descr" ? 1 : key == "fortran_order" ? 2 : key == "shape" ? 4 : 0;
      if (bit == 0 || (seen & bit)) fail("has ", bit ? "twice" : "an unknown key", " '", key, "'");
      seen |= bit;
      if (bit == 1)
        h.descr = descr();
      else if (bit == 2)
        h.fortran = truth();
      else
        h.shape = tuple();
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_blanks();
    if (at_ != text_.size()) fail("goes on after the dictionary");
    if (seen != 7) fail("lacks ", !(seen & 1) ? "descr" : !(seen & 2) ? "fortran_order" : "shape");
    return h;
  }

 private:
  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    reader_.fail("the npy header ", parts...);
  }
  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  bool accept(char c) {
    skip_blanks();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail("has no '", c, "' at its byte ", at_);
  }
  // Quoted text without escapes, as in all names that are of use here.
  std::string string() {
    skip_blanks();
    const char quote = at_ < text_.size() ? text_[at_] : 0;
    if (quote != '\'' && quote != '"') fail("has no string at its byte ", at_);
    const size_t begin = ++at_;
    while (at_ < text_.size() && text_[at_] != quote && at_ - begin < 64) {
      if (text_[at_] == '\\' || uint8_t(text_[at_]) < 0x20) fail("has a strange character in a string");
      ++at_;
    }
    if (at_ == text_.size() || text_[at_] != quote) fail("has a string without end or of more than 64 bytes");
    return std::string(text_.substr(begin, at_++ - begin));
  }
  std::string descr() {
    skip_blanks();
    if (at_ < text_.size() && text_[at_] == '[') fail("describes a structured dtype, which Tenrec does not read");
    return string();
  }
  bool truth() {
    skip_blanks();
    for (const std::string_view word : {"True", "False"}) {
      if (text_.substr(at_, word.size()) != word) continue;
      at_ += word.size();
      return word == "True";
    }
    fail("gives fortran_order neither as True nor as False");
  }
  std::vector<int64_t> tuple() {
    std::vector<int64_t> sizes;
    expect('(');
    while (!accept(')')) {
      if (sizes.size() == size_t(kMaxDims)) fail("has more than ", kMaxDims, " dimensions");
      sizes.push_back(number());
      if (accept(',')) continue;
      if (sizes.size() == 1) fail("gives the shape as a number, not a tuple");
      expect(')');
      break;
    }
    return sizes;
  }
  int64_t number() {
    skip_blanks();
    int64_t value = 0;
    const size_t begin = at_;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_)
      if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, text_[at_] - '0', &value))
        fail("has a size beyond 2^63 - 1");
    if (at_ == begin) fail("has no size at its byte ", at_);
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // Python 2 wrote long numbers so
    return value;
  }

  const BoundedReader& reader_;
  std::string_view text_;
  size_t at_ = 0;
};

DType dtype_named(const BoundedReader& reader, const std::string& descr) {
  for (const Name& name : kNames) {
    if (descr == name.text) return name.dtype;
    if (descr.size() == 3 && descr.substr(1) == name.text.substr(1) && (descr[0] == '=' || name.text[0] == '|'))
      return name.dtype;  // the machine's own order, or one byte, which has no order
  }
  if (!descr.empty() && descr[0] == '>')
    reader.fail("the array is big-endian ('", descr, "'), which Tenrec does not read");
  if (descr.find('O') != std::string::npos) reader.fail("the array holds Python objects, which are never loaded");
  reader.fail("the array has dtype '", descr, "', which Tenrec has not");
}

Header read_header(BoundedReader& reader, const NpyLimits& limits) {
  if (reader.compressed()) reader.fail("is compressed; an npy file is not");
  char magic[6];
  reader.read(magic, 6, "npy magic");
  if (std::memcmp(magic, kMagic, 6) != 0) reader.fail("is not an npy file: it does not begin with \\x93NUMPY");
  const int major = reader.read_u8("npy version"), minor = reader.read_u8("npy version");
  if (major < 1 || major > 3 || minor != 0) reader.fail("has npy version ", major, ".", minor, ", expected 1.0 to 3.0");
  const int64_t length = major == 1 ? reader.read_le16("npy header length") : reader.read_le32("npy header length");
  if (length > limits.header_bytes)
    reader.fail("the npy header claims ", length, " bytes, the limit is ", limits.header_bytes);
  std::vector<uint8_t> text;
  reader.append_to(text, length, "npy header");
  return HeaderParser(reader, {reinterpret_cast<const char*>(text.data()), text.size()}).run();
}

Tensor read_all(BoundedReader& reader, const NpyLimits& limits) {
  Header header = read_header(reader, limits);
  const DType dtype = dtype_named(reader, header.descr);
  std::vector<int64_t> factors = header.shape;
  factors.push_back(size_of(dtype));
  const int64_t bytes = reader.checked_product(factors, INT64_MAX, "array size in bytes");
  reader.expect_left(bytes, "array data");
  if (header.fortran) std::reverse(header.shape.begin(), header.shape.end());
  Tensor t = empty(Shape(header.shape), {.dtype = dtype, .device = kCpu});
  reader.read(t.data_ptr(), bytes, "array data");
  reader.expect_end("the array");
  if (dtype == boolean && detail::find_bad_bool(t.data_ptr(), bytes) >= 0)
    reader.fail("the array is bool and holds a byte that is neither 0 nor 1");
  if (!header.fortran || t.ndim() < 2) return t;
  Shape shape = t.shape();
  Strides strides = t.strides();
  std::reverse(shape.begin(), shape.end());
  std::reverse(strides.begin(), strides.end());
  return detail::make_view(t, shape, strides, 0);
}

std::string make_header(const Tensor& x) {
  const auto* name =
      std::find_if(std::begin(kNames), std::end(kNames), [&](const Name& n) { return n.dtype == x.dtype(); });
  if (name == std::end(kNames)) fail<DTypeError>("save_npy: NumPy has no dtype for ", x.dtype(), "; save x.to(f32)");
  std::string dict = concat("{'descr': '", name->text, "', 'fortran_order': False, 'shape': (");
  for (int64_t size : x.shape()) dict += concat(size, x.ndim() == 1 ? "," : ", ");
  if (x.ndim() > 1) dict.resize(dict.size() - 2);
  dict += "), }";
  dict.append((64 - (10 + dict.size() + 1) % 64) % 64, ' ');  // so that the data begin at a multiple of 64
  dict += '\n';
  std::string header(kMagic, 6);
  header += {'\x01', '\x00', char(dict.size() & 0xff), char(dict.size() >> 8)};
  return header + dict;
}

}  // namespace

Tensor load_npy(const std::string& path, const NpyLimits& limits) {
  BoundedReader reader(path, limits.file_bytes);
  return read_all(reader, limits);
}

Tensor parse_npy(const void* data, size_t size, const std::string& name, const NpyLimits& limits) {
  BoundedReader reader(data, size, name, limits.file_bytes);
  return read_all(reader, limits);
}

void save_npy(const std::string& path, const Tensor& x, AtomicFileOptions options) {
  const std::string header = make_header(x);
  AtomicFile file(path, options);
  file.write(header);
  detail::for_each_piece(x, [&](const void* bytes, size_t n) { file.write(bytes, n); });
  file.commit();
}

}  // namespace tenrec
