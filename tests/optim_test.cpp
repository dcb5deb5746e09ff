// Optimizers and schedules against PyTorch's trajectories (tools/make_optimizer_fixtures.py), state, errors.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>

#include "support/tanh_network.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

const Safetensors& fixture() {
  static const Safetensors file =
      load_safetensors(std::string(TENREC_SOURCE_DIR) + "/tests/fixtures/optimizers.safetensors");
  return file;
}

Sequential network() { return testing::tanh_network(fixture()); }

using Make = std::function<std::unique_ptr<Optimizer>(const std::vector<Tensor>&)>;

double train_step(Sequential& net, Optimizer& optimizer, double clip = 0) {
  const Tensor d = net(fixture().at("x")) - fixture().at("y");
  const Tensor loss = mean(d * d);
  optimizer.zero_grad();
  backward(loss);
  if (clip > 0) clip_grad_norm_(parameters(net), clip);
  optimizer.step();
  return loss.item<double>();
}

template <class O, class Options>
Make make(Options options) {
  return [=](const std::vector<Tensor>& params) { return std::make_unique<O>(params, options); };
}

std::vector<std::pair<std::string, Make>> optimizers() {
  return {
      {"sgd", make<SGD>(SGDOptions{.lr = 0.05})},
      {"sgd_momentum", make<SGD>(SGDOptions{.lr = 0.05, .momentum = 0.9, .dampening = 0.1, .weight_decay = 1e-2})},
      {"sgd_nesterov", make<SGD>(SGDOptions{.lr = 0.05, .momentum = 0.9, .nesterov = true})},
      {"adam", make<Adam>(AdamOptions{.lr = 1e-2, .weight_decay = 1e-2})},
      {"adamw", make<AdamW>(AdamWOptions{.lr = 1e-2, .beta1 = 0.8, .beta2 = 0.99})},
      {"rmsprop", make<RMSprop>(RMSpropOptions{.lr = 1e-3})},
      {"rmsprop_centered",
       make<RMSprop>(RMSpropOptions{.lr = 1e-3, .weight_decay = 1e-2, .momentum = 0.9, .centered = true})},
      {"adagrad", make<Adagrad>(AdagradOptions{
                      .lr = 1e-2, .lr_decay = 1e-2, .weight_decay = 1e-2, .initial_accumulator_value = 0.1})},
  };
}

TEST(Optimizers, TrajectoriesEqualPyTorch) {
  for (const auto& [name, make_optimizer] : optimizers()) {
    SCOPED_TRACE(name);
    Sequential net = network();
    const auto optimizer = make_optimizer(parameters(net));
    const std::vector<double> losses = fixture().at(name + ".losses").to_vector<double>();
    for (size_t i = 0; i < losses.size(); ++i)
      ASSERT_NEAR(train_step(net, *optimizer), losses[i], 1e-10) << "step " << i;
    for (const NamedTensor& p : named_parameters(net)) {
      const std::vector<double> expected = fixture().at(name + "." + p.name).to_vector<double>();
      const std::vector<double> values = p.tensor.to_vector<double>();
      for (size_t i = 0; i < values.size(); ++i) ASSERT_NEAR(values[i], expected[i], 1e-10) << p.name;
    }
  }
}

TEST(Optimizers, ClippedTrajectoryEqualsPyTorch) {
  Sequential net = network();
  SGD optimizer(parameters(net), {.lr = 0.05});
  const std::vector<double> losses = fixture().at("clipped.losses").to_vector<double>();
  for (double expected : losses) ASSERT_NEAR(train_step(net, optimizer, 0.2), expected, 1e-10);
}

TEST(Optimizers, StateIsSavedAndLoaded) {
  for (const auto& [name, make_optimizer] : optimizers()) {
    SCOPED_TRACE(name);
    Sequential a = network();
    const auto first = make_optimizer(parameters(a));
    for (int i = 0; i < 5; ++i) train_step(a, *first);
    Sequential b = clone(a);
    const auto second = make_optimizer(parameters(b));
    second->load_state_dict(first->state_dict());
    for (int i = 0; i < 5; ++i) ASSERT_EQ(train_step(a, *first), train_step(b, *second));
  }
}

TEST(Optimizers, StateOfOthersIsRefused) {
  Sequential a = network();
  Adam adam(parameters(a), {});
  train_step(a, adam);
  SGD sgd(parameters(a), {});
  EXPECT_THROW(sgd.load_state_dict(adam.state_dict()), ValueError);
  Sequential other(Linear(3, 3));
  to(other, f64);
  Adam smaller(parameters(other), {});
  EXPECT_THROW(smaller.load_state_dict(adam.state_dict()), Error);
}

