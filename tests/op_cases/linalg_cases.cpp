// Linear algebra. Inputs that need to be symmetric or positive definite are made so within the function, for only then
// is the derivative by a single element that of the op. Factors whose signs are free have them fixed by the op, and the
// references follow its rule. Tolerances: the matrices have condition numbers up to about 20, and the error of each
// result here is at most a few of those times the unit roundoff.
#include "op_cases/linalg_cases.h"

#include <algorithm>
#include <cmath>

#include "op_cases/layout_cases.h"

namespace tenrec::testing {
namespace {

using Arrays = std::span<const Array>;
using Tensors = std::span<const Tensor>;

constexpr Tolerance kTolerance{.f64 = 1e-12, .f32 = 3e-5};
const std::vector<DType> kReal{f64, f32};

// --- batches of naive matrices ---------------------------------------------------------------------------------------

Shape batch_of(const Array& a) {
  Shape batch;
  for (int64_t d = 0; d + 2 < a.shape.ndim(); ++d) batch.push_back(a.shape[d]);
  return batch;
}

std::vector<Dense> matrices_of(const Array& a) {
  const int64_t m = a.shape[a.shape.ndim() - 2], n = a.shape[a.shape.ndim() - 1];
  std::vector<Dense> all;
  for (int64_t i = 0; i < checked_numel(batch_of(a)); ++i) {
    Dense matrix(m, n);
    std::copy_n(a.values.begin() + i * m * n, m * n, matrix.values.begin());
    all.push_back(std::move(matrix));
  }
  return all;
}

// Outputs of f for each matrix of a, each with the batch before it. Columns lose their last dimension where `vectors`
// has the output's number.
using PerMatrix = std::function<std::vector<Dense>(const Dense&)>;
std::vector<Array> for_each_matrix(const Array& a, const PerMatrix& f, const std::vector<size_t>& vectors = {}) {
  std::vector<Array> out;
  for (const Dense& matrix : matrices_of(a)) {
    const std::vector<Dense> results = f(matrix);
    out.resize(results.size());
    for (size_t k = 0; k < results.size(); ++k) {
      out[k].shape = batch_of(a);
      out[k].shape.push_back(results[k].rows);
      if (std::find(vectors.begin(), vectors.end(), k) == vectors.end()) out[k].shape.push_back(results[k].cols);
      out[k].values.insert(out[k].values.end(), results[k].values.begin(), results[k].values.end());
    }
  }
  return out;
}
Reference reference_of(PerMatrix f, std::vector<size_t> vectors = {}) {
  return [=](Arrays in) { return for_each_matrix(in[0], f, vectors); };
}

Dense symmetric(const Dense& x, double shift) {
  Dense a(x.rows, x.rows);
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < x.rows; ++j) a(i, j) = (x(i, j) + x(j, i)) * 0.5 + (i == j ? shift : 0);
  return a;
}
Tensor symmetric(const Tensor& x, double shift) {
  return (x + t(x)) * 0.5 + eye(x.size(-1), {.dtype = x.dtype(), .device = x.device()}) * shift;
}

// Elimination gets by without large multipliers, but not without exchanges.
Input regular(const Shape& batch) {
  Input input{.shape = batch};
  const double one[] = {0.5, -2, 1, 3, 0.25, -0.5, 1, 1.5, 2.5};
  for (int64_t b = 0; b < checked_numel(batch); ++b)
    for (int i = 0; i < 9; ++i) input.values.push_back(one[i] + 0.25 * double(b) * (i % 4 == 0 ? 1 : -0.5));
  input.shape.push_back(3);
  input.shape.push_back(3);
  return input;
}

// --- factorizations --------------------------------------------------------------------------------------------------

Bench batch_bench(double flops_per_matrix_cube) {
  return {.shapes = {{64, 24, 24}, {1, 256, 256}},
          .inputs = [](const Shape& s) { return std::vector<Input>{{.shape = s, .low = -0.1, .high = 0.1}}; },
          .flops = [=](const Shape& s) { return flops_per_matrix_cube * double(s[0]) * std::pow(double(s[1]), 3); }};
}

void add_cholesky(const Add& add) {
  add({.op = "cholesky",
       .inputs = {{.shape = {2, 3, 3}, .low = -1, .high = 1}},
       .f =
           [](Tensors in) {
             const Tensor a = symmetric(in[0], 3);
             return std::vector<Tensor>{cholesky(a), cholesky(a, {.upper = true})};
           },
       .reference = reference_of([](const Dense& x) {
         const Dense l = naive_cholesky(symmetric(x, 3));
         return std::vector<Dense>{l, transposed(l)};
       }),
       .tolerance = kTolerance,
       .dtypes = kReal,
       .also_covers = {"solve_triangular"},
       .bad = {{[] {
                  cholesky(zeros({2, 3}));
                },
                "cholesky: the matrices must be square, got a tensor of shape [2, 3]"},
               {[] { cholesky(zeros({3})); }, "cholesky: needs a matrix or a batch of them"},
               {[] { cholesky(eye(2, {.dtype = bf16})); }, "cholesky: takes f32 or f64, got bf16; cast with x.to(f32)"},
               {[] { cholesky(eye(2, {.dtype = i64})); }, "cholesky: takes f32 or f64, got i64"},
               {[] { cholesky(eye(3) * -1.0); },
                "cholesky: the matrix is not positive definite: its leading minor of order 1 is not positive"},
               {[] {
                  cholesky(cat({reshape(eye(2), {1, 2, 2}), ones({1, 2, 2})}, 0));
                },
                "cholesky: matrix [1] of the batch is not positive definite: its leading minor of order 2"},
               {[] { cholesky(eye(3) * NAN); }, "cholesky: the matrix is not positive definite: its leading minor"}},
       .bench = batch_bench(1.0 / 3)});
  add({.op = "cholesky",
       .variant = "one element, none, no matrix",
       .inputs = {{.shape = {1, 1}, .low = 1, .high = 2}, {.shape = {2, 0, 0}}, {.shape = {0, 3, 3}}},
       .f =
           [](Tensors in) {
             return std::vector<Tensor>{cholesky(in[0]), cholesky(in[1]), cholesky(in[2])};
           },
       .reference =
           [](Arrays in) {
             return std::vector<Array>{map_array(in[0], [](double v) { return std::sqrt(v); }), in[1], in[2]};
           },
       .dtypes = kReal});
}

void add_lu(const Add& add) {
  for (const auto& [variant, m, n] : {std::tuple("square", 3, 3), std::tuple("tall", 4, 2), std::tuple("wide", 2, 4)})
    add({.op = "lu",
         .variant = variant,
         .inputs = {{.shape = {2, m, n}}},
         .f =
             [](Tensors in) {
               const LU f = lu(in[0]);
               return std::vector<Tensor>{f.p, f.l, f.u};
             },
         .reference = reference_of(naive_lu),
         .tolerance = kTolerance,
         .dtypes = kReal,
         .also_covers = {"lu_factor", "solve_triangular"},
         .bad = {{[] { lu(zeros({2})); }, "lu: needs a matrix"}}});
  add({.op = "lu_factor",
       .inputs = {regular({2})},
       .f =
           [](Tensors in) {
             const LUFactors f = lu_factor(in[0]);
             return std::vector<Tensor>{f.lu, f.pivots};
           },
       .reference =
           [](Arrays in) {
             std::vector<Array> out = for_each_matrix(in[0], [](const Dense& a) {
               const std::vector<Dense> f = naive_lu(a);
               Dense both = f[2];
               for (int64_t i = 0; i < 3; ++i)
                 for (int64_t j = 0; j < i; ++j) both(i, j) = f[1](i, j);
               return std::vector<Dense>{both};
             });
             out.push_back({{2, 3}, {2, 2, 3, 2, 2, 3}});  // worked out by hand
             return out;
           },
       .tolerance = kTolerance,
       .dtypes = kReal,
       .bad = {{[] {
                  lu_factor(zeros({3, 3}, {.dtype = f16}));
                },
                "lu_factor: takes f32 or f64, got f16"}},
       .bench = batch_bench(2.0 / 3)});
  add({.op = "lu",
       .variant = "a pivot of 0, nothing",
       .inputs = {{.shape = {2, 2}, .values = {0, 1, 0, 2}, .differentiable = false},
                  {.shape = {2, 0}, .differentiable = false}},
       .f =
           [](Tensors in) {
             const LU f = lu(in[0]), none = lu(in[1]);
             return std::vector<Tensor>{f.p, f.l, f.u, none.p, none.l, none.u};
           },
       .reference =
           [](Arrays) {
             return std::vector<Array>{{{2, 2}, {1, 0, 0, 1}}, {{2, 2}, {1, 0, 0, 1}}, {{2, 2}, {0, 1, 0, 2}},
                                       {{2, 2}, {1, 0, 0, 1}}, {{2, 0}, {}},           {{0, 0}, {}}};
           },
       .dtypes = kReal,
       .differentiable = false});
}

void add_qr(const Add& add) {
  for (const auto& [variant, m, n] : {std::tuple("square", 3, 3), std::tuple("tall", 4, 2), std::tuple("wide", 2, 4)})
    add({.op = "qr",
         .variant = variant,
         .inputs = {{.shape = {2, m, n}}},
         .f =
             [](Tensors in) {
               const QR f = qr(in[0]);
               return std::vector<Tensor>{f.q, f.r};
             },
         .reference = reference_of(naive_qr),
         .tolerance = kTolerance,
         .dtypes = kReal,
         .also_covers = {"solve_triangular"},
         .bad = {{[] { qr(zeros({2})); }, "qr: needs a matrix"},
                 {[] {
                    const Tensor a = zeros({2, 2}, {.requires_grad = true});
                    grad(sum(qr(a).q), {a});
                  },
                  "qr: the matrix has dependent columns: its QR factors have no derivative"}},
         .bench = batch_bench(8.0 / 3)});
  add({.op = "qr",
       .variant = "nothing",
       .inputs = {{.shape = {3, 0}}, {.shape = {0, 3}}, {.shape = {0, 2, 2}}},
       .f =
           [](Tensors in) {
             const QR a = qr(in[0]), b = qr(in[1]), c = qr(in[2]);
             return std::vector<Tensor>{a.q, a.r, b.q, b.r, c.q, c.r};
           },
       .reference =
           [](Arrays) {
             return std::vector<Array>{{{3, 0}, {}}, {{0, 0}, {}},    {{0, 0}, {}},
                                       {{0, 3}, {}}, {{0, 2, 2}, {}}, {{0, 2, 2}, {}}};
           },
       .dtypes = kReal});
}

// --- solvers ---------------------------------------------------------------------------------------------------------

void add_solve(const Add& add) {
  add({.op = "solve",
       .inputs = {regular({2}), {.shape = {2, 3, 2}}},
       .f = two_in([](const Tensor& a, const Tensor& b) { return solve(a, b); }),
       .reference =
           [](Arrays in) {
             const std::vector<Dense> b = matrices_of(in[1]);
             size_t i = 0;
             return for_each_matrix(in[0], [&](const Dense& a) { return std::vector<Dense>{naive_solve(a, b[i++])}; });
           },
       .tolerance = kTolerance,
       .dtypes = kReal,
       .bad = {{[] {
                  solve(eye(3), zeros({2, 2}));
                },
                "solve: a right-hand side of shape [2, 2] does not fit matrices of shape [3, 3]: its rows must be 3"},
               {[] { solve(eye(3), zeros({3}, {.dtype = f64})); }, "solve: the matrix is f32, the right-hand side f64"},
               {[] {
                  solve(ones({2, 2, 2}), ones({3, 2, 1}));
                },
                "solve: shapes [2] and [3] do not broadcast"},
               {[] {
                  solve(zeros({2, 2}), ones({2}));
                },
                "solve: the matrix is singular: a pivot is 0"}},
       .bench = {.shapes = {{64, 24, 24}, {1, 256, 256}},
                 .inputs =
                     [](const Shape& s) {
                       return std::vector<Input>{{.shape = s}, {.shape = s}};
                     },
                 .flops = [](const Shape& s) { return 8.0 / 3 * double(s[0]) * std::pow(double(s[1]), 3); }}});
  add({.op = "solve",
       .variant = "batches that broadcast, vectors",
       .inputs = {regular({2, 1}), {.shape = {2, 3, 1}}, {.shape = {3}}},
       .f =
           [](Tensors in) {
             const Tensor a = in[0], first = select(select(a, 0, 0), 0, 0);
             return std::vector<Tensor>{solve(a, in[1]), solve(first, in[2]), solve(first, in[1]),
                                        solve(squeeze(a, 1), squeeze(in[1], -1))};
           },
       .reference =
           [](Arrays in) {
             const std::vector<Dense> a = matrices_of(in[0]), b = matrices_of(in[1]);
             Dense v(3, 1);
             v.values = in[2].values;
             std::vector<Array> out{
                 {{2, 2, 3, 1}, {}}, {{3}, naive_solve(a[0], v).values}, {{2, 3, 1}, {}}, {{2, 3}, {}}};
             const auto append = [&](size_t k, const Dense& x) {
               out[k].values.insert(out[k].values.end(), x.values.begin(), x.values.end());
             };
             for (size_t i = 0; i < 2; ++i) {
               for (size_t j = 0; j < 2; ++j) append(0, naive_solve(a[i], b[j]));
               append(2, naive_solve(a[0], b[i]));
               append(3, naive_solve(a[i], b[i]));
             }
             return out;
           },
       .tolerance = kTolerance,
       .dtypes = kReal,
       .also_covers = {"select", "squeeze"}});
  add({.op = "solve",
       .variant = "nothing",
       .inputs = {regular({}), {.shape = {3, 0}}, {.shape = {2, 0, 0}}, {.shape = {2, 0, 3}}},
       .f =
           [](Tensors in) {
             return std::vector<Tensor>{solve(in[0], in[1]), solve(in[2], in[3])};
           },
       .reference =
           [](Arrays in) {
             return std::vector<Array>{in[1], in[3]};
           },
       .dtypes = kReal});
}

// Only the triangle that counts, with ones on its diagonal if `unit`.
Dense triangle_of(const Dense& a, bool upper, bool unit) {
  Dense b(a.rows, a.rows);
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t j = 0; j < a.rows; ++j)
      if (i == j || (i < j) == upper) b(i, j) = i == j && unit ? 1 : a(i, j);
  return b;
}

