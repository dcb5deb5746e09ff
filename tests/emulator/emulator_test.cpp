// The emulator itself: right kernels give right results in every order, planted faults are found.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <numeric>
#include <set>

#include "emulator/test_kernels.cuh"

namespace tenrec {
namespace {

using simt::KernelError;
using simt::Order;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kAddressSanitizer = true;  // ends the process where the emulator would have thrown
#else
constexpr bool kAddressSanitizer = false;
#endif
#if defined(__SANITIZE_THREAD__)
constexpr bool kThreadSanitizer = true;  // reports the planted races, and so ends the process too
extern "C" const char* __tsan_default_options() { return "halt_on_error=1"; }
#else
constexpr bool kThreadSanitizer = false;
#endif

// A block of device memory, filled from the host or poisoned.
template <class T>
class Device {
 public:
  explicit Device(size_t n) : n_(n), data_(static_cast<T*>(simt::allocate(n * sizeof(T)))) {}
  explicit Device(const std::vector<T>& host) : Device(host.size()) {
    simt::copy_in(data_, host.data(), n_ * sizeof(T));
  }
  ~Device() {
    if (data_) simt::deallocate(data_);
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  T* data() const { return data_; }
  std::vector<T> host() const {
    std::vector<T> out(n_);
    simt::copy_out(out.data(), data_, n_ * sizeof(T));
    return out;
  }

 private:
  size_t n_;
  T* data_;
};

template <class F>
void in_every_order(F&& f) {
  const simt::Options before = simt::options();
  for (const Order order : {Order::forward, Order::reverse, Order::random})
    for (const uint64_t seed : {1, 2, 3}) {
      if (order != Order::random && seed > 1) continue;
      simt::options() = {.order = order, .seed = seed};
      f();
    }
  simt::options() = before;
}

// The message of the KernelError that f throws; empty if it throws none.
template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const KernelError& e) {
    return e.what();
  }
  return "";
}
#define EXPECT_FOUND(call, part)                             \
  do {                                                       \
    const std::string found = message_of([&] { call; });     \
    EXPECT_NE(found.find(part), std::string::npos) << found; \
  } while (false)
// What AddressSanitizer finds first where it is at work.
#define EXPECT_CAUGHT(call, part)             \
  do {                                        \
    if (kAddressSanitizer)                    \
      EXPECT_DEATH(call, "AddressSanitizer"); \
    else                                      \
      EXPECT_FOUND(call, part);               \
  } while (false)

std::vector<float> numbers(int64_t n) {
  std::vector<float> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = float(int(i * 37 % 101) - 50);
  return x;
}

constexpr int64_t kSizes[] = {1, 31, 32, 33, 255, 256, 257, 1000};

TEST(Emulator, GridStrideLoop) {
  in_every_order([] {
    for (const int64_t n : kSizes) {
      const std::vector<float> x = numbers(n);
      const Device<float> in(x), out(x.size());
      TENREC_LAUNCH(cuda::square, 3, 64, 0, nullptr, in.data(), out.data(), n);
      const std::vector<float> y = out.host();
      for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i], x[i] * x[i]) << i << " of " << n;
    }
  });
}

TEST(Emulator, BlockReduceHasTheSameBitsInEveryOrder) {
  for (const int64_t n : kSizes) {
    std::vector<float> x(static_cast<size_t>(n));
    for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(float(i)) * 1e3f;
    const Device<float> in(x);
    std::set<std::vector<float>> seen;
    in_every_order([&] {
      const Device<float> sums(2);
      TENREC_LAUNCH(cuda::block_sums, 2, 256, 0, nullptr, in.data(), sums.data(), n);
      seen.insert(sums.host());
    });
    EXPECT_EQ(seen.size(), 1u) << n;
    const double exact = std::accumulate(x.begin(), x.end(), 0.0);
    EXPECT_NEAR(double((*seen.begin())[0]) + double((*seen.begin())[1]), exact, 1e-2) << n;
  }
}

TEST(Emulator, BlockScan) {
  in_every_order([] {
    for (const int n : {1, 32, 33, 255, 256}) {
      std::vector<int64_t> x(256);
      std::iota(x.begin(), x.end(), -7);
      const Device<int64_t> in(x), out(x.size());
      TENREC_LAUNCH(cuda::scan, 1, 256, 0, nullptr, in.data(), out.data(), n);
      const std::vector<int64_t> y = out.host();
      int64_t sum = 0;
      for (int i = 0; i < n; ++i) ASSERT_EQ(y[size_t(i)], sum += x[size_t(i)]) << i << " of " << n;
    }
  });
}

