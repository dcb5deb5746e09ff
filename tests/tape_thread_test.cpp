// Several threads over shared parameters, and several passes over one graph.
#include <gtest/gtest.h>

#include <thread>

#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

TEST(TapeThreads, BackwardAddsToSharedLeaves) {
  const Tensor w = ones({64}, {.dtype = f64, .requires_grad = true});
  std::vector<std::thread> threads;
  for (int k = 1; k <= 4; ++k)
    threads.emplace_back([&, k] {
      for (int i = 0; i < 50; ++i) backward(sum(tanh(w * 0.0) + w * double(k)));
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(w.grad().item<double>(63), 50 * (1 + 2 + 3 + 4) + 0.0);
}

TEST(TapeThreads, GradOverOneGraphFromManyThreads) {
  const Tensor x = full({32}, 0.5, {.dtype = f64, .requires_grad = true});
  Tensor y = x;
  for (int i = 0; i < 20; ++i) y = tanh(y) + x;
  const Tensor loss = sum(y);
  const std::vector<double> expected = grad(loss, {x}, {.retain_graph = true})[0].to_vector<double>();
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (size_t k = 0; k < 4; ++k)
    threads.emplace_back([&, k] {
      for (int i = 0; i < 20; ++i)
        wrong[k] += grad(loss, {x}, {.retain_graph = true})[0].to_vector<double>() != expected;
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, std::vector<int>(4));
}

TEST(TapeThreads, TensorsFreedByAnotherThread) {
  const int64_t before = live_tensors();
  for (int round = 0; round < 20; ++round) {
    std::vector<Tensor> made;
    std::thread producer([&] {
      const Tensor x = ones({100}, {.requires_grad = true});
      for (int i = 0; i < 50; ++i) made.push_back(x * double(i));
    });
    producer.join();
    made.clear();
  }
  EXPECT_EQ(live_tensors(), before);
}

}  // namespace
}  // namespace tenrec
