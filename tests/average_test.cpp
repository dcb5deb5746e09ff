// Averages of weights and the schedules of optim/schedule.h against PyTorch's
// (tools/make_optimizer_variant_fixtures.py), their state and their errors.
#include "tenrec/optim/average.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "support/files.h"
#include "support/tanh_network.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using testing::message_of;

const Safetensors& fixture() {
  static const Safetensors file =
      load_safetensors(std::string(TENREC_SOURCE_DIR) + "/tests/fixtures/optimizer_variants.safetensors");
  return file;
}
void load_from(Module& net, const std::string& prefix) {
  std::vector<NamedTensor> state;
  for (const NamedTensor& entry : fixture().tensors)
    if (entry.name.starts_with(prefix)) state.push_back({entry.name.substr(prefix.size()), entry.tensor});
  load_state_dict(net, state);
}
Sequential network() { return testing::tanh_network(fixture()); }
void train_step(Sequential& net, Optimizer& optimizer) {
  const Tensor d = net(fixture().at("x")) - fixture().at("y");
  optimizer.zero_grad();
  backward(mean(d * d));
  optimizer.step();
}
std::vector<double> numbers(const std::vector<NamedTensor>& tensors) {
  std::vector<double> out;
  for (const NamedTensor& entry : tensors)
    for (double v : entry.tensor.to_vector<double>()) out.push_back(v);
  return out;
}

TEST(Average, EqualsPyTorch) {
  Sequential net = network();
  SGD optimizer(parameters(net), {.lr = 0.05, .momentum = 0.9});
  EMA ema(net, {.decay = 0.9});
  SWA swa(net);
  for (int i = 0; i < 100; ++i) {
    train_step(net, optimizer);
    ema.update();
    swa.update();
  }
  const auto compare = [](const WeightAverage& average, const std::string& prefix) {
    for (const NamedTensor& entry : average.values()) {
      const std::vector<double> expected = fixture().at(prefix + entry.name).to_vector<double>();
      const std::vector<double> values = entry.tensor.to_vector<double>();
      ASSERT_EQ(values.size(), expected.size());
      for (size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], expected[i], 1e-12) << entry.name;
    }
  };
  compare(ema, "ema.");
  compare(swa, "swa.");
}

TEST(Average, IsAppliedAndTakenBackBitForBit) {
  Sequential net = network();
  SGD optimizer(parameters(net), {.lr = 0.05});
  EMA ema(net, {.decay = 0.5});
  for (int i = 0; i < 5; ++i) {
    train_step(net, optimizer);
    ema.update();
  }
  const std::vector<double> own = numbers(state_dict(net));
  {
    const AverageScope scope(ema);
    EXPECT_TRUE(ema.applied());
    EXPECT_EQ(numbers(state_dict(net)), numbers(ema.values()));
    EXPECT_NE(numbers(state_dict(net)), own);
    EXPECT_NE(message_of<ValueError>([&] { ema.update(); }).find("call restore first"), std::string::npos);
    EXPECT_THROW(ema.apply(), ValueError);
  }
  EXPECT_EQ(numbers(state_dict(net)), own);
  EXPECT_THROW(ema.restore(), ValueError);
  Sequential other = network();
  load_state_dict(other, ema.values());
  EXPECT_EQ(numbers(state_dict(other)), numbers(ema.values()));
}

TEST(Average, BuffersAndWarmUp) {
  Sequential net(Linear(4, 3), BatchNorm1d(3));
  const Tensor mean_of = named_buffers(net)[0].tensor, batches = named_buffers(net)[2].tensor;
  EMA ema(net, {.decay = 0.99, .warmup = true}), keeps(net, {.use_buffers = false});
  double expected = 0;
  for (int i = 0; i < 4; ++i) {
    fill_(mean_of, i + 1);
    fill_(batches, i + 1);
    ema.update();
    keeps.update();
    const double decay = i == 0 ? 0 : std::min(0.99, (1.0 + i) / (10 + i));
    expected = decay * expected + (1 - decay) * (i + 1);
  }
  const auto of = [](const WeightAverage& average, const std::string& name) {
    for (const NamedTensor& entry : average.values())
      if (entry.name == name) return entry.tensor;
    return Tensor();
  };
  EXPECT_NEAR(of(ema, "1.running_mean").item<double>(0), expected, 1e-6);
  EXPECT_EQ(of(keeps, "1.running_mean").item<double>(0), 4);
  EXPECT_EQ(of(ema, "1.num_batches_tracked").item<double>(), 4) << "integers are not averaged";
  EXPECT_EQ(of(ema, "1.num_batches_tracked").dtype(), i64);
}

// 0.999 of a bf16 number plus 0.001 of another is the first one again.
TEST(Average, OfSixteenBitsIsKeptInF32) {
  Linear net(3, 2);
  to(net, bf16);
  fill_(net.weight.detach(), 1);
  EMA ema(net, {.decay = 0.999});
  ema.update();
  fill_(net.weight.detach(), 2);
  for (int i = 0; i < 100; ++i) ema.update();
  const Tensor average = ema.values()[0].tensor;
  EXPECT_EQ(average.dtype(), f32);
  EXPECT_NEAR(average.item<double>(0, 0), 2 - std::pow(0.999, 100), 1e-5);
  ema.apply();
  EXPECT_EQ(net.weight.dtype(), bf16);
  ema.restore();
  to(net, f64);  // the average follows
  ema.update();
  EXPECT_EQ(ema.values()[0].tensor.dtype(), f64);
}