TEST(Emulator, DynamicSharedMemoryVotesAndAtomics) {
  in_every_order([] {
    std::vector<int> x(192);
    std::iota(x.begin(), x.end(), -100);
    const Device<int> in(x), out(x.size());
    TENREC_LAUNCH(cuda::turn_round, 3, 64, 64 * sizeof(int), nullptr, in.data(), out.data());
    const std::vector<int> y = out.host();
    for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i], x[i / 64 * 64 + 63 - i % 64]);
    const Device<unsigned> votes(std::vector<unsigned>{0});
    TENREC_LAUNCH(cuda::count_votes, 1, 192, 0, nullptr, in.data(), votes.data());
    EXPECT_EQ(votes.host()[0], 91u);
  });
}

TEST(Emulator, ThreadsMayLeaveBeforeABarrier) {
  in_every_order([] {
    std::vector<int> x(256);
    std::iota(x.begin(), x.end(), 0);
    const Device<int> in(x), out(x.size());
    TENREC_LAUNCH(cuda::leave_early, 1, 256, 0, nullptr, in.data(), out.data(), 100);
    for (int i = 0; i < 100; ++i) ASSERT_EQ(out.host()[size_t(i)], 99 - i);
  });
}

TEST(Emulator, SixteenBitTypesAndWideAccess) {
  std::vector<__nv_bfloat16> x;
  for (int i = 0; i < 40; ++i) x.push_back(__float2bfloat16(float(i)));
  const Device<__nv_bfloat16> in(x), out(x.size());
  TENREC_LAUNCH(cuda::halve, 1, 32, 0, nullptr, in.data(), out.data(), int64_t(x.size()));
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(__bfloat162float(out.host()[i]), float(i) / 2);
  const std::vector<float> wide = numbers(64);
  const Device<float> from(wide), to(wide.size());
  TENREC_LAUNCH(cuda::copy16, 1, 8, 0, nullptr, from.data(), to.data(), int64_t{64});
  EXPECT_EQ(to.host(), wide);
}

// Small whole numbers, so that sums are exact in any order.
template <class T>
void check_products() {
  std::vector<T> a(256), b(256);
  for (int i = 0; i < 256; ++i) {
    a[size_t(i)] = T(float(i * 7 % 13 - 6));
    b[size_t(i)] = T(float(i * 5 % 11 - 5));
  }
  const Device<T> left(a), right(b);
  const auto check = [&](const Device<float>& y, bool transposed) {
    const std::vector<float> got = y.host();
    for (size_t i = 0; i < 16; ++i)
      for (size_t j = 0; j < 16; ++j) {
        float sum = 0;
        for (size_t k = 0; k < 16; ++k) sum += float(a[i * 16 + k]) * float(b[transposed ? j * 16 + k : k * 16 + j]);
        ASSERT_EQ(got[i * 16 + j], sum) << i << ", " << j << (transposed ? ", transposed" : "");
      }
  };
  in_every_order([&] {
    const Device<float> y(256);
    TENREC_LAUNCH((cuda::multiply_16<T, false>), 1, 32, 1024, nullptr, left.data(), right.data(), y.data());
    check(y, false);
    TENREC_LAUNCH((cuda::multiply_16<T, true>), 1, 32, 1024, nullptr, left.data(), right.data(), y.data());
    check(y, true);
  });
}
TEST(TensorCores, Products) {
  check_products<bfloat16>();
  check_products<float16>();
}
TEST(TensorCores, CopiesOf16Bytes) {
  const std::vector<float> x = numbers(16);
  const Device<float> from(x);
  in_every_order([&] {
    const Device<float> y(16);
    TENREC_LAUNCH(cuda::copy_and_wait<0>, 1, 32, 64, nullptr, from.data(), y.data());
    for (size_t i = 0; i < 16; ++i) ASSERT_EQ(y.host()[i], i < 12 ? x[i] : 0) << i;
  });
}

// --- planted faults -------------------------------------------------------------------------------------------------

// Different results in different orders.
template <class F>
bool depends_on_order(F&& run_once) {
  std::set<std::vector<int>> seen;
  in_every_order([&] { seen.insert(run_once()); });
  return seen.size() > 1;
}

