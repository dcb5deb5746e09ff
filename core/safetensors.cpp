#include "tenrec/core/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_set>

#include "tenrec/core/bounded_reader.h"
#include "tenrec/core/tensor_bytes.h"

namespace tenrec {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are stored as they lie in memory");

constexpr std::string_view kMetadata = "__metadata__";
constexpr std::string_view kNames[] = {"F64", "F32", "BF16", "F16", "I64", "I32", "U8", "BOOL"};  // in DType's order

// A name as it may stand in a message: short, on one line.
std::string brief(std::string_view text) {
  std::string out(text.substr(0, 120));
  for (char& c : out)
    if (uint8_t(c) < 0x20 || c == 0x7f) c = '?';
  return text.size() > 120 ? out + "..." : out;
}

// What the header says of one tensor.
struct Entry {
  std::string name, dtype_name;
  std::vector<int64_t> shape, offsets;
  bool has_dtype = false, has_shape = false, has_offsets = false;
  DType dtype = f32;
};

// Reads the header as a stream of JSON events, so that only what the format allows is ever stored: nesting beyond its
// three levels, other types and repeated keys end the reading at once.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::vector<Entry> entries;
  std::vector<std::pair<std::string, std::string>> metadata;
  std::string problem;

  bool null() override { return wrong("null"); }
  bool boolean(bool) override { return wrong("a boolean"); }
  bool number_integer(number_integer_t) override { return wrong("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return wrong("a number with a fraction"); }
  bool binary(binary_t&) override { return wrong("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (!in_array_) return wrong("a number");
    if (value > uint64_t(INT64_MAX)) return stop(field_, " of tensor '", brief(name_), "' passes 2^63 - 1");
    std::vector<int64_t>& list = this->list();
    if (list.size() == (field_ == "shape" ? size_t(kMaxDims) : 2))
      return stop(field_, " of tensor '", brief(name_), "' has more than ", list.size(), " numbers");
    list.push_back(int64_t(value));
    return true;
  }

  bool string(string_t& value) override {
    if (depth_ != 2 || in_array_) return wrong("a string");
    if (in_metadata_) {
      metadata.emplace_back(field_, std::move(value));
      return true;
    }
    if (field_ != "dtype") return wrong("a string");
    entries.back().dtype_name = std::move(value);
    return true;
  }

  bool start_object(size_t) override {
    if (depth_ == 2 || in_array_) return wrong("an object");
    ++depth_;
    return true;
  }
  bool end_object() override {
    if (--depth_ == 0 || in_metadata_) return true;
    const Entry& e = entries.back();
    if (!e.has_dtype || !e.has_shape || !e.has_offsets)
      return stop("tensor '", brief(e.name), "' lacks its ",
                  !e.has_dtype   ? "dtype"
                  : !e.has_shape ? "shape"
                                 : "data_offsets");
    if (e.offsets.size() != 2) return stop("data_offsets of tensor '", brief(e.name), "' must be two numbers");
    return true;
  }

  bool start_array(size_t) override {
    if (depth_ != 2 || in_array_ || in_metadata_ || field_ == "dtype") return wrong("a list");
    return in_array_ = true;
  }
  bool end_array() override {
    in_array_ = false;
    return true;
  }

  bool key(string_t& value) override { return depth_ == 1 ? tensor_key(value) : field_key(value); }

  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& e) override {
    return stop("the header is not JSON: ", brief(e.what()), " (header byte ", position, ")");
  }

 private:
  template <class... Parts>
  bool stop(const Parts&... parts) {
    problem = concat(parts...);
    return false;
  }
  bool wrong(const char* what) {
    if (depth_ == 0) return stop("the header is ", what, ", expected an object");
    if (depth_ == 1) return stop("entry '", brief(name_), "' is ", what, ", expected an object");
    if (in_metadata_) return stop("metadata '", brief(field_), "' is ", what, ", expected a string");
    return stop(field_, " of tensor '", brief(name_), "' is or holds ", what);
  }
  bool tensor_key(std::string& value) {
    if (!names_.insert(value).second) return stop("entry '", brief(value), "' appears twice");
    name_ = value;
    in_metadata_ = value == kMetadata;
    if (!in_metadata_) entries.emplace_back().name = std::move(value);
    return true;
  }
  bool field_key(std::string& value) {
    field_ = std::move(value);
    if (in_metadata_) return keys_.insert(field_).second || stop("metadata '", brief(field_), "' appears twice");
    Entry& e = entries.back();
    bool* seen = field_ == "dtype"          ? &e.has_dtype
                 : field_ == "shape"        ? &e.has_shape
                 : field_ == "data_offsets" ? &e.has_offsets
                                            : nullptr;
    if (!seen) return stop("tensor '", brief(e.name), "' has an unknown field '", brief(field_), "'");
    if (*seen) return stop("tensor '", brief(e.name), "' gives its ", field_, " twice");
    return *seen = true;
  }
  std::vector<int64_t>& list() { return field_ == "shape" ? entries.back().shape : entries.back().offsets; }

  int depth_ = 0;
  bool in_array_ = false, in_metadata_ = false;
  std::string name_, field_;
  std::unordered_set<std::string> names_, keys_;
};

HeaderReader read_header(BoundedReader& reader, const SafetensorsLimits& limits) {
  if (reader.compressed()) reader.fail("is compressed; a safetensors file is not");
  const uint64_t length = reader.read_le64("header length");
  if (length > uint64_t(limits.header_bytes))
    reader.fail("the header claims ", length, " bytes, the limit is ", limits.header_bytes);
  std::vector<uint8_t> text;
  reader.append_to(text, int64_t(length), "header");
  if (text.empty() || text.front() != '{') reader.fail("the header must begin with '{'");
  HeaderReader header;
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &header)) reader.fail(header.problem);
  return header;
}

