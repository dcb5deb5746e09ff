// Tensors on a device, streams and the caching allocator. Runs on any device; the emulator is one.
#include "tenrec/core/cuda.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "support/files.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using testing::message_of;

constexpr DType kAllDTypes[] = {f64, f32, bf16, f16, i64, i32, u8, boolean};

class CudaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cuda::is_available()) GTEST_SKIP() << "skipped, no cuda device";
  }
  const Device device_ = DeviceType::cuda;
};

TEST_F(CudaTest, TensorsTravelBothWays) {
  for (DType dtype : kAllDTypes) {
    const Tensor x = arange(24, {.dtype = f64}).to(dtype), there = reshape(x, {4, 6}).to(device_);
    EXPECT_EQ(to_string(there.device()), "cuda:0");
    EXPECT_TRUE(equal(reshape(there.to(kCpu), {24}), x)) << name(dtype);
    EXPECT_TRUE(equal(t(there).to(kCpu), t(reshape(x, {4, 6})))) << name(dtype);  // made contiguous there
    EXPECT_TRUE(equal(t(reshape(x, {4, 6})).to(device_).to(kCpu), t(reshape(x, {4, 6})))) << name(dtype);
    EXPECT_EQ(there.item<double>(2, 3), dtype == boolean ? 1 : 15) << name(dtype);
    EXPECT_EQ(there[3].to_vector<double>(), reshape(x, {4, 6})[3].to_vector<double>()) << name(dtype);
  }
  EXPECT_EQ(empty({0, 3}).to(device_).to(kCpu).numel(), 0);
  const Tensor x = tensor({1., 2.}, {.device = device_});
  EXPECT_TRUE(x.to(device_).raw() == x.raw()) << "nothing changes, so it is the same tensor";
  EXPECT_EQ(to_string(x.to(kCpu)), "tensor([1., 2.])");
  EXPECT_EQ(to_string(x), "tensor([1., 2.], device=cuda:0)");
}

TEST_F(CudaTest, GradientsTravelBack) {
  const Tensor x = tensor({1., 2., 3.}, {.requires_grad = true});
  const Tensor y = x.to(device_) * 2.0;
  backward((y * y).to(kCpu)[1]);
  EXPECT_TRUE(x.grad().device().is_cpu());
  EXPECT_EQ(x.grad().to_vector<double>(), (std::vector<double>{0, 16, 0}));
}

TEST_F(CudaTest, DevicesAreNotMixed) {
  const Tensor here = ones({2, 2}), there = ones({2, 2}, {.device = device_});
  const auto refused = [](const auto& call) {
    EXPECT_NE(message_of<DeviceError>(call).find("cuda:0"), std::string::npos) << message_of<DeviceError>(call);
  };
  refused([&] { here + there; });
  refused([&] { matmul(here, there); });
  refused([&] { cat({here, there}, 0); });
  refused([&] { where(here > 0, there, there); });
  refused([&] { mse_loss(here, there); });
  refused([&] { there.item<double>(0, 0), gather(here, 0, zeros({2, 2}, {.dtype = i64, .device = device_})); });
  EXPECT_NE(message_of<DeviceError>([] { ones({2}, {.device = Device("cuda:7")}); }).find("no device cuda:7"),
            std::string::npos);
}

TEST_F(CudaTest, CopiesCrossDevices) {
  const Tensor x = zeros({3}, {.device = device_});
  copy_(x, tensor({1., 2., 3.}));
  EXPECT_EQ(x.to_vector<double>(), (std::vector<double>{1, 2, 3}));
  const Tensor y = zeros({3}, {.dtype = i64});
  copy_(y, x);
  EXPECT_EQ(y.to_vector<int64_t>(), (std::vector<int64_t>{1, 2, 3}));
}

TEST_F(CudaTest, TheDefaultDeviceIsWhereNewTensorsGo) {
  set_default_device(device_);
  const Tensor a = ones({2}), b = tensor({1., 2.}), c = full({2}, 3), d = from_vector<float>({5, 6}, {2});
  set_default_device(kCpu);
  for (const Tensor& x : {a, b, c, d}) EXPECT_TRUE(x.device().is_cuda());
  EXPECT_EQ((a + b + c + d).to_vector<double>(), (std::vector<double>{10, 12}));
  EXPECT_TRUE(ones({2}).device().is_cpu());
}

