// AMSGrad, NAdam, RAdam, Adamax, Adadelta, Rprop, Lion, LAMB, Muon and Shampoo: trajectories
// (tools/make_optimizer_variant_fixtures.py), state, dtypes, threads, errors.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>

#include "support/files.h"
#include "support/tanh_network.h"
#include "tenrec/core/numeric_error.h"
#include "tenrec/optim/adam_variants.h"
#include "tenrec/optim/lamb.h"
#include "tenrec/optim/muon.h"
#include "tenrec/optim/shampoo.h"
#include "tenrec/optim/sign.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using testing::message_of;

const Safetensors& fixture() {
  static const Safetensors file =
      load_safetensors(std::string(TENREC_SOURCE_DIR) + "/tests/fixtures/optimizer_variants.safetensors");
  return file;
}

Sequential network() { return testing::tanh_network(fixture()); }

// One optimizer, or Muon for the matrices and AdamW for the rest.
using Optimizers = std::vector<std::unique_ptr<Optimizer>>;
using Make = std::function<Optimizers(const std::vector<Tensor>&)>;

double train_step(Sequential& net, const Optimizers& optimizers) {
  const Tensor d = net(fixture().at("x")) - fixture().at("y");
  const Tensor loss = mean(d * d);
  for (const auto& optimizer : optimizers) optimizer->zero_grad();
  backward(loss);
  for (const auto& optimizer : optimizers) optimizer->step();
  return loss.item<double>();
}

template <class O, class Options>
Make make(Options options) {
  return [=](const std::vector<Tensor>& params) {
    Optimizers out;
    out.push_back(std::make_unique<O>(params, options));
    return out;
  };
}
Make make_muon(const MuonOptions& options) {
  return [=](const std::vector<Tensor>& params) {
    std::vector<Tensor> matrices, others;
    for (const Tensor& p : params) (p.ndim() == 2 ? matrices : others).push_back(p);
    Optimizers out;
    out.push_back(std::make_unique<Muon>(matrices, options));
    out.push_back(std::make_unique<AdamW>(others, AdamWOptions{.lr = 1e-2}));
    return out;
  };
}

std::vector<std::pair<std::string, Make>> optimizers() {
  return {
      {"amsgrad",
       make<Adam>(AdamOptions{.lr = 1e-2, .beta1 = 0.8, .beta2 = 0.9, .weight_decay = 1e-2, .amsgrad = true})},
      {"amsgrad_decoupled", make<AdamW>(AdamWOptions{.lr = 3e-2, .beta1 = 0.7, .beta2 = 0.8, .amsgrad = true})},
      {"adamw_defaults", make<AdamW>(AdamWOptions{})},
      {"nadam", make<NAdam>(NAdamOptions{.lr = 1e-2, .weight_decay = 1e-2})},
      {"nadam_decoupled",
       make<NAdam>(NAdamOptions{
           .lr = 5e-3, .beta1 = 0.8, .weight_decay = 0.1, .momentum_decay = 0.1, .decoupled_weight_decay = true})},
      {"radam", make<RAdam>(RAdamOptions{.lr = 1e-2, .weight_decay = 1e-2})},
      {"radam_decoupled",
       make<RAdam>(
           RAdamOptions{.lr = 1e-2, .beta1 = 0.8, .beta2 = 0.98, .weight_decay = 0.1, .decoupled_weight_decay = true})},
      {"adamax", make<Adamax>(AdamaxOptions{.lr = 1e-2, .beta2 = 0.9, .weight_decay = 1e-2})},
      {"adadelta", make<Adadelta>(AdadeltaOptions{.weight_decay = 1e-2})},
      {"rprop", make<Rprop>(RpropOptions{.lr = 1e-3})},
      {"rprop_options",
       make<Rprop>(RpropOptions{.lr = 1e-3, .eta_minus = 0.4, .eta_plus = 1.5, .step_min = 1e-4, .step_max = 2e-2})},
      {"lion", make<Lion>(LionOptions{.lr = 1e-2})},
      {"lion_decay", make<Lion>(LionOptions{.lr = 3e-3, .beta1 = 0.8, .beta2 = 0.95, .weight_decay = 0.5})},
      {"lamb", make<LAMB>(LAMBOptions{.lr = 1e-2})},
      {"lamb_bounds",
       make<LAMB>(LAMBOptions{
           .lr = 1e-2, .beta1 = 0.8, .beta2 = 0.99, .eps = 1e-3, .weight_decay = 0, .phi_min = 0.5, .phi_max = 1})},
      {"shampoo", make<Shampoo>(ShampooOptions{.lr = 0.05})},
      {"shampoo_sgd",
       make<Shampoo>(ShampooOptions{
           .lr = 0.05, .momentum = 0.9, .update_interval = 7, .max_size = 5, .grafting = Grafting::sgd})},
      {"shampoo_adam", make<Shampoo>(ShampooOptions{.lr = 0.01,
                                                    .weight_decay = 0.1,
                                                    .eps = 1e-3,
                                                    .beta = 0.9,
                                                    .update_interval = 3,
                                                    .grafting = Grafting::adam,
                                                    .graft_beta2 = 0.9})},
      {"muon", make_muon({.lr = 2e-2, .ns_dtype = f64})},
      {"muon_adamw_rms", make_muon({.lr = 1e-2,
                                    .weight_decay = 0.5,
                                    .momentum = 0.8,
                                    .nesterov = false,
                                    .ns_coefficients = {3, -3.2, 1.2},
                                    .ns_steps = 3,
                                    .adjust_lr_fn = MuonAdjustLr::match_rms_adamw,
                                    .ns_dtype = f64})},
      {"muon_spectral",
       make_muon({.lr = 2e-2, .weight_decay = 0, .adjust_lr_fn = MuonAdjustLr::spectral_unclamped, .ns_dtype = f64})},
  };
}

