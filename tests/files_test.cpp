// safetensors and npy: round trips, files made by Python, truncation at every byte, hostile headers, and printing.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

#include "tenrec/core/allocator.h"
#include "tenrec/core/npy.h"
#include "tenrec/core/print.h"
#include "tenrec/core/safetensors.h"
#include "tenrec/core/tensor.h"

namespace tenrec {
namespace {

namespace fs = std::filesystem;

const std::string kFixtures = TENREC_SOURCE_DIR "/tests/fixtures/files/";

class Files : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  const std::string folder_ = ::testing::TempDir() + "tenrec_files_" + std::to_string(::getpid());
};

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// The message of the Error of type E that f throws.
template <class E>
std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  } catch (const std::exception& e) {
    ADD_FAILURE() << "another exception: " << e.what();
    return {};
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

#define EXPECT_CONTAINS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

// Element k of the fixtures, by dtype (tools/make_file_fixtures.py).
double fixture_value(DType dtype, int64_t k) {
  if (is_floating(dtype)) return double(k) * 0.75 - 2;
  if (dtype == u8) return double(k);
  return dtype == boolean ? double(k % 2) : double(k - 2);
}

void expect_fixture(const Tensor& t, DType dtype, const Shape& shape) {
  EXPECT_EQ(t.dtype(), dtype);
  ASSERT_EQ(t.shape(), shape);
  const std::vector<double> values = t.to_vector<double>();
  for (size_t k = 0; k < values.size(); ++k) EXPECT_EQ(values[k], fixture_value(dtype, int64_t(k))) << name(dtype);
}

Tensor sample(DType dtype, const Shape& shape) {
  Tensor t = empty(shape, {.dtype = dtype});
  visit_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t k = 0; k < t.numel(); ++k) {
      if constexpr (std::is_class_v<T>)
        t.data<T>()[k] = T(float(fixture_value(dtype, k)));
      else
        t.data<T>()[k] = T(fixture_value(dtype, k));
    }
  });
  return t;
}

constexpr DType kAll[] = {f64, f32, bf16, f16, i64, i32, u8, boolean};

// --- safetensors ----------------------------------------------------------------------------------------------------

std::string with_header(const std::string& json, const std::string& data = "") {
  const uint64_t length = json.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + json + data;
}

Safetensors parse(const std::string& bytes) {
  return parse_safetensors(bytes.data(), bytes.size(), "weights.safetensors");
}

std::string refusal(const std::string& bytes) {
  const std::string text = message_of<IOError>([&] { parse(bytes); });
  EXPECT_CONTAINS(text, "weights.safetensors: ");
  EXPECT_EQ(text.find('\n'), std::string::npos) << "one line: " << text;
  EXPECT_LT(text.size(), 600u);
  return text;
}

TEST_F(Files, ReadsWhatPythonWrote) {
  const Safetensors file = load_safetensors(kFixtures + "python.safetensors");
  EXPECT_EQ(file.tensors.size(), 11u);
  for (DType dtype : kAll) expect_fixture(file.at(std::string("layer.") + name(dtype)), dtype, {2, 3});
  expect_fixture(file.at("scalar"), f32, {});
  expect_fixture(file.at("empty"), f32, {0, 4});
  expect_fixture(file.at("naïve \"name\""), f32, {1});
  ASSERT_NE(file.find_metadata("note"), nullptr);
  EXPECT_EQ(*file.find_metadata("note"), "line\nbreak");
  EXPECT_EQ(file.find_metadata("none"), nullptr);
  EXPECT_EQ(file.find("none"), nullptr);
  EXPECT_CONTAINS(message_of<IOError>([&] { file.at("none"); }), "no tensor 'none'");
}

TEST_F(Files, SafetensorsRoundTrip) {
  Safetensors out;
  for (DType dtype : kAll) out.tensors.push_back({std::string("x.") + name(dtype), sample(dtype, {3, 1, 5})});
  out.tensors.push_back({"0-d \"quoted\" \\ \n \x01 \xc3\xa9", sample(f64, {})});
  out.tensors.push_back({"", sample(f32, {2, 0})});
  out.metadata = {{"format", "pt"}, {"utf8", "\xe2\x82\xac \n"}};
  save_safetensors(path("a.safetensors"), out);
  const Safetensors in = load_safetensors(path("a.safetensors"));
  ASSERT_EQ(in.tensors.size(), out.tensors.size());
  for (const NamedTensor& entry : out.tensors) {
    const Tensor& t = in.at(entry.name);
    EXPECT_EQ(t.dtype(), entry.tensor.dtype());
    ASSERT_EQ(t.shape(), entry.tensor.shape());
    EXPECT_EQ(std::memcmp(t.data_ptr(), entry.tensor.data_ptr(), size_t(t.numel() * size_of(t.dtype()))), 0);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(t.data_ptr()) % 8, 0u);
  }
  EXPECT_EQ(in.metadata, out.metadata);
  const std::string bytes = slurp(path("a.safetensors"));
  EXPECT_EQ(*reinterpret_cast<const uint64_t*>(bytes.data()) % 8, 0u);
  EXPECT_FALSE(fs::exists(path("a.safetensors.tmp")));
}

