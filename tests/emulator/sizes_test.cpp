// Row 36 of the reliability programme: every kernel in forward, reverse and random order at nine sizes, with the same
// bits in each order and the CPU's values. Which kernels ran is written down (TENREC_EMULATOR_COVERAGE), and
// tools/kernel_coverage.sh names those that did not.
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>

#include "emulator/simt.h"
#include "op_cases/op_case.h"
#include "support/reliability_row.h"
#include "tenrec/optim/adam_variants.h"
#include "tenrec/optim/average.h"
#include "tenrec/optim/lamb.h"
#include "tenrec/optim/muon.h"
#include "tenrec/optim/sign.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using Results = std::vector<Tensor>;

// Everything is made on the default device, from the same random numbers.
struct Family {
  const char* name;
  std::function<Results(int64_t n)> run;
  double rounding = 2e-5;  // against the CPU: of f32, with sums of terms of size 1 that cancel
};

// f's outputs and the gradients of their sum.
Results with_gradients(const std::vector<Tensor>& xs, const std::function<Results(const std::vector<Tensor>&)>& f) {
  std::vector<Tensor> leaves;
  for (const Tensor& x : xs) leaves.push_back(x.detach().set_requires_grad(true));
  Results results = f(leaves), ys, cotangents;
  for (const Tensor& y : results)
    if (y.requires_grad()) {
      ys.push_back(y);
      cotangents.push_back(ones_like(y));
    }
  for (const Tensor& g : grad(ys, leaves, cotangents, {.allow_unused = true}))
    if (g.defined()) results.push_back(g);
  return results;
}
Results with_gradients(const Tensor& x, const std::function<Tensor(const Tensor&)>& f) {
  return with_gradients(std::vector<Tensor>{x}, [&](const std::vector<Tensor>& in) { return Results{f(in[0])}; });
}

Results norms(int64_t n) {
  const Tensor rows = randn({3, n}), channels = randn({5, 2, n});
  Results out = with_gradients({rows, rand({n}), rand({n})}, [&](const std::vector<Tensor>& in) {
    return Results{layer_norm(in[0], {n}, in[1], in[2])};
  });
  for (const Tensor& y : with_gradients(
           {rows, rand({n})}, [&](const std::vector<Tensor>& in) { return Results{rms_norm(in[0], {n}, in[1])}; }))
    out.push_back(y);
  for (const Tensor& y : with_gradients({channels, rand({2}), rand({2})}, [](const std::vector<Tensor>& in) {
         return Results{batch_norm(in[0], {}, {}, in[1], in[2], {.training = true})};
       }))
    out.push_back(y);
  return out;
}

Results skip_grams(int64_t n) {
  const Tensor input = randn({7, n}) * 0.1, output = randn({5, n}) * 0.1;
  const Tensor centers = randint(0, 7, {9}), contexts = randint(0, 5, {9}), drawn = randint(0, 5, {9, 3});
  Results out = with_gradients({input, output}, [&](const std::vector<Tensor>& in) {
    return Results{skip_gram_loss(in[0], in[1], centers, contexts, drawn)};
  });
  const NoGrad guard;
  out.push_back(skip_gram_step_(input, output, centers, contexts, drawn, 0.1));
  out.insert(out.end(), {input, output});
  return out;
}

Results attention(int64_t n, DType dtype, int64_t width, int64_t out_width) {
  // Work grows with queries times keys: beyond a few tiles of either, more of both show nothing new.
  const int64_t batch = n < 100 ? 2 : 1, keys = std::min<int64_t>(n + 1, 98);  // tiles of 32 or 64 keys
  const Tensor q = randn({batch, 2 * batch, n, width}).to(dtype), k = randn({batch, batch, keys, width}).to(dtype),
               v = randn({batch, batch, keys, out_width}).to(dtype);
  Results out = with_gradients({q, k, v}, [](const std::vector<Tensor>& in) {
    return Results{scaled_dot_product_attention(in[0], in[1], in[2], {.causal = true})};
  });
  const Tensor mask = rand({n, keys}) < 0.7;
  for (const Tensor& y : with_gradients({q, k, v}, [&](const std::vector<Tensor>& in) {
         Generator generator(3);
         return Results{scaled_dot_product_attention(in[0], in[1], in[2],
                                                     {.mask = mask, .dropout = 0.2, .generator = &generator})};
       }))
    out.push_back(y);
  return out;
}

