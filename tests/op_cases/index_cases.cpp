// Rows of autograd/ops/index.h: subscripts, rows and masks. gather and scatter are in scatter_cases.cpp.
#include <cmath>

#include "op_cases/layout_cases.h"

namespace tenrec::testing {

void add_scatter_cases(const Add& add);
void add_skip_gram_cases(const Add& add);

namespace {

using Arrays = std::span<const Array>;
using Indices = std::vector<Index>;

const std::vector<std::string> kInternal = {"add_rows", "take_rows",  "put_rows",  "put_region", "select",
                                            "slice",    "slice_grad", "unsqueeze", "permute",    "reshape",
                                            "expand",   "clone",      "mul"};

Reference tabulated(const Shape& shape, std::function<double(Arrays, const Shape&)> f) {
  return single([=](Arrays in) { return tabulate(shape, [&](const Shape& i) { return f(in, i); }); });
}

double at(const Array& a, int64_t i) { return a.values[size_t(i)]; }
int64_t id(const Array& a, int64_t i) { return int64_t(at(a, i)); }

Tensor longs(std::initializer_list<NestedList> values) { return tensor(values, {.dtype = i64}); }

void add_subscripts(const Add& add) {
  add({.op = "index",
       .variant = "integers, slices, None, Ellipsis: a view",
       .inputs = {{.shape = {3, 4, 2, 5}}},
       .f = one_in([](const Tensor& x) {
         return index(x, {-1, Slice{1, {}, 2}, None, Ellipsis, Slice{.stop = -1}});
       }),
       .reference = tabulated({2, 1, 2, 4},
                              [](Arrays in, const Shape& i) {
                                return get(in[0], {2, 1 + 2 * i[0], i[2], i[3]});
                              }),
       .also_covers = kInternal,
       .bad = {{[] {
                  index(zeros({2, 3}), {0, 0, 0});
                },
                "index: 3 dimensions are indexed, the tensor of shape [2, 3] has 2"},
               {[] {
                  index(zeros({2, 3}), {Ellipsis, Ellipsis});
                },
                "index: more than one Ellipsis"},
               {[] {
                  index(zeros({2, 3}), {Ellipsis, 3});
                },
                "index: index 3 is out of range for dimension 1 of size 3"},
               {[] {
                  index(zeros({2, 3}), {Slice{.step = 0}});
                },
                "index: the step of a slice must be positive"},
               {[] {
                  index(zeros({2, 3}), {Slice{}, longs({0, 3})});
                },
                "index: index 3 (element 1 of an index tensor) is out of range for dimension 1 of size 3"},
               {[] {
                  index(zeros({2, 3}), {longs({-3})});
                },
                "index: index -3"},
               {[] {
                  index(zeros({2, 3}), {zeros({2})});
                },
                "index: an index tensor must be i64 or i32, got f32"},
               {[] {
                  index(zeros({2, 3}), {longs({0, 1}), longs({0, 1, 2})});
                },
                "index: shapes [2] and [3]"},
               {[] {
                  index(zeros({2, 3}), {zeros({3}, {.dtype = boolean})});
                },
                "index: a mask of shape [3] does not fit"},
               {[] {
                  index(zeros({2, 3}), {Tensor()});
                },
                "index: an index tensor is undefined"}}});
  add({.op = "index",
       .variant = "neighbouring tensors stay in place",
       .inputs = {{.shape = {2, 3, 4, 2}}, index_input({2, 1}, {2, -1}), index_input({3}, {0, 3, -4})},
       .f = three_in([](const Tensor& x, const Tensor& a, const Tensor& b) {
         return index(x, {Slice{}, a, b});
       }),
       .reference = tabulated({2, 2, 3, 2},
                              [](Arrays in, const Shape& i) {
                                return get(in[0], {i[0], (id(in[1], i[1]) + 3) % 3, (id(in[2], i[2]) + 4) % 4, i[3]});
                              }),
       .also_covers = kInternal});
  add({.op = "index",
       .variant = "separated tensors go in front",
       .inputs = {{.shape = {2, 3, 4}}, index_input({2}, {1, 1}), index_input({2}, {0, 3})},
       .f = three_in([](const Tensor& x, const Tensor& a, const Tensor& b) {
         return index(x, {a, Slice{}, b});
       }),
       .reference = tabulated({2, 3},
                              [](Arrays in, const Shape& i) {
                                return get(in[0], {id(in[1], i[0]), i[1], id(in[2], i[0])});
                              }),
       .also_covers = kInternal});
  add({.op = "index",
       .variant = "0-d and i32 tensors",
       .inputs = {{.shape = {3, 2}}, index_input({}, {-1}), index_input({2}, {1, 0})},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{index(in[0], {in[1]}), index(in[0], {in[2].to(i32), in[1]})};
           },
       .reference =
           [](Arrays in) {
             return std::vector<Array>{tabulate({2},
                                                [&](const Shape& i) {
                                                  return get(in[0], {2, i[0]});
                                                }),
                                       tabulate({2}, [&](const Shape& i) {
                                         return get(in[0], {1 - i[0], 1});
                                       })};
           },
       .also_covers = kInternal});
  add({.op = "index",
       .variant = "masks",
       .inputs = {{.shape = {2, 3, 2}}, mask_input({2, 3}, {0, 1, 0, 1, 1, 0}), mask_input({2}, {1, 0})},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{index(in[0], {in[1]}), index(in[0], {Ellipsis, in[2]}),
                                        index(in[0], {in[2], longs({{0}, {2}}), Slice{1}})};
           },
       .reference =
           [](Arrays in) {
             const std::vector<Shape> picked = {{0, 1}, {1, 0}, {1, 1}};
             return std::vector<Array>{tabulate({3, 2},
                                                [&](const Shape& i) {
                                                  const Shape& p = picked[size_t(i[0])];
                                                  return get(in[0], {p[0], p[1], i[1]});
                                                }),
                                       tabulate({2, 3, 1},
                                                [&](const Shape& i) {
                                                  return get(in[0], {i[0], i[1], 0});
                                                }),
                                       tabulate({2, 1, 1}, [&](const Shape& i) {
                                         return get(in[0], {0, 2 * i[0], 1});
                                       })};
           },
       .also_covers = kInternal});
  add({.op = "index",
       .variant = "nothing is picked",
       .inputs = {{.shape = {2, 3}}, mask_input({2, 3}, {0, 0, 0, 0, 0, 0}), mask_input({}, {1})},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{index(in[0], {in[1]}), index(in[0], {in[2]}),
                                        index(in[0], {zeros({0}, {.dtype = i64})})};
           },
       .reference =
           [](Arrays in) {
             return std::vector<Array>{{{0}, {}}, {{1, 2, 3}, in[0].values}, {{0, 3}, {}}};
           },
       .also_covers = kInternal});
}