TEST_F(Files, StridedTensorsAreWrittenInOrder) {
  const Tensor base = sample(f32, {200, 300});
  const Tensor turned = detail::make_view(base, {300, 200}, {1, 300}, 0);
  const Tensor wide = detail::make_view(base, {4, 3}, {0, 1}, 5);
  const Tensor backward = detail::make_view(base, {300}, {-1}, 299);
  save_safetensors(path("s.safetensors"), {{{"turned", turned}, {"wide", wide}, {"backward", backward}}});
  const Safetensors in = load_safetensors(path("s.safetensors"));
  EXPECT_EQ(in.at("turned").to_vector<float>(), turned.to_vector<float>());
  EXPECT_EQ(in.at("wide").to_vector<float>(), wide.to_vector<float>());
  EXPECT_EQ(in.at("backward").to_vector<float>(), backward.to_vector<float>());
  save_npy(path("s.npy"), turned);
  EXPECT_EQ(load_npy(path("s.npy")).to_vector<float>(), turned.to_vector<float>());
}

TEST_F(Files, SafetensorsEmptyFileOfNoTensors) {
  save_safetensors(path("none.safetensors"), {});
  EXPECT_TRUE(load_safetensors(path("none.safetensors")).tensors.empty());
  EXPECT_TRUE(parse(with_header("{}")).tensors.empty());
  EXPECT_TRUE(parse(with_header("{ }   \n")).tensors.empty());
}

TEST_F(Files, SafetensorsKeepsThePreviousFile) {
  save_safetensors(path("k.safetensors"), {{{"x", sample(f32, {2})}}});
  save_safetensors(path("k.safetensors"), {{{"x", sample(f32, {3})}}}, {.keep_previous = true});
  EXPECT_EQ(load_safetensors(path("k.safetensors")).at("x").numel(), 3);
  EXPECT_EQ(load_safetensors(path("k.safetensors.bak")).at("x").numel(), 2);
}

TEST_F(Files, SafetensorsWriterRefuses) {
  const Tensor x = sample(f32, {2});
  const auto refuse = [&](const Safetensors& contents) {
    return message_of<ValueError>([&] { save_safetensors(path("bad.safetensors"), contents); });
  };
  EXPECT_CONTAINS(refuse({{{"x", x}, {"x", x}}}), "given twice");
  EXPECT_CONTAINS(refuse({{{"__metadata__", x}}}), "reserved");
  EXPECT_CONTAINS(refuse({{{"\xff\xfe", x}}}), "UTF-8");
  EXPECT_CONTAINS(refuse({{{"x", Tensor()}}}), "undefined");
  EXPECT_CONTAINS(refuse({{{"x", x}}, {{"a", "1"}, {"a", "2"}}}), "given twice");
  EXPECT_FALSE(fs::exists(path("bad.safetensors")));
  EXPECT_CONTAINS(message_of<IOError>([&] { save_safetensors(path("no/such/f"), {{{"x", x}}}); }), "no/such/f");
}

TEST_F(Files, SafetensorsTruncatedAtEveryByte) {
  const std::string whole = slurp(kFixtures + "python.safetensors");
  for (size_t n = 0; n < whole.size(); ++n) {
    SCOPED_TRACE(n);
    refusal(whole.substr(0, n));
  }
  EXPECT_CONTAINS(refusal(whole + "x"), "belong to no tensor");
}

