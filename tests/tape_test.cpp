// The tape: order, lifetime, needs, hooks, in-place rules, checkpoint, anomaly mode, functional derivatives.
#include <gtest/gtest.h>
#include <pthread.h>

#include <cmath>

#include "support/reliability_row.h"
#include "tenrec/autograd/ops_seen.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

Tensor leaf(std::initializer_list<NestedList> values) { return tensor(values, {.dtype = f64, .requires_grad = true}); }

void expect_near(const Tensor& t, const std::vector<double>& expected, double tolerance = 1e-12) {
  ASSERT_TRUE(t.defined());
  const std::vector<double> values = t.to_vector<double>();
  ASSERT_EQ(values.size(), expected.size());
  for (size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], expected[i], tolerance) << "element " << i;
}

template <class E>
std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const E& e) {
    return e.what();
  } catch (const std::exception& e) {
    ADD_FAILURE() << "another exception: " << e.what();
    return {};
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

TEST(Tape, GradReturnsAndBackwardAccumulates) {
  const Tensor x = leaf({1., 2., 3.});
  const Tensor y = sum(x * x * x);
  expect_near(grad(y, {x}, {.retain_graph = true})[0], {3, 12, 27});
  EXPECT_FALSE(x.grad().defined());
  backward(y, {.retain_graph = true});
  backward(y);
  expect_near(x.grad(), {6, 24, 54});
}

TEST(Tape, DerivativesOfAnyOrder) {
  const Tensor x = leaf({0.7});
  Tensor y = exp(x * 2) * x;  // n-th derivative: exp(2x) (2^n x + n 2^(n-1))
  for (int n = 1; n <= 6; ++n) {
    y = grad(sum(y), {x}, {.create_graph = true})[0];
    const double expected = std::exp(1.4) * (std::pow(2, n) * 0.7 + n * std::pow(2, n - 1));
    EXPECT_NEAR(y.item<double>(), expected, 1e-9 * expected) << "order " << n;
  }
}

TEST(Tape, SecondPassOverAFreedGraphIsAnError) {
  const Tensor x = leaf({1., 2.});
  const Tensor y = sum(exp(x));
  backward(y);
  EXPECT_NE(message_of<AutogradError>([&] { backward(y); }).find("retain_graph"), std::string::npos);
}

TEST(Tape, UnusedInputIsAnErrorUnlessAllowed) {
  const Tensor x = leaf({1.}), z = leaf({2.});
  const Tensor y = sum(x * x);
  EXPECT_NE(message_of<AutogradError>([&] {
              grad(y, {x, z}, {.retain_graph = true});
            }).find("x number 1"),
            std::string::npos);
  EXPECT_FALSE(grad(y, {x, z}, {.allow_unused = true})[1].defined());
  message_of<AutogradError>([&] { backward(sum(x.detach())); });
  message_of<ShapeError>([] { backward(exp(leaf({1., 2.}))); });
}

TEST(Tape, GradientOfAnIntermediate) {
  const Tensor x = leaf({1., 2.});
  const Tensor h = x * 3, y = sum(h * h) + sum(x);
  const auto grads = grad(y, {h, x});
  expect_near(grads[0], {6, 12});
  expect_near(grads[1], {19, 37});
}

TEST(Tape, BroadcastAndDtypeAreReducedByTheEngine) {
  const Tensor a = tensor({{1., 2.}, {3., 4.}}, {.requires_grad = true});  // f32
  const Tensor b = tensor({10., 20.}, {.dtype = f64, .requires_grad = true});
  backward(sum(a * b));
  EXPECT_EQ(a.grad().dtype(), f32);
  expect_near(b.grad(), {4, 6});
  expect_near(a.grad(), {10, 20, 10, 20});
}

TEST(Tape, MlpStepHasFiveProducts) {
  manual_seed(1);
  Sequential net(Linear(8, 16), ReLU(), Linear(16, 4));
  const Tensor x = randn({5, 8}), y = zeros({5}, {.dtype = i64});
  watch_ops(true);
  backward(cross_entropy(net(x), y));
  int64_t products = 0;
  for (const auto& [name, calls] : ops_seen())
    if (name == "linear" || name == "matmul") products += calls;
  watch_ops(false);
  EXPECT_EQ(products, 5);  // two forward, two by the weights, one by the hidden layer; none by the data
}

void million_ops() {
  const Tensor x = tensor({1., 2.}, {.requires_grad = true});
  Tensor y = x;
  for (int i = 0; i < 1'000'000; ++i) y = y + 1.0;
  backward(sum(y));
  EXPECT_EQ(x.grad().item<double>(1), 1);
  Tensor z = x;
  for (int i = 0; i < 1'000'000; ++i) z = z * 1.0;  // freed without a pass
}

TEST(Tape, MillionOpsOnASmallStack) {
  testing::Row row(27, "1,000,000 ops forward, backward and freed on a stack of 256 KiB");
  const int64_t before = live_tensors();
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, 256 << 10), 0);
  pthread_t thread;
  const auto body = [](void*) -> void* {
    million_ops();
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, body, nullptr), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  row.check(live_tensors() == before, "tensors are left");
}