void add_triangular(const Add& add) {
  for (const bool upper : {false, true})
    for (const bool unit : {false, true}) {
      const TriangularOptions left{.upper = upper, .unitriangular = unit},
          right{.upper = upper, .left = false, .unitriangular = unit};
      add({.op = "solve_triangular",
           .variant = std::string(upper ? "upper" : "lower") + (unit ? ", ones on the diagonal" : ""),
           .inputs = {{.shape = {3, 3}, .low = 0.5, .high = 1.5}, {.shape = {2, 3, 2}}},
           .f =
               [=](Tensors in) {
                 return std::vector<Tensor>{solve_triangular(in[0], in[1], left),
                                            solve_triangular(in[0], t(in[1]), right)};
               },
           .reference =
               [=](Arrays in) {
                 const Dense a = triangle_of(matrices_of(in[0])[0], upper, unit);
                 return for_each_matrix(in[1], [&](const Dense& b) {
                   return std::vector<Dense>{naive_solve(a, b), transposed(naive_solve(transposed(a), b))};
                 });
               },
           .tolerance = kTolerance,
           .dtypes = kReal,
           .bad = {{[] {
                      solve_triangular(eye(3), zeros({2, 3}));
                    },
                    "solve_triangular: a right-hand side of shape [2, 3] does not fit"},
                   {[] {
                      solve_triangular(eye(3), zeros({2, 2}), {.left = false});
                    },
                    "its columns must be 3"},
                   {[] { solve_triangular(eye(3), zeros({3})); }, "solve_triangular: the right-hand side must be a"},
                   {[] {
                      solve_triangular(zeros({2, 2}), ones({2, 2}));
                    },
                    "solve_triangular: the matrix is singular: its diagonal has a 0"}}});
    }
}