TEST(OptimizerVariants, TrajectoriesEqualTheReferences) {
  for (const auto& [name, make_optimizers] : optimizers()) {
    SCOPED_TRACE(name);
    Sequential net = network();
    const Optimizers run = make_optimizers(parameters(net));
    const std::vector<double> losses = fixture().at(name + ".losses").to_vector<double>();
    ASSERT_EQ(losses.size(), 100u);
    for (size_t i = 0; i < losses.size(); ++i) ASSERT_NEAR(train_step(net, run), losses[i], 1e-10) << "step " << i;
    for (const NamedTensor& p : named_parameters(net)) {
      const std::vector<double> expected = fixture().at(name + "." + p.name).to_vector<double>();
      const std::vector<double> values = p.tensor.to_vector<double>();
      for (size_t i = 0; i < values.size(); ++i) ASSERT_NEAR(values[i], expected[i], 1e-10) << p.name;
    }
  }
}

// The iteration in bf16, as PyTorch has it: it rounds elsewhere within a step, to 2^-9 of values about 1, and each of
// five steps has a derivative of up to 3.4 at small singular values.
TEST(OptimizerVariants, MuonInBf16IsPyTorchsUpToItsRounding) {
  for (const std::string name : {"direction6.", "direction5."}) {
    Tensor p = zeros_like(fixture().at(name + "grad")).set_requires_grad(true);
    p.set_grad(fixture().at(name + "grad"));
    Muon({p}, {.lr = 1, .weight_decay = 0}).step();
    const std::vector<double> values = p.to_vector<double>(),
                              expected = fixture().at(name + "param").to_vector<double>();
    for (size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], expected[i], 0.05) << name << i;
  }
}

// Its point: singular values near 1, whatever the gradient's are.
TEST(OptimizerVariants, MuonStepsAreNearlyOrthogonal) {
  manual_seed(4);
  for (const Shape& shape : {Shape{32, 48}, Shape{48, 32}}) {
    Tensor p = zeros(shape, {.requires_grad = true});
    p.set_grad(randn(shape));
    Muon({p}, {.lr = 1, .weight_decay = 0, .adjust_lr_fn = MuonAdjustLr::spectral_unclamped}).step();
    const Tensor x = p.detach() * (1 / std::sqrt(double(shape[0]) / double(shape[1])));
    const Tensor gram = shape[0] < shape[1] ? matmul(x, t(x)) : matmul(t(x), x);
    const double squares = sum(gram * eye(32)).item<double>() / 32;  // the mean of the singular values' squares
    EXPECT_GT(squares, 0.7);
    EXPECT_LT(squares, 1.2);
    EXPECT_LT(amax(abs(gram - eye(32))).item<double>(), 0.6);
  }
}

