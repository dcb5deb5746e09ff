// Runs the case table (op_cases/op_case.h); with TENREC_TEST_DEVICE=cuda, on that device.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>

#include "op_cases/op_case.h"
#include "support/reliability_row.h"
#include "tenrec/autograd/gradcheck.h"
#include "tenrec/autograd/ops_seen.h"
#include "tenrec/autograd/tape.h"

namespace tenrec::testing {
namespace {

class OnDevice : public ::testing::Environment {
 public:
  void SetUp() override {
    const char* const device = std::getenv("TENREC_TEST_DEVICE");
    if (!device) return;
    if (Device(device).is_cuda() && !cuda::is_available()) GTEST_SKIP() << "skipped, no cuda device";
    set_default_device(Device(device));
  }
};
const ::testing::Environment* const kOnDevice = ::testing::AddGlobalTestEnvironment(new OnDevice);

std::string label(const OpCase& c) { return c.op + (c.variant.empty() ? "" : " / " + c.variant); }

bool small_sizes() { return std::getenv("TENREC_TEST_SMALL") != nullptr; }

std::vector<Tensor> evaluate(const OpCase& c, std::span<const Tensor> inputs) {
  manual_seed(7);
  return c.f(inputs);
}

// The rows of the reliability programme that the table stands for.
int row_of(std::string_view what) {
  constexpr std::pair<std::string_view, int> rows[] = {
      {"gradcheck", 1}, {"gradgradcheck", 2}, {"f32_gradient", 3}, {"layouts", 13}, {"threads", 15}};
  for (const auto& [name, row] : rows)
    if (name == what) return row;
  return 0;
}

// The number of checks may not fall: tests/fixtures/check_counts.txt holds what a run must reach.
void expect_count(const char* what, int64_t count) {
  std::printf("checks %s %lld\n", what, static_cast<long long>(count));
  const ::testing::TestInfo* test = ::testing::UnitTest::GetInstance()->current_test_info();
  const int64_t failed = test->result()->total_part_count();
  static auto last = std::chrono::steady_clock::now();
  const auto now = std::chrono::steady_clock::now();
  if (const int row = row_of(what))
    report_row(row, what, count - std::min(failed, count), count, std::chrono::duration<double>(now - last).count());
  last = now;
  if (small_sizes()) return;  // fewer by design
  std::ifstream file(std::string(TENREC_SOURCE_DIR) + "/tests/fixtures/check_counts.txt");
  ASSERT_TRUE(file) << "tests/fixtures/check_counts.txt is missing";
  std::string name;
  int64_t least = 0;
  while (file >> name >> least) {
    if (name == what) {
      EXPECT_GE(count, least) << "fewer checks of " << what << " than before";
    }
  }
}

void expect_close(const OpCase& c, const std::vector<Tensor>& ys, const std::vector<Array>& expected, double tol) {
  ASSERT_EQ(ys.size(), expected.size());
  for (size_t o = 0; o < ys.size(); ++o) {
    ASSERT_EQ(to_string(ys[o].shape()), to_string(expected[o].shape)) << "output " << o;
    const std::vector<double> values = ys[o].to_vector<double>();
    ASSERT_EQ(values.size(), expected[o].values.size()) << "the reference of output " << o;
    for (size_t i = 0; i < values.size(); ++i)
      ASSERT_LE(error_of(values[i], expected[o].values[i]), tol)
          << label(c) << " output " << o << " element " << i << ": got " << values[i] << ", expected "
          << expected[o].values[i];
  }
}

TEST(OpCases, ForwardEqualsNaiveReference) {
  int64_t checks = 0;
  for (const OpCase& c : op_cases()) {
    if (!c.reference) {
      EXPECT_FALSE(c.why_no_reference.empty()) << label(c) << " has neither a reference nor a reason";
      continue;
    }
    for (DType dtype : dtypes_of(c)) {
      SCOPED_TRACE(label(c) + " in " + name(dtype));
      try {
        const std::vector<Tensor> inputs = make_inputs(c.inputs, dtype, 1);
        std::vector<Array> arrays;
        for (const Tensor& x : inputs) arrays.push_back(to_array(x));
        expect_close(c, evaluate(c, inputs), c.reference(arrays), tolerance(c, dtype));
        ++checks;
      } catch (const std::exception& e) {
        ADD_FAILURE() << e.what();
      }
    }
  }
  expect_count("forward", checks);
}

std::vector<Tensor> differentiable_inputs(const OpCase& c, DType dtype) {
  std::vector<Tensor> inputs = make_inputs(c.inputs, dtype, 2);
  for (size_t i = 0; i < inputs.size(); ++i)
    if (c.inputs[i].kind == Input::real && c.inputs[i].differentiable) inputs[i].set_requires_grad(true);
  return inputs;
}

template <class Check>
void check_derivatives(const char* what, int order, Check check) {
  int64_t checks = 0;
  for (const OpCase& c : op_cases()) {
    if (!c.differentiable || c.order < order || !has_real_input(c)) continue;
    SCOPED_TRACE(label(c));
    try {
      manual_seed(7);
      const GradcheckResult result = check(c.f, differentiable_inputs(c, f64), GradcheckOptions{});
      EXPECT_TRUE(result.ok) << result.message;
      checks += result.checked;
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
    }
  }
  expect_count(what, checks);
}

TEST(OpCases, Gradcheck) { check_derivatives("gradcheck", 1, gradcheck); }
TEST(OpCases, Gradgradcheck) { check_derivatives("gradgradcheck", 2, gradgradcheck); }

// One row of each: what may be differentiated without end. Their second derivatives may be right and yet be cut off.
constexpr const char* kSmoothOps[] = {"exp",           "log",        "sin",        "tanh",
                                      "sigmoid",       "softplus",   "gelu",       "silu",
                                      "mul",           "div",        "matmul",     "linear",
                                      "softmax",       "prod",       "logsumexp",  "conv2d",
                                      "cross_entropy", "layer_norm", "batch_norm", "scaled_dot_product_attention",
                                      "log_softmax",   "cholesky"};

std::vector<Tensor> recorded_gradients(const OpCase& c, std::span<const Tensor> inputs) {
  std::vector<Tensor> xs, losses, cotangents;
  std::vector<Tensor> arguments(inputs.begin(), inputs.end());
  for (Tensor& x : arguments)
    if (x.requires_grad()) xs.push_back(x = alias(x));
  for (const Tensor& y : evaluate(c, arguments)) {
    if (!y.requires_grad()) continue;
    losses.push_back(y);
    cotangents.push_back(reshape(cos(arange(y.numel(), {.dtype = f64})), y.shape()));
  }
  std::vector<Tensor> grads = grad(losses, xs, cotangents, {.create_graph = true, .allow_unused = true});
  std::erase_if(grads, [](const Tensor& g) { return !g.defined() || !g.requires_grad(); });
  return grads;
}

TEST(OpCases, ThirdDerivativesOfSmoothOps) {
  int64_t checks = 0;
  for (const char* op : kSmoothOps) {
    SCOPED_TRACE(op);
    const auto row = std::find_if(op_cases().begin(), op_cases().end(), [&](const OpCase& c) {
      return c.op == op && c.differentiable && c.order >= 2 && has_real_input(c);
    });
    ASSERT_NE(row, op_cases().end()) << "has no row";
    const GradcheckResult result = gradgradcheck(
        [&](std::span<const Tensor> in) { return recorded_gradients(*row, in); }, differentiable_inputs(*row, f64));
    EXPECT_TRUE(result.ok) << result.message;
    EXPECT_GT(result.checked, 0);
    checks += result.checked;
  }
  expect_count("third", checks);
}

std::vector<Tensor> gradients(const OpCase& c, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> xs, losses, cotangents;
  for (const Tensor& x : inputs)
    if (x.requires_grad()) xs.push_back(x);
  for (const Tensor& y : evaluate(c, inputs)) {
    if (!y.requires_grad()) continue;
    losses.push_back(y);
    cotangents.push_back(ones_like(y));
  }
  if (losses.empty()) return {};
  return grad(losses, xs, cotangents, {.allow_unused = true});
}

TEST(OpCases, SinglePrecisionGradientsEqualDouble) {
  int64_t checks = 0;
  for (const OpCase& c : op_cases()) {
    if (!c.differentiable || !has_real_input(c)) continue;
    SCOPED_TRACE(label(c));
    try {
      // The same values in both: rounded to f32 first.
      std::vector<Tensor> single = differentiable_inputs(c, f32), wide;
      for (const Tensor& x : single)
        wide.push_back(x.dtype() == f32 ? x.detach().to(f64).set_requires_grad(x.requires_grad()) : x);
      const std::vector<Tensor> a = gradients(c, single), b = gradients(c, wide);
      ASSERT_EQ(a.size(), b.size());
      for (size_t k = 0; k < a.size(); ++k) {
        ASSERT_EQ(a[k].defined(), b[k].defined());
        if (!a[k].defined()) continue;
        const auto x = a[k].to_vector<double>(), y = b[k].to_vector<double>();
        for (size_t i = 0; i < x.size(); ++i)
          ASSERT_LE(error_of(x[i], y[i]), 2e-3) << "input " << k << " element " << i;
        ++checks;
      }
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
    }
  }
  expect_count("f32_gradient", checks);
}

// The same values under other strides: dimensions stored in reverse order, and every second element of a larger buffer.
Tensor reversed_layout(const Tensor& x) {
  if (x.ndim() < 2) return x;
  Shape order;
  for (int64_t d = x.ndim() - 1; d >= 0; --d) order.push_back(d);
  return permute(contiguous(permute(x, order)), order);
}
Tensor spaced_layout(const Tensor& x) {
  if (x.ndim() == 0) return x;
  const Tensor wide = zeros(
      [&] {
        Shape s = x.shape();
        s[s.ndim() - 1] *= 2;
        return s;
      }(),
      {.dtype = x.dtype()});
  const Tensor place = slice(wide, -1, 0, INT64_MAX, 2);
  const NoGrad off;
  copy_(place, x);
  return place;
}

TEST(OpCases, LayoutsGiveTheSameValues) {
  int64_t checks = 0;
  for (const OpCase& c : op_cases()) {
    for (DType dtype : dtypes_of(c)) {
      if (dtype != f32 && dtype != f64) continue;
      SCOPED_TRACE(label(c) + " in " + name(dtype));
      try {
        const std::vector<Tensor> inputs = make_inputs(c.inputs, dtype, 1);
        std::vector<Array> expected;
        for (const Tensor& y : evaluate(c, inputs)) expected.push_back(to_array(y));
        for (auto layout : {reversed_layout, spaced_layout}) {
          std::vector<Tensor> changed;
          for (const Tensor& x : inputs) changed.push_back(layout(x));
          expect_close(c, evaluate(c, changed), expected, tolerance(c, dtype));
          ++checks;
        }
      } catch (const std::exception& e) {
        ADD_FAILURE() << e.what();
      }
    }
  }
  expect_count("layouts", checks);
}

std::string bytes_of(const std::vector<Tensor>& ys) {
  std::string out;
  for (const Tensor& y : ys) {
    if (!y.defined()) continue;
    const Tensor c = contiguous(y.detach()).to(kCpu);
    out.append(static_cast<const char*>(c.data_ptr()), size_t(c.numel() * size_of(c.dtype())));
  }
  return out;
}

TEST(OpCases, ThreadsGiveTheSameBits) {
  int64_t checks = 0;
  const int before = num_threads();
  for (const OpCase& c : op_cases()) {
    if (!has_real_input(c)) continue;
    SCOPED_TRACE(label(c));
    try {
      std::vector<std::vector<Input>> sets{c.inputs};
      if (!small_sizes() && c.bench.inputs && !c.bench.shapes.empty())
        sets.push_back(c.bench.inputs(c.bench.shapes.front()));
      for (const std::vector<Input>& set : sets) {
        OpCase sized = c;
        sized.inputs = set;
        std::string first, first_gradient;
        for (int threads : {1, 2, 3, 4, 8}) {
          set_num_threads(threads);
          const std::vector<Tensor> inputs =
              c.differentiable ? differentiable_inputs(sized, f32) : make_inputs(sized.inputs, f32, 2);
          const std::string bits = bytes_of(evaluate(sized, inputs));
          const std::string gradient = c.differentiable ? bytes_of(gradients(sized, inputs)) : std::string();
          if (threads == 1) {
            first = bits;
            first_gradient = gradient;
          }
          EXPECT_TRUE(bits == first) << threads << " threads give other bits";
          EXPECT_TRUE(gradient == first_gradient) << threads << " threads give another gradient";
          ++checks;
        }
      }
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
    }
  }
  set_num_threads(before);
  expect_count("threads", checks);
}

TEST(OpCases, BadCallsSayWhatIsWrong) {
  int64_t checks = 0;
  for (const OpCase& c : op_cases()) {
    for (const BadCall& bad : c.bad) {
      SCOPED_TRACE(label(c) + ", expecting \"" + bad.message + "\"");
      try {
        bad.call();
        ADD_FAILURE() << "nothing was thrown";
      } catch (const InternalError& e) {
        ADD_FAILURE() << "an internal error: " << e.what();
      } catch (const Error& e) {
        EXPECT_NE(std::string(e.what()).find(bad.message), std::string::npos) << e.what();
        EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << "more than one line";
      } catch (const std::exception& e) {
        ADD_FAILURE() << "not a tenrec::Error: " << e.what();
      }
      ++checks;
    }
  }
  expect_count("bad_calls", checks);
}

TEST(OpCases, EveryRecordedOpHasARow) {
  watch_ops(true);
  std::set<std::string> rows;
  for (const OpCase& c : op_cases()) {
    rows.insert(c.op);
    rows.insert(c.also_covers.begin(), c.also_covers.end());
    try {
      if (!c.differentiable || !has_real_input(c)) {
        evaluate(c, make_inputs(c.inputs, dtypes_of(c).front(), 1));
        continue;
      }
      gradients(c, differentiable_inputs(c, f32));
      const std::vector<Tensor> inputs = differentiable_inputs(c, f64);
      for (const Tensor& y : evaluate(c, inputs)) {
        if (!y.requires_grad()) continue;
        std::vector<Tensor> xs;
        for (const Tensor& x : inputs)
          if (x.requires_grad()) xs.push_back(x);
        grad(y, xs, {.create_graph = true, .allow_unused = true, .grad_output = ones_like(y)});
      }
    } catch (const std::exception&) {
      // Failures of single rows are reported by the tests above.
    }
  }
  for (const auto& [op, calls] : ops_seen())
    EXPECT_TRUE(rows.contains(op)) << "op " << op << " has no row in the table";
  watch_ops(false);
  expect_count("ops_with_rows", int64_t(rows.size()));
}

// The test of the test: thirty ops whose gradient is wrong in a way that people get it wrong.
struct Planted {
  const char* what;
  std::function<Tensor(const Tensor&)> op;
};

template <class Rule>
std::function<Tensor(const Tensor&)> planted(Tensor (*forward)(const Tensor&), Rule rule) {
  return [=](const Tensor& x) {
    Tensor y;
    {
      const NoGrad off;
      y = forward(x);
    }
    return record("planted", {x}, y, save_both,
                  [=](const Saved& s, const Tensor& dy, Needs) { return Grads{rule(s.input(), s.output(), dy)}; });
  };
}

std::vector<Planted> planted_faults() {
  using T = const Tensor&;
  const auto square = [](T x) { return x * x; };
  const auto cube = [](T x) { return x * x * x; };
  const auto inverse = [](T x) { return 1.0 / x; };
  const auto total = [](T x) { return sum(x); };
  const auto rows = [](T x) { return sum(x, {.dim = 1}); };
  const auto average = [](T x) { return mean(x); };
  const auto flipped = [](T x) { return clone(t(x)); };
  const auto doubled = [](T x) { return x * 2; };
  const auto same = [](T x) { return clone(x); };
  return {
      {"exp: gradient of one", planted([](T x) { return exp(x); }, [](T, T, T dy) { return dy; })},
      {"exp: input for output", planted([](T x) { return exp(x); }, [](T x, T, T dy) { return dy * x; })},
      {"exp: sign", planted([](T x) { return exp(x); }, [](T, T y, T dy) { return -(dy * y); })},
      {"exp: dy dropped", planted([](T x) { return exp(x); }, [](T, T y, T) { return y + 0.0; })},
      {"log: multiplied", planted([](T x) { return log(x); }, [](T x, T, T dy) { return dy * x; })},
      {"log: of the output", planted([](T x) { return log(x); }, [](T, T y, T dy) { return dy / y; })},
      {"tanh: y for y^2", planted([](T x) { return tanh(x); }, [](T, T y, T dy) { return dy * (1 - y); })},
      {"tanh: plus", planted([](T x) { return tanh(x); }, [](T, T y, T dy) { return dy * (1 + y * y); })},
      {"tanh: of x", planted([](T x) { return tanh(x); }, [](T x, T, T dy) { return dy * (1 - x * x); })},
      {"sigmoid: y only", planted([](T x) { return sigmoid(x); }, [](T, T y, T dy) { return dy * y; })},
      {"sigmoid: tanh's", planted([](T x) { return sigmoid(x); }, [](T, T y, T dy) { return dy * (1 - y * y); })},
      {"sigmoid: of x", planted([](T x) { return sigmoid(x); }, [](T x, T, T dy) { return dy * x * (1 - x); })},
      {"square: factor 2 forgotten", planted(square, [](T x, T, T dy) { return dy * x; })},
      {"square: constant", planted(square, [](T, T, T dy) { return dy * 2; })},
      {"square: of y", planted(square, [](T, T y, T dy) { return dy * y * 2; })},
      {"cube: factor", planted(cube, [](T x, T, T dy) { return dy * x * x; })},
      {"cube: power", planted(cube, [](T x, T, T dy) { return dy * x * 3; })},
      {"1/x: sign", planted(inverse, [](T, T y, T dy) { return dy * y * y; })},
      {"1/x: power", planted(inverse, [](T, T y, T dy) { return -(dy * y); })},
      {"sum: halved", planted(total, [](T x, T, T dy) { return (ones_like(x) * dy) * 0.5; })},
      {"sum: divided like mean", planted(total, [](T x, T, T dy) { return ones_like(x) * dy / double(x.numel()); })},
      {"sum of rows: wrong axis", planted(rows, [](T x, T, T dy) { return ones_like(x) * unsqueeze(dy, 0) * 1.0; })},
      {"mean: not divided", planted(average, [](T x, T, T dy) { return ones_like(x) * dy; })},
      {"mean: divided by rows", planted(average, [](T x, T, T dy) { return ones_like(x) * dy / double(x.size(0)); })},
      {"transpose: not transposed back", planted(flipped, [](T x, T, T dy) { return reshape(dy, x.shape()) + 0.0; })},
      {"times 2: once", planted(doubled, [](T, T, T dy) { return dy + 0.0; })},
      {"times 2: squared", planted(doubled, [](T, T, T dy) { return dy * 4; })},
      {"copy: zero", planted(same, [](T x, T, T) { return zeros_like(x); })},
      {"copy: first row only", planted(same,
                                       [](T, T, T dy) {
                                         return dy * tensor({{1.}, {0.}, {0.}}, {.dtype = f64});
                                       })},
      {"copy: small relative error", planted(same, [](T, T, T dy) { return dy * 1.01; })},
  };
}

TEST(TestOfTheTest, ThirtyPlantedWrongGradientsAreCaught) {
  const std::vector<Planted> faults = planted_faults();
  ASSERT_EQ(faults.size(), 30u);
  int caught = 0;
  for (const Planted& fault : faults) {
    const Tensor x = tensor({{0.3, 0.9, 1.4}, {1.7, 0.6, 0.8}, {1.1, 0.4, 1.3}}, {.dtype = f64, .requires_grad = true});
    const GradcheckResult result =
        gradcheck([&](std::span<const Tensor> in) { return std::vector<Tensor>{fault.op(in[0])}; }, {x});
    EXPECT_FALSE(result.ok) << "not caught: " << fault.what;
    caught += !result.ok;
  }
  report_row(4, "planted wrong gradients caught", caught, 30, 0);
}

TEST(TestOfTheTest, WrongSecondDerivativeIsCaught) {
  // The first derivative is right in value but was cut from the tape.
  const auto op = planted([](const Tensor& x) { return exp(x); },
                          [](const Tensor&, const Tensor& y, const Tensor& dy) { return dy * y.detach(); });
  const Tensor x = tensor({0.3, 0.9, 1.4}, {.dtype = f64, .requires_grad = true});
  const MultiFunction f = [&](std::span<const Tensor> in) { return std::vector<Tensor>{op(in[0])}; };
  EXPECT_TRUE(gradcheck(f, {x}).ok);
  EXPECT_FALSE(gradgradcheck(f, {x}).ok);
}

}  // namespace
}  // namespace tenrec::testing