// Checks dtype, shape and place of each tensor; nothing is allocated yet. Leaves the entries in the order of their
// data.
void check_entries(const BoundedReader& reader, std::vector<Entry>& entries) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.offsets < b.offsets; });
  const int64_t available = reader.bytes_left_at_most();
  int64_t end = 0;
  for (Entry& e : entries) {
    const auto* found = std::find(std::begin(kNames), std::end(kNames), e.dtype_name);
    if (found == std::end(kNames))
      reader.fail("tensor '", brief(e.name), "' has dtype '", brief(e.dtype_name), "', which Tenrec has not");
    e.dtype = DType(found - std::begin(kNames));
    std::vector<int64_t> factors = e.shape;
    factors.push_back(size_of(e.dtype));
    const int64_t bytes = reader.checked_product(factors, INT64_MAX, concat("size of tensor '", brief(e.name), "'"));
    const int64_t begin = e.offsets[0];
    if (e.offsets[1] < begin || e.offsets[1] - begin != bytes)
      reader.fail("tensor '", brief(e.name), "' of shape ", Shape(e.shape), " and dtype ", e.dtype_name, " takes ",
                  bytes, " bytes, its data_offsets are [", begin, ", ", e.offsets[1], "]");
    if (begin != end)
      reader.fail("tensor '", brief(e.name), "' begins at data byte ", begin,
                  begin < end ? ", inside" : ", not at the end of", " the data before it, which ends at ", end);
    end = e.offsets[1];
    if (end > available)
      reader.fail("truncated: tensor '", brief(e.name), "' ends at data byte ", end, ", there are ", available);
  }
  if (end != available) reader.fail("there are ", available - end, " bytes that belong to no tensor");
}

Safetensors read_all(BoundedReader& reader, const SafetensorsLimits& limits) {
  HeaderReader header = read_header(reader, limits);
  check_entries(reader, header.entries);
  Safetensors out;
  out.metadata = std::move(header.metadata);
  out.tensors.reserve(header.entries.size());
  for (Entry& e : header.entries) {
    Tensor t = empty(Shape(e.shape), {.dtype = e.dtype, .device = kCpu});
    const int64_t bytes = t.numel() * size_of(e.dtype);
    reader.read(t.data_ptr(), bytes, "tensor data");
    if (e.dtype == boolean && detail::find_bad_bool(t.data_ptr(), bytes) >= 0)
      reader.fail("tensor '", brief(e.name), "' is BOOL and holds a byte that is neither 0 nor 1");
    out.tensors.push_back({std::move(e.name), std::move(t)});
  }
  return out;
}

