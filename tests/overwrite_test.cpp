// The gradient of cross-entropy takes the place of the logits when nobody else has them, and only then; the bits are
// the same either way.
#include <gtest/gtest.h>

#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

std::vector<Device> devices() {
  std::vector<Device> out{kCpu};
  if (cuda::is_available()) out.push_back(DeviceType::cuda);
  return out;
}

constexpr int64_t kRows = 33, kClasses = 70;

struct Case {
  Device device;
  Tensor x, target;
  explicit Case(Device d) : device(d) {
    manual_seed(4);
    x = (randn({kRows, kClasses}) * 3.0).to(d).set_requires_grad(true);
    target = remainder(arange(kRows), 7.).to(i64).to(d);
  }
};

std::vector<CrossEntropyOptions> variants(Device device) {
  const Tensor weight = (arange(kClasses) * 0.01 + 0.5).to(device);
  return {{},
          {.label_smoothing = 0.1},
          {.weight = weight},
          {.weight = weight, .label_smoothing = 0.2},
          {.ignore_index = 3},
          {.reduction = Reduction::sum}};
}

TEST(Overwrite, SameBitsWhetherSomebodyElseHasTheLogitsOrNot) {
  for (const Device device : devices()) {
    const Case c(device);
    for (const CrossEntropyOptions& options : variants(device)) {
      const Tensor alone = grad(cross_entropy(c.x * 2.0, c.target, options), {c.x})[0];
      const Tensor logits = c.x * 2.0, before = clone(logits.detach());
      const Tensor shared = grad(cross_entropy(logits, c.target, options), {c.x})[0];
      EXPECT_TRUE(equal(alone, shared));
      EXPECT_TRUE(equal(logits.detach(), before)) << "logits that somebody has were overwritten";
    }
  }
}

TEST(Overwrite, LogProbabilitiesToo) {
  for (const Device device : devices()) {
    const Case c(device);
    const Tensor alone = grad(nll_loss(c.x * 2.0, c.target), {c.x})[0];
    const Tensor logits = c.x * 2.0;
    EXPECT_TRUE(equal(alone, grad(nll_loss(logits, c.target), {c.x})[0]));
  }
}

// Views, detached tensors and a graph that is kept are others who have them.
TEST(Overwrite, ViewsAndKeptGraphsAreLeftAlone) {
  for (const Device device : devices()) {
    const Case c(device);
    Tensor logits = c.x * 2.0;
    const Tensor view = logits.detach(), before = clone(view);
    Tensor loss = cross_entropy(logits, c.target);
    logits = Tensor();
    backward(loss);
    EXPECT_TRUE(equal(view, before));

    loss = cross_entropy(c.x * 2.0, c.target);
    const Tensor first = grad(loss, {c.x}, {.retain_graph = true})[0];
    EXPECT_TRUE(equal(first, grad(loss, {c.x})[0])) << "the second pass read what the first had overwritten";

    loss = cross_entropy(exp(c.x), c.target);  // exp keeps its output for its own rule
    const Tensor held = exp(c.x);
    EXPECT_TRUE(equal(grad(loss, {c.x})[0], grad(cross_entropy(held, c.target), {c.x})[0]));
  }
}

// x as it is, through an op that notes where its gradient lies.
Tensor watch(const Tensor& x, const void** gradient) {
  return record("watch", {x}, clone(x.detach()), save_none, [gradient](const Saved&, const Tensor& dy, Needs) {
    *gradient = dy.data_ptr();
    return Grads{dy};
  });
}

TEST(Overwrite, TheGradientLiesWhereTheLogitsLay) {
  for (const Device device : devices()) {
    const Case c(device);
    for (const bool shared : {false, true}) {
      const void* gradient = nullptr;
      Tensor logits = watch(c.x, &gradient);
      const void* place = logits.data_ptr();
      const Tensor loss = cross_entropy(logits, c.target);
      if (!shared) logits = Tensor();
      backward(loss);
      EXPECT_EQ(gradient == place, !shared);
    }
  }
}

}  // namespace
}  // namespace tenrec
