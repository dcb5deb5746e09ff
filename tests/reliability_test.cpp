// Rows 9, 11, 14, 15, 28, 29 and 31 of the reliability programme: sums, softmax at the extremes, the same bits again,
// in-place changes, leaks, sizes past 2^31. Row 10 is in reliability_nan_test.cpp, 27 and 30 in tape_test.cpp.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <functional>

#include "support/reliability_row.h"
#include "tenrec/data/sha256.h"

namespace tenrec {
namespace {

using testing::kInf;
using testing::kNan;
using testing::Row;

// --- 9: sum, mean, var

// A sum in long double that keeps what each addition rounds off (A. Neumaier, 1974): a plain one over 10^6 numbers is
// already worse than the bound for f64.
class Compensated {
 public:
  void add(long double v) {
    const long double next = sum_ + v;
    lost_ += std::abs(sum_) >= std::abs(v) ? (sum_ - next) + v : (v - next) + sum_;
    sum_ = next;
  }
  long double total() const { return sum_ + lost_; }

 private:
  long double sum_ = 0, lost_ = 0;
};

// What the bound is made of.
struct Exact {
  long double sum = 0, magnitude = 0, mean = 0, var = 0;
  explicit Exact(const std::vector<double>& x) {
    Compensated plain, absolute, squares;
    for (const double v : x) {
      plain.add(v);
      absolute.add(std::abs(v));
    }
    const auto n = (long double)(x.size());
    sum = plain.total();
    magnitude = absolute.total();
    mean = sum / n;
    for (const double v : x) squares.add((v - mean) * (v - mean));
    var = squares.total() / (n - 1);
  }
};

// u: half the dtype's eps, the error of one rounding; so the bound is half of what the row allows.
void check_accuracy(Row& row, const Tensor& x, double u, const std::string& what) {
  const Exact exact(x.to_vector<double>());
  const double n = double(x.numel()), log_n = std::log2(n), mean = std::abs(double(exact.mean));
  const double sum_bound = 2 * u * log_n * double(exact.magnitude);
  row.check_value(sum(x).item<double>(), double(exact.sum), sum_bound, "sum of ", what);
  const double mean_bound = sum_bound / n + u * mean;
  row.check_value(tenrec::mean(x).item<double>(), double(exact.mean), mean_bound, "mean of ", what);
  if (n < 2) return;
  // Of the squares as of a sum, three roundings each, and what a mean that is off adds.
  const double var_bound = 2 * u * (log_n + 3) * double(exact.var) + mean_bound * mean_bound * n / (n - 1);
  row.check_value(var(x).item<double>(), double(exact.var), var_bound, "var of ", what);
}

TEST(Reliability, Row9SumMeanVar) {
  Row row(9, "error <= 2 eps log2(n) sum|x|; symmetric 4,096,000 case = 0");
  manual_seed(9);
  for (const DType dtype : {f32, f64}) {
    const double u = dtype == f32 ? std::ldexp(1, -24) : std::ldexp(1, -53);
    for (const int64_t n : {1, 2, 3, 7, 100, 511, 512, 513, 1000, 4097, 65536, 1000003}) {
      const TensorOptions options{.dtype = dtype};
      const std::pair<const char*, Tensor> sets[] = {
          {"uniform", rand({n}, options)},
          {"normal", randn({n}, options)},
          {"0.1", full({n}, 0.1, options)},
          {"1e4 + normal", randn({n}, options) + 1e4},
          {"many magnitudes", randn({n}, options) * exp(randn({n}, options) * 5)},
          {"alternating",
           where(eq(remainder(arange(n, {.dtype = i64}), 2), 0), full({n}, 1e6, options), rand({n}, options))}};
      for (const auto& [name, x] : sets)
        check_accuracy(row, x, u, concat(name, ", n = ", n, ", ", tenrec::name(dtype)));
    }
  }
  for (const DType dtype : {bf16, f16}) {  // summed in more, rounded once
    const Tensor x = rand({4097}, {.dtype = dtype});
    const Exact exact(x.to_vector<double>());
    const double u = dtype == bf16 ? std::ldexp(1, -8) : std::ldexp(1, -11);
    row.check_value(sum(x).item<double>(), double(exact.sum), 1.01 * u * double(exact.sum), "sum of ", name(dtype));
    row.check_value(mean(x).item<double>(), double(exact.mean), 1.01 * u * double(exact.mean), "mean of ", name(dtype));
  }
  const Tensor matrix = randn({777, 513});
  for (const int64_t dim : {0, 1}) {
    const std::vector<float> sums = sum(matrix, {.dim = dim}).to_vector<float>();
    for (int64_t i = 0; i < int64_t(sums.size()); i += 37) {
      const Tensor line = contiguous(select(matrix, 1 - dim, i));
      row.check(sum(line).item<float>() == sums[size_t(i)], "the sum along ", dim, " has its own bits");
      check_accuracy(row, line, std::ldexp(1, -24), "a line of a matrix");
    }
  }
  constexpr int64_t kHalf = 2048000;
  const Tensor ramp = arange(1, kHalf + 1);
  const Tensor halves[] = {ramp, rand({kHalf}), randn({kHalf}) * 1000, full({kHalf}, 0.1)};
  for (const Tensor& half : halves) {
    const Tensor mirrored = neg(index_select(half, 0, arange(kHalf - 1, -1, -1, {.dtype = i64})));
    for (const Tensor& other : {neg(half), mirrored}) {
      const Tensor x = cat({half, other}, 0);
      row.check(sum(x).item<float>() == 0, "symmetric: ", sum(x).item<float>());
      row.check(mean(x).item<float>() == 0, "symmetric mean: ", mean(x).item<float>());
      row.check(sum(reshape(x, {2000, 2048})).item<float>() == 0, "symmetric, as a matrix");
    }
  }
}

// --- 11: softmax and its family at the extremes

bool has_nan(const Tensor& x) { return any(isnan(x)).item<bool>(); }
bool is_finite(const Tensor& x) { return all(isfinite(x)).item<bool>(); }

// Finite and infinite logits, none of a row all -inf.
std::vector<std::vector<double>> extreme_rows() {
  std::vector<std::vector<double>> rows = {{-kInf, 0, 1}, {-kInf, -kInf, 2}, {0, -kInf, -1e38}, {-kInf, 1e38, -1e38}};
  for (const double s : {1e4, 1e38, -1e4, -1e38, 3.4e38, -3.4e38})
    for (const auto& row :
         std::initializer_list<std::vector<double>>{{s, -s, 0}, {s, s, s}, {s, 0, 0}, {s, s, -s}, {s}})
      rows.push_back(row);
  for (const double s : {1e4, 1e38}) {  // long ones
    std::vector<double> row(1000);
    for (size_t i = 0; i < row.size(); ++i) row[i] = s * (double(i % 13) / 6 - 1);
    rows.push_back(row);
    row[500] = -kInf;
    rows.push_back(row);
  }
  return rows;
}

void check_softmax_row(Row& row, const Tensor& x) {
  const std::string what = x.numel() < 10 ? to_string(x) : "a long row";
  const Tensor p = softmax(x, 0), logs = log_softmax(x, 0), lse = logsumexp(x, {.dim = 0});
  row.check(is_finite(p), "softmax of ", what, " is ", to_string(p));
  row.check_value(sum(p.to(f64)).item<double>(), 1, x.dtype() == bf16 ? 2e-2 : 1e-5, "sum of softmax of ", what);
  row.check(!has_nan(logs) && all(le(logs, 0)).item<bool>(), "log_softmax of ", what, " is ", to_string(logs));
  row.check(!has_nan(lse) && ge(lse, amax(x)).item<bool>(), "logsumexp of ", what, " is ", to_string(lse));
  row.check(!has_nan(logcumsumexp(x, 0)), "logcumsumexp of ", what);
  row.check(all(eq(masked_select(p, eq(x, -kInf)), 0)).item<bool>(), "-inf has probability 0 in ", what);

  Tensor leaf = clone(x);
  leaf.set_requires_grad(true);
  const Tensor weights = linspace(-1, 1, x.numel(), {.dtype = x.dtype()});
  const auto check_grad = [&](const char* op, const Tensor& y) {
    const Tensor dx = grad(y, {leaf})[0];
    row.check(is_finite(dx), "gradient of ", op, " at ", what, " is ", to_string(dx));
  };
  check_grad("softmax", sum(softmax(leaf, 0) * weights));
  check_grad("softmin", sum(softmin(neg(leaf), 0) * weights));
  check_grad("logsumexp", logsumexp(leaf, {.dim = 0}));
  const Tensor first = log_softmax(leaf, 0);  // by a cotangent, since -inf * 0 in the sum would be NaN by itself
  row.check(is_finite(grad(first, {leaf}, {.grad_output = weights})[0]), "gradient of log_softmax at ", what);

  for (const double smoothing : {0.0, 0.1})
    for (const int64_t target : {int64_t(0), x.numel() - 1}) {
      const Tensor batch = unsqueeze(leaf, 0);
      const Tensor loss = cross_entropy(batch, tensor({target}, {.dtype = i64}), {.label_smoothing = smoothing});
      row.check(!has_nan(loss) && loss.item<double>() >= 0, "cross_entropy of ", what, " at ", target, ", smoothing ",
                smoothing, " is ", loss.item<double>());
      check_grad("cross_entropy", loss);
    }
}

TEST(Reliability, Row11SoftmaxAtTheExtremes) {
  Row row(11, "no NaN except documented; gradients finite");
  for (const DType dtype : {f32, f64, bf16})
    for (const std::vector<double>& values : extreme_rows()) {
      const Tensor x = from_vector(values, {int64_t(values.size())}).to(dtype);
      const bool rounded_away = any(eq(x, kInf)).item<bool>() || all(eq(x, -kInf)).item<bool>();  // bf16: no 3.4e38
      if (!rounded_away) check_softmax_row(row, x);
    }
  // The documented ones.
  const Tensor nothing = full({3}, -kInf, {.requires_grad = true});
  row.check(all(isnan(softmax(nothing, 0))).item<bool>(), "softmax of -inf alone is NaN");
  row.check_value(logsumexp(nothing).item<double>(), -kInf, 0, "logsumexp of -inf alone");
  row.check(all(eq(grad(logsumexp(nothing), {nothing})[0], 0)).item<bool>(), "its gradient is 0");
  row.check_value(logsumexp(tensor({1., kInf})).item<double>(), kInf, 0, "logsumexp with inf");
  row.check(has_nan(softmax(tensor({1., kInf}), 0)), "softmax with inf is NaN");
  row.check(has_nan(softmax(tensor({1., kNan}), 0)), "softmax with NaN is NaN");
  // Binary ones.
  for (const double x : {1e4, -1e4, 1e38, -1e38})
    for (const double y : {0.0, 1.0, 0.3}) {
      const Tensor logit = full({2}, x, {.requires_grad = true}), target = full({2}, y);
      const Tensor loss = binary_cross_entropy_with_logits(logit, target);
      row.check_value(loss.item<double>() / std::abs(x), x > 0 ? 1 - y : y, 1e-6, "bce with logit ", x);
      row.check(is_finite(grad(loss, {logit})[0]), "gradient of bce at ", x);
    }
}

// --- 14, 15: same seed, same bits

struct Text : Module {  // embedding, 1-d convolution, layer norm
  Tensor operator()(const Tensor& tokens) const {
    const ModuleScope scope(*this);
    const Tensor x = transpose(norm(embedding(tokens)), 1, 2);
    return head(mean(gelu(conv(x)), {.dim = 2}));
  }
  void visit(Visitor& v) override {
    v("embedding", embedding);
    v("norm", norm);
    v("conv", conv);
    v("head", head);
  }
  Embedding embedding{50, 16};
  LayerNorm norm{16};
  Conv1d conv{16, 24, 3, {.padding = 1}};
  Linear head{24, 5};
};

std::string hash_of(const std::vector<Tensor>& tensors) {
  Sha256 hash;
  for (const Tensor& t : tensors) {
    const Tensor c = contiguous(t.detach());
    hash.update(c.data_ptr(), size_t(c.numel() * size_of(c.dtype())));
  }
  return hash.hex();
}

// Trains on random data and hashes every loss, the last gradients and all weights and buffers.
template <class Net, class Make>
std::string train(Net& net, Make make_optimizer, const std::function<Tensor()>& draw, int64_t classes, int64_t steps) {
  auto optimizer = make_optimizer(parameters(net));
  std::vector<Tensor> seen;
  for (int64_t step = 0; step < steps; ++step) {
    const Tensor x = draw(), y = randint(classes, {x.size(0)});
    const Tensor loss = cross_entropy(net(x), y);
    optimizer.zero_grad();
    backward(loss);
    clip_grad_norm_(parameters(net), 5);
    optimizer.step();
    seen.push_back(loss.detach());
  }
  for (const Tensor& p : parameters(net)) seen.push_back(p.grad());
  for (const NamedTensor& entry : state_dict(net)) seen.push_back(entry.tensor);
  for (const NamedTensor& entry : optimizer.state_dict()) seen.push_back(entry.tensor);
  for (const Tensor& t : seen) EXPECT_TRUE(is_finite(t));
  return hash_of(seen);
}

std::string train_mlp(uint64_t seed, int64_t steps) {
  manual_seed(seed);
  Sequential net(Linear(40, 64), BatchNorm1d(64), ReLU(), Dropout(0.3), Linear(64, 10));
  return train(
      net, [](const auto& p) { return SGD(p, {.lr = 0.05, .momentum = 0.9, .weight_decay = 1e-4, .nesterov = true}); },
      [] {
        return randn({32, 40});
      },
      10, steps);
}
std::string train_cnn(uint64_t seed, int64_t steps, int64_t batch = 8) {
  manual_seed(seed);
  Sequential net(Conv2d(1, 8, 3), BatchNorm2d(8), ReLU(), MaxPool2d(2), Conv2d(8, 16, 3, {.padding = 1}), ReLU(),
                 AvgPool2d(2), Flatten(), Dropout(0.25), Linear(576, 10));
  return train(
      net, [](const auto& p) { return Adam(p, {.lr = 1e-3}); },
      [batch] {
        return randn({batch, 1, 28, 28});
      },
      10, steps);
}
std::string train_text(uint64_t seed, int64_t steps) {
  manual_seed(seed);
  Text net;
  return train(
      net, [](const auto& p) { return AdamW(p, {.lr = 1e-3}); },
      [] {
        return randint(50, {16, 12});
      },
      5, steps);
}

TEST(Reliability, Row14SameSeedSameBits) {
  Row row(14, "same seed twice, 200 steps, 3 models: bit-identical");
  const std::pair<const char*, std::function<std::string(uint64_t)>> models[] = {
      {"mlp", [](uint64_t s) { return train_mlp(s, 200); }},
      {"cnn", [](uint64_t s) { return train_cnn(s, 200); }},
      {"text", [](uint64_t s) { return train_text(s, 200); }}};
  for (const auto& [name, run] : models) {
    const std::string first = run(14);
    row.check(run(14) == first, name, ": two runs differ");
    row.check(run(15) != first, name, ": the seed does not matter");
  }
}

TEST(Reliability, Row15ThreadsDoNotChangeTheBits) {
  Row row(15, "threads 1, 2, 3, 4, 8: one training run bit-identical");
  const int before = num_threads();
  std::string mlp, cnn, text;
  for (const int threads : {1, 2, 3, 4, 8}) {
    set_num_threads(threads);
    const std::string now[] = {train_mlp(1, 20), train_cnn(1, 5, 70), train_text(1, 20)};
    if (threads == 1) {
      mlp = now[0];
      cnn = now[1];
      text = now[2];
    }
    row.check(now[0] == mlp, "mlp differs at ", threads, " threads");
    row.check(now[1] == cnn, "cnn differs at ", threads, " threads");
    row.check(now[2] == text, "text differs at ", threads, " threads");
  }
  set_num_threads(before);
}

// --- 28: in-place on what the tape knows

TEST(Reliability, Row28InPlaceOnWhatTheTapeKnows) {
  Row row(28, "100 % raise, 0 silent");
  using Mutation = std::pair<const char*, std::function<void(const Tensor&)>>;
  const Mutation mutations[] = {{"fill_", [](const Tensor& t) { fill_(t, 7); }},
                                {"zero_", [](const Tensor& t) { zero_(t); }},
                                {"copy_", [](const Tensor& t) { copy_(t, full(t.shape(), 7, {.dtype = t.dtype()})); }},
                                {"add_", [](const Tensor& t) { add_(t, ones(t.shape(), {.dtype = t.dtype()})); }},
                                {"mul_", [](const Tensor& t) { mul_(t, 3); }},
                                {"index_put_", [](const Tensor& t) { index_put_(t, {0}, 7); }},
                                {"uniform_", [](const Tensor& t) { uniform_(t); }},
                                {"normal_", [](const Tensor& t) { normal_(t); }},
                                {"trunc_normal_", [](const Tensor& t) { trunc_normal_(t); }},
                                {"exponential_", [](const Tensor& t) { exponential_(t); }},
                                {"bernoulli_", [](const Tensor& t) { bernoulli_(t); }}};
  using Route = std::pair<const char*, std::function<Tensor(const Tensor&)>>;
  const Route routes[] = {{"itself", [](const Tensor& t) { return t; }},
                          {"detach", [](const Tensor& t) { return t.detach(); }},
                          {"slice", [](const Tensor& t) { return slice(t, 0, 1, 2); }},
                          {"row", [](const Tensor& t) { return t[0]; }},
                          {"reshape", [](const Tensor& t) { return reshape(t, {4}); }},
                          {"transpose", [](const Tensor& t) { return transpose(t, 0, 1); }},
                          {"diagonal", [](const Tensor& t) { return diagonal(t); }},
                          {"view of detach", [](const Tensor& t) { return slice(t.detach(), 1, 0, 1); }}};
  struct Scene {
    const char* name;
    std::function<std::pair<Tensor, Tensor>()> make;  // what is mutated, and what is differentiated
  };
  const auto leaf = [] { return tensor({{0.5, 1.}, {1.5, 2.}}, {.dtype = f64, .requires_grad = true}); };
  const auto plain = [] { return tensor({{0.5, 1.}, {1.5, 2.}}, {.dtype = f64}); };
  const Scene scenes[] = {{"a saved input",
                           [&] {
                             const Tensor w = plain();
                             return std::pair{w, sum(leaf() * w)};
                           }},
                          {"a saved output",
                           [&] {
                             const Tensor y = exp(leaf());
                             return std::pair{y, sum(y)};
                           }},
                          {"a leaf that a node saved",
                           [&] {
                             const Tensor x = leaf();
                             return std::pair{x, sum(x * x)};
                           }},
                          {"an operand of matmul", [&] {
                             const Tensor w = plain();
                             return std::pair{w, sum(matmul(leaf(), w))};
                           }}};
  for (const Scene& scene : scenes)
    for (const auto& [route_name, route] : routes)
      for (const auto& [mutation_name, mutate] : mutations) {
        const auto [target, loss] = scene.make();
        const std::vector<double> before = target.to_vector<double>();
        const std::string what = concat(mutation_name, " on ", route_name, " of ", scene.name);
        row.check_throws<AutogradError>([&f = mutate, &g = route, &t = target] { f(g(t)); }, mutation_name, what);
        row.check(target.to_vector<double>() == before, what, ": refused, but written");
        {
          const NoGrad off;  // allowed, and found in the backward pass
          mutate(route(target));
        }
        row.check_throws<AutogradError>([&l = loss] { backward(l); }, "changed in place", what, " under NoGrad");
      }
  // What no rule reads may change: the gradient stays right.
  const Tensor x = leaf();
  const Tensor y = x + 1.0, loss = sum(y * 2.0);
  {
    const NoGrad off;
    zero_(y);
  }
  row.check(grad(loss, {x})[0].to_vector<double>() == std::vector<double>(4, 2.0), "a sum needs no values");
  // A step of an optimizer between forward and backward.
  manual_seed(28);
  Sequential net(Linear(3, 4), Tanh(), Linear(4, 2));
  SGD sgd(parameters(net), {.lr = 0.1});
  Adam adam(parameters(net));
  for (Optimizer* optimizer : {static_cast<Optimizer*>(&sgd), static_cast<Optimizer*>(&adam)}) {
    const Tensor in = randn({5, 3});
    backward(sum(square(net(in))));
    const Tensor late = sum(square(net(in)));
    optimizer->step();
    row.check_throws<AutogradError>([&] { backward(late); }, "changed in place", "a step before backward");
    optimizer->zero_grad();
  }
}

// --- 29: leaks by count

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // the shadow grows with what is touched
#else
constexpr bool kSanitized = false;
#endif

double rss_mb() {
  long total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return double(resident) * double(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

TEST(Reliability, Row29NoLeaks) {
  Row row(29, "live tensors back to baseline; RSS < +1 MB over 10,000 steps");
  const int64_t baseline = live_tensors();
  {
    manual_seed(29);
    Sequential net(Linear(4, 8), Tanh(), Dropout(0.1), Linear(8, 3));
    AdamW optimizer(parameters(net), {.lr = 1e-3});
    const auto step = [&](int64_t i) {
      const Tensor x = randn({5, 4}), y = randint(3, {5});
      const Tensor loss = cross_entropy(net(x), y);
      optimizer.zero_grad();
      backward(loss);
      optimizer.step();
      if (i % 16 == 0) {  // second order, an error on the way, a checkpoint
        const Tensor w = parameters(net)[0];
        const Tensor g = grad(sum(square(net(x))), {w}, {.create_graph = true})[0];
        backward(sum(g * g));
        EXPECT_THROW(matmul(tanh(w), zeros({7, 7})), ShapeError);
        backward(
            sum(checkpoint([&](const std::vector<Tensor>& in) { return std::vector<Tensor>{net(in[0])}; }, {x})[0]));
      }
    };
    for (int64_t i = 0; i < 1000; ++i) step(i);
    const int64_t live = live_tensors();
    const int64_t in_use = memory_stats().in_use;
    const double rss = rss_mb();
    for (int64_t i = 0; i < 10000; ++i) step(i);
    row.check(live_tensors() == live, "tensors: ", live, " became ", live_tensors());
    row.check(memory_stats().in_use == in_use, "bytes in use: ", in_use, " became ", memory_stats().in_use);
    if (!kSanitized) row.check(rss_mb() - rss < 1, "RSS: ", rss, " MB became ", rss_mb());
  }
  row.check(live_tensors() == baseline, "after everything is gone: ", live_tensors(), ", before ", baseline);
}

// --- 31: more elements than an int can count

TEST(Reliability, Row31MoreThanTwoToThe31) {
  Row row(31, "numel > 2^31 by stride-0 views is right; > 2^63 refused");
  constexpr int64_t kRows = 32768, kCols = 65537, kAll = kRows * kCols;  // 2^31 + 2^15
  static_assert(kAll > (int64_t(1) << 31));
  const auto big = [](double value, DType dtype) {
    return expand(full({1, 1}, value, {.dtype = dtype}), {kRows, kCols});
  };
  const Tensor bytes = big(3, u8), flags = big(1, boolean), halves = big(0.5, f32);
  row.check(bytes.numel() == kAll, "numel");
  row.check(sum(bytes).item<int64_t>() == 3 * kAll, "sum of u8: ", sum(bytes).item<int64_t>());
  row.check(count_nonzero(flags).item<int64_t>() == kAll, "count_nonzero of bool");
  row.check(mean(halves).item<double>() == 0.5, "mean of f32: ", mean(halves).item<double>());
  const Tensor by_row = sum(bytes, {.dim = 1});
  row.check(by_row.numel() == kRows && all(eq(by_row, 3 * kCols)).item<bool>(), "sum along the last dimension");

  // A line of 2^32 elements with steps of 0, and one element far out.
  constexpr int64_t kLong = int64_t(1) << 32;
  const Tensor line = expand(tensor({5}, {.dtype = u8}), {kLong});
  row.check(line.item<int64_t>(kLong - 1) == 5, "the last element");
  row.check(line.item<int64_t>(-kLong) == 5, "the first element, from the end");
  row.check_throws<IndexError>([&] { line.item<int64_t>(kLong); }, "", "one past the end");
  row.check_throws<IndexError>([&] { line[kLong]; }, "", "select past the end");
  row.check(sum(narrow(line, 0, kLong - 10, 10)).item<int64_t>() == 50, "narrow at the end");
  row.check(slice(line, 0, 0, kLong, 3).numel() == (kLong + 2) / 3, "slice with a step");
  row.check(index(line, {Slice{kLong - 4, {}}}).numel() == 4, "index by a slice");
  const Tensor places = tensor({0., 3e9, double(kLong - 1)}, {.dtype = i64});
  row.check(sum(index_select(line, 0, places)).item<int64_t>() == 15, "index_select");
  row.check(sum(index(line, {places})).item<int64_t>() == 15, "index by a tensor");
  row.check(sum(gather(line, 0, places)).item<int64_t>() == 15, "gather");
  row.check(sum(take(bytes, tensor({double(kAll - 1)}, {.dtype = i64}))).item<int64_t>() == 3, "take");
  row.check_throws<IndexError>([&] { index_select(line, 0, tensor({double(kLong)}, {.dtype = i64})); }, "",
                               "past the end");
  row.check(all(eq(narrow(line, 0, kLong - 100, 100), 5)).item<bool>(), "compare");
  row.check(!any(gt(narrow(bytes, 1, kCols - 7, 7), 3)).item<bool>(), "compare of a matrix");
  const Tensor x = full({1, 1}, 0.5, {.requires_grad = true});
  row.check(grad(sum(expand(x, {kRows, kCols})), {x})[0].item<double>() == double(kAll), "the gradient of expand");

  row.check_throws<ShapeError>([&] { expand(tensor({1}, {.dtype = u8}), {kLong, kLong}); }, "", "expand past 2^63");
  row.check_throws<ShapeError>([&] { zeros({kLong, kLong}); }, "", "zeros past 2^63");
  row.check_throws<ShapeError>([&] { zeros({kLong, kLong, 2}); }, "", "three dimensions past 2^63");
  row.check_throws<Error>([&] { zeros({int64_t(1) << 61}, {.dtype = f64}); }, "", "more bytes than 2^63");
  row.check_throws<Error>([&] { zeros({int64_t(1) << 60}, {.dtype = u8}); }, "", "more bytes than there are");
  row.check_throws<Error>([&] { clone(expand(tensor({1}, {.dtype = u8}), {int64_t(1) << 60})); }, "",
                          "a copy of a view");

  if (!std::getenv("TENREC_TEST_FULL")) return;
  const Tensor real = full({kAll}, 1, {.dtype = u8});  // 2 GiB
  index_put_(real, {kAll - 1}, 9);
  row.check(sum(real).item<int64_t>() == kAll + 8, "sum of 2 GiB");
  row.check(argmax(real).item<int64_t>() == kAll - 1, "argmax of 2 GiB");
  row.check(sum(eq(real, 9)).item<int64_t>() == 1, "compare of 2 GiB");
  row.check(nonzero(gt(real, 1)).item<int64_t>() == kAll - 1, "nonzero of 2 GiB");
}

}  // namespace
}  // namespace tenrec