TEST(OptimizerVariants, ASavedRunGoesOnBitForBit) {
  for (const auto& [name, make_optimizers] : optimizers()) {
    SCOPED_TRACE(name);
    Sequential a = network();
    const Optimizers first = make_optimizers(parameters(a));
    for (int i = 0; i < 7; ++i) train_step(a, first);
    const testing::TempFolder folder;
    const std::string path = folder / "optimizer.safetensors";
    std::vector<NamedTensor> state;
    for (size_t k = 0; k < first.size(); ++k)
      for (const NamedTensor& entry : first[k]->state_dict())
        state.push_back({concat(k, "/", entry.name), entry.tensor});
    save_safetensors(path, {state});
    Sequential b = clone(a);
    const Optimizers second = make_optimizers(parameters(b));
    const Safetensors file = load_safetensors(path);
    for (size_t k = 0; k < second.size(); ++k) {
      std::vector<NamedTensor> own;
      for (const NamedTensor& entry : file.tensors)
        if (entry.name.starts_with(concat(k, "/"))) own.push_back({entry.name.substr(2), entry.tensor});
      second[k]->load_state_dict(own);
    }
    for (int i = 0; i < 7; ++i) ASSERT_EQ(train_step(a, first), train_step(b, second));
  }
}

TEST(OptimizerVariants, StateOfOthersIsRefused) {
  Sequential net = network();
  NAdam nadam(parameters(net), {});
  backward(sum(net(fixture().at("x"))));
  nadam.step();
  RAdam radam(parameters(net), {});
  EXPECT_THROW(radam.load_state_dict(nadam.state_dict()), ValueError);
  radam.step();
  EXPECT_NE(message_of<ValueError>([&] { nadam.load_state_dict(radam.state_dict()); }).find("mu_product"),
            std::string::npos);
  Shampoo shampoo(parameters(net), {}), bounded(parameters(net), {.max_size = 5});
  shampoo.step();
  EXPECT_THROW(radam.load_state_dict(shampoo.state_dict()), ValueError);
  EXPECT_THROW(bounded.load_state_dict(shampoo.state_dict()), ValueError);
}

// A parameter that came to its first gradient later has another product of mu, and is not stepped with the others.
TEST(OptimizerVariants, NAdamKeepsAProductForEachParameter) {
  const auto run = [](bool together) {
    std::vector<Tensor> xs{full({3}, 2, {.dtype = f64, .requires_grad = true}),
                           full({3}, 3, {.dtype = f64, .requires_grad = true})};
    std::vector<std::unique_ptr<NAdam>> all;
    if (together)
      all.push_back(std::make_unique<NAdam>(xs));
    else
      for (const Tensor& x : xs) all.push_back(std::make_unique<NAdam>(std::vector<Tensor>{x}));
    for (int i = 0; i < 9; ++i) {
      for (const auto& o : all) o->zero_grad();
      backward(i < 4 ? sum(xs[0] * xs[0]) : sum(xs[0] * xs[0]) + sum(xs[1] * xs[1]));
      for (const auto& o : all) o->step();
    }
    return std::pair{xs[0].to_vector<double>(), xs[1].to_vector<double>()};
  };
  EXPECT_EQ(run(true), run(false));
}