// Losses of 20 steps of a small convolutional network on digits, and its weights after them.
std::vector<double> train_on(Device device) {
  const ImageDataset images = digits(Split::train, kDigitSeed, 160);
  DataLoader loader(images, {.batch_size = 8, .shuffle = true, .seed = 5});
  manual_seed(5);
  Sequential net(Conv2d(1, 4, 5, {.stride = 2, .bias = false}), BatchNorm2d(4), ReLU(), MaxPool2d(2), Flatten(),
                 Dropout(0.2), Linear(144, 10));
  to(net, device);
  Adam optimizer(parameters(net), {.lr = 1e-2});
  std::vector<double> out;
  for (const Example& prepared : loader) {
    const Example batch = prepared.to(device);
    const Tensor loss = cross_entropy(net(batch.input()), batch.target());
    optimizer.zero_grad();
    backward(loss);
    optimizer.step();
    out.push_back(loss.item<double>());
  }
  for (const Tensor& w : parameters(net))
    for (double v : w.detach().to_vector<double>()) out.push_back(v);
  return out;
}

TEST_F(CudaTest, TrainingAgreesWithTheCpu) {
  const std::vector<double> here = train_on(kCpu), there = train_on(device_), again = train_on(device_);
  ASSERT_EQ(here.size(), there.size());
  for (size_t i = 0; i < here.size(); ++i)
    EXPECT_NEAR(there[i], here[i], 1e-4 * std::max(1.0, std::abs(here[i]))) << (i < 20 ? "loss " : "weight ") << i;
  EXPECT_EQ(there, again) << "two runs on the device differ";
  EXPECT_LT(there[19], there[0]);
}

// --- the allocator ---------------------------------------------------------------------------------------------------

class CudaAllocator : public CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    if (IsSkipped()) return;
    const char* mode = std::getenv("TENREC_ALLOC");
    if (mode && std::strcmp(mode, "system") == 0) GTEST_SKIP() << "skipped, TENREC_ALLOC=system has no cache";
  }
  Tensor block(int64_t bytes) const { return empty({bytes}, {.dtype = u8, .device = device_}); }
};

TEST_F(CudaAllocator, AStepThatRepeatsAsksForNothing) {
  const auto step = [&] {
    const Tensor x = block(3 << 20), y = block(700), z = block(1 << 20);
    const Tensor sum = y + y;
  };
  step();
  const int64_t calls = cuda::memory_stats().system_calls, in_use = cuda::memory_stats().in_use;
  for (int i = 0; i < 20; ++i) step();
  EXPECT_EQ(cuda::memory_stats().system_calls, calls);
  EXPECT_EQ(cuda::memory_stats().in_use, in_use);
}

TEST_F(CudaAllocator, BlocksAreSplitAndMergedAgain) {
  cuda::empty_cache();
  const int64_t reserved = cuda::memory_stats().reserved;
  {
    // Six blocks of 3 MiB share a segment of 20 MiB; freed, they make room for one of 18.
    std::vector<Tensor> six;
    for (int i = 0; i < 6; ++i) six.push_back(block(3 << 20));
    EXPECT_EQ(cuda::memory_stats().reserved - reserved, 20 << 20);
    for (size_t i : {1, 3, 5, 0, 4, 2}) six[i] = Tensor();
    const Tensor one = block(18 << 20);
    EXPECT_EQ(cuda::memory_stats().reserved - reserved, 20 << 20);
  }
  cuda::empty_cache();
  EXPECT_EQ(cuda::memory_stats().reserved, reserved);
}

TEST_F(CudaAllocator, BlocksDoNotOverlapAndAreAligned) {
  std::vector<Tensor> blocks;
  std::vector<std::pair<char*, char*>> ranges;
  for (int64_t bytes : {1, 511, 512, 513, 70'000, 1 << 20, (1 << 20) + 1, 5 << 20, 0}) {
    blocks.push_back(block(bytes));
    auto* begin = static_cast<char*>(blocks.back().data_ptr());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(begin) % 256, 0u);
    for (const auto& [from, to] : ranges) EXPECT_TRUE(begin + bytes <= from || begin >= to);
    ranges.emplace_back(begin, begin + bytes);
  }
}