TEST(Tape, NothingLeaks) {
  const auto step = [] {
    const Tensor x = leaf({{1., 2.}, {3., 4.}});
    const Tensor g = grad(sum(tanh(matmul(x, x))), {x}, {.create_graph = true})[0];
    backward(sum(g * g));
  };
  step();
  const int64_t before = live_tensors();
  for (int i = 0; i < 100; ++i) step();
  EXPECT_EQ(live_tensors(), before);
}

TEST(Tape, HooksSeeAndReplace) {
  const Tensor x = leaf({1., 2.});
  const Tensor h = x * 3;
  double seen = 0;
  HookHandle on_h = register_hook(h, [&](const Tensor& g) {
    seen = g.item<double>(1);
    return g * 10;
  });
  register_hook(x, [](const Tensor& g) { return g + 1; });
  backward(sum(h * h), {.retain_graph = false});
  EXPECT_EQ(seen, 12);
  expect_near(x.grad(), {181, 361});
  on_h.remove();
  const Tensor y = leaf({1.});
  register_hook(y, [](const Tensor&) { return zeros({3}); });
  message_of<ShapeError>([&] { backward(sum(y * 1)); });
}

TEST(InPlace, OnWhatTheTapeRecordedIsAnError) {
  const Tensor x = leaf({1., 2.});
  EXPECT_NE(message_of<AutogradError>([&] { add_(x, x.detach()); }).find("x = x + alpha * y"), std::string::npos);
  const Tensor y = exp(x);
  message_of<AutogradError>([&] { fill_(y, 0); });
  const Tensor plain = tensor({1., 2.}, {.dtype = f64});
  const Tensor z = x * plain;
  message_of<AutogradError>([&] { zero_(plain); });                  // saved as an input
  message_of<AutogradError>([&] { zero_(slice(plain, 0, 0, 1)); });  // a view of it
  message_of<AutogradError>([&] { mul_(plain.detach(), 2); });
  zero_(tensor({3., 4.}));  // nobody recorded it
}

TEST(InPlace, ChangedBehindTheTapeIsFoundByItsVersion) {
  const Tensor x = leaf({1., 2.}), w = tensor({3., 4.}, {.dtype = f64});
  const auto changed = [&](const Tensor& what) {
    const Tensor y = sum(x * w);
    {
      const NoGrad off;
      add_(what, ones_like(what));
    }
    EXPECT_NE(message_of<AutogradError>([&] { backward(y); }).find("changed in place"), std::string::npos);
  };
  changed(w);
  changed(w.detach());
  changed(slice(w, 0, 1, 2));
  const Tensor y = exp(x);
  {
    const NoGrad off;
    zero_(y);
  }
  message_of<AutogradError>([&] { backward(sum(y)); });  // a saved output
}

TEST(InPlace, CompoundAssignmentRebinds) {
  const Tensor x = leaf({1., 2.});
  Tensor y = x;
  y += x;
  y *= 3.0;
  backward(sum(y));
  expect_near(x.grad(), {6, 6});
  expect_near(x, {1, 2});
}

TEST(Checkpoint, SameGradientsFromParametersItCaptures) {
  manual_seed(3);
  const Tensor x = leaf({{0.3, -0.2}, {0.1, 0.9}}), w = leaf({{0.5, 0.4}, {-0.3, 0.2}});
  const auto block = [&](const std::vector<Tensor>& in) { return std::vector<Tensor>{tanh(matmul(in[0], w)) * in[0]}; };
  const auto direct = grad(sum(block({x})[0]), {x, w});
  const auto saved = grad(sum(checkpoint(block, {x})[0]), {x, w});
  for (int i : {0, 1}) expect_near(saved[size_t(i)], direct[size_t(i)].to_vector<double>(), 0);
}

