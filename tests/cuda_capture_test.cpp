// Captured steps: the bits of the same steps without a graph, and refusals in place of lies. Runs on any device; the
// emulator is one.
#include "tenrec/autograd/capture.h"

#include <gtest/gtest.h>

#include "support/files.h"
#include "tenrec/optim/adam_variants.h"
#include "tenrec/optim/average.h"
#include "tenrec/optim/lamb.h"
#include "tenrec/optim/muon.h"
#include "tenrec/optim/sign.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using testing::message_of;

constexpr int kSteps = 12;

// A network with everything that changes from step to step: dropout, batch statistics, a learning rate, step counts.
struct Training {
  const int seeded = (manual_seed(3), 3);  // before the weights are drawn
  Sequential net{Linear(20, 32), BatchNorm1d(32), ReLU(), Dropout(0.3), Linear(32, 5)};
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Scheduler> scheduler;
  std::vector<Tensor> inputs, targets;

  template <class Make>
  explicit Training(Device device, Make make) {
    for (int i = 0; i < kSteps; ++i) {
      inputs.push_back(randn({16, 20}));
      targets.push_back(randint(0, 5, {16}, {.dtype = i64}));
    }
    to(net, device);
    optimizer = make(parameters(net));
    scheduler = std::make_unique<OneCycleLR>(*optimizer, OneCycleLROptions{.max_lr = 0.05, .total_steps = kSteps});
    manual_seed(7);
  }
  Tensor step(const Tensor& x, const Tensor& y) {
    optimizer->zero_grad();
    const Tensor loss = cross_entropy(net(x), y);
    backward(loss);
    optimizer->step();
    scheduler->step();
    return loss;
  }
  // All that lasts, in order.
  std::vector<double> state() {
    std::vector<double> out;
    const auto add = [&](const std::vector<NamedTensor>& entries) {
      for (const NamedTensor& entry : entries)
        for (double v : entry.tensor.detach().to_vector<double>()) out.push_back(v);
    };
    add(state_dict(net));
    add(optimizer->state_dict());
    add(scheduler->state_dict());
    out.push_back(double(default_generator().state().offset));
    return out;
  }
};

class Capture : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cuda::is_available()) GTEST_SKIP() << "skipped, no cuda device";
  }
  template <class Make>
  void captured_equals_eager(Make make) {
    std::vector<double> losses[2], states[2];
    {
      Training run(device_, make);
      for (int i = 0; i < kSteps; ++i)
        losses[0].push_back(
            run.step(run.inputs[size_t(i)].to(device_), run.targets[size_t(i)].to(device_)).item<double>());
      states[0] = run.state();
    }
    Training run(device_, make);
    auto step =
        cuda::capture([&](const Tensor& x, const Tensor& y) { return run.step(x, y); }, run.inputs[0], run.targets[0]);
    for (int i = 0; i < kSteps; ++i) {
      const Tensor loss = step(run.inputs[size_t(i)], run.targets[size_t(i)]);
      losses[1].push_back(loss.item<double>());
    }
    states[1] = run.state();
    EXPECT_GT(step.nodes(), 10) << "it was never recorded";
    EXPECT_EQ(losses[0], losses[1]);
    EXPECT_EQ(states[0], states[1]);
  }
  const Device device_ = DeviceType::cuda;
};

TEST_F(Capture, EqualsEagerWithAdam) {
  captured_equals_eager([](const auto& p) { return std::make_unique<Adam>(p, AdamOptions{}); });
}
TEST_F(Capture, EqualsEagerWithAdamW) {
  captured_equals_eager([](const auto& p) { return std::make_unique<AdamW>(p, AdamWOptions{}); });
}
TEST_F(Capture, EqualsEagerWithSgd) {
  captured_equals_eager([](const auto& p) { return std::make_unique<SGD>(p, SGDOptions{}); });
}
TEST_F(Capture, EqualsEagerWithMomentum) {
  captured_equals_eager([](const auto& p) {
    return std::make_unique<SGD>(p, SGDOptions{.momentum = 0.9, .weight_decay = 1e-3, .nesterov = true});
  });
}
TEST_F(Capture, EqualsEagerWithRmspropAndAdagrad) {
  captured_equals_eager([](const auto& p) { return std::make_unique<RMSprop>(p, RMSpropOptions{.centered = true}); });
  captured_equals_eager([](const auto& p) { return std::make_unique<Adagrad>(p, AdagradOptions{.lr_decay = 0.1}); });
}