// Whatever one bit says instead, the reader either gives tensors that fit the data or a typed error.
TEST_F(Files, SafetensorsEveryBitOfTheHeaderFlipped) {
  const std::string whole = slurp(kFixtures + "python.safetensors");
  const size_t header = 8 + size_t(*reinterpret_cast<const uint64_t*>(whole.data()));
  const int64_t before = live_tensors();
  int refused = 0;
  for (size_t bit = 0; bit < header * 8; ++bit) {
    std::string broken = whole;
    broken[bit / 8] = char(broken[bit / 8] ^ (1 << (bit % 8)));
    try {
      for (const NamedTensor& entry : parse(broken).tensors) entry.tensor.to_vector<double>();
    } catch (const IOError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, int(header) * 4);  // the others rename a tensor or change its metadata
  EXPECT_EQ(live_tensors(), before);
}

TEST_F(Files, SafetensorsHostileHeaders) {
  const std::string four(16, '\0');
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return "{\"w\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
  };
  struct Case {
    std::string json, data, message;
  };
  const std::vector<Case> cases = {
      {entry("F32", "[4]", "[0,17]"), four + "x", "takes 16 bytes, its data_offsets are [0, 17]"},
      {entry("F32", "[4]", "[0,16]"), four.substr(1), "truncated"},
      {entry("F32", "[4]", "[0,16]"), four + "x", "1 bytes that belong to no tensor"},
      {entry("F32", "[4]", "[1,17]"), four + "x", "not at the end"},
      {entry("F32", "[4]", "[16,0]"), four, "data_offsets are [16, 0]"},
      {entry("F32", "[4]", "[0]"), four, "two numbers"},
      {entry("F32", "[4]", "[0,16,16]"), four, "more than 2"},
      {entry("F32", "[4]", "[-1,15]"), four, "negative"},
      {entry("F32", "[4.0]", "[0,16]"), four, "fraction"},
      {entry("F32", "[[4]]", "[0,16]"), four, "a list"},
      {entry("F32", "4", "[0,16]"), four, "a number"},
      {entry("F32", "\"4\"", "[0,16]"), four, "a string"},
      {entry("F32", "[true]", "[0,16]"), four, "a boolean"},
      {entry("F32", "null", "[0,16]"), four, "null"},
      {entry("F32", "[{}]", "[0,16]"), four, "an object"},
      {entry("F32", "[2,1,1,1,1,1,1,1,2]", "[0,16]"), four, "more than 8"},
      {entry("F32", "[4611686018427387904,4]", "[0,16]"), four, "overflows"},
      {entry("F32", "[0,4611686018427387904,4]", "[0,0]"), "", "overflows"},
      {entry("F32", "[9223372036854775808]", "[0,16]"), four, "passes 2^63"},
      {entry("F32", "[99999999999999999999999]", "[0,16]"), four, "fraction"},
      {entry("F32", "[1000000000000]", "[0,4000000000000]"), four, "truncated"},
      {entry("F8_E4M3", "[16]", "[0,16]"), four, "'F8_E4M3', which Tenrec has not"},
      {entry("I16", "[8]", "[0,16]"), four, "'I16'"},
      {entry("f32", "[4]", "[0,16]"), four, "'f32'"},
      {entry("BOOL", "[16]", "[0,16]"), std::string(15, '\0') + '\2', "neither 0 nor 1"},
      {"{\"w\":{\"dtype\":\"F32\",\"shape\":[4]}}", four, "lacks its data_offsets"},
      {"{\"w\":{\"shape\":[4],\"data_offsets\":[0,16]}}", four, "lacks its dtype"},
      {"{\"w\":{\"dtype\":\"F32\",\"data_offsets\":[0,16]}}", four, "lacks its shape"},
      {"{\"w\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", four, "twice"},
      {"{\"w\":{\"code\":\"x\",\"shape\":[4],\"data_offsets\":[0,16]}}", four, "unknown field 'code'"},
      {"{\"w\":3}", four, "is a number, expected an object"},
      {"{\"w\":[]}", four, "is a list, expected an object"},
      {"{\"w\":{}}", four, "lacks its dtype"},
      {"{\"__metadata__\":{\"a\":1}}", "", "expected a string"},
      {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", "", "appears twice"},
      {"{\"__metadata__\":{\"a\":{}}}", "", "an object"},
      {"{\"__metadata__\":{},\"__metadata__\":{}}", "", "appears twice"},
      {"[]", "", "begin with '{'"},
      {" {}", "", "begin with '{'"},
      {"", "", "begin with '{'"},
      {"{", "", "not JSON"},
      {"{}}", "", "not JSON"},
      {"{}\1", "", "not JSON"},
      {"{\"\xff\":{}}", "", "not JSON"},
      {std::string(1, '{') + std::string(100000, '['), "", "not JSON"},
      {concat("{\"w\":", std::string(100000, '[')), "", "a list"},
      {concat("{\"w\":{\"", std::string(100000, 'n'), "\":1}}"), "", "unknown field"},
      {"{\"w\n\":{\"dtype\":\"X\\n\\u0007\",\"shape\":[4],\"data_offsets\":[0,16]}}", four, "not JSON"},
      {"{\"w\\n\":{\"dtype\":\"X\\n\\u0007\",\"shape\":[4],\"data_offsets\":[0,16]}}", four, "dtype 'X?"},
  };
  for (const Case& c : cases) EXPECT_CONTAINS(refusal(with_header(c.json, c.data)), c.message);
  const std::string two =
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[3],"
      "\"data_offsets\":[4,16]}}";
  EXPECT_CONTAINS(refusal(with_header(two, four)), "inside the data before it, which ends at 8");
  const std::string same =
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},\"a\":{\"dtype\":\"F32\",\"shape\":[4],"
      "\"data_offsets\":[0,16]}}";
  EXPECT_CONTAINS(refusal(with_header(same, four)), "entry 'a' appears twice");
}