// A race: ThreadSanitizer's report where that is at work, else results that differ between the orders.
template <class F>
void expect_race(F&& run_once) {
  if (kThreadSanitizer)
    EXPECT_DEATH(depends_on_order(run_once), "ThreadSanitizer: data race");
  else
    EXPECT_TRUE(depends_on_order(run_once));
}

TEST(PlantedFault, MissingBarrier) {
  expect_race([] {
    const Device<int> y(256);
    TENREC_LAUNCH(cuda::missing_barrier, 1, 256, 0, nullptr, y.data());
    return y.host();
  });
}
TEST(PlantedFault, WriteAfterReadAcrossWarps) {
  expect_race([] {
    const Device<int> y(256);
    TENREC_LAUNCH(cuda::write_after_read, 1, 256, 0, nullptr, y.data(), 3);
    return y.host();
  });
}
TEST(PlantedFault, BarrierInADivergentBranch) {
  in_every_order([] {
    const Device<int> y(32);
    EXPECT_FOUND(TENREC_LAUNCH(cuda::barrier_in_a_branch, 1, 32, 0, nullptr, y.data()), "wait at different places");
  });
}
TEST(PlantedFault, OneTooFarInGlobalMemory) {
  const Device<float> y(100);
  EXPECT_CAUGHT(TENREC_LAUNCH(cuda::one_too_far, 1, 128, 0, nullptr, y.data(), int64_t{100}),
                "next to a block of device");
}
TEST(PlantedFault, OneTooFarInSharedMemory) {
  const Device<float> y(64);
  EXPECT_CAUGHT(TENREC_LAUNCH(cuda::one_too_far_shared, 1, 64, 0, nullptr, y.data()),
                "next to the shared array 'values'");
}
TEST(PlantedFault, WrongMask) {
  in_every_order([] {
    const Device<float> y(32);
    EXPECT_FOUND(TENREC_LAUNCH(cuda::lane_out_of_mask, 1, 32, 0, nullptr, y.data()), "whose mask leaves it out");
    EXPECT_FOUND(TENREC_LAUNCH(cuda::reads_a_lane_out_of_mask, 1, 32, 0, nullptr, y.data()),
                 "which does not take part");
  });
}
TEST(PlantedFault, MaskOfLanesThatNeverCome) {
  in_every_order([] {
    const Device<float> y(32);
    EXPECT_FOUND(TENREC_LAUNCH(cuda::wrong_mask, 1, 32, 0, nullptr, y.data()), "for lanes that never come");
  });
}
TEST(PlantedFault, IndexOf32Bits) {
  const Device<float> y(64);
  const simt::Options before = simt::options();
  simt::options().blocks = {dim3(1u << 22)};  // of 2^22 + 1 blocks of 512 threads, the last: its threads begin at 2^31
  EXPECT_CAUGHT(TENREC_LAUNCH(cuda::index_of_32_bits, (1u << 22) + 1, 512, 0, nullptr, y.data(), int64_t{1} << 40),
                "next to a block of device memory");
  simt::options() = before;
}
TEST(PlantedFault, UnwrittenSharedMemory) {
  const Device<float> y(64);
  TENREC_LAUNCH(cuda::reads_unwritten_shared, 1, 64, 0, nullptr, y.data());
  EXPECT_EQ(y.host()[0], 1);
  EXPECT_TRUE(std::isnan(y.host()[40]));
}
TEST(PlantedFault, MissingTail) {
  for (const int64_t n : {32, 33}) {
    const std::vector<float> x = numbers(n);
    const Device<float> in(x), out(x.size());
    TENREC_LAUNCH(cuda::missing_tail, 1, 8, 0, nullptr, in.data(), out.data(), n);
    EXPECT_EQ(out.host() == x, n == 32);  // what was never written is NaN
  }
}
TEST(PlantedFault, UnalignedWideAccess) {
  const Device<float> x(numbers(64)), y(64);
  EXPECT_FOUND(TENREC_LAUNCH(cuda::copy16, 1, 8, 0, nullptr, x.data() + 1, y.data(), int64_t{32}),
               "not a multiple of 16");
}

