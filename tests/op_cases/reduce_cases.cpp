#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "op_cases/elementwise_cases.h"
#include "op_cases/op_case.h"

namespace tenrec::testing {
namespace {

using Line = std::vector<double>;

// Which dimensions a reduction goes over, as the rows write it.
struct Over {
  Dims dim = {};
  bool keepdim = false;
  ReduceOptions options() const { return {dim, keepdim}; }
};

// f of the elements of every output, in row-major order of the reduced dimensions. f may give several values, which
// become several outputs.
std::vector<Array> reduce_array(const Array& x, const Over& over, const std::function<Line(const Line&)>& f) {
  const int64_t nd = x.shape.ndim();
  std::vector<bool> gone(size_t(nd), over.dim.all);
  for (int64_t d : over.dim.dims)
    if (nd) gone[size_t(d < 0 ? d + nd : d)] = true;
  Shape kept = x.shape, result;
  for (int64_t d = 0; d < nd; ++d) {
    if (gone[size_t(d)]) kept[d] = 1;
    if (over.keepdim || !gone[size_t(d)]) result.push_back(kept[d]);
  }
  std::vector<Line> lines(size_t(checked_numel(kept)));
  Shape index = Shape::filled(nd, 0);
  for (double value : x.values) {
    int64_t at = 0;
    for (int64_t d = 0; d < nd; ++d) at = at * kept[d] + (gone[size_t(d)] ? 0 : index[d]);
    lines[size_t(at)].push_back(value);
    for (int64_t d = nd - 1; d >= 0 && ++index[d] == x.shape[d]; --d) index[d] = 0;
  }
  std::vector<Array> out(f({1, 2}).size(), Array{result, {}});
  for (const Line& line : lines) {
    const Line values = f(line);
    for (size_t o = 0; o < out.size(); ++o) out[o].values.push_back(values[o]);
  }
  return out;
}

double total(const Line& v) { return std::accumulate(v.begin(), v.end(), 0.0); }
double average(const Line& v) { return total(v) / double(v.size()); }
double product(const Line& v) { return std::accumulate(v.begin(), v.end(), 1.0, std::multiplies<>()); }
double variance(const Line& v, double correction) {
  double squares = 0;
  for (double x : v) squares += (x - average(v)) * (x - average(v));
  return squares / std::max(0.0, double(v.size()) - correction);
}
bool has_nan(const Line& v) {
  return std::any_of(v.begin(), v.end(), [](double x) { return std::isnan(x); });
}
// Place of the extreme: the first, NaN before all.
size_t extreme(const Line& v, bool largest) {
  size_t best = 0;
  for (size_t i = 0; i < v.size(); ++i) {
    if (std::isnan(v[i])) return i;
    if (largest ? v[i] > v[best] : v[i] < v[best]) best = i;
  }
  return best;
}
double smallest(const Line& v) { return v[extreme(v, false)]; }
double largest(const Line& v) { return v[extreme(v, true)]; }
double power_sum(const Line& v, double p) {
  if (std::isinf(p)) {
    Line magnitudes;
    for (double x : v) magnitudes.push_back(std::abs(x));
    return p > 0 ? largest(magnitudes) : smallest(magnitudes);
  }
  double sum = 0;
  for (double x : v) sum += p == 0 ? double(x != 0) : std::pow(std::abs(x), p);
  return p == 0 ? sum : std::pow(sum, 1 / p);
}
double log_sum_exp(const Line& v) {
  if (v.empty()) return -kInf;
  const double m = largest(v);
  if (std::isinf(m)) return m;
  double sum = 0;
  for (double x : v) sum += std::exp(x - m);
  return m + std::log(sum);
}
// Place of the lower median.
size_t middle(const Line& v) {
  if (has_nan(v)) return extreme(v, true);
  Line sorted = v;
  std::sort(sorted.begin(), sorted.end());
  return size_t(std::find(v.begin(), v.end(), sorted[(v.size() - 1) / 2]) - v.begin());
}
double quantile_of(Line v, double q) {
  if (has_nan(v)) return kNan;
  std::sort(v.begin(), v.end());
  const double rank = q * double(v.size() - 1), part = rank - std::floor(rank);
  const double low = v[size_t(std::floor(rank))];
  return part == 0 ? low : low + part * (v[size_t(std::ceil(rank))] - low);
}

using Reducer = Tensor (*)(const Tensor&, const ReduceOptions&);
using NumberOf = double (*)(const Line&);

// One op over several choices of dimensions.
struct Reductions {
  const Add& add;
  const char* op;
  Reducer f;
  NumberOf reference;
  bool differentiable = true;
  bool kinked = false;
  Tolerance tolerance = {};

