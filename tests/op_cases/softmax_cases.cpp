// Softmax, cross-entropy and the other losses.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "op_cases/elementwise_cases.h"
#include "op_cases/op_case.h"

namespace tenrec::testing {
namespace {

using Line = std::vector<double>;

Line log_softmax_of(const Line& v) {
  const double m = *std::max_element(v.begin(), v.end());
  double sum = 0;
  for (double x : v) sum += std::exp(x - m);
  Line y;
  for (double x : v) y.push_back((x - m) - std::log(sum));
  return y;
}
Line softmax_of(const Line& v) {
  Line y = log_softmax_of(v);
  for (double& x : y) x = std::exp(x);
  return y;
}

// f of every line of x along `dim`.
Array map_lines(const Array& x, int64_t dim, const std::function<Line(const Line&)>& f) {
  const int64_t nd = x.shape.ndim(), d = dim < 0 ? dim + nd : dim, n = nd ? x.shape[d] : 1;
  int64_t inner = 1;
  for (int64_t i = d + 1; i < nd; ++i) inner *= x.shape[i];
  Array y = x;
  for (int64_t i = 0; i < int64_t(x.values.size()); ++i) {
    if (i / inner % n) continue;
    Line line;
    for (int64_t k = 0; k < n; ++k) line.push_back(x.values[size_t(i + k * inner)]);
    const Line out = f(line);
    for (int64_t k = 0; k < n; ++k) y.values[size_t(i + k * inner)] = out[size_t(k)];
  }
  return y;
}

using DimOp = Tensor (*)(const Tensor&, int64_t);

OpCase softmax_row(const char* op, DimOp f, Line (*reference)(const Line&), const char* variant, const Input& input,
                   int64_t dim) {
  OpCase c{.op = op, .variant = variant, .inputs = {input}, .f = {}};
  c.f = [f, dim](std::span<const Tensor> in) { return std::vector<Tensor>{f(in[0], dim)}; };
  c.reference = [reference, dim](std::span<const Array> in) {
    return std::vector<Array>{map_lines(in[0], dim, reference)};
  };
  return c;
}

void add_softmax(const Add& add, const char* op, DimOp f, Line (*reference)(const Line&)) {
  const auto row = [&](const char* variant, const Input& input, int64_t dim) {
    return softmax_row(op, f, reference, variant, input, dim);
  };
  OpCase last = row("last dimension", {.shape = {3, 5}}, -1);
  last.bad = {{[f] { f(ones({2}), 1); }, op}, {[f] { f(arange(3, {.dtype = i64}), 0); }, "needs a floating dtype"}};
  last.bench = {.shapes = {{2048, 1000}, {64, 10}, {512, 50257}}, .bytes_per_element = 8, .flops_per_element = 20};
  last.bench.inputs = [](const Shape& s) { return std::vector<Input>{{.shape = s, .low = -5, .high = 5}}; };
  add(std::move(last));
  add(row("first dimension", {.shape = {4, 3}}, 0));
  add(row("middle dimension", {.shape = {2, 4, 3}}, 1));
  add(row("a pack and more", {.shape = {2, 19}}, 1));
  add(row("0-d", {.shape = {}}, 0));
  OpCase leaves = row("more than a leaf", {.shape = {2, 700}}, 1);
  leaves.order = 0;
  leaves.tolerance = {1e-12, 4e-6, 4e-2, 4e-3};
  add(std::move(leaves));
  OpCase extremes =
      row("extremes",
          {.shape = {6, 3},
           .values = {1e4, -1e4, 0, 1e4, 1e4, 1e4, -1e4, -1e4, -1e4, -kInf, 0, 1, -kInf, -kInf, 5, -5, 5, 5}},
          1);
  extremes.differentiable = false;
  add(extremes);
  extremes.inputs[0].values = {1e38, -1e38, 0,    1e38, 1e38, 1e38, -1e38, -1e38, -1e38,
                               1e38, -1e38, 1e38, 0,    1e38, 1,    1,     2,     -1e38};
  extremes.dtypes = {f64, f32, bf16};
  add(extremes);
  OpCase nan = row("NaN and infinity", {.shape = {3, 2}, .values = {kNan, 1, kInf, 1, -kInf, -kInf}}, 1);
  nan.reference = [](std::span<const Array> in) {
    return std::vector<Array>{map_array(in[0], [](double) { return kNan; })};
  };
  nan.differentiable = false;
  add(nan);
  // Gradients at the extremes are finite: those of the sum of squares.
  const std::function<Tensor(const Tensor&)> squares = [f](const Tensor& x) {
    const Tensor y = f(x, 1), finite = where(isinf(y), 0., y);
    return sum(finite * finite);
  };
  add({.op = op,
       .variant = "gradient at extremes",
       .inputs = {{.shape = {3, 2}, .values = {1e4, -1e4, -1e4, -1e4, -kInf, 2}}},
       .f =
           [squares](std::span<const Tensor> in) {
             const Tensor g = gradient_of(op_of(squares))(std::vector<Tensor>{in[0]})[0];
             return std::vector<Tensor>{isfinite(g)};
           },
       .reference =
           [](std::span<const Array> in) { return std::vector<Array>{map_array(in[0], [](double) { return 1; })}; },
       .differentiable = false});
}

// --- cross-entropy --------------------------------------------------------------------------------------------------

struct Rows {
  std::vector<Line> x;
  Line target;
};
// The lines along dimension 1 (0 of a vector), in row-major order of the others.
std::vector<Line> class_lines(const Array& x) {
  const int64_t nd = x.shape.ndim(), d = nd == 1 ? 0 : 1, n = x.shape[d];
  int64_t inner = 1;
  for (int64_t i = d + 1; i < nd; ++i) inner *= x.shape[i];
  std::vector<Line> lines;
  for (int64_t i = 0; i < int64_t(x.values.size()); ++i) {
    if (i / inner % n) continue;
    Line line;
    for (int64_t k = 0; k < n; ++k) line.push_back(x.values[size_t(i + k * inner)]);
    lines.push_back(line);
  }
  return lines;
}

struct LossOptions {
  Line weight = {};
  double ignore = -100;
  double smoothing = 0;
  Reduction reduction = Reduction::mean;
  bool logits = true;
  double weight_of(size_t k) const { return weight.empty() ? 1 : weight[k]; }
};

// The definition: a target distribution per row, -sum of weight * target * log p.
Array entropy(const Array& x, const Shape& rows, const LossOptions& o,
              const std::function<double(size_t row, size_t k)>& target,
              const std::function<double(size_t row)>& share) {
  Array losses{rows, {}};
  double shares = 0;
  size_t r = 0;
  for (const Line& line : class_lines(x)) {
    const Line log_p = o.logits ? log_softmax_of(line) : line;
    double loss = 0;
    if (share(r) >= 0)
      for (size_t k = 0; k < line.size(); ++k) {
        const double t = (1 - o.smoothing) * target(r, k) + o.smoothing / double(line.size());
        if (t != 0) loss -= o.weight_of(k) * t * log_p[k];
      }
    shares += std::max(0.0, share(r));
    losses.values.push_back(loss);
    ++r;
  }
  if (o.reduction == Reduction::none) return losses;
  const double sum = std::accumulate(losses.values.begin(), losses.values.end(), 0.0);
  return {{}, {o.reduction == Reduction::sum ? sum : sum / shares}};
}

Reference index_reference(const LossOptions& o) {
  return [o](std::span<const Array> in) {
    const Array& t = in[1];
    return std::vector<Array>{entropy(
        in[0], t.shape, o, [&](size_t r, size_t k) { return double(t.values[r] == double(k)); },
        [&](size_t r) { return t.values[r] == o.ignore ? -1 : o.weight_of(size_t(t.values[r])); })};
  };
}
Tensor weight_tensor(const Line& weight, const Tensor& x) {
  return weight.empty() ? Tensor() : from_vector(weight, {int64_t(weight.size())}).to(x.dtype());
}
CrossEntropyOptions options_of(const LossOptions& o, const Tensor& x) {
  return {weight_tensor(o.weight, x), int64_t(o.ignore), o.smoothing, o.reduction};
}

void add_cross_entropy(const Add& add) {
  const auto row = [](const char* variant, const Shape& shape, const Input& target, const LossOptions& o) {
    OpCase c{.op = o.logits ? "cross_entropy" : "nll_loss",
             .variant = variant,
             .inputs = {{.shape = shape}, target},
             .f = {}};
    c.f = [o](std::span<const Tensor> in) {
      const CrossEntropyOptions options = options_of(o, in[0]);
      if (o.logits) return std::vector<Tensor>{cross_entropy(in[0], in[1], options)};
      return std::vector<Tensor>{nll_loss(in[0], in[1], {options.weight, options.ignore_index, options.reduction})};
    };
    c.reference = index_reference(o);
    c.tolerance = {1e-12, 4e-6, 2e-2, 4e-3};
    c.also_covers = {"cross_entropy_grad"};
    return c;
  };
  const auto classes = [](const Shape& shape, int64_t n) {
    return Input{.shape = shape, .low = 0, .high = double(n - 1), .kind = Input::integer};
  };
  const Line weight{0.5, 2, 1, 0.25};
  const Input some_ignored{.shape = {5}, .kind = Input::integer, .values = {3, 1, 0, 1, 2}};
  for (bool logits : {true, false})
    for (Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none}) {
      const auto with = [&](LossOptions o) {
        o.reduction = reduction;
        o.logits = logits;
        return o;
      };
      add(row("rows", {5, 4}, classes({5}, 4), with({})));
      add(row("weights and an ignored class", {5, 4}, some_ignored, with({.weight = weight, .ignore = 1})));
      add(row("images", {2, 4, 3}, classes({2, 3}, 4), with({.weight = weight})));
      add(row("one vector", {4}, classes({}, 4), with({})));
      if (!logits) continue;
      add(row("smoothed", {5, 4}, some_ignored, with({.ignore = 1, .smoothing = 0.1})));
      add(row("smoothed and weighted", {2, 4, 3}, classes({2, 3}, 4), with({.weight = weight, .smoothing = 0.3})));
    }
  OpCase wide = row("many classes", {3, 700}, classes({3}, 700), {});
  wide.order = 0;
  wide.bench.shapes = {{2048, 1000}, {64, 10}, {768, 50257}};
  wide.bench.inputs = [](const Shape& s) {
    return std::vector<Input>{{.shape = s, .low = -5, .high = 5},
                              {.shape = {s[0]}, .low = 0, .high = double(s[1] - 1), .kind = Input::integer}};
  };
  wide.bench.bytes_per_element = 4;
  wide.bench.flops_per_element = 20;
  add(std::move(wide));
  OpCase extremes = row("extremes", {4, 3}, {.shape = {4}, .kind = Input::integer, .values = {0, 1, 2, 2}}, {});
  extremes.inputs[0].values = {1e4, -1e4, 0, 1e4, 1e4, -1e4, -kInf, 1, 2, 1e4, -1e4, 1e4};
  extremes.differentiable = false;
  extremes.bad = {{[] {
                     cross_entropy(ones({2, 3}), tensor({0, 3}, {.dtype = i64}));
                   },
                   "target 3 at position 1 is out of range"},
                  {[] {
                     cross_entropy(ones({2, 3}), tensor({0, -1}, {.dtype = i64}));
                   },
                   "target -1 at position 1"},
                  {[] {
                     cross_entropy(ones({2, 3}), zeros({3}, {.dtype = i64}));
                   },
                   "needs targets of shape [2]"},
                  {[] {
                     cross_entropy(ones({2, 3}), zeros({2}, {.dtype = i64}), {.weight = ones({2})});
                   },
                   "weight needs one element"},
                  {[] {
                     cross_entropy(ones({2, 3}), zeros({2}, {.dtype = i64}), {.label_smoothing = 2});
                   },
                   "label_smoothing"},
                  {[] {
                     cross_entropy(ones({2, 3}), ones({2, 2}));
                   },
                   "must have one shape"},
                  {[] { cross_entropy(scalar(1.), scalar(0, {.dtype = i64})); }, "0-d"},
                  {[] {
                     nll_loss(ones({2, 3}), tensor({5, 0}, {.dtype = i64}));
                   },
                   "nll_loss: target 5 at position 0"}};
  add(extremes);
  extremes.variant = "gradient at extremes";
  extremes.bad.clear();
  extremes.f = [](std::span<const Tensor> in) {
    return gradient_of(op_of([target = in[1]](const Tensor& x) { return cross_entropy(x, target); }))(
        std::vector<Tensor>{in[0]});
  };
  extremes.reference = [](std::span<const Array> in) {
    Array y = in[0];
    size_t i = 0, r = 0;
    for (const Line& line : class_lines(in[0])) {
      const Line p = softmax_of(line);
      for (size_t k = 0; k < line.size(); ++k) y.values[i++] = (p[k] - double(in[1].values[r] == double(k))) / 4;
      ++r;
    }
    return std::vector<Array>{y};
  };
  add(std::move(extremes));
  // Class probabilities.
  for (Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none})
    for (const LossOptions& base : {LossOptions{}, LossOptions{.weight = weight, .smoothing = 0.2}}) {
      LossOptions o = base;
      o.reduction = reduction;
      add({.op = "log_softmax",
           .variant = "cross_entropy with probabilities",
           .inputs = {{.shape = {2, 4, 3}}, {.shape = {2, 4, 3}, .low = 0, .high = 1}},
           .f =
               [o](std::span<const Tensor> in) {
                 return std::vector<Tensor>{cross_entropy(in[0], in[1], options_of(o, in[0]))};
               },
           .reference =
               [o](std::span<const Array> in) {
                 const std::vector<Line> target = class_lines(in[1]);
                 return std::vector<Array>{entropy(
                     in[0], {2, 3}, o, [&](size_t r, size_t k) { return target[r][k]; }, [](size_t) { return 1.0; })};
               },
           .tolerance = {1e-12, 1e-5, 4e-2, 1e-2}});
    }
}