TEST(Checkpoint, SecondDerivativesAndNesting) {
  const Tensor x = leaf({0.3, -0.2});
  const auto inner = [](const std::vector<Tensor>& in) { return std::vector<Tensor>{exp(in[0]) * in[0]}; };
  const auto outer = [&](const std::vector<Tensor>& in) {
    return std::vector<Tensor>{tanh(checkpoint(inner, {in[0] * 2})[0])};
  };
  const auto plain = [&](const std::vector<Tensor>& in) { return std::vector<Tensor>{tanh(inner({in[0] * 2})[0])}; };
  const auto second = [&](const auto& f) {
    const Tensor g = grad(sum(f({x})[0]), {x}, {.create_graph = true})[0];
    return grad(sum(g * g), {x})[0];
  };
  const Tensor expected = second(plain);
  expect_near(second([&](const std::vector<Tensor>& in) { return checkpoint(outer, in); }),
              expected.to_vector<double>(), 1e-12);
}

TEST(Checkpoint, DrawsTheSameRandomNumbers) {
  const Tensor x = ones({1000}, {.dtype = f64, .requires_grad = true});
  const auto noisy = [](const std::vector<Tensor>& in) { return std::vector<Tensor>{dropout(in[0], 0.5) * in[0]}; };
  manual_seed(5);
  const Tensor y = checkpoint(noisy, {x})[0];
  randn({7});
  const auto state = default_generator().state();
  const Tensor g = grad(sum(y), {x})[0];
  EXPECT_EQ(default_generator().state(), state);
  expect_near(g, (y * 2).to_vector<double>());
}

TEST(Checkpoint, KeepsLessInMemory) {
  const auto peak_live = [](bool use) {
    const Tensor x = ones({16}, {.dtype = f64, .requires_grad = true});
    const auto deep = [](const std::vector<Tensor>& in) {
      Tensor y = in[0];
      for (int i = 0; i < 50; ++i) y = exp(y * 0.01);
      return std::vector<Tensor>{y};
    };
    const int64_t before = memory_stats().in_use;
    const Tensor y = use ? checkpoint(deep, {x})[0] : deep({x})[0];
    return memory_stats().in_use - before;
  };
  EXPECT_LT(peak_live(true), peak_live(false));
}

TEST(Checkpoint, InputChangedInPlaceIsAnError) {
  const Tensor x = leaf({1., 2.}), c = tensor({1., 2.}, {.dtype = f64});
  const Tensor y =
      checkpoint([&](const std::vector<Tensor>& in) { return std::vector<Tensor>{exp(x * in[0])}; }, {c})[0];
  {
    const NoGrad off;
    zero_(c);
  }
  EXPECT_NE(message_of<AutogradError>([&] { backward(sum(y)); }).find("changed in place"), std::string::npos);
}

TEST(Anomaly, NamesOpAndModule) {
  struct Net : Module {
    Tensor operator()(const Tensor& x) const {
      const ModuleScope scope(*this);
      return head(x);
    }
    void visit(Visitor& v) override { v("head", head); }
    struct Head : Module {
      Tensor operator()(const Tensor& x) const {
        const ModuleScope scope(*this);
        return log(x);
      }
    } head;
  } net;
  parameters(net);
  const AnomalyMode mode;
  const std::string forward = message_of<AutogradError>([&] { net(leaf({-1.})); });
  EXPECT_NE(forward.find("log: forward made a NaN"), std::string::npos) << forward;
  EXPECT_NE(forward.find("[in module head]"), std::string::npos) << forward;
  const Tensor x = leaf({0.});
  const Tensor y = sqrt(x) * 0;  // finite forward, 0 * inf backward
  const std::string back = message_of<AutogradError>([&] { backward(sum(y)); });
  EXPECT_NE(back.find("sqrt: backward made a NaN"), std::string::npos) << back;
}