  OpCase row(const char* variant, const Input& input, const Over& over) const {
    const Reducer call = f;
    const NumberOf expected = reference;
    OpCase c{.op = op, .variant = variant, .inputs = {input}, .f = {}};
    c.f = [call, over](std::span<const Tensor> in) { return std::vector<Tensor>{call(in[0], over.options())}; };
    c.reference = [expected, over](std::span<const Array> in) {
      return reduce_array(in[0], over, [&](const Line& v) { return Line{expected(v)}; });
    };
    c.differentiable = differentiable;
    c.kinked = kinked;
    c.tolerance = tolerance;
    return c;
  }
  void all(const Input& base = {.shape = {}}) const {
    const auto with = [&](const Shape& shape) {
      Input input = base;
      input.shape = shape;
      return input;
    };
    OpCase first = row("all", with({3, 4}), {});
    const Reducer call = f;
    first.bad = {{[call] {
                    call(ones({2, 3}), {.dim = 2});
                  },
                  op},
                 {[call] {
                    call(ones({2, 3}), {.dim = {0, -2}});
                  },
                  "named twice"}};
    add(std::move(first));
    add(row("rows", with({4, 5}), {.dim = 1}));
    add(row("columns", with({5, 20}), {.dim = 0, .keepdim = true}));
    add(row("outer and inner", with({3, 2, 4}), {.dim = {0, 2}}));
    add(row("middle", with({2, 5, 3}), {.dim = -2, .keepdim = true}));
    add(row("all, kept", with({2, 3}), {.keepdim = true}));
    add(row("0-d", with({}), {}));
  }
};

Tolerance loose(double f32, double bf16 = 1e-2, double f16 = 2e-3) { return {1e-12, f32, bf16, f16}; }

void add_sums(const Add& add) {
  Reductions{add, "sum", sum, total}.all();
  Reductions{add, "mean", mean, average}.all();
  Reductions{add, "nansum", nansum, total}.all();
  Reductions{add, "prod", prod, product}.all({.shape = {}, .low = 0.5, .high = 1.5});

  OpCase wide = Reductions{add, "sum", sum, total}.row("many leaves", {.shape = {1300}, .low = 0}, {});
  wide.tolerance = loose(1e-6);
  wide.order = 0;  // the size is what counts
  wide.bench = {.shapes = {{4096, 4096}}, .bytes_per_element = 4, .flops_per_element = 1};
  add(std::move(wide));
  OpCase columns = Reductions{add, "sum", sum, total}.row("many rows", {.shape = {1100, 3}}, {.dim = 0});
  columns.tolerance = loose(2e-6, 2e-2);
  columns.order = 0;
  columns.bench = {.shapes = {{4096, 4096}, {64, 128}}, .bytes_per_element = 4, .flops_per_element = 1};
  add(std::move(columns));
  add({.op = "sum",
       .variant = "integers",
       .inputs = {integers({3, -4, 100000})},
       .f = [](std::span<const Tensor> in) { return std::vector<Tensor>{sum(in[0].to(i32))}; },
       .reference =
           [](std::span<const Array> in) {
             return std::vector<Array>{{{}, {total(in[0].values)}}};
           },
       .differentiable = false});
  add({.op = "sum",
       .variant = "bool counts",
       .inputs = {booleans({1, 0, 1, 1})},
       .f = [](std::span<const Tensor> in) { return std::vector<Tensor>{sum(in[0])}; },
       .reference =
           [](std::span<const Array> in) {
             return std::vector<Array>{{{}, {total(in[0].values)}}};
           },
       .differentiable = false});
  add({.op = "mean",
       .variant = "of integers",
       .inputs = {given({1, 2})},
       .f = [](std::span<const Tensor> in) { return std::vector<Tensor>{mean(in[0])}; },
       .reference =
           [](std::span<const Array> in) {
             return std::vector<Array>{{{}, {average(in[0].values)}}};
           },
       .bad = {{[] { mean(arange(3, {.dtype = i64})); }, "mean: needs a floating dtype"}}});
  add({.op = "nansum",
       .variant = "NaN",
       .inputs = {given({1, kNan, 3, kNan})},
       .f = [](std::span<const Tensor> in) { return std::vector<Tensor>{nansum(in[0])}; },
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{{{}, {4}}};
           },
       .differentiable = false});
  add({.op = "nansum",
       .variant = "gradient at NaN",
       .inputs = {given({1, kNan, 3})},
       .f = gradient_of(op_of([](const Tensor& x) { return nansum(x); })),
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{{{3}, {1, 0, 1}}};
           },
       .differentiable = false});
  for (const Line& zeros : {Line{2, 0, 3, -1}, Line{0, 2, 0, 3}, Line{0, 0, 0, 5}})
    add({.op = "prod",
         .variant = "zeros",
         .inputs = {{.shape = {2, 2}, .values = zeros}},
         .f = op_of([](const Tensor& x) { return prod(x); }),
         .reference =
             [](std::span<const Array> in) {
               return std::vector<Array>{{{}, {product(in[0].values)}}};
             },
         .order = 2});
  add({.op = "prod",
       .variant = "zeros in rows and columns",
       .inputs = {{.shape = {3, 3}, .values = {0, 1, 2, 3, 0, 4, 5, 0, 6}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{prod(in[0], {.dim = 1}), prod(in[0], {.dim = 0})};
           },
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{{{3}, {0, 0, 0}}, {{3}, {0, 0, 48}}};
           }});
  add({.op = "sum_to",
       .inputs = {{.shape = {2, 3, 4}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{sum_to(in[0], {3, 1}), sum_to(in[0], {}), sum_to(in[0], {2, 1, 4})};
           },
       .reference =
           [](std::span<const Array> in) {
             const auto f = [](const Line& v) { return Line{total(v)}; };
             std::vector<Array> out = reduce_array(in[0], {.dim = {0, 2}}, f);
             out[0].shape = {3, 1};
             out.push_back(reduce_array(in[0], {}, f)[0]);
             out.push_back(reduce_array(in[0], {.dim = 1, .keepdim = true}, f)[0]);
             return out;
           },
       .tolerance = loose(4e-6, 2e-2, 4e-3),
       .bad = {{[] {
                  sum_to(ones({2, 3}), {2});
                },
                "does not broadcast"},
               {[] {
                  sum_to(ones({3}), {2, 3});
                },
                "does not broadcast"}}});
}

void add_variances(const Add& add) {
  const auto row = [](const char* op, bool root, const char* variant, const Input& input, const VarOptions& options) {
    OpCase c{.op = op, .variant = variant, .inputs = {input}, .f = {}};
    c.f = [root, options](std::span<const Tensor> in) {
      return std::vector<Tensor>{root ? tenrec::std(in[0], options) : var(in[0], options)};
    };
    c.reference = [root, options](std::span<const Array> in) {
      return reduce_array(in[0], {options.dim, options.keepdim}, [&](const Line& v) {
        const double y = variance(v, options.correction);
        return Line{root ? std::sqrt(y) : y};
      });
    };
    return c;
  };
  for (bool root : {false, true}) {
    const char* op = root ? "std" : "var";
    add(row(op, root, "all", {.shape = {3, 4}}, {}));
    add(row(op, root, "rows", {.shape = {3, 4}}, {.dim = 1, .correction = 0}));
    add(row(op, root, "columns", {.shape = {4, 18}}, {.dim = 0, .keepdim = true}));
    add(row(op, root, "outer and inner", {.shape = {2, 3, 4}}, {.dim = {0, 2}, .correction = 2}));
    OpCase far = row(op, root, "far from 0", {.shape = {700}, .low = 1000, .high = 1001}, {});
    far.dtypes = {f64, f32};
    far.tolerance = loose(1e-5);
    far.order = 0;
    add(std::move(far));
    OpCase none = row(op, root, "one element", {.shape = {3, 1}}, {.dim = 1});
    none.differentiable = false;  // NaN
    none.bad = {{[root] { root ? tenrec::std(arange(3, {.dtype = i64})) : var(arange(3, {.dtype = i64})); }, op}};
    add(std::move(none));
  }
  add({.op = "std",
       .variant = "gradient where it is 0",
       .inputs = {given({2, 2, 2})},
       .f = gradient_of(op_of([](const Tensor& x) { return tenrec::std(x); })),
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{{{3}, {0, 0, 0}}};
           },
       .differentiable = false});
}