TEST(Average, ASavedRunGoesOnBitForBit) {
  Sequential a = network();
  SGD optimizer(parameters(a), {.lr = 0.05});
  EMA ema(a, {.decay = 0.9, .warmup = true});
  SWA swa(a);
  const auto step = [&] {
    train_step(a, optimizer);
    ema.update();
    swa.update();
  };
  for (int i = 0; i < 4; ++i) step();
  const testing::TempFolder folder;
  const std::string path = folder / "average.safetensors";
  save_safetensors(path, {ema.state_dict()});
  EMA second(a, {.decay = 0.9, .warmup = true});
  second.load_state_dict(load_safetensors(path).tensors);
  SWA mean_of(a);
  mean_of.load_state_dict(swa.state_dict());
  for (int i = 0; i < 4; ++i) {
    step();
    second.update();
    mean_of.update();
  }
  EXPECT_EQ(second.updates(), 8);
  EXPECT_EQ(numbers(second.state_dict()), numbers(ema.state_dict()));
  EXPECT_EQ(numbers(mean_of.state_dict()), numbers(swa.state_dict()));
}

TEST(Average, WrongStateAndOptionsAreRefused) {
  Sequential net = network();
  Linear small(2, 2), wide(6, 4);
  EMA ema(net), other(small), similar(wide);
  EXPECT_THROW(ema.load_state_dict(other.state_dict()), ValueError);
  EXPECT_THROW(other.load_state_dict(ema.state_dict()), ValueError);
  EXPECT_THROW(other.load_state_dict(similar.state_dict()), ShapeError);
  EXPECT_EQ(ema.updates(), 0);
  EXPECT_EQ(message_of<ValueError>([&] { EMA(net, {.decay = 1.5}); }), "EMA: decay must lie in [0, 1], got 1.5");
}

TEST(Average, BatchNormsAreMeasuredAnew) {
  Sequential net(Linear(4, 6), BatchNorm1d(6, {.momentum = 0.3}), Tanh(), BatchNorm1d(6));
  to(net, f64);
  load_from(net, "norm.start.");
  train(net);
  set_training(net, false);
  const std::vector<Tensor> batches = split(fixture().at("x"), {3, 5, 6, 2}, 0);
  update_batch_norm(net, batches, [&](const Tensor& x) { net(x); });
  for (const NamedTensor& entry : named_buffers(net)) {
    const std::vector<double> expected = fixture().at("norm.end." + entry.name).to_vector<double>();
    const std::vector<double> values = entry.tensor.to_vector<double>();
    for (size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], expected[i], 1e-12) << entry.name;
  }
  EXPECT_FALSE(net.is_training());
  // Its momentum is what it was: a training step moves the mean by 0.3 of the way.
  const Tensor mean_of = named_buffers(net)[0].tensor;
  const std::vector<double> before = mean_of.to_vector<double>();
  train(net);
  net(fixture().at("x"));
  const Tensor h = linear(fixture().at("x"), parameters(net)[0], parameters(net)[1]);
  EXPECT_NEAR(mean_of.item<double>(0), 0.7 * before[0] + 0.3 * mean(h, {.dim = 0}).item<double>(0), 1e-12);
}

TEST(Average, NothingHappensWithoutBatchNorms) {
  Sequential net = network();
  update_batch_norm(net, std::vector<int>{1}, [](int) { FAIL() << "there is nothing to measure"; });
}

// --- schedules ------------------------------------------------------------------------------------------------------

using MakeScheduler = std::function<std::unique_ptr<Scheduler>(Optimizer&)>;

template <class S, class Options>
MakeScheduler make(Options options) {
  return [=](Optimizer& o) { return std::make_unique<S>(o, options); };
}
MakeScheduler make_wsd(DecayShape shape) {
  return make<WarmupStableDecayLR>(WarmupStableDecayLROptions{
      .warmup_steps = 10, .stable_steps = 50, .decay_steps = 30, .min_factor = 0.1, .shape = shape});
}