void add_inverses(const Add& add) {
  add({.op = "inv",
       .inputs = {regular({2})},
       .f = one_in([](const Tensor& a) { return inv(a); }),
       .reference = reference_of([](const Dense& a) { return std::vector<Dense>{naive_solve(a, identity(3))}; }),
       .tolerance = kTolerance,
       .dtypes = kReal,
       .bad = {{[] {
                  inv(ones({2, 2, 2}));
                },
                "inv: matrix [0] of the batch is singular: a pivot is 0"},
               {[] {
                  inv(zeros({2, 3}));
                },
                "inv: the matrices must be square"}}});
  add({.op = "inv",
       .variant = "one element, none",
       .inputs = {{.shape = {1, 1}, .low = 1, .high = 2}, {.shape = {0, 0}}},
       .f =
           [](Tensors in) {
             return std::vector<Tensor>{inv(in[0]), inv(in[1])};
           },
       .reference =
           [](Arrays in) {
             return std::vector<Array>{map_array(in[0], [](double v) { return 1 / v; }), in[1]};
           },
       .dtypes = kReal});
  for (const auto& [variant, m, n] : {std::tuple("square", 3, 3), std::tuple("tall", 4, 2), std::tuple("wide", 2, 4)}) {
    Input a = m == n ? regular({2}) : Input{.shape = {2, m, n}};
    add({.op = "pinv",
         .variant = variant,
         .inputs = {a},
         .f = one_in([](const Tensor& x) { return pinv(x); }),
         .reference = reference_of([](const Dense& x) { return std::vector<Dense>{naive_pinv(x)}; }),
         .tolerance = {.f64 = 1e-11, .f32 = 3e-5},  // the reference's normal equations square the condition
         .dtypes = kReal,
         .bad = {{[] {
                    pinv(zeros({2, 3}), {.rtol = -1});
                  },
                  "pinv: rtol must not be negative, got -1"},
                 {[] {
                    pinv(zeros({2, 3}), {.hermitian = true});
                  },
                  "pinv: the matrices must be square"}}});
    add({.op = "lstsq",
         .variant = variant,
         .inputs = {a, {.shape = {2, m, 2}}},
         .f =
             [tall = m > n](Tensors in) {
               const Lstsq f = lstsq(in[0], in[1]);
               std::vector<Tensor> out{f.solution, f.rank};
               if (tall) out.push_back(f.residuals);
               return out;
             },
         .reference =
             [tall = m > n](Arrays in) {
               const std::vector<Dense> b = matrices_of(in[1]);
               size_t i = 0;
               std::vector<Array> all = for_each_matrix(in[0],
                                                        [&](const Dense& x) {
                                                          const Dense y = times(naive_pinv(x), b[i]),
                                                                      back = times(x, y);
                                                          Dense rank(1, 1), residuals(2, 1);
                                                          rank(0, 0) = double(std::min(x.rows, x.cols));
                                                          for (int64_t r = 0; r < x.rows; ++r)
                                                            for (int64_t c = 0; c < 2; ++c)
                                                              residuals(c, 0) += std::pow(b[i](r, c) - back(r, c), 2);
                                                          ++i;
                                                          std::vector<Dense> out{y, rank};
                                                          if (tall) out.push_back(residuals);
                                                          return out;
                                                        },
                                                        {2});
               all[1].shape = {2};
               return all;
             },
         .tolerance = {.f64 = 1e-11, .f32 = 3e-5},
         .dtypes = kReal,
         .also_covers = {"pinv"},
         .bad = {{[] {
                    lstsq(zeros({3, 2}), zeros({2, 2}));
                  },
                  "lstsq: a right-hand side of shape [2, 2]"},
                 {[] {
                    lstsq(zeros({3, 2}), zeros({3}), {.rcond = -1});
                  },
                  "lstsq: rcond must not be negative"}}});
  }
  add({.op = "pinv",
       .variant = "symmetric",
       .inputs = {{.shape = {3, 3}, .low = -1, .high = 1}},
       .f = one_in([](const Tensor& x) { return pinv(symmetric(x, 3), {.hermitian = true}); }),
       .reference = reference_of([](const Dense& x) { return std::vector<Dense>{naive_pinv(symmetric(x, 3))}; }),
       .tolerance = {.f64 = 1e-11, .f32 = 3e-5},
       .dtypes = kReal});
}

