// Rows of autograd/ops/shape.h. The rows of join.h are in join_cases.cpp.
#include "op_cases/layout_cases.h"

namespace tenrec::testing {

namespace {

// The same elements in the same order under another shape.
Reference reshaped(const Shape& shape) {
  return single([shape](std::span<const Array> in) { return Array{shape, in[0].values}; });
}
Reference tabulated(const Shape& shape, std::function<double(const Array&, const Shape&)> f) {
  return single(
      [=](std::span<const Array> in) { return tabulate(shape, [&](const Shape& i) { return f(in[0], i); }); });
}

Tensor x234() { return zeros({2, 3, 4}); }

}  // namespace

void add_view_cases(const Add& add) {
  add({.op = "reshape",
       .inputs = {{.shape = {2, 3, 4}}},
       .f = one_in([](const Tensor& x) {
         return reshape(x, {4, -1});
       }),
       .reference = reshaped({4, 6}),
       .also_covers = {"clone"},
       .bad = {{[] {
                  reshape(x234(), {5, 5});
                },
                "reshape: shape [2, 3, 4] of 24 elements does not fit [5, 5]"},
               {[] {
                  reshape(x234(), {-1, -1});
                },
                "does not fit"},
               {[] {
                  reshape(x234(), {-2, 12});
                },
                "does not fit"},
               {[] {
                  reshape(x234(), {-1, 5});
                },
                "does not fit"},
               {[] {
                  reshape(x234(), {INT64_MAX, 4, -1});
                },
                "does not fit"}}});
  add({.op = "reshape",
       .variant = "of a transpose, which must copy",
       .inputs = {{.shape = {3, 4}}},
       .f = one_in([](const Tensor& x) {
         return reshape(transpose(x, 0, 1), {2, 6});
       }),
       .reference = tabulated({2, 6},
                              [](const Array& x, const Shape& i) {
                                const int64_t k = i[0] * 6 + i[1];
                                return get(x, {k % 3, k / 3});
                              }),
       .also_covers = {"clone", "transpose"}});
  add({.op = "reshape",
       .variant = "empty and 0-d",
       .inputs = {{.shape = {0, 3}}, {.shape = {}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{reshape(in[0], {3, 0, 2}), reshape(in[1], {1, 1})};
           },
       .reference =
           [](std::span<const Array> in) {
             return std::vector<Array>{{{3, 0, 2}, {}}, {{1, 1}, in[1].values}};
           }});
  add({.op = "flatten",
       .inputs = {{.shape = {2, 3, 4}}},
       .f = one_in([](const Tensor& x) { return flatten(x, 1); }),
       .reference = reshaped({2, 12}),
       .bad = {{[] { flatten(x234(), 2, 1); }, "flatten: start dimension 2 comes after end 1"},
               {[] { flatten(x234(), 3); }, "flatten: dim 3 is out of range"}}});
  add({.op = "unflatten",
       .inputs = {{.shape = {2, 12}}},
       .f = one_in([](const Tensor& x) {
         return unflatten(x, 1, {3, -1});
       }),
       .reference = reshaped({2, 3, 4}),
       .bad = {{[] {
                  unflatten(zeros({2, 12}), 1, {5, -1});
                },
                "unflatten: sizes [5, -1] do not fill dimension 1"},
               {[] {
                  unflatten(zeros({2, 12}), 1, {5, 2});
                },
                "do not fill"}}});
  add({.op = "permute",
       .inputs = {{.shape = {2, 3, 4}}},
       .f = one_in([](const Tensor& x) {
         return permute(x, {2, 0, -2});
       }),
       .reference = tabulated({4, 2, 3},
                              [](const Array& x, const Shape& i) {
                                return get(x, {i[1], i[2], i[0]});
                              }),
       .bad = {{[] {
                  permute(x234(), {0, 1});
                },
                "permute: 2 dimensions given"},
               {[] {
                  permute(x234(), {0, 1, 1});
                },
                "named twice"},
               {[] {
                  permute(x234(), {0, 1, 3});
                },
                "permute: dim 3"}}});
  add({.op = "transpose",
       .inputs = {{.shape = {2, 3, 4}}},
       .f = one_in([](const Tensor& x) { return transpose(x, 0, -1); }),
       .reference = tabulated({4, 3, 2},
                              [](const Array& x, const Shape& i) {
                                return get(x, {i[2], i[1], i[0]});
                              }),
       .also_covers = {"alias"},
       .bad = {{[] { transpose(x234(), 0, 3); }, "transpose: dim 3"}}});
  add({.op = "t",
       .inputs = {{.shape = {2, 3, 4}}},
       .f = one_in([](const Tensor& x) { return t(x); }),
       .reference = tabulated({2, 4, 3},
                              [](const Array& x, const Shape& i) {
                                return get(x, {i[0], i[2], i[1]});
                              }),
       .bad = {{[] { t(zeros({3})); }, "t: a matrix transpose needs two dimensions"}}});
  add({.op = "movedim",
       .inputs = {{.shape = {2, 3, 4}}},
       .f = one_in([](const Tensor& x) { return movedim(x, 0, -1); }),
       .reference = tabulated({3, 4, 2}, [](const Array& x, const Shape& i) {
         return get(x, {i[2], i[0], i[1]});
       })});
  add({.op = "expand",
       .inputs = {{.shape = {3, 1}}},
       .f = one_in([](const Tensor& x) {
         return expand(x, {2, -1, 4});
       }),
       .reference = tabulated({2, 3, 4},
                              [](const Array& x, const Shape& i) {
                                return get(x, {i[1], 0});
                              }),
       .bad = {{[] {
                  expand(x234(), {3, 4});
                },
                "has more dimensions than"},
               {[] {
                  expand(x234(), {2, 4, 4});
                },
                "expand: shape [2, 3, 4] does not expand to [2, 4, 4]"},
               {[] {
                  expand(zeros({3}), {-1, 3});
                },
                "does not expand"}}});
  add({.op = "expand",
       .variant = "to nothing",
       .inputs = {{.shape = {1, 3}}},
       .f = one_in([](const Tensor& x) {
         return expand(x, {0, 3});
       }),
       .reference = tabulated({0, 3}, [](const Array&, const Shape&) { return 0.0; })});
  add({.op = "broadcast_to",
       .inputs = {{.shape = {}}},
       .f = one_in([](const Tensor& x) {
         return broadcast_to(x, {2, 2});
       }),
       .reference = tabulated({2, 2}, [](const Array& x, const Shape&) { return x.values[0]; })});
  add({.op = "broadcast_tensors",
       .inputs = {{.shape = {2, 1}}, {.shape = {3}}, {.shape = {}}},
       .f =
           [](std::span<const Tensor> in) {
             return broadcast_tensors({in.begin(), in.end()});
           },
       .reference =
           [](std::span<const Array> in) {
             return std::vector<Array>{tabulate({2, 3}, [&](const Shape& i) { return in[0].values[size_t(i[0])]; }),
                                       tabulate({2, 3}, [&](const Shape& i) { return in[1].values[size_t(i[1])]; }),
                                       tabulate({2, 3}, [&](const Shape&) { return in[2].values[0]; })};
           },
       .bad = {{[] {
                  broadcast_tensors({zeros({2}), zeros({3})});
                },
                "broadcast_tensors: shapes [2] and [3]"}}});
  add({.op = "squeeze",
       .inputs = {{.shape = {1, 3, 1, 2}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{squeeze(in[0]), squeeze(in[0], 2), squeeze(in[0], 1)};
           },
       .reference =
           [](std::span<const Array> in) {
             return std::vector<Array>{{{3, 2}, in[0].values}, {{1, 3, 2}, in[0].values}, in[0]};
           },
       .also_covers = {"alias"}});
  add({.op = "unsqueeze",
       .inputs = {{.shape = {2, 3}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{unsqueeze(in[0], 0), unsqueeze(in[0], -1), unsqueeze(in[0], 1)};
           },
       .reference =
           [](std::span<const Array> in) {
             const auto& v = in[0].values;
             return std::vector<Array>{{{1, 2, 3}, v}, {{2, 3, 1}, v}, {{2, 1, 3}, v}};
           },
       .bad = {{[] { unsqueeze(zeros({2}), 2); }, "unsqueeze: dim 2 is out of range"}}});
  add({.op = "slice",
       .inputs = {{.shape = {2, 7}}},
       .f = one_in([](const Tensor& x) { return slice(x, 1, 1, -1, 2); }),
       .reference = tabulated({2, 3},
                              [](const Array& x, const Shape& i) {
                                return get(x, {i[0], 1 + 2 * i[1]});
                              }),
       .also_covers = {"slice_grad"},
       .bad = {{[] { slice(zeros({3}), 0, 0, 3, 0); }, "slice: step must be positive"},
               {[] { slice(zeros({}), 0, 0); }, "0-d tensor has no dimension"}}});
  add({.op = "slice",
       .variant = "clamped to nothing",
       .inputs = {{.shape = {2, 3}}},
       .f = one_in([](const Tensor& x) { return slice(x, 1, 2, -2); }),
       .reference = tabulated({2, 0}, [](const Array&, const Shape&) { return 0.0; })});
  add({.op = "narrow",
       .inputs = {{.shape = {5, 2}}},
       .f = one_in([](const Tensor& x) { return narrow(x, 0, -3, 2); }),
       .reference = tabulated({2, 2},
                              [](const Array& x, const Shape& i) {
                                return get(x, {2 + i[0], i[1]});
                              }),
       .bad = {{[] { narrow(zeros({5}), 0, 3, 3); }, "narrow: 3 elements from 3 are not in dimension 0 of size 5"},
               {[] { narrow(zeros({5}), 0, -6, 1); }, "narrow:"}}});
  add({.op = "select",
       .inputs = {{.shape = {2, 3, 4}}},
       .f = one_in([](const Tensor& x) { return select(x, 1, -1); }),
       .reference = tabulated({2, 4},
                              [](const Array& x, const Shape& i) {
                                return get(x, {i[0], 2, i[1]});
                              }),
       .bad = {{[] { select(x234(), 1, 3); }, "select: index 3 is out of range for dimension 1 of size 3"},
               {[] { zeros({})[0]; }, "select: index 0"}}});
  add({.op = "select",
       .variant = "operator[]",
       .inputs = {{.shape = {3, 2}}},
       .f = one_in([](const Tensor& x) { return x[1] * x[-1][0]; }),
       .reference = tabulated({2},
                              [](const Array& x, const Shape& i) {
                                return get(x, {1, i[0]}) * get(x, {2, 0});
                              }),
       .also_covers = {"mul"}});
  add({.op = "diagonal",
       .inputs = {{.shape = {3, 2, 4}}},
       .f = one_in([](const Tensor& x) { return diagonal(x, 1, 0, 2); }),
       .reference = tabulated({2, 3},
                              [](const Array& x, const Shape& i) {
                                return get(x, {i[1], i[0], i[1] + 1});
                              }),
       .also_covers = {"diagonal_grad"},
       .bad = {{[] { diagonal(zeros({3})); }, "diagonal: needs two dimensions"},
               {[] { diagonal(x234(), 0, 1, 1); }, "the two dimensions are the same"}}});
  add({.op = "diagonal",
       .variant = "below, and beside the matrix",
       .inputs = {{.shape = {4, 3}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{diagonal(in[0], -2), diagonal(in[0], 9)};
           },
       .reference =
           [](std::span<const Array> in) {
             return std::vector<Array>{tabulate({2},
                                                [&](const Shape& i) {
                                                  return get(in[0], {i[0] + 2, i[0]});
                                                }),
                                       {{0}, {}}};
           }});
  add({.op = "diag_embed",
       .inputs = {{.shape = {2, 3}}},
       .f = one_in([](const Tensor& x) { return diag_embed(x, -1, 0, -1); }),
       .reference = tabulated({4, 2, 4},
                              [](const Array& x, const Shape& i) {
                                return i[0] == i[2] + 1 ? get(x, {i[1], i[2]}) : 0;
                              }),
       .also_covers = {"diagonal_grad"},
       .bad = {{[] { diag_embed(zeros({})); }, "diag_embed: a 0-d tensor"},
               {[] { diag_embed(zeros({2}), 0, 1, 1); }, "are the same"}}});
  add({.op = "diag",
       .inputs = {{.shape = {3}}, {.shape = {3, 4}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{diag(in[0], 1), diag(in[1], 1)};
           },
       .reference =
           [](std::span<const Array> in) {
             return std::vector<Array>{
                 tabulate({4, 4}, [&](const Shape& i) { return i[1] == i[0] + 1 ? get(in[0], {i[0]}) : 0; }),
                 tabulate({3}, [&](const Shape& i) {
                   return get(in[1], {i[0], i[0] + 1});
                 })};
           },
       .also_covers = {"diagonal_grad", "diagonal"},
       .bad = {{[] { diag(x234()); }, "diag: expected a vector or a matrix"}}});
  add({.op = "clone",
       .inputs = {{.shape = {2, 3}}},
       .f = one_in([](const Tensor& x) { return clone(x); }),
       .reference = reshaped({2, 3}),
       .bench = {.shapes = {{1 << 16}, {1 << 22}},
                 .inputs = [](const Shape& s) { return std::vector<Input>{{.shape = s}}; },
                 .bytes_per_element = 8}});
  add({.op = "clone",
       .variant = "of a transpose",
       .inputs = {{.shape = {3, 4}}},
       .f = one_in([](const Tensor& x) { return contiguous(transpose(x, 0, 1)); }),
       .reference = tabulated({4, 3},
                              [](const Array& x, const Shape& i) {
                                return get(x, {i[1], i[0]});
                              }),
       .bench = {.shapes = {{512, 512}, {2048, 2048}},
                 .inputs = [](const Shape& s) { return std::vector<Input>{{.shape = s}}; },
                 .bytes_per_element = 8}});
  add({.op = "alias",
       .inputs = {{.shape = {2, 3}}},
       .f = one_in([](const Tensor& x) { return alias(x); }),
       .reference = reshaped({2, 3})});
  add({.op = "to",
       .inputs = {{.shape = {2, 3}}},
       .f = one_in([](const Tensor& x) { return x.to(f64); }),
       .reference = reshaped({2, 3})});
  add({.op = "to",
       .variant = "integers and back",
       .inputs = {{.shape = {5}, .values = {-1.9, -0.5, 0, 0.5, 2.9}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{in[0].to(i64), in[0].to(i32).to(f32), in[0].to(boolean)};
           },
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{vector_of({-1, 0, 0, 0, 2}), vector_of({-1, 0, 0, 0, 2}),
                                       vector_of({1, 1, 0, 1, 1})};
           },
       .differentiable = false});
}

void add_shape_cases(const Add& add) {
  add_view_cases(add);
  add_join_cases(add);
  add_pad_cases(add);
}

}  // namespace tenrec::testing