TEST_F(Files, NothingIsAllocatedOnALie) {
  const auto reserved_by = [](const std::string& bytes) {
    const int64_t before = memory_stats().reserved;
    refusal(bytes);
    return memory_stats().reserved - before;
  };
  std::string lie = with_header("{\"w\":{\"dtype\":\"F32\",\"shape\":[250000000],\"data_offsets\":[0,1000000000]}}");
  EXPECT_EQ(reserved_by(lie), 0);
  std::string huge(8, '\xff');
  EXPECT_CONTAINS(refusal(huge + "{}"), "the header claims 18446744073709551615 bytes");
  const uint64_t claim = 99'000'000;
  const std::string long_header(reinterpret_cast<const char*>(&claim), 8);
  EXPECT_CONTAINS(refusal(long_header + "{}"), "truncated");
  EXPECT_CONTAINS(message_of<IOError>([&] {
                    const std::string bytes = with_header("{}      ");
                    parse_safetensors(bytes.data(), bytes.size(), "x", {.header_bytes = 4});
                  }),
                  "the limit is 4");
}

TEST_F(Files, MissingFilesAndFolders) {
  EXPECT_CONTAINS(message_of<IOError>([&] { load_safetensors(path("none")); }), path("none"));
  EXPECT_CONTAINS(message_of<IOError>([&] { load_npy(path("none")); }), path("none"));
  EXPECT_CONTAINS(message_of<IOError>([&] { load_npy(folder_); }), "a folder");
  std::ofstream(path("zip"), std::ios::binary) << std::string("\x1f\x8b\x08\0 something", 14);
  EXPECT_CONTAINS(message_of<IOError>([&] { load_npy(path("zip")); }), "compressed");
  EXPECT_CONTAINS(message_of<IOError>([&] { load_safetensors(path("zip")); }), "compressed");
}

// --- npy ------------------------------------------------------------------------------------------------------------

std::string npy_refusal(const std::string& bytes) {
  const std::string text = message_of<IOError>([&] { parse_npy(bytes.data(), bytes.size(), "array.npy"); });
  EXPECT_CONTAINS(text, "array.npy: ");
  EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  return text;
}

std::string npy(const std::string& dict, const std::string& data = "") {
  std::string out("\x93NUMPY\x01\x00", 8);
  out += char(dict.size() & 0xff);
  out += char(dict.size() >> 8);
  return out + dict + data;
}

TEST_F(Files, NpyReadsWhatPythonWroteAndWritesTheSameBytes) {
  for (DType dtype : kAll) {
    if (dtype == bf16) continue;
    const std::string fixture = kFixtures + name(dtype) + ".npy";
    const Tensor t = load_npy(fixture);
    expect_fixture(t, dtype, {2, 3});
    save_npy(path("x.npy"), t);
    EXPECT_EQ(slurp(path("x.npy")), slurp(fixture)) << name(dtype);
  }
  expect_fixture(load_npy(kFixtures + "scalar.npy"), f64, {});
  expect_fixture(load_npy(kFixtures + "vector.npy"), f32, {5});
  expect_fixture(load_npy(kFixtures + "empty.npy"), f32, {0, 4});
  expect_fixture(load_npy(kFixtures + "version2.npy"), f32, {2, 3});
  for (const char* name : {"scalar", "vector", "empty"}) {
    save_npy(path("x.npy"), load_npy(kFixtures + name + ".npy"));
    EXPECT_EQ(slurp(path("x.npy")), slurp(kFixtures + name + ".npy")) << name;
  }
  const Tensor fortran = load_npy(kFixtures + "fortran.npy");
  expect_fixture(fortran, f32, {2, 3, 4});
  EXPECT_EQ(fortran.strides(), (Strides{1, 2, 6}));
}