// --- writing --------------------------------------------------------------------------------------------------------

int64_t width_of(const Tensor& t) { return t.defined() ? size_of(t.dtype()) : 0; }

std::string quoted(const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    fail<ValueError>("save_safetensors: a name or metadata text is not UTF-8");
  }
}

void append_metadata(std::string& header, const Safetensors& contents) {
  if (contents.metadata.empty()) return;
  std::unordered_set<std::string_view> seen;
  header += quoted(std::string(kMetadata)) + ":{";
  for (const auto& [key, value] : contents.metadata) {
    if (!seen.insert(key).second) fail<ValueError>("save_safetensors: metadata '", key, "' is given twice");
    if (seen.size() > 1) header += ',';
    header += quoted(key) + ':' + quoted(value);
  }
  header += "},";
}

std::string make_header(const Safetensors& contents, const std::vector<const NamedTensor*>& ordered) {
  std::unordered_set<std::string_view> seen;
  std::string header = "{";
  append_metadata(header, contents);
  int64_t offset = 0;
  for (const NamedTensor* entry : ordered) {
    if (entry->name == kMetadata || !seen.insert(entry->name).second)
      fail<ValueError>("save_safetensors: the name '", entry->name, "' is ",
                       entry->name == kMetadata ? "reserved" : "given twice");
    const Tensor& t = entry->tensor;
    if (!t.defined()) fail<ValueError>("save_safetensors: tensor '", entry->name, "' is undefined");
    const int64_t end = offset + t.numel() * size_of(t.dtype());
    header += concat(quoted(entry->name), ":{\"dtype\":\"", kNames[int(t.dtype())], "\",\"shape\":[");
    for (int64_t d = 0; d < t.ndim(); ++d) header += concat(d ? "," : "", t.shape()[d]);
    header += concat("],\"data_offsets\":[", offset, ",", end, "]},");
    offset = end;
  }
  if (header.back() == ',') header.pop_back();
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');  // so that the data begin at a multiple of eight
  return header;
}

template <class Pairs>
auto find_first(const Pairs& pairs, std::string_view name) {
  return std::find_if(pairs.begin(), pairs.end(), [&](const auto& p) { return p.first == name; });
}

}  // namespace

const Tensor* Safetensors::find(std::string_view name) const {
  for (const NamedTensor& entry : tensors)
    if (entry.name == name) return &entry.tensor;
  return nullptr;
}

const std::string* Safetensors::find_metadata(std::string_view key) const {
  const auto found = find_first(metadata, key);
  return found == metadata.end() ? nullptr : &found->second;
}

const Tensor& Safetensors::at(std::string_view name) const {
  if (const Tensor* found = find(name)) return *found;
  fail<IOError>("safetensors: there is no tensor '", name, "' among the ", tensors.size(), " of the file");
}

Safetensors load_safetensors(const std::string& path, const SafetensorsLimits& limits) {
  BoundedReader reader(path, limits.file_bytes);
  return read_all(reader, limits);
}

Safetensors parse_safetensors(const void* data, size_t size, const std::string& name, const SafetensorsLimits& limits) {
  BoundedReader reader(data, size, name, limits.file_bytes);
  return read_all(reader, limits);
}

void save_safetensors(const std::string& path, const Safetensors& contents, AtomicFileOptions options) {
  std::vector<const NamedTensor*> ordered;
  for (const NamedTensor& entry : contents.tensors) ordered.push_back(&entry);
  std::stable_sort(ordered.begin(), ordered.end(), [](const NamedTensor* a, const NamedTensor* b) {
    return width_of(a->tensor) > width_of(b->tensor);
  });
  const std::string header = make_header(contents, ordered);
  const uint64_t length = header.size();
  AtomicFile file(path, options);
  file.write(&length, sizeof(length));
  file.write(header);
  for (const NamedTensor* entry : ordered)
    detail::for_each_piece(entry->tensor, [&](const void* bytes, size_t n) { file.write(bytes, n); });
  file.commit();
}

}  // namespace tenrec
