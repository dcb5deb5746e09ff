// Transposed convolutions, Upsample and PixelShuffle against PyTorch's numbers (tools/make_generative_fixtures.py), and
// how they start.
#include <gtest/gtest.h>

#include <cmath>

#include "support/expect_equal.h"
#include "support/files.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using testing::expect_equal;

const Safetensors& fixture() {
  static const Safetensors file =
      load_safetensors(std::string(TENREC_SOURCE_DIR) + "/tests/fixtures/generative.safetensors");
  return file;
}

// The case's output and gradients, in both types.
template <class Layer>
void compare(const std::string& name, Layer layer) {
  SCOPED_TRACE(name);
  for (const DType dtype : {f64, f32}) {
    const auto at = [&](const std::string& key) { return fixture().at(name + "." + key).to(dtype); };
    const double tolerance = dtype == f64 ? 1e-12 : 5e-6;
    to(layer, dtype);
    std::vector<std::string> keys{"x"};
    std::vector<Tensor> xs{at("x").detach().set_requires_grad(true)};
    std::vector<NamedTensor> state;
    for (const NamedTensor& p : named_parameters(layer)) {
      state.push_back({p.name, at("p." + p.name)});
      keys.push_back("p." + p.name);
      xs.push_back(p.tensor);
    }
    load_state_dict(layer, state);
    const Tensor y = layer(xs[0]);
    expect_equal("output", y, at("y"), tolerance);
    const std::vector<Tensor> grads = grad({y}, xs, {at("dy")});
    for (size_t i = 0; i < xs.size(); ++i)
      expect_equal("gradient of " + keys[i], grads[i], at("grad." + keys[i]), tolerance);
  }
}

TEST(Generative, TransposedConvolutionsEqualPyTorch) {
  compare("transpose2d", ConvTranspose2d(3, 2, 3));
  compare("transpose2d_all", ConvTranspose2d(4, 6, {3, 2},
                                             {.stride = {2, 3},
                                              .padding = {2, 1},
                                              .output_padding = {1, 2},
                                              .dilation = {2, 1},
                                              .groups = 2,
                                              .bias = false}));
  compare("transpose2d_far", ConvTranspose2d(2, 3, 2, {.stride = 2, .output_padding = 2, .dilation = 3}));
  compare("transpose1d", ConvTranspose1d(3, 4, 4, {.stride = 2, .padding = 1}));
  compare("transpose1d_all",
          ConvTranspose1d(4, 2, 3, {.stride = 3, .padding = 2, .output_padding = 1, .dilation = 2, .groups = 2}));
}

TEST(Generative, UpsampleEqualsPyTorch) {
  constexpr auto bilinear = InterpolateMode::bilinear;
  compare("nearest", Upsample({.scale_factor = 2.0}));
  compare("nearest_size", Upsample({.size = Pair(5, 3)}));
  compare("nearest_factor", Upsample({.scale_factor = 1.5}));
  compare("nearest1d", Upsample({.size = 7}));
  compare("bilinear", Upsample({.scale_factor = 2.0, .mode = bilinear}));
  compare("bilinear_size", Upsample({.size = Pair(7, 3), .mode = bilinear}));
  compare("bilinear_factor", Upsample({.scale_factor = Scale(1.7, 0.6), .mode = bilinear}));
  compare("bilinear_corners", Upsample({.size = Pair(6, 9), .mode = bilinear, .align_corners = true}));
  compare("linear", Upsample({.scale_factor = 2.5, .mode = InterpolateMode::linear}));
}

TEST(Generative, PixelShuffleEqualsPyTorch) {
  compare("shuffle", PixelShuffle(3));
  compare("unshuffle", PixelUnshuffle(2));
}

TEST(Generative, ATransposedConvolutionIsTheGradientOfOne) {
  manual_seed(1);
  const Tensor x = randn({2, 3, 7, 6}).set_requires_grad(true), w = randn({4, 3, 3, 3});
  const Tensor y = conv2d(x, w, {}, {.stride = 2, .padding = 1}), dy = randn(y.shape());
  // 7 = (4 - 1) 2 - 2 + 2 + 1, 6 = (3 - 1) 2 - 2 + 2 + 1 + 1
  const Tensor back = conv_transpose2d(dy, w, {}, {.stride = 2, .padding = 1, .output_padding = {0, 1}});
  expect_equal("gradient", back, grad({y}, {x}, {dy})[0], 0);
}

TEST(Generative, InitialWeightsAreWithinPyTorchsBounds) {
  manual_seed(2);
  ConvTranspose2d layer(8, 6, 3, {.groups = 2});
  const double bound = 1 / std::sqrt(27.0);  // 6 / 2 * 3 * 3
  for (const NamedTensor& p : named_parameters(layer)) {
    const double largest = amax(abs(p.tensor.detach())).item<double>();
    EXPECT_LE(largest, bound) << p.name;
    EXPECT_GT(largest, 0.5 * bound) << p.name;
  }
  EXPECT_EQ(to_string(layer.weight.shape()), "[8, 3, 3, 3]");
  EXPECT_EQ(layer.details(), "8 -> 6, 3x3");
  EXPECT_FALSE(ConvTranspose1d(2, 2, 3, {.bias = false}).bias.defined());
  EXPECT_CONTAINS(testing::message_of<ValueError>([] { ConvTranspose2d(3, 4, 3, {.groups = 2}); }),
                  "do not divide into 2 groups");
}

TEST(Generative, AutocastTakesThemAsPyTorchDoes) {
  const Autocast scope(bf16);
  EXPECT_EQ(conv_transpose2d(ones({1, 2, 3, 3}), ones({2, 1, 2, 2}), ones({1})).dtype(), bf16);
  EXPECT_EQ(interpolate(ones({1, 2, 3, 3}), {.size = 5, .mode = InterpolateMode::bilinear}).dtype(), f32);
}

}  // namespace
}  // namespace tenrec
