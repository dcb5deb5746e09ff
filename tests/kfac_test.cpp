// K-FAC: its factors and steps against the definition, what it does to a badly scaled problem, state, refusals.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/expect_equal.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using Matrix = std::vector<std::vector<double>>;

Matrix zero_matrix(int64_t rows, int64_t cols) { return Matrix(size_t(rows), std::vector<double>(size_t(cols))); }

// a^-1 by Gauss and Jordan, for matrices of few rows.
Matrix inverse(Matrix a) {
  const size_t n = a.size();
  Matrix b = zero_matrix(int64_t(n), int64_t(n));
  for (size_t i = 0; i < n; ++i) b[i][i] = 1;
  for (size_t c = 0; c < n; ++c) {
    const double pivot = a[c][c];
    for (size_t j = 0; j < n; ++j) a[c][j] /= pivot, b[c][j] /= pivot;
    for (size_t r = 0; r < n; ++r) {
      if (r == c) continue;
      const double f = a[r][c];
      for (size_t j = 0; j < n; ++j) a[r][j] -= f * a[c][j], b[r][j] -= f * b[c][j];
    }
  }
  return b;
}

Matrix times(const Matrix& a, const Matrix& b) {
  Matrix c = zero_matrix(int64_t(a.size()), int64_t(b[0].size()));
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t j = 0; j < b[0].size(); ++j)
      for (size_t k = 0; k < b.size(); ++k) c[i][j] += a[i][k] * b[k][j];
  return c;
}

// Sum over the rows of their outer products.
Matrix moments(const Matrix& rows) {
  const size_t n = rows[0].size();
  Matrix m = zero_matrix(int64_t(n), int64_t(n));
  for (const std::vector<double>& r : rows)
    for (size_t i = 0; i < n; ++i)
      for (size_t j = 0; j < n; ++j) m[i][j] += r[i] * r[j];
  return m;
}
Matrix scaled(Matrix m, double by) {
  for (auto& row : m)
    for (double& v : row) v *= by;
  return m;
}
Matrix damped(Matrix m, double by) {
  for (size_t i = 0; i < m.size(); ++i) m[i][i] += by;
  return m;
}
double trace_mean(const Matrix& m) {
  double t = 0;
  for (size_t i = 0; i < m.size(); ++i) t += m[i][i];
  return t / double(m.size());
}

// G^-1 dW A^-1 with the damping shared out, from rows of inputs (with their 1) and of per-example gradients.
Matrix expected_step(const Matrix& a, const Matrix& g, const Matrix& dw, double damping) {
  const double balance = std::sqrt(trace_mean(a) / trace_mean(g));
  return times(times(inverse(damped(g, std::sqrt(damping) / balance)), dw),
               inverse(damped(a, std::sqrt(damping) * balance)));
}

Matrix rows_of(const Tensor& t) {
  const std::vector<double> v = t.to_vector<double>();
  Matrix m = zero_matrix(t.shape()[0], t.numel() / t.shape()[0]);
  for (size_t i = 0; i < v.size(); ++i) m[i / m[0].size()][i % m[0].size()] = v[i];
  return m;
}

void expect_moved(const Tensor& before, const Tensor& after, const Matrix& step, double lr, int64_t first_column) {
  const Matrix b = rows_of(before), a = rows_of(after);
  for (size_t i = 0; i < b.size(); ++i)
    for (size_t j = 0; j < b[0].size(); ++j)
      EXPECT_NEAR(a[i][j], b[i][j] - lr * step[i][size_t(first_column) + j], 1e-10) << i << ", " << j;
}

TEST(Kfac, LinearStepIsTheDefinition) {
  manual_seed(1);
  Sequential net(Linear(3, 4));
  to(net, f64);
  const Tensor x = randn({6, 3}, {.dtype = f64}), y = randn({6, 4}, {.dtype = f64});
  const std::vector<Tensor> p = parameters(net);
  const Tensor weight = clone(p[0].detach()), bias = clone(p[1].detach());
  KFAC optimizer(net, {.lr = 0.5, .momentum = 0, .damping = 0.02, .kl_clip = 0});
  optimizer.step([&] {
    optimizer.zero_grad();
    const Tensor d = net(x) - y, loss = sum(d * d) / 6.0;
    backward(loss);
    return loss;
  });
  EXPECT_EQ(optimizer.layers(), 1);

  Matrix inputs = rows_of(x), grads = rows_of(linear(x, weight, bias) - y);
  for (auto& row : inputs) row.push_back(1);
  grads = scaled(grads, 2);  // of an example's own loss
  Matrix dw = zero_matrix(4, 4);
  for (size_t n = 0; n < 6; ++n)
    for (size_t i = 0; i < 4; ++i)
      for (size_t j = 0; j < 4; ++j) dw[i][j] += grads[n][i] * inputs[n][j] / 6;
  const Matrix step = expected_step(scaled(moments(inputs), 1.0 / 6), scaled(moments(grads), 1.0 / 6), dw, 0.02);
  expect_moved(weight, p[0].detach(), step, 0.5, 0);
  expect_moved(reshape(bias, {4, 1}), reshape(p[1].detach(), {4, 1}), step, 0.5, 3);
}

