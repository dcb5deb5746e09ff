// What stands around the vendor libraries, with the emulator's references in their place: tuning and its file, sorts
// and scans of one long row, ranges for profilers.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "emulator/ranges.h"
#include "op_cases/op_case.h"
#include "support/files.h"
#include "tenrec/kernels/cuda/cub.h"
#include "tenrec/kernels/cuda/tuning.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using testing::message_of;
using Json = nlohmann::json;

const Device kDevice = DeviceType::cuda;

Json read_json(const std::string& file) {
  const testing::Bytes bytes = testing::slurp(file);
  return Json::parse(bytes.begin(), bytes.end());
}
void write_json(const std::string& file, const Json& json) {
  const std::string text = json.dump();
  testing::spit(file, {text.begin(), text.end()});
}

class Tuning : public ::testing::Test {
 protected:
  void SetUp() override { manual_seed(4); }
  void TearDown() override { cuda::stop_tuning(); }
  // Two products that native and Eigen's kernels sum in different orders.
  std::vector<Tensor> products() const {
    return {matmul(a_, b_).to(kCpu), matmul(t(b_), t(a_)).to(kCpu), linear(a_, t(b_), bias_).to(kCpu)};
  }
  // All choices of the file become `name`.
  void choose_everywhere(const char* name) const {
    Json json = read_json(file_);
    for (auto& choice : json["choices"]) choice = name;
    write_json(file_, json);
  }
  static void expect_equal(const std::vector<Tensor>& got, const std::vector<Tensor>& expected) {
    for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(equal(got[i], expected[i])) << "product " << i;
  }

  const testing::TempFolder folder_;
  const std::string file_ = folder_ / "tuning.json";
  const Tensor a_ = randn({37, 700}).to(kDevice), b_ = randn({700, 45}).to(kDevice), bias_ = randn({45}).to(kDevice);
};

TEST_F(Tuning, WritesChoicesAndReplaysThem) {
  cuda::tune(file_);
  const std::vector<Tensor> tuned = products();
  const Json written = read_json(file_);
  EXPECT_EQ(written["choices"].size(), 3u) << written.dump(1);
  EXPECT_CONTAINS(written["device"].get<std::string>(), "emulator");
  for (const auto& [key, choice] : written["choices"].items())
    EXPECT_TRUE(choice == "tenrec" || choice == "eigen") << key << ": " << choice;
  expect_equal(products(), tuned);
  cuda::load_tuning(file_);
  expect_equal(products(), tuned);
  cuda::tune(file_);  // what the file says holds
  expect_equal(products(), tuned);
  EXPECT_EQ(read_json(file_), written);
}

TEST_F(Tuning, TheFileSaysWhichKernelRuns) {
  const std::vector<Tensor> plain = products();
  cuda::tune(file_);
  products();
  choose_everywhere("tenrec");
  cuda::load_tuning(file_);
  expect_equal(products(), plain);  // the default is the first candidate
  choose_everywhere("eigen");
  cuda::load_tuning(file_);
  const std::vector<Tensor> other = products();
  expect_equal(products(), other);
  bool differs = false;
  for (size_t i = 0; i < other.size(); ++i) {
    differs = differs || !equal(other[i], plain[i]);
    EXPECT_LE(max(abs(other[i] - plain[i])).item<double>(), 1e-3);
  }
  EXPECT_TRUE(differs) << "the two candidates have the same bits, so this test shows nothing";
  cuda::stop_tuning();
  expect_equal(products(), plain);
}

TEST_F(Tuning, OnlyTuneWrites) {
  cuda::tune(file_);
  EXPECT_FALSE(std::filesystem::exists(file_)) << "nothing is known yet";
  matmul(a_, b_);
  const testing::Bytes before = testing::slurp(file_);
  cuda::load_tuning(file_);
  products();
  cuda::stop_tuning();
  products();
  EXPECT_EQ(testing::slurp(file_), before);
}

TEST_F(Tuning, ANewerGenerationMakesNewPlans) {
  const uint64_t before = cuda::tuning_generation();
  cuda::tune(file_);
  EXPECT_GT(cuda::tuning_generation(), before);
  EXPECT_TRUE(cuda::tuning_active());
  cuda::stop_tuning();
  EXPECT_FALSE(cuda::tuning_active());
}

