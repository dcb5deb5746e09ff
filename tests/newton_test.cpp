// Newton-style optimizers on what is known: quadratics, standard test functions from their standard starts against
// SciPy, the points of PyTorch's L-BFGS (tools/make_newton_fixtures.py), refused
// steps, state.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <numbers>

#include "support/expect_equal.h"
#include "support/files.h"
#include "tenrec/autograd/ops/linalg.h"
#include "tenrec/optim/constrained.h"
#include "tenrec/optim/gauss_newton.h"
#include "tenrec/optim/lbfgs.h"
#include "tenrec/optim/newton.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using testing::expect_equal, testing::message_of;
using Function = std::function<Tensor(const Tensor&)>;

const Safetensors& fixture() {
  static const Safetensors file =
      load_safetensors(std::string(TENREC_SOURCE_DIR) + "/tests/fixtures/newton.safetensors");
  return file;
}

Tensor leaf(std::initializer_list<NestedList> values) { return tensor(values, {.dtype = f64, .requires_grad = true}); }
Tensor leaf_of(const Tensor& values) { return clone(values).set_requires_grad(true); }

Tensor rosenbrock(const Tensor& x) {
  const Tensor a = slice(x, 0, 0, INT64_MAX, 2), b = slice(x, 0, 1, INT64_MAX, 2);
  return sum(square(b - square(a)) * 100 + square(1 - a));
}

Tensor beale(const Tensor& x) {
  return square(1.5 - x[0] * (1 - x[1])) + square(2.25 - x[0] * (1 - pow(x[1], 2))) +
         square(2.625 - x[0] * (1 - pow(x[1], 3)));
}

Tensor powell_singular(const Tensor& x) {
  return square(x[0] + x[1] * 10) + square(x[2] - x[3]) * 5 + pow(x[1] - x[2] * 2, 4) + pow(x[0] - x[3], 4) * 10;
}

Tensor wood(const Tensor& x) {
  return square(x[1] - square(x[0])) * 100 + square(1 - x[0]) + square(x[3] - square(x[2])) * 90 + square(1 - x[2]) +
         square(x[1] + x[3] - 2) * 10 + square(x[1] - x[3]) * 0.1;
}

Tensor helical_valley(const Tensor& x) {
  const Tensor turn = atan(x[1] / x[0]) / (2 * std::numbers::pi) + (x.item<double>(0) > 0 ? 0.0 : 0.5);
  return (square(x[2] - turn * 10) + square(sqrt(square(x[0]) + square(x[1])) - 1)) * 100 + square(x[2]);
}

Tensor trigonometric(const Tensor& x) {
  const Tensor i = arange(1, x.numel() + 1, {.dtype = f64});
  return sum(square(double(x.numel()) - sum(cos(x)) + i * (1 - cos(x)) - sin(x)));
}

Tensor freudenstein_roth(const Tensor& x) {
  return square(x[0] - 13 + ((5 - x[1]) * x[1] - 2) * x[1]) + square(x[0] - 29 + ((x[1] + 1) * x[1] - 14) * x[1]);
}

Tensor box_3d(const Tensor& x) {
  const Tensor t = arange(1, 11, {.dtype = f64}) * 0.1;
  return sum(square(exp(-t * x[0]) - exp(-t * x[1]) - x[2] * (exp(-t) - exp(t * -10))));
}

std::vector<std::pair<std::string, Function>> functions() {
  return {{"rosenbrock_2", rosenbrock},
          {"rosenbrock_10", rosenbrock},
          {"himmelblau",
           [](const Tensor& x) { return square(square(x[0]) + x[1] - 11) + square(x[0] + square(x[1]) - 7); }},
          {"beale", beale},
          {"booth", [](const Tensor& x) { return square(x[0] + x[1] * 2 - 7) + square(x[0] * 2 + x[1] - 5); }},
          {"powell_singular", powell_singular},
          {"wood", wood},
          {"brown_badly_scaled",
           [](const Tensor& x) { return square(x[0] - 1e6) + square(x[1] - 2e-6) + square(x[0] * x[1] - 2); }},
          {"helical_valley", helical_valley},
          {"trigonometric", trigonometric},
          {"freudenstein_roth", freudenstein_roth},
          {"box_3d", box_3d}};
}

using Make = std::function<std::unique_ptr<ClosureOptimizer>(const Tensor&)>;

template <class O, class Options>
Make make(Options options) {
  return [=](const Tensor& x) { return std::make_unique<O>(std::vector<Tensor>{x}, options); };
}

