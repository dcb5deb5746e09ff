// Differential equations: orders of convergence, exact solutions, SciPy's (tools/make_ode_fixtures.py), what lies
// between the steps, gradients through the steps and by the adjoint method, and what is refused.
#include "tenrec/autograd/odeint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "support/files.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using testing::message_of;

const TensorOptions kF64{.dtype = f64};

Tensor times(double from, double to, int64_t n) { return linspace(from, to, n, kF64); }

double worst(const Tensor& got, const Tensor& expected) {
  EXPECT_EQ(to_string(got.shape()), to_string(expected.shape()));
  return max(abs(got.detach() - expected)).item<double>();
}

// y' = y cos t from 1: y = e^sin t.
Tensor wave(const Tensor& t, const Tensor& y) { return y * cos(t); }
// y'' = -y.
Tensor oscillator(const Tensor&, const Tensor& y) { return stack({y[1], -y[0]}); }

// The error at t = 2 with fixed steps.
double wave_error(OdeMethod method, double step) {
  const Tensor y = odeint(wave, ones({}, kF64), times(0, 2, 2), {.method = method, .step = step});
  return std::abs(y.item<double>(1) - std::exp(std::sin(2.0)));
}

TEST(Odeint, OrdersOfConvergence) {
  for (const auto& [method, order] : {std::pair{OdeMethod::rk4, 4.0}, std::pair{OdeMethod::dopri5, 5.0}}) {
    const double coarse = wave_error(method, 2.0 / 64), fine = wave_error(method, 2.0 / 128);
    EXPECT_NEAR(std::log2(coarse / fine), order, 0.1) << "errors " << coarse << " and " << fine;
  }
}

// One step of length h, in whose middle the interpolant is off by a multiple of h^5.
double middle_error(double h) {
  const Tensor y = odeint(wave, ones({}, kF64), times(0, h, 3), {.atol = 1e9, .first_step = h});
  return std::abs(y.item<double>(1) - std::exp(std::sin(h / 2)));
}

TEST(Odeint, OrderBetweenTheSteps) {
  const double coarse = middle_error(0.1), fine = middle_error(0.05);
  EXPECT_NEAR(std::log2(coarse / fine), 5.0, 0.3) << "errors " << coarse << " and " << fine;
}

TEST(Odeint, ExactSolutions) {
  const OdeOptions tight{.rtol = 1e-10, .atol = 1e-12};
  const Tensor ts = times(0, 3, 7);
  // A batch of decays with rates of their own.
  const Tensor rate = tensor({{0.5, 1.}, {2., 3.}}, kF64), y0 = tensor({{1., 2.}, {3., -4.}}, kF64);
  const auto decay = [&](const Tensor&, const Tensor& y) { return -rate * y; };
  const Tensor exponential = y0 * exp(-rate * reshape(ts, {7, 1, 1}));
  EXPECT_LT(worst(odeint(decay, y0, ts, tight), exponential), 1e-9);
  EXPECT_LT(worst(odeint(decay, y0, ts, {.method = OdeMethod::rk4, .step = 0.01}), exponential), 1e-7);

  const Tensor circle = stack({cos(ts), -sin(ts)}, 1);
  EXPECT_LT(worst(odeint(oscillator, tensor({1., 0.}, kF64), ts, tight), circle), 1e-9);

  const auto logistic = [](const Tensor&, const Tensor& y) { return y * (1 - y); };
  const Tensor start = full({}, 0.1, kF64);
  EXPECT_LT(worst(odeint(logistic, start, ts, tight), 1 / (1 + 9 * exp(-ts))), 1e-9);
}

TEST(Odeint, BackwardsInTime) {
  for (const OdeOptions& options :
       {OdeOptions{.rtol = 1e-10, .atol = 1e-12}, OdeOptions{.method = OdeMethod::rk4, .step = 0.01}}) {
    const Tensor ts = times(2, -1, 5);
    const Tensor y0 = full({}, std::exp(std::sin(2.0)), kF64);
    EXPECT_LT(worst(odeint(wave, y0, ts, options), exp(sin(ts))), 1e-8);
    // There and back again.
    const Tensor end = odeint(oscillator, tensor({1., 0.5}, kF64), times(0, 4, 2), options)[1];
    EXPECT_LT(worst(odeint(oscillator, end, times(4, 0, 2), options)[1], tensor({1., 0.5}, kF64)), 1e-7);
  }
}

