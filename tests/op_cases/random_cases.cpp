// Rows of autograd/ops/random.h. What is random has no reference here: the statistics are in random_test.cpp.
#include <cmath>

#include "op_cases/layout_cases.h"

namespace tenrec::testing {
namespace {

const char* const kRandom = "random: see random_test.cpp";

// The mask that dropout draws for generator seed 3, from words and nothing else.
bool kept(int64_t i, double p) {
  const PhiloxBlock block = Philox(3)(0, uint64_t(i) >> 2);
  return double(block.word[i & 3]) >= p * 0x1p32;
}

void add_dropout(const Add& add) {
  const auto drop = [](double p) {
    return one_in([p](const Tensor& x) {
      Generator generator(3);
      return dropout(x, p, true, &generator);
    });
  };
  add({.op = "dropout",
       .inputs = {{.shape = {5, 7}}},
       .f = drop(0.25),
       .reference = single([](std::span<const Array> in) {
         Array y = in[0];
         for (size_t i = 0; i < y.values.size(); ++i) y.values[i] = kept(int64_t(i), 0.25) ? y.values[i] / 0.75 : 0;
         return y;
       }),
       .bad = {{[] { dropout(zeros({2}), 1.5); }, "dropout: p must lie in [0, 1], got 1.5"},
               {[] { dropout(zeros({2}), -0.5); }, "dropout: p must lie in [0, 1]"},
               {[] { dropout(zeros({2}, {.dtype = i64}), 0.5); }, "dropout: expected a floating dtype, got i64"}},
       .bench = {.shapes = {{1 << 16}, {1 << 22}},
                 .inputs = [](const Shape& s) { return std::vector<Input>{{.shape = s}}; },
                 .bytes_per_element = 8}});
  add({.op = "dropout",
       .variant = "p = 1",
       .inputs = {{.shape = {2, 3}}},
       .f = drop(1),
       .reference = single([](std::span<const Array> in) { return map_array(in[0], [](double) { return 0; }); })});
  add({.op = "dropout",
       .variant = "p = 0, and not training",
       .inputs = {{.shape = {2, 3}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{dropout(in[0] * 1.0, 0), dropout(in[0] * 1.0, 0.9, false)};
           },
       .reference =
           [](std::span<const Array> in) {
             return std::vector<Array>{in[0], in[0]};
           },
       .also_covers = {"mul"}});
  add({.op = "dropout",
       .variant = "empty and 0-d",
       .inputs = {{.shape = {0, 3}}, {.shape = {}}},
       .f =
           [](std::span<const Tensor> in) {
             Generator generator(3);
             return std::vector<Tensor>{dropout(in[0], 0.5, true, &generator), dropout(in[1], 0.5, true, &generator)};
           },
       .why_no_reference = kRandom});
}

// An op of one floating input whose output is random and has no gradient.
OpCase draw(const char* op, const Input& input, const std::function<Tensor(const Tensor&, Generator*)>& f) {
  return {.op = op,
          .inputs = {input},
          .f = one_in([f](const Tensor& x) {
            Generator generator(11);
            return f(x, &generator);
          }),
          .why_no_reference = kRandom,
          .differentiable = false};
}

void add_draws(const Add& add) {
  OpCase row = draw("bernoulli", {.shape = {4, 5}, .low = 0, .high = 1},
                    [](const Tensor& p, Generator* g) { return bernoulli(p, g); });
  row.bad = {{[] { bernoulli(full({2}, 1.5)); }, "bernoulli: every p must lie in [0, 1]"},
             {[] { bernoulli(zeros({2}, {.dtype = i64})); }, "bernoulli: expected a floating dtype"}};
  row.bench = {.shapes = {{1 << 16}},
               .inputs = [](const Shape& s) { return std::vector<Input>{{.shape = s, .low = 0, .high = 1}}; },
               .bytes_per_element = 8};
  add(row);
  row = draw("multinomial", {.shape = {3, 5}, .low = 0.1, .high = 1},
             [](const Tensor& w, Generator* g) { return multinomial(w, 4, false, g); });
  row.bad = {{[] {
                multinomial(zeros({2, 2, 2}), 1);
              },
              "multinomial: expected weights [n] or [rows, n]"},
             {[] { multinomial(ones({3}), 0); }, "multinomial: expected at least one draw"},
             {[] { multinomial(ones({3}), 4); }, "multinomial: 4 draws without replacement from 3 weights"},
             {[] {
                multinomial(tensor({{1., 1.}, {0., 0.}}), 1, true);
              },
              "multinomial: row 1 cannot be drawn from"},
             {[] {
                multinomial(tensor({1., 0., 1.}), 3);
              },
              "multinomial: row 0 cannot be drawn from"},
             {[] {
                multinomial(tensor({1., -1.}), 1, true);
              },
              "multinomial: row 0"}};
  add(row);
  row = draw("multinomial", {.shape = {3, 5}, .low = 0.1, .high = 1},
             [](const Tensor& w, Generator* g) { return multinomial(w, 9, true, g); });
  row.variant = "with replacement";
  add(row);
  row = draw("categorical", {.shape = {4, 3, 19}}, [](const Tensor& x, Generator* g) { return categorical(x, g); });
  row.bad = {{[] {
                categorical(full({2, 3}, -1.0 / 0.0));
              },
              "categorical: row 0 has no logit above -inf"},
             {[] {
                categorical(zeros({2, 0}));
              },
              "categorical: there are no classes"},
             {[] { categorical(zeros({})); }, "categorical: logits need a dimension"}};
  add(row);
  row = draw("gamma", {.shape = {40}, .low = 0.1, .high = 8, .differentiable = false},
             [](const Tensor& x, Generator* g) { return gamma(x, g); });
  row.bad = {{[] { gamma(full({2}, -1.0)); }, "gamma: every shape must be finite and not negative"}};
  add(row);
  row = draw("poisson", {.shape = {40}, .low = 0, .high = 40},
             [](const Tensor& x, Generator* g) { return poisson(x, g); });
  row.bad = {{[] { poisson(full({2}, -1.0)); }, "poisson: every rate must be finite and not negative"}};
  add(row);
}

// -(dP/da) / (dP/dx) by integrating dP/da = integral over [0, x] of t^(a-1) e^-t (log t - psi(a)) / gamma(a), with
// t = x e^-v, by Simpson's rule.
double gamma_grad_reference(double a, double x) {
  const auto wide = static_cast<long double>(a);
  const auto slope = [&](long double h) { return (std::lgamma(wide + h) - std::lgamma(wide - h)) / (2 * h); };
  // Extrapolated: far right of the mean an error of psi is multiplied by e^x.
  const long double h = 1e-4L * wide;
  const auto psi = double((4 * slope(h / 2) - slope(h)) / 3);
  constexpr int64_t n = 40000;
  const double end = (45 + x) / a, step = end / double(n);
  double sum = 0;
  for (int64_t i = 0; i <= n; ++i) {
    const double v = double(i) * step, f = std::exp(-a * v - x * std::expm1(-v)) * (psi - std::log(x) + v);
    sum += f * (i == 0 || i == n ? 1 : i % 2 ? 4 : 2);
  }
  return x * sum * step / 3;
}

void add_gamma_grad(const Add& add) {
  // Both sides of the mean, of 1, and of the shape from which on the expansion is used.
  add({.op = "gamma_grad",
       .inputs = {{.shape = {20},
                   .values = {0.1, 0.1, 0.1, 0.5, 0.5, 0.5, 1, 1, 1, 1, 2.5, 2.5, 2.5, 2.5, 7, 30, 30, 400., 400, 0.02},
                   .differentiable = false},
                  {.shape = {20},
                   .values = {1e-6,  0.05, 2,   0.01, 0.9, 3,  0.25, 1,   1.5, 12,
                              0.125, 2,    2.5, 9,    7,   20, 50,   380, 450, 0.5},
                   .differentiable = false}},
       .f = two_in(gamma_grad),
       .reference =
           [](std::span<const Array> in) { return std::vector<Array>{zip_array(in[0], in[1], gamma_grad_reference)}; },
       .tolerance = {.f64 = 1e-8, .f32 = 1e-5},
       .dtypes = {f64, f32},
       .differentiable = false,
       .bad = {{[] { gamma_grad(ones({2}, {.requires_grad = true}), ones({2})); },
                "gamma_grad: this op has no derivative rule"}},
       .bench = {.shapes = {{1 << 16}},
                 .inputs =
                     [](const Shape& s) {
                       return std::vector<Input>(2, {.shape = s, .low = 0.5, .high = 5, .differentiable = false});
                     },
                 .bytes_per_element = 12}});
}

// Makers and fills: no input, or one that is overwritten.
OpCase maker(const char* op, const std::function<std::vector<Tensor>(Generator*)>& f) {
  return {.op = op,
          .inputs = {},
          .f =
              [f](std::span<const Tensor>) {
                Generator generator(5);
                return f(&generator);
              },
          .why_no_reference = kRandom,
          .differentiable = false};
}

void add_makers(const Add& add) {
  const auto all = [](auto make) {
    std::vector<Tensor> out;
    for (const DType dtype : {f64, f32, bf16, f16}) out.push_back(make(TensorOptions{.dtype = dtype}));
    return out;
  };
  OpCase row = maker("rand", [all](Generator* g) {
    return all([g](TensorOptions o) { return rand({70, 300}, o, g); });
  });
  row.bad = {{[] { rand({2}, {.dtype = i64}); }, "rand: expected a floating dtype, got i64"}};
  add(row);
  row = maker("randn", [all](Generator* g) { return all([g](TensorOptions o) { return randn({70, 301}, o, g); }); });
  row.bad = {{[] { randn({2}, {.dtype = boolean}); }, "randn: expected a floating dtype"}};
  add(row);
  row = maker("randint", [](Generator* g) {
    return std::vector<Tensor>{randint(-3, 9, {20000}, {.dtype = i64}, g), randint(7, {9}, {.dtype = u8}, g),
                               randint_like(zeros({9}), -2, 2, g)};
  });
  row.bad = {{[] { randint(3, 3, {2}); }, "randint: there is no integer from 3 to below 3"}};
  add(row);
  row = maker("randperm", [](Generator* g) { return std::vector<Tensor>{randperm(20000, g), randperm(0, g)}; });
  row.bad = {{[] { randperm(-1); }, "randperm: n must not be negative"}};
  add(row);
}

void add_fills(const Add& add) {
  const auto filled = [](auto fill) {
    const Tensor a = zeros({40000}), b = zeros({9, 8}, {.dtype = f64}), c = zeros({5}, {.dtype = bf16});
    fill(a);
    fill(t(b));
    fill(c);
    return std::vector<Tensor>{a, b, c};
  };
  OpCase row =
      maker("uniform_", [filled](Generator* g) { return filled([g](const Tensor& x) { uniform_(x, -3, 5, g); }); });
  row.bad = {{[] { uniform_(zeros({2}), 1, 0); }, "uniform_: there is nothing from 1 to 0"},
             {[] { uniform_(zeros({2}, {.requires_grad = true})); }, "uniform_: a tensor that requires grad"},
             {[] { uniform_(zeros({2}, {.dtype = i64})); }, "uniform_: expected a floating dtype"}};
  add(row);
  row = maker("normal_", [filled](Generator* g) { return filled([g](const Tensor& x) { normal_(x, 2, 0.5, g); }); });
  row.bad = {{[] { normal_(zeros({2}), 0, -1); }, "normal_: std must not be negative"}};
  add(row);
  row = maker("trunc_normal_",
              [filled](Generator* g) { return filled([g](const Tensor& x) { trunc_normal_(x, 0, 1, -1, 3, g); }); });
  row.bad = {{[] { trunc_normal_(zeros({2}), 0, 1, 2, 1); }, "trunc_normal_: there is nothing from 2 to 1"},
             {[] { trunc_normal_(zeros({2}), 0, 0); }, "trunc_normal_: std must be positive"}};
  add(row);
  row =
      maker("exponential_", [filled](Generator* g) { return filled([g](const Tensor& x) { exponential_(x, 2, g); }); });
  row.bad = {{[] { exponential_(zeros({2}), 0); }, "exponential_: the rate must be positive"}};
  add(row);
  row = maker("bernoulli_", [filled](Generator* g) { return filled([g](const Tensor& x) { bernoulli_(x, 0.3, g); }); });
  row.bad = {{[] { bernoulli_(zeros({2}), 2); }, "bernoulli_: p must lie in [0, 1]"}};
  add(row);
}

}  // namespace

void add_random_cases(const Add& add) {
  add_dropout(add);
  add_draws(add);
  add_gamma_grad(add);
  add_makers(add);
  add_fills(add);
}

}  // namespace tenrec::testing
