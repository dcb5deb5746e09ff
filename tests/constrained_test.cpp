// Minimisation under constraints: projections, and problems whose optima are known.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>

#include "support/expect_equal.h"
#include "tenrec/autograd/ops/linalg.h"
#include "tenrec/optim/constrained.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using testing::expect_equal;
using Function = std::function<Tensor(const Tensor&)>;

Tensor leaf(std::initializer_list<NestedList> values) { return tensor(values, {.dtype = f64, .requires_grad = true}); }
Tensor leaf_of(const Tensor& values) { return clone(values).set_requires_grad(true); }

// The quadratic of ten variables and condition 1000 of tools/make_newton_fixtures.py.
struct Quadratic {
  Safetensors file = load_safetensors(std::string(TENREC_SOURCE_DIR) + "/tests/fixtures/newton.safetensors");
  Tensor a = file.at("quadratic.a"), b = file.at("quadratic.b");
  Tensor operator()(const Tensor& x) const { return sum(x * matmul(a, x)) * 0.5 - sum(b * x); }
  Tensor minimum() const { return solve(a, b); }
};

TEST(Projections, AreTheNearestPoints) {
  manual_seed(7);
  const Tensor x = randn({4, 6}, {.dtype = f64}) * 2;
  const Tensor box = project_onto_box(x, -1, 0.5), ball = project_onto_ball(x, 1.5),
               simplex = project_onto_simplex(x, 2);
  const Tensor center = ones({6}, {.dtype = f64}), shifted = project_onto_ball(x, 0.5, center);
  EXPECT_NEAR(norm(ball).item<double>(), 1.5, 1e-12);
  EXPECT_NEAR(norm(shifted - center).item<double>(), 0.5, 1e-12);
  expect_equal("sums", sum(simplex, {.dim = -1}), full({4}, 2, {.dtype = f64}), 1e-12);
  EXPECT_GE(amin(simplex).item<double>(), 0);
  expect_equal("inside", project_onto_simplex(simplex, 2), simplex, 1e-12);
  expect_equal("inside", project_onto_ball(ball * 0.9, 1.5), ball * 0.9, 0);
  // y is the projection of x iff (x - y) (z - y) <= 0 for all z of the set.
  for (int i = 0; i < 50; ++i) {
    const Tensor z = randn({4, 6}, {.dtype = f64});
    EXPECT_LE(sum((x - box) * (clamp(z, -1, 0.5) - box)).item<double>(), 1e-12);
    EXPECT_LE(sum((x - ball) * (z * (1.5 / norm(z)) - ball)).item<double>(), 1e-12);
    const Tensor weights = abs(z) / sum(abs(z), {.dim = -1, .keepdim = true}) * 2;
    EXPECT_LE(sum((x - simplex) * (weights - simplex)).item<double>(), 1e-12);
  }
  EXPECT_THROW(project_onto_box(x, 1, 0), ValueError);
  EXPECT_THROW(project_onto_box(x, ones({3}), zeros({3})), ValueError);
  EXPECT_THROW(project_onto_ball(x, -1), ValueError);
  EXPECT_THROW(project_onto_simplex(x, 0), ValueError);
  EXPECT_THROW(project_onto_simplex(zeros({0})), ShapeError);
}