TEST(Odeint, EqualsSciPy) {
  const Safetensors fixture = load_safetensors(std::string(TENREC_SOURCE_DIR) + "/tests/fixtures/ode.safetensors");
  const auto lorenz = [](const Tensor&, const Tensor& y) {
    return stack({10 * (y[1] - y[0]), y[0] * (28 - y[2]) - y[1], y[0] * y[1] - 8. / 3 * y[2]});
  };
  const auto van_der_pol = [](const Tensor&, const Tensor& y) {
    return stack({y[1], 5 * (1 - square(y[0])) * y[1] - y[0]});
  };
  const auto driven_pendulum = [](const Tensor& t, const Tensor& y) {
    return stack({y[1], -sin(y[0]) - 0.2 * y[1] + 0.9 * cos(2. / 3 * t)});
  };
  const auto error = [&](const std::string& name, const OdeFunction& f) {
    const Tensor ys = fixture.at(name + ".y");
    return worst(odeint(f, ys[0], fixture.at(name + ".t"), {.rtol = 1e-11, .atol = 1e-11}), ys);
  };
  EXPECT_LT(error("lorenz", lorenz), 1e-6);  // chaotic: five units of time make errors some hundred times larger
  EXPECT_LT(error("van_der_pol", van_der_pol), 1e-7);
  EXPECT_LT(error("driven_pendulum", driven_pendulum), 1e-7);
}

TEST(Odeint, TighterTolerancesAreMoreExact) {
  double before = 1;
  for (const double tol : {1e-4, 1e-6, 1e-8, 1e-10}) {
    const Tensor ts = times(0, 10, 101);
    const Tensor got = odeint(oscillator, tensor({1., 0.}, kF64), ts, {.rtol = tol, .atol = tol});
    const double error = worst(got, stack({cos(ts), -sin(ts)}, 1));
    EXPECT_LT(error, 100 * tol);
    EXPECT_LT(error, before / 10);
    before = error;
  }
}

TEST(Odeint, TimesBetweenCostNothing) {
  const auto calls = [](int64_t n) {
    int64_t count = 0;
    const auto f = [&](const Tensor& t, const Tensor& y) {
      ++count;
      return wave(t, y);
    };
    const Tensor ts = times(0, 10, n);
    const Tensor ys = odeint(f, ones({}, kF64), ts);
    EXPECT_LT(worst(ys, exp(sin(ts))), 1e-6) << n;
    return count;
  };
  const int64_t two = calls(2);
  EXPECT_GT(two, 100);
  EXPECT_EQ(calls(1001), two);
}

TEST(Odeint, ShapesAndDtypes) {
  const auto decay = [](const Tensor&, const Tensor& y) { return -y; };
  EXPECT_EQ(to_string(odeint(decay, ones({2, 0, 3}, kF64), times(0, 1, 4)).shape()), "[4, 2, 0, 3]");
  EXPECT_EQ(to_string(odeint(decay, ones({2}, kF64), times(1, 1, 1)).shape()), "[1, 2]");
  const Tensor single = odeint(decay, ones({3, 2}), linspace(0, 1, 2), {.rtol = 1e-5, .atol = 1e-6});
  EXPECT_EQ(single.dtype(), f32);
  EXPECT_NEAR(single.item<double>(1, 2, 1), std::exp(-1.0), 1e-5);
  // Times of another dtype than the state's; f sees the state's.
  const auto clocked = [](const Tensor& t, const Tensor& y) {
    EXPECT_EQ(t.dtype(), f32);
    EXPECT_EQ(t.ndim(), 0);
    return y * t;
  };
  EXPECT_NEAR(odeint(clocked, ones({}), times(0, 1, 2), {.rtol = 1e-5}).item<double>(1), std::exp(0.5), 1e-4);
}

// --- gradients ---------------------------------------------------------------------------------------------------