// --- losses of two operands -----------------------------------------------------------------------------------------

using PairOp = std::function<Tensor(const Tensor&, const Tensor&, Reduction)>;

Array reduce_losses(Array losses, Reduction reduction) {
  if (reduction == Reduction::none) return losses;
  const double sum = std::accumulate(losses.values.begin(), losses.values.end(), 0.0);
  return {{}, {reduction == Reduction::sum ? sum : sum / double(losses.values.size())}};
}

struct PairRows {
  const Add& add;
  const char* op;
  PairOp f;
  Numbers reference;
  double low = -2, high = 2;                // of the input
  double target_low = -2, target_high = 2;  // of the target
  Tolerance tolerance = {1e-12, 4e-6, 2e-2, 4e-3};

  OpCase row(const char* variant, const Shape& a, const Shape& b, Reduction reduction) const {
    OpCase c{.op = op,
             .variant = variant,
             .inputs = {{.shape = a, .low = low, .high = high}, {.shape = b, .low = target_low, .high = target_high}},
             .f = {}};
    c.f = [call = f, reduction](std::span<const Tensor> in) {
      return std::vector<Tensor>{call(in[0], in[1], reduction)};
    };
    c.reference = [numbers = reference, reduction](std::span<const Array> in) {
      return std::vector<Array>{reduce_losses(zip_array(in[0], in[1], numbers), reduction)};
    };
    c.tolerance = tolerance;
    return c;
  }
  void all() const {
    OpCase first = row("mean", {3, 4}, {3, 4}, Reduction::mean);
    const PairOp call = f;
    first.bad = {{[call] {
                    call(ones({2, 3}), ones({2, 2}), Reduction::mean);
                  },
                  op},
                 {[call] { call(arange(3, {.dtype = i64}), ones({3}), Reduction::mean); }, "needs a floating dtype"}};
    first.bench.shapes = {{1 << 20}, {4}};
    first.bench.inputs = [*this](const Shape& s) {
      return std::vector<Input>{{.shape = s, .low = low, .high = high},
                                {.shape = s, .low = target_low, .high = target_high}};
    };
    first.bench.bytes_per_element = 8;
    first.bench.flops_per_element = 3;
    add(std::move(first));
    add(row("sum", {2, 9}, {2, 9}, Reduction::sum));
    add(row("none", {3, 5}, {3, 5}, Reduction::none));
    add(row("0-d", {}, {}, Reduction::mean));
    OpCase leaves = row("more than a leaf", {600}, {600}, Reduction::mean);
    leaves.order = 0;
    add(std::move(leaves));
  }
};