// --- determinants and the exponential --------------------------------------------------------------------------------

void add_functions(const Add& add) {
  const auto each_det = [](const std::function<double(double)>& f) {
    return [f](const Dense& a) {
      Dense y(1, 1);
      y(0, 0) = f(naive_det(a));
      return y;
    };
  };
  const auto flattened = [](std::vector<Array> arrays) {  // [..., 1] to [...]
    for (Array& a : arrays) a.shape.erase(a.shape.ndim() - 1);
    return arrays;
  };
  add({.op = "det",
       .inputs = {regular({2})},
       .f = one_in([](const Tensor& a) { return det(a); }),
       .reference =
           [=](Arrays in) {
             const auto f = each_det([](double d) { return d; });
             return flattened(for_each_matrix(in[0], [&](const Dense& a) { return std::vector<Dense>{f(a)}; }, {0}));
           },
       .tolerance = kTolerance,
       .dtypes = kReal,
       .also_covers = {"det_grad", "inv"},
       .bad = {{[] {
                  det(zeros({2, 3}));
                },
                "det: the matrices must be square"}}});
  add({.op = "det",
       .variant = "singular, nothing",
       .inputs = {{.shape = {3, 3}, .values = {1, 2, 3, 2, 4, 6, 1, 0, 1}}, {.shape = {2, 0, 0}}},
       .f =
           [](Tensors in) {
             return std::vector<Tensor>{det(in[0]), det(in[1])};
           },
       .reference =
           [](Arrays) {
             return std::vector<Array>{{{}, {0}}, {{2}, {1, 1}}};
           },
       .tolerance = kTolerance,
       .dtypes = kReal,
       .order = 1,  // there is no second derivative by an inverse
       .also_covers = {"det_grad"}});
  add({.op = "slogdet",
       .inputs = {regular({2})},
       .f =
           [](Tensors in) {
             const SignLogDet f = slogdet(in[0]);
             return std::vector<Tensor>{f.sign, f.logabsdet};
           },
       .reference =
           [=](Arrays in) {
             const auto sign = each_det([](double d) { return double((d > 0) - (d < 0)); });
             const auto size = each_det([](double d) { return std::log(std::abs(d)); });
             return flattened(for_each_matrix(in[0],
                                              [&](const Dense& a) {
                                                return std::vector<Dense>{sign(a), size(a)};
                                              },
                                              {0, 1}));
           },
       .tolerance = kTolerance,
       .dtypes = kReal,
       .also_covers = {"inv"},
       .bad = {{[] { slogdet(zeros({3})); }, "slogdet: needs a matrix"},
               {[] {
                  const Tensor a = zeros({2, 2}, {.requires_grad = true});
                  grad(slogdet(a).logabsdet, {a});
                },
                "slogdet (derivative): the matrix is singular"}}});
  add({.op = "slogdet",
       .variant = "singular, nothing",
       .inputs = {{.shape = {2, 2}, .values = {1, 2, 2, 4}, .differentiable = false},
                  {.shape = {0, 0}, .differentiable = false}},
       .f =
           [](Tensors in) {
             const SignLogDet f = slogdet(in[0]), none = slogdet(in[1]);
             return std::vector<Tensor>{f.sign, f.logabsdet, none.sign, none.logabsdet};
           },
       .reference =
           [](Arrays) {
             return std::vector<Array>{{{}, {0}}, {{}, {-INFINITY}}, {{}, {1}}, {{}, {0}}};
           },
       .dtypes = kReal,
       .differentiable = false});
  add({.op = "matrix_exp",
       .inputs = {{.shape = {2, 3, 3}, .low = -1, .high = 1}, {.shape = {2, 0, 0}}, {.shape = {1, 1}}},
       .f =
           [](Tensors in) {
             return std::vector<Tensor>{matrix_exp(in[0]), matrix_exp(in[1]), matrix_exp(in[2])};
           },
       .reference =
           [](Arrays in) {
             std::vector<Array> out =
                 for_each_matrix(in[0], [](const Dense& a) { return std::vector<Dense>{naive_exp(a)}; });
             out.push_back(in[1]);
             out.push_back(map_array(in[2], [](double v) { return std::exp(v); }));
             return out;
           },
       .tolerance = kTolerance,
       .dtypes = kReal,
       .bad = {{[] {
                  matrix_exp(zeros({2, 3}));
                },
                "matrix_exp: the matrices must be square"}}});
  add({.op = "matrix_exp",
       .variant = "several halvings",
       .inputs = {{.shape = {3, 3}, .low = 1, .high = 3}},  // nothing cancels in the reference's series
       .f = one_in([](const Tensor& a) { return matrix_exp(a); }),
       .reference = reference_of([](const Dense& a) { return std::vector<Dense>{naive_exp(a)}; }),
       .tolerance = kTolerance,
       .dtypes = kReal});
}

