// GradScaler: its course, skipped steps, errors, state. On the CPU, and on a cuda device where there is one.
#include "tenrec/optim/grad_scaler.h"

#include <cmath>
#include <limits>

#include "support/files.h"
#include "support/on_devices.h"

namespace tenrec {
namespace {

using testing::message_of;

class GradScalerTest : public testing::OnDevices {};
INSTANTIATE_TEST_SUITE_P(Devices, GradScalerTest, testing::kDevices);

bool same_bits(const Tensor& a, const Tensor& b) { return a.dtype() == b.dtype() && equal(a, b); }

constexpr double kInf = std::numeric_limits<double>::infinity();

// A parameter whose gradient is what is put in.
struct OneWeight {
  Tensor w = ones({2}, {.requires_grad = true});
  SGD optimizer{std::vector<Tensor>{w}, {.lr = 0.25}};
  void set_gradient(double value, double other = 1) { w.set_grad(tensor({value, other})); }
};

TEST_P(GradScalerTest, DefaultsAreTorchs) {
  const GradScaler scaler;
  EXPECT_EQ(scaler.get_scale(), 65536);
  EXPECT_EQ(scaler.options().growth_factor, 2);
  EXPECT_EQ(scaler.options().backoff_factor, 0.5);
  EXPECT_EQ(scaler.options().growth_interval, 2000);
  EXPECT_TRUE(scaler.is_enabled());
}

TEST_P(GradScalerTest, GrowsBacksOffAndSkips) {
  OneWeight net;
  GradScaler scaler({.init_scale = 8, .growth_factor = 4, .backoff_factor = 0.25, .growth_interval = 3});
  const double nan = std::nan("");
  struct {
    double gradient, scale;  // and the scale after it
  } const course[] = {{1, 8},   {1, 8},       {1, 32},  {kInf, 8}, {1, 8}, {1, 8},
                      {nan, 2}, {-kInf, 0.5}, {1, 0.5}, {1, 0.5},  {1, 2}};
  double expected = 1;
  for (const auto& [gradient, after] : course) {
    const double scale = scaler.get_scale();
    net.set_gradient(gradient * scale, scale);
    const bool finite = std::isfinite(gradient);
    EXPECT_EQ(scaler.step(net.optimizer), finite);
    if (finite) expected -= 0.25;
    EXPECT_EQ(net.w.to_vector<double>(), (std::vector<double>{expected, expected}));
    EXPECT_EQ(scaler.get_scale(), scale) << "until update";
    scaler.update();
    EXPECT_EQ(scaler.get_scale(), after);
  }
  EXPECT_EQ(scaler.growth_tracker(), 0);
}

TEST_P(GradScalerTest, GrowthStopsWhereF32Ends) {
  OneWeight net;
  GradScaler scaler({.init_scale = 0x1p127, .growth_interval = 1});
  net.set_gradient(1);
  scaler.step(net.optimizer);
  scaler.update();
  EXPECT_EQ(scaler.get_scale(), 0x1p127);
}

TEST_P(GradScalerTest, ScalesTheLossInF32AndUnscalesForClipping) {
  OneWeight net;
  GradScaler scaler;
  const Tensor loss = full({}, 3, {.dtype = f16});
  EXPECT_TRUE(same_bits(scaler.scale(loss), full({}, 3 * 65536.)));
  net.set_gradient(65536 * 3., 65536 * 4.);
  scaler.unscale_(net.optimizer);
  EXPECT_EQ(clip_grad_norm_({net.w}, 1e9).item<double>(), 5);
  EXPECT_TRUE(scaler.step(net.optimizer));
  EXPECT_EQ(net.w.to_vector<double>(), (std::vector<double>{0.25, 0}));
  scaler.update();
}

TEST_P(GradScalerTest, OneOptimizerMaySkipWhileAnotherSteps) {
  OneWeight a, b;
  GradScaler scaler({.init_scale = 2});
  a.set_gradient(kInf);
  b.set_gradient(2, 2);
  EXPECT_FALSE(scaler.step(a.optimizer));
  EXPECT_TRUE(scaler.step(b.optimizer));
  scaler.update();
  EXPECT_EQ(scaler.get_scale(), 1);
  EXPECT_EQ(a.w.to_vector<double>(), (std::vector<double>{1, 1}));
  EXPECT_EQ(b.w.to_vector<double>(), (std::vector<double>{0.75, 0.75}));
}

TEST_P(GradScalerTest, SaysWhatIsWrong) {
  OneWeight net;
  GradScaler scaler;
  EXPECT_CONTAINS(message_of<ValueError>([&] { scaler.update(); }), "update without a step");
  net.set_gradient(1);
  scaler.unscale_(net.optimizer);
  EXPECT_CONTAINS(message_of<ValueError>([&] { scaler.unscale_(net.optimizer); }), "after unscale_");
  scaler.step(net.optimizer);
  EXPECT_CONTAINS(message_of<ValueError>([&] { scaler.unscale_(net.optimizer); }), "after step");
  EXPECT_CONTAINS(message_of<ValueError>([&] { scaler.step(net.optimizer); }), "twice");
  scaler.update();
  Tensor half = ones({2}, {.dtype = f16, .requires_grad = true});
  SGD other(std::vector<Tensor>{half}, {.lr = 1});
  half.set_grad(ones_like(half));
  EXPECT_CONTAINS(message_of<DTypeError>([&] { scaler.step(other); }), "keep the parameters in f32");
  EXPECT_EQ(half.grad().to_vector<double>(), (std::vector<double>{1, 1}));
  for (const GradScalerOptions& bad : std::initializer_list<GradScalerOptions>{
           {.init_scale = 0}, {.growth_factor = 1}, {.backoff_factor = 1}, {.growth_interval = 0}})
    EXPECT_CONTAINS(message_of<ValueError>([&] { GradScaler{bad}; }), "GradScaler: ");
}

TEST_P(GradScalerTest, StateGoesOnWhereItWas) {
  OneWeight net;
  GradScaler scaler({.init_scale = 4, .growth_interval = 3});
  const auto step = [&](GradScaler& s) {
    net.set_gradient(1);
    s.step(net.optimizer);
    s.update();
  };
  step(scaler);
  step(scaler);
  GradScaler other;
  other.load_state_dict(scaler.state_dict());
  EXPECT_EQ(other.get_scale(), 4);
  EXPECT_EQ(other.growth_tracker(), 2);
  step(other);
  EXPECT_EQ(other.get_scale(), 8);
  std::vector<NamedTensor> state = scaler.state_dict();
  state[3].tensor = full({}, 0.5, {.dtype = f64});
  EXPECT_CONTAINS(message_of<ValueError>([&] { other.load_state_dict(state); }), "growth_interval is 0.5");
  state.pop_back();
  EXPECT_CONTAINS(message_of<ValueError>([&] { other.load_state_dict(state); }), "the saved");
  EXPECT_EQ(other.get_scale(), 8);
}

TEST_P(GradScalerTest, OffItDoesNothing) {
  OneWeight net;
  GradScaler scaler({.enabled = false});
  const Tensor loss = full({}, 3);
  EXPECT_EQ(scaler.scale(loss).raw(), loss.raw());
  net.set_gradient(1);
  scaler.unscale_(net.optimizer);
  EXPECT_TRUE(scaler.step(net.optimizer));
  EXPECT_EQ(net.w.to_vector<double>(), (std::vector<double>{0.75, 0.75}));
  scaler.update();
  EXPECT_EQ(scaler.get_scale(), 1);
  EXPECT_TRUE(scaler.state_dict().empty());
  scaler.load_state_dict({});
  EXPECT_CONTAINS(message_of<ValueError>([&] { scaler.load_state_dict(GradScaler().state_dict()); }), "not enabled");
}

// Gradients of 2^-26 are 0 in f16 and come through with the scale.
TEST_P(GradScalerTest, SmallGradientsSurviveF16) {
  Tensor w = full({1, 1}, 1, {.requires_grad = true});
  const Tensor x = full({1, 1}, 1);
  const auto gradient = [&](GradScaler& scaler) {
    SGD optimizer(std::vector<Tensor>{w}, {.lr = 1});
    Tensor loss;
    {
      const Autocast on(f16);
      loss = sum(linear(x, w)).to(f32) * 0x1p-26;
    }
    optimizer.zero_grad();
    backward(scaler.scale(loss));
    scaler.unscale_(optimizer);
    return w.grad().item<double>();
  };
  GradScaler off({.enabled = false}), on;
  EXPECT_EQ(gradient(off), 0);
  EXPECT_EQ(gradient(on), 0x1p-26);
}

}  // namespace
}  // namespace tenrec