std::vector<std::pair<std::string, MakeScheduler>> schedulers() {
  return {
      {"exponential", make<ExponentialLR>(ExponentialLROptions{0.97})},
      {"restarts", make<CosineAnnealingWarmRestarts>(CosineAnnealingWarmRestartsOptions{10, 2, 1e-3})},
      {"restarts_equal", make<CosineAnnealingWarmRestarts>(CosineAnnealingWarmRestartsOptions{.t_0 = 7})},
      {"polynomial", make<PolynomialLR>(PolynomialLROptions{60, 1.7})},
      {"constant", make<ConstantLR>(ConstantLROptions{0.25, 30})},
      {"lambda", make<LambdaLR>(LambdaLROptions{[](int64_t n) { return 1 / (1 + 0.1 * double(n)); }})},
      {"noam", make<NoamLR>(NoamLROptions{.d_model = 64, .warmup_steps = 20})},
      {"wsd_linear", make_wsd(DecayShape::linear)},
      {"wsd_cosine", make_wsd(DecayShape::cosine)},
      {"wsd_sqrt", make_wsd(DecayShape::one_minus_sqrt)},
      {"sequential",
       [](Optimizer& o) {
         return std::make_unique<SequentialLR>(
             o,
             std::vector<SchedulePart>{LinearLROptions{.start_factor = 0.1, .total_steps = 15},
                                       CosineAnnealingLROptions{40, 1e-2}, ExponentialLROptions{0.9}},
             std::vector<int64_t>{20, 70});
       }},
      {"sequential_restarts",
       [](Optimizer& o) {
         return std::make_unique<SequentialLR>(
             o,
             std::vector<SchedulePart>{ConstantLROptions{0.5, 100},
                                       CosineAnnealingWarmRestartsOptions{.t_0 = 9, .t_mult = 2}},
             std::vector<int64_t>{30});
       }},
      {"chained",
       [](Optimizer& o) {
         return std::make_unique<ChainedScheduler>(
             o,
             std::vector<SchedulePart>{ConstantLROptions{0.1, 20}, ExponentialLROptions{0.95}, StepLROptions{30, 0.5}});
       }},
  };
}

TEST(Schedules, RatesEqualPyTorch) {
  for (const auto& [name, make_scheduler] : schedulers()) {
    SCOPED_TRACE(name);
    const Tensor x = ones({1}, {.requires_grad = true});
    SGD optimizer({x}, {.lr = 0.1});
    const auto scheduler = make_scheduler(optimizer);
    const std::vector<double> rates = fixture().at("rates." + name).to_vector<double>();
    ASSERT_EQ(rates.size(), 100u);
    for (size_t i = 0; i < rates.size(); ++i) {
      ASSERT_NEAR(optimizer.lr(), rates[i], 1e-12) << "step " << i;
      scheduler->step();
    }
  }
}

TEST(Schedules, StateGoesOn) {
  for (const auto& [name, make_scheduler] : schedulers()) {
    const Tensor x = ones({1}, {.requires_grad = true});
    SGD a({x}, {.lr = 0.1}), b({x}, {.lr = 0.7});
    const auto first = make_scheduler(a), second = make_scheduler(b);
    for (int i = 0; i < 33; ++i) first->step();
    second->load_state_dict(first->state_dict());
    for (int i = 0; i < 40; ++i) {
      EXPECT_EQ(a.lr(), b.lr()) << name << " at " << i;
      first->step();
      second->step();
    }
  }
}

TEST(Schedules, AOneCyclePartHasItsOwnRate) {
  const Tensor x = ones({1}, {.requires_grad = true});
  SGD a({x}, {.lr = 0.1}), b({x}, {.lr = 0.1});
  const OneCycleLROptions cycle{.max_lr = 0.3, .total_steps = 20};
  SequentialLR parts(a, {ConstantLROptions{1, 0}, cycle}, {5});
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(a.lr(), 0.1);
    parts.step();
  }
  OneCycleLR alone(b, cycle);
  for (int i = 0; i < 25; ++i) {
    EXPECT_EQ(a.lr(), b.lr());
    parts.step();
    alone.step();
  }
}

TEST(Schedules, BadOptionsAreNamed) {
  const Tensor x = ones({1}, {.requires_grad = true});
  SGD o({x}, {.lr = 0.1});
  EXPECT_THROW(ExponentialLR(o, {.gamma = 0}), ValueError);
  EXPECT_THROW(CosineAnnealingWarmRestarts(o, {.t_0 = 0}), ValueError);
  EXPECT_THROW(CosineAnnealingWarmRestarts(o, {.t_0 = 1, .t_mult = 0}), ValueError);
  EXPECT_THROW(PolynomialLR(o, {.total_steps = 0}), ValueError);
  EXPECT_THROW(ConstantLR(o, {.factor = 2}), ValueError);
  EXPECT_THROW(LambdaLR(o, {}), ValueError);
  EXPECT_THROW(NoamLR(o, {.warmup_steps = 0}), ValueError);
  EXPECT_THROW(WarmupStableDecayLR(o, {.decay_steps = 0}), ValueError);
  EXPECT_THROW(ChainedScheduler(o, {}), ValueError);
  EXPECT_THROW(SequentialLR(o, {LinearLROptions{}, ExponentialLROptions{}}, {20, 10}), ValueError);
  EXPECT_EQ(message_of<ValueError>([&] { SequentialLR(o, {LinearLROptions{}}, {10}); }),
            "SequentialLR: expected one milestone less than schedules, got 1 and 1");
  EXPECT_EQ(message_of<ValueError>([&] { SequentialLR(o, {LinearLROptions{.total_steps = 0}}, {}); }),
            "LinearLR: total_steps must be positive");
}

}  // namespace
}  // namespace tenrec