// A small network with its time, as a function of its weights.
struct Net {
  Tensor w1, b1, w2;
  explicit Net(uint64_t seed = 1) {
    Generator g(seed);
    w1 = randn({2, 5}, kF64, &g).set_requires_grad(true);
    b1 = randn({5}, kF64, &g).set_requires_grad(true);
    w2 = (randn({5, 2}, kF64, &g) * 0.5).detach().set_requires_grad(true);
  }
  Tensor operator()(const Tensor& t, const Tensor& y) const { return matmul(tanh(matmul(y, w1) + b1 * t), w2); }
  std::vector<Tensor> params() const { return {w1, b1, w2}; }
};

Tensor start_state() { return tensor({{1., 0.5}, {-0.3, 0.2}, {0.1, -1.}}, {.dtype = f64, .requires_grad = true}); }

TEST(Odeint, GradcheckThroughTheSteps) {
  const Net net;
  for (const OdeOptions& options : {OdeOptions{.method = OdeMethod::rk4, .step = 0.25}, OdeOptions{.step = 0.25}}) {
    const auto f = [&](std::span<const Tensor> x) {
      const auto slope = [&](const Tensor& t, const Tensor& y) {
        return matmul(tanh(matmul(y, x[2]) + x[3] * t), net.w2);
      };
      return std::vector<Tensor>{odeint(slope, x[0], x[1], options)};
    };
    const std::vector<Tensor> inputs{start_state(), tensor({0.1, 0.5, 1.1}, {.dtype = f64, .requires_grad = true}),
                                     net.w1, net.b1};
    const GradcheckResult first = gradcheck(f, inputs);
    EXPECT_TRUE(first) << first.message;
    EXPECT_GT(first.checked, 300);
    const GradcheckResult second = gradgradcheck(f, inputs);
    EXPECT_TRUE(second) << second.message;
  }
}

TEST(Odeint, AdaptiveStepsFollowTheTimes) {
  // dy(T)/dT = f(T, y(T)) and dy(T)/dt0 = -y'(t0) dy(T)/dy0: here y(T) = y0 e^(sin T - sin t0).
  const Tensor ts = tensor({0.3, 1.1, 2.}, {.dtype = f64, .requires_grad = true});
  const Tensor ys = odeint(wave, full({}, 2, kF64), ts, {.rtol = 1e-10, .atol = 1e-12});
  const Tensor plain = odeint(wave, full({}, 2, kF64), ts.detach(), {.rtol = 1e-10, .atol = 1e-12});
  EXPECT_LT(worst(ys, plain), 1e-14);
  for (int64_t i = 1; i < 3; ++i) {
    const Tensor g = grad(ys[i], {ts}, {.create_graph = true})[0];
    const double y = ys.item<double>(i), t = ts.item<double>(i);
    EXPECT_NEAR(g.item<double>(i), y * std::cos(t), 1e-6);
    EXPECT_NEAR(g.item<double>(0), -y * std::cos(0.3), 1e-6);
    EXPECT_EQ(g.item<double>(3 - i), 0);
    const Tensor second = grad(g[i], {ts}, {.retain_graph = true})[0];
    EXPECT_NEAR(second.item<double>(i), y * (std::cos(t) * std::cos(t) - std::sin(t)), 1e-3);
  }
}

// Gradients of a loss that sees all times, by y0, ts and the parameters.
std::vector<Tensor> loss_gradients(const Net& net, const Tensor& ts, bool adjoint, const OdeOptions& options,
                                   bool create_graph = false) {
  const Tensor y0 = start_state();
  const Tensor ys = adjoint ? odeint_adjoint(net, y0, ts, net.params(), options) : odeint(net, y0, ts, options);
  std::vector<Tensor> xs{y0, ts};
  for (const Tensor& p : net.params()) xs.push_back(p);
  std::vector<Tensor> g = grad(sum(square(ys) * ys) + sum(sin(ys)), xs, {.create_graph = create_graph});
  if (!create_graph) return g;
  // And by the same of the length of the gradient.
  Tensor length;
  for (const Tensor& x : g) length = length.defined() ? length + sum(square(x)) : sum(square(x));
  return grad(length, xs);
}