TEST(Optimizers, GroupsHaveTheirOwnOptions) {
  const Tensor a = ones({3}, {.requires_grad = true}), b = ones({3}, {.requires_grad = true});
  SGD optimizer(std::vector<SGD::Group>{{{a}, {.lr = 0.1}}, {{b}, {.lr = 1.0}}});
  backward(sum(a) + sum(b));
  optimizer.step();
  EXPECT_FLOAT_EQ(a.item<float>(0), 0.9f);
  EXPECT_FLOAT_EQ(b.item<float>(0), 0.0f);
  EXPECT_EQ(optimizer.group_count(), 2u);
  EXPECT_THROW(optimizer.add_group({a}, {}), ValueError);
}

TEST(Optimizers, StepWithAClosure) {
  const Tensor x = tensor({3.}, {.dtype = f64, .requires_grad = true});
  SGD optimizer({x}, {.lr = 0.1});
  for (int i = 0; i < 100; ++i)
    optimizer.step([&] {
      optimizer.zero_grad();
      const Tensor loss = sum(x * x);
      backward(loss);
      return loss;
    });
  EXPECT_NEAR(x.item<double>(), 0, 1e-8);
}

TEST(Optimizers, ReducedPrecisionAndThreads) {
  for (DType dtype : {f32, bf16, f16}) {
    std::vector<double> first;
    for (int threads : {1, 3}) {
      set_num_threads(threads);
      manual_seed(2);
      const Tensor p = randn({40000}).to(dtype).detach();
      Tensor leaf = clone(p).set_requires_grad(true);
      AdamW optimizer({leaf}, {.lr = 0.01});
      for (int i = 0; i < 3; ++i) {
        optimizer.zero_grad();
        backward(sum(leaf * leaf));
        optimizer.step();
      }
      const std::vector<double> values = leaf.to_vector<double>();
      if (threads == 1) first = values;
      EXPECT_EQ(values, first);
      EXPECT_LT(std::abs(values[0]), std::abs(p.item<double>(0)) + 1e-9);
    }
    set_num_threads(2);
  }
}

TEST(Optimizers, BadOptionsAreNamed) {
  const Tensor x = ones({2}, {.requires_grad = true});
  EXPECT_THROW(SGD({x}, {.lr = -1}), ValueError);
  EXPECT_THROW(SGD({x}, {.lr = 1, .nesterov = true}), ValueError);
  EXPECT_THROW(Adam({x}, {.beta1 = 1}), ValueError);
  EXPECT_THROW(RMSprop({x}, {.eps = -1}), ValueError);
  EXPECT_THROW(Adagrad({x}, {.lr_decay = -1}), ValueError);
  EXPECT_THROW(SGD({x, x}, {}), ValueError);
  EXPECT_THROW(SGD({x * 2}, {}), ValueError);
}

TEST(Schedulers, RatesEqualPyTorch) {
  using MakeScheduler = std::function<std::unique_ptr<Scheduler>(Optimizer&)>;
  const std::vector<std::pair<std::string, MakeScheduler>> schedulers{
      {"step",
       [](Optimizer& o) {
         return std::make_unique<StepLR>(o, StepLROptions{7, 0.5});
       }},
      {"multistep",
       [](Optimizer& o) {
         return std::make_unique<MultiStepLR>(o, MultiStepLROptions{{3, 20, 50}, 0.3});
       }},
      {"cosine",
       [](Optimizer& o) {
         return std::make_unique<CosineAnnealingLR>(o, CosineAnnealingLROptions{60, 1e-3});
       }},
      {"linear",
       [](Optimizer& o) {
         return std::make_unique<LinearLR>(o, LinearLROptions{0.1, 0.8, 30});
       }},
      {"onecycle", [](Optimizer& o) {
         return std::make_unique<OneCycleLR>(o,
                                             OneCycleLROptions{.max_lr = 0.3, .total_steps = 100, .pct_start = 0.25});
       }}};
  for (const auto& [name, make_scheduler] : schedulers) {
    SCOPED_TRACE(name);
    const Tensor x = ones({1}, {.requires_grad = true});
    SGD optimizer({x}, {.lr = 0.1});
    const auto scheduler = make_scheduler(optimizer);
    const std::vector<double> rates = fixture().at("rates." + name).to_vector<double>();
    for (size_t i = 0; i < rates.size(); ++i) {
      ASSERT_NEAR(optimizer.lr(), rates[i], 1e-12) << "step " << i;
      scheduler->step();
    }
  }
}