Results losses(int64_t n) {
  const Tensor scores = randn({4, n + 1}), target = randint(0, n + 1, {4}), a = rand({n}), b = rand({n});
  Results out = with_gradients(scores, [&](const Tensor& x) { return cross_entropy(x, target); });
  for (const Tensor& y : with_gradients(a, [&](const Tensor& x) { return mse_loss(x, b); })) out.push_back(y);
  for (const Tensor& y : with_gradients(a, [&](const Tensor& x) { return smooth_l1_loss(x, b, Reduction::none); }))
    out.push_back(y);
  return out;
}

Results indexed(int64_t n) {
  const Tensor table = randn({7, n}), rows = randint(0, 7, {11}), along = randint(0, 7, {5, n}), src = randn({5, n});
  Results out = with_gradients(table, [&](const Tensor& x) { return embedding(x, rows); });
  for (const Tensor& y : with_gradients(table, [&](const Tensor& x) { return gather(x, 0, along); })) out.push_back(y);
  for (const Tensor& y : with_gradients({table, src}, [&](const std::vector<Tensor>& in) {
         return Results{scatter_add(in[0], 0, along, in[1]), scatter(in[0], 0, along, in[1])};
       }))
    out.push_back(y);
  out.push_back(nonzero(table > 0));
  out.push_back(one_hot(rows, 7));
  out.push_back(bincount(rows));
  out.push_back(tril(table));
  out.push_back(searchsorted(arange(n), rand({n}) * double(n)));
  return out;
}

Results steps(int64_t n) {
  Results out;
  const auto run = [&](auto make, int count = 3) {
    const Tensor w = randn({n}).set_requires_grad(true);
    auto optimizer = make(std::vector<Tensor>{w});
    for (int step = 0; step < count; ++step) {
      optimizer.zero_grad();
      backward(sum(w * w * w));
      optimizer.step();
    }
    out.push_back(w.detach());
  };
  run([](const std::vector<Tensor>& p) { return SGD(p, {.lr = 0.01, .momentum = 0.9, .nesterov = true}); });
  run([](const std::vector<Tensor>& p) { return AdamW(p, {.lr = 0.01}); });
  run([](const std::vector<Tensor>& p) { return RMSprop(p, {.lr = 0.01, .momentum = 0.5, .centered = true}); });
  run([](const std::vector<Tensor>& p) { return Adagrad(p, {.lr = 0.01}); });
  run([](const std::vector<Tensor>& p) { return Adam(p, {.lr = 0.01, .weight_decay = 0.1, .amsgrad = true}); });
  run([](const std::vector<Tensor>& p) { return NAdam(p, {.lr = 0.01}); });
  run([](const std::vector<Tensor>& p) { return RAdam(p, {.lr = 0.01}); }, 7);  // rectified from the 6th
  run([](const std::vector<Tensor>& p) { return Adamax(p, {.lr = 0.01}); });
  run([](const std::vector<Tensor>& p) { return Adadelta(p); });
  run([](const std::vector<Tensor>& p) { return Rprop(p); });
  run([](const std::vector<Tensor>& p) { return Lion(p, {.lr = 0.01, .weight_decay = 0.1}); });
  run([](const std::vector<Tensor>& p) { return LAMB(p, {.lr = 0.01}); });
  return out;
}

// Muon in f32, whose products are the back end's, and the averages.
Results matrices_and_averages(int64_t n) {
  const Tensor w = randn({n / 16 + 1, 5}).set_requires_grad(true);
  Muon muon({w}, {.lr = 0.01, .ns_dtype = f32});
  Linear net(n / 8 + 1, 3);
  EMA ema(net, {.decay = 0.5});
  for (int step = 0; step < 2; ++step) {
    muon.zero_grad();
    backward(sum(w * w * w));
    muon.step();
    add_(net.weight.detach(), ones_like(net.weight));
    ema.update();
  }
  Results out{w.detach()};
  for (const NamedTensor& entry : ema.values()) out.push_back(entry.tensor);
  return out;
}

