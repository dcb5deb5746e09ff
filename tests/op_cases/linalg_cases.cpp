// Factorizations and solvers.
#include "op_cases/linalg_cases.h"

#include <algorithm>
#include <cmath>

#include "op_cases/layout_cases.h"

namespace tenrec::testing {
namespace {

using Arrays = std::span<const Array>;
using Tensors = std::span<const Tensor>;

// --- factorizations --------------------------------------------------------------------------------------------------

void add_cholesky(const Add& add) {
  add({.op = "cholesky",
       .inputs = {{.shape = {2, 3, 3}, .low = -1, .high = 1}},
       .f =
           [](Tensors in) {
             const Tensor a = symmetric(in[0], 3);
             return std::vector<Tensor>{cholesky(a), cholesky(a, {.upper = true})};
           },
       .reference = reference_of_matrices([](const Dense& x) {
         const Dense l = naive_cholesky(symmetric(x, 3));
         return std::vector<Dense>{l, transposed(l)};
       }),
       .tolerance = kLinalgTolerance,
       .dtypes = kRealTypes,
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
       .dtypes = kRealTypes});
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
         .reference = reference_of_matrices(naive_lu),
         .tolerance = kLinalgTolerance,
         .dtypes = kRealTypes,
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
       .tolerance = kLinalgTolerance,
       .dtypes = kRealTypes,
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
       .dtypes = kRealTypes,
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
         .reference = reference_of_matrices(naive_qr),
         .tolerance = kLinalgTolerance,
         .dtypes = kRealTypes,
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
       .dtypes = kRealTypes});
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
       .tolerance = kLinalgTolerance,
       .dtypes = kRealTypes,
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
       .tolerance = kLinalgTolerance,
       .dtypes = kRealTypes,
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
       .dtypes = kRealTypes});
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
           .tolerance = kLinalgTolerance,
           .dtypes = kRealTypes,
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
       .reference =
           reference_of_matrices([](const Dense& a) { return std::vector<Dense>{naive_solve(a, identity(3))}; }),
       .tolerance = kLinalgTolerance,
       .dtypes = kRealTypes,
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
       .dtypes = kRealTypes});
  for (const auto& [variant, m, n] : {std::tuple("square", 3, 3), std::tuple("tall", 4, 2), std::tuple("wide", 2, 4)}) {
    Input a = m == n ? regular({2}) : Input{.shape = {2, m, n}};
    add({.op = "pinv",
         .variant = variant,
         .inputs = {a},
         .f = one_in([](const Tensor& x) { return pinv(x); }),
         .reference = reference_of_matrices([](const Dense& x) { return std::vector<Dense>{naive_pinv(x)}; }),
         .tolerance = {.f64 = 1e-11, .f32 = 3e-5},  // the reference's normal equations square the condition
         .dtypes = kRealTypes,
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
         .dtypes = kRealTypes,
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
       .reference =
           reference_of_matrices([](const Dense& x) { return std::vector<Dense>{naive_pinv(symmetric(x, 3))}; }),
       .tolerance = {.f64 = 1e-11, .f32 = 3e-5},
       .dtypes = kRealTypes});
}

}  // namespace

void add_linalg_cases(const Add& add) {
  add_cholesky(add);
  add_lu(add);
  add_qr(add);
  add_solve(add);
  add_triangular(add);
  add_inverses(add);
  add_spectral_cases(add);
}

}  // namespace tenrec::testing