void expect_close(const std::vector<Tensor>& got, const std::vector<Tensor>& expected, double tolerance) {
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = norm(got[i] - expected[i]).item<double>() / norm(expected[i]).item<double>();
    EXPECT_LT(error, tolerance) << "gradient " << i;
  }
}

TEST(OdeintAdjoint, EqualsTheGradientThroughTheSteps) {
  const Net net;
  for (const OdeOptions& options :
       {OdeOptions{.rtol = 1e-9, .atol = 1e-10}, OdeOptions{.method = OdeMethod::rk4, .step = 0.01}}) {
    for (const bool forwards : {true, false}) {
      Tensor ts = forwards ? times(0, 2, 5) : times(1, -1, 4);
      ts.set_requires_grad(true);
      const std::vector<Tensor> plain = loss_gradients(net, ts, false, options);
      expect_close(loss_gradients(net, ts, true, options), plain, 1e-5);
    }
  }
}

TEST(OdeintAdjoint, HigherDerivativesGoThroughTheSteps) {
  const Net net;
  Tensor ts = times(0, 1, 3);
  ts.set_requires_grad(true);
  const OdeOptions options{.method = OdeMethod::rk4, .step = 0.1};
  const std::vector<Tensor> plain = loss_gradients(net, ts, false, options, true);
  // The last pass reaches the states themselves by the adjoint, which is not the gradient of the steps to all digits.
  expect_close(loss_gradients(net, ts, true, options, true), plain, 1e-5);
}

TEST(OdeintAdjoint, MemoryDoesNotGrowWithTheSteps) {
  const Net net;
  const auto held = [&](bool adjoint, double step) {
    const Tensor y0 = start_state();
    const int64_t before = live_tensors();
    const OdeOptions options{.method = OdeMethod::rk4, .step = step};
    const Tensor ys = adjoint ? odeint_adjoint(net, y0, times(0, 1, 3), net.params(), options)
                              : odeint(net, y0, times(0, 1, 3), options);
    return live_tensors() - before;
  };
  EXPECT_EQ(held(true, 0.001), held(true, 0.1));
  EXPECT_LT(held(true, 0.001), 10);
  EXPECT_GT(held(false, 0.001), 50 * held(false, 0.1));
}

TEST(OdeintAdjoint, GradientsOfWhatMadeItsInputs) {
  // y0 and a parameter that are themselves made of others, and are one tensor in part.
  const OdeOptions options{.rtol = 1e-10, .atol = 1e-12};
  const Tensor z = tensor({0.7, 0.2}, {.dtype = f64, .requires_grad = true});
  const auto gradient = [&](bool adjoint) {
    const Tensor w = z * 2;
    const auto f = [&](const Tensor&, const Tensor& y) { return w * cos(y); };
    const Tensor ys =
        adjoint ? odeint_adjoint(f, w, times(0, 1, 2), {w, w}, options) : odeint(f, w, times(0, 1, 2), options);
    return grad(sum(square(ys[1])), {z})[0];
  };
  EXPECT_LT(worst(gradient(true), gradient(false)), 1e-7);
}

TEST(OdeintAdjoint, RefusesWhatWouldGetNoGradient) {
  const Net net;
  EXPECT_CONTAINS(message_of<AutogradError>([&] {
                    odeint_adjoint(net, start_state(), times(0, 1, 2), {net.w1, net.w2});
                  }),
                  "odeint_adjoint: f uses a tensor of shape [5] that requires grad and is not in params");
  const Tensor made = net.b1 * 2;
  const auto direct = [&](const Tensor&, const Tensor&) { return narrow(made, 0, 0, 2); };
  EXPECT_CONTAINS(message_of<AutogradError>([&] { odeint_adjoint(direct, ones({2}, kF64), times(0, 1, 2), {}); }),
                  "not in params");
  odeint_adjoint(direct, ones({2}, kF64), times(0, 1, 2), {made});
  const NoGrad off;
  odeint_adjoint(net, start_state(), times(0, 1, 2), {});  // nothing is recorded, so nothing is lost
}