// Every method on parameters of several shapes, tails and a scalar among them.
std::vector<double> short_run(const Make& make_optimizers, DType dtype) {
  manual_seed(2);
  std::vector<Tensor> xs;
  for (const Shape& shape :
       {Shape{300, 133}, Shape{65, 257}, Shape{3, 1}, Shape{0, 4}, Shape{1, 1}, Shape{5001}, Shape{}})
    xs.push_back(randn(shape).to(dtype).detach().set_requires_grad(true));
  const Optimizers run = make_optimizers(xs);
  for (int i = 0; i < 4; ++i) {
    for (const auto& o : run) o->zero_grad();
    Tensor loss;
    for (const Tensor& x : xs) loss = loss.defined() ? loss + sum(x * x * x) : sum(x * x * x);
    backward(loss);
    for (const auto& o : run) o->step();
  }
  std::vector<double> out;
  for (const Tensor& x : xs)
    for (double v : x.to_vector<double>()) out.push_back(v);
  return out;
}

TEST(OptimizerVariants, ReducedPrecisionAndThreads) {
  const int before = num_threads();
  for (const auto& [name, make_optimizers] : optimizers()) {
    SCOPED_TRACE(name);
    for (DType dtype : {f64, f32, bf16, f16}) {
      std::vector<double> first;
      for (int threads : {1, 2, 3, 4, 8}) {
        set_num_threads(threads);
        const std::vector<double> values = short_run(make_optimizers, dtype);
        if (threads == 1) first = values;
        ASSERT_EQ(values, first) << dtype << " with " << threads << " threads";
        for (double v : values) ASSERT_TRUE(std::isfinite(v)) << dtype;
      }
      // The 16-bit runs are those of f64 with rounded parameters.
      if (dtype == f64) continue;
      const std::vector<double> exact = short_run(make_optimizers, f64);
      double error = 0;
      for (size_t i = 0; i < exact.size(); ++i) error += std::abs(first[i] - exact[i]) / double(exact.size());
      EXPECT_LT(error, dtype == f32 ? 1e-3 : 3e-2) << dtype;
    }
  }
  set_num_threads(before);
}

// A model that is cast takes the state along, and so does a state of another dtype that is loaded.
TEST(OptimizerVariants, StateFollowsACast) {
  Linear net(5, 3);
  AdamW optimizer(parameters(net), {.lr = 0.1});
  const auto step = [&](const Tensor& x) {
    optimizer.zero_grad();
    backward(sum(net(x)));
    optimizer.step();
  };
  step(ones({2, 5}));
  const std::vector<NamedTensor> narrow = optimizer.state_dict();
  to(net, f64);
  step(ones({2, 5}, {.dtype = f64}));
  for (const NamedTensor& entry : optimizer.state_dict()) EXPECT_EQ(entry.tensor.dtype(), f64) << entry.name;
  const std::vector<double> after = net.weight.to_vector<double>();
  optimizer.load_state_dict(narrow);
  step(ones({2, 5}, {.dtype = f64}));
  for (double v : net.weight.to_vector<double>()) EXPECT_TRUE(std::isfinite(v));
  EXPECT_NE(net.weight.to_vector<double>(), after);
}

TEST(OptimizerVariants, NonFiniteGradientsShow) {
  const auto after = [](const Make& make_optimizers) {
    Tensor x = tensor({{1., 2., 3.}}, {.requires_grad = true});
    const Optimizers run = make_optimizers({x});
    x.set_grad(tensor({{1., NAN, 1.}}));
    run[0]->step();
    return x.to_vector<double>();
  };
  for (const auto& [name, make_optimizers] : optimizers()) {
    if (name.starts_with("shampoo")) {
      EXPECT_THROW(after(make_optimizers), NumericError) << name;
      continue;
    }
    const std::vector<double> x = after(make_optimizers);
    const bool rprop = name.starts_with("rprop");  // as in PyTorch: it moves nothing
    EXPECT_TRUE(rprop ? x[1] == 2 : std::isnan(x[1])) << name;
    const bool together = name.starts_with("lamb") || name.starts_with("muon");  // whose elements depend on each other
    EXPECT_TRUE(together || (std::isfinite(x[0]) && std::isfinite(x[2]))) << name;
  }
}

TEST(OptimizerVariants, LambStepsAsItIsWithoutANorm) {
  Tensor x = zeros({4}, {.dtype = f64, .requires_grad = true});
  x.set_grad(full({4}, 3, {.dtype = f64}));
  LAMB({x}, {.lr = 0.1, .eps = 0}).step();
  for (double v : x.to_vector<double>()) EXPECT_NEAR(v, -0.1, 1e-12);
}