const LBFGSOptions kPrecise{
    .max_iter = 50, .tolerance_grad = 1e-10, .tolerance_change = 1e-16, .line_search = LineSearch::strong_wolfe};

void expect_optima(const Make& make_optimizer, int64_t max_steps) {
  for (const auto& [name, f] : functions()) {
    const Tensor x = leaf_of(fixture().at("start." + name));
    const auto optimizer = make_optimizer(x);
    const StepResult result = minimize(*optimizer, [&, &g = f] { return g(x); }, {.max_steps = max_steps});
    EXPECT_NEAR(f(x).item<double>(), fixture().at("optimum." + name).item<double>(), 1e-8)
        << name << " after " << result.iterations << " iterations: " << result.message;
    EXPECT_EQ(result.loss, f(x).item<double>()) << name;
    EXPECT_NE(result.status, StepStatus::nonfinite) << name;
    ::testing::Test::RecordProperty(name, int(result.evaluations));
  }
}

TEST(StandardFunctions, NewtonCG) { expect_optima(make<NewtonCG>(NewtonCGOptions{}), 500); }
TEST(StandardFunctions, LBFGS) { expect_optima(make<LBFGS>(kPrecise), 40); }
TEST(StandardFunctions, Newton) { expect_optima(make<Newton>(NewtonOptions{}), 500); }

struct Quadratic {
  Tensor a = fixture().at("quadratic.a"), b = fixture().at("quadratic.b");
  Tensor operator()(const Tensor& x) const { return sum(x * matmul(a, x)) * 0.5 - sum(b * x); }
  Tensor minimum() const { return solve(a, b); }
};

TEST(LBFGS, VisitsThePointsOfPyTorch) {
  const Quadratic quadratic;
  struct Run {
    const char* name;
    Function f;
    Tensor start;
    LBFGSOptions options;
  };
  const LBFGSOptions one{.max_iter = 1, .max_eval = 26, .line_search = LineSearch::strong_wolfe};
  const LBFGSOptions seven{.max_iter = 7, .history_size = 3, .line_search = LineSearch::strong_wolfe};
  const Tensor ones10 = ones({10}, {.dtype = f64}), start = tensor({-1.2, 1.}, {.dtype = f64});
  const std::vector<Run> runs{{"rosenbrock", rosenbrock, start, one},
                              {"rosenbrock_steps", rosenbrock, start, seven},
                              {"quadratic", quadratic, ones10, one},
                              {"quadratic_fixed", quadratic, ones10, {.lr = 0.5, .max_iter = 1}}};
  for (const Run& run : runs) {
    SCOPED_TRACE(run.name);
    const Tensor& points = fixture().at(std::string("lbfgs.") + run.name);
    const Tensor& losses = fixture().at(std::string("lbfgs.") + run.name + ".losses");
    const Tensor x = leaf_of(run.start);
    LBFGS optimizer({x}, run.options);
    for (int64_t i = 0; i < points.size(0); ++i) {
      const StepResult result = optimizer.step([&] { return run.f(x); });
      ASSERT_NEAR(result.first_loss, losses.item<double>(i), 1e-8) << "step " << i;
      expect_equal("step " + std::to_string(i), x, points[i], 1e-8);
      if (::testing::Test::HasFailure()) return;
    }
    EXPECT_NE(optimizer.step([&] { return run.f(x); }).status, StepStatus::moved) << "PyTorch had stopped here";
  }
}

// The closure that PyTorch's users write gives the same bits, and one that does not go backward leaves .grad alone.
TEST(LBFGS, TakesAClosureThatGoesBackward) {
  const Tensor a = leaf({-1.2, 1.}), b = leaf({-1.2, 1.});
  LBFGS first({a}, kPrecise), second({b}, kPrecise);
  first.step([&] { return rosenbrock(a); });
  second.step([&] {
    second.zero_grad();
    const Tensor loss = rosenbrock(b);
    backward(loss);
    return loss;
  });
  EXPECT_EQ(a.to_vector<double>(), b.to_vector<double>());
  EXPECT_FALSE(a.grad().defined());
  EXPECT_TRUE(b.grad().defined());
}

TEST(LBFGS, FitsAModuleInF32) {
  manual_seed(3);
  Sequential net(Linear(2, 8), Tanh(), Linear(8, 1));
  const Tensor x = rand({64, 2}) * 2 - 1, y = narrow(x, 1, 0, 1) * narrow(x, 1, 1, 1);
  LBFGS optimizer(parameters(net), {.max_iter = 200, .line_search = LineSearch::strong_wolfe});
  const StepResult result = optimizer.step([&] { return mse_loss(net(x), y); });
  EXPECT_LT(result.loss, 1e-3 * result.first_loss);
}