// Every cell, steps of unequal length; 0: a batch of nothing.
Results recurrent(int64_t n) {
  const int64_t in = 3, hidden = n / 20 + 1;
  const std::vector<int64_t> sizes{n / 7 + 1, n / 9 + 1, 1};
  const int64_t batch = n == 0 ? 0 : sizes[0], rows = sizes[0] + sizes[1] + sizes[2];
  const Tensor x = n == 0 ? randn({2, 0, in}) : randn({rows, in}), state = randn({batch, hidden});
  const RecurrentParams params{.batch_sizes = n == 0 ? std::vector<int64_t>{} : sizes, .reverse = n % 2 == 1};
  Results out;
  for (int64_t gates : {1, 2, 3, 4}) {  // 2: the other plain cell, which has one too
    const int64_t all = gates == 2 ? hidden : gates * hidden;
    const Tensor w = rand({all, in}) - 0.5, u = (rand({all, hidden}) - 0.5) * (2 / std::sqrt(double(hidden)));
    for (const Tensor& y :
         with_gradients({x, state, w, u, rand({all}), rand({all})}, [&](const std::vector<Tensor>& t) {
           const RecurrentWeights weights{t[2], t[3], t[4], t[5]};
           const RecurrentResult r =
               gates == 4 ? lstm_layer(t[0], t[1], t[1], weights, params)
               : gates == 3
                   ? gru_layer(t[0], t[1], weights, params)
                   : rnn_layer(t[0], t[1], weights, gates == 1 ? Nonlinearity::tanh : Nonlinearity::relu, params);
           return gates == 4 ? Results{r.y, r.h, r.c} : Results{r.y, r.h};
         }))
      out.push_back(y);
  }
  return out;
}