TEST_F(Files, NpyRefusesWhatItCannotHold) {
  const auto load = [&](const char* name) {
    return message_of<IOError>([&] { load_npy(kFixtures + std::string(name) + ".npy"); });
  };
  EXPECT_CONTAINS(load("object"), "Python objects, which are never loaded");
  EXPECT_CONTAINS(load("big_endian"), "big-endian");
  EXPECT_CONTAINS(load("structured"), "structured");
  EXPECT_CONTAINS(load("complex"), "'<c8', which Tenrec has not");
  EXPECT_CONTAINS(message_of<DTypeError>([&] { save_npy(path("b.npy"), sample(bf16, {2})); }), "NumPy has no dtype");
  EXPECT_FALSE(fs::exists(path("b.npy")));
}

TEST_F(Files, NpyTruncatedAtEveryByte) {
  for (const char* name : {"f32", "fortran", "scalar"}) {
    const std::string whole = slurp(kFixtures + name + ".npy");
    for (size_t n = 0; n < whole.size(); ++n) npy_refusal(whole.substr(0, n));
    EXPECT_CONTAINS(npy_refusal(whole + "x"), "after the end");
  }
}

TEST_F(Files, NpyHostileHeaders) {
  const std::string four(16, '\0');
  const auto header = [](const std::string& descr, const std::string& order, const std::string& shape) {
    return "{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
  };
  EXPECT_EQ(parse_npy(npy(header("'<f4'", "False", "(4,)"), four).data(),
                      npy(header("'<f4'", "False", "(4,)"), four).size(), "ok")
                .numel(),
            4);
  struct Case {
    std::string dict, data, message;
  };
  const std::vector<Case> cases = {
      {header("'<f4'", "False", "(5,)"), four, "truncated"},
      {header("'<f4'", "False", "(4)"), four, "not a tuple"},
      {header("'<f4'", "False", "4"), four, "no '('"},
      {header("'<f4'", "False", "(-4,)"), four, "no size"},
      {header("'<f4'", "False", "(4.0,)"), four, "not a tuple"},
      {header("'<f4'", "False", "(4,,)"), four, "no size"},
      {header("'<f4'", "False", "(2, 2"), four, "no size"},
      {header("'<f4'", "False", "(99999999999999999999,)"), four, "beyond 2^63"},
      {header("'<f4'", "False", "(4611686018427387904, 4)"), four, "overflows"},
      {header("'<f4'", "False", "(0, 4611686018427387904, 4)"), "", "overflows"},
      {header("'<f4'", "False", "(1, 1, 1, 1, 1, 1, 1, 1, 4)"), four, "more than 8"},
      {header("'<f4'", "Maybe", "(4,)"), four, "neither as True"},
      {header("'<f4'", "0", "(4,)"), four, "neither as True"},
      {header("'|O'", "False", "(4,)"), four, "Python objects"},
      {header("'<f16'", "False", "(1,)"), four, "which Tenrec has not"},
      {header("''", "False", "(4,)"), four, "which Tenrec has not"},
      {header("'\\x3cf4'", "False", "(4,)"), four, "strange character"},
      {header("'<f4", "False", "(4,)"), four, "no"},
      {header(concat("'", std::string(100, 'f'), "'"), "False", "(4,)"), four, "more than 64"},
      {header("__import__('os')", "False", "(4,)"), four, "no string"},
      {header("'|b1'", "False", "(16,)"), std::string(15, '\1') + '\7', "neither 0 nor 1"},
      {"{'descr': '<f4', 'shape': (4,), }", four, "lacks fortran_order"},
      {"{'descr': '<f4', 'fortran_order': False}", four, "lacks shape"},
      {"{'fortran_order': False, 'shape': (4,)}", four, "lacks descr"},
      {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (4,)}", four, "twice 'descr'"},
      {"{'evil': '<f4', 'fortran_order': False, 'shape': (4,)}", four, "unknown key 'evil'"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (4,)} + 1", four, "goes on"},
      {"[]", four, "no '{'"},
      {"", four, "no '{'"},
  };
  for (const Case& c : cases) EXPECT_CONTAINS(npy_refusal(npy(c.dict, c.data)), c.message);
  EXPECT_CONTAINS(npy_refusal(std::string("\x93NUMPZ\x01\x00", 8)), "is not an npy file");
  EXPECT_CONTAINS(npy_refusal(std::string("\x93NUMPY\x04\x00", 8)), "version 4.0");
  EXPECT_CONTAINS(npy_refusal(std::string("\x93NUMPY\x02\x00\xff\xff\xff\x7f", 12)), "claims 2147483647 bytes");
}

