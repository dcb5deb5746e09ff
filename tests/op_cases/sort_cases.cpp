// Rows of autograd/ops/sort.h.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "op_cases/layout_cases.h"

namespace tenrec::testing {
namespace {

using Arrays = std::span<const Array>;

// a comes before b in rising order: NaN last.
bool less(double a, double b) { return a < b || (std::isnan(b) && !std::isnan(a)); }

// Values and indices of the first k of each line along dim, stable.
std::vector<Array> sorted(const Array& x, int64_t dim, bool descending, int64_t k) {
  Shape shape = x.shape, lines = x.shape;
  shape[dim] = k;
  lines[dim] = 1;
  std::vector<Array> out(2, tabulate(shape, [](const Shape&) { return 0.0; }));
  tabulate(lines, [&](const Shape& line) {
    Shape place = line;
    const auto value = [&](int64_t j) {
      place[dim] = j;
      return get(x, place);
    };
    std::vector<int64_t> order(static_cast<size_t>(x.shape[dim]));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return descending ? less(value(b), value(a)) : less(value(a), value(b));
    });
    for (int64_t j = 0; j < k; ++j) {
      const double v = value(order[size_t(j)]);
      place[dim] = j;
      element(out[0], place) = v;
      element(out[1], place) = double(order[size_t(j)]);
    }
    return 0.0;
  });
  return out;
}

std::vector<Tensor> both(const Sorted& s) { return {s.values, s.indices}; }

const std::vector<double> kTies = {3, 1, 3, 2, 1, 1};
const std::vector<double> kStrange = {0.0, NAN, -INFINITY, -0.0, INFINITY, 1, NAN, -1};