void add_norms(const Add& add) {
  for (double p : {2.0, 1.0, 3.0, 2.5, 0.5, kInf, -kInf, 0.0})
    for (const Over& over : {Over{}, Over{.dim = 1}, Over{.dim = {0, 2}, .keepdim = true}})
      add({.op = "norm",
           .variant = concat("p = ", p),
           .inputs = {{.shape = {2, 3, 2}, .low = 0.3, .high = 2}},
           .f = [p, over](std::span<const Tensor> in) { return std::vector<Tensor>{norm(in[0], p, over.options())}; },
           .reference =
               [p, over](std::span<const Array> in) {
                 return reduce_array(in[0], over, [&](const Line& v) { return Line{power_sum(v, p)}; });
               },
           .tolerance = loose(4e-6, 2e-2, 4e-3),
           .order = p == 0 ? 1 : 2});
  add({.op = "norm",
       .variant = "signs",
       .inputs = {{.shape = {2, 4}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{norm(in[0]), norm(in[0], 3, {.dim = 0}), norm(in[0], 1, {.dim = -1})};
           },
       .reference =
           [](std::span<const Array> in) {
             const auto f = [&](const Over& over, double p) {
               return reduce_array(in[0], over, [&](const Line& v) { return Line{power_sum(v, p)}; })[0];
             };
             return std::vector<Array>{f({}, 2), f({.dim = 0}, 3), f({.dim = -1}, 1)};
           },
       .tolerance = loose(4e-6, 2e-2, 4e-3),
       .bad = {{[] { norm(arange(3, {.dtype = i64})); }, "norm: needs a floating dtype"},
               {[] { norm(zeros({0}), kInf); }, "nothing to choose from"}}});
  add({.op = "norm",
       .variant = "gradient at 0",
       .inputs = {given({0, 0}), given({0, 3})},
       .f =
           [](std::span<const Tensor> in) {
             const auto at = [&](const Tensor& x, double p) {
               return gradient_of(op_of([p](const Tensor& v) { return norm(v, p); }))(std::vector<Tensor>{x})[0];
             };
             return std::vector<Tensor>{at(in[0], 2), at(in[0], 3), at(in[1], 1.5), at(in[1], kInf), at(in[1], 0)};
           },
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{{{2}, {0, 0}}, {{2}, {0, 0}}, {{2}, {0, 1}}, {{2}, {0, 1}}, {{2}, {0, 0}}};
           },
       .differentiable = false});
  Reductions{add, "logsumexp", logsumexp, log_sum_exp}.all();
  add({.op = "logsumexp",
       .variant = "extremes",
       .inputs = {{.shape = {5, 2}, .values = {1e4, 1e4, -1e4, -1e4, -kInf, 1, -kInf, -kInf, kInf, 1}}},
       .f = op_of([](const Tensor& x) { return logsumexp(x, {.dim = 1}); }),
       .reference =
           [](std::span<const Array> in) {
             return reduce_array(in[0], {.dim = 1}, [](const Line& v) { return Line{log_sum_exp(v)}; });
           },
       .differentiable = false,
       .bad = {{[] { logsumexp(arange(3, {.dtype = i64})); }, "logsumexp: needs a floating dtype"}}});
  add({.op = "logsumexp",
       .variant = "gradient at -inf",
       .inputs = {{.shape = {3, 2}, .values = {-kInf, 1, -kInf, -kInf, 1e4, -1e4}}},
       .f = gradient_of(op_of([](const Tensor& x) { return logsumexp(x, {.dim = 1}); })),
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{{{3, 2}, {0, 1, 0, 0, 1, 0}}};
           },
       .differentiable = false});
}