void add_pair_losses(const Add& add) {
  const auto broadcasts = [&](PairRows rows) {
    rows.all();
    rows.op = "mean";
    OpCase c = rows.row("a loss that broadcasts", {3, 4}, {4}, Reduction::mean);
    c.tolerance = {1e-12, 4e-6, 4e-2, 8e-3};
    add(std::move(c));
  };
  broadcasts({add, "mse_loss", mse_loss, [](double a, double b) { return (a - b) * (a - b); }});
  broadcasts({add, "l1_loss", l1_loss, [](double a, double b) { return std::abs(a - b); }});
  const auto smooth = [](double beta) {
    return [beta](double a, double b) {
      const double d = std::abs(a - b);
      return d < beta ? d * d / (2 * beta) : d - beta / 2;
    };
  };
  for (double beta : {1.0, 0.3})
    broadcasts({add, "smooth_l1_loss",
                [beta](const Tensor& a, const Tensor& b, Reduction r) { return smooth_l1_loss(a, b, r, beta); },
                smooth(beta)});
  for (double delta : {1.0, 0.7})
    broadcasts({add, "huber_loss",
                [delta](const Tensor& a, const Tensor& b, Reduction r) { return huber_loss(a, b, r, delta); },
                [delta, smooth](double a, double b) { return delta * smooth(delta)(a, b); }});
  OpCase bad = PairRows{
      add, "l1_loss", [](const Tensor& a, const Tensor& b, Reduction r) { return smooth_l1_loss(a, b, r, 0); },
      [](double a, double b) {
        return std::abs(a - b);
      }}.row("smooth with beta 0", {3}, {3}, Reduction::mean);
  bad.bad = {{[] { smooth_l1_loss(ones({2}), ones({2}), Reduction::mean, -1); }, "beta must not be negative"},
             {[] { huber_loss(ones({2}), ones({2}), Reduction::mean, 0); }, "delta must be positive"}};
  add(std::move(bad));
  const auto bce = [](double p, double t) {
    return -(t * std::max(std::log(p), -100.0) + (1 - t) * std::max(std::log1p(-p), -100.0));
  };
  PairRows{add,
           "binary_cross_entropy",
           [](const Tensor& a, const Tensor& b, Reduction r) { return binary_cross_entropy(a, b, {.reduction = r}); },
           bce,
           0.05,
           0.95,
           0,
           1,
           {1e-12, 4e-6, 4e-2, 8e-3}}
      .all();
  const auto bce_logits = [](double x, double t) {
    return std::max(x, 0.0) - x * t + std::log1p(std::exp(-std::abs(x)));
  };
  PairRows{add,
           "binary_cross_entropy_with_logits",
           [](const Tensor& a, const Tensor& b, Reduction r) {
             return binary_cross_entropy_with_logits(a, b, {.reduction = r});
           },
           bce_logits,
           -4,
           4,
           0,
           1}
      .all();
  PairRows{add,
           "kl_div",
           [](const Tensor& a, const Tensor& b, Reduction r) { return kl_div(a, b, {.reduction = r}); },
           [](double x, double t) { return t == 0 ? 0 : t * (std::log(t) - x); },
           -3,
           0,
           0.05,
           1}
      .all();
  PairRows{
      add,
      "kl_div",
      [](const Tensor& a, const Tensor& b, Reduction r) { return kl_div(a, b, {.reduction = r, .log_target = true}); },
      [](double x, double t) { return std::exp(t) * (t - x); },
      -3,
      0,
      -3,
      0}
      .all();
  const auto fixed = [&](const char* op, const char* variant, std::function<Tensor(const Tensor&, const Tensor&)> f,
                         const Line& a, const Line& b, const Line& expected) {
    add({.op = op,
         .variant = variant,
         .inputs = {given(a), given(b)},
         .f = op_of(std::move(f)),
         .reference =
             [expected](std::span<const Array>) {
               return std::vector<Array>{{{int64_t(expected.size())}, expected}};
             },
         .differentiable = false});
  };
  const BceOptions each{.reduction = Reduction::none};
  const BceWithLogitsOptions each_logit{.reduction = Reduction::none};
  fixed("binary_cross_entropy", "certain",
        [each](const Tensor& a, const Tensor& b) { return binary_cross_entropy(a, b, each); }, {0, 1, 0, 1},
        {0, 1, 1, 0}, {0, 0, 100, 100});
  fixed("binary_cross_entropy_with_logits", "extremes",
        [each_logit](const Tensor& a, const Tensor& b) { return binary_cross_entropy_with_logits(a, b, each_logit); },
        {1e4, -1e4, 1e4, -1e4}, {1, 0, 0, 1}, {0, 0, 1e4, 1e4});
  fixed("kl_div", "target 0",
        [](const Tensor& a, const Tensor& b) { return kl_div(a, b, {.reduction = Reduction::none}); }, {-1, -kInf},
        {0, 0.5}, {0, kInf});
  const auto slope = [](auto f) {
    return [f](const Tensor& a, const Tensor& b) {
      return gradient_of(op_of([f, b](const Tensor& x) { return f(x, b, Reduction::sum); }))(std::vector<Tensor>{a})[0];
    };
  };
  fixed("l1_loss", "gradient at 0", slope(l1_loss), {1, 2, 3}, {1, 1, 4}, {0, 1, -1});
  fixed("huber_loss", "gradient at delta",
        slope([](const Tensor& a, const Tensor& b, Reduction r) { return huber_loss(a, b, r, 1); }), {0, 0, 0},
        {1, -1, 3}, {-1, 1, -1});
  const Line weight{0.5, 2, 1}, positive{3, 0.25, 1};
  add({.op = "mul",
       .variant = "binary_cross_entropy with weights",
       .inputs = {{.shape = {2, 3}, .low = 0.05, .high = 0.95}, {.shape = {2, 3}, .low = 0, .high = 1}},
       .f =
           [weight](std::span<const Tensor> in) {
             const Tensor w = from_vector(weight, {3}).to(in[0].dtype());
             return std::vector<Tensor>{binary_cross_entropy(in[0], in[1], {.weight = w})};
           },
       .reference =
           [weight, bce](std::span<const Array> in) {
             return std::vector<Array>{reduce_losses(
                 zip_array(zip_array(in[0], in[1], bce), {{3}, weight}, std::multiplies<>()), Reduction::mean)};
           },
       .tolerance = {1e-12, 4e-6, 4e-2, 8e-3}});
  add({.op = "logsigmoid",
       .variant = "binary_cross_entropy_with_logits with weights",
       .inputs = {{.shape = {2, 3}}, {.shape = {2, 3}, .low = 0, .high = 1}},
       .f =
           [=](std::span<const Tensor> in) {
             const Tensor w = from_vector(weight, {3}).to(in[0].dtype()),
                          p = from_vector(positive, {3}).to(in[0].dtype());
             return std::vector<Tensor>{binary_cross_entropy_with_logits(in[0], in[1], {.weight = w}),
                                        binary_cross_entropy_with_logits(in[0], in[1], {.pos_weight = p}),
                                        binary_cross_entropy_with_logits(
                                            in[0], in[1], {.weight = w, .pos_weight = p, .reduction = Reduction::sum})};
           },
       .reference =
           [=](std::span<const Array> in) {
             std::vector<Array> out;
             for (int k = 0; k < 3; ++k) {
               Array losses = in[0];
               for (size_t i = 0; i < 6; ++i) {
                 const double x = in[0].values[i], t = in[1].values[i], w = k == 1 ? 1 : weight[i % 3];
                 const double p = k == 0 ? 1 : positive[i % 3];
                 losses.values[i] = w * (p * t * std::log1p(std::exp(-x)) + (1 - t) * std::log1p(std::exp(x)));
               }
               out.push_back(reduce_losses(losses, k == 2 ? Reduction::sum : Reduction::mean));
             }
             return out;
           },
       .tolerance = {1e-12, 4e-6, 4e-2, 8e-3}});
}

}  // namespace

void add_softmax_cases(const Add& add) {
  add_softmax(add, "softmax", softmax, softmax_of);
  add_softmax(add, "log_softmax", log_softmax, log_softmax_of);
  add(softmax_row(
      "softmax", softmin,
      [](const Line& v) {
        Line negative;
        for (double x : v) negative.push_back(-x);
        return softmax_of(negative);
      },
      "softmin", {.shape = {3, 4}}, 1));
  add_cross_entropy(add);
  add_pair_losses(add);
}

}  // namespace tenrec::testing
