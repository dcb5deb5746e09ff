// Autocast: the lists op by op, gradients, the cache of casts, checkpoints. On the CPU, and on a cuda device where
// there is one.
#include "tenrec/autograd/autocast.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <thread>

#include "support/files.h"
#include "support/on_devices.h"
#include "tenrec/autograd/ops_seen.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using testing::message_of;

class AutocastTest : public testing::OnDevices {};
INSTANTIATE_TEST_SUITE_P(Devices, AutocastTest, testing::kDevices);

// How many casts to dtypes of `bytes` are made of tensors of this shape, while it lives.
class CastCounter {
 public:
  explicit CastCounter(const Shape& shape, int64_t bytes = 2) : shape_(shape), bytes_(bytes) {}
  int count() const { return count_; }

 private:
  Shape shape_;
  int64_t bytes_;
  int count_ = 0;
  OpListener listener_{[this](const char* op, std::span<const Tensor> y) {
    count_ += std::string(op) == "to" && size_of(y[0].dtype()) == bytes_ && y[0].shape() == shape_;
  }};
};

bool same_bits(const Tensor& a, const Tensor& b) { return a.dtype() == b.dtype() && equal(a, b); }

double distance(const Tensor& a, const Tensor& b) {
  return (norm(a.detach().to(f64) - b.detach().to(f64)) / norm(b.detach().to(f64))).item<double>();
}

// --- the lists ------------------------------------------------------------------------------------------------------

struct Listed {
  const char* op;
  enum List { low, wide, neither } list;
  std::function<Tensor(const Tensor& x, const Tensor& other)> call;  // two matrices [4, 4] with elements in (0, 1)
};

Tensor images(const Tensor& x) { return reshape(x, {1, 1, 4, 4}); }
Tensor classes() { return arange(4, {.dtype = i64}); }

using T = const Tensor&;

