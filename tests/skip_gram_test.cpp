// The step in place of skip-gram with negative sampling. The loss has its rows in tests/op_cases.
#include <gtest/gtest.h>

#include "support/files.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using testing::message_of;

struct Batch {
  Tensor input, output, centers, contexts, negatives;

  explicit Batch(int64_t pairs, int64_t d = 37, DType dtype = f64) {
    manual_seed(5);
    input = randn({20, d}, {.dtype = dtype});
    output = randn({20, d}, {.dtype = dtype});
    centers = randint(0, 20, {pairs});
    contexts = randint(0, 20, {pairs});
    negatives = randint(0, 20, {pairs, 5});
  }
  Tensor loss() const { return skip_gram_loss(input, output, centers, contexts, negatives); }
  Tensor step(double lr) const { return skip_gram_step_(input, output, centers, contexts, negatives, lr); }
};

double largest_difference(const Tensor& a, const Tensor& b) { return max(abs(a - b)).item<double>(); }

TEST(SkipGramStep, OfOnePairIsDescentAlongTheGradientOfItsLoss) {
  Batch batch(1);
  batch.negatives = tensor({{1, 2, 3, 4, 5}}, {.dtype = i64});
  batch.contexts = tensor({6}, {.dtype = i64});
  const Tensor input = batch.input * 1.0, output = batch.output * 1.0;
  Tensor v = input.detach().set_requires_grad(true), u = output.detach().set_requires_grad(true);
  const Tensor loss = skip_gram_loss(v, u, batch.centers, batch.contexts, batch.negatives);
  const std::vector<Tensor> g = grad(loss, {v, u});
  const NoGrad guard;
  EXPECT_NEAR(batch.step(0.1).item<double>(), loss.item<double>(), 1e-12);
  EXPECT_LT(largest_difference(batch.input, input - g[0] * 0.1), 1e-12);
  EXPECT_LT(largest_difference(batch.output, output - g[1] * 0.1), 1e-12);
}

TEST(SkipGramStep, PairsFollowOneAnother) {
  const Batch together(50, 100, f32), apart(50, 100, f32);
  const NoGrad guard;
  const double mean = together.step(0.05).item<double>();
  double sum = 0;
  for (int64_t b = 0; b < 50; ++b) {
    const auto row = [&](const Tensor& t) { return slice(t, 0, b, b + 1); };
    sum +=
        skip_gram_step_(apart.input, apart.output, row(apart.centers), row(apart.contexts), row(apart.negatives), 0.05)
            .item<double>();
  }
  EXPECT_EQ(largest_difference(together.input, apart.input), 0);
  EXPECT_EQ(largest_difference(together.output, apart.output), 0);
  EXPECT_NEAR(mean, sum / 50, 1e-5);
}

TEST(SkipGramStep, LearnsAndDoesNotDependOnThreads) {
  std::vector<float> first;
  for (const int threads : {1, 2, 4}) {
    set_num_threads(threads);
    const Batch batch(200, 100, f32);
    const NoGrad guard;
    const double before = batch.loss().item<double>();
    for (int i = 0; i < 20; ++i) batch.step(0.05);
    EXPECT_LT(batch.loss().item<double>(), 0.7 * before);
    const std::vector<float> values = batch.input.to_vector<float>();
    if (first.empty()) first = values;
    EXPECT_EQ(values, first);
  }
  set_num_threads(2);
}

TEST(SkipGramStep, IsAMutation) {
  Batch batch(3);
  EXPECT_CONTAINS(message_of<ValueError>([&] {
                    skip_gram_step_(batch.input, batch.input, batch.centers, batch.contexts, batch.negatives, 0.1);
                  }),
                  "must not share memory");
  EXPECT_CONTAINS(message_of<ValueError>([&] {
                    skip_gram_step_(transpose(batch.input, 0, 1), transpose(batch.output, 0, 1), batch.centers,
                                    batch.contexts, batch.negatives, 0.1);
                  }),
                  "must be contiguous");
  EXPECT_THROW(skip_gram_step_(batch.input, batch.output, batch.centers + 100, batch.contexts, batch.negatives, 0.1),
               IndexError);
  batch.input.set_requires_grad(true);
  const Tensor recorded = batch.loss();
  EXPECT_THROW(batch.step(0.1), AutogradError);
  {
    const NoGrad guard;
    batch.step(0.1);
  }
  EXPECT_THROW(backward(recorded), AutogradError);  // what the loss saved has changed
}

}  // namespace
}  // namespace tenrec
