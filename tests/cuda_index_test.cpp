// Indices out of range on a device: the error comes where the host waits next, in the CPU's words, and nothing was read
// or written by them.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "support/files.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using testing::message_of;

constexpr Device kCuda = DeviceType::cuda;

class CudaIndex : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cuda::is_available()) GTEST_SKIP() << "skipped, no cuda device";
  }
};

Tensor indices(const std::vector<int64_t>& values, Device device) {
  return from_vector(values, {int64_t(values.size())}).to(device);
}
Tensor numbers(const Shape& shape, Device device) {
  return reshape(arange(1, checked_numel(shape) + 1), shape).to(device);
}
// n indices into [0, size), some of which repeat.
std::vector<int64_t> mixed(int64_t n, int64_t size) {
  std::vector<int64_t> out;
  for (int64_t i = 0; i < n; ++i) out.push_back(i * i % size);
  return out;
}

// --- the error -------------------------------------------------------------------------------------------------------

struct Call {
  const char* name;
  std::function<Tensor(Device, const Tensor&)> f;  // of indices into 5 places
  int64_t bad = 5;
};

std::vector<Call> calls() {
  const auto column = [](const Tensor& i) { return reshape(i, {i.numel(), 1}); };
  return {
      {"index_select",
       [](Device d, const Tensor& i) {
         return index_select(numbers({2, 5}, d), 1, i);
       }},
      {"index",
       [](Device d, const Tensor& i) {
         return index(numbers({5, 3}, d), {i});
       }},
      {"two indices",
       [](Device d, const Tensor& i) {
         return index(numbers({7, 5}, d), {i, i});
       },
       -6},
      {"index_put",
       [](Device d, const Tensor& i) {
         return index_put(numbers({5, 3}, d), {i}, zeros({i.numel(), 3}, {.device = d}));
       }},
      {"index_add",
       [](Device d, const Tensor& i) { return index_add(numbers({5}, d), 0, i, ones({i.numel()}, {.device = d})); }},
      {"embedding",
       [](Device d, const Tensor& i) {
         return embedding(numbers({5, 4}, d), i);
       },
       -1},
      {"take", [](Device d, const Tensor& i) { return take(numbers({5}, d), i); }},
      {"gather",
       [=](Device d, const Tensor& i) {
         return gather(numbers({5, 1}, d), 0, column(i));
       }},
      {"take_along_dim", [](Device d, const Tensor& i) { return take_along_dim(numbers({5}, d), i, 0); }, -6},
      {"scatter", [](Device d, const Tensor& i) { return scatter(numbers({5}, d), 0, i, numbers({i.numel()}, d)); }},
      {"scatter_add",
       [](Device d, const Tensor& i) { return scatter_add(numbers({5}, d), 0, i, numbers({i.numel()}, d)); }},
      {"scatter_reduce",
       [](Device d, const Tensor& i) {
         return scatter_reduce(numbers({5}, d), 0, i, numbers({i.numel()}, d), "amax");
       }},
      {"one_hot", [](Device, const Tensor& i) { return one_hot(i, 5); }},
      {"cross_entropy",
       [](Device d, const Tensor& i) {
         return cross_entropy(numbers({i.numel(), 5}, d), i, {.reduction = Reduction::none});
       }},
      {"nll_loss",
       [](Device d, const Tensor& i) {
         return nll_loss(numbers({i.numel(), 5}, d), i);
       },
       -1},
      {"skip_gram_loss",
       [=](Device d, const Tensor& i) {
         const Tensor first = zeros_like(i);
         return skip_gram_loss(sin(numbers({5, 3}, d)), cos(numbers({2, 3}, d)), i, first, column(first));
       }},
      {"drawn words",
       [=](Device d, const Tensor& i) {
         const Tensor first = zeros_like(i);
         return skip_gram_loss(sin(numbers({2, 3}, d)), cos(numbers({5, 3}, d)), first, first, column(i));
       },
       -1},
  };
}

TEST_F(CudaIndex, TheErrorComesWithTheNextWaitInTheSameWords) {
  for (const Call& call : calls()) {
    SCOPED_TRACE(call.name);
    const std::vector<int64_t> good{0, 4, 2}, bad{0, 4, call.bad, 2, call.bad};
    const std::string expected = message_of<IndexError>([&] { call.f(kCpu, indices(bad, kCpu)); });
    const Tensor there = indices(bad, kCuda), fine = indices(good, kCuda);
    Tensor y;
    EXPECT_NO_THROW(y = call.f(kCuda, there)) << "the op itself does not wait";
    EXPECT_EQ(message_of<IndexError>([] { cuda::synchronize(); }), expected);
    EXPECT_NO_THROW(cuda::synchronize()) << "the record is cleared";

    const Tensor after = call.f(kCuda, fine), same = call.f(kCpu, indices(good, kCpu));
    EXPECT_TRUE(allclose(after.to(kCpu), same)) << "work goes on";
    EXPECT_NO_THROW(y.to(kCpu));
  }
}