TEST_F(CudaAllocator, WantOfMemoryIsAnErrorThatNamesTheHoldersAndPasses) {
  cuda::empty_cache();
  const MemoryStats before = cuda::memory_stats();
  cuda::set_memory_limit(before.reserved + (64 << 20));
  {
    const Tensor large = block(40 << 20), small = block(100);
    const std::string message = message_of<OutOfMemoryError>([&] { block(30 << 20); });
    EXPECT_NE(message.find("30 MiB asked for"), std::string::npos) << message;
    EXPECT_NE(message.find("the largest blocks: 40 MiB"), std::string::npos) << message;
  }
  EXPECT_EQ(cuda::memory_stats().in_use, before.in_use);
  { const Tensor fits = block(60 << 20); }  // what is cached is given back to make room
  cuda::set_memory_limit(0);
  EXPECT_NO_THROW(block(100 << 20));
}

struct Hoarder : Module {
  Tensor operator()() {
    const ModuleScope scope(*this);
    return empty({41 << 20}, {.dtype = u8, .device = DeviceType::cuda});
  }
  void visit(Visitor&) override {}
};

TEST_F(CudaAllocator, AnErrorNamesTheModuleThatHoldsTheMemory) {
  cuda::empty_cache();
  cuda::set_memory_limit(cuda::memory_stats().reserved + (64 << 20));
  Hoarder hoarder;
  const Tensor held = hoarder();
  const std::string message = message_of<OutOfMemoryError>([&] { block(30 << 20); });
  EXPECT_NE(message.find("41 MiB of Hoarder"), std::string::npos) << message;
  cuda::set_memory_limit(0);
}

// --- streams ---------------------------------------------------------------------------------------------------------

TEST_F(CudaTest, WorkOfOneStreamComesInOrder) {
  const Stream side = cuda::new_stream();
  Tensor x;
  {
    const cuda::StreamScope scope(side);
    EXPECT_EQ(cuda::current_stream().handle, side.handle);
    x = zeros({1000}, {.device = device_});
    for (int i = 0; i < 10; ++i) x = x + 1.0;
    EXPECT_EQ(x.item<double>(999), 10);
  }
  EXPECT_NE(cuda::current_stream().handle, side.handle);
}

TEST_F(CudaTest, TheTimerMeasuresWhatLiesBetweenItsMarks) {
  EXPECT_GE(cuda::l2_bytes(), 1);
  const Tensor x = ones({1 << 12}, {.device = device_});
  cuda::Timer outer, inner;
  outer.start();
  Tensor y = x + 1.0;
  inner.start();
  for (int i = 0; i < 8; ++i) y = y + 1.0;
  inner.stop();
  y = y + 1.0;
  outer.stop();
  EXPECT_GT(inner.microseconds(), 0);
  EXPECT_GE(outer.microseconds(), inner.microseconds());
  EXPECT_EQ(y.item<double>(5), 11);
}

// A block freed while another stream still reads it must not be given to the next who asks.
TEST_F(CudaTest, AFreedBlockWaitsForOtherStreams) {
  const Stream side = cuda::new_stream();
  for (int round = 0; round < 20; ++round) {
    Tensor x = full({5000}, 1, {.device = device_}), y;
    cuda::wait(side, cuda::current_stream());
    {
      const cuda::StreamScope scope(side);
      y = x * 3.0;
    }
    x = Tensor();
    const Tensor next = full({5000}, 7, {.device = device_});  // of x's size
    cuda::wait(cuda::current_stream(), side);
    const Tensor total = y + next;
    const std::vector<double> values = total.to_vector<double>();
    for (double v : values) ASSERT_EQ(v, 10) << "round " << round;
  }
}