Function both(ValuesAndIndices (*f)(const Tensor&, int64_t, bool), int64_t dim, bool keepdim) {
  return [=](std::span<const Tensor> in) {
    const ValuesAndIndices y = f(in[0], dim, keepdim);
    return std::vector<Tensor>{y.values, y.indices};
  };
}

void add_choice(const Add& add, const char* op, ValuesAndIndices (*f)(const Tensor&, int64_t, bool),
                size_t (*place)(const Line&)) {
  const auto reference = [place](const Over& over) {
    return [place, over](std::span<const Array> in) {
      return reduce_array(in[0], over, [place](const Line& v) {
        const size_t at = place(v);
        return Line{v[at], double(at)};
      });
    };
  };
  const Shape shape{3, 4, 2};
  for (int64_t dim : {0, 1, -1})
    for (bool keepdim : {false, true})
      add({.op = op,
           .variant = concat("dim ", dim, keepdim ? ", kept" : ""),
           .inputs = {{.shape = shape}},
           .f = both(f, dim, keepdim),
           .reference = reference({.dim = dim, .keepdim = keepdim})});
  add({.op = op,
       .variant = "ties",
       .inputs = {{.shape = {3, 4}, .values = {1, 3, 3, 1, 2, 2, 2, 2, -1, -1, 0, 0}}},
       .f = both(f, 1, false),
       .reference = reference({.dim = 1}),
       .differentiable = false});
  add({.op = op,
       .variant = "NaN",
       .inputs = {{.shape = {3, 3}, .values = {1, kNan, 3, kNan, kNan, 0, kInf, -kInf, kInf}}},
       .f = both(f, 1, false),
       .reference = reference({.dim = 1}),
       .differentiable = false});
  add({.op = op,
       .variant = "long",
       .inputs = {{.shape = {1, 700}}},
       .f = both(f, 1, false),
       .reference = reference({.dim = 1}),
       .order = 0});
  add({.op = op,
       .variant = "integers",
       .inputs = {integers({3, -1, 7, 7, -1})},
       .f = both(f, 0, true),
       .reference = reference({.dim = 0, .keepdim = true}),
       .differentiable = false});
  OpCase point{.op = op, .variant = "0-d", .inputs = {{.shape = {}}}, .f = both(f, 0, false)};
  point.reference = [](std::span<const Array> in) { return std::vector<Array>{in[0], {{}, {0}}}; };
  point.bad = {{[f] { f(ones({2}), 1, false); }, op}, {[f] { f(zeros({2, 0}), 1, false); }, "nothing to choose from"}};
  add(std::move(point));
}