TEST(PlantedFault, CopyThatIsNotWaitedFor) {
  const Device<float> from(numbers(16));
  expect_race([&] {
    const Device<float> y(16);
    TENREC_LAUNCH(cuda::copy_and_wait<1>, 1, 32, 64, nullptr, from.data(), y.data());
    std::vector<int> bits;
    for (const float v : y.host()) bits.push_back(std::bit_cast<int>(v));
    return bits;
  });
}
TEST(PlantedFault, CopyOverWhatIsStillRead) {
  std::vector<int> x(256 * 4 * 3);
  std::iota(x.begin(), x.end(), 0);
  expect_race([&] {
    const Device<int> from(x), y(256);
    TENREC_LAUNCH(cuda::copies_over_what_is_read, 1, 256, 4096, nullptr, from.data(), y.data(), 3);
    return y.host();
  });
}
TEST(PlantedFault, RowOfAMatrixAtAnOddPlace) {
  const Device<float> y(32);
  EXPECT_FOUND(TENREC_LAUNCH(cuda::row_of_a_matrix_at_an_odd_place, 1, 32, 1024, nullptr, y.data()),
               "not a multiple of 16");
}
TEST(PlantedFault, MoreSharedMemoryThanWasAllowed) {
  const Device<float> from(numbers(16)), y(16);
  const auto launch = [&] { TENREC_LAUNCH(cuda::copy_and_wait<0>, 1, 32, 64 << 10, nullptr, from.data(), y.data()); };
  EXPECT_FOUND(launch(), "cudaFuncSetAttribute must allow them first");
  const auto kernel = reinterpret_cast<const void*>(&cuda::copy_and_wait<0>);
  ASSERT_EQ(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 << 10), cudaSuccess);
  EXPECT_NO_THROW(launch());
}

// --- streams and events ---------------------------------------------------------------------------------------------

class Stream {
 public:
  Stream() { EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

// x^4 in two steps on two streams; with or without the event between them.
std::vector<int> fourth_power(bool wait) {
  const std::vector<float> x = numbers(100);
  const Device<float> in(x), squares(x.size()), out(x.size());
  const Stream first, second;
  cudaEvent_t done;
  EXPECT_EQ(cudaEventCreateWithFlags(&done, cudaEventDisableTiming), cudaSuccess);
  TENREC_LAUNCH(cuda::square, 1, 64, 0, first, in.data(), squares.data(), int64_t{100});
  cudaEventRecord(done, first);
  if (wait) cudaStreamWaitEvent(second, done, 0);
  TENREC_LAUNCH(cuda::square, 1, 64, 0, second, squares.data(), out.data(), int64_t{100});
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  cudaEventDestroy(done);
  std::vector<int> y;
  for (const float v : out.host()) y.push_back(std::isnan(v) ? -1 : int(v));
  return y;
}

TEST(Streams, AnEventOrdersThem) {
  EXPECT_FALSE(depends_on_order([] { return fourth_power(true); }));
  EXPECT_EQ(fourth_power(true)[1], 13 * 13 * 13 * 13);
}
TEST(PlantedFault, MissingEventWait) {
  EXPECT_TRUE(depends_on_order([] { return fourth_power(false); }));
}

TEST(PlantedFault, UseAfterStreamFree) {
  const auto late_write = [] {
    float* y = nullptr;
    EXPECT_EQ(cudaMallocAsync(reinterpret_cast<void**>(&y), 400, nullptr), cudaSuccess);
    const Device<float> x(numbers(100));
    std::string found;
    {
      const Stream frees, writes;
      cudaFreeAsync(y, frees);
      TENREC_LAUNCH(cuda::square, 1, 64, 0, writes, x.data(), y, int64_t{100});
      cudaDeviceSynchronize();
      found = simt::take_fault();
    }
    return found;
  };
  if (kAddressSanitizer) {
    EXPECT_DEATH(late_write(), "AddressSanitizer");
    return;
  }
  std::set<bool> found;
  in_every_order([&] { found.insert(late_write().find("after it was freed") != std::string::npos); });
  EXPECT_TRUE(found.count(true));
}

TEST(Streams, WorkWaitsUntilTheHostSynchronises) {
  const Stream stream;
  // Pinned: what is pageable goes by a copy of its own, so that it may be overwritten at once.
  float *host = nullptr, *back = nullptr;
  ASSERT_EQ(cudaMallocHost(reinterpret_cast<void**>(&host), 40), cudaSuccess);
  ASSERT_EQ(cudaMallocHost(reinterpret_cast<void**>(&back), 40), cudaSuccess);
  std::iota(host, host + 10, 0.0f);
  void* device = nullptr;
  ASSERT_EQ(cudaMalloc(&device, 40), cudaSuccess);
  int called = 0;
  cudaMemcpyAsync(device, host, 40, cudaMemcpyHostToDevice, stream);
  cudaLaunchHostFunc(
      stream, [](void* count) { ++*static_cast<int*>(count); }, &called);
  cudaMemcpyAsync(back, device, 40, cudaMemcpyDefault, stream);
  EXPECT_EQ(cudaStreamQuery(stream), cudaErrorNotReady);
  EXPECT_EQ(called, 0);
  host[3] = 99;  // too early: the copy has not been made yet
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(cudaStreamQuery(stream), cudaSuccess);
  EXPECT_EQ(called, 1);
  EXPECT_EQ(back[3], 99);
  cudaMemsetAsync(device, 0, 40, stream);
  EXPECT_EQ(cudaMemcpy(back, device, 40, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(std::vector<float>(back, back + 10), std::vector<float>(10, 0.0f));
  cudaEvent_t start, end;
  cudaEventCreateWithFlags(&start, cudaEventDefault);
  cudaEventCreateWithFlags(&end, cudaEventDefault);
  float milliseconds = -1;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, end), cudaErrorInvalidValue);
  cudaEventRecord(start, stream);
  cudaEventRecord(end, stream);
  EXPECT_EQ(cudaEventQuery(end), cudaErrorNotReady);
  EXPECT_EQ(cudaEventSynchronize(end), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, end), cudaSuccess);
  EXPECT_GE(milliseconds, 0);
  cudaEventDestroy(start);
  cudaEventDestroy(end);
  EXPECT_EQ(cudaFree(device), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(host), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(back), cudaSuccess);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);  // what the early question left behind
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST(Streams, AFaultIsReportedByEveryLaterCall) {
  const Stream stream;
  const Device<int> y(32);
  TENREC_LAUNCH(cuda::barrier_in_a_branch, 1, 32, 0, stream, y.data());
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorLaunchFailure);
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, 4), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
  EXPECT_NE(simt::take_fault().find("wait at different places"), std::string::npos);
  EXPECT_EQ(cudaMalloc(&p, 4), cudaSuccess);
  EXPECT_EQ(cudaFree(p), cudaSuccess);
}