TEST(OptimizerVariants, ShampooTakesTensorsOfAnyOrder) {
  Tensor p = clone(fixture().at("shampoo4.start")).set_requires_grad(true);
  Shampoo optimizer({p});
  for (int i = 0; i < 10; ++i) {
    optimizer.zero_grad();
    backward(sum(p * p * p * p));
    optimizer.step();
  }
  const std::vector<double> expected = fixture().at("shampoo4.end").to_vector<double>(), values = p.to_vector<double>();
  for (size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], expected[i], 1e-10);
}

// A refused step has not happened, for none of the parameters.
TEST(OptimizerVariants, ShampooRefusesWhatIsNotFinite) {
  Tensor a = ones({2, 2}, {.requires_grad = true}), b = ones({3}, {.requires_grad = true});
  Shampoo optimizer({a, b});
  a.set_grad(ones({2, 2}));
  b.set_grad(tensor({1., INFINITY, 1.}));
  EXPECT_EQ(message_of<NumericError>([&] { optimizer.step(); }),
            "Shampoo: a gradient is not finite; the step was not made");
  EXPECT_EQ(a.to_vector<double>(), ones({2, 2}).to_vector<double>());
  EXPECT_EQ(optimizer.state_dict().size(), 3u) << "a rate and two counts";
  b.set_grad(ones({3}));
  optimizer.step();
  EXPECT_LT(a.item<double>(0, 0), 1);
}

TEST(OptimizerVariants, BadOptionsAreNamed) {
  const Tensor x = ones({2, 2}, {.requires_grad = true});
  EXPECT_EQ(message_of<ValueError>([&] { NAdam({x}, {.momentum_decay = -1}); }),
            "NAdam: momentum_decay must not be negative, got -1");
  EXPECT_THROW(NAdam({x}, {.beta1 = 1}), ValueError);
  EXPECT_THROW(RAdam({x}, {.beta2 = -0.1}), ValueError);
  EXPECT_THROW(Adamax({x}, {.eps = -1}), ValueError);
  EXPECT_THROW(Adadelta({x}, {.rho = 1.5}), ValueError);
  EXPECT_THROW(Adadelta({x}, {.lr = NAN}), ValueError);
  EXPECT_EQ(message_of<ValueError>([&] { Rprop({x}, {.eta_plus = 0.9}); }), "Rprop: eta_plus must be above 1, got 0.9");
  EXPECT_THROW(Rprop({x}, {.step_min = 1, .step_max = 0.5}), ValueError);
  EXPECT_THROW(Lion({x}, {.weight_decay = -1}), ValueError);
  EXPECT_THROW(LAMB({x}, {.phi_min = 2, .phi_max = 1}), ValueError);
  EXPECT_THROW(Shampoo({x}, {.eps = 0}), ValueError);
  EXPECT_THROW(Shampoo({x}, {.update_interval = 0}), ValueError);
  EXPECT_THROW(Shampoo({x}, {.beta = 1.1}), ValueError);
  EXPECT_THROW(Muon({x}, {.momentum = 1}), ValueError);
  EXPECT_THROW(Muon({x}, {.ns_steps = 100}), ValueError);
  EXPECT_THROW(Muon({x}, {.ns_dtype = i64}), DTypeError);
}

TEST(OptimizerVariants, MuonRefusesWhatIsNoMatrix) {
  const Tensor matrix = ones({2, 2}, {.requires_grad = true}), bias = ones({6}, {.requires_grad = true});
  EXPECT_EQ(message_of<ValueError>([&] {
              Muon({matrix, bias});
            }),
            "Muon: a parameter of shape [6] is not a matrix; Muon is for the weights of hidden layers, give this one "
            "to AdamW");
  Muon muon({matrix});
  EXPECT_THROW(muon.add_group({ones({1, 2, 3}, {.requires_grad = true})}, {}), ValueError);
  EXPECT_EQ(muon.group_count(), 1u);
}

}  // namespace
}  // namespace tenrec
