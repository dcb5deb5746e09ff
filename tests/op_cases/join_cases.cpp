// Rows of autograd/ops/join.h.
#include "op_cases/layout_cases.h"

namespace tenrec::testing {
namespace {

using Arrays = std::span<const Array>;

Reference tabulated(const Shape& shape, std::function<double(const Array&, const Shape&)> f) {
  return single([=](Arrays in) { return tabulate(shape, [&](const Shape& i) { return f(in[0], i); }); });
}

// Columns [begin, end) of a [rows, n] array.
Array columns(const Array& x, int64_t begin, int64_t end) {
  return tabulate({x.shape[0], end - begin}, [&](const Shape& i) { return get(x, {i[0], begin + i[1]}); });
}

void add_joining(const Add& add) {
  add({.op = "cat",
       .inputs = {{.shape = {2, 3}}, {.shape = {2, 1}}, {.shape = {2, 0}}, {.shape = {0}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{cat({in.begin(), in.end()}, -1)};
           },
       .reference = single([](Arrays in) {
         return tabulate({2, 4}, [&](const Shape& i) {
           return i[1] < 3 ? get(in[0], {i[0], i[1]}) : get(in[1], {i[0], 0});
         });
       }),
       .also_covers = {"slice", "slice_grad"},
       .bad = {{[] { cat({}); }, "cat: no tensors were given"},
               {[] {
                  cat({zeros({2, 3}), zeros({3, 3})}, 1);
                },
                "cat: tensor 1 of shape [3, 3] does not fit the first one of shape [2, 3]"},
               {[] {
                  cat({zeros({2, 3}), zeros({2})});
                },
                "cat: tensor 1"},
               {[] {
                  cat({zeros({2, 3})}, 2);
                },
                "cat: dim 2"},
               {[] {
                  cat({zeros({}), zeros({})});
                },
                "use stack"}},
       .bench = {.shapes = {{64, 1024}, {1024, 2048}},
                 .inputs =
                     [](const Shape& s) {
                       return std::vector<Input>{{.shape = s}, {.shape = s}, {.shape = {s[0], 0}}, {.shape = {0}}};
                     },
                 .bytes_per_element = 16}});
  add({.op = "cat",
       .variant = "dtypes meet",
       .inputs = {{.shape = {2}}, {.shape = {2}, .kind = Input::integer}},
       .f = two_in([](const Tensor& a, const Tensor& b) {
         return cat({a, b});
       }),
       .reference = single([](Arrays in) {
         return vector_of({in[0].values[0], in[0].values[1], in[1].values[0], in[1].values[1]});
       }),
       .also_covers = {"slice", "slice_grad"}});
  add({.op = "stack",
       .inputs = {{.shape = {2, 3}}, {.shape = {2, 3}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{stack({in[0], in[1]}, 1), stack({in[1]}, -1)};
           },
       .reference =
           [](Arrays in) {
             return std::vector<Array>{tabulate({2, 2, 3},
                                                [&](const Shape& i) {
                                                  return get(in[size_t(i[1])], {i[0], i[2]});
                                                }),
                                       {{2, 3, 1}, in[1].values}};
           },
       .also_covers = {"unbind"},
       .bad = {{[] {
                  stack({zeros({2}), zeros({3})});
                },
                "stack: tensor 1 has shape [3]"},
               {[] { stack({}); }, "stack: no tensors"},
               {[] { stack({zeros({2})}, 2); }, "stack: dim 2"}}});
}

void add_cutting(const Add& add) {
  add({.op = "split",
       .inputs = {{.shape = {2, 5}}},
       .f = [](std::span<const Tensor> in) { return split(in[0], 2, 1); },
       .reference =
           [](Arrays in) {
             return std::vector<Array>{columns(in[0], 0, 2), columns(in[0], 2, 4), columns(in[0], 4, 5)};
           },
       .also_covers = {"cat"},
       .bad = {{[] { split(zeros({3}), 0); }, "split: parts of size 0"},
               {[] { split(zeros({}), 1); }, "split: a 0-d tensor"},
               {[] { split(zeros({3}), 1, 1); }, "split: dim 1"}}});
  add({.op = "split",
       .variant = "sizes, one part unused",
       .inputs = {{.shape = {2, 5}}},
       .f =
           [](std::span<const Tensor> in) {
             const std::vector<Tensor> parts = split(in[0], std::vector<int64_t>{1, 0, 3, 1}, -1);
             return std::vector<Tensor>{parts[0] * parts[3], parts[1]};
           },
       .reference =
           [](Arrays in) {
             return std::vector<Array>{tabulate({2, 1},
                                                [&](const Shape& i) {
                                                  return get(in[0], {i[0], 0}) * get(in[0], {i[0], 4});
                                                }),
                                       {{2, 0}, {}}};
           },
       .also_covers = {"cat", "mul"},
       .bad = {{[] {
                  split(zeros({5}), std::vector<int64_t>{2, 2});
                },
                "split: the sizes do not add up to the 5 entries"},
               {[] {
                  split(zeros({5}), std::vector<int64_t>{6, -1});
                },
                "do not add up"}}});
  add({.op = "chunk",
       .inputs = {{.shape = {2, 5}}},
       .f = [](std::span<const Tensor> in) { return chunk(in[0], 3, 1); },
       .reference =
           [](Arrays in) {
             return std::vector<Array>{columns(in[0], 0, 2), columns(in[0], 2, 4), columns(in[0], 4, 5)};
           },
       .bad = {{[] { chunk(zeros({3}), 0); }, "chunk: expected at least one part"}}});
  add({.op = "tensor_split",
       .inputs = {{.shape = {2, 5}}},
       .f =
           [](std::span<const Tensor> in) {
             std::vector<Tensor> parts = tensor_split(in[0], 3, 1);
             for (const Tensor& part : tensor_split(in[0], std::vector<int64_t>{1, -1, 3}, 1)) parts.push_back(part);
             return parts;
           },
       .reference =
           [](Arrays in) {
             const Array& x = in[0];
             return std::vector<Array>{columns(x, 0, 2), columns(x, 2, 4), columns(x, 4, 5), columns(x, 0, 1),
                                       columns(x, 1, 4), columns(x, 4, 4), columns(x, 3, 5)};
           },
       .also_covers = {"slice", "slice_grad"}});
  add({.op = "unbind",
       .inputs = {{.shape = {2, 3}}},
       .f = [](std::span<const Tensor> in) { return unbind(in[0], -1); },
       .reference =
           [](Arrays in) {
             std::vector<Array> out;
             for (int64_t k = 0; k < 3; ++k)
               out.push_back(tabulate({2}, [&](const Shape& i) { return get(in[0], {i[0], k}); }));
             return out;
           },
       .also_covers = {"stack"},
       .bad = {{[] { unbind(zeros({})); }, "unbind: a 0-d tensor"}}});
}

void add_repeating(const Add& add) {
  add({.op = "repeat",
       .inputs = {{.shape = {2, 3}}},
       .f = one_in([](const Tensor& x) {
         return repeat(x, {2, 3, 2});
       }),
       .reference = tabulated({2, 6, 6},
                              [](const Array& x, const Shape& i) {
                                return get(x, {i[1] % 2, i[2] % 3});
                              }),
       .also_covers = {"reshape", "expand", "clone"},
       .bad = {{[] {
                  repeat(zeros({2, 3}), {2});
                },
                "repeat: 1 counts for a tensor of shape [2, 3]"},
               {[] { repeat(zeros({2}), {-1}); }, "repeat: a count must not be negative"},
               {[] { repeat(zeros({4}), {INT64_MAX}); }, "is too much"}}});
  add({.op = "repeat",
       .variant = "zero times, and once",
       .inputs = {{.shape = {2, 3}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{repeat(in[0], {0, 1}), repeat(in[0], {1, 1})};
           },
       .reference =
           [](Arrays in) {
             return std::vector<Array>{{{0, 3}, {}}, in[0]};
           }});
  add({.op = "tile",
       .inputs = {{.shape = {2, 3}}},
       .f = one_in([](const Tensor& x) { return tile(x, {2}); }),
       .reference = tabulated({2, 6}, [](const Array& x, const Shape& i) {
         return get(x, {i[0], i[1] % 3});
       })});
  add({.op = "repeat_interleave",
       .inputs = {{.shape = {2, 3}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{repeat_interleave(in[0], 2, 1), repeat_interleave(in[0], 3)};
           },
       .reference =
           [](Arrays in) {
             return std::vector<Array>{tabulate({2, 6},
                                                [&](const Shape& i) {
                                                  return get(in[0], {i[0], i[1] / 2});
                                                }),
                                       tabulate({18}, [&](const Shape& i) { return in[0].values[size_t(i[0] / 3)]; })};
           },
       .bad = {{[] { repeat_interleave(zeros({2}), -1, 0); }, "repeat_interleave: a count must not be negative"}}});
  add({.op = "repeat_interleave",
       .variant = "counts in a tensor",
       .inputs = {{.shape = {3, 2}}, index_input({3}, {2, 0, 1})},
       .f = two_in([](const Tensor& x, const Tensor& n) { return repeat_interleave(x, n, 0); }),
       .reference = tabulated({3, 2},
                              [](const Array& x, const Shape& i) {
                                return get(x, {i[0] < 2 ? 0 : 2, i[1]});
                              }),
       .also_covers = {"index_select", "add_rows", "take_rows"},
       .bad = {{[] { repeat_interleave(zeros({3}), ones({2}, {.dtype = i64}), 0); },
                "repeat_interleave: expected a vector of integers"}}});
  add({.op = "meshgrid",
       .inputs = {{.shape = {2}}, {.shape = {3}}, {.shape = {}}},
       .f =
           [](std::span<const Tensor> in) {
             std::vector<Tensor> out = meshgrid({in[0], in[1], in[2]});
             for (const Tensor& grid : meshgrid({in[0], in[1]}, "xy")) out.push_back(grid);
             return out;
           },
       .reference =
           [](Arrays in) {
             const auto a = [&](int64_t i) { return in[0].values[size_t(i)]; };
             const auto b = [&](int64_t i) { return in[1].values[size_t(i)]; };
             return std::vector<Array>{tabulate({2, 3, 1}, [&](const Shape& i) { return a(i[0]); }),
                                       tabulate({2, 3, 1}, [&](const Shape& i) { return b(i[1]); }),
                                       tabulate({2, 3, 1}, [&](const Shape&) { return in[2].values[0]; }),
                                       tabulate({3, 2}, [&](const Shape& i) { return a(i[1]); }),
                                       tabulate({3, 2}, [&](const Shape& i) { return b(i[0]); })};
           },
       .bad = {{[] {
                  meshgrid({zeros({2, 2})});
                },
                "meshgrid: expected vectors"},
               {[] { meshgrid({zeros({2})}, "yx"); }, "meshgrid: indexing must be ij or xy, got yx"}}});
}

void add_turning(const Add& add) {
  add({.op = "flip",
       .inputs = {{.shape = {2, 3, 4}}},
       .f = one_in([](const Tensor& x) {
         return flip(x, {0, -1});
       }),
       .reference = tabulated({2, 3, 4},
                              [](const Array& x, const Shape& i) {
                                return get(x, {1 - i[0], i[1], 3 - i[2]});
                              }),
       .bad = {{[] {
                  flip(zeros({2, 2}), {0, -2});
                },
                "flip: dimension 0 is named twice"},
               {[] { flip(zeros({2}), {1}); }, "flip: dim 1"}},
       .bench = {.shapes = {{1024, 64, 1}, {4096, 256, 4}},
                 .inputs = [](const Shape& s) { return std::vector<Input>{{.shape = s}}; },
                 .bytes_per_element = 8}});
  add({.op = "flip",
       .variant = "nothing",
       .inputs = {{.shape = {0, 3}}, {.shape = {}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{flip(in[0], {0}), flip(in[1], {0}), flip(in[1], {})};
           },
       .reference =
           [](Arrays in) {
             return std::vector<Array>{in[0], in[1], in[1]};
           }});
  add({.op = "roll",
       .inputs = {{.shape = {3, 4}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{roll(in[0], {1, -6}, {0, 1}), roll(in[0], 5)};
           },
       .reference =
           [](Arrays in) {
             return std::vector<Array>{
                 tabulate({3, 4},
                          [&](const Shape& i) {
                            return get(in[0], {(i[0] + 2) % 3, (i[1] + 6) % 4});
                          }),
                 tabulate({3, 4}, [&](const Shape& i) { return in[0].values[size_t((i[0] * 4 + i[1] + 7) % 12)]; })};
           },
       .bad = {{[] {
                  roll(zeros({3}), {1, 2}, {0});
                },
                "roll: 2 shifts for 1 dimensions"},
               {[] { roll(zeros({3}), {1}, {1}); }, "roll: dim 1"}}});
  add({.op = "rot90",
       .inputs = {{.shape = {2, 3}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{rot90(in[0]), rot90(in[0], 2), rot90(in[0], -1), rot90(in[0], 4)};
           },
       .reference =
           [](Arrays in) {
             const Array& x = in[0];
             return std::vector<Array>{tabulate({3, 2},
                                                [&](const Shape& i) {
                                                  return get(x, {i[1], 2 - i[0]});
                                                }),
                                       tabulate({2, 3},
                                                [&](const Shape& i) {
                                                  return get(x, {1 - i[0], 2 - i[1]});
                                                }),
                                       tabulate({3, 2},
                                                [&](const Shape& i) {
                                                  return get(x, {1 - i[1], i[0]});
                                                }),
                                       x};
           },
       .bad = {{[] { rot90(zeros({2})); }, "rot90: needs a plane"},
               {[] {
                  rot90(zeros({2, 2}), 1, {1, 1});
                },
                "are the same"}}});
  add({.op = "tril",
       .inputs = {{.shape = {2, 3, 4}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{tril(in[0]), tril(in[0], -2), tril(in[0], 9)};
           },
       .reference =
           [](Arrays in) {
             std::vector<Array> out;
             for (const int64_t k : {0, -2, 9})
               out.push_back(tabulate({2, 3, 4}, [&](const Shape& i) { return i[2] - i[1] <= k ? get(in[0], i) : 0; }));
             return out;
           },
       .bad = {{[] { tril(zeros({3})); }, "tril: needs two dimensions"}}});
  add({.op = "triu",
       .inputs = {{.shape = {4, 3}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{triu(in[0]), triu(in[0], 1), triu(in[0], INT64_MIN), triu(in[0], INT64_MAX)};
           },
       .reference =
           [](Arrays in) {
             std::vector<Array> out;
             for (const int64_t k : {0, 1, -100, 100})
               out.push_back(tabulate({4, 3}, [&](const Shape& i) { return i[1] - i[0] >= k ? get(in[0], i) : 0; }));
             return out;
           },
       .bad = {{[] { triu(zeros({3})); }, "triu: needs two dimensions"}},
       .bench = {.shapes = {{512, 512}, {2048, 2048}},
                 .inputs = [](const Shape& s) { return std::vector<Input>{{.shape = s}}; },
                 .bytes_per_element = 8}});
}

}  // namespace

void add_join_cases(const Add& add) {
  add_joining(add);
  add_cutting(add);
  add_repeating(add);
  add_turning(add);
}

}  // namespace tenrec::testing
