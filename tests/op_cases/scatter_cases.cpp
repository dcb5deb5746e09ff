// Rows of gather, scatter and their relatives.
#include <cmath>

#include "op_cases/layout_cases.h"

namespace tenrec::testing {

void add_scatter_cases(const Add& add);

namespace {

using Arrays = std::span<const Array>;

const std::vector<std::string> kFamily = {"gather", "scatter", "scatter_add", "where", "slice", "slice_grad", "expand",
                                          "clone",  "reshape", "eq",          "div",   "mul",   "to",         "add"};

Tensor longs(std::initializer_list<NestedList> values) { return tensor(values, {.dtype = i64}); }

// Goes through all elements of the index in order: f(place in x, position in the index).
void visit(const Array& index, int64_t dim, const std::function<void(const Shape&, const Shape&)>& f) {
  tabulate(index.shape, [&](const Shape& i) {
    Shape place = i;
    place[dim] = int64_t(get(index, i));
    f(place, i);
    return 0.0;
  });
}
// x with combine(what is there, src) for each index in order; where it is not `include_self`, what is scattered to
// first becomes `start`.
Array reduced(Arrays in, int64_t dim, double start, bool include_self,
              const std::function<double(double, double)>& combine) {
  Array y = in[0];
  if (!include_self) visit(in[1], dim, [&](const Shape& place, const Shape&) { element(y, place) = start; });
  visit(in[1], dim, [&](const Shape& place, const Shape& i) {
    double& e = element(y, place);
    e = combine(e, get(in[2], i));
  });
  return y;
}

Array mean_reduced(Arrays in, int64_t dim, bool include_self) {
  Array sums = reduced(in, dim, 0, include_self, [](double a, double b) { return a + b; });
  Array counts = in[0];
  for (double& c : counts.values) c = 1;
  if (!include_self) visit(in[1], dim, [&](const Shape& place, const Shape&) { element(counts, place) = 0; });
  visit(in[1], dim, [&](const Shape& place, const Shape&) { element(counts, place) += 1; });
  for (size_t i = 0; i < sums.values.size(); ++i) sums.values[i] /= counts.values[i];
  return sums;
}

// x, an index with repeats that is smaller than x, and src that is larger than the index.
std::vector<Input> scatter_inputs() {
  return {{.shape = {3, 4}}, index_input({2, 3}, {2, 0, 2, 2, 1, 0}), {.shape = {3, 3}}};
}
std::vector<Input> last_dim_inputs() {
  std::vector<Input> in(3);  // one by one: g++ 12 with both sanitizers destroys a braced list of these twice
  in[0].shape = {2, 3};
  in[1] = index_input({2, 4}, {2, 0, 2, 2, 1, 1, 1, 0});
  in[2].shape = {2, 4};
  return in;
}
std::vector<Input> bench_inputs(const Shape& s) {
  return {{.shape = s}, {.shape = s, .low = 0, .high = double(s[0] - 1), .kind = Input::integer}, {.shape = s}};
}

void add_gathers(const Add& add) {
  add({.op = "gather",
       .inputs = {{.shape = {3, 4}}, index_input({5, 2}, {2, 0, 1, 1, 0, 0, 2, 2, 0, 1})},
       .f = two_in([](const Tensor& x, const Tensor& i) { return gather(x, 0, i); }),
       .reference = single([](Arrays in) {
         return tabulate({5, 2}, [&](const Shape& i) { return get(in[0], {int64_t(get(in[1], i)), i[1]}); });
       }),
       .also_covers = kFamily,
       .bad = {{[] {
                  gather(zeros({3, 2}), 0, longs({{0, 3}}));
                },
                "gather: index 3 (element 1 of the indices) is out of range for dimension 0 of size 3"},
               {[] {
                  gather(zeros({3, 2}), 0, longs({{0, -1}}));
                },
                "gather: index -1"},
               {[] {
                  gather(zeros({3, 2}), 0, longs({0}));
                },
                "gather: an index of shape [1] for a tensor of shape [3, 2]"},
               {[] {
                  gather(zeros({3, 2}), 0, longs({{0, 0, 0}}));
                },
                "gather: the index of shape [1, 3] is larger than"},
               {[] {
                  gather(zeros({3, 2}), 0, zeros({1, 1}));
                },
                "gather: an index tensor must be i64 or i32"}},
       .bench = {.shapes = {{256, 256}, {2048, 2048}},
                 .inputs =
                     [](const Shape& s) {
                       std::vector<Input> in = bench_inputs(s);
                       in.pop_back();
                       return in;
                     },
                 .bytes_per_element = 16}});
  add({.op = "gather",
       .variant = "inner dimension, 0-d, empty",
       .inputs = {{.shape = {2, 3}},
                  index_input({2, 1}, {2, 1}),
                  {.shape = {}},
                  index_input({}, {0}),
                  index_input({2, 0}, {})},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{gather(in[0], -1, in[1]), gather(in[2], 0, in[3]),
                                        gather(in[0], 1, zeros({2, 0}, {.dtype = i64}))};
           },
       .reference =
           [](Arrays in) {
             return std::vector<Array>{tabulate({2, 1},
                                                [&](const Shape& i) {
                                                  return get(in[0], {i[0], int64_t(get(in[1], i))});
                                                }),
                                       in[2],
                                       {{2, 0}, {}}};
           },
       .also_covers = kFamily});
  add({.op = "take_along_dim",
       .inputs = {{.shape = {3, 1, 4}}, index_input({1, 2, 3}, {-1, 0, 1, 3, 3, -4})},
       .f = two_in([](const Tensor& x, const Tensor& i) { return take_along_dim(x, i, 2); }),
       .reference = single([](Arrays in) {
         return tabulate({3, 2, 3}, [&](const Shape& i) {
           return get(in[0], {i[0], 0, (int64_t(get(in[1], {0, i[1], i[2]})) + 4) % 4});
         });
       }),
       .also_covers = kFamily,
       .bad = {{[] {
                  take_along_dim(zeros({2, 2}), longs({{2}}), 0);
                },
                "take_along_dim: index 2"},
               {[] {
                  take_along_dim(zeros({2, 2}), longs({0}), 0);
                },
                "take_along_dim: an index of shape [1]"}}});
}

void add_scatters(const Add& add) {
  add({.op = "scatter",
       .inputs = scatter_inputs(),
       .f = three_in([](const Tensor& x, const Tensor& i, const Tensor& s) { return scatter(x, 0, i, s); }),
       .reference = single([](Arrays in) { return reduced(in, 0, 0, true, [](double, double b) { return b; }); }),
       .also_covers = kFamily,
       .bad = {{[] {
                  scatter(zeros({3, 2}), 0, longs({{0, 3}}), zeros({1, 2}));
                },
                "scatter: index 3"},
               {[] {
                  scatter(zeros({3, 2}), 0, longs({{0, 1}}), zeros({1, 1}));
                },
                "scatter: the index of shape [1, 2] is larger than src of shape [1, 1] at dimension 1"},
               {[] {
                  scatter(zeros({3, 2}), 0, longs({{0, 1}}), zeros({2}));
                },
                "scatter: src of shape [2]"},
               {[] {
                  scatter(zeros({3, 2}), 0, longs({{0, 1}}), zeros({1, 2}, {.dtype = f64}));
                },
                "scatter: src is f64"}}});
  add({.op = "scatter",
       .variant = "inner dimension, a number",
       .inputs = last_dim_inputs(),
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{scatter(in[0], -1, in[1], in[2]), scatter(in[0], 1, in[1], -2.5)};
           },
       .reference =
           [](Arrays in) {
             return std::vector<Array>{reduced(in, 1, 0, true, [](double, double b) { return b; }),
                                       reduced(in, 1, 0, true, [](double, double) { return -2.5; })};
           },
       .also_covers = kFamily});
  add({.op = "scatter_add",
       .inputs = scatter_inputs(),
       .f = three_in([](const Tensor& x, const Tensor& i, const Tensor& s) { return scatter_add(x, 0, i, s); }),
       .reference = single([](Arrays in) { return reduced(in, 0, 0, true, [](double a, double b) { return a + b; }); }),
       .also_covers = kFamily,
       .bad = {{[] { scatter_add(zeros({2}), 0, longs({2}), zeros({1})); }, "scatter_add: index 2"},
               {[] { scatter_add(zeros({2}, {.dtype = boolean}), 0, longs({1}), zeros({1}, {.dtype = boolean})); },
                "scatter_add: bool tensors have no sum"}},
       .bench = {.shapes = {{256, 256}, {2048, 2048}}, .inputs = bench_inputs, .bytes_per_element = 24}});
  add({.op = "scatter_add",
       .variant = "inner dimension",
       .inputs = last_dim_inputs(),
       .f = three_in([](const Tensor& x, const Tensor& i, const Tensor& s) { return scatter_add(x, 1, i, s); }),
       .reference = single([](Arrays in) { return reduced(in, 1, 0, true, [](double a, double b) { return a + b; }); }),
       .also_covers = kFamily,
       .bench = {.shapes = {{64, 1024}, {512, 4096}},
                 .inputs =
                     [](const Shape& s) {
                       std::vector<Input> in = bench_inputs(s);
                       in[1].high = double(s[1] - 1);
                       return in;
                     },
                 .bytes_per_element = 24}});
}