void add_sorts(const Add& add) {
  add({.op = "sort",
       .inputs = {{.shape = {2, 5, 3}}},
       .f = [](std::span<const Tensor> in) { return both(sort(in[0], 1)); },
       .reference = [](Arrays in) { return sorted(in[0], 1, false, 5); },
       .also_covers = {"gather", "scatter_add", "transpose", "clone"},
       .bad = {{[] { sort(zeros({2}), 1); }, "sort: dim 1 is out of range"}},
       .bench = {.shapes = {{512, 512}, {16, 1 << 16}},
                 .inputs = [](const Shape& s) { return std::vector<Input>{{.shape = s}}; },
                 .bytes_per_element = 16}});
  add({.op = "sort",
       .variant = "falling, stable",
       .inputs = {{.shape = {6}, .values = kTies, .differentiable = false}},
       .f =
           [](std::span<const Tensor> in) {
             std::vector<Tensor> out = both(sort(in[0], 0, true));
             for (const Tensor& t : both(sort(in[0]))) out.push_back(t);
             return out;
           },
       .reference =
           [](Arrays in) {
             std::vector<Array> out = sorted(in[0], 0, true, 6);
             for (const Array& a : sorted(in[0], 0, false, 6)) out.push_back(a);
             return out;
           },
       .differentiable = false});
  add({.op = "sort",
       .variant = "NaN, infinities, zeros of both signs",
       .inputs = {{.shape = {8}, .values = kStrange, .differentiable = false}},
       .f =
           [](std::span<const Tensor> in) {
             std::vector<Tensor> out = both(sort(in[0]));
             for (const Tensor& t : both(sort(in[0], 0, true))) out.push_back(t);
             return out;
           },
       .reference =
           [](Arrays in) {
             std::vector<Array> out = sorted(in[0], 0, false, 8);
             for (const Array& a : sorted(in[0], 0, true, 8)) out.push_back(a);
             return out;
           },
       .differentiable = false});
  add({.op = "sort",
       .variant = "long rows, by digits",
       .inputs = {{.shape = {2, 1500}, .low = -1e4, .high = 1e4, .differentiable = false},
                  {.shape = {2000}, .low = -40, .high = 40, .kind = Input::integer}},
       .f =
           [](std::span<const Tensor> in) {
             std::vector<Tensor> out = both(sort(in[0], -1, true));
             for (const Tensor& t : both(sort(in[1]))) out.push_back(t);
             for (const Tensor& t : both(sort(in[1].to(i32), 0, true))) out.push_back(t);
             return out;
           },
       .reference =
           [](Arrays in) {
             std::vector<Array> out = sorted(in[0], 1, true, 1500);
             for (const Array& a : sorted(in[1], 0, false, 2000)) out.push_back(a);
             for (const Array& a : sorted(in[1], 0, true, 2000)) out.push_back(a);
             return out;
           },
       .differentiable = false});
  add({.op = "sort",
       .variant = "0-d and empty",
       .inputs = {{.shape = {}}, {.shape = {2, 0}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{sort(in[0]).values, sort(in[1]).values, argsort(in[1], 0)};
           },
       .reference =
           [](Arrays in) {
             return std::vector<Array>{in[0], in[1], in[1]};
           },
       .also_covers = {"reshape", "scatter_add"}});
  add({.op = "argsort",
       .inputs = {{.shape = {3, 4}}},
       .f = one_in([](const Tensor& x) { return argsort(x, 0, true); }),
       .reference = single([](Arrays in) { return sorted(in[0], 0, true, 3)[1]; }),
       .differentiable = false});
  add({.op = "msort",
       .inputs = {{.shape = {4, 2}}},
       .f = one_in([](const Tensor& x) { return msort(x); }),
       .reference = single([](Arrays in) { return sorted(in[0], 0, false, 4)[0]; }),
       .also_covers = {"sort", "gather", "scatter_add"}});
}

void add_selections(const Add& add) {
  add({.op = "topk",
       .inputs = {{.shape = {3, 5}}},
       .f = [](std::span<const Tensor> in) { return both(topk(in[0], 2)); },
       .reference = [](Arrays in) { return sorted(in[0], 1, true, 2); },
       .also_covers = {"gather", "scatter_add"},
       .bad = {{[] { topk(zeros({3}), 4); }, "topk: k = 4 is out of range for dimension 0 of size 3"},
               {[] { topk(zeros({3}), -1); }, "topk: k = -1"}},
       .bench = {.shapes = {{64, 1024}, {16, 1 << 16}},
                 .inputs = [](const Shape& s) { return std::vector<Input>{{.shape = s}}; },
                 .bytes_per_element = 4}});
  add({.op = "topk",
       .variant = "smallest, ties, all, none",
       .inputs = {{.shape = {6, 2}, .values = {3, 1, 3, 2, 1, 1, 1, 0, 3, 0, 2, 2}, .differentiable = false}},
       .f =
           [](std::span<const Tensor> in) {
             std::vector<Tensor> out = both(topk(in[0], 3, 0, false));
             for (const Tensor& t : both(topk(in[0], 6, 0))) out.push_back(t);
             out.push_back(topk(in[0], 0, 0).values);
             return out;
           },
       .reference =
           [](Arrays in) {
             std::vector<Array> out = sorted(in[0], 0, false, 3);
             for (const Array& a : sorted(in[0], 0, true, 6)) out.push_back(a);
             out.push_back({{0, 2}, {}});
             return out;
           },
       .differentiable = false});
  add({.op = "topk",
       .variant = "few of many, half of many",
       .inputs = {{.shape = {2, 3000}, .low = -8, .high = 8, .differentiable = false}},
       .f =
           [](std::span<const Tensor> in) {
             std::vector<Tensor> out = both(topk(in[0], 10));
             for (const Tensor& t : both(topk(in[0], 1500, 1, false))) out.push_back(t);
             return out;
           },
       .reference =
           [](Arrays in) {
             std::vector<Array> out = sorted(in[0], 1, true, 10);
             for (const Array& a : sorted(in[0], 1, false, 1500)) out.push_back(a);
             return out;
           },
       .dtypes = {f32, f64},
       .differentiable = false});
  add({.op = "kthvalue",
       .inputs = {{.shape = {4, 3}}},
       .f =
           [](std::span<const Tensor> in) {
             std::vector<Tensor> out = both(kthvalue(in[0], 2, 0));
             for (const Tensor& t : both(kthvalue(in[0], 3, 1, true))) out.push_back(t);
             return out;
           },
       .reference =
           [](Arrays in) {
             std::vector<Array> out;
             for (const Array& a : sorted(in[0], 0, false, 4))
               out.push_back(tabulate({3}, [&](const Shape& i) { return get(a, {1, i[0]}); }));
             for (const Array& a : sorted(in[0], 1, false, 3))
               out.push_back(tabulate({4, 1}, [&](const Shape& i) { return get(a, {i[0], 2}); }));
             return out;
           },
       .also_covers = {"gather", "scatter_add", "reshape"},
       .bad = {{[] { kthvalue(zeros({3}), 0); }, "kthvalue: k = 0 is out of range"},
               {[] { kthvalue(zeros({3}), 4); }, "kthvalue: k = 4 is out of range for dimension 0 of size 3"}}});
}

void add_lookups(const Add& add) {
  add({.op = "unique",
       .inputs = {{.shape = {2, 3}, .values = {3, -1, 3, 0, 0.5, -1}, .differentiable = false}},
       .f =
           [](std::span<const Tensor> in) {
             const Unique u = unique(in[0]);
             return std::vector<Tensor>{u.values, u.inverse, u.counts};
           },
       .reference =
           [](Arrays) {
             return std::vector<Array>{
                 vector_of({-1, 0, 0.5, 3}), {{2, 3}, {3, 0, 3, 1, 2, 0}}, vector_of({2, 1, 1, 2})};
           },
       .differentiable = false,
       .also_covers = {"sort"},
       .bad = {{[] { unique(zeros({2}, {.requires_grad = true})); }, "unique: this op has no derivative rule"}}});
  add({.op = "unique",
       .variant = "NaN equals nothing, empty",
       .inputs = {{.shape = {3}, .values = {NAN, 1, NAN}, .differentiable = false}},
       .f =
           [](std::span<const Tensor> in) {
             const Unique u = unique(in[0]), none = unique(slice(in[0], 0, 3));
             return std::vector<Tensor>{u.values, u.counts, none.values, none.inverse};
           },
       .reference =
           [](Arrays) {
             return std::vector<Array>{vector_of({1, NAN, NAN}), vector_of({1, 1, 1}), vector_of({}), vector_of({})};
           },
       .differentiable = false});
  add({.op = "unique_consecutive",
       .inputs = {{.shape = {6}, .values = {1, 1, 2, 1, 1, 1}, .differentiable = false}},
       .f =
           [](std::span<const Tensor> in) {
             const Unique u = unique_consecutive(in[0]);
             return std::vector<Tensor>{u.values, u.inverse, u.counts};
           },
       .reference =
           [](Arrays) {
             return std::vector<Array>{vector_of({1, 2, 1}), vector_of({0, 0, 1, 2, 2, 2}), vector_of({2, 1, 3})};
           },
       .differentiable = false});
  add({.op = "searchsorted",
       .inputs = {{.shape = {2, 4}, .values = {-1, 0, 0, 2, 1, 2, 3, 4}, .differentiable = false},
                  {.shape = {2, 3}, .values = {0, 2.5, -3, 2, NAN, 1}, .differentiable = false}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{searchsorted(in[0], in[1]), searchsorted(in[0], in[1], true),
                                        searchsorted(in[0][0], in[1]), searchsorted(in[0][0], in[1][0][0])};
           },
       .reference =
           [](Arrays) {
             return std::vector<Array>{
                 {{2, 3}, {1, 4, 0, 1, 4, 0}}, {{2, 3}, {3, 4, 0, 2, 4, 1}}, {{2, 3}, {1, 4, 0, 3, 4, 3}}, {{}, {1}}};
           },
       .differentiable = false,
       .also_covers = {"select"},
       .bad = {{[] {
                  searchsorted(zeros({2, 3}), zeros({3, 3}));
                },
                "searchsorted: sorted of shape [2, 3] does not fit"},
               {[] { searchsorted(zeros({3}), zeros({3}, {.dtype = f64})); },
                "searchsorted: sorted is f32, values are f64"},
               {[] { searchsorted(zeros({}), zeros({3})); }, "searchsorted: sorted of shape []"}}});
  add({.op = "bucketize",
       .inputs = {{.shape = {2, 2}, .values = {0, 1, 2, 9}, .differentiable = false},
                  {.shape = {3}, .values = {0, 1, 4}, .differentiable = false}},
       .f = two_in([](const Tensor& x, const Tensor& b) { return bucketize(x, b, true); }),
       .reference = single([](Arrays) {
         return Array{{2, 2}, {1, 2, 2, 3}};
       }),
       .differentiable = false,
       .also_covers = {"searchsorted"},
       .bad = {{[] {
                  bucketize(zeros({2}), zeros({2, 2}));
                },
                "bucketize: boundaries must be a vector"}}});
}

}  // namespace

void add_sort_cases(const Add& add) {
  add_sorts(add);
  add_selections(add);
  add_lookups(add);
}

}  // namespace tenrec::testing