// --- spectra ---------------------------------------------------------------------------------------------------------

void add_eigh(const Add& add) {
  add({.op = "eigh",
       .inputs = {{.shape = {2, 3, 3}}},
       .f =
           [](Tensors in) {
             const Tensor a = symmetric(in[0], 0);
             const Eigh e = eigh(a);
             return std::vector<Tensor>{e.values, e.vectors, eigvalsh(a)};
           },
       .reference = reference_of(
           [](const Dense& x) {
             std::vector<Dense> out = naive_eigh(symmetric(x, 0));
             out.push_back(out[0]);
             return out;
           },
           {0, 2}),
       .tolerance = kTolerance,
       .dtypes = kReal,
       .bad = {{[] {
                  eigh(zeros({2, 3}));
                },
                "eigh: the matrices must be square"},
               {[] { eigh(eye(2) * NAN); }, "eigh: the matrix has an element that is not finite"},
               {[] {
                  eigvalsh(full({2, 1, 1}, INFINITY));
                },
                "eigvalsh: matrix [0] of the batch has an element"}},
       .bench = batch_bench(9)});
  add({.op = "eigh",
       .variant = "one element, none, equal eigenvalues",
       .inputs = {{.shape = {1, 1}}, {.shape = {2, 0, 0}}, {.shape = {2, 2}, .values = {2, 0, 0, 2}}},
       .f =
           [](Tensors in) {
             const Eigh one = eigh(in[0]), none = eigh(in[1]), equal = eigh(in[2]);
             // Of the equal ones, what does not depend on the choice of vectors.
             const Tensor back = matmul(equal.vectors * unsqueeze(equal.values.detach(), -2), t(equal.vectors));
             return std::vector<Tensor>{one.values, one.vectors, none.values, none.vectors, back, sum(equal.values)};
           },
       .reference =
           [](Arrays in) {
             return std::vector<Array>{{{1}, in[0].values}, {{1, 1}, {1}}, {{2, 0}, {}},
                                       {{2, 0, 0}, {}},     in[2],         {{}, {4}}};
           },
       .dtypes = kReal,
       .differentiable = false});
}

