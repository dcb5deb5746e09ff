// Graphs of the emulator: recorded work runs when it is launched, in any order that its events allow, and what CUDA
// refuses while a stream is captured is refused here.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "emulator/runtime.h"
#include "emulator/test_kernels.cuh"

namespace tenrec {
namespace {

constexpr int64_t kCount = 100;

class GraphTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (cudaStream_t* stream : {&first_, &second_})
      ASSERT_EQ(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking), cudaSuccess);
    for (float** block : {&x_, &squares_, &y_})
      ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(block), kCount * sizeof(float)), cudaSuccess);
  }
  void TearDown() override {
    for (float* block : {x_, squares_, y_}) cudaFree(block);
    for (cudaStream_t stream : {first_, second_}) cudaStreamDestroy(stream);
    simt::options() = {};
  }
  void fill(float value) {
    const std::vector<float> host(kCount, value);
    simt::copy_in(x_, host.data(), kCount * sizeof(float));
  }
  float result() {
    std::vector<float> host(kCount);
    simt::copy_out(host.data(), y_, kCount * sizeof(float));
    return host[kCount - 1];
  }
  void square(const float* from, float* to, cudaStream_t stream) {
    TENREC_LAUNCH(cuda::square, 1, 64, 0, stream, from, to, kCount);
  }
  // y = x^4, the second half on another stream.
  cudaGraphExec_t record(bool wait) {
    cudaEvent_t forked, done, joined;
    for (cudaEvent_t* event : {&forked, &done, &joined}) cudaEventCreateWithFlags(event, cudaEventDisableTiming);
    EXPECT_EQ(cudaStreamBeginCapture(first_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    cudaEventRecord(forked, first_);
    cudaStreamWaitEvent(second_, forked, 0);
    square(x_, squares_, first_);
    cudaEventRecord(done, first_);
    if (wait) cudaStreamWaitEvent(second_, done, 0);
    square(squares_, y_, second_);
    cudaEventRecord(joined, second_);
    cudaStreamWaitEvent(first_, joined, 0);
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(first_, &graph), cudaSuccess);
    size_t nodes = 0;
    cudaGraphGetNodes(graph, nullptr, &nodes);
    EXPECT_EQ(nodes, 2u);
    cudaGraphExec_t exec = nullptr;
    EXPECT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
    cudaGraphDestroy(graph);
    for (cudaEvent_t event : {forked, done, joined}) cudaEventDestroy(event);
    return exec;
  }
  std::set<float> results_in_every_order(bool wait) {
    std::set<float> out;
    const cudaGraphExec_t exec = record(wait);
    for (const simt::Order order : {simt::Order::forward, simt::Order::reverse, simt::Order::random}) {
      simt::options() = {.order = order, .seed = 3};
      fill(2);
      square(x_, squares_, first_);
      EXPECT_EQ(cudaStreamSynchronize(first_), cudaSuccess);
      fill(3);  // the graph gives 81, or 16 if it reads the squares too early
      EXPECT_EQ(cudaGraphLaunch(exec, first_), cudaSuccess);
      EXPECT_EQ(cudaStreamSynchronize(first_), cudaSuccess);
      out.insert(result());
    }
    cudaGraphExecDestroy(exec);
    return out;
  }
  cudaStream_t first_ = nullptr, second_ = nullptr;
  float *x_ = nullptr, *squares_ = nullptr, *y_ = nullptr;
};

TEST_F(GraphTest, NothingRunsUntilTheLaunchAndEachLaunchReadsAgain) {
  fill(1);
  const cudaGraphExec_t exec = record(true);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_TRUE(std::isnan(result())) << "it ran while it was recorded";
  for (float x : {2.0f, 3.0f}) {
    fill(x);
    ASSERT_EQ(cudaGraphLaunch(exec, first_), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(first_), cudaSuccess);
    EXPECT_EQ(result(), x * x * x * x);
  }
  cudaGraphExecDestroy(exec);
}

TEST_F(GraphTest, AnEventOrdersTwoStreamsAndAMissingOneIsSeen) {
  EXPECT_EQ(results_in_every_order(true), std::set<float>{81});
  EXPECT_GT(results_in_every_order(false).size(), 1u);
}

TEST_F(GraphTest, WhatACaptureForbidsEndsIt) {
  float* block = nullptr;
  const std::vector<std::function<cudaError_t()>> calls = {
      [&] { return cudaMalloc(reinterpret_cast<void**>(&block), 4); },
      [&] { return cudaFree(nullptr); },
      [&] { return cudaStreamSynchronize(first_); },
      [] { return cudaDeviceSynchronize(); },
      [&] { return cudaMemcpy(y_, x_, 4, cudaMemcpyDeviceToDevice); },
  };
  for (size_t i = 0; i < calls.size(); ++i) {
    ASSERT_EQ(cudaStreamBeginCapture(first_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    EXPECT_EQ(calls[i](), cudaErrorStreamCaptureUnsupported) << i;
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(first_, &graph), cudaErrorStreamCaptureInvalidated) << i;
    EXPECT_EQ(graph, nullptr);
  }
  cudaGetLastError();
}

TEST_F(GraphTest, AStreamThatDoesNotComeBackIsAnError) {
  cudaEvent_t forked;
  cudaEventCreateWithFlags(&forked, cudaEventDisableTiming);
  ASSERT_EQ(cudaStreamBeginCapture(first_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  cudaEventRecord(forked, first_);
  cudaStreamWaitEvent(second_, forked, 0);
  square(x_, y_, second_);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(first_, &graph), cudaErrorStreamCaptureUnjoined);
  EXPECT_EQ(cudaStreamWaitEvent(second_, forked, 0), cudaErrorCapturedEvent) << "its capture is over";
  cudaEventDestroy(forked);
  cudaGetLastError();
}

}  // namespace
}  // namespace tenrec