const std::vector<Listed>& listed() {
  static const std::vector<Listed> all = {
      {"matmul", Listed::low, [](T x, T w) { return matmul(x, w); }},
      {"matmul of batches", Listed::low,
       [](T x, T w) {
         return matmul(expand(x, {2, 4, 4}), expand(w, {2, 4, 4}));
       }},
      {"matrix and vector", Listed::low, [](T x, T w) { return matmul(x, w[0]); }},
      {"einsum", Listed::low,
       [](T x, T w) {
         return einsum("ij,kj->ik", {x, w});
       }},
      {"linear", Listed::low, [](T x, T w) { return linear(x, w, w[0]); }},
      {"linear without bias", Listed::low, [](T x, T w) { return linear(x, w); }},
      {"conv2d", Listed::low, [](T x, T w) { return conv2d(images(x), images(w), {}, {.padding = 1}); }},
      {"conv1d", Listed::low,
       [](T x, T w) {
         return conv1d(reshape(x, {1, 4, 4}), reshape(w, {2, 4, 2}), narrow(w[0], 0, 0, 2));
       }},
      {"conv2d_input_grad", Listed::low,
       [](T x, T w) {
         return conv2d_input_grad(images(x), images(w), {1, 1, 7, 7});
       }},
      {"conv2d_weight_grad", Listed::low,
       [](T x, T w) {
         return conv2d_weight_grad(images(x), images(w), {1, 1, 1, 1});
       }},
      {"prelu", Listed::low, [](T x, T w) { return prelu(-x, w[0]); }},

      {"softmax", Listed::wide, [](T x, T) { return softmax(x, 1); }},
      {"log_softmax", Listed::wide, [](T x, T) { return log_softmax(x, 0); }},
      {"softmin", Listed::wide, [](T x, T) { return softmin(x, 1); }},
      {"cross_entropy", Listed::wide, [](T x, T) { return cross_entropy(x, classes()); }},
      {"cross_entropy of probabilities", Listed::wide, [](T x, T w) { return cross_entropy(x, w); }},
      {"nll_loss", Listed::wide, [](T x, T) { return nll_loss(x, classes()); }},
      {"mse_loss", Listed::wide, [](T x, T w) { return mse_loss(x, w); }},
      {"l1_loss", Listed::wide, [](T x, T w) { return l1_loss(x, w); }},
      {"smooth_l1_loss", Listed::wide, [](T x, T w) { return smooth_l1_loss(x, w); }},
      {"huber_loss", Listed::wide, [](T x, T w) { return huber_loss(x, w); }},
      {"binary_cross_entropy", Listed::wide, [](T x, T w) { return binary_cross_entropy(x, w); }},
      {"binary_cross_entropy_with_logits", Listed::wide,
       [](T x, T w) { return binary_cross_entropy_with_logits(x, w); }},
      {"kl_div", Listed::wide, [](T x, T w) { return kl_div(x, w); }},
      {"sum", Listed::wide, [](T x, T) { return sum(x, {.dim = 1}); }},
      {"prod", Listed::wide, [](T x, T) { return prod(x, {.dim = 1}); }},
      {"norm", Listed::wide, [](T x, T) { return norm(x, 3, {.dim = 1}); }},
      {"cumsum", Listed::wide, [](T x, T) { return cumsum(x, 1); }},
      {"cumprod", Listed::wide, [](T x, T) { return cumprod(x, 1); }},
      {"pow", Listed::wide, [](T x, T w) { return pow(x, w); }},
      {"pow of a number", Listed::wide, [](T x, T) { return pow(2, x); }},
      {"pow to a number", Listed::wide, [](T x, T) { return pow(x, 2); }},
      {"square", Listed::wide, [](T x, T) { return square(x); }},
      {"1 / x", Listed::wide, [](T x, T) { return 1 / x; }},
      {"reciprocal", Listed::wide, [](T x, T) { return reciprocal(x); }},
      {"rsqrt", Listed::wide, [](T x, T) { return rsqrt(x); }},
      {"exp", Listed::wide, [](T x, T) { return exp(x); }},
      {"expm1", Listed::wide, [](T x, T) { return expm1(x); }},
      {"log", Listed::wide, [](T x, T) { return log(x); }},
      {"log2", Listed::wide, [](T x, T) { return log2(x); }},
      {"log10", Listed::wide, [](T x, T) { return log10(x); }},
      {"log1p", Listed::wide, [](T x, T) { return log1p(x); }},
      {"tan", Listed::wide, [](T x, T) { return tan(x); }},
      {"acos", Listed::wide, [](T x, T) { return acos(x); }},
      {"asin", Listed::wide, [](T x, T) { return asin(x); }},
      {"cosh", Listed::wide, [](T x, T) { return cosh(x); }},
      {"sinh", Listed::wide, [](T x, T) { return sinh(x); }},
      {"erfinv", Listed::wide, [](T x, T) { return erfinv(x); }},
      {"softplus", Listed::wide, [](T x, T) { return softplus(x); }},

      {"add", Listed::neither, [](T x, T) { return x + x * 2; }},
      {"relu", Listed::neither, [](T x, T) { return relu(x); }},
      {"gelu", Listed::neither, [](T x, T) { return gelu(x); }},
      {"sigmoid", Listed::neither, [](T x, T) { return sigmoid(x); }},
      {"tanh", Listed::neither, [](T x, T) { return tanh(x); }},
      {"mean", Listed::neither, [](T x, T) { return mean(x); }},
      {"cat", Listed::neither,
       [](T x, T) {
         return cat({x, x});
       }},
      {"max_pool2d", Listed::neither, [](T x, T) { return max_pool2d(images(x), 2); }},
      {"layer_norm", Listed::neither, [](T x, T) { return layer_norm(x, {4}, ones({4}), zeros({4})); }},
      {"batch_norm", Listed::neither, [](T x, T) { return batch_norm(x, {}, {}, ones({4}), {}, {.training = true}); }},
  };
  return all;
}

TEST_P(AutocastTest, EveryListedOpComputesInItsDType) {
  for (const Listed& row : listed())
    for (const DType scope : {bf16, f16})
      for (const DType dtype : {f32, bf16, f16}) {
        SCOPED_TRACE(concat(row.op, " of ", dtype, " in ", scope));
        const Tensor x = (rand({4, 4}) * 0.8 + 0.1).to(dtype), other = rand({4, 4}) * 0.8 + 0.1;
        const DType expected = row.list == Listed::low ? scope : row.list == Listed::wide ? f32 : dtype;
        const Tensor plain = row.call(x.to(expected), row.list == Listed::low ? other.to(scope) : other);
        const Autocast on(scope);
        const Tensor y = row.call(x, other);
        EXPECT_EQ(y.dtype(), expected);
        EXPECT_TRUE(same_bits(y, plain)) << to_string(y) << to_string(plain);
      }
}