void add_extremes(const Add& add) {
  Reductions{add, "amin", amin, smallest}.all();
  Reductions{add, "amax", amax, largest}.all();
  for (bool high : {false, true}) {
    const char* op = high ? "amax" : "amin";
    const Reducer f = high ? Reducer(amax) : Reducer(amin);
    const NumberOf reference = high ? largest : smallest;
    OpCase ties = Reductions{add, op, f, reference}.row(
        "ties and NaN", {.shape = {3, 4}, .values = {1, 1, 2, 2, 0, 0, 0, 0, kNan, 1, kNan, 2}}, {.dim = 1});
    ties.differentiable = false;
    ties.bad = {{[f] { f(zeros({0, 2}), {.dim = 0}); }, "nothing to choose from"}};
    add(std::move(ties));
    const char* whole = high ? "max" : "min";
    const auto all = high ? static_cast<Tensor (*)(const Tensor&)>(tenrec::max)
                          : static_cast<Tensor (*)(const Tensor&)>(tenrec::min);
    add({.op = whole,
         .variant = "all",
         .inputs = {{.shape = {3, 4}}},
         .f = op_of(all),
         .reference = [reference](std::span<const Array> in) {
           return std::vector<Array>{{{}, {reference(in[0].values)}}};
         }});
    add({.op = whole,
         .variant = "ties share the gradient",
         .inputs = {given({2, 1, 1, 2})},
         .f = gradient_of(op_of(all)),
         .reference =
             [high](std::span<const Array>) {
               return std::vector<Array>{{{4}, high ? Line{0.5, 0, 0, 0.5} : Line{0, 0.5, 0.5, 0}}};
             },
         .differentiable = false,
         .bad = {{[all] { all(zeros({0})); }, "nothing to choose from"}}});
    const Reducer arg = high ? Reducer(argmax) : Reducer(argmin);
    for (const Over& over : {Over{}, Over{.dim = 0}, Over{.dim = -1, .keepdim = true}, Over{.keepdim = true}})
      add({.op = high ? "argmax" : "argmin",
           .variant = over.dim.all ? "all" : "one dimension",
           .inputs = {{.shape = {4, 3}, .values = {1, 5, 2, 5, kNan, 2, 0, 1, 2, 5, 5, -3}}},
           .f = [arg, over](std::span<const Tensor> in) { return std::vector<Tensor>{arg(in[0], over.options())}; },
           .reference =
               [high, over](std::span<const Array> in) {
                 return reduce_array(in[0], over, [high](const Line& v) { return Line{double(extreme(v, high))}; });
               },
           .differentiable = false,
           .bad = {{[arg] {
                      arg(ones({2, 2}), {.dim = {0, 1}});
                    },
                    "takes one dimension"},
                   {[arg] { arg(zeros({0}), {}); }, "nothing to choose from"}}});
  }
  add_choice(add, "min", tenrec::min, [](const Line& v) { return extreme(v, false); });
  add_choice(add, "max", tenrec::max, [](const Line& v) { return extreme(v, true); });
  add_choice(add, "median", median, middle);
  add({.op = "median",
       .variant = "all",
       .inputs = {{.shape = {3, 4}}},
       .f = op_of(static_cast<Tensor (*)(const Tensor&)>(median)),
       .reference = [](std::span<const Array> in) {
         return std::vector<Array>{{{}, {in[0].values[middle(in[0].values)]}}};
       }});
}