TEST(Functional, ProductsAgreeWithFullMatrices) {
  const Tensor x = tensor({0.4, -0.7, 1.1}, {.dtype = f64}), v = tensor({1., -2., 0.5}, {.dtype = f64});
  const auto f = [](const Tensor& t) { return exp(t) * sum(t * t); };
  const auto scalar_f = [&](const Tensor& t) { return sum(tanh(f(t))); };
  const Tensor jac = jacobian(f, x), hess = hessian(scalar_f, x);
  ASSERT_EQ(to_string(jac.shape()), "[3, 3]");
  const auto as_list = [](auto g) { return [g](const std::vector<Tensor>& in) { return g(in[0]); }; };
  expect_near(jvp(as_list(f), {x}, {v}).tensors[0], matmul(jac, v).to_vector<double>());
  expect_near(vjp(as_list(f), {x}, v).tensors[0], matmul(v, jac).to_vector<double>());
  expect_near(hvp(as_list(scalar_f), {x}, {v}).tensors[0], matmul(hess, v).to_vector<double>());
  expect_near(hess, t(hess).to_vector<double>());
  // sum of squares: H = 2 I
  expect_near(hessian([](const Tensor& t) { return sum(t * t); }, x), (eye(3, {.dtype = f64}) * 2).to_vector<double>());
  // linear: H = 0, and a function that does not depend on x has a zero Jacobian
  expect_near(hessian([](const Tensor& t) { return sum(t); }, x), std::vector<double>(9, 0.0));
  expect_near(jacobian([](const Tensor&) { return zeros({2}, {.dtype = f64}); }, x), std::vector<double>(6, 0.0));
}

TEST(CustomFunction, RecordIsPublic) {
  const auto cube = [](const Tensor& x) {
    Tensor y;
    {
      const NoGrad off;
      y = x * x * x;
    }
    return record("cube", {x}, y, save_inputs,
                  [](const Saved& s, const Tensor& dy, Needs) { return Grads{dy * s.input() * s.input() * 3}; });
  };
  const MultiFunction f = [&](std::span<const Tensor> in) { return std::vector<Tensor>{cube(in[0])}; };
  EXPECT_TRUE(gradcheck(f, {leaf({0.5, -1.5})}).ok);
  EXPECT_TRUE(gradgradcheck(f, {leaf({0.5, -1.5})}).ok);
}

TEST(CustomFunction, UndeclaredReadsAndMissingRulesThrow) {
  const Tensor x = leaf({1.});
  const Tensor y = record("greedy", {x}, clone(x.detach()), save_none,
                          [](const Saved& s, const Tensor& dy, Needs) { return Grads{dy * s.input()}; });
  message_of<InternalError>([&] { backward(sum(y)); });
  EXPECT_NE(message_of<AutogradError>([&] {
              record("odd", {x}, clone(x.detach()), no_rule);
            }).find("odd: this op has no derivative"),
            std::string::npos);
}

TEST(Tape, DiscreteOutputsCarryNoGradient) {
  const Tensor x = leaf({3., 1., 2.});
  EXPECT_FALSE(argmax(x).requires_grad());
  EXPECT_FALSE(lt(x, 2.0).requires_grad());
  EXPECT_FALSE(x.to(i64).requires_grad());
  message_of<DTypeError>([] { tensor({1.}, {.dtype = i64}).set_requires_grad(true); });
}

TEST(Tape, NoGradRecordsNothing) {
  const Tensor x = leaf({1.});
  const NoGrad off;
  EXPECT_FALSE((x * 2).requires_grad());
  const EnableGrad on;
  EXPECT_TRUE((x * 2).requires_grad());
}

TEST(Tape, FailingAllocationLeavesNothingBehind) {
  testing::Row row(30, "every n-th allocation of a step fails: typed error, no leak, retry bit-identical");
  const auto step = [](const Tensor& x) {
    x.raw()->requires_grad = true;
    const Tensor y = sum(tanh(matmul(x, x)) * x);
    return grad(y, {x})[0].to_vector<double>();
  };
  const Tensor x = tensor({{0.1, 0.2}, {0.3, 0.4}}, {.dtype = f64});
  const std::vector<double> expected = step(x);
  const int64_t live = live_tensors();
  int64_t failures = 0;
  for (int64_t n = 1; n < 1000; ++n) {
    detail::fail_allocation_after(n);
    try {
      EXPECT_EQ(step(x), expected);
      detail::fail_allocation_after(0);
      break;
    } catch (const OutOfMemoryError&) {
      ++failures;
    }
    detail::fail_allocation_after(0);
    row.check(live_tensors() == live, "tensors left after failure of allocation ", n);
    row.check(step(x) == expected, "retry after failure of allocation ", n);
  }
  EXPECT_GT(failures, 20);
}

}  // namespace
}  // namespace tenrec