TEST_P(AutocastTest, GradientsOfListedOpsComeBackInTheirOwnDType) {
  for (const Listed& row : listed())
    for (const DType dtype : {f32, bf16}) {
      SCOPED_TRACE(concat(row.op, " of ", dtype));
      const Tensor x = (rand({4, 4}) * 0.8 + 0.1).to(dtype).set_requires_grad(true), other = rand({4, 4}) * 0.8 + 0.1;
      const DType inside = row.list == Listed::low ? bf16 : row.list == Listed::wide ? f32 : dtype;
      const auto slope = [&](const Tensor& y) { return grad({y}, {x}, {ones_like(y)})[0]; };
      const Tensor plain = slope(row.call(x.to(inside), row.list == Listed::low ? other.to(bf16) : other));
      const Autocast on(bf16);
      const Tensor dx = slope(row.call(x, other));
      EXPECT_EQ(dx.dtype(), dtype);
      EXPECT_TRUE(same_bits(dx, plain)) << to_string(dx) << to_string(plain);
    }
}

TEST_P(AutocastTest, DoublesAndIntegersAreLeftAlone) {
  const Autocast on(bf16);
  for (const Listed& row : listed()) {
    const Tensor x = rand({4, 4}, {.dtype = f64}) * 0.8 + 0.1;
    EXPECT_EQ(row.call(x, x).dtype(), f64) << row.op;
  }
  const Tensor whole = ones({4, 4}, {.dtype = i64});
  EXPECT_EQ(matmul(whole, whole).dtype(), i64);
  EXPECT_EQ(sum(whole).dtype(), i64);
  EXPECT_EQ(matmul(ones({2, 2}, {.dtype = f64}), full({2, 2}, 1 / 3.)).item<double>(0, 0), 2 * double(float(1 / 3.)));
}

TEST_P(AutocastTest, ScopesNest) {
  const Tensor x = rand({2, 2});
  const auto dtype = [&] { return matmul(x, x).dtype(); };
  EXPECT_FALSE(is_autocast_enabled());
  EXPECT_EQ(dtype(), f32);
  {
    const Autocast outer(bf16);
    EXPECT_EQ(dtype(), bf16);
    {
      const Autocast off(false);
      EXPECT_FALSE(is_autocast_enabled());
      EXPECT_EQ(dtype(), f32);
      const Autocast again(true);
      EXPECT_EQ(dtype(), bf16);
      const Autocast other(f16);
      EXPECT_EQ(autocast_dtype(), f16);
      EXPECT_EQ(dtype(), f16);
    }
    EXPECT_EQ(dtype(), bf16);
    bool elsewhere = true;
    std::thread([&] { elsewhere = is_autocast_enabled(); }).join();
    EXPECT_FALSE(elsewhere) << "it belongs to one thread";
    const Autocast never(f32, false);
    EXPECT_EQ(dtype(), f32);
  }
  EXPECT_EQ(dtype(), f32);
  EXPECT_CONTAINS(message_of<DTypeError>([] { const Autocast wrong(f32); }), "bf16 or f16, not in f32");
  EXPECT_FALSE(is_autocast_enabled());
}

// --- gradients ------------------------------------------------------------------------------------------------------

Sequential network() {
  return Sequential(Conv2d(1, 8, 3, {.padding = 1}), BatchNorm2d(8), ReLU(), MaxPool2d(2), Flatten(), Linear(128, 32),
                    LayerNorm({32}), GELU(), Linear(32, 10));
}

TEST_P(AutocastTest, NetworkGradientsAreF32AndNearThoseOfF32) {
  Sequential net = network();
  const Tensor x = randn({16, 1, 8, 8}), y = randint(0, 10, {16});
  const std::vector<Tensor> weights = parameters(net);
  const auto gradients = [&] { return grad(cross_entropy(net(x), y), weights); };
  const std::vector<Tensor> expected = gradients();
  for (const DType dtype : {bf16, f16}) {
    const Autocast on(dtype);
    const std::vector<Tensor> got = gradients();
    for (size_t i = 0; i < weights.size(); ++i) {
      EXPECT_EQ(got[i].dtype(), f32);
      if (i == 1) continue;  // the convolution's bias before a batch norm: 0 but for rounding
      // Half a unit in the last place is 2^-9 (2^-12), and about ten roundings lie on the way.
      EXPECT_LT(distance(got[i], expected[i]), dtype == bf16 ? 10 * 0x1p-8 : 10 * 0x1p-11) << i << name(dtype);
      EXPECT_GT(distance(got[i], expected[i]), 0x1p-16) << i << " was computed in f32";
    }
  }
}