TEST_F(CudaIndex, EveryWayToWaitFindsIt) {
  const Tensor x = numbers({5}, kCuda), bad = indices({9}, kCuda), other = ones({2}, {.device = kCuda});
  const std::vector<std::function<void()>> waits{
      [&] { other.item<double>(1); }, [&] { other.to_vector<double>(); },
      [&] { other.to(kCpu); },        [&] { to_string(other); },
      [&] { equal(other, other); },   [&] { cuda::synchronize(cuda::current_stream()); },
  };
  for (size_t i = 0; i < waits.size(); ++i) {
    index_select(x, 0, bad);
    EXPECT_NE(message_of<IndexError>(waits[i]).find("index 9"), std::string::npos) << "wait " << i;
    EXPECT_NO_THROW(waits[i]()) << "wait " << i;
  }
}

TEST_F(CudaIndex, TheErrorNamesTheModule) {
  Sequential net(Embedding(5, 3), Linear(3, 2));
  to(net, kCuda);
  parameters(net);  // which tells the modules their paths
  net(indices({1, 7}, kCuda));
  const std::string message = message_of<IndexError>([] { cuda::synchronize(); });
  to(net, kCpu);
  EXPECT_EQ(message, message_of<IndexError>([&] { net(indices({1, 7}, kCpu)); }));
  EXPECT_NE(message.find("[in module 0]"), std::string::npos) << message;
}