void add_quantiles(const Add& add) {
  const std::vector<double> qs{0, 0.25, 0.5, 0.9, 1};
  const auto reference = [](const std::vector<double>& q, const Over& over) {
    return [q, over](std::span<const Array> in) {
      std::vector<Array> parts = reduce_array(in[0], over, [&](const Line& v) {
        Line out;
        for (double p : q) out.push_back(quantile_of(v, p));
        return out;
      });
      Array y = parts[0];
      y.shape.insert(0, int64_t(q.size()));
      for (size_t i = 1; i < parts.size(); ++i)
        y.values.insert(y.values.end(), parts[i].values.begin(), parts[i].values.end());
      return std::vector<Array>{y};
    };
  };
  for (const Over& over : {Over{}, Over{.dim = 0}, Over{.dim = 1, .keepdim = true}})
    add({.op = "gather",
         .variant = "quantile",
         .inputs = {{.shape = {4, 5}}},
         .f = [qs,
               over](std::span<const Tensor> in) { return std::vector<Tensor>{quantile(in[0], qs, over.options())}; },
         .reference = reference(qs, over),
         .tolerance = loose(2e-6, 3e-2, 4e-3),
         .bad = {{[] { quantile(ones({2}), 1.5); }, "quantile: q must be between 0 and 1"},
                 {[] {
                    quantile(ones({2, 2}), 0.5, {.dim = {0, 1}});
                  },
                  "takes one dimension"},
                 {[] { quantile(zeros({0}), 0.5); }, "nothing to choose from"}}});
  add({.op = "gather",
       .variant = "quantile, one q, infinities and NaN",
       .inputs = {{.shape = {3, 3}, .values = {kInf, 1, kInf, 1, kNan, 2, -kInf, 0, 3}}},
       .f = op_of([](const Tensor& x) { return quantile(x, 0.5, {.dim = 1}); }),
       .reference =
           [](std::span<const Array> in) {
             return reduce_array(in[0], {.dim = 1}, [](const Line& v) { return Line{quantile_of(v, 0.5)}; });
           },
       .differentiable = false});
}