TEST(Kfac, ConvolutionStepIsTheDefinition) {
  manual_seed(2);
  constexpr int64_t kImages = 3, kIn = 2, kOut = 3, kSide = 5, kKernel = 3, kOutSide = 3;
  Sequential net(Conv2d(kIn, kOut, kKernel, {.stride = 2, .padding = 1}));
  to(net, f64);
  const Tensor x = randn({kImages, kIn, kSide, kSide}, {.dtype = f64});
  const Tensor target = randn({kImages, kOut, kOutSide, kOutSide}, {.dtype = f64});
  const std::vector<Tensor> p = parameters(net);
  const Tensor weight = clone(p[0].detach()), bias = clone(p[1].detach());
  const Tensor error = (conv2d(x, weight, bias, {.stride = 2, .padding = 1}) - target) * 2.0;
  KFAC optimizer(net, {.lr = 0.5, .momentum = 0, .damping = 0.05, .kl_clip = 0});
  optimizer.step([&] {
    optimizer.zero_grad();
    const Tensor d = net(x) - target, loss = sum(d * d) / double(kImages);
    backward(loss);
    return loss;
  });

  Matrix inputs, grads;
  for (int64_t n = 0; n < kImages; ++n)
    for (int64_t h = 0; h < kOutSide; ++h)
      for (int64_t w = 0; w < kOutSide; ++w) {
        std::vector<double> patch, dy;
        for (int64_t c = 0; c < kIn; ++c)
          for (int64_t i = 0; i < kKernel; ++i)
            for (int64_t j = 0; j < kKernel; ++j) {
              const int64_t row = 2 * h + i - 1, col = 2 * w + j - 1;
              const bool inside = row >= 0 && row < kSide && col >= 0 && col < kSide;
              patch.push_back(inside ? x.item<double>(n, c, row, col) : 0);
            }
        patch.push_back(1);
        for (int64_t c = 0; c < kOut; ++c) dy.push_back(error.item<double>(n, c, h, w));
        inputs.push_back(patch);
        grads.push_back(dy);
      }
  Matrix dw = zero_matrix(kOut, int64_t(inputs[0].size()));
  for (size_t n = 0; n < inputs.size(); ++n)
    for (size_t i = 0; i < dw.size(); ++i)
      for (size_t j = 0; j < dw[0].size(); ++j) dw[i][j] += grads[n][i] * inputs[n][j] / kImages;
  const Matrix step = expected_step(scaled(moments(inputs), 1.0 / kImages),
                                    scaled(moments(grads), 1.0 / double(grads.size())), dw, 0.05);
  expect_moved(weight, p[0].detach(), step, 0.5, 0);
  expect_moved(reshape(bias, {kOut, 1}), reshape(p[1].detach(), {kOut, 1}), step, 0.5, kIn * kKernel * kKernel);
}

// Inputs whose scales differ by 100: the curvature's condition is 10^4, which plain gradients suffer from.
struct Regression {
  Tensor x, y;
  Regression() {
    manual_seed(3);
    x = randn({64, 4}, {.dtype = f64}) * tensor({10.0, 1.0, 0.3, 0.1}, {.dtype = f64});
    y = tanh(matmul(x, randn({4, 2}, {.dtype = f64}))) + randn({64, 2}, {.dtype = f64}) * 0.01;
  }
};
Sequential regressor(int64_t seed) {
  manual_seed(uint64_t(seed));
  Sequential net(Linear(4, 8), Tanh(), Linear(8, 2));
  to(net, f64);
  return net;
}
template <class O>
std::vector<double> losses(const Regression& data, Sequential& net, O& optimizer, int64_t steps) {
  std::vector<double> out;
  for (int64_t i = 0; i < steps; ++i) {
    const Tensor first = optimizer.step([&] {
      optimizer.zero_grad();
      const Tensor d = net(data.x) - data.y, loss = sum(d * d) / 64.0;
      backward(loss);
      return loss;
    });
    out.push_back(first.template item<double>());
  }
  return out;
}

// With the Fisher matrix proper: targets drawn from the model, which is normal around its output.
TEST(Kfac, NeedsFewerStepsThanPlainGradients) {
  const Regression data;
  double best = std::numeric_limits<double>::infinity();
  for (const double lr : {0.3, 0.1, 0.03, 0.01, 0.003}) {
    Sequential net = regressor(4);
    SGD optimizer(parameters(net), {.lr = lr, .momentum = 0.9});
    const double last = losses(data, net, optimizer, 100).back();
    if (last < best) best = last;
  }
  Sequential net = regressor(4);
  KFAC optimizer(net, {.lr = 1,
                       .momentum = 0.5,
                       .damping = 1e-2,
                       .decay = 0.9,
                       .inverse_interval = 1,
                       .kl_clip = 0,
                       .empirical = false});
  double last = 0;
  for (int i = 0; i < 50; ++i) {
    optimizer.observe([&] {
      const Tensor y = net(data.x), d = y - (y.detach() + randn({64, 2}, {.dtype = f64}) * std::sqrt(0.5));
      return sum(d * d) / 64.0;
    });
    last = losses(data, net, optimizer, 1).back();
  }
  EXPECT_LT(last, best);
}

