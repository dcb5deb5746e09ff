#include "tenrec/core/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

#include "tenrec/core/error.h"

namespace tenrec {
namespace {

struct Threads {
  int before = num_threads();
  explicit Threads(int n) { set_num_threads(n); }
  ~Threads() { set_num_threads(before); }
};

TEST(ParallelFor, RunsEveryChunkOnce) {
  for (int threads : {1, 2, 3, 8}) {
    const Threads guard(threads);
    for (int64_t n : {0, 1, 7, 64, 1000}) {
      for (int64_t grain : {1, 3, 64, 5000}) {
        std::vector<std::atomic<int>> seen(static_cast<size_t>(n));
        std::atomic<int> misplaced{0};
        parallel_for(n, grain, [&](int64_t begin, int64_t end) {
          misplaced += begin % grain != 0 || end != std::min(n, begin + grain);
          for (int64_t i = begin; i < end; ++i) ++seen[size_t(i)];
        });
        for (const auto& count : seen) ASSERT_EQ(count, 1);
        ASSERT_EQ(misplaced, 0);
      }
    }
  }
}

TEST(ParallelFor, ThrowsOnTheCallersThread) {
  const Threads guard(4);
  for (int round = 0; round < 50; ++round) {
    EXPECT_THROW(parallel_for(100, 1,
                              [](int64_t begin, int64_t) {
                                if (begin == 42) fail<ValueError>("chunk 42");
                              }),
                 ValueError);
    std::atomic<int64_t> sum{0};
    parallel_for(100, 1, [&](int64_t begin, int64_t) { sum += begin; });
    EXPECT_EQ(sum, 4950);
  }
}

TEST(ParallelFor, NestedAndFromSeveralThreads) {
  const Threads guard(3);
  std::atomic<int64_t> total{0};
  std::vector<std::thread> callers;
  for (int k = 0; k < 4; ++k)
    callers.emplace_back([&] {
      for (int i = 0; i < 100; ++i)
        parallel_for(8, 1, [&](int64_t, int64_t) { parallel_for(4, 1, [&](int64_t, int64_t) { ++total; }); });
    });
  for (std::thread& t : callers) t.join();
  EXPECT_EQ(total, 4 * 100 * 8 * 4);
}

TEST(ParallelFor, ManyShortLoops) {
  const Threads guard(2);
  std::atomic<int64_t> total{0};
  for (int i = 0; i < 20000; ++i) parallel_for(2, 1, [&](int64_t, int64_t) { ++total; });
  EXPECT_EQ(total, 40000);
}

TEST(Threads, LimitsAreChecked) {
  EXPECT_THROW(set_num_threads(0), ValueError);
  EXPECT_THROW(set_num_threads(1000), ValueError);
  const Threads guard(2);
  EXPECT_THROW(parallel_for(4, 1, [](int64_t, int64_t) { set_num_threads(1); }), ValueError);
}

}  // namespace
}  // namespace tenrec
