// Layers with their activation against the same made of single ops, on the CPU and on a device if there is one, and the
// precision switch.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "op_cases/op_case.h"
#include "support/files.h"
#include "tenrec/kernels/precision.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using testing::message_of;

std::vector<Device> devices() {
  std::vector<Device> all{kCpu};
  if (cuda::is_available()) all.push_back(Device(DeviceType::cuda));
  return all;
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// What comes before the activation is x itself: the kink, both sides of it, signed zeros and NaN.
TEST(LinearActivation, ReluAtItsKink) {
  const std::vector<double> at{-1, -0.0, 0, 1e-30, 2, kNan, -INFINITY, INFINITY};
  for (const Device device : devices()) {
    const testing::DeviceScope scope(device);
    // A column times a weight of one element: no sum mixes the rows.
    const Tensor x = from_vector(at, {8, 1}).to(f32).to(device).detach().set_requires_grad(true);
    const Tensor y = linear_relu(x, ones({1, 1}), zeros({1}));
    const Tensor dx = grad({sum(y * 3.0)}, {x})[0];
    const std::vector<double> values = y.detach().to_vector<double>(), slopes = dx.to_vector<double>();
    const std::vector<double> expected{0, 0, 0, 1e-30, 2, kNan, 0, INFINITY}, slope{0, 0, 0, 3, 3, 3, 0, 3};
    for (size_t i = 0; i < at.size(); ++i) {
      EXPECT_LE(testing::error_of(values[i], expected[i]), 1e-12) << to_string(device) << " at " << at[i];
      EXPECT_EQ(slopes[i], slope[i]) << to_string(device) << " at " << at[i];
    }
  }
}

TEST(LinearActivation, OnTheCpuTheBitsAreThoseOfSingleOps) {
  manual_seed(3);
  for (DType dtype : {f64, f32, bf16, f16})
    for (int64_t out : {8, 13}) {
      const Tensor x = randn({19, 24}).to(dtype).set_requires_grad(true),
                   w = randn({out, 24}).to(dtype).set_requires_grad(true),
                   b = randn({out}).to(dtype).set_requires_grad(true), w2 = randn({5, out}).to(dtype);
      const auto check = [&](const char* what, const Tensor& fused, const Tensor& single) {
        SCOPED_TRACE(concat(what, " in ", name(dtype), ", ", out, " columns"));
        EXPECT_TRUE(equal(fused, single));
        const Tensor dy = rand_like(single);
        const std::vector<Tensor> got = grad({fused}, {x, w, b}, {dy}), expected = grad({single}, {x, w, b}, {dy});
        for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(equal(got[i], expected[i])) << "gradient " << i;
      };
      const auto gelu_of = [](const Tensor& v) { return gelu(v, GeluApproximation::tanh); };
      check("linear_relu", linear_relu(x, w, b), relu(linear(x, w, b)));
      check("linear_gelu", linear_gelu(x, w, b), gelu_of(linear(x, w, b)));
      check("feed_forward", feed_forward(x, w, b, w2, {}), linear(gelu_of(linear(x, w, b)), w2));
      check("feed_forward, relu", feed_forward(x, w, b, w2, {}, FeedForwardActivation::relu),
            linear(relu(linear(x, w, b)), w2));
    }
}

// Each gradient alone, so that what a rule leaves out is not what another needs; and no gradient at all.
TEST(LinearActivation, OnlyWhatIsWanted) {
  for (const Device device : devices()) {
    const testing::DeviceScope scope(device);
    manual_seed(5);
    std::vector<Tensor> in{randn({6, 4}), randn({16, 4}), randn({16}), randn({3, 16}), randn({3})};
    for (auto activation : {FeedForwardActivation::relu, FeedForwardActivation::gelu}) {
      const auto run = [&] { return feed_forward(in[0], in[1], in[2], in[3], in[4], activation); };
      for (Tensor& x : in) x.set_requires_grad(true);
      const Tensor y = run();
      const std::vector<Tensor> all = grad({sum(y * y)}, in);
      for (size_t i = 0; i < in.size(); ++i) {
        for (size_t j = 0; j < in.size(); ++j) in[j].set_requires_grad(i == j);
        const Tensor z = run(), alone = grad({sum(z * z)}, {in[i]})[0];
        const double error = max(abs(alone - all[i])).item<double>(), size = max(abs(all[i])).item<double>();
        EXPECT_LE(error, 1e-5 * size) << to_string(device) << ", input " << i;
      }
      for (Tensor& x : in) x.set_requires_grad(false);
      const double error = max(abs(run() - y.detach())).item<double>();
      EXPECT_LE(error, 1e-5) << to_string(device) << ": without gradients";
    }
  }
}

TEST(LinearActivation, SurvivesACheckpoint) {
  manual_seed(9);
  const Tensor x = randn({6, 4}).set_requires_grad(true), w1 = randn({16, 4}).set_requires_grad(true),
               w2 = randn({3, 16}).set_requires_grad(true);
  const auto run = [&](const std::vector<Tensor>& in) {
    return std::vector<Tensor>{feed_forward(linear_gelu(in[0], eye(4)), w1, {}, w2, {})};
  };
  const std::vector<Tensor> expected = grad({sum(run({x})[0])}, {x, w1, w2});
  const std::vector<Tensor> got = grad({sum(checkpoint(run, {x})[0])}, {x, w1, w2});
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(equal(got[i], expected[i])) << i;
}

// --- the precision switch --------------------------------------------------------------------------------------------

TEST(Precision, SaysWhatALibraryIsAskedFor) {
  using kernels::Factors;
  using kernels::MatmulPrecision;
  const struct {
    MatmulPrecision precision;
    Factors product, convolution;
  } rows[] = {{MatmulPrecision::highest, Factors::f32, Factors::f32},
              {MatmulPrecision::high, Factors::tf32, Factors::tf32},
              {MatmulPrecision::medium, Factors::bf16, Factors::tf32}};
  for (const auto& row : rows) {
    EXPECT_EQ(kernels::product_factors(f32, row.precision), row.product);
    EXPECT_EQ(kernels::convolution_factors(f32, row.precision), row.convolution);
    for (DType dtype : {bf16, f16}) {
      EXPECT_EQ(kernels::product_factors(dtype, row.precision), Factors::f32);
      EXPECT_EQ(kernels::convolution_factors(dtype, row.precision), Factors::f32);
    }
    EXPECT_EQ(kernels::product_factors(f64, row.precision), Factors::f64);
    EXPECT_EQ(kernels::convolution_factors(f64, row.precision), Factors::f64);
  }
}

TEST(Precision, IsSetByName) {
  EXPECT_EQ(get_float32_matmul_precision(), "highest");
  manual_seed(1);
  const Tensor a = randn({40, 60}), b = randn({60, 30}), expected = matmul(a, b);
  for (const char* name : {"high", "medium", "highest"}) {
    set_float32_matmul_precision(name);
    EXPECT_EQ(get_float32_matmul_precision(), name);
    EXPECT_TRUE(equal(matmul(a, b), expected)) << "the CPU multiplies f32 whatever is set";
  }
  const std::string message = message_of<ValueError>([] { set_float32_matmul_precision("low"); });
  EXPECT_CONTAINS(message, "highest, high or medium");
  EXPECT_EQ(get_float32_matmul_precision(), "highest");
}

}  // namespace
}  // namespace tenrec
