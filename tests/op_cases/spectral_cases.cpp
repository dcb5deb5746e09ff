// Determinants, the exponential, and spectra.
#include "op_cases/linalg_cases.h"

#include <algorithm>
#include <cmath>

#include "op_cases/layout_cases.h"

namespace tenrec::testing {
namespace {

using Arrays = std::span<const Array>;
using Tensors = std::span<const Tensor>;

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
       .tolerance = kLinalgTolerance,
       .dtypes = kRealTypes,
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
       .tolerance = kLinalgTolerance,
       .dtypes = kRealTypes,
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
       .tolerance = kLinalgTolerance,
       .dtypes = kRealTypes,
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
       .dtypes = kRealTypes,
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
       .tolerance = kLinalgTolerance,
       .dtypes = kRealTypes,
       .bad = {{[] {
                  matrix_exp(zeros({2, 3}));
                },
                "matrix_exp: the matrices must be square"}}});
  add({.op = "matrix_exp",
       .variant = "several halvings",
       .inputs = {{.shape = {3, 3}, .low = 1, .high = 3}},  // nothing cancels in the reference's series
       .f = one_in([](const Tensor& a) { return matrix_exp(a); }),
       .reference = reference_of_matrices([](const Dense& a) { return std::vector<Dense>{naive_exp(a)}; }),
       .tolerance = kLinalgTolerance,
       .dtypes = kRealTypes});
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
       .reference = reference_of_matrices(
           [](const Dense& x) {
             std::vector<Dense> out = naive_eigh(symmetric(x, 0));
             out.push_back(out[0]);
             return out;
           },
           {0, 2}),
       .tolerance = kLinalgTolerance,
       .dtypes = kRealTypes,
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
       .dtypes = kRealTypes,
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
         .reference = reference_of_matrices(
             [](const Dense& x) {
               std::vector<Dense> out = naive_svd(x);
               out.push_back(out[1]);
               return out;
             },
             {1, 3}),
         .tolerance = kLinalgTolerance,
         .dtypes = kRealTypes,
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
       .dtypes = kRealTypes});
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
       .dtypes = kRealTypes,
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
       .dtypes = kRealTypes,
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
       .dtypes = kRealTypes});
}

}  // namespace

void add_spectral_cases(const Add& add) {
  add_functions(add);
  add_eigh(add);
  add_svd(add);
  add_eig(add);
}

}  // namespace tenrec::testing