TEST_F(CudaTest, PinnedMemoryIsNotReusedWhileACopyMayReadIt) {
  const Tensor x = arange(1000, {.dtype = f64});
  EXPECT_FALSE(cuda::is_pinned(x));
  std::vector<Tensor> copies;
  for (int i = 0; i < 20; ++i) {
    const Tensor pinned = cuda::pin_memory(x + double(i));
    EXPECT_TRUE(cuda::is_pinned(pinned));
    copies.push_back(pinned.to(device_, true));  // and the pinned one is freed at once
  }
  for (int i = 0; i < 20; ++i) EXPECT_EQ(copies[size_t(i)].item<double>(7), 7 + i);
  const Tensor pinned = cuda::pin_memory(x), there = pinned.to(device_);
  pinned.data<double>()[3] = -1;  // a blocking copy is done
  EXPECT_EQ(there.item<double>(3), 3);
  EXPECT_THROW(cuda::pin_memory(there), DeviceError);
  EXPECT_THROW(cuda::pin_memory(t(reshape(x, {10, 100}))), ValueError);
}

// Whichever algorithm and layout is the quickest; the emulator has one of them only.
TEST_F(CudaTest, ATunedConvolutionComesToTheSame) {
  const testing::TempFolder folder;
  const Tensor x = randn({4, 16, 14, 14}), weight = randn({32, 16, 3, 3}) * 0.1, bias = randn({32}),
               direction = randn({4, 32, 14, 14});
  const auto results = [&](DType dtype) {
    const auto leaf = [&](const Tensor& it) { return it.to(device_).to(dtype).set_requires_grad(true); };
    const std::vector<Tensor> leaves{leaf(x), leaf(weight), leaf(bias)};
    const Tensor y = conv2d(leaves[0], leaves[1], leaves[2], {.padding = 1});
    std::vector<Tensor> all = grad(sum(y * direction.to(device_).to(dtype)), leaves);
    all.push_back(y.detach());
    for (Tensor& it : all) it = it.to(kCpu).to(f64);
    return all;
  };
  for (DType dtype : {f32, bf16, f16}) {
    const std::vector<Tensor> plain = results(dtype);
    cuda::tune(folder / "tuning.json");
    const std::vector<Tensor> tuned = results(dtype);
    cuda::stop_tuning();
    // An algorithm may multiply in another order, or in the domain of Winograd's.
    const double tolerance = dtype == f32 ? 1e-4 : dtype == f16 ? 1e-2 : 5e-2;
    for (size_t i = 0; i < plain.size(); ++i)
      EXPECT_LE(max(abs(tuned[i] - plain[i])).item<double>(), tolerance * max(abs(plain[i])).item<double>())
          << name(dtype) << " " << i;
  }
}

// Readers, loaders and transforms write through host pointers, so they must not follow the device of new tensors.
TEST_F(CudaTest, DataIsPreparedOnTheCpu) {
  set_default_device(device_);
  const auto data = std::make_shared<const ImageDataset>(shapes(Split::test, kShapeSeed, 8));
  const Transform moved = compose({random_crop(2), random_flip(), cutout(4), color_jitter({.brightness = 0.1f})});
  DataLoader plain(digits(Split::test, kDigitSeed, 8), {.batch_size = 4});
  DataLoader mixed(data, {.batch_size = 4, .transform = mixup(data, {.classes = 10, .transform = moved})});
  for (DataLoader* loader : {&plain, &mixed}) {
    const Example batch = *loader->next();
    for (const Tensor& t : batch.tensors) EXPECT_TRUE(t.device().is_cpu());
  }
  const Tensor grid = make_grid(ones({2, 1, 3, 3}));
  EXPECT_TRUE(grid.device().is_cpu() && resize_image(grid, 4, 4).device().is_cpu());
  set_default_device(kCpu);
}

TEST(CudaOff, ThereIsNoDeviceAndItIsSaid) {
  if (cuda::is_available()) GTEST_SKIP() << "skipped, there is a cuda device";
  EXPECT_EQ(cuda::device_count(), 0);
  EXPECT_NE(message_of<DeviceError>([] { ones({2}, {.device = DeviceType::cuda}); }).find("no cuda device"),
            std::string::npos);
  EXPECT_THROW(ones({2}).to(DeviceType::cuda), DeviceError);
  EXPECT_THROW(cuda::synchronize(), DeviceError);
  EXPECT_THROW(cuda::memory_stats(), DeviceError);
}

}  // namespace
}  // namespace tenrec