TEST_F(Tuning, RefusesWhatItCannotUse) {
  cuda::tune(file_);
  const std::vector<Tensor> tuned = products();
  const Json good = read_json(file_);
  const auto load = [&] { cuda::load_tuning(file_); };
  const auto edited = [&](const char* field, const Json& value) {
    Json json = good;
    json[field] = value;
    write_json(file_, json);
  };
  edited("device", "another device");
  EXPECT_CONTAINS(message_of<ValueError>(load), "is for the device another device, but this is");
  EXPECT_CONTAINS(message_of<ValueError>([&] { cuda::tune(file_); }), "another device");
  edited("libraries", "cublasLt 1, cudnn 1");
  EXPECT_CONTAINS(message_of<ValueError>(load), "is for the libraries cublasLt 1, cudnn 1, but this is emulator");
  edited("format", "tenrec tuning 2");
  EXPECT_CONTAINS(message_of<IOError>(load), "not a tuning file of this version");
  edited("choices", Json::array({1, 2}));
  EXPECT_CONTAINS(message_of<IOError>(load), "no \"choices\"");
  edited("choices", {{"a", 1}});
  EXPECT_CONTAINS(message_of<IOError>(load), "the choice for \"a\" is not a name");
  Json headless = good;
  headless.erase("device");
  write_json(file_, headless);
  EXPECT_CONTAINS(message_of<IOError>(load), "no text \"device\"");
  const std::string text = good.dump();
  for (size_t size = 0; size < text.size(); size += 7) {  // cut off anywhere
    testing::spit(file_, {text.begin(), text.begin() + std::ptrdiff_t(size)});
    message_of<IOError>(load);
  }
  EXPECT_CONTAINS(message_of<IOError>([&] { cuda::load_tuning(folder_ / "nothing"); }), "nothing");
  expect_equal(products(), tuned);  // after all these nothing has changed

  write_json(file_, good);
  choose_everywhere("a kernel that has gone");
  cuda::load_tuning(file_);
  EXPECT_CONTAINS(message_of<DeviceError>([&] { matmul(a_, b_); }), "is not among the 2 kernels");
}

// --- sorts and scans of one row --------------------------------------------------------------------------------------

TEST(Cub, SortsOneLongRowAsTheCpuDoes) {
  constexpr int64_t kLong = 20'000;
  manual_seed(6);
  for (DType dtype : {f64, f32, bf16, f16, i64, i32, u8}) {
    Tensor x = (randn({kLong}) * 20.0).to(i64).to(dtype);  // many ties
    if (is_floating(dtype)) {
      const double odd[] = {std::nan(""), -0.0, 0, INFINITY, -INFINITY};
      std::vector<double> values = x.to_vector<double>();
      for (size_t i = 0; i < values.size(); i += 11) values[i] = odd[i % 5];
      x = from_vector(values, {kLong}).to(dtype);
    }
    for (bool descending : {false, true}) {
      const auto [values, indices] = sort(x, -1, descending);
      const auto [there, places] = sort(x.to(kDevice), -1, descending);
      EXPECT_TRUE(equal(places.to(kCpu), indices)) << name(dtype) << (descending ? ", falling" : "");
      EXPECT_EQ(to_string(there.to(kCpu)), to_string(values)) << name(dtype);
    }
  }
}

TEST(Cub, ScansIntegersModulo2To64) {
  const Tensor x = randint(0, int64_t(1) << 62, {3000});
  EXPECT_TRUE(equal(cumsum(x.to(kDevice), 0).to(kCpu), cumsum(x, 0)));
  EXPECT_TRUE(equal(cumsum(x.to(kDevice).to(i32), 0).to(kCpu), cumsum(x.to(i32), 0)));
}

// --- ranges ----------------------------------------------------------------------------------------------------------

struct Net : Module {
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return relu(first(x)) * 2.0;
  }
  void visit(Visitor& v) override { v("first", first); }
  Linear first{4, 3};
};

TEST(Ranges, OpsStandInsideTheirModules) {
  Net net;
  parameters(net);
  to(net, kDevice);
  const Tensor x = ones({2, 4}).to(kDevice);
  simt::take_ranges();
  net(x);
  EXPECT_TRUE(simt::take_ranges().empty()) << "off at first";
  cuda::set_profiling(true);
  net(x);
  cuda::set_profiling(false);
  const std::vector<std::string> ranges = simt::take_ranges();
  EXPECT_EQ(ranges, (std::vector<std::string>{"Net", "  first", "    linear", "  relu", "  mul"}));
  net(x);
  EXPECT_TRUE(simt::take_ranges().empty());
}

TEST(Ranges, CloseWhenAnOpThrowsAndWhenTheSwitchTurnsInside) {
  const Net broken;
  const Tensor x = ones({2, 5});
  cuda::set_profiling(true);
  EXPECT_THROW(broken(x), ShapeError);
  EXPECT_EQ(simt::take_ranges(), (std::vector<std::string>{"Net", "  Linear"}));
  {
    const ModuleScope scope(broken);
    cuda::set_profiling(false);
    ones({3}) + ones({3});
  }
  EXPECT_EQ(simt::take_ranges(), std::vector<std::string>{"Net"});
}

}  // namespace
}  // namespace tenrec