TEST(ProjectedGradient, QuadraticInABoxBallAndSimplex) {
  const Quadratic f;
  const auto run = [&](const Projection& projection) {
    const Tensor x = leaf_of(ones({10}, {.dtype = f64}));
    ProjectedGradient optimizer({x}, projection);
    const StepResult result = minimize(optimizer, [&] { return f(x); }, {.max_steps = 5000});
    EXPECT_EQ(result.status, StepStatus::converged) << result.message;
    return x.detach();
  };
  expect_equal("free", run({}), f.minimum(), 1e-7);
  // Where a bound is met the gradient presses against it; elsewhere it is 0 (Karush, Kuhn and Tucker).
  const Tensor x = run([](const Tensor& p) { return project_onto_box(p, -0.05, 0.1); });
  const Tensor g = matmul(f.a, x) - f.b;
  int at_bounds = 0;
  for (int64_t i = 0; i < 10; ++i) {
    const double at = x.item<double>(i), slope = g.item<double>(i);
    EXPECT_GE(at, -0.05);
    EXPECT_LE(at, 0.1);
    const bool low = at<-0.05 + 1e-12, high = at> 0.1 - 1e-12;
    at_bounds += low || high;
    EXPECT_TRUE(low ? slope >= -1e-7 : high ? slope <= 1e-7 : std::abs(slope) <= 2e-8) << at << " " << slope;
  }
  EXPECT_GT(at_bounds, 0);
  EXPECT_LT(at_bounds, 10);
  // On the ball's border the gradient points inwards along the radius.
  const Tensor y = run([](const Tensor& p) { return project_onto_ball(p, 0.2); });
  EXPECT_NEAR(norm(y).item<double>(), 0.2, 1e-12);
  const Tensor gy = matmul(f.a, y) - f.b;
  EXPECT_NEAR(sum(gy * y).item<double>() / (norm(gy).item<double>() * 0.2), -1, 1e-9);
  // On the simplex it is the same wherever a weight is not 0, and no less elsewhere.
  const Tensor w = run([](const Tensor& p) { return project_onto_simplex(p); });
  const Tensor gw = matmul(f.a, w) - f.b;
  const double lowest = amin(gw).item<double>();
  for (int64_t i = 0; i < 10; ++i)
    if (w.item<double>(i) > 1e-6) {
      EXPECT_NEAR(gw.item<double>(i), lowest, 1e-5);
    }
}

TEST(ProjectedGradient, EachParameterHasItsSet) {
  const Tensor a = leaf({3., 3.}), b = leaf({3., 3.});
  ProjectedGradient optimizer({{a, [](const Tensor& p) { return project_onto_box(p, -1, 1); }}, {b, {}}});
  const auto loss = [&] { return sum(square(a - 2)) + sum(square(b - 2)); };
  EXPECT_EQ(minimize(optimizer, loss).status, StepStatus::converged);
  expect_equal("a", a, ones({2}, {.dtype = f64}), 1e-12);
  expect_equal("b", b, full({2}, 2, {.dtype = f64}), 1e-7);
  ProjectedGradient wrong({a}, [](const Tensor& p) { return sum(p); });
  EXPECT_THROW(wrong.step(loss), ShapeError);
}