void add_puts(const Add& add) {
  add({.op = "index_put",
       .variant = "a region",
       .inputs = {{.shape = {3, 4}}, {.shape = {2}}},
       .f =
           [](std::span<const Tensor> in) {
             const Indices region = {Slice{1}, Slice{0, 3, 2}};
             return std::vector<Tensor>{index_put(in[0], region, in[1]), index_put(in[0], region, in[1], true),
                                        index_put(in[0], {}, in[1][0])};
           },
       .reference =
           [](Arrays in) {
             const auto inside = [](const Shape& i) { return i[0] >= 1 && i[1] <= 2 && i[1] % 2 == 0; };
             return std::vector<Array>{
                 tabulate({3, 4}, [&](const Shape& i) { return inside(i) ? at(in[1], i[1] / 2) : get(in[0], i); }),
                 tabulate({3, 4},
                          [&](const Shape& i) { return get(in[0], i) + (inside(i) ? at(in[1], i[1] / 2) : 0); }),
                 tabulate({3, 4}, [&](const Shape&) { return at(in[1], 0); })};
           },
       .also_covers = kInternal,
       .bad = {{[] {
                  index_put(zeros({3}), {Slice{0, 2}}, zeros({3}));
                },
                "index_put: a value of shape [3] does not broadcast to the place of shape [2]"},
               {[] { index_put(zeros({3}), {longs({3})}, 1); }, "index: index 3"},
               {[] {
                  const Tensor x = zeros({3}, {.requires_grad = true});
                  index_put_(x, {0}, 1);
                },
                "index_put_: a tensor that requires grad cannot be changed in place"},
               {[] { index_put_(expand(zeros({1}), {3}), {0}, 1); }, "share memory"}}});
  add({.op = "index_put",
       .variant = "tensors, the last of equal ones stays",
       .inputs = {{.shape = {3, 4}}, index_input({4}, {2, 0, 2, -1}), {.shape = {4, 4}}},
       .f = three_in([](const Tensor& x, const Tensor& i, const Tensor& v) { return index_put(x, {i}, v); }),
       .reference = tabulated({3, 4},
                              [](Arrays in, const Shape& i) {
                                return i[0] == 1 ? get(in[0], i) : get(in[2], {i[0] == 0 ? 1 : 3, i[1]});
                              }),
       .also_covers = kInternal});
  add({.op = "index_put",
       .variant = "tensors, adding up",
       .inputs = {{.shape = {2, 3, 2}}, index_input({3}, {2, 0, 2}), {.shape = {3, 1}}},
       .f = three_in([](const Tensor& x, const Tensor& i, const Tensor& v) {
         return index_put(x, {1, i}, v, true);
       }),
       .reference = tabulated({2, 3, 2},
                              [](Arrays in, const Shape& i) {
                                double sum = get(in[0], i);
                                for (int64_t k = 0; k < 3; ++k)
                                  if (i[0] == 1 && id(in[1], k) == i[1]) sum += at(in[2], k);
                                return sum;
                              }),
       .also_covers = kInternal});
  add({.op = "index_put",
       .variant = "separated tensors, mask, number",
       .inputs = {{.shape = {2, 3, 2}},
                  index_input({2}, {1, 0}),
                  mask_input({2, 3, 2}, {0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1})},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{index_put(in[0], {in[1], Slice{}, in[1]}, 7), index_put(in[0], {in[2]}, -1)};
           },
       .reference =
           [](Arrays in) {
             return std::vector<Array>{
                 tabulate({2, 3, 2}, [&](const Shape& i) { return i[0] == i[2] ? 7 : get(in[0], i); }),
                 tabulate({2, 3, 2}, [&](const Shape& i) { return get(in[2], i) != 0 ? -1 : get(in[0], i); })};
           },
       .also_covers = kInternal});
  add({.op = "index_put_",
       .inputs = {{.shape = {3, 4}, .differentiable = false},
                  index_input({3}, {2, 0, 2}),
                  {.shape = {3, 2}, .differentiable = false}},
       .f =
           [](std::span<const Tensor> in) {
             const NoGrad off;
             const Tensor a = clone(in[0]), b = clone(in[0]), c = clone(in[0]), d = clone(in[0]);
             index_put_(a, {in[1]}, 5);
             index_put_(b, {in[1], Slice{1, 3}}, in[2], true);
             index_put_(c, {Slice{1}}, c[0]);                         // reads what it writes
             index_put_(d, {in[1], Slice{}}, slice(d, 0, 0), false);  // likewise
             return std::vector<Tensor>{a, b, c, d};
           },
       .reference =
           [](Arrays in) {
             return std::vector<Array>{tabulate({3, 4}, [&](const Shape& i) { return i[0] == 1 ? get(in[0], i) : 5; }),
                                       tabulate({3, 4},
                                                [&](const Shape& i) {
                                                  double sum = get(in[0], i);
                                                  for (int64_t k = 0; k < 3; ++k)
                                                    if (id(in[1], k) == i[0] && i[1] >= 1 && i[1] < 3)
                                                      sum += get(in[2], {k, i[1] - 1});
                                                  return sum;
                                                }),
                                       tabulate({3, 4},
                                                [&](const Shape& i) {
                                                  return get(in[0], {0, i[1]});
                                                }),
                                       tabulate({3, 4}, [&](const Shape& i) {
                                         return get(in[0], {i[0] == 0 ? 1 : i[0] == 2 ? 2 : 1, i[1]});
                                       })};
           },
       .differentiable = false,
       .also_covers = kInternal});
}