TEST(Kfac, ObservedFactorsLeaveGradientsAlone) {
  const Regression data;
  Sequential net = regressor(5);
  KFAC optimizer(net, {.empirical = false});
  optimizer.observe([&] { return mean(net(data.x) * randn({64, 2}, {.dtype = f64})); });
  EXPECT_EQ(optimizer.layers(), 2);
  for (const Tensor& p : parameters(net)) EXPECT_FALSE(p.grad().defined());
  const std::vector<NamedTensor> before = optimizer.state_dict();
  losses(data, net, optimizer, 1);
  for (const NamedTensor& entry : optimizer.state_dict())
    for (const NamedTensor& old : before)
      if (entry.name == "layer0.inputs" && old.name == entry.name) {
        EXPECT_EQ(entry.tensor.to_vector<double>(), old.tensor.to_vector<double>());
      }
}

TEST(Kfac, WhatIsNoLayerTakesThePlainGradient) {
  manual_seed(6);
  Linear first(3, 4);
  Sequential net(first, LayerNorm({4}), Conv2d(1, 1, 1));  // `first` shares its tensors
  const Tensor x = randn({5, 3});
  const std::vector<Tensor> p = parameters(net);  // weight, bias, norm's weight and bias, convolution's
  const Tensor norm_before = clone(p[2].detach()), conv_before = clone(p[4].detach());
  KFAC optimizer(net, {.lr = 0.5, .momentum = 0});
  optimizer.step([&] {
    optimizer.zero_grad();
    const Tensor y = layer_norm(first(x), {4}, p[2], p[3]), loss = mean(y * y * y);
    backward(loss);
    return loss;
  });
  EXPECT_EQ(optimizer.layers(), 1);  // the convolution did not run
  testing::expect_equal("norm", p[2].detach(), norm_before - p[2].grad() * 0.5, 1e-6);
  testing::expect_equal("convolution", p[4].detach(), conv_before, 0);
}

TEST(Kfac, ContinuesFromSavedStateBitForBit) {
  const Regression data;
  Sequential through = regressor(7);
  KFACOptions options{.lr = 0.05, .inverse_interval = 4};
  KFAC whole(through, options);
  losses(data, through, whole, 6);
  const std::vector<NamedTensor> saved = whole.state_dict();
  Sequential other = clone(through);
  std::vector<NamedTensor> copied;
  for (const NamedTensor& entry : saved) copied.push_back({entry.name, clone(entry.tensor)});
  KFAC second(other, options);
  second.load_state_dict(copied);
  EXPECT_EQ(losses(data, through, whole, 6), losses(data, other, second, 6));
  Sequential narrow_net(Linear(4, 7), Tanh(), Linear(7, 2));
  KFAC misfit(narrow_net, options);
  EXPECT_THROW(misfit.load_state_dict(copied), ShapeError);
  copied.pop_back();
  EXPECT_THROW(second.load_state_dict(copied), ValueError);
}

TEST(Kfac, SameBitsWithAnyNumberOfThreads) {
  const Regression data;
  const int before = num_threads();
  std::vector<double> first;
  for (const int threads : {1, 2, 3, 8}) {
    set_num_threads(threads);
    Sequential net = regressor(8);
    KFAC optimizer(net, {.lr = 0.05});
    const std::vector<double> now = losses(data, net, optimizer, 5);
    if (first.empty()) first = now;
    EXPECT_EQ(now, first) << threads;
  }
  set_num_threads(before);
}

TEST(Kfac, RefusesWhatIsNotFinite) {
  const Regression data;
  Sequential net = regressor(9);
  KFAC optimizer(net);
  losses(data, net, optimizer, 2);
  std::vector<std::vector<double>> before;
  for (const Tensor& p : parameters(net)) before.push_back(p.to_vector<double>());
  const auto poisoned = [&] {
    optimizer.zero_grad();
    const Tensor loss = mean(net(data.x)) * std::numeric_limits<double>::quiet_NaN();
    backward(loss);
    return loss;
  };
  EXPECT_THROW(optimizer.step(poisoned), NumericError);
  size_t i = 0;
  for (const Tensor& p : parameters(net)) EXPECT_EQ(p.to_vector<double>(), before[i++]);
  EXPECT_TRUE(std::isfinite(losses(data, net, optimizer, 2).back()));  // and what was learned is not lost
}

TEST(Kfac, RefusesOptions) {
  Sequential net(Linear(2, 2));
  EXPECT_THROW(KFAC(net, {.lr = -1}), ValueError);
  EXPECT_THROW(KFAC(net, {.damping = 0}), ValueError);
  EXPECT_THROW(KFAC(net, {.decay = 1}), ValueError);
  EXPECT_THROW(KFAC(net, {.inverse_interval = 0}), ValueError);
  EXPECT_THROW(KFAC(net).lr(1), IndexError);
}

}  // namespace
}  // namespace tenrec