TEST(Streams, MemoryEnds) {
  simt::set_memory_limit(1000);
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, 1001), cudaErrorMemoryAllocation);
  size_t free = 0, total = 0;
  EXPECT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  EXPECT_EQ(total, 1000u);
  simt::set_memory_limit(size_t(4) << 30);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&p, 1001), cudaSuccess);
  EXPECT_EQ(cudaFree(p), cudaSuccess);
}

TEST(Emulator, RefusesWhatNoDeviceTakes) {
  const Device<float> y(4);
  EXPECT_FOUND(TENREC_LAUNCH(cuda::one_too_far, 1, 1025, 0, nullptr, y.data(), int64_t{0}), "at most 1024 threads");
  EXPECT_FOUND(TENREC_LAUNCH(cuda::one_too_far, dim3(1, 70000), 1, 0, nullptr, y.data(), int64_t{0}), "65535");
  EXPECT_FOUND(TENREC_LAUNCH(cuda::one_too_far, 0, 1, 0, nullptr, y.data(), int64_t{0}), "empty grid");
  EXPECT_FOUND(TENREC_LAUNCH(cuda::one_too_far, 1, 1, 1 << 20, nullptr, y.data(), int64_t{0}), "227 KiB");
  EXPECT_THROW(__syncthreads(), KernelError);
}

TEST(Emulator, CopiesStayInTheirBlock) {
  const Device<float> x(numbers(10));
  std::vector<float> host(11);
  EXPECT_FOUND(simt::copy_out(host.data(), x.data(), 44), "leaves its block of 40");
  EXPECT_FOUND(simt::copy_out(host.data(), host.data(), 4), "emulator: a copy");
  EXPECT_FOUND(simt::deallocate(x.data() + 1), "no block of device memory");
}

TEST(Emulator, NothingIsLeft) { EXPECT_EQ(simt::allocated_blocks(), 0u); }

}  // namespace
}  // namespace tenrec