TEST_F(CudaIndex, TheFirstOffenderIsKept) {
  std::vector<int64_t> many(100'000, 1);
  many[99'999] = 77;
  many[50'001] = 66;
  many[50'002] = -3;
  index_select(numbers({5}, kCuda), 0, indices(many, kCuda));
  take(numbers({5}, kCuda), indices({88}, kCuda));
  const std::string message = message_of<IndexError>([] { cuda::synchronize(); });
  EXPECT_NE(message.find("index_select: index 66 (element 50001 of the indices)"), std::string::npos) << message;
  EXPECT_NO_THROW(cuda::synchronize());
}

TEST_F(CudaIndex, EachStreamHasItsRecord) {
  const Stream side = cuda::new_stream();
  const Tensor x = numbers({5}, kCuda), bad = indices({9}, kCuda);
  cuda::wait(side, cuda::current_stream());
  {
    const cuda::StreamScope scope(side);
    index_select(x, 0, bad);
  }
  EXPECT_NO_THROW(x.item<double>(0));
  EXPECT_NO_THROW(cuda::synchronize(cuda::current_stream()));
  take(x, bad);
  EXPECT_NE(message_of<IndexError>([&] { cuda::synchronize(side); }).find("index_select"), std::string::npos);
  EXPECT_NE(message_of<IndexError>([&] { x.item<double>(0); }).find("take"), std::string::npos);
  {
    const cuda::StreamScope scope(side);
    index_select(x, 0, bad);
  }
  take(x, bad);
  EXPECT_THROW(cuda::synchronize(), IndexError) << "waiting for the device finds one";
  EXPECT_THROW(cuda::synchronize(), IndexError) << "then the other";
  EXPECT_NO_THROW(cuda::synchronize());
}

// --- nothing was read or written -------------------------------------------------------------------------------------

// Indices with bad ones among them, and the good ones with their positions.
struct Spoiled {
  std::vector<int64_t> all, good, positions;
  Spoiled(int64_t n, int64_t size) {
    const int64_t wrong[] = {size, -1 - size, size + 256, INT64_MAX, INT64_MIN, int64_t(1) << 32};
    for (int64_t i : mixed(n, size)) {
      const auto at = int64_t(all.size());
      if (at % 7 == 3) {
        all.push_back(wrong[at / 7 % 6]);
      } else {
        all.push_back(i);
        good.push_back(i);
        positions.push_back(at);
      }
    }
  }
};

void expect_error_and(const Tensor& got, const Tensor& expected, const char* what) {
  EXPECT_THROW(cuda::synchronize(), IndexError) << what;
  EXPECT_EQ(got.to_vector<double>(), expected.to_vector<double>()) << what;
}

// Lines that a thread walks, that a block sorts, and that go digit by digit; and numbers of places that fill a digit.
TEST_F(CudaIndex, WhatIsOutsideWritesNothing) {
  for (const auto& [n, size] :
       std::vector<std::pair<int64_t, int64_t>>{{10, 5}, {100, 8}, {5000, 256}, {5000, 65536}}) {
    SCOPED_TRACE(n);
    const Spoiled s(n, size);
    const Tensor there = indices(s.all, kCuda), good = indices(s.good, kCpu), kept = indices(s.positions, kCpu);
    const Tensor values = numbers({n}, kCpu), x = numbers({size}, kCpu), part = index_select(values, 0, kept);
    const Tensor v = values.to(kCuda), y = x.to(kCuda);

    expect_error_and(scatter(y, 0, there, v), scatter(x, 0, good, part), "scatter");
    expect_error_and(scatter_add(y, 0, there, v), scatter_add(x, 0, good, part), "scatter_add");
    expect_error_and(scatter_reduce(y, 0, there, v, "amin"), scatter_reduce(x, 0, good, part, "amin"), "amin");
    expect_error_and(index_add(y, 0, there, v), index_add(x, 0, good, part), "index_add");

    const Tensor rows = numbers({n, 3}, kCpu), table = numbers({size, 3}, kCpu), taken = index_select(rows, 0, kept);
    expect_error_and(index_add(table.to(kCuda), 0, there, rows.to(kCuda)), index_add(table, 0, good, taken), "rows");
    const Tensor put = table.to(kCuda);
    index_put_(put, {there}, rows.to(kCuda));
    // An index of -1 - size + 256 .. never comes in by counting from the end.
    expect_error_and(put, index_put(table, {good}, taken), "index_put_");

    // What is picked is zero there, and so is what comes back.
    Tensor weight = y.detach();
    weight.set_requires_grad(true);
    const Tensor picked = index_select(weight, 0, there);
    expect_error_and(picked, scatter(zeros({n}), 0, kept, index_select(x, 0, good)), "index_select");
    const Tensor grads = grad(sum(picked * v), {weight})[0];
    EXPECT_EQ(grads.to_vector<double>(), scatter_add(zeros({size}), 0, good, part).to_vector<double>());
    expect_error_and(gather(y, 0, there), picked, "gather");
    expect_error_and(sum(one_hot(there, size), {.dim = 0}), bincount(good, size), "one_hot");
  }
}

// A row outside reads as zeros: as if the tables went on with rows of zeros.
TEST_F(CudaIndex, SkipGramLeavesOutRowsThatAreOutside) {
  const Tensor input = sin(numbers({3, 40}, kCpu)), output = cos(numbers({4, 40}, kCpu));
  const auto step = [](Device device, const Tensor& v, const Tensor& u) {
    const Tensor centers = indices({0, 5, 1}, device), contexts = indices({0, 1, 6}, device),
                 drawn = reshape(indices({1, 2, 2, 3, 3, 7}, device), {3, 2});
    const NoGrad guard;
    return skip_gram_step_(v, u, centers, contexts, drawn, 0.1);
  };
  const Tensor v = input.to(kCuda), u = output.to(kCuda), longer = pad(input, {0, 0, 0, 5}),
               longer_u = pad(output, {0, 0, 0, 5});
  step(kCuda, v, u);
  step(kCpu, longer, longer_u);
  EXPECT_THROW(cuda::synchronize(), IndexError);
  EXPECT_TRUE(allclose(v.to(kCpu), slice(longer, 0, 0, 3), {.rtol = 1e-5, .atol = 1e-6}));
  EXPECT_TRUE(allclose(u.to(kCpu), slice(longer_u, 0, 0, 4), {.rtol = 1e-5, .atol = 1e-6}));
  EXPECT_FALSE(allclose(u.to(kCpu), output, {.rtol = 1e-5, .atol = 1e-6}));
}

TEST_F(CudaIndex, ABadClassCountsAsIgnored) {
  for (const double smoothing : {0.0, 0.1}) {
    const Tensor logits = sin(numbers({4, 3}, kCpu)), weight = tensor({0.5, 1., 2.});
    const Tensor target = indices({2, -100, 0, 1}, kCpu), bad = indices({2, 3, 0, 1}, kCuda);
    const auto run = [&](Device device, const Tensor& t) {
      const Tensor x = logits.to(device).detach().set_requires_grad(true);
      const Tensor loss = cross_entropy(x, t, {.weight = weight.to(device), .label_smoothing = smoothing});
      backward(loss);
      return cat({reshape(loss.detach(), {1}), flatten(x.grad())}, 0);
    };
    const Tensor got = run(kCuda, bad);
    EXPECT_NE(message_of<IndexError>([] {
                cuda::synchronize();
              }).find("cross_entropy: target 3 at position 1 is out of range for 3 classes"),
              std::string::npos);
    EXPECT_TRUE(allclose(got.to(kCpu), run(kCpu, target), {.rtol = 1e-5, .atol = 1e-6}));
  }
}

TEST_F(CudaIndex, WhatCountsClassesWaitsAnyway) {
  const Tensor negative = indices({-2, -1}, kCuda);
  EXPECT_THROW(bincount(negative), IndexError);
  EXPECT_NO_THROW(cuda::synchronize());
  one_hot(negative);
  EXPECT_THROW(cuda::synchronize(), IndexError);
  EXPECT_EQ(bincount(indices({0, 2, 2}, kCuda)).to_vector<int64_t>(), (std::vector<int64_t>{1, 0, 2}));
}

// --- and nothing waits -----------------------------------------------------------------------------------------------

// Throws the IndexError of a bad index that went before, if something in f waits.
void expect_no_wait(const char* what, const std::function<void()>& f) {
  cuda::synchronize();
  index_select(numbers({5}, kCuda), 0, indices({9}, kCuda));
  EXPECT_NO_THROW(f()) << what << " waits for the device";
  EXPECT_THROW(cuda::synchronize(), IndexError) << what;
}

TEST_F(CudaIndex, ATrainingStepDoesNotWait) {
  Sequential net(Conv2d(1, 4, 3, {.padding = 1}), BatchNorm2d(4), ReLU(), MaxPool2d(2), Conv2d(4, 4, 3), GELU(),
                 AdaptiveAvgPool2d(3), Flatten(), LayerNorm(36), Dropout(0.2), Linear(36, 10));
  to(net, kCuda);
  Adam adam(parameters(net), {.lr = 1e-3});
  SGD sgd(parameters(net), {.lr = 1e-3, .momentum = 0.9});
  const Tensor x = randn({4, 1, 12, 12}, {.device = kCuda}), target = indices({1, 3, 0, 9}, kCuda);
  const Tensor wanted = randn({4, 10}, {.device = kCuda});
  for (int step = 0; step < 2; ++step) {
    expect_no_wait("a step", [&] {
      const Tensor y = net(x), loss = cross_entropy(y, target, {.label_smoothing = 0.1}) + mse_loss(y, wanted);
      adam.zero_grad();
      backward(loss);
      clip_grad_norm_(parameters(net), 1.0);
      adam.step();
      sgd.step();
    });
  }
}

TEST_F(CudaIndex, TheseOpsDoNotWait) {
  const Tensor x = numbers({2, 3, 8, 9}, kCuda), rows = indices(mixed(50, 8), kCuda), table = numbers({8, 4}, kCuda);
  expect_no_wait("pooling", [&] { adaptive_avg_pool2d(x, {3, 4}), avg_pool2d(x, 3, {.padding = {1, 1}}); });
  expect_no_wait("padding", [&] { pad(x, {1, 2}, PadMode::reflect), pad(x, {1, 2}, PadMode::constant); });
  expect_no_wait("indices", [&] {
    const Tensor leaf = table.detach().set_requires_grad(true);
    backward(sum(embedding(leaf, rows)) + sum(index(leaf, {rows})));
    one_hot(rows, 8), index_put(table, {rows}, 0.0);
  });
  expect_no_wait("arange", [&] { arange(100, {.device = kCuda}), floor_divide(rows, 3), remainder(rows, 3); });
  expect_no_wait("clipping", [&] {
    Tensor leaf = table.detach().set_requires_grad(true);
    leaf.set_grad(table);
    clip_grad_norm_({leaf}, 1.0, 2), clip_grad_norm_({leaf}, 1.0, INFINITY), clip_grad_value_({leaf}, 0.1);
  });
}

TEST_F(CudaIndex, ClippingAgreesWithTheCpu) {
  const auto run = [](Device device, double max_norm, double p) {
    std::vector<Tensor> xs;
    for (const int64_t n : {300, 7}) {
      xs.push_back(ones({n}, {.device = device}).set_requires_grad(true));
      xs.back().set_grad(sin(numbers({n}, device)));
    }
    const Tensor total = clip_grad_norm_(xs, max_norm, p);
    return cat({reshape(total, {1}), xs[0].grad(), xs[1].grad()}, 0).to(kCpu);
  };
  for (const double p : {1., 2., 3., double(INFINITY)})
    for (const double max_norm : {0.5, 1e6})
      EXPECT_TRUE(allclose(run(kCuda, max_norm, p), run(kCpu, max_norm, p), {.rtol = 1e-5, .atol = 1e-7}))
          << "p = " << p << ", at most " << max_norm;
  // A gradient on each.
  Tensor here = ones({2}, {.requires_grad = true}), there = ones({2}, {.device = kCuda, .requires_grad = true});
  here.set_grad(tensor({3., 0.}));
  there.set_grad(tensor({0., 4.}, {.device = kCuda}));
  EXPECT_NEAR(clip_grad_norm_({there, here}, 1).item<double>(), 5, 1e-6);
  EXPECT_NEAR(here.grad().item<double>(0), 0.6, 1e-6);
  EXPECT_NEAR(there.grad().item<double>(1), 0.8, 1e-6);
}

}  // namespace
}  // namespace tenrec