void add_svd(const Add& add) {
  for (const auto& [variant, m, n] : {std::tuple("square", 3, 3), std::tuple("tall", 4, 2), std::tuple("wide", 2, 4)})
    add({.op = "svd",
         .variant = variant,
         .inputs = {m == n ? regular({2}) : Input{.shape = {2, m, n}}},
         .f =
             [](Tensors in) {
               const SVD f = svd(in[0]);
               return std::vector<Tensor>{f.u, f.s, f.vh, svdvals(in[0])};
             },
         .reference = reference_of(
             [](const Dense& x) {
               std::vector<Dense> out = naive_svd(x);
               out.push_back(out[1]);
               return out;
             },
             {1, 3}),
         .tolerance = kTolerance,
         .dtypes = kReal,
         .bad = {{[] { svd(zeros({2})); }, "svd: needs a matrix"},
                 {[] {
                    svd(full({2, 2}, NAN));
                  },
                  "svd: the matrix has an element that is not finite"}},
         .bench = batch_bench(20)});
  add({.op = "svd",
       .variant = "nothing",
       .inputs = {{.shape = {3, 0}}, {.shape = {0, 3}}, {.shape = {0, 2, 2}}},
       .f =
           [](Tensors in) {
             const SVD a = svd(in[0]), b = svd(in[1]), c = svd(in[2]);
             return std::vector<Tensor>{a.u, a.s, a.vh, b.u, b.s, b.vh, c.u, c.s, c.vh};
           },
       .reference =
           [](Arrays) {
             return std::vector<Array>{{{3, 0}, {}}, {{0}, {}},       {{0, 0}, {}}, {{0, 0}, {}},   {{0}, {}},
                                       {{0, 3}, {}}, {{0, 2, 2}, {}}, {{0, 2}, {}}, {{0, 2, 2}, {}}};
           },
       .dtypes = kReal});
  add({.op = "matrix_rank",
       .inputs = {{.shape = {3, 3, 3},
                   .values = {1, 2, 3, 2, 4, 6, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}},
                  {.shape = {2, 0}}},
       .f =
           [](Tensors in) {
             return std::vector<Tensor>{matrix_rank(in[0]), matrix_rank(in[1]), matrix_rank(in[0], {.atol = 1.5}),
                                        matrix_rank(in[0], {.rtol = 0.5}),
                                        matrix_rank(select(in[0], 0, 2), {.atol = 2, .hermitian = true})};
           },
       .reference =
           [](Arrays) {
             return std::vector<Array>{{{3}, {2, 0, 3}}, {{}, {0}}, {{3}, {1, 0, 2}}, {{3}, {1, 0, 2}}, {{}, {1}}};
           },
       .dtypes = kReal,
       .differentiable = false,
       .bad = {{[] {
                  matrix_rank(zeros({2, 2}), {.atol = NAN});
                },
                "matrix_rank: atol must not be negative, got nan"}}});
}