std::vector<Family> families() {
  return {
      {"elementwise",
       [](int64_t n) {
         const Tensor a = randn({n}), b = randn({3, n});
         Results out = with_gradients({a, b}, [](const std::vector<Tensor>& in) {
           return Results{in[0] * in[1] + exp(in[0]), where(in[1] > 0, in[0], in[1]), t(in[1]) * 2.0};
         });
         for (DType d : {f64, bf16, f16, i64, i32, u8, boolean}) out.push_back(a.to(d));
         out.push_back(full({n}, 3, {.dtype = i32}));
         out.push_back(floor_divide(ones({n}), rand({n}) + 0.5));
         return out;
       }},
      {"reductions",
       [](int64_t n) {
         const Tensor x = randn({3, n + 1, 2});
         Results out = with_gradients(x, [](const Tensor& v) { return sum(v, {.dim = 1}) + mean(v); });
         for (const Tensor& y : with_gradients(x, [](const Tensor& v) { return sum(v, {.dim = {0, 2}}); }))
           out.push_back(y);
         for (const Tensor& y : with_gradients(x, [](const Tensor& v) { return prod(v, {.dim = 1}); }))
           out.push_back(y);
         out.push_back(amax(x, {.dim = 1}));
         out.push_back(var(x, {.dim = 1}));
         out.push_back(argmax(x, {.dim = 1}));
         out.push_back(argmin(x));
         out.push_back(median(x, 1).values);
         out.push_back(quantile(x, 0.3, {.dim = 1}));
         return out;
       }},
      {"softmax",
       [](int64_t n) {
         const Tensor x = randn({4, n, 2});
         Results out = with_gradients(x, [](const Tensor& v) { return softmax(v, 1); });
         for (const Tensor& y : with_gradients(x, [](const Tensor& v) { return log_softmax(v, 0); })) out.push_back(y);
         for (const Tensor& y : with_gradients(reshape(x, {8, n}), [](const Tensor& v) { return softmax(v, -1); }))
           out.push_back(y);
         if (n > 0) out.push_back(logsumexp(x, {.dim = 1}));
         return out;
       }},
      {"losses", losses},
      {"attention", [](int64_t n) { return attention(n, f32, 3, 2); }},
      {"attention in bf16", [](int64_t n) { return attention(n, bf16, 8, 8); }, 2e-2},
      {"attention in f16, wide rows", [](int64_t n) { return attention(std::min<int64_t>(n, 257), f16, 72, 72); },
       4e-3},
      {"norms", [](int64_t n) { return n > 0 ? norms(n) : Results{}; }},
      {"indices", indexed},
      {"sort",
       [](int64_t n) {
         const Tensor x = randn({3, n}), whole = randint(0, 50, {n});
         const auto [values, indices] = sort(x, -1);
         Results out{values, indices, unique(whole).values, unique(whole).counts};
         if (n > 0) {
           out.push_back(topk(x, std::min<int64_t>(n, 5)).values);
           out.push_back(kthvalue(x, 1).values);
         }
         return out;
       }},
      {"scans",
       [](int64_t n) {
         const Tensor x = rand({3, n}) + 0.5;
         Results out = with_gradients(x, [](const Tensor& v) { return cumsum(v, 1); });
         for (const Tensor& y : with_gradients(x, [](const Tensor& v) { return logcumsumexp(v, 1); })) out.push_back(y);
         for (const Tensor& y : with_gradients(x, [](const Tensor& v) { return cumprod(v, 0); })) out.push_back(y);
         out.push_back(cummax(x, 1).values);
         return out;
       }},
      {"pads",
       [](int64_t n) {
         const Tensor x = randn({3, n + 2});
         return with_gradients(x, [](const Tensor& v) { return pad(v, {1, 1}, PadMode::reflect); });
       }},
      {"products",
       [](int64_t n) {
         const Tensor a = randn({5, n}), b = randn({n, 3}), c = randint(-4, 5, {5, n}), d = randint(-4, 5, {n, 17});
         Results out =
             with_gradients({a, b}, [](const std::vector<Tensor>& in) { return Results{matmul(in[0], in[1])}; });
         out.push_back(matmul(c, d));
         const Tensor w = randn({16, n}), v = randn({3, 16}), bias = randn({16});
         for (const Tensor& y : with_gradients({a, w, bias, v}, [](const std::vector<Tensor>& in) {
                return Results{linear_relu(in[0], in[1], in[2]), linear_gelu(in[0], in[1]),
                               feed_forward(in[0], in[1], in[2], in[3], {})};
              }))
           out.push_back(y);
         return out;
       }},
      {"convolutions and pools",
       [](int64_t n) {
         const Tensor x = randn({2, 3, 4, n + 3}), w = randn({4, 3, 3, 3});
         Results out = with_gradients(
             {x, w}, [](const std::vector<Tensor>& in) { return Results{conv2d(in[0], in[1], {}, {.padding = 1})}; });
         for (const Tensor& y : with_gradients(x, [](const Tensor& v) { return max_pool2d(v, 2); })) out.push_back(y);
         for (const Tensor& y : with_gradients(x, [](const Tensor& v) { return max_pool2d(v, 3, {.stride = 1}); }))
           out.push_back(y);
         for (const Tensor& y : with_gradients(x, [](const Tensor& v) { return avg_pool2d(v, 2); })) out.push_back(y);
         return out;
       }},
      {"recurrent layers", recurrent},
      {"random",
       [](int64_t n) {
         Results out{rand({n}), rand({n}, {.dtype = f64}), randn({n}), randint(0, 1000, {n}), randperm(n)};
         out.push_back(bernoulli(rand({n})));
         out.push_back(dropout(rand({n}), 0.5, true));
         out.push_back(exponential_(empty({n}), 2));
         out.push_back(bernoulli_(empty({n}), 0.3));
         out.push_back(poisson(rand({n}) * 5.0));
         out.push_back(multinomial(rand({3, n + 1}), 1, true));
         out.push_back(gamma_grad(rand({n}) + 0.5, rand({n}) + 0.2));
         return out;
       }},
      {"optimizers", steps},
      {"muon and averages", matrices_and_averages},
      {"skip-gram", skip_grams},
  };
}

std::string bits_of(const Results& results) {
  std::string out;
  for (const Tensor& y : results) {
    const Tensor host = contiguous(y.detach().to(kCpu));
    out.append(static_cast<const char*>(host.data_ptr()), size_t(host.numel() * size_of(host.dtype())));
  }
  return out;
}

double worst_error(const Results& got, const Results& expected) {
  EXPECT_EQ(got.size(), expected.size());
  double worst = 0;
  for (size_t k = 0; k < std::min(got.size(), expected.size()); ++k) {
    EXPECT_EQ(to_string(got[k].shape()), to_string(expected[k].shape())) << "result " << k;
    const std::vector<double> a = got[k].detach().to_vector<double>(), b = expected[k].detach().to_vector<double>();
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) worst = std::max(worst, testing::error_of(a[i], b[i]));
  }
  return worst;
}