TEST_F(Capture, EqualsEagerWithAdamsRelatives) {
  captured_equals_eager([](const auto& p) { return std::make_unique<Adam>(p, AdamOptions{.amsgrad = true}); });
  captured_equals_eager([](const auto& p) { return std::make_unique<NAdam>(p); });
  // From plain to rectified steps after the step was recorded.
  captured_equals_eager([](const auto& p) { return std::make_unique<RAdam>(p); });
  captured_equals_eager([](const auto& p) { return std::make_unique<Adamax>(p); });
  captured_equals_eager([](const auto& p) { return std::make_unique<Adadelta>(p); });
}
TEST_F(Capture, EqualsEagerWithSigns) {
  captured_equals_eager([](const auto& p) { return std::make_unique<Rprop>(p); });
  captured_equals_eager([](const auto& p) { return std::make_unique<Lion>(p); });
}
TEST_F(Capture, EqualsEagerWithLamb) {
  captured_equals_eager([](const auto& p) { return std::make_unique<LAMB>(p); });
}
// Its products of matrices are recorded, its rates are read anew.
TEST_F(Capture, EqualsEagerWithMuon) {
  captured_equals_eager([](const std::vector<Tensor>& p) {
    std::vector<Tensor> matrices;
    for (const Tensor& x : p)
      if (x.ndim() == 2) matrices.push_back(x);
    return std::make_unique<Muon>(matrices);
  });
}

TEST_F(Capture, AveragesGoOn) {
  const auto average = [&](bool captured) {
    manual_seed(5);
    Sequential net(Linear(4, 8), BatchNorm1d(8), Linear(8, 3));
    to(net, device_);
    SGD optimizer(parameters(net), {.lr = 0.1});
    EMA ema(net, {.decay = 0.9, .warmup = true});
    SWA swa(net);
    const auto one = [&](const Tensor& in) {
      optimizer.zero_grad();
      const Tensor loss = mean(square(net(in)));
      backward(loss);
      optimizer.step();
      ema.update();
      swa.update();
      return loss;
    };
    const Tensor x = randn({6, 4}, {.device = device_});
    auto step = cuda::capture(one, x);
    for (int i = 0; i < 8; ++i) captured ? step(x) : one(x);
    std::vector<double> out;
    for (const WeightAverage* each : {static_cast<WeightAverage*>(&ema), static_cast<WeightAverage*>(&swa)})
      for (const NamedTensor& entry : each->state_dict())
        for (double v : entry.tensor.to_vector<double>()) out.push_back(v);
    return out;
  };
  EXPECT_EQ(average(true), average(false));
}

TEST_F(Capture, EqualsEagerForAConvolutionalNetwork) {
  const auto losses = [&](bool captured) {
    manual_seed(5);
    Sequential net(Conv2d(1, 4, 3), ReLU(), MaxPool2d(2), Flatten(), Linear(4 * 5 * 5, 3));
    to(net, device_);
    Adam optimizer(parameters(net), {.lr = 1e-2});
    const Tensor x = randn({4, 1, 12, 12}), y = tensor({0., 1., 2., 1.}).to(i64);
    const auto one = [&](const Tensor& in, const Tensor& out) {
      optimizer.zero_grad();
      const Tensor loss = cross_entropy(net(in), out);
      backward(loss);
      optimizer.step();
      return loss;
    };
    auto step = cuda::capture(one, x, y);
    std::vector<double> out;
    for (int i = 0; i < 6; ++i) {
      const Tensor loss = captured ? step(x, y) : one(x.to(device_), y.to(device_));
      out.push_back(loss.item<double>());
    }
    return out;
  };
  EXPECT_EQ(losses(true), losses(false));
}

TEST_F(Capture, VerifyFindsNothingAndLeavesEverythingAsItWas) {
  const auto make = [](const auto& p) { return std::make_unique<Adam>(p, AdamOptions{}); };
  Training run(device_, make);
  auto step =
      cuda::capture([&](const Tensor& x, const Tensor& y) { return run.step(x, y); }, run.inputs[0], run.targets[0]);
  for (size_t i = 0; i < 4; ++i) step(run.inputs[i], run.targets[i]);
  const std::vector<double> before = run.state();
  const cuda::Verification found = step.verify(3, run.inputs[4], run.targets[4]);
  EXPECT_TRUE(found.equal) << found.difference;
  EXPECT_EQ(run.state(), before);
  // And training goes on as if it had not been asked.
  std::vector<double> here, there;
  for (size_t i = 4; i < 8; ++i) here.push_back(step(run.inputs[i], run.targets[i]).item<double>());
  Training other(device_, make);
  for (size_t i = 0; i < 8; ++i) {
    const double loss = other.step(other.inputs[i].to(device_), other.targets[i].to(device_)).item<double>();
    if (i >= 4) there.push_back(loss);
  }
  EXPECT_EQ(here, there);
}

