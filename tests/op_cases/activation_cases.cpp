// Rows of autograd/ops/activation.h.
#include "op_cases/elementwise_cases.h"

namespace tenrec::testing {
namespace {

double logistic(double x) { return 1 / (1 + std::exp(-x)); }
double log_one_plus_exp(double x) { return x > 20 ? x : std::log1p(std::exp(x)); }  // 2e-9 off above 20
double bounded(double x, double low, double high) { return std::isnan(x) ? x : std::min(std::max(x, low), high); }
double gelu_reference(double x) { return x * std::erfc(-x / std::sqrt(2.0)) / 2; }
double gelu_tanh_reference(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

struct Row {
  const char* op;
  const char* variant;
  std::function<Tensor(const Tensor&)> f;
  Number reference;
  std::vector<double> points;  // away from kinks
  std::vector<double> extremes;
  std::vector<std::string> also_covers = {};
  bool kinked = false;
  double flops = 1;
};

std::vector<Row> curved_rows() {
  const std::vector<double> points = {-3.1, -1.7, -0.6, -0.01, 0.3, 0.8, 1.9, 4.2};
  const std::vector<double> far = {0, 30, -30, 1e4, -1e4, kNan};
  return {
      {"gelu", "", [](const Tensor& x) { return gelu(x); }, gelu_reference, points, far, {}, false, 40},
      {"gelu",
       "tanh",
       [](const Tensor& x) { return gelu(x, GeluApproximation::tanh); },
       gelu_tanh_reference,
       points,
       far,
       {},
       false,
       40},
      {"silu", "", silu, [](double x) { return x * logistic(x); }, points, far, {}, false, 20},
      {"mish", "", mish, [](double x) { return x * std::tanh(log_one_plus_exp(x)); }, points, far, {}, false, 30},
      {"softplus",
       "",
       [](const Tensor& x) { return softplus(x); },
       log_one_plus_exp,
       points,
       {0, 20, 21, 1e4, -1e4, kInf, -kInf, kNan},
       {},
       false,
       30},
      {"softplus",
       "beta",
       [](const Tensor& x) { return softplus(x, 2, 5); },
       [](double x) { return 2 * x > 5 ? x : std::log1p(std::exp(2 * x)) / 2; },
       points,
       {2.5, 2.6, 1e4, -1e4, kNan}},
      {"softsign", "", softsign, [](double x) { return x / (1 + std::abs(x)); }, points, {0, 1e4, -1e4, kNan}},
      {"logsigmoid",
       "",
       logsigmoid,
       [](double x) { return -std::log1p(std::exp(-x)); },
       points,
       {0, 30, -30, 1e4, -500, kInf, kNan},
       {},
       false,
       30},
      {"tanhshrink", "", tanhshrink, [](double x) { return x - std::tanh(x); }, points, {0, 30, -30, kInf, kNan}},
      {"elu",
       "",
       [](const Tensor& x) { return elu(x); },
       [](double x) { return x > 0 ? x : std::expm1(x); },
       points,
       {0, 1e4, -1e4, kInf, -kInf, kNan},
       {},
       true},
      {"elu",
       "alpha",
       [](const Tensor& x) { return elu(x, 0.5); },
       [](double x) { return x > 0 ? x : 0.5 * std::expm1(x); },
       points,
       {0, kNan},
       {},
       true},
      {"celu",
       "",
       [](const Tensor& x) { return celu(x, 1.5); },
       [](double x) { return x > 0 ? x : 1.5 * std::expm1(x / 1.5); },
       points,
       {0, 1e4, -1e4, kNan},
       {},
       true},
      {"selu",
       "",
       selu,
       [](double x) { return 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * std::expm1(x)); },
       points,
       {0, 1e4, -1e4, kNan},
       {},
       true},
      {"hardswish",
       "",
       hardswish,
       [](double x) { return x * bounded(x + 3, 0, 6) / 6; },
       points,
       {-3, 3, 0, 1e4, -1e4, kNan},
       {},
       true},
  };
}

std::vector<Row> straight_rows() {
  const std::vector<double> points = {-3.1, -1.7, -0.6, -0.01, 0.3, 0.8, 1.9, 4.2, 7.5};
  const std::vector<double> ends = {0, -0.0, kInf, -kInf, kNan};
  return {
      {"relu", "", relu, [](double x) { return std::isnan(x) ? x : std::max(x, 0.0); }, points, ends, {"relu_grad"}},
      {"hardtanh", "relu6", relu6, [](double x) { return bounded(x, 0, 6); }, points, ends, {"hardtanh_grad"}},
      {"leaky_relu",
       "",
       [](const Tensor& x) { return leaky_relu(x); },
       [](double x) { return x > 0 ? x : 0.01 * x; },
       points,
       ends,
       {"leaky_relu_grad"}},
      {"leaky_relu", "slope", [](const Tensor& x) { return leaky_relu(x, 0.5); },
       [](double x) { return x > 0 ? x : 0.5 * x; }, points, ends},
      {"hardtanh",
       "",
       [](const Tensor& x) { return hardtanh(x); },
       [](double x) { return bounded(x, -1, 1); },
       points,
       ends,
       {"hardtanh_grad"}},
      {"hardtanh", "bounds", [](const Tensor& x) { return hardtanh(x, -2, 0.5); },
       [](double x) { return bounded(x, -2, 0.5); }, points, ends},
      {"hardsigmoid",
       "",
       hardsigmoid,
       [](double x) { return bounded(x + 3, 0, 6) / 6; },
       points,
       ends,
       {"hardsigmoid_grad"}},
      {"hardshrink",
       "",
       [](const Tensor& x) { return hardshrink(x); },
       [](double x) { return std::abs(x) <= 0.5 ? 0 : x; },
       points,
       {0, 0.5, -0.5, 0.51, kInf, kNan},
       {"shrink_grad"}},
      {"softshrink",
       "",
       [](const Tensor& x) { return softshrink(x); },
       [](double x) {
         return x > 0.5 ? x - 0.5 : x < -0.5 ? x + 0.5 : std::isnan(x) ? x : 0;
       },
       points,
       {0, 0.5, -0.5, 0.75, kInf, -kInf, kNan},
       {"shrink_grad"}},
      {"threshold",
       "",
       [](const Tensor& x) { return threshold(x, 0.5, -2); },
       [](double x) { return x <= 0.5 ? -2 : x; },
       points,
       {0.5, 0.25, kInf, -kInf, kNan},
       {"threshold_grad"}},
  };
}

void add_rows(const Add& add, const std::vector<Row>& rows, bool kinked) {
  for (const Row& row : rows) {
    OpCase c{.op = row.op,
             .variant = row.variant,
             .inputs = {given(row.points)},
             .f = op_of(row.f),
             .reference = reference_of(row.reference),
             .kinked = kinked || row.kinked,
             .also_covers = row.also_covers,
             .bench = elementwise_bench(1, -4, 4, row.flops)};
    add(c);
    const std::string name = row.variant;
    c.bench = {};
    c.variant = name + " matrix";
    c.inputs = {{.shape = {3, 5}, .low = 0.55, .high = 0.95}};
    add(c);
    c.variant = name + " 0-d";
    c.inputs[0].shape = {};
    add(c);
    c.variant = name + " empty";
    c.inputs[0].shape = {0};
    add(c);
    c.variant = name + " extremes";
    c.inputs = {given(row.extremes)};
    c.dtypes = {f64, f32};
    c.differentiable = false;
    add(c);
  }
}

// The derivative on the kinks, which is PyTorch's choice, and NaN.
void add_kinks(const Add& add) {
  const struct {
    const char* op;
    std::function<Tensor(const Tensor&)> f;
    std::vector<double> at, slope;
  } table[] = {
      {"relu", relu, {-1, -0.0, 0, 1, kNan}, {0, 0, 0, 1, 1}},
      {"hardtanh", relu6, {-1, 0, 1, 6, 7, kNan}, {0, 0, 1, 0, 0, 0}},
      {"leaky_relu", [](const Tensor& x) { return leaky_relu(x); }, {-1, 0, 1}, {0.01, 0.01, 1}},
      {"hardtanh", [](const Tensor& x) { return hardtanh(x); }, {-2, -1, 0, 1, 2}, {0, 0, 1, 0, 0}},
      {"hardsigmoid", hardsigmoid, {-4, -3, 0, 3, 4}, {0, 0, 1.0 / 6, 0, 0}},
      {"hardshrink", [](const Tensor& x) { return hardshrink(x); }, {-1, -0.5, 0, 0.5, 1}, {1, 0, 0, 0, 1}},
      {"softshrink", [](const Tensor& x) { return softshrink(x); }, {-1, -0.5, 0, 0.5, 1}, {1, 0, 0, 0, 1}},
      {"threshold", [](const Tensor& x) { return threshold(x, 0.5, 9); }, {0, 0.5, 1}, {0, 0, 1}},
      {"elu", [](const Tensor& x) { return elu(x, 0.5); }, {0, 1}, {0.5, 1}},
      {"hardswish", hardswish, {-4, -3, 0, 3, 4}, {0, -0.5, 0.5, 1, 1}},
      {"softplus", [](const Tensor& x) { return softplus(x, 1, 2); }, {2, 2.5}, {logistic(2), 1}},
      {"gelu", [](const Tensor& x) { return gelu(x); }, {-1e4, -40, 40, 1e4}, {0, 0, 1, 1}},
      {"gelu", [](const Tensor& x) { return gelu(x, GeluApproximation::tanh); }, {-1e4, -40, 40, 1e4}, {0, 0, 1, 1}},
      {"mish", mish, {-1e4, -100, 40, 1e4}, {0, 0, 1, 1}},
      {"silu", silu, {-1e4, -200, 60, 1e4}, {0, 0, 1, 1}},
      {"softplus", [](const Tensor& x) { return softplus(x); }, {-1e4, 1e4}, {0, 1}},
      {"logsigmoid", logsigmoid, {-1e4, 1e4}, {1, 0}},
      {"sigmoid", sigmoid, {-1e4, 0, 1e4}, {0, 0.25, 0}},
      {"tanh", tanh, {-1e4, 0, 1e4}, {0, 1, 0}},
      {"prelu",
       [](const Tensor& x) { return prelu(x, full({1}, 0.25, {.dtype = x.dtype()})); },
       {-1, 0, 1},
       {0.25, 0.25, 1}},
  };
  for (const auto& row : table)
    add({.op = row.op,
         .variant = "gradient at edges",
         .inputs = {given(row.at)},
         .f = gradient_of(op_of(row.f)),
         .reference =
             [slope = row.slope](std::span<const Array>) {
               return std::vector<Array>{{{int64_t(slope.size())}, slope}};
             },
         .dtypes = {f64, f32},
         .differentiable = false});
}

void add_prelu(const Add& add) {
  const Input x = {.shape = {2, 3, 4}};
  const auto reference = [](std::span<const Array> in) {
    Array y = in[0];
    const size_t n = in[1].values.size(), inner = 4;
    for (size_t i = 0; i < y.values.size(); ++i)
      if (y.values[i] <= 0) y.values[i] *= in[1].values[n == 1 ? 0 : i / inner % n];
    return std::vector<Array>{y};
  };
  add({.op = "where",
       .variant = "prelu, one weight",
       .inputs = {x, {.shape = {1}}},
       .f = op_of(prelu),
       .reference = reference,
       .kinked = true,
       .bad = {{[] {
                  prelu(ones({2, 3}), ones({2}));
                },
                "prelu: expected a weight of one element or of shape [3]"},
               {[] {
                  prelu(ones({2, 3}), ones({3, 1}));
                },
                "prelu: expected a weight"}}});
  add({.op = "where",
       .variant = "prelu, channels",
       .inputs = {x, {.shape = {3}}},
       .f = op_of(prelu),
       .reference = reference,
       .kinked = true});
}

void add_gated(const Add& add) {
  const auto gated = [](double (*gate)(double), bool gate_first, int64_t dim) {
    return [=](std::span<const Array> in) {
      const int64_t rows = in[0].shape[0], cols = in[0].shape[1];
      Array y{{dim == 0 ? rows / 2 : rows, dim == 0 ? cols : cols / 2}, {}};
      for (int64_t r = 0; r < y.shape[0]; ++r)
        for (int64_t c = 0; c < y.shape[1]; ++c) {
          const double a = in[0].at({r, c}), b = dim == 0 ? in[0].at({r + rows / 2, c}) : in[0].at({r, c + cols / 2});
          y.values.push_back(gate_first ? gate(a) * b : a * gate(b));
        }
      return std::vector<Array>{y};
    };
  };
  const auto swish = [](double x) { return x * logistic(x); };
  for (int64_t dim : {0, 1}) {
    const std::string variant = "dim " + std::to_string(dim);
    add({.op = "glu",
         .variant = variant,
         .inputs = {{.shape = {4, 6}}},
         .f = op_of([dim](const Tensor& x) { return glu(x, dim); }),
         .reference = gated(logistic, false, dim),
         .also_covers = {"slice", "slice_grad"},
         .bad = {{[] {
                    glu(ones({2, 3}));
                  },
                  "glu: dimension 1 of shape [2, 3] has the odd size 3"},
                 {[] {
                    glu(ones({2, 4}), 2);
                  },
                  "glu: dim 2 is out of range"}}});
    add({.op = "swiglu",
         .variant = variant,
         .inputs = {{.shape = {4, 6}}},
         .f = op_of([dim](const Tensor& x) { return swiglu(x, dim); }),
         .reference = gated(swish, true, dim),
         .also_covers = {"slice", "slice_grad"},
         .bad = {{[] {
                    swiglu(ones({2, 3}));
                  },
                  "swiglu: dimension 1 of shape [2, 3] has the odd size 3"}}});
  }
  using Two = Tensor (*)(const Tensor&, const Tensor&);
  add({.op = "swiglu",
       .variant = "gate and value",
       .inputs = {{.shape = {3, 4}}, {.shape = {3, 4}}},
       .f = op_of(Two(swiglu)),
       .reference = reference_of(Numbers([swish](double g, double x) { return swish(g) * x; })),
       .bench = elementwise_bench(2, -3, 3, 20)});
}

void add_errors(const Add& add) {
  add({.op = "softplus",
       .variant = "bad calls",
       .inputs = {given({1})},
       .f = op_of([](const Tensor& x) { return softplus(x); }),
       .reference = reference_of(Number(log_one_plus_exp)),
       .bad = {{[] { softplus(ones({2}), 0); }, "softplus: beta must not be 0"},
               {[] { celu(ones({2}), 0); }, "celu: alpha must not be 0"},
               {[] { hardtanh(ones({2}), 2, 1); }, "hardtanh: min 2 is above max 1"},
               {[] { hardshrink(ones({2}), -1); }, "hardshrink: lambda must not be negative"},
               {[] { softshrink(ones({2}), -1); }, "softshrink: lambda must not be negative"}}});
  add({.op = "relu",
       .variant = "integers",
       .inputs = {integers({-2, 0, 3})},
       .f = op_of(relu),
       .reference = reference_of(Number([](double x) { return std::max(x, 0.0); }))});
}

}  // namespace

void add_activation_cases(const Add& add) {
  add_rows(add, curved_rows(), false);
  add_rows(add, straight_rows(), true);
  add_kinks(add);
  add_prelu(add);
  add_gated(add);
  add_errors(add);
}

}  // namespace tenrec::testing