// Hock and Schittkowski, "Test examples for nonlinear programming codes" (1981), problems 6, 7, 28, 35 and 71.
TEST(AugmentedLagrangian, HockSchittkowski) {
  struct Problem {
    const char* name;
    Tensor start;
    Function loss, equal, at_most;
    double optimum;
  };
  const auto point = [](std::initializer_list<NestedList> x) { return tensor(x, {.dtype = f64}); };
  const std::vector<Problem> problems{
      {"6",
       point({-1.2, 1.}),
       [](const Tensor& x) { return square(1 - x[0]); },
       [](const Tensor& x) { return (x[1] - square(x[0])) * 10; },
       {},
       0},
      {"7",
       point({2., 2.}),
       [](const Tensor& x) { return log1p(square(x[0])) - x[1]; },
       [](const Tensor& x) { return square(1 + square(x[0])) + square(x[1]) - 4; },
       {},
       -std::sqrt(3.0)},
      {"28",
       point({-4., 1., 1.}),
       [](const Tensor& x) { return square(x[0] + x[1]) + square(x[1] + x[2]); },
       [](const Tensor& x) { return x[0] + x[1] * 2 + x[2] * 3 - 1; },
       {},
       0},
      {"35",
       point({0.5, 0.5, 0.5}),
       [](const Tensor& x) {
         return 9 - x[0] * 8 - x[1] * 6 - x[2] * 4 + square(x[0]) * 2 + square(x[1]) * 2 + square(x[2]) +
                x[0] * x[1] * 2 + x[0] * x[2] * 2;
       },
       {},
       [](const Tensor& x) {
         return cat({-x, reshape(x[0] + x[1] + x[2] * 2 - 3, {1})});
       },
       1.0 / 9},
      {"71", point({1., 5., 5., 1.}), [](const Tensor& x) { return x[0] * x[3] * (x[0] + x[1] + x[2]) + x[2]; },
       [](const Tensor& x) { return sum(square(x)) - 40; },
       [](const Tensor& x) {
         return cat({1 - x, x - 5, reshape(25 - prod(x), {1})});
       },
       17.0140172895}};
  for (const Problem& p : problems) {
    SCOPED_TRACE(p.name);
    const Tensor x = leaf_of(p.start);
    const auto with = [&](const Function& f) { return f ? Closure([&] { return f(x); }) : Closure(); };
    AugmentedLagrangian optimizer({x}, {.equal = with(p.equal), .at_most = with(p.at_most)});
    const StepResult result = minimize(optimizer, with(p.loss), {.max_steps = 60});
    EXPECT_EQ(result.status, StepStatus::converged) << result.message << " violation " << optimizer.violation();
    EXPECT_NEAR(result.loss, p.optimum, 2e-7);
    EXPECT_LE(optimizer.violation(), 1e-8);
    if (p.at_most) {
      EXPECT_GE(amin(optimizer.at_most_multipliers()).item<double>(), 0);
    }
  }
}

TEST(AugmentedLagrangian, OverASetAndRefusals) {
  // min sum (x - 2)^2 in the box [0, 1]^2 with x0 + 2 x1 = 2: (1, 0.5), where without the box it is (1.2, 0.4).
  const Tensor x = leaf({0., 0.});
  AugmentedLagrangianOptions options;
  options.tolerance = 1e-6;
  options.inner_steps = 2000;
  options.inner = [](const std::vector<Tensor>& params) {
    return std::make_unique<ProjectedGradient>(params, [](const Tensor& p) { return project_onto_box(p, 0, 1); });
  };
  AugmentedLagrangian optimizer({x}, {.equal = [&] { return x[0] + x[1] * 2 - 2; }}, options);
  const auto loss = [&] { return sum(square(x - 2)); };
  EXPECT_EQ(minimize(optimizer, loss, {.max_steps = 50}).status, StepStatus::converged);
  EXPECT_NEAR(x.item<double>(0), 1, 1e-12);
  EXPECT_NEAR(x.item<double>(1), 0.5, 1e-5);
  // It goes on from a saved state.
  const Tensor y = leaf({0., 0.}), z = leaf({0., 0.});
  AugmentedLagrangian a({y}, {.equal = [&] { return y[0] * y[1] - 1; }});
  AugmentedLagrangian b({z}, {.equal = [&] { return z[0] * z[1] - 1; }});
  a.step([&] { return sum(square(y - 3)); });
  {
    const NoGrad off;
    copy_(z, y);
  }
  b.load_state_dict(a.state_dict());
  a.step([&] { return sum(square(y - 3)); });
  b.step([&] { return sum(square(z - 3)); });
  EXPECT_EQ(y.to_vector<double>(), z.to_vector<double>());
  EXPECT_EQ(a.penalty(), b.penalty());
  // A constraint that is not finite: nothing moves.
  const Tensor w = leaf({1., 1.});
  AugmentedLagrangian refused({w}, {.at_most = [&] { return log(-w); }});
  EXPECT_EQ(refused.step([&] { return sum(square(w)); }).status, StepStatus::nonfinite);
  EXPECT_EQ(w.to_vector<double>(), (std::vector<double>{1, 1}));
  EXPECT_THROW(AugmentedLagrangian({w}, {}), ValueError);
}

}  // namespace
}  // namespace tenrec