// --- printing -------------------------------------------------------------------------------------------------------

template <class T>
Tensor of(const std::vector<T>& values, const Shape& shape, DType dtype) {
  return from_data(values.data(), shape, dtype);
}

TEST(Print, FollowsPyTorch) {
  EXPECT_EQ(to_string(of<float>({1, 2, 3, 4}, {2, 2}, f32)), "tensor([[1., 2.],\n        [3., 4.]])");
  EXPECT_EQ(to_string(of<float>({0.5f, -12.25f}, {2}, f32)), "tensor([  0.5000, -12.2500])");
  EXPECT_EQ(to_string(of<float>({1e-5f, 1}, {2}, f32)), "tensor([1.0000e-05, 1.0000e+00])");
  EXPECT_EQ(to_string(of<float>({3.14159f}, {}, f32)), "tensor(3.1416)");
  EXPECT_EQ(to_string(of<double>({1, INFINITY, NAN}, {3}, f64)), "tensor([ 1., inf, nan], dtype=f64)");
  EXPECT_EQ(to_string(of<double>({1.5, INFINITY, -INFINITY}, {3}, f64)), "tensor([1.5000,    inf,   -inf], dtype=f64)");
  EXPECT_EQ(to_string(of<float>({0, 0}, {2}, f32)), "tensor([0., 0.])");
  EXPECT_EQ(to_string(of<int64_t>({1, -20}, {2}, i64)), "tensor([  1, -20])");
  EXPECT_EQ(to_string(of<int32_t>({7}, {1}, i32)), "tensor([7], dtype=i32)");
  EXPECT_EQ(to_string(of<uint8_t>({1, 0}, {2}, boolean)), "tensor([ true, false])");
  EXPECT_EQ(to_string(of<float>({}, {0}, f32)), "tensor([])");
  EXPECT_EQ(to_string(of<float>({}, {2, 0}, f32)), "tensor([], size=[2, 0])");
  EXPECT_EQ(to_string(Tensor()), "tensor(undefined)");
  EXPECT_EQ(to_string(of<float>({1, 2}, {1, 1, 2}, f32)), "tensor([[[1., 2.]]])");
  EXPECT_EQ(to_string(of<float>({1, 2}, {2, 1, 1}, f32)), "tensor([[[1.]],\n\n        [[2.]]])");
}

TEST(Print, WrapsAndShortens) {
  std::vector<int64_t> many(1001);
  for (size_t i = 0; i < many.size(); ++i) many[i] = int64_t(i);
  EXPECT_EQ(to_string(of(many, {1001}, i64)), "tensor([   0,    1,    2,  ...,  998,  999, 1000])");
  EXPECT_EQ(to_string(of(many, {7, 143}, i64)),
            "tensor([[   0,    1,    2,  ...,  140,  141,  142],\n"
            "        [ 143,  144,  145,  ...,  283,  284,  285],\n"
            "        [ 286,  287,  288,  ...,  426,  427,  428],\n"
            "        ...,\n"
            "        [ 572,  573,  574,  ...,  712,  713,  714],\n"
            "        [ 715,  716,  717,  ...,  855,  856,  857],\n"
            "        [ 858,  859,  860,  ...,  998,  999, 1000]])");
  many.resize(20);
  EXPECT_EQ(to_string(of(many, {20}, i64)),
            "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n        18, 19])");
  std::stringstream out;
  out << of<float>({1}, {1}, f32) << ' ' << Shape{2, 3} << ' ' << bf16;
  EXPECT_EQ(out.str(), "tensor([1.]) [2, 3] bf16");
}

TEST(Print, ShowsStridedTensors) {
  const Tensor base = of<float>({1, 2, 3, 4, 5, 6}, {2, 3}, f32);
  EXPECT_EQ(to_string(detail::make_view(base, {3, 2}, {1, 3}, 0)),
            "tensor([[1., 4.],\n        [2., 5.],\n        [3., 6.]])");
}

}  // namespace
}  // namespace tenrec