TEST(OdeintAdjoint, ParametersThatChangedInBetween) {
  const Net net;
  const Tensor ys = odeint_adjoint(net, start_state(), times(0, 1, 2), net.params());
  {
    const NoGrad off;
    fill_(net.w2, 0.5);
  }
  EXPECT_CONTAINS(message_of<AutogradError>([&] { backward(sum(ys)); }), "changed in place");
}

TEST(OdeintAdjoint, ComputesOnlyWhatIsAskedFor) {
  // f that has no gradient by y, and parameters that do not matter.
  const Tensor c = tensor({2., 3.}, {.dtype = f64, .requires_grad = true});
  const Tensor unused = ones({4}, {.dtype = f64, .requires_grad = true});
  const auto f = [&](const Tensor&, const Tensor& y) { return c + zeros_like(y); };
  const Tensor y0 = ones({2}, {.dtype = f64, .requires_grad = true});
  const Tensor ys = odeint_adjoint(f, y0, times(0, 3, 2), {c, unused});
  const std::vector<Tensor> g = grad(sum(ys[1]), {y0, c, unused});
  EXPECT_LT(worst(g[0], ones({2}, kF64)), 1e-12);
  EXPECT_LT(worst(g[1], full({2}, 3, kF64)), 1e-9);
  EXPECT_LT(worst(g[2], zeros({4}, kF64)), 1e-12);
}

// --- bits and errors ---------------------------------------------------------------------------------------------

TEST(Odeint, ThreadsDoNotChangeBits) {
  const int before = num_threads();
  Generator g(3);
  const Tensor w = (randn({64, 64}, {}, &g) * 0.1).detach().set_requires_grad(true);
  const Tensor y0 = randn({500, 64}, {}, &g);
  const auto f = [&](const Tensor& t, const Tensor& y) { return tanh(matmul(y, w)) - y * t; };
  std::vector<std::vector<float>> first;
  for (const int threads : {1, 2, 3, 4, 8}) {
    set_num_threads(threads);
    std::vector<std::vector<float>> all;
    for (const bool adjoint : {false, true}) {
      const OdeOptions options{.rtol = 1e-4, .atol = 1e-5};
      const Tensor ys =
          adjoint ? odeint_adjoint(f, y0, linspace(0, 1, 3), {w}, options) : odeint(f, y0, linspace(0, 1, 3), options);
      all.push_back(ys.to_vector<float>());
      all.push_back(grad(sum(square(ys)), {w})[0].to_vector<float>());
    }
    if (first.empty()) first = all;
    EXPECT_TRUE(all == first) << threads << " threads";
  }
  set_num_threads(before);
}

TEST(Odeint, StepLimits) {
  const auto stiff = [](const Tensor&, const Tensor& y) { return -1e6 * (y - 1); };
  const std::string message =
      message_of<NumericError>([&] { odeint(stiff, zeros({}, kF64), times(0, 1, 2), {.max_steps = 1000}); });
  EXPECT_CONTAINS(message, "odeint: max_steps = 1000 steps lead from t = 0 only to ");
  EXPECT_CONTAINS(message, "stiff");
  EXPECT_EQ(message.find('\n'), std::string::npos);
  const auto fixed = [&] {
    odeint(stiff, zeros({}, kF64), times(0, 1, 2), {.method = OdeMethod::rk4, .step = 1e-4, .max_steps = 1000});
  };
  EXPECT_CONTAINS(message_of<NumericError>(fixed),
                  "odeint: steps of 0.0001 from t = 0 to 1 are 10000, max_steps is 1000");
}