Results run_on(Device device, const Family& family, int64_t n) {
  const testing::DeviceScope scope(device);
  manual_seed(36);
  return family.run(n);
}

// True if the three orders give the same bits and these are the CPU's values.
bool check(const Family& family, int64_t n) {
  SCOPED_TRACE(concat(family.name, " at ", n));
  const double limit = family.rounding * (1 + 5e-3 * double(n));  // sums of up to 10 n terms
  bool good = true;
  try {
    const Results expected = run_on(kCpu, family, n);
    std::string first;
    for (simt::Order order : {simt::Order::forward, simt::Order::reverse, simt::Order::random}) {
      simt::options().order = order;
      const Results got = run_on(DeviceType::cuda, family, n);
      const std::string bits = bits_of(got);
      if (order == simt::Order::forward) first = bits;
      EXPECT_TRUE(bits == first) << "order " << int(order) << " gives other bits";
      const double error = worst_error(got, expected);
      EXPECT_LE(error, limit);
      good = good && bits == first && error <= limit;
    }
  } catch (const std::exception& e) {
    ADD_FAILURE() << e.what();
    good = false;
  }
  simt::options().order = simt::Order::forward;
  return good;
}

#if defined(__SANITIZE_THREAD__)
// A race does not need all of them, and under ThreadSanitizer the nine take longer than a test may.
constexpr int64_t kSizes[] = {1, 33, 257};
#else
constexpr int64_t kSizes[] = {0, 1, 31, 32, 33, 255, 256, 257, 1000};
#endif

TEST(Sizes, EveryKernelInThreeOrdersAtNineSizes) {
  const auto start = std::chrono::steady_clock::now();
  int64_t passed = 0, total = 0;
  for (const Family& family : families())
    for (const int64_t n : kSizes) {
      ++total;
      passed += check(family, n);
    }
  testing::report_row(36,
                      concat("kernels on the emulator: 3 orders x ", std::size(kSizes), " sizes, parity with the CPU"),
                      passed, total, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

// What has a kernel of its own beyond some size.
Results large(int64_t n) {
  const Tensor image = randn({1, 2, 40, 40}), table = randn({3, 2}), rows = randint(0, 3, {n});
  const Tensor line = randn({n}), places = randint(0, n, {n});
  Results out = with_gradients(image, [](const Tensor& v) { return avg_pool2d(v, 40); });
  for (const Tensor& y : with_gradients(table, [&](const Tensor& v) { return embedding(v, rows); })) out.push_back(y);
  for (const Tensor& y : with_gradients({zeros({n}), line}, [&](const std::vector<Tensor>& in) {
         return Results{scatter(in[0], 0, places, in[1])};
       }))
    out.push_back(y);
  // What does not fit the parameters of one launch.
  const Tensor wide = reshape(line, {1, 1, 1, n});
  for (const Tensor& y : with_gradients(wide, [](const Tensor& v) {
         return avg_pool2d(v, {1, 3}, {.stride = {1, 2}, .padding = {0, 1}, .count_include_pad = false});
       }))
    out.push_back(y);
  for (const Tensor& y : with_gradients(wide, [](const Tensor& v) { return pad(v, {2, 1}, PadMode::reflect); }))
    out.push_back(y);
  // The second derivative of max pooling reads where the first one wrote.
  const Tensor x = image.detach().set_requires_grad(true), w = randn({1, 2, 20, 20}).set_requires_grad(true);
  const Tensor dx = grad(sum(max_pool2d(x, 2) * w), {x}, {.create_graph = true})[0];
  out.push_back(grad(sum(dx * dx), {w})[0]);
  out.push_back(argmax(randn({4 * n})));
  out.push_back(sort(randn({20, 4100}), -1).values);
  out.push_back(bincount(randint(0, 50'000, {200})));
  out.push_back(nonzero(line > 0));
  out.push_back(sort(line, -1).indices);
  out.push_back(unique(places).counts);
  out.push_back(cumsum(places - n / 2, 0));
  return out;
}

TEST(Sizes, WhatHasAKernelOfItsOwnWhenLarge) { EXPECT_TRUE(check({"large", large}, 10'000)); }

}  // namespace
}  // namespace tenrec