void add_logic(const Add& add) {
  const auto none_zero = [](const Line& v) { return double(std::count(v.begin(), v.end(), 0.0) == 0); };
  const auto one_set = [](const Line& v) { return double(std::count(v.begin(), v.end(), 0.0) != int64_t(v.size())); };
  const auto counted = [](const Line& v) { return double(int64_t(v.size()) - std::count(v.begin(), v.end(), 0.0)); };
  const Line values{0, 0, 0, 1, kNan, 2, 0, -1, 3, 4, -0.0, 1};
  const struct {
    const char* op;
    Reducer f;
    NumberOf reference;
  } ops[] = {{"all", tenrec::all, none_zero}, {"any", tenrec::any, one_set}, {"count_nonzero", count_nonzero, counted}};
  for (const auto& [op, f, reference] : ops) {
    const Reductions reductions{add, op, f, reference, false};
    for (Input::Kind kind : {Input::real, Input::integer, Input::boolean}) {
      Input input{.shape = {4, 3}, .kind = kind, .values = values};
      if (kind != Input::real)
        for (double& v : input.values) v = std::isnan(v) ? 1 : kind == Input::boolean ? double(v != 0) : v;
      add(reductions.row("all", input, {}));
      add(reductions.row("rows", input, {.dim = 1}));
      add(reductions.row("columns", input, {.dim = 0, .keepdim = true}));
    }
  }
}