TEST(Schedulers, PlateauEqualsPyTorch) {
  const Tensor x = ones({1}, {.requires_grad = true});
  SGD optimizer({x}, {.lr = 0.1});
  ReduceLROnPlateau scheduler(optimizer, {.factor = 0.5, .patience = 3, .cooldown = 2, .min_lr = 1e-3});
  const std::vector<double> metrics = fixture().at("plateau.metrics").to_vector<double>();
  const std::vector<double> rates = fixture().at("rates.plateau").to_vector<double>();
  for (size_t i = 0; i < rates.size(); ++i) {
    scheduler.step(metrics[i]);
    ASSERT_NEAR(optimizer.lr(), rates[i], 1e-12) << "step " << i;
  }
}

TEST(Schedulers, StateGoesOn) {
  const Tensor x = ones({1}, {.requires_grad = true});
  SGD a({x}, {.lr = 0.1}), b({x}, {.lr = 0.1});
  CosineAnnealingLR first(a, {.t_max = 20}), second(b, {.t_max = 20});
  for (int i = 0; i < 7; ++i) first.step();
  second.load_state_dict(first.state_dict());
  EXPECT_EQ(a.lr(), b.lr());
  first.step();
  second.step();
  EXPECT_EQ(a.lr(), b.lr());
}

TEST(Clip, NormAndValue) {
  Tensor x = tensor({3., 4.}, {.requires_grad = true});
  x.set_grad(tensor({3., 4.}));
  EXPECT_NEAR(clip_grad_norm_({x}, 1).item<double>(), 5, 1e-6);
  EXPECT_NEAR(x.grad().item<float>(1), 0.8, 1e-5);
  x.set_grad(tensor({-3., 0.5}));
  clip_grad_value_({x}, 1);
  EXPECT_EQ(x.grad().to_vector<float>(), (std::vector<float>{-1, 0.5}));
  EXPECT_NEAR(clip_grad_norm_({x}, 10, INFINITY).item<double>(), 1, 1e-6);
  EXPECT_EQ(x.grad().to_vector<float>(), (std::vector<float>{-1, 0.5}))
      << "a norm that is small enough changes nothing";
  x.set_grad(tensor({NAN, 1.}));
  EXPECT_THROW(clip_grad_norm_({x}, 1, 2, true), AutogradError);
  EXPECT_TRUE(std::isnan(clip_grad_norm_({x}, 1).item<double>()));
  EXPECT_TRUE(std::isnan(x.grad().item<double>(1))) << "a NaN shows, as in PyTorch";
  EXPECT_THROW(clip_grad_norm_({x}, -1), ValueError);
  EXPECT_THROW(clip_grad_norm_({x}, 1, 0), ValueError);
}

// Several tensors of several shapes and dtypes under each kind of norm.
TEST(Clip, TheNormIsThatOfAllGradientsTogether) {
  for (const double p : {1., 2., 3., double(INFINITY)}) {
    const std::vector<Tensor> values{tensor({{3., -4.}, {1., 0.}}), tensor({2.}, {.dtype = bf16}), full({}, -6),
                                     tensor({0.5}, {.dtype = f64})};
    std::vector<Tensor> xs{empty({0}, {.requires_grad = true}), ones({3}, {.requires_grad = true})};
    xs[0].set_grad(empty({0}));  // nothing in one, none for the other
    double expected = 0;
    for (const Tensor& value : values) {
      xs.push_back(zeros_like(value).set_requires_grad(true));
      xs.back().set_grad(clone(value));
      for (double v : value.to_vector<double>())
        expected = std::isinf(p) ? std::max(expected, std::abs(v)) : expected + std::pow(std::abs(v), p);
    }
    if (!std::isinf(p)) expected = std::pow(expected, 1 / p);
    const Tensor total = clip_grad_norm_(xs, 1, p);
    EXPECT_EQ(total.dtype(), f64);
    EXPECT_EQ(total.ndim(), 0);
    EXPECT_NEAR(total.item<double>(), expected, 2e-6) << "p = " << p;
    for (size_t i = 0; i < values.size(); ++i) {
      const std::vector<double> before = values[i].to_vector<double>(), after = xs[i + 2].grad().to_vector<double>();
      for (size_t k = 0; k < before.size(); ++k)
        EXPECT_NEAR(after[k], before[k] / expected, values[i].dtype() == bf16 ? 1e-2 : 1e-5) << "p = " << p;
    }
  }
  EXPECT_EQ(clip_grad_norm_({}, 1).item<double>(), 0);
}

}  // namespace
}  // namespace tenrec
