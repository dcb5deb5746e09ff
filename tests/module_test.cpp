// Modules: names, ties, clones, saving, moving, paths in errors, summary, audit, layers against hand-computed values.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

struct Block : Module {
  explicit Block(int64_t n) : fc(n, n) {}
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return relu(fc(x));
  }
  void visit(Visitor& v) override { v("fc", fc); }
  Linear fc;
};

struct Net : Module {
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    Tensor y = stem(x);
    for (const Block& block : blocks) y = block(y);
    return extra ? (*extra)(y) : y;
  }
  void visit(Visitor& v) override {
    v("stem", stem);
    v("blocks", blocks);
    v("extra", extra);
    v.buffer("count", count);
  }
  Linear stem{4, 3};
  std::vector<Block> blocks = repeat(2, [] { return Block(3); });
  std::optional<Linear> extra;
  Tensor count = zeros({1});
};

std::vector<std::string> names(const std::vector<NamedTensor>& list) {
  std::vector<std::string> out;
  for (const NamedTensor& entry : list) out.push_back(entry.name);
  return out;
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

TEST(Module, NamesFollowTheVisit) {
  Net net;
  EXPECT_EQ(names(named_parameters(net)),
            (std::vector<std::string>{"stem.weight", "stem.bias", "blocks.0.fc.weight", "blocks.0.fc.bias",
                                      "blocks.1.fc.weight", "blocks.1.fc.bias"}));
  EXPECT_EQ(names(named_buffers(net)), std::vector<std::string>{"count"});
  net.extra.emplace(3, 2, LinearOptions{.bias = false});
  EXPECT_EQ(named_parameters(net).back().name, "extra.weight");
  EXPECT_EQ(count_parameters(net), 15 + 2 * 12 + 6);
}

TEST(Module, ACopySharesACloneDoesNot) {
  Net net;
  Net shared = net, deep = clone(net);
  {
    const NoGrad off;
    fill_(net.stem.weight, 7);
  }
  EXPECT_EQ(shared.stem.weight.item<float>(0, 0), 7);
  EXPECT_NE(deep.stem.weight.item<float>(0, 0), 7);
  EXPECT_TRUE(deep.stem.weight.requires_grad());
  EXPECT_EQ(net.blocks[0].fc.weight.raw(), shared.blocks[0].fc.weight.raw());
}

TEST(Module, TiesAreSeenAndKept) {
  struct Tied : Module {
    Embedding embedding{5, 3};
    Linear head{3, 5, {.bias = false}};
    Tied() { head.weight = embedding.weight; }
    void visit(Visitor& v) override {
      v("embedding", embedding);
      v("head", head);
    }
  } model;
  EXPECT_EQ(parameters(model).size(), 1u);
  ASSERT_EQ(tied_parameters(model).size(), 1u);
  EXPECT_EQ(tied_parameters(model)[0], (std::vector<std::string>{"embedding.weight", "head.weight"}));
  backward(sum(model.head(model.embedding(from_vector(std::vector<int64_t>{1, 2}, {2})))));
  EXPECT_TRUE(model.embedding.weight.grad().defined());
  Tied copy = clone(model);
  EXPECT_EQ(copy.head.weight.raw(), copy.embedding.weight.raw());
  EXPECT_NE(copy.head.weight.raw(), model.head.weight.raw());
  EXPECT_EQ(repeat(2, [] { return Linear(2, 2); })[0].weight.numel(), 4);
}

TEST(Module, SavedAndLoaded) {
  const std::string path = "module_test_" + std::to_string(getpid()) + ".safetensors";
  manual_seed(1);
  Net a;
  manual_seed(2);
  Net b;
  save(a, path);
  load(b, path);
  const Tensor x = randn({2, 4});
  EXPECT_EQ(a(x).to_vector<float>(), b(x).to_vector<float>());
  Sequential other(Linear(4, 3));
  const std::vector<float> before = parameters(other)[0].to_vector<float>();
  const std::string message = message_of<ValueError>([&] { load(other, path); });
  EXPECT_NE(message.find("missing: 0.weight"), std::string::npos) << message;
  EXPECT_NE(message.find("not known: stem.weight"), std::string::npos) << message;
  EXPECT_EQ(parameters(other)[0].to_vector<float>(), before);
  Net wide;
  wide.stem = Linear(5, 3);
  EXPECT_NE(message_of<ShapeError>([&] { load(wide, path); }).find("stem.weight has shape [3, 4] in the file"),
            std::string::npos);
  std::remove(path.c_str());
  message_of<IOError>([&] { load(b, path); });
}

TEST(Module, ErrorsNameThePath) {
  Net net;
  parameters(net);
  const std::string message = message_of<ShapeError>([&] {
    struct Bad : Module {
      Net net;
      Tensor operator()(const Tensor& x) const {
        const ModuleScope scope(*this);
        return net.blocks[1](x);
      }
      void visit(Visitor& v) override { v("net", net); }
    } bad;
    parameters(bad);
    bad(zeros({2, 7}));
  });
  EXPECT_NE(message.find("[in module net.blocks.1.fc]"), std::string::npos) << message;
  // Without a traversal the path is the type.
  EXPECT_NE(message_of<ShapeError>([] { Linear(2, 2)(zeros({3})); }).find("[in module Linear]"), std::string::npos);
  // After the exception no scope is left.
  EXPECT_EQ(message_of<ShapeError>([] { matmul(zeros({2, 3}), zeros({2, 3})); }).find("[in module"), std::string::npos);
}

TEST(Module, CastsInsideTheHandle) {
  Net net;
  const Tensor weight = net.stem.weight;
  SGD optimizer(parameters(net), {.lr = 0.1});
  backward(sum(net(ones({2, 4}))));
  to(net, f64);
  EXPECT_EQ(weight.dtype(), f64);
  EXPECT_EQ(weight.grad().dtype(), f64);
  const double before = weight.item<double>(0, 0);
  optimizer.step();
  EXPECT_NE(weight.item<double>(0, 0), before);
  if (!cuda::is_available()) {
    EXPECT_THROW(to(net, Device("cuda")), DeviceError);
    return;
  }
  to(net, Device("cuda"));  // the optimizer's parameters with it
  EXPECT_TRUE(weight.device().is_cuda() && weight.grad().device().is_cuda());
  const double there = weight.item<double>(0, 0);
  optimizer.step();
  EXPECT_NE(weight.item<double>(0, 0), there);
}

TEST(Module, TrainAndEval) {
  Sequential net(Linear(4, 4), Dropout(0.5), BatchNorm1d(4));
  eval(net);
  const Tensor x = randn({8, 4});
  EXPECT_EQ(net(x).to_vector<float>(), net(x).to_vector<float>());
  train(net);
  EXPECT_NE(net(x).to_vector<float>(), net(x).to_vector<float>());
  set_requires_grad(net, false);
  EXPECT_FALSE(net(x).requires_grad());
}

TEST(Module, AuditNamesWhatGotNoGradient) {
  struct Half : Module {
    Linear used{3, 3}, unused{3, 3}, cut{3, 3}, frozen{3, 3};
    Tensor operator()(const Tensor& x) const { return frozen(used(x) + cut(x).detach()); }
    void visit(Visitor& v) override {
      v("used", used);
      v("unused", unused);
      v("cut", cut);
      v("frozen", frozen);
    }
  } model;
  set_requires_grad(model.frozen, false);
  std::vector<std::string> found;
  for (const AuditEntry& entry : audit_gradients(model, sum(model(ones({2, 3}))))) found.push_back(entry.name);
  EXPECT_EQ(found, (std::vector<std::string>{"frozen.weight", "frozen.bias", "unused.weight", "unused.bias",
                                             "cut.weight", "cut.bias"}));
  EXPECT_FALSE(model.used.weight.grad().defined());
  EXPECT_EQ(audit_gradients(model, zeros({})).size(), 8u);
}

TEST(Module, SummaryIsATable) {
  Sequential net(Conv2d(1, 4, 3), ReLU(), MaxPool2d(2), Flatten(), Linear(4 * 13 * 13, 10));
  const std::string table = summary(net, zeros({2, 1, 28, 28}));
  for (const char* text : {"Conv2d(1 -> 4, 3x3)", "[2, 4, 26, 26]", "[2, 4, 13, 13]", "[2, 676]", "Linear(676 -> 10)",
                           "[2, 10]", "6770", "total: 6810 parameters"})
    EXPECT_NE(table.find(text), std::string::npos) << text << "\n" << table;
}

TEST(Layers, SequentialResidualAndLists) {
  const Tensor x = tensor({{1., -2.}});
  EXPECT_EQ(Residual(ReLU())(x).to_vector<float>(), (std::vector<float>{2, -2}));
  Sequential net(Identity(), [](const Tensor& t) { return t * 3; });
  EXPECT_EQ(net(x).to_vector<float>(), (std::vector<float>{3, -6}));
  EXPECT_EQ(to_string(Unflatten(1, {2, -1})(zeros({3, 8})).shape()), "[3, 2, 4]");
  ModuleList list(Linear(2, 2), Linear(2, 3));
  EXPECT_EQ(names(named_parameters(list)).back(), "1.bias");
}

TEST(Layers, BatchNormKeepsStatistics) {
  BatchNorm1d norm(2, {.momentum = 0.5});
  const Tensor x = tensor({{1., 10.}, {3., 30.}});
  const std::vector<float> y = norm(x).to_vector<float>();
  EXPECT_NEAR(y[0], -1, 1e-3);
  EXPECT_NEAR(y[3], 1, 1e-3);
  EXPECT_NEAR(norm.running_mean.item<float>(0), 1, 1e-6);         // (0 + 2) / 2
  EXPECT_NEAR(norm.running_var.item<float>(1), 0.5 + 100, 1e-4);  // unbiased variance 200
  EXPECT_EQ(norm.num_batches_tracked.item<int64_t>(), 1);
  eval(norm);
  EXPECT_NEAR(norm(x).item<float>(0, 0), 0, 1e-6);
  EXPECT_THROW(norm(zeros({2, 3})), ShapeError);
}

TEST(Layers, EmbeddingPadsAndChecks) {
  Embedding e(4, 3, {.padding_idx = 1});
  const Tensor y = e(tensor({{1., 2.}}, {.dtype = i64}));
  EXPECT_EQ(to_string(y.shape()), "[1, 2, 3]");
  EXPECT_EQ(y.item<float>(0, 0, 2), 0);
  backward(sum(y));
  EXPECT_EQ(e.weight.grad().item<float>(1, 0), 0);
  EXPECT_EQ(e.weight.grad().item<float>(2, 0), 1);
  EXPECT_THROW(e(tensor({4.}, {.dtype = i64})), IndexError);
}

TEST(Layers, EveryActivationRunsAndDifferentiates) {
  const Tensor x = tensor({{-3., -0.4}, {0.3, 2.}}, {.requires_grad = true});
  for (const AnyModule& layer : std::vector<AnyModule>{ReLU(),
                                                       ReLU6(),
                                                       LeakyReLU(),
                                                       PReLU(),
                                                       ELU(),
                                                       CELU(),
                                                       SELU(),
                                                       GELU(),
                                                       GELU(GeluApproximation::tanh),
                                                       SiLU(),
                                                       Mish(),
                                                       Softplus(),
                                                       Softsign(),
                                                       Sigmoid(),
                                                       LogSigmoid(),
                                                       HardSigmoid(),
                                                       HardSwish(),
                                                       HardTanh(),
                                                       Tanh(),
                                                       Tanhshrink(),
                                                       Hardshrink(),
                                                       Softshrink(),
                                                       Threshold(0.1, 20),
                                                       Softmax(),
                                                       LogSoftmax(),
                                                       Softmin(),
                                                       GLU(),
                                                       SwiGLU(2, 4)}) {
    const Tensor y = layer(x);
    EXPECT_TRUE(std::isfinite(sum(y).item<double>())) << layer.module()->type_name();
    EXPECT_TRUE(grad(sum(y * y), {x})[0].defined());
  }
}

TEST(Layers, EveryLossOfTwoEqualInputs) {
  const Tensor p = tensor({{0.2, 0.8}, {0.5, 0.5}}), z = tensor({0., 1.}, {.dtype = i64});
  EXPECT_EQ(MSELoss()(p, p).item<float>(), 0);
  EXPECT_EQ(L1Loss()(p, p).item<float>(), 0);
  EXPECT_EQ(SmoothL1Loss()(p, p).item<float>(), 0);
  EXPECT_EQ(HuberLoss()(p, p).item<float>(), 0);
  EXPECT_NEAR(KLDivLoss()(log(p), p).item<float>(), 0, 1e-6);
  EXPECT_NEAR(BCEWithLogitsLoss()(zeros({2, 2}), p).item<float>(), std::log(2.0), 1e-6);
  EXPECT_NEAR(BCELoss()(full({2, 2}, 0.5), p).item<float>(), std::log(2.0), 1e-6);
  EXPECT_NEAR(CrossEntropyLoss()(log(p), z).item<float>(), NLLLoss()(log(p), z).item<float>(), 1e-6);
}

TEST(Init, MomentsAndStructure) {
  manual_seed(4);
  const Tensor w = empty({64, 32, 3, 3});
  const auto moments = [](const Tensor& t) { return std::pair(mean(t).item<double>(), var(t).item<double>()); };
  init::kaiming_normal_(w);
  EXPECT_NEAR(moments(w).second, 2.0 / (32 * 9), 2e-4);
  init::xavier_uniform_(w);
  EXPECT_NEAR(moments(w).second, 2.0 / (96 * 9), 1e-4);
  init::trunc_normal_(w, 0, 1, -0.5, 0.5);
  EXPECT_LE(amax(abs(w)).item<double>(), 0.5);
  const Tensor q = init::orthogonal_(empty({5, 12}, {.dtype = f64}));
  EXPECT_TRUE(allclose(matmul(q, t(q)), eye(5, {.dtype = f64})));
  EXPECT_EQ(sum(init::dirac_(empty({4, 4, 3, 3}))).item<double>(), 4);
  EXPECT_EQ(sum(init::eye_(empty({3, 5}))).item<double>(), 3);
  EXPECT_EQ(count_nonzero(init::sparse_(empty({10, 4}), 0.7)).item<int64_t>(), 12);
  EXPECT_THROW(init::xavier_normal_(empty({3})), ShapeError);
}

}  // namespace
}  // namespace tenrec