TEST(Newton, SolvesAQuadraticInOneStep) {
  const Quadratic f;
  const Tensor x = leaf_of(ones({10}, {.dtype = f64}));
  Newton optimizer({x});
  EXPECT_EQ(optimizer.step([&] { return f(x); }).status, StepStatus::moved);
  expect_equal("x", x, f.minimum(), 1e-12);
  EXPECT_EQ(optimizer.damping(), 0);
  const Tensor y = leaf_of(ones({10}, {.dtype = f64}));
  NewtonCG other({y}, {.radius = 1e3, .cg_tolerance = 1e-14});
  EXPECT_EQ(other.step([&] { return f(y); }).status, StepStatus::moved);
  expect_equal("y", y, f.minimum(), 1e-9);
}

TEST(Newton, DampingHandlesAnIndefiniteHessian) {
  // At (0.1, 0.2) the Hessian of (x^2 - 1)^2 + y^2 - x y^2 has a negative eigenvalue.
  const Tensor x = leaf({0.1, 0.2});
  const auto loss = [&] { return square(square(x[0]) - 1) + square(x[1]) - x[0] * square(x[1]) * 0.5; };
  ASSERT_LT(eigvalsh(hessian(loss, {x})).item<double>(0), 0);
  Newton optimizer({x});
  const StepResult first = optimizer.step(loss);
  EXPECT_GT(optimizer.damping(), 3);
  EXPECT_LT(first.loss, first.first_loss);
  EXPECT_EQ(minimize(optimizer, loss).status, StepStatus::converged);
  expect_equal("x", x, tensor({1., 0.}, {.dtype = f64}), 1e-9);
  const Tensor y = leaf({0.1, 0.2});
  NewtonCG trust({y});
  EXPECT_EQ(minimize(trust, [&] { return square(square(y[0]) - 1) + square(y[1]) - y[0] * square(y[1]) * 0.5; }).status,
            StepStatus::converged);
  expect_equal("y", y, tensor({1., 0.}, {.dtype = f64}), 1e-9);
}

TEST(Newton, TrainsASmallNetwork) {
  manual_seed(4);
  Sequential net(Linear(2, 6), Tanh(), Linear(6, 1));
  to(net, f64);
  const Tensor x = rand({40, 2}, {.dtype = f64}) * 2 - 1, y = sin(sum(x, {.dim = 1, .keepdim = true}) * 2);
  NewtonCG optimizer(parameters(net));
  const StepResult result = minimize(optimizer, [&] { return mse_loss(net(x), y); }, {.max_steps = 60});
  EXPECT_LT(result.loss, 1e-4 * result.first_loss);
}

std::vector<std::pair<std::string, Make>> loss_optimizers() {
  return {{"LBFGS", make<LBFGS>(LBFGSOptions{.line_search = LineSearch::strong_wolfe})},
          {"LBFGS", make<LBFGS>(LBFGSOptions{.lr = 100})},
          {"Newton", make<Newton>(NewtonOptions{})},
          {"NewtonCG", make<NewtonCG>(NewtonCGOptions{})},
          {"ProjectedGradient",
           [](const Tensor& x) { return std::make_unique<ProjectedGradient>(std::vector<Tensor>{x}, Projection()); }}};
}
std::vector<std::pair<std::string, Make>> residual_optimizers() {
  return {{"GaussNewton", make<GaussNewton>(GaussNewtonOptions{})},
          {"LevenbergMarquardt", make<LevenbergMarquardt>(LevenbergMarquardtOptions{})}};
}