TEST_P(AutocastTest, SecondDerivatives) {
  const Tensor x = randn({6, 5}), w = randn({4, 5}, {.requires_grad = true});
  const auto loss = [&] { return sum(square(tanh(linear(x, w)))); };
  const auto second = [&](const Tensor& y) {
    const Tensor g = grad(y, {w}, {.create_graph = true})[0];
    EXPECT_EQ(g.dtype(), f32);
    return grad(sum(g * g), {w})[0];
  };
  const Tensor expected = second(loss());
  Tensor y;
  {
    const Autocast on(bf16);
    y = loss();
  }
  const Tensor got = second(y);
  EXPECT_EQ(got.dtype(), f32);
  EXPECT_LT(distance(got, expected), 20 * 0x1p-8);
  const Autocast on(bf16);
  EXPECT_LT(distance(second(loss()), got), 20 * 0x1p-8);  // sum(g * g) is in the scope here
}

TEST_P(AutocastTest, APassDoesNotDependOnTheScopeItIsCalledIn) {
  const Tensor x = randn({6, 5}), w = randn({4, 5}, {.requires_grad = true});
  const auto loss = [&] { return cross_entropy(exp(linear(x, w)), zeros({6}, {.dtype = i64})); };
  for (const bool recorded : {false, true}) {
    const GradOptions options{.create_graph = recorded};
    Tensor half;
    {
      const Autocast on(bf16);
      half = loss();
    }
    const Tensor single = loss(), outside = grad(half, {w}, {.create_graph = recorded, .retain_graph = true})[0];
    const Tensor plain = grad(single, {w}, {.create_graph = recorded, .retain_graph = true})[0];
    const Autocast on(bf16);
    EXPECT_TRUE(same_bits(grad(half, {w}, options)[0], outside));
    EXPECT_TRUE(same_bits(grad(single, {w}, options)[0], plain));
  }
}

// Cross-entropy reads bf16 as it is, and no cast of the logits is made; what comes out are the bits of such a cast.
TEST_P(AutocastTest, CrossEntropyIsThatOfACast) {
  const Tensor x = (randn({6, 5}) * 3).to(bf16), u = randn({6, 5}), y = randint(0, 5, {6});
  const Tensor direct = x.detach().set_requires_grad(true), cast = x.detach().set_requires_grad(true);
  for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none}) {
    const CrossEntropyOptions options{.weight = rand({5}), .label_smoothing = 0.1, .reduction = reduction};
    const auto loss = [&](const Tensor& logits) { return sum(cross_entropy(logits, y, options)); };
    const auto derivatives = [&](const Tensor& logits, const Tensor& value) {
      const Tensor g = grad(value, {logits}, {.create_graph = true})[0];
      return std::vector<Tensor>{value, g, grad(sum(g * u), {logits})[0]};
    };
    const std::vector<Tensor> expected = derivatives(cast, loss(cast.to(f32)));
    CastCounter casts({6, 5}, 4);
    Tensor value;
    {
      const Autocast on(bf16);
      value = loss(direct);
    }
    EXPECT_EQ(casts.count(), 0);
    EXPECT_EQ(value.dtype(), f32);
    const std::vector<Tensor> got = derivatives(direct, value);
    for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(same_bits(got[i], expected[i])) << i;
  }
}

// --- the cache ------------------------------------------------------------------------------------------------------

TEST_P(AutocastTest, AParameterIsCastOnceAScope) {
  const Tensor x = randn({3, 4}), w = randn({4, 4}, {.requires_grad = true});
  const auto three = [&] { return linear(linear(linear(x, w), w), w); };
  CastCounter casts({4, 4});
  {
    const Autocast on(bf16);
    three();
    EXPECT_EQ(casts.count(), 1);
    {
      const Autocast inner(bf16);
      const Autocast off(false);
      three();
    }
    three();
    EXPECT_EQ(casts.count(), 1) << "inner scopes share the casts";
    {
      const NoGrad writing;
      mul_(w, 2);
    }
    const Tensor y = three();
    EXPECT_EQ(casts.count(), 2) << "the parameter was written to";
    EXPECT_TRUE(same_bits(y, linear(linear(linear(x.to(bf16), w.to(bf16)), w.to(bf16)), w.to(bf16))));
  }
  const int before = casts.count();
  {
    const Autocast on(bf16);
    three();
  }
  EXPECT_EQ(casts.count(), before + 1) << "a scope begins with nothing";
  const Tensor fixed = w.detach();
  const Autocast on(bf16);
  linear(x, fixed);
  linear(x, fixed);
  EXPECT_EQ(casts.count(), before + 3) << "only parameters are kept";
}