void add_rows_ops(const Add& add) {
  add({.op = "index_select",
       .inputs = {{.shape = {2, 4, 3}}, index_input({3}, {3, 0, 3})},
       .f = two_in([](const Tensor& x, const Tensor& i) { return index_select(x, 1, i); }),
       .reference = tabulated({2, 3, 3},
                              [](Arrays in, const Shape& i) {
                                return get(in[0], {i[0], id(in[1], i[1]), i[2]});
                              }),
       .also_covers = kInternal,
       .bad = {{[] {
                  index_select(zeros({3}), 0, longs({0, 3}));
                },
                "index_select: index 3 (element 1 of the indices) is out of range for dimension 0 of size 3"},
               {[] { index_select(zeros({3}), 0, longs({-1})); }, "index_select: index -1"},
               {[] { index_select(zeros({3}), 0, longs({{0}})); }, "index_select: the index must be a vector"},
               {[] { index_select(zeros({3}), 0, zeros({1})); }, "index_select: an index tensor must be i64 or i32"}},
       .bench = {.shapes = {{64, 128, 16}, {64, 1024, 64}},
                 .inputs =
                     [](const Shape& s) {
                       return std::vector<Input>{
                           {.shape = s}, {.shape = {s[1]}, .low = 0, .high = double(s[1] - 1), .kind = Input::integer}};
                     },
                 .bytes_per_element = 8}});
  add({.op = "index_add",
       .inputs = {{.shape = {2, 3, 2}}, index_input({4}, {2, 0, 2, 2}), {.shape = {2, 4, 2}}},
       .f = three_in([](const Tensor& x, const Tensor& i, const Tensor& v) { return index_add(x, 1, i, v, -2.0); }),
       .reference = tabulated({2, 3, 2},
                              [](Arrays in, const Shape& i) {
                                double sum = get(in[0], i);
                                for (int64_t k = 0; k < 4; ++k)
                                  if (id(in[1], k) == i[1]) sum -= 2 * get(in[2], {i[0], k, i[2]});
                                return sum;
                              }),
       .tolerance = {.bf16 = 3e-2, .f16 = 5e-3},
       .also_covers = {"take_rows", "add_rows", "mul", "add", "reshape", "clone"},
       .bad = {
           {[] { index_add(zeros({3}), 0, longs({0}), zeros({2})); }, "index_add: source has shape [2], expected [1]"},
           {[] { index_add(zeros({3}), 0, longs({0}), zeros({1}, {.dtype = f64})); }, "index_add: source is f64"},
           {[] { index_add(zeros({3}), 0, longs({5}), zeros({1})); }, "index_add: index 5"},
           {[] { index_add(zeros({3}, {.dtype = boolean}), 0, longs({0}), zeros({1}, {.dtype = boolean})); },
            "not defined for bool"}}});
  add({.op = "embedding",
       .inputs = {{.shape = {5, 3}}, index_input({2, 2}, {4, 1, 1, 0})},
       .f = two_in([](const Tensor& w, const Tensor& i) { return embedding(w, i); }),
       .reference = tabulated({2, 2, 3},
                              [](Arrays in, const Shape& i) {
                                return get(in[0], {int64_t(get(in[1], {i[0], i[1]})), i[2]});
                              }),
       .also_covers = {"take_rows", "add_rows", "reshape", "clone"},
       .bad = {{[] { embedding(zeros({3}), longs({0})); }, "embedding: weight must be a matrix, got shape [3]"},
               {[] {
                  embedding(zeros({3, 2}), longs({3}));
                },
                "embedding: index 3 (element 0 of the indices) is out of range"},
               {[] {
                  embedding(zeros({3, 2}), longs({-1}));
                },
                "embedding: index -1"},
               {[] {
                  embedding(zeros({3, 2}), longs({0}), 3);
                },
                "embedding: padding_idx 3 is out of range for 3 rows"},
               {[] {
                  embedding(zeros({3, 2}), zeros({1}));
                },
                "embedding: an index tensor must be i64 or i32"}},
       .bench = {.shapes = {{1000, 64}, {32000, 256}}, .inputs = [](const Shape& s) {
                   return std::vector<Input>{
                       {.shape = s}, {.shape = {64, 64}, .low = 0, .high = double(s[0] - 1), .kind = Input::integer}};
                 }}});
  // The gradient of the padding row is zero, though the row itself is read: no difference quotient says so.
  add({.op = "embedding",
       .variant = "gradient with padding_idx",
       .inputs = {{.shape = {4, 2}, .differentiable = false}, index_input({5}, {1, 3, 1, 2, 3}), {.shape = {5, 2}}},
       .f =
           [](std::span<const Tensor> in) {
             const EnableGrad on;
             const Tensor w = in[0].detach().set_requires_grad(true);
             return grad({embedding(w, in[1], 1)}, {w}, {in[2]}, {.create_graph = true});
           },
       .reference = tabulated({4, 2},
                              [](Arrays in, const Shape& i) {
                                double sum = 0;
                                for (int64_t k = 0; k < 5; ++k)
                                  if (id(in[1], k) == i[0] && i[0] != 1) sum += get(in[2], {k, i[1]});
                                return sum;
                              }),
       .also_covers = {"take_rows", "add_rows", "reshape", "clone"}});
  add({.op = "take",
       .inputs = {{.shape = {2, 3}}, index_input({2, 2}, {5, -6, 1, 1})},
       .f = two_in([](const Tensor& x, const Tensor& i) { return take(x, i); }),
       .reference =
           tabulated({2, 2}, [](Arrays in, const Shape& i) { return at(in[0], (int64_t(get(in[1], i)) + 6) % 6); }),
       .also_covers = kInternal,
       .bad = {{[] {
                  take(zeros({2, 3}), longs({6}));
                },
                "take: index 6 (element 0 of the indices) is out of range, expected -6 to 5"}}});
  add({.op = "bincount",
       .inputs = {index_input({5}, {3, 0, 3, 1, 3})},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{bincount(in[0]), bincount(in[0], 6)};
           },
       .reference =
           [](Arrays) {
             return std::vector<Array>{vector_of({1, 1, 0, 3}), vector_of({1, 1, 0, 3, 0, 0})};
           },
       .differentiable = false,
       .bad = {{[] { bincount(zeros({3})); }, "bincount: expected a vector of integers"},
               {[] { bincount(longs({-1})); }, "bincount: index -1"},
               {[] { bincount(longs({1}), -1); }, "bincount: min_length must not be negative"}}});
  add({.op = "bincount",
       .variant = "weights",
       .inputs = {index_input({4}, {2, 0, 2, 2}), {.shape = {4}}},
       .f = two_in([](const Tensor& x, const Tensor& w) { return bincount(x, w); }),
       .reference = tabulated({3},
                              [](Arrays in, const Shape& i) {
                                double sum = 0;
                                for (int64_t k = 0; k < 4; ++k)
                                  if (id(in[0], k) == i[0]) sum += at(in[1], k);
                                return sum;
                              }),
       .also_covers = {"take_rows", "add_rows", "reshape", "clone"},
       .bad = {{[] { bincount(longs({1}), zeros({2})); }, "bincount: weights of shape [2] for x of shape [1]"}}});
  add({.op = "one_hot",
       .inputs = {index_input({2, 2}, {0, 2, 1, 2})},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{one_hot(in[0]), one_hot(in[0], 4)};
           },
       .reference =
           [](Arrays in) {
             const auto hot = [&](const Shape& i) { return double(get(in[0], {i[0], i[1]}) == double(i[2])); };
             return std::vector<Array>{tabulate({2, 2, 3}, hot), tabulate({2, 2, 4}, hot)};
           },
       .differentiable = false,
       .bad = {{[] { one_hot(longs({3}), 3); }, "one_hot: index 3"},
               {[] { one_hot(zeros({0}, {.dtype = i64})); }, "one_hot: an empty tensor does not say"},
               {[] { one_hot(longs({0}), 0); }, "one_hot: expected at least one class"}}});
}