TEST(Odeint, SingularitiesAndWhatIsNotFinite) {
  // y' = y^2 from 1 is 1 / (1 - t).
  const auto blow_up = [](const Tensor&, const Tensor& y) { return square(y); };
  const std::string message = message_of<NumericError>([&] { odeint(blow_up, ones({}, kF64), times(0, 2, 2)); });
  EXPECT_CONTAINS(message, "odeint: at t = 1");
  EXPECT_CONTAINS(message, "singularity");
  const auto fixed = [&] { odeint(blow_up, ones({}, kF64), times(0, 3, 2), {.method = OdeMethod::rk4, .step = 0.1}); };
  EXPECT_CONTAINS(message_of<NumericError>(fixed), "is not finite at t = ");
  const auto root = [](const Tensor& t, const Tensor& y) { return sqrt(1 - t) + 0 * y; };  // NaN beyond 1
  EXPECT_CONTAINS(message_of<NumericError>([&] { odeint(root, ones({}, kF64), times(0, 2, 2)); }),
                  "is not finite at t = ");
  EXPECT_NEAR(odeint(root, zeros({}, kF64), times(0, 1, 2)).item<double>(1), 2. / 3, 1e-6);  // but not beyond the end
  const auto nan = [](const Tensor&, const Tensor& y) { return y * std::nan(""); };
  EXPECT_CONTAINS(message_of<NumericError>([&] { odeint(nan, ones({}, kF64), times(0, 2, 2)); }),
                  "is not finite at t = 0");
}

TEST(Odeint, BadArguments) {
  const auto decay = [](const Tensor&, const Tensor& y) { return -y; };
  const Tensor y0 = ones({2}, kF64), ts = times(0, 1, 3);
  const auto value_error = [&](const Tensor& t, const OdeOptions& options = {}) {
    return message_of<ValueError>([&] { odeint(decay, y0, t, options); });
  };
  EXPECT_CONTAINS(value_error(tensor({0., 1., 1.}, kF64)),
                  "ts must rise or fall strictly, but ts[1] = 1 and ts[2] = 1");
  EXPECT_CONTAINS(value_error(tensor({0., 1., 0.5}, kF64)), "ts[2] = 0.5");
  EXPECT_CONTAINS(value_error(tensor({0., -1., 0.5}, kF64)), "ts[2] = 0.5");
  EXPECT_CONTAINS(value_error(tensor({0., 0.}, kF64)), "ts[1] = 0");
  EXPECT_CONTAINS(value_error(tensor({0., INFINITY}, kF64)), "ts[1] is inf");
  EXPECT_CONTAINS(value_error(ts, {.rtol = -1}), "rtol");
  EXPECT_CONTAINS(value_error(ts, {.rtol = 0, .atol = 0}), "rtol and atol");
  EXPECT_CONTAINS(value_error(ts, {.step = -1}), "step");
  EXPECT_CONTAINS(value_error(ts, {.first_step = std::nan("")}), "first_step");
  EXPECT_CONTAINS(value_error(ts, {.max_steps = 0}), "max_steps");
  const auto shape_error = [&](const OdeFunction& f, const Tensor& t) {
    return message_of<ShapeError>([&] { odeint(f, y0, t); });
  };
  EXPECT_CONTAINS(shape_error(decay, zeros({0}, kF64)), "odeint: ts must be a vector of at least one time");
  EXPECT_CONTAINS(shape_error(decay, zeros({2, 2}, kF64)), "got shape [2, 2]");
  EXPECT_CONTAINS(shape_error([](const Tensor&, const Tensor& y) { return sum(y); }, ts),
                  "odeint: f returned shape [] for a state of shape [2]");
  const auto dtype_error = [&](const OdeFunction& f, const Tensor& y, const Tensor& t) {
    return message_of<DTypeError>([&] { odeint(f, y, t); });
  };
  EXPECT_CONTAINS(dtype_error([](const Tensor&, const Tensor& y) { return y.to(f32); }, y0, ts), "f returned f32");
  EXPECT_CONTAINS(dtype_error(decay, ones({2}, {.dtype = i64}), ts), "y0 must be f32 or f64, got i64");
  EXPECT_CONTAINS(dtype_error(decay, ones({2}, {.dtype = bf16}), ts), "got bf16");
  EXPECT_CONTAINS(dtype_error(decay, y0, arange(3, {.dtype = i64})), "ts must have a floating dtype");
  EXPECT_CONTAINS(message_of<ShapeError>(
                      [&] { odeint_adjoint([](const Tensor&, const Tensor& y) { return sum(y); }, y0, ts, {}); }),
                  "odeint_adjoint: f returned shape []");
}

}  // namespace
}  // namespace tenrec