void add_scans(const Add& add) {
  // A scan of every line along a dimension, from its definition: f of the elements so far.
  const auto scan = [](const Array& x, int64_t dim, const std::function<Line(const Line&)>& f) {
    const int64_t nd = x.shape.ndim(), d = dim < 0 ? dim + nd : dim;
    int64_t inner = 1, n = nd ? x.shape[d] : 1;
    for (int64_t i = d + 1; i < nd; ++i) inner *= x.shape[i];
    std::vector<Array> out(f({1}).size(), x);
    for (size_t i = 0; i < x.values.size(); ++i) {
      const int64_t at = int64_t(i), k = at / inner % n;
      Line line;
      for (int64_t j = 0; j <= k; ++j) line.push_back(x.values[size_t(at - (k - j) * inner)]);
      const Line y = f(line);
      for (size_t o = 0; o < out.size(); ++o) out[o].values[i] = y[o];
    }
    return out;
  };
  const auto row = [&](const char* op, const char* variant, const Input& input, int64_t dim,
                       const std::function<std::vector<Tensor>(const Tensor&, int64_t)>& f,
                       const std::function<Line(const Line&)>& reference) {
    return OpCase{.op = op,
                  .variant = variant,
                  .inputs = {input},
                  .f = [f, dim](std::span<const Tensor> in) { return f(in[0], dim); },
                  .reference = [=](std::span<const Array> in) { return scan(in[0], dim, reference); },
                  .tolerance = loose(4e-6, 2e-2, 4e-3)};
  };
  const auto sums = [](const Tensor& x, int64_t dim) { return std::vector<Tensor>{cumsum(x, dim)}; };
  const auto products = [](const Tensor& x, int64_t dim) { return std::vector<Tensor>{cumprod(x, dim)}; };
  const auto logs = [](const Tensor& x, int64_t dim) { return std::vector<Tensor>{logcumsumexp(x, dim)}; };
  const auto highs = [](const Tensor& x, int64_t dim) {
    const ValuesAndIndices y = cummax(x, dim);
    return std::vector<Tensor>{y.values, y.indices};
  };
  const auto lows = [](const Tensor& x, int64_t dim) {
    const ValuesAndIndices y = cummin(x, dim);
    return std::vector<Tensor>{y.values, y.indices};
  };
  // The last of equals; once NaN, always NaN.
  const auto last_extreme = [](bool high) {
    return [high](const Line& v) {
      size_t best = 0;
      for (size_t i = 1; i < v.size(); ++i)
        if (std::isnan(v[i]) || (!std::isnan(v[best]) && (high ? v[i] >= v[best] : v[i] <= v[best]))) best = i;
      return Line{v[best], double(best)};
    };
  };
  for (int64_t dim : {0, 1, -1}) {
    const Input cube{.shape = {2, 3, 4}};
    add(row("cumsum", "", cube, dim, sums, [](const Line& v) { return Line{total(v)}; }));
    add(row("cumprod", "", cube, dim, products, [](const Line& v) { return Line{product(v)}; }));
    add(row("logcumsumexp", "", cube, dim, logs, [](const Line& v) { return Line{log_sum_exp(v)}; }));
    add(row("cummax", "", cube, dim, highs, last_extreme(true)));
    add(row("cummin", "", cube, dim, lows, last_extreme(false)));
  }
  add(row("cumsum", "0-d", {.shape = {}}, 0, sums, [](const Line& v) { return Line{total(v)}; }));
  OpCase zero = row("cumprod", "zeros", {.shape = {2, 5}, .values = {2, 0, 3, 4, -1, 0, 1, 2, 0, 3}}, 1, products,
                    [](const Line& v) { return Line{product(v)}; });
  zero.bad = {{[] { cumprod(ones({2}), 1); }, "cumprod"}, {[] { cumsum(ones({2}), -2); }, "cumsum"}};
  add(std::move(zero));
  OpCase ties = row("cummax", "ties and NaN", {.shape = {2, 5}, .values = {1, 2, 2, 1, 2, 0, 3, kNan, 5, kNan}}, 1,
                    highs, last_extreme(true));
  ties.differentiable = false;
  add(ties);
  OpCase extremes = row("logcumsumexp", "extremes", given({-kInf, -1e4, 1e4, 1e4, -kInf}), 0, logs,
                        [](const Line& v) { return Line{log_sum_exp(v)}; });
  extremes.differentiable = false;
  extremes.bad = {{[] { logcumsumexp(arange(3, {.dtype = i64}), 0); }, "logcumsumexp: needs a floating dtype"}};
  add(std::move(extremes));
  add({.op = "logcumsumexp",
       .variant = "gradient at -inf",
       .inputs = {given({-kInf, 0, 0})},
       .f = gradient_of(op_of([](const Tensor& x) { return logcumsumexp(x, 0); })),
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{{{3}, {0, 1.5, 0.5}}};
           },
       .differentiable = false});
  add({.op = "cumsum",
       .variant = "reverse",
       .inputs = {{.shape = {3, 4}}},
       .f = op_of([](const Tensor& x) { return cumsum(x, 1, true); }),
       .reference =
           [](std::span<const Array> in) {
             Array y = in[0];
             for (int64_t r = 0; r < 3; ++r)
               for (int64_t c = 2; c >= 0; --c) y.values[size_t(r * 4 + c)] += y.values[size_t(r * 4 + c + 1)];
             return std::vector<Array>{y};
           },
       .tolerance = loose(4e-6, 2e-2, 4e-3)});
}

}  // namespace

void add_reduce_cases(const Add& add) {
  add_sums(add);
  add_variances(add);
  add_norms(add);
  add_extremes(add);
  add_quantiles(add);
  add_logic(add);
  add_scans(add);
}

}  // namespace tenrec::testing