TEST(Contract, WhatIsNotALossIsNamed) {
  for (const auto& [name, make_optimizer] : loss_optimizers()) {
    const Tensor x = leaf({1., 2.});
    const auto optimizer = make_optimizer(x);
    const std::string shape = message_of<ShapeError>([&] { optimizer->step([&] { return x * x; }); });
    EXPECT_CONTAINS(shape, name + ": the closure must return a loss of one element, it returned shape [2]");
    const std::string tape = message_of<AutogradError>([&] { optimizer->step([&] { return sum(x * x).detach(); }); });
    EXPECT_CONTAINS(tape, name + ": what the closure returned is not on the tape");
    EXPECT_THROW(optimizer->step([] { return Tensor(); }), ValueError);
    EXPECT_THROW(optimizer->step([&] { return sum(x).to(i64); }), DTypeError);
    EXPECT_EQ(x.to_vector<double>(), (std::vector<double>{1, 2}));
  }
  for (const auto& [name, make_optimizer] : residual_optimizers()) {
    const Tensor x = leaf({1., 2.});
    const auto optimizer = make_optimizer(x);
    EXPECT_THROW(optimizer->step([] { return Tensor(); }), ValueError);
    EXPECT_THROW(optimizer->step([&] { return x.detach(); }), AutogradError);
  }
  const Tensor x = leaf({1., 2.});
  Newton newton({x});
  EXPECT_CONTAINS(message_of<AutogradError>([&] {
                    newton.step([&] {
                      const Tensor loss = sum(x * x);
                      backward(loss);
                      return loss;
                    });
                  }),
                  "went backward");
  EXPECT_THROW(LBFGS({}), ValueError);
  EXPECT_THROW(LBFGS({x, x}), ValueError);
  EXPECT_THROW(LBFGS({x * 2}), ValueError);
  EXPECT_THROW(LBFGS({ones({2})}), ValueError) << "does not require grad";
  EXPECT_THROW(LBFGS({x}, {.lr = 0}), ValueError);
  EXPECT_THROW(NewtonCG({x}, {.radius = -1}), ValueError);
  EXPECT_THROW(LevenbergMarquardt({x}, {.damping = 0}), ValueError);
  EXPECT_THROW(minimize(newton, [&] { return sum(x * x); }, {.max_steps = 0}), ValueError);
}

// x0^2 + sqrt(x1), or its parts: not a number for x1 < 0, where the slope sends every method.
TEST(Contract, AStepThatIsNotFiniteIsRefused) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const bool residuals : {false, true})
    for (const auto& [name, make_optimizer] : residuals ? residual_optimizers() : loss_optimizers()) {
      SCOPED_TRACE(name);
      const Tensor x = leaf({1., 2.});
      const auto optimizer = make_optimizer(x);
      int calls = 0;
      // The first call is good, every later one not a number.
      const StepResult result = optimizer->step([&] {
        const Tensor parts = x * x * (calls++ == 0 ? 1.0 : nan);
        return residuals ? parts : sum(parts);
      });
      EXPECT_EQ(result.status, StepStatus::nonfinite) << result.message;
      EXPECT_CONTAINS(result.message, name + ":");
      EXPECT_EQ(x.to_vector<double>(), (std::vector<double>{1, 2})) << "the parameters must not move";
      EXPECT_EQ(result.loss, result.first_loss);
      EXPECT_TRUE(std::isfinite(result.loss));
      EXPECT_EQ(result.evaluations, calls);
      const StepResult at_start = optimizer->step([&] { return residuals ? x * nan : sum(x) * nan; });
      EXPECT_EQ(at_start.status, StepStatus::nonfinite);
      EXPECT_EQ(x.to_vector<double>(), (std::vector<double>{1, 2}));
    }
}

// A wall of NaN near the path is gone round by shorter steps.
TEST(Contract, ShorterStepsAvoidWhatIsNotFinite) {
  for (const auto& [name, make_optimizer] : loss_optimizers()) {
    SCOPED_TRACE(name);
    const Tensor x = leaf({3.});
    const auto optimizer = make_optimizer(x);
    const auto loss = [&] { return sum(x - log(x)); };  // minimum at 1; Newton's first step goes to -3
    const StepResult first = optimizer->step(loss);
    if (first.status == StepStatus::nonfinite) {  // L-BFGS without a line search has no shorter step
      EXPECT_EQ(x.item<double>(), 3);
      continue;
    }
    const StepResult result = minimize(*optimizer, loss, {.max_steps = 100});
    // L-BFGS stops where the slope is 1e-9, PyTorch's default: within 4e-5 of this minimum.
    EXPECT_NEAR(x.item<double>(), 1, name == "LBFGS" ? 4e-5 : 1e-6) << result.message;
  }
}