void add_masks(const Add& add) {
  add({.op = "masked_select",
       .inputs = {{.shape = {2, 3}}, mask_input({3}, {1, 0, 1})},
       .f = two_in([](const Tensor& x, const Tensor& m) { return masked_select(x, m); }),
       .reference = tabulated({4},
                              [](Arrays in, const Shape& i) {
                                return get(in[0], {i[0] / 2, i[0] % 2 * 2});
                              }),
       .also_covers = kInternal,
       .bad = {
           {[] { masked_select(zeros({2}), zeros({2})); }, "masked_select: the mask must be bool, got f32"},
           {[] { masked_select(zeros({2}), zeros({3}, {.dtype = boolean})); }, "masked_select: shapes [2] and [3]"}}});
  add({.op = "masked_fill",
       .inputs = {{.shape = {2, 3}}, mask_input({2, 1}, {1, 0}), {.shape = {}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{masked_fill(in[0], in[1], in[2]), masked_fill(in[0], in[1], -9)};
           },
       .reference =
           [](Arrays in) {
             return std::vector<Array>{
                 tabulate({2, 3}, [&](const Shape& i) { return i[0] == 0 ? at(in[2], 0) : get(in[0], i); }),
                 tabulate({2, 3}, [&](const Shape& i) { return i[0] == 0 ? -9 : get(in[0], i); })};
           },
       .also_covers = {"where"},
       .bad = {{[] { masked_fill(zeros({2}), zeros({2}), 1); }, "masked_fill: the mask must be bool"},
               {[] { masked_fill(zeros({2}), ones({2}, {.dtype = boolean}), zeros({1})); }, "the value must be 0-d"}}});
  add({.op = "masked_fill",
       .variant = "with infinity",
       .inputs = {{.shape = {3}, .differentiable = false}, mask_input({3}, {0, 1, 0})},
       .f = two_in([](const Tensor& x, const Tensor& m) { return masked_fill(x, m, -INFINITY); }),
       .reference = tabulated({3}, [](Arrays in, const Shape& i) { return i[0] == 1 ? -INFINITY : get(in[0], i); }),
       .differentiable = false,
       .also_covers = {"where"}});
  add({.op = "masked_scatter",
       .inputs = {{.shape = {2, 3}}, mask_input({2, 3}, {0, 1, 1, 0, 0, 1}), {.shape = {4}}},
       .f = three_in([](const Tensor& x, const Tensor& m, const Tensor& s) { return masked_scatter(x, m, s); }),
       .reference = tabulated({2, 3},
                              [](Arrays in, const Shape& i) {
                                int64_t before = 0;
                                for (int64_t k = 0; k < i[0] * 3 + i[1]; ++k) before += id(in[1], k);
                                return get(in[1], i) != 0 ? at(in[2], before) : get(in[0], i);
                              }),
       .also_covers = kInternal,
       .bad = {{[] { masked_scatter(zeros({3}), ones({3}, {.dtype = boolean}), zeros({2})); },
                "masked_scatter: the mask has 3 true elements, source only 2"}}});
  add({.op = "nonzero",
       .inputs = {{.shape = {2, 3}, .values = {0, 1.5, 0, std::nan(""), 0, -2}}},
       .f =
           [](std::span<const Tensor> in) {
             std::vector<Tensor> out = where(in[0]);
             out.push_back(nonzero(in[0]));
             return out;
           },
       .reference =
           [](Arrays) {
             return std::vector<Array>{vector_of({0, 1, 1}), vector_of({1, 0, 2}), {{3, 2}, {0, 1, 1, 0, 1, 2}}};
           },
       .differentiable = false,
       .also_covers = {"select", "clone"}});
}

}  // namespace

void add_index_cases(const Add& add) {
  add_subscripts(add);
  add_puts(add);
  add_rows_ops(add);
  add_masks(add);
  add_scatter_cases(add);
  add_skip_gram_cases(add);
}

}  // namespace tenrec::testing