TEST_P(AutocastTest, ACastMadeUnderNoGradIsNotUsedWithGrad) {
  const Tensor x = randn({3, 4}), w = randn({4, 4}, {.requires_grad = true});
  CastCounter casts({4, 4});
  const Autocast on(bf16);
  {
    const NoGrad off;
    linear(x, w);
  }
  EXPECT_EQ(grad(sum(linear(x, w)), {w})[0].dtype(), f32);
  EXPECT_EQ(casts.count(), 2);
  {
    const NoGrad off;
    EXPECT_FALSE(linear(x, w).requires_grad());
  }
  EXPECT_EQ(casts.count(), 2) << "the other way round it serves";
}

TEST_P(AutocastTest, TwoBackwardPassesInOneScopeAddUp) {
  const Tensor x = randn({3, 4}), w = randn({4, 4}, {.requires_grad = true});
  const Autocast on(bf16);
  backward(sum(linear(x, w)));
  const Tensor once = clone(w.grad());
  backward(sum(linear(x, w)));
  EXPECT_TRUE(same_bits(w.grad(), once * 2));
}

TEST_P(AutocastTest, TheCacheKeepsNeitherTapeNorTensors) {
  const Tensor w = randn({4, 4}, {.requires_grad = true});
  const int64_t before = live_tensors();
  {
    const Autocast on(bf16);
    {
      const Tensor x = randn({3, 4}, {.requires_grad = true});
      linear(x * 2, w);
      // A cast that was first made in a checkpoint must not hold on to its inputs.
      const Tensor v = randn({4, 4}, {.requires_grad = true});
      checkpoint([&](const std::vector<Tensor>& in) { return std::vector<Tensor>{linear(in[0], v)}; }, {x * 2});
    }
    EXPECT_EQ(live_tensors(), before + 5) << "of w a header and the cast, of v these and v";
  }
  EXPECT_EQ(live_tensors(), before);
}

TEST_P(AutocastTest, AParameterThatGotOtherStorageIsCastAgain) {
  if (default_device().is_cpu()) GTEST_SKIP() << "skipped, needs a device to go to";
  Linear layer(4, 4);
  const Tensor x = randn({3, 4});
  const Autocast on(bf16);
  layer(x);
  to(layer, kCpu);
  EXPECT_TRUE(layer(x.to(kCpu)).device().is_cpu());
  to(layer, x.device());
  EXPECT_EQ(layer(x).device(), x.device());
}

// --- checkpoint -----------------------------------------------------------------------------------------------------

TEST_P(AutocastTest, ACheckpointRunsAgainAsTheFirstTime) {
  const Tensor x = randn({3, 4}, {.requires_grad = true}), w = randn({4, 4}, {.requires_grad = true});
  const auto block = [&](const std::vector<Tensor>& in) {
    return std::vector<Tensor>{tanh(linear(tanh(linear(in[0], w)), w))};
  };
  for (const bool first : {true, false}) {
    for (const bool recorded : {true, false}) {
      Tensor plain, checked;
      {
        const Autocast forward(f16, first);
        plain = sum(block({x})[0]);
        checked = sum(checkpoint(block, {x})[0]);
      }
      const GradOptions options{.create_graph = recorded};
      const std::vector<Tensor> expected = grad(plain, {x, w}, options);
      const Autocast around(bf16, !first);  // the other way round than the forward
      const std::vector<Tensor> got = grad(checked, {x, w}, options);
      for (size_t i : {0, 1}) EXPECT_TRUE(same_bits(got[i], expected[i])) << first << recorded << i;
      EXPECT_EQ(is_autocast_enabled(), !first) << "the recomputation restores the mode";
    }
  }
}

}  // namespace
}  // namespace tenrec