void add_reduce(const Add& add, const char* how, bool include_self, double start, double (*combine)(double, double)) {
  const std::string name = how;
  const bool differentiable = name != "prod";
  std::vector<Input> inputs = scatter_inputs();
  for (Input& input : inputs) input.differentiable = differentiable;
  add({.op = "scatter_reduce",
       .variant = name + (include_self ? "" : ", without self"),
       .inputs = inputs,
       .f = three_in([=](const Tensor& x, const Tensor& i, const Tensor& s) {
         return scatter_reduce(x, 0, i, s, name, include_self);
       }),
       .reference = single([=](Arrays in) {
         return name == "mean" ? mean_reduced(in, 0, include_self) : reduced(in, 0, start, include_self, combine);
       }),
       .tolerance = {.bf16 = 2e-2, .f16 = 4e-3},
       .differentiable = differentiable,
       .also_covers = kFamily});
}  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks): it loses what std::function owns

void add_reduces(const Add& add) {
  const auto plus = [](double a, double b) { return a + b; };
  const auto times = [](double a, double b) { return a * b; };
  const auto larger = [](double a, double b) { return std::max(a, b); };
  const auto smaller = [](double a, double b) { return std::min(a, b); };
  for (const bool self : {true, false}) {
    add_reduce(add, "sum", self, 0, plus);
    add_reduce(add, "mean", self, 0, plus);
    add_reduce(add, "prod", self, 1, times);
    add_reduce(add, "amax", self, -INFINITY, larger);
    add_reduce(add, "amin", self, INFINITY, smaller);
  }
  // Of what is equal to the largest, each gets an equal share of the gradient; NaN goes through.
  add({.op = "scatter_reduce",
       .variant = "gradient at ties",
       .inputs = {{.shape = {3}, .values = {1, 2, 0}, .differentiable = false},
                  index_input({4}, {1, 1, 0, 1}),
                  {.shape = {4}, .values = {2, 1, 0.5, 2}, .differentiable = false},
                  {.shape = {3}}},
       .f =
           [](std::span<const Tensor> in) {
             const EnableGrad on;
             const Tensor x = in[0].detach().set_requires_grad(true), s = in[2].detach().set_requires_grad(true);
             return grad({scatter_reduce(x, 0, in[1], s, "amax")}, {x, s}, {in[3]}, {.create_graph = true});
           },
       .reference =
           [](Arrays in) {
             const double a = in[3].values[0], b = in[3].values[1] / 3, c = in[3].values[2];
             return std::vector<Array>{vector_of({a, b, c}), vector_of({b, 0, 0, b})};
           },
       .also_covers = kFamily});
  add({.op = "scatter_reduce",
       .variant = "NaN, and integers",
       .inputs = {{.shape = {2}, .values = {1, 2}},
                  index_input({2}, {1, 1}),
                  {.shape = {2}, .values = {std::nan(""), 5}}},
       .f =
           [](std::span<const Tensor> in) {
             const Tensor n = longs({-5, 7}), v = longs({-9, 3});
             return std::vector<Tensor>{scatter_reduce(in[0], 0, in[1], in[2], "amax"),
                                        scatter_reduce(in[0], 0, in[1], in[2], "amin"),
                                        scatter_reduce(n, 0, in[1], v, "amax", false),
                                        scatter_reduce(n.to(i32), 0, in[1], v.to(i32), "amin", false)};
           },
       .reference =
           [](Arrays) {
             return std::vector<Array>{vector_of({1, NAN}), vector_of({1, NAN}), vector_of({-5, 3}),
                                       vector_of({-5, -9})};
           },
       .differentiable = false,
       .also_covers = kFamily,
       .bad = {{[] { scatter_reduce(zeros({2}), 0, longs({1}), zeros({1}), "median"); },
                "scatter_reduce: reduce must be sum, prod, mean, amax or amin, got median"},
               {[] { scatter_reduce(longs({2}), 0, longs({0}), longs({1}), "mean"); }, "mean is for floating dtypes"},
               {[] {
                  const Tensor x = zeros({2}, {.requires_grad = true});
                  scatter_reduce(x, 0, longs({1}), zeros({1}), "prod");
                },
                "scatter_reduce: this op has no derivative rule"}}});
}

}  // namespace

void add_scatter_cases(const Add& add) {
  add_gathers(add);
  add_scatters(add);
  add_reduces(add);
}

}  // namespace tenrec::testing
