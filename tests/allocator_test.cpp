#include "tenrec/core/allocator.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "tenrec/core/error.h"
#include "tenrec/core/tensor.h"

namespace tenrec {
namespace {

bool cached() {
  const char* text = std::getenv("TENREC_ALLOC");
  return !text || std::strcmp(text, "system") != 0;
}

TEST(Allocator, BlocksAreAlignedAndSeparate) {
  std::vector<std::pair<char*, size_t>> blocks;
  for (size_t bytes : {0, 1, 63, 64, 65, 1000, 1024, 1025, 4096, 5000, 32768, 32769, 100000, 3000000}) {
    auto* p = static_cast<char*>(detail::allocate(bytes));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 64, 0u) << bytes;
    std::memset(p, int(blocks.size()), bytes);
    blocks.emplace_back(p, bytes);
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    for (size_t k = 0; k < blocks[i].second; ++k) ASSERT_EQ(blocks[i].first[k], char(i));
    detail::deallocate(blocks[i].first, blocks[i].second);
  }
}

TEST(Allocator, SteadyStateAsksTheSystemForNothing) {
  if (!cached()) GTEST_SKIP() << "TENREC_ALLOC=system turns the cache off";
  const auto step = [] {
    std::vector<Tensor> keep;
    for (int64_t n : {1, 10, 1000, 100000, 3000000}) keep.push_back(empty({n}));
    for (const Tensor& t : keep) std::memset(t.data_ptr(), 0, size_t(t.numel() * 4));
  };
  step();
  const int64_t calls = memory_stats().system_calls;
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  for (int i = 0; i < 20; ++i) step();
  getrusage(RUSAGE_SELF, &after);
  EXPECT_EQ(memory_stats().system_calls, calls);
  EXPECT_LT(after.ru_minflt - before.ru_minflt, 200);  // 20 fresh copies would fault on 60,000 pages
}

// A training whose batches have many lengths asks for blocks of every size, one after the other.
TEST(Allocator, HoldsNoMoreThanTwiceWhatWasEverInUse) {
  if (!cached()) GTEST_SKIP() << "TENREC_ALLOC=system turns the cache off";
  empty_cache();
  constexpr int64_t kMost = 256 << 20, kSlack = 64 << 20;
  const int64_t before = memory_stats().reserved;
  for (int64_t bytes = 1 << 20; bytes <= kMost; bytes += 1 << 20) {
    void* block = detail::allocate(size_t(bytes));
    detail::deallocate(block, size_t(bytes));
  }
  EXPECT_GT(memory_stats().reserved - before, kMost);  // some of it waits, and not all is of one size
  EXPECT_LE(memory_stats().reserved - before, 2 * (kMost + kMost / 8) + kSlack);
  empty_cache();
}

TEST(Allocator, LimitIsATypedErrorAndRecoverable) {
  if (!cached()) GTEST_SKIP() << "TENREC_ALLOC=system turns the cache off";
  empty_cache();
  const int64_t held = memory_stats().reserved;
  set_memory_limit(held + (10 << 20));
  const int64_t live = live_tensors();
  EXPECT_THROW(empty({20 << 20}), OutOfMemoryError);
  EXPECT_EQ(live_tensors(), live);
  { const Tensor fits = empty({1 << 20}); }
  set_memory_limit(0);
  EXPECT_NO_THROW(empty({20 << 20}));
  EXPECT_THROW(set_memory_limit(-1), ValueError);
}

TEST(Allocator, CountsTensors) {
  const int64_t before = live_tensors();
  {
    const Tensor a = empty({3}), b = a, c = a.detach();  // NOLINT(performance-unnecessary-copy-initialization): counted
    EXPECT_EQ(live_tensors(), before + 2);               // b is the same tensor, c another header
  }
  EXPECT_EQ(live_tensors(), before);
}

TEST(Allocator, BlocksCrossThreads) {
  const int64_t in_use = memory_stats().in_use;
  for (int round = 0; round < 10; ++round) {
    std::vector<std::vector<void*>> made(4);
    std::vector<std::thread> threads;
    for (auto& list : made)
      threads.emplace_back([&] {
        for (size_t i = 0; i < 500; ++i) list.push_back(detail::allocate(i * 13));
      });
    for (auto& t : threads) t.join();
    threads.clear();
    for (auto& list : made)
      threads.emplace_back([&] {
        for (size_t i = 0; i < 500; ++i) detail::deallocate(list[i], i * 13);
      });
    for (auto& t : threads) t.join();
  }
  EXPECT_EQ(memory_stats().in_use, in_use);
}

TEST(Allocator, AbsurdSizesAreErrors) {
  EXPECT_THROW(empty({int64_t(1) << 62}), OutOfMemoryError);
  EXPECT_THROW(empty({int64_t(1) << 40, int64_t(1) << 40}), ShapeError);
  EXPECT_THROW(empty({-1}), ShapeError);
}

}  // namespace
}  // namespace tenrec