// Host code that runs only when it is recorded is what verify is for.
TEST_F(Capture, VerifyFindsHostCodeThatIsNotReplayed) {
  const Tensor x = ones({3}, {.device = device_});
  double factor = 1;
  auto step = cuda::capture(
      [&](const Tensor& in) {
        factor *= 2;
        return in * factor;
      },
      x);
  const cuda::Verification found = step.verify(2, x);
  EXPECT_FALSE(found.equal);
  EXPECT_NE(found.difference.find("step 1, result 0, element 0: replayed 8"), std::string::npos) << found.difference;
}

TEST_F(Capture, VerifyFindsMemoryThatDiffers) {
  const Tensor x = ones({3}, {.device = device_}), kept = zeros({3}, {.device = device_});
  double factor = 1;
  auto step = cuda::capture(
      [&](const Tensor& in) {
        const NoGrad off;
        factor += 1;
        copy_(kept, in * factor);
        return in;
      },
      x);
  const cuda::Verification found = step.verify(2, x);
  EXPECT_FALSE(found.equal);
  EXPECT_NE(found.difference.find("a tensor of 12 bytes"), std::string::npos) << found.difference;
}

// --- refusals -------------------------------------------------------------------------------------------------------

TEST_F(Capture, OtherShapesAndDTypesAreRefused) {
  const Tensor x = ones({2, 3});
  auto step = cuda::capture([](const Tensor& in) { return in * 2.0; }, x);
  EXPECT_NE(message_of<ShapeError>([&] { step(ones({2, 4})); }).find("[2, 3], got [2, 4]"), std::string::npos);
  EXPECT_NE(message_of<DTypeError>([&] { step(x.to(f64)); }).find("f32, got f64"), std::string::npos);
  EXPECT_NE(message_of<ValueError>([&] { step(x, x); }).find("1 inputs was given 2"), std::string::npos);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(step(full({2, 3}, i)).item<double>(0, 0), 2 * i);
}

template <class F>
std::string refusal(const Tensor& x, F&& f) {
  auto step = cuda::capture(std::forward<F>(f), x);
  step(x);
  step(x);
  return message_of<CaptureError>([&] { step(x); });
}

TEST_F(Capture, HostReadsAreRefused) {
  const Tensor x = ones({3}, {.device = device_});
  EXPECT_NE(
      refusal(x, [](const Tensor& in) { return in * sum(in).item<double>(); }).find("reading a value on the host"),
      std::string::npos);
  EXPECT_NE(refusal(x, [](const Tensor& in) { return masked_select(in, in > 0.); }).find("captured step cannot"),
            std::string::npos);
  EXPECT_NE(refusal(x,
                    [&](const Tensor& in) {
                      cuda::synchronize(device_);
                      return in;
                    })
                .find("cuda::synchronize"),
            std::string::npos);
}

TEST_F(Capture, WorkOnTheCpuIsRefused) {
  const Tensor x = ones({3}, {.device = device_});
  EXPECT_NE(refusal(x, [&](const Tensor& in) { return in + zeros({3}).to(device_); }).find("works on a device"),
            std::string::npos);
  EXPECT_NE(refusal(x,
                    [&](const Tensor& in) {
                      return in + tensor({1., 2., 3.}).to(device_);
                    })
                .find("captured step"),
            std::string::npos);
}

TEST_F(Capture, OtherGeneratorsAreRefused) {
  const Tensor x = ones({3}, {.device = device_});
  Generator own(5);
  EXPECT_NE(refusal(x, [&](const Tensor& in) { return in + rand_like(in, &own); }).find("default generator"),
            std::string::npos);
}

TEST_F(Capture, AStepWithinAStepIsRefused) {
  const Tensor x = ones({3}, {.device = device_});
  auto inner = cuda::capture([](const Tensor& in) { return in * 2.0; }, x);
  auto outer = cuda::capture([&](const Tensor& in) { return inner(in); }, x);
  EXPECT_NE(message_of<CaptureError>([&] { outer(x); }).find("within another"), std::string::npos);
}

// What was refused has not happened: the optimizer's counts and random numbers are as before, no gradient stays.
TEST_F(Capture, ARefusedStepHasNotHappened) {
  manual_seed(2);
  Linear net(3, 2);
  to(net, device_);
  Adam optimizer(parameters(net), {.lr = 0.1});
  const Tensor x = ones({4, 3});
  bool reads = false;
  auto step = cuda::capture(
      [&](const Tensor& in) {
        optimizer.zero_grad();
        const Tensor loss = mean(dropout(net(in), 0.5));
        backward(loss);
        optimizer.step();
        if (reads) loss.item<double>();
        return loss;
      },
      x);
  step(x);
  step(x);
  const auto numbers = [&] {
    std::vector<double> out = net.weight.detach().to_vector<double>();
    for (const NamedTensor& entry : optimizer.state_dict())
      for (double v : entry.tensor.to_vector<double>()) out.push_back(v);
    out.push_back(double(default_generator().state().offset));
    return out;
  };
  const std::vector<double> before = numbers();
  reads = true;
  EXPECT_NE(message_of<CaptureError>([&] { step(x); }).find("reading"), std::string::npos);
  EXPECT_EQ(numbers(), before);
  EXPECT_FALSE(net.weight.grad().defined());
  reads = false;
  step(x);  // is recorded after all
  EXPECT_GT(step.nodes(), 0);
  EXPECT_NE(numbers(), before);
}