// Sums of powers of the eigenvalues are traces of powers; A V - V diag(values) is 0; columns have norm 1.
void add_eig(const Add& add) {
  add({.op = "eig",
       .inputs = {regular({2})},
       .f =
           [](Tensors in) {
             const Eig e = eig(in[0]);
             const Tensor &re = e.values_real, &im = e.values_imag, &vr = e.vectors_real, &vi = e.vectors_imag;
             const Tensor row = unsqueeze(re, -2), imaginary = unsqueeze(im, -2);
             return std::vector<Tensor>{sum(re, {.dim = -1}),
                                        sum(re * re - im * im, {.dim = -1}),
                                        sum(re * re * re - re * im * im * 3, {.dim = -1}),
                                        sum(im, {.dim = -1}),
                                        matmul(in[0], vr) - (vr * row - vi * imaginary),
                                        matmul(in[0], vi) - (vr * imaginary + vi * row),
                                        sum(vr * vr + vi * vi, {.dim = -2})};
           },
       .reference =
           [](Arrays in) {
             const auto trace = [](const Dense& a) {
               Dense sum(1, 1);
               for (int64_t i = 0; i < a.rows; ++i) sum(0, 0) += a(i, i);
               return sum;
             };
             std::vector<Array> out = for_each_matrix(
                 in[0],
                 [&](const Dense& a) {
                   Dense ones(3, 1);
                   ones.values = {1, 1, 1};
                   const Dense square = times(a, a);
                   return std::vector<Dense>{
                       trace(a), trace(square), trace(times(square, a)), Dense(1, 1), Dense(3, 3), Dense(3, 3), ones};
                 },
                 {0, 1, 2, 3, 6});
             for (size_t k = 0; k < 4; ++k) out[k].shape = {2};
             return out;
           },
       .tolerance = {.f64 = 1e-11, .f32 = 1e-4},  // third powers of eigenvalues of 3
       .dtypes = kReal,
       .also_covers = {"solve"},
       .bad = {{[] {
                  eig(zeros({2, 3}));
                },
                "eig: the matrices must be square"},
               {[] {
                  eigvals(full({1, 1}, NAN));
                },
                "eigvals: the matrix has an element that is not finite"}}});
  add({.op = "eig",
       .variant = "vectors, eigvals, nothing",
       .inputs = {regular({}), {.shape = {2, 0, 0}}},
       .f =
           [](Tensors in) {
             const Eig e = eig(in[0]), none = eig(in[1]);
             const Eigvals values = eigvals(in[0]);
             return std::vector<Tensor>{e.vectors_real, e.vectors_imag, values.real * values.real + values.imag,
                                        none.vectors_real, none.values_real};
           },
       .why_no_reference = "the order of eigenvalues is left open; linalg_test compares with PyTorch",
       .tolerance = {.f64 = 1e-11, .f32 = 1e-4},
       .dtypes = kReal});
}

}  // namespace

void add_linalg_cases(const Add& add) {
  add_cholesky(add);
  add_lu(add);
  add_qr(add);
  add_solve(add);
  add_triangular(add);
  add_inverses(add);
  add_functions(add);
  add_eigh(add);
  add_svd(add);
  add_eig(add);
}

}  // namespace tenrec::testing