TEST(Contract, AClosureThatThrowsLeavesNoTrace) {
  for (const auto& [name, make_optimizer] : loss_optimizers()) {
    SCOPED_TRACE(name);
    const Tensor x = leaf({-1.2, 1.});
    const auto optimizer = make_optimizer(x);
    int calls = 0;
    const auto loss = [&]() -> Tensor {
      if (++calls == 2) throw std::runtime_error("no data");
      return rosenbrock(x);
    };
    EXPECT_THROW(optimizer->step(loss), std::runtime_error);
    EXPECT_EQ(x.to_vector<double>(), (std::vector<double>{-1.2, 1.}));
    const Tensor y = leaf({-1.2, 1.});
    const auto fresh = make_optimizer(y);
    optimizer->step(loss);
    fresh->step([&] { return rosenbrock(y); });
    EXPECT_EQ(x.to_vector<double>(), y.to_vector<double>());
  }
}

TEST(Contract, StateGoesOnWhereItWasSaved) {
  const auto residuals = [](const Tensor& x) { return stack({(x[1] - square(x[0])) * 10, 1 - x[0]}); };
  for (const bool least_squares : {false, true})
    for (const auto& [name, make_optimizer] : least_squares ? residual_optimizers() : loss_optimizers()) {
      SCOPED_TRACE(name);
      const auto closure = [&](const Tensor& x) {
        return [&, x] { return least_squares ? residuals(x) : rosenbrock(x); };
      };
      const Tensor x = leaf({-1.2, 1.});
      const auto whole = make_optimizer(x);
      for (int i = 0; i < 3; ++i) whole->step(closure(x));
      const Tensor y = leaf_of(x.detach());
      const auto resumed = make_optimizer(y);
      resumed->load_state_dict(whole->state_dict());
      for (int i = 0; i < 3; ++i) {
        whole->step(closure(x));
        resumed->step(closure(y));
        EXPECT_EQ(x.to_vector<double>(), y.to_vector<double>()) << "step " << i;
      }
      std::vector<NamedTensor> foreign = whole->state_dict();
      foreign.push_back({"momentum", zeros({2})});
      EXPECT_THROW(resumed->load_state_dict(foreign), ValueError);
    }
  const Tensor x = leaf({-1.2, 1.}), z = leaf({1., 2., 3.});
  LBFGS small({x}, kPrecise), large({z});
  small.step([&] { return rosenbrock(x); });
  EXPECT_THROW(large.load_state_dict(small.state_dict()), ShapeError);
  EXPECT_THROW(large.load_state_dict({}), ValueError);
}

TEST(Contract, SameBitsForAnyNumberOfThreads) {
  for (const auto& [name, make_optimizer] : loss_optimizers()) {
    std::vector<double> first;
    for (const int threads : {1, 3}) {
      set_num_threads(threads);
      manual_seed(6);
      const Tensor x = randn({3000}, {.dtype = f64}).set_requires_grad(true);
      if (name == "Newton") break;  // its Hessian of 3000 by 3000 is not worth the time; the products are the same
      const auto optimizer = make_optimizer(x);
      for (int i = 0; i < 3; ++i) optimizer->step([&] { return rosenbrock(x); });
      if (threads == 1) first = x.to_vector<double>();
      EXPECT_EQ(x.to_vector<double>(), first) << name;
    }
    set_num_threads(2);
  }
}

TEST(LeastSquares, RosenbrockAndLinearResiduals) {
  for (const auto& [name, make_optimizer] : residual_optimizers()) {
    SCOPED_TRACE(name);
    const Tensor x = leaf({-1.2, 1.});
    const auto optimizer = make_optimizer(x);
    const auto residuals = [&] { return stack({(x[1] - square(x[0])) * 10, 1 - x[0]}); };
    const StepResult result = minimize(*optimizer, residuals, {.max_steps = 100});
    EXPECT_EQ(result.status, StepStatus::converged) << result.message;
    expect_equal("x", x, ones({2}, {.dtype = f64}), 1e-10);
    // Linear in the parameters, residuals a matrix, rank 2 of 3 columns: Gauss-Newton goes to the nearest solution.
    manual_seed(2);
    const Tensor basis = randn({12, 2}, {.dtype = f64}), y = randn({12, 1}, {.dtype = f64});
    const Tensor a = cat({basis, sum(basis, {.dim = 1, .keepdim = true})}, 1);
    const Tensor w = zeros({3, 1}, {.dtype = f64}).set_requires_grad(true);
    const auto linear = make_optimizer(w);
    minimize(*linear, [&] { return matmul(a, w) - y; }, {.max_steps = 100});
    EXPECT_NEAR(norm(matmul(t(a), matmul(a, w) - y)).item<double>(), 0, 1e-8);
    if (name == "GaussNewton") expect_equal("w", w, lstsq(a, y).solution, 1e-10);
  }
}

}  // namespace
}  // namespace tenrec