// A step of a network whose outputs are to fall.
auto falling(const Linear& net, Optimizer& optimizer) {
  return [&](const Tensor& in) {
    optimizer.zero_grad();
    const Tensor loss = mean(net(in));
    backward(loss);
    optimizer.step();
    return loss;
  };
}

TEST_F(Capture, GradientsClearedOutsideAreNoticed) {
  Linear net(3, 2);
  to(net, device_);
  SGD optimizer(parameters(net), {.lr = 0.1});
  const Tensor x = ones({4, 3});
  auto step = cuda::capture(falling(net, optimizer), x);
  for (int i = 0; i < 4; ++i) step(x);
  optimizer.zero_grad();
  EXPECT_NE(message_of<CaptureError>([&] { step(x); }).find("cleared"), std::string::npos);
  EXPECT_NO_THROW(step(x)) << "it is recorded again";
}

// An optimizer that computes with ops would replay the numbers of the recorded step.
class ByOps final : public Optimizer {
 public:
  explicit ByOps(const std::vector<Tensor>& params) : Optimizer({}) { add_parameters(params, 0); }
  size_t group_count() const override { return 1; }
  double lr(size_t) const override { return lr_; }
  void set_lr(double lr, size_t) override { lr_ = lr; }

 private:
  void update() override {
    const NoGrad off;
    for (Slot& slot : slots_) add_(slot.param, slot.param.grad(), -lr_);
  }
  double lr_ = 0.1;
};

TEST_F(Capture, AnOptimizerOfOpsIsRefused) {
  Linear net(3, 2);
  to(net, device_);
  ByOps optimizer(parameters(net));
  const Tensor x = ones({4, 3}, {.device = device_});
  EXPECT_NE(refusal(x, falling(net, optimizer)).find("cannot replay this optimizer"), std::string::npos);
}

// --- memory ---------------------------------------------------------------------------------------------------------

TEST_F(Capture, NothingElseUsesThePoolAndItComesBack) {
  const Tensor x = full({1000}, 3, {.device = device_});
  const auto in_use = cuda::memory_stats(device_).in_use;
  {
    auto step = cuda::capture([](const Tensor& in) { return sum(exp(in) * in); }, x);
    double expected = 0;
    for (int i = 0; i < 4; ++i) expected = step(x).item<double>();
    std::vector<Tensor> others;
    for (int i = 0; i < 200; ++i) others.push_back(full({100 + i}, -1, {.device = device_}));
    EXPECT_EQ(step(x).item<double>(), expected) << "somebody wrote into the step's memory";
    for (const Tensor& other : others) EXPECT_EQ(other.item<double>(7), -1);
  }
  EXPECT_EQ(cuda::memory_stats(device_).in_use, in_use);
}

TEST_F(Capture, ReplaysAskForNoMemory) {
  const Tensor x = full({1000}, 3, {.device = device_});
  auto step = cuda::capture([](const Tensor& in) { return sum(exp(in) * in); }, x);
  for (int i = 0; i < 3; ++i) step(x);
  const MemoryStats before = cuda::memory_stats(device_);
  for (int i = 0; i < 20; ++i) step(x);
  EXPECT_EQ(cuda::memory_stats(device_).system_calls, before.system_calls);
  EXPECT_EQ(cuda::memory_stats(device_).in_use, before.in_use);
}

// A tensor that only the recorded work still refers to keeps its memory.
TEST_F(Capture, WhatTheStepReadsIsKept) {
  const Tensor x = ones({64}, {.device = device_});
  Tensor factor = full({64}, 5, {.device = device_});
  auto step = cuda::capture([&](const Tensor& in) { return factor.defined() ? in * factor : in; }, x);
  for (int i = 0; i < 3; ++i) step(x);
  factor = Tensor();
  std::vector<Tensor> others;
  for (int i = 0; i < 50; ++i) others.push_back(full({64}, -1, {.device = device_}));
  EXPECT_EQ(step(x).item<double>(3), 5);
}

TEST(CaptureOff, SaysThatThereIsNoDevice) {
  if (cuda::is_available()) GTEST_SKIP() << "skipped, there is a cuda device";
  EXPECT_THROW(cuda::capture([](const Tensor& x) { return x; }, ones({2})), DeviceError);
}

}  // namespace
}  // namespace tenrec
