// Linear algebra beyond what rows of the case table say: factors of matrices of every kind put together again, against
// PyTorch and SciPy (tools/make_linalg_fixtures.py), equal values and changing ranks, third derivatives, what is not a
// number, batches, layouts, autocast.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/expect_equal.h"
#include "support/files.h"
#include "tenrec/autograd/gradcheck.h"
#include "tenrec/autograd/ops/linalg.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using testing::expect_equal;
using testing::message_of;

double eps_of(DType dtype) {
  return dtype == f64 ? std::numeric_limits<double>::epsilon() : double(std::numeric_limits<float>::epsilon());
}
double size_of_all(const Tensor& x) { return norm(x.to(f64)).item<double>(); }
Tensor one_like(const Tensor& a, int64_t n) { return eye(n, {.dtype = a.dtype()}); }
Tensor scaled_columns(const Tensor& a, const Tensor& s) { return a * unsqueeze(s, -2); }
double far_from_orthonormal(const Tensor& q) { return size_of_all(matmul(t(q), q) - one_like(q, q.size(-1))); }

// --- matrices of every kind ------------------------------------------------------------------------------------------

struct Kind {
  std::string name;
  Tensor a;  // f64
};

Tensor hilbert(int64_t n) {
  const Tensor i = arange(1, n + 1, {.dtype = f64});
  return 1.0 / (unsqueeze(i, 1) + unsqueeze(i, 0) - 1.0);
}

// U diag(s) V^T of random orthonormal columns.
Tensor with_singular_values(int64_t m, int64_t n, const Tensor& s) {
  const int64_t k = s.size(0);
  const Tensor u = qr(randn({m, k}, {.dtype = f64})).q, v = qr(randn({n, k}, {.dtype = f64})).q;
  return matmul(scaled_columns(u, s), t(v));
}

std::vector<Kind> square_kinds() {
  manual_seed(11);
  std::vector<Kind> kinds;
  for (int64_t n : {1, 2, 3, 8, 17, 40, 101}) kinds.push_back({concat("random ", n), randn({n, n}, {.dtype = f64})});
  kinds.push_back({"graded", with_singular_values(20, 20, pow(10.0, linspace(0, -14, 20, {.dtype = f64})))});
  kinds.push_back(
      {"nearly singular",
       with_singular_values(30, 30, cat({ones({29}, {.dtype = f64}), full({1}, 1e-15, {.dtype = f64})}, 0))});
  kinds.push_back({"rank 5", matmul(randn({24, 5}, {.dtype = f64}), randn({5, 24}, {.dtype = f64}))});
  kinds.push_back({"zeros", zeros({19, 19}, {.dtype = f64})});
  kinds.push_back({"ones", ones({33, 33}, {.dtype = f64})});
  kinds.push_back({"identity", eye(18, {.dtype = f64})});
  kinds.push_back({"Hilbert", hilbert(12)});
  kinds.push_back({"orthogonal", qr(randn({25, 25}, {.dtype = f64})).q});
  kinds.push_back({"large numbers", randn({20, 20}, {.dtype = f64}) * 1e15});
  kinds.push_back({"small numbers", randn({20, 20}, {.dtype = f64}) * 1e-15});
  return kinds;
}
std::vector<Kind> all_kinds() {
  std::vector<Kind> kinds = square_kinds();
  kinds.push_back({"tall", randn({50, 7}, {.dtype = f64})});
  kinds.push_back({"wide", randn({20, 45}, {.dtype = f64})});
  kinds.push_back({"row", randn({1, 30}, {.dtype = f64})});
  kinds.push_back({"column", randn({30, 1}, {.dtype = f64})});
  kinds.push_back({"tall of rank 3", matmul(randn({60, 3}, {.dtype = f64}), randn({3, 20}, {.dtype = f64}))});
  kinds.push_back({"wide, graded", with_singular_values(22, 40, pow(10.0, linspace(0, -12, 22, {.dtype = f64})))});
  return kinds;
}

// f(the matrix in f64 and f32, n eps of the dtype times its size).
void with_each(const std::vector<Kind>& kinds, const std::function<void(const Tensor& a, double rounding)>& f) {
  for (const Kind& kind : kinds)
    for (DType dtype : {f64, f32}) {
      SCOPED_TRACE(kind.name + " in " + name(dtype));
      const Tensor a = kind.a.to(dtype);
      f(a, double(std::max(a.size(0), a.size(1))) * eps_of(dtype) * std::max(size_of_all(a), 1e-300));
    }
}

TEST(Linalg, QrPutTogether) {
  with_each(all_kinds(), [](const Tensor& a, double rounding) {
    const QR f = qr(a);
    EXPECT_LE(size_of_all(matmul(f.q, f.r) - a), 4 * rounding);
    EXPECT_LE(far_from_orthonormal(f.q), 10 * double(a.size(0)) * eps_of(a.dtype()));
    EXPECT_TRUE(equal(triu(f.r), f.r));
    EXPECT_TRUE(all(ge(diagonal(f.r), 0)).item<bool>());
  });
}

TEST(Linalg, LuPutTogether) {
  with_each(all_kinds(), [](const Tensor& a, double rounding) {
    const LU f = lu(a);
    EXPECT_LE(size_of_all(matmul(f.p, matmul(f.l, f.u)) - a), 4 * rounding);
    EXPECT_TRUE(equal(tril(f.l), f.l));
    EXPECT_TRUE(equal(triu(f.u), f.u));
    EXPECT_LE(amax(abs(f.l)).item<double>(), 1.0);
    EXPECT_TRUE(equal(matmul(t(f.p), f.p), one_like(a, a.size(0))));
    if (a.size(0) == a.size(1)) {
      const double got = det(a).item<double>(), expected = prod(diagonal(f.u)).item<double>();
      EXPECT_DOUBLE_EQ(std::abs(got), std::abs(expected));
    }
  });
}

TEST(Linalg, CholeskyPutTogether) {
  with_each(square_kinds(), [](const Tensor& a, double rounding) {
    const Tensor spd = matmul(a, t(a)) + one_like(a, a.size(0)) * std::max(size_of_all(a) * rounding, 1e-30);
    const Tensor l = cholesky(spd), upper = cholesky(spd, {.upper = true});
    const double bound = 4 * double(a.size(0)) * eps_of(a.dtype()) * size_of_all(spd);
    EXPECT_LE(size_of_all(matmul(l, t(l)) - spd), bound);
    EXPECT_LE(size_of_all(matmul(t(upper), upper) - spd), bound);
    EXPECT_TRUE(equal(tril(l), l));
  });
}

TEST(Linalg, EighPutTogether) {
  with_each(square_kinds(), [](const Tensor& x, double rounding) {
    const Tensor a = (x + t(x)) * 0.5;
    const Eigh e = eigh(a);
    EXPECT_LE(size_of_all(matmul(scaled_columns(e.vectors, e.values), t(e.vectors)) - a), 4 * rounding);
    EXPECT_LE(far_from_orthonormal(e.vectors), 10 * double(a.size(0)) * eps_of(a.dtype()));
    EXPECT_TRUE(equal(sort(e.values).values, e.values));
    EXPECT_LE(size_of_all(eigvalsh(a) - e.values), 4 * rounding);
    // The upper triangle is not read.
    EXPECT_TRUE(equal(eigh(tril(a)).values, e.values));
  });
}

TEST(Linalg, SvdPutTogether) {
  with_each(all_kinds(), [](const Tensor& a, double rounding) {
    const SVD f = svd(a);
    const double loose = 20 * double(std::max(a.size(0), a.size(1))) * eps_of(a.dtype());
    EXPECT_LE(size_of_all(matmul(scaled_columns(f.u, f.s), f.vh) - a), 10 * rounding);
    EXPECT_LE(far_from_orthonormal(f.u), loose);
    EXPECT_LE(far_from_orthonormal(t(f.vh)), loose);
    EXPECT_TRUE(equal(sort(f.s, 0, true).values, f.s));
    EXPECT_TRUE(all(ge(f.s, 0)).item<bool>());
    EXPECT_LE(size_of_all(svdvals(a) - f.s), 4 * rounding);
  });
}

TEST(Linalg, EigPutTogether) {
  with_each(square_kinds(), [](const Tensor& a, double rounding) {
    const Eig e = eig(a);
    const Tensor re = scaled_columns(e.vectors_real, e.values_real) - scaled_columns(e.vectors_imag, e.values_imag);
    const Tensor im = scaled_columns(e.vectors_real, e.values_imag) + scaled_columns(e.vectors_imag, e.values_real);
    EXPECT_LE(size_of_all(matmul(a, e.vectors_real) - re), 10 * rounding);
    EXPECT_LE(size_of_all(matmul(a, e.vectors_imag) - im), 10 * rounding);
    const Tensor norms = sum(square(e.vectors_real) + square(e.vectors_imag), {.dim = 0});
    EXPECT_LE(size_of_all(norms - 1.0), 10 * double(a.size(0)) * eps_of(a.dtype()));
    // Of the largest component of each, the imaginary part is gone.
    const Tensor at = argmax(square(e.vectors_real) + square(e.vectors_imag), {.dim = 0, .keepdim = true});
    EXPECT_TRUE(all(gt(take_along_dim(e.vectors_real, at, 0), 0)).item<bool>());
    EXPECT_LE(size_of_all(take_along_dim(e.vectors_imag, at, 0)), 10 * eps_of(a.dtype()) * double(a.size(0)));
  });
}

// What the solvers promise: a small residual however ill the matrix is (N. J. Higham, "Accuracy and Stability of
// Numerical Algorithms", 2nd ed., chapter 9).
TEST(Linalg, SolveHasASmallResidual) {
  with_each(square_kinds(), [](const Tensor& a, double rounding) {
    if (matrix_rank(a).item<int64_t>() < a.size(0)) return;
    manual_seed(3);
    const Tensor b = randn({a.size(0), 3}).to(a.dtype()), x = solve(a, b), y = lstsq(a, b).solution;
    EXPECT_LE(size_of_all(matmul(a, x) - b), 10 * rounding * size_of_all(x));
    EXPECT_LE(size_of_all(matmul(a, y) - b), 20 * rounding * size_of_all(y));
    EXPECT_LE(size_of_all(matmul(a, inv(a)) - one_like(a, a.size(0))), 10 * rounding * size_of_all(inv(a)));
  });
}

// inv(hilbert(n)) has whole numbers, which are known: (-1)^(i+j) (i+j-1) C(n+i-1, n-j) C(n+j-1, n-i) C(i+j-2, i-1)^2.
TEST(Linalg, InverseOfTheHilbertMatrix) {
  const auto choose = [](int64_t n, int64_t k) {
    double c = 1;
    for (int64_t i = 1; i <= k; ++i) c = c * double(n - k + i) / double(i);
    return std::round(c);
  };
  const int64_t n = 6;
  const Tensor got = inv(hilbert(n));
  for (int64_t i = 1; i <= n; ++i)
    for (int64_t j = 1; j <= n; ++j) {
      const double expected = ((i + j) % 2 ? -1 : 1) * double(i + j - 1) * choose(n + i - 1, n - j) *
                              choose(n + j - 1, n - i) * std::pow(choose(i + j - 2, i - 1), 2);
      EXPECT_NEAR(got.item<double>(i - 1, j - 1) / expected, 1, 1e-8);  // a condition number of 1.5e7
    }
}

TEST(Linalg, PseudoInverseIsMooreAndPenroses) {
  with_each(all_kinds(), [](const Tensor& a, double rounding) {
    const Tensor p = pinv(a);
    const double bound = 20 * rounding * size_of_all(p), ap = size_of_all(a) * size_of_all(p);
    EXPECT_LE(size_of_all(matmul(matmul(a, p), a) - a),
              bound * size_of_all(a) * std::max(1.0, bound) + 20 * rounding * ap);
    const Tensor left = matmul(a, p), right = matmul(p, a);
    EXPECT_LE(size_of_all(left - t(left)), bound * 4);
    EXPECT_LE(size_of_all(right - t(right)), bound * 4);
  });
}

TEST(Linalg, RankOfWhatHasOne) {
  manual_seed(12);
  for (DType dtype : {f64, f32})
    for (int64_t rank : {0, 1, 4, 20}) {
      const Tensor a = matmul(randn({30, rank}, {.dtype = f64}), randn({rank, 20}, {.dtype = f64})).to(dtype);
      EXPECT_EQ(matrix_rank(a).item<int64_t>(), rank) << name(dtype);
      EXPECT_EQ(lstsq(a, ones({30}, {.dtype = dtype})).rank.item<int64_t>(), rank) << name(dtype);
    }
  EXPECT_EQ(matrix_rank(hilbert(12)).item<int64_t>(), 11);
}

// --- against PyTorch and SciPy ---------------------------------------------------------------------------------------

const Safetensors& fixtures() {
  static const Safetensors file =
      load_safetensors(std::string(TENREC_SOURCE_DIR) + "/tests/fixtures/linalg.safetensors");
  return file;
}

using Tensors = std::vector<Tensor>;
using Loss = std::function<Tensor(const Tensors& xs, const Tensors& ws)>;

Tensors numbered(const std::string& prefix) {
  Tensors all;
  for (int i = 0; fixtures().find(prefix + std::to_string(i)); ++i)
    all.push_back(fixtures().at(prefix + std::to_string(i)));
  return all;
}

Tensor weighted(const Tensors& ys, const Tensors& ws) {
  Tensor total = scalar(0, {.dtype = f64});
  for (size_t i = 0; i < ys.size(); ++i) total = total + sum(ys[i] * ws[i]);
  return total;
}
Tensor squares(const Tensors& ys, const Tensors& ws) {
  Tensors squared;
  for (const Tensor& y : ys) squared.push_back(y * y);
  return weighted(squared, ws);
}

// The script's losses.
const std::vector<std::pair<std::string, Loss>>& cases() {
  static const Loss lu_loss = [](const Tensors& xs, const Tensors& ws) {
    const LU f = lu(xs[0]);
    return weighted({f.l, f.u}, ws);
  };
  static const Loss qr_loss = [](const Tensors& xs, const Tensors& ws) {
    const QR f = qr(xs[0]);
    return squares({f.q, f.r}, ws);
  };
  static const Loss svd_loss = [](const Tensors& xs, const Tensors& ws) {
    const SVD f = svd(xs[0]);
    return squares({f.u, f.vh}, ws) + sum(f.s * ws[2]);
  };
  static const Loss pinv_loss = [](const Tensors& xs, const Tensors& ws) { return weighted({pinv(xs[0])}, ws); };
  static const std::vector<std::pair<std::string, Loss>> all{
      {"cholesky", [](const Tensors& xs, const Tensors& ws) { return weighted({cholesky(xs[0])}, ws); }},
      {"qr_tall", qr_loss},
      {"qr_wide", qr_loss},
      {"lu_square", lu_loss},
      {"lu_tall", lu_loss},
      {"lu_wide", lu_loss},
      {"svd_square", svd_loss},
      {"svd_tall", svd_loss},
      {"svd_wide", svd_loss},
      {"pinv_square", pinv_loss},
      {"pinv_tall", pinv_loss},
      {"pinv_wide", pinv_loss},
      {"eigh",
       [](const Tensors& xs, const Tensors& ws) {
         const Eigh e = eigh(xs[0] + t(xs[0]));
         return sum(e.values * ws[0]) + squares({e.vectors}, {ws[1]});
       }},
      {"eig",
       [](const Tensors& xs, const Tensors& ws) {
         const Eig e = eig(xs[0]);
         const Tensor modulus = square(e.vectors_real) + square(e.vectors_imag);
         return sum(pow(e.values_real, 3) + square(e.values_imag) * 2) + sum(square(modulus) * ws[0]);
       }},
      {"solve", [](const Tensors& xs, const Tensors& ws) { return weighted({solve(xs[0], xs[1])}, ws); }},
      {"solve_triangular",
       [](const Tensors& xs, const Tensors& ws) {
         return weighted({solve_triangular(xs[0], xs[1], {.upper = true, .left = false})}, ws);
       }},
      {"lstsq", [](const Tensors& xs, const Tensors& ws) { return weighted({lstsq(xs[0], xs[1]).solution}, ws); }},
      {"inv", [](const Tensors& xs, const Tensors& ws) { return weighted({inv(xs[0])}, ws); }},
      {"det", [](const Tensors& xs, const Tensors& ws) { return weighted({det(xs[0])}, ws); }},
      {"slogdet", [](const Tensors& xs, const Tensors& ws) { return weighted({slogdet(xs[0]).logabsdet}, ws); }},
      {"matrix_exp", [](const Tensors& xs, const Tensors& ws) { return weighted({matrix_exp(xs[0])}, ws); }},
  };
  return all;
}

TEST(LinalgPyTorch, LossesAndGradients) {
  for (const auto& [name, loss] : cases()) {
    SCOPED_TRACE(name);
    Tensors xs;
    for (const Tensor& x : numbered(name + ".x")) xs.push_back(x.detach().set_requires_grad(true));
    const Tensors expected = numbered(name + ".g");
    ASSERT_GE(xs.size(), 1u);
    ASSERT_EQ(expected.size(), xs.size());
    const Tensor y = loss(xs, numbered(name + ".w"));
    expect_equal("loss", y, fixtures().at(name + ".loss"), 1e-11);
    // Without and with recording: rules may differ.
    const Tensors plain = grad(y, xs, {.retain_graph = true}), recorded = grad(y, xs, {.create_graph = true});
    for (size_t i = 0; i < xs.size(); ++i) {
      // PyTorch leaves eigh's gradient as it comes; through x + x^T it is symmetric either way.
      expect_equal(concat("gradient ", i), plain[i], expected[i], 1e-9);
      expect_equal(concat("recorded gradient ", i), recorded[i], expected[i], 1e-9);
    }
  }
}

TEST(LinalgPyTorch, ExponentialsOfAllSizes) {
  const Tensor x = fixtures().at("expm.x"), expected = fixtures().at("expm.y");
  for (int64_t i = 0; i < x.size(0); ++i) {
    const double size = std::max(1.0, size_of_all(expected[i]));
    EXPECT_LE(size_of_all(matrix_exp(x)[i] - expected[i]) / size, 1e-12) << i;
    EXPECT_LE(size_of_all(matrix_exp(x.to(f32))[i].to(f64) - expected[i]) / size, 1e-4) << i;
  }
}

TEST(LinalgPyTorch, LeastSquaresOfRankTwo) {
  const Lstsq f = lstsq(fixtures().at("rank2.a"), fixtures().at("rank2.b"), {.rcond = 1e-10});
  expect_equal("x", f.solution, fixtures().at("rank2.x"), 1e-12);
  expect_equal("s", f.singular_values, fixtures().at("rank2.s"), 1e-12);
  EXPECT_EQ(f.rank.item<int64_t>(), 2);
}

// --- derivatives -----------------------------------------------------------------------------------------------------

Tensor third_derivative(const std::function<Tensor(const Tensor&)>& f, const Tensor& t) {
  Tensor y = f(t);
  for (int i = 0; i < 3; ++i) y = grad(y, {t}, {.create_graph = true})[0];
  return y;
}

// Of log det(A + t) it is 2 tr((A + t)^-3), whichever way the determinant comes about.
TEST(LinalgDerivatives, ThirdOnes) {
  manual_seed(13);
  const Tensor x = randn({4, 4}, {.dtype = f64}), a = matmul(x, tenrec::t(x)) + eye(4, {.dtype = f64});
  const Tensor at = scalar(0.5, {.dtype = f64, .requires_grad = true});
  const auto shifted = [&](const Tensor& s) { return a + eye(4, {.dtype = f64}) * s; };
  const Tensor inverse = inv(shifted(at.detach()));
  const double expected = 2 * sum(diagonal(matmul(matmul(inverse, inverse), inverse))).item<double>();
  const std::vector<std::pair<const char*, std::function<Tensor(const Tensor&)>>> ways{
      {"slogdet", [&](const Tensor& s) { return slogdet(shifted(s)).logabsdet; }},
      {"det", [&](const Tensor& s) { return log(det(shifted(s))); }},
      {"cholesky", [&](const Tensor& s) { return sum(log(diagonal(cholesky(shifted(s))))) * 2.0; }},
      {"lu", [&](const Tensor& s) { return sum(log(abs(diagonal(lu(shifted(s)).u)))); }},
      {"qr", [&](const Tensor& s) { return sum(log(diagonal(qr(shifted(s)).r))); }},
      {"eigh", [&](const Tensor& s) { return sum(log(eigh(shifted(s)).values)); }},
      {"svd", [&](const Tensor& s) { return sum(log(svd(shifted(s)).s)); }},
      {"eig", [&](const Tensor& s) { return sum(log(eig(shifted(s)).values_real)); }},
  };
  for (const auto& [way, f] : ways) EXPECT_NEAR(third_derivative(f, at).item<double>() / expected, 1, 1e-8) << way;
  // tr(e^{tA}) has tr(A^3 e^{tA}).
  const double exponential =
      third_derivative([&](const Tensor& s) { return sum(diagonal(matrix_exp(x * s))); }, at).item<double>();
  const Tensor cube = matmul(matmul(x, x), x);
  EXPECT_NEAR(exponential, sum(diagonal(matmul(cube, matrix_exp(x * at.detach())))).item<double>(), 1e-8);
}

// Two equal eigenvalues: what does not depend on the choice of vectors in their space has its derivative.
TEST(LinalgDerivatives, EqualEigenvalues) {
  manual_seed(14);
  const Tensor q = qr(randn({4, 4}, {.dtype = f64})).q;
  const Tensor a = matmul(scaled_columns(q, tensor({1., 1., 1., 3.}, {.dtype = f64})), tenrec::t(q));
  const Tensor w = randn({4, 4}, {.dtype = f64});
  const auto projector = [&](std::span<const Tensor> in) {
    const Eigh e = eigh((in[0] + tenrec::t(in[0])) * 0.5);
    const Tensor v = slice(e.vectors, -1, 3);
    return Tensors{sum(matmul(v, tenrec::t(v)) * w) + e.values[3]};
  };
  const Tensor x = a.detach().set_requires_grad(true);
  const GradcheckResult eigenvectors = gradcheck(projector, {x});
  EXPECT_TRUE(eigenvectors.ok) << eigenvectors.message;
  // And where it has none, it is finite all the same.
  const Tensor same = eye(3, {.dtype = f64}).detach().set_requires_grad(true);
  const Tensor da = grad(sum(eigh(same).vectors * randn({3, 3}, {.dtype = f64})), {same})[0];
  EXPECT_TRUE(all(isfinite(da)).item<bool>());
  const Tensor ds = grad(sum(svd(same).u * randn({3, 3}, {.dtype = f64})), {same})[0];
  EXPECT_TRUE(all(isfinite(ds)).item<bool>());
}

// The derivative of the sum of singular values is U V^T, equal ones or not.
TEST(LinalgDerivatives, NuclearNorm) {
  manual_seed(15);
  for (const Tensor& a : {qr(randn({5, 3}, {.dtype = f64})).q, randn({3, 5}, {.dtype = f64})}) {
    const Tensor x = a.detach().set_requires_grad(true);
    const SVD f = svd(a);
    expect_equal("U V^T", grad(sum(svdvals(x)), {x})[0], matmul(f.u, f.vh), 1e-13);
  }
}

// Ranks n - 1 and n - 2: the cofactors are a matrix of rank 1 and nothing.
TEST(LinalgDerivatives, DeterminantOfASingularMatrix) {
  manual_seed(16);
  for (int64_t rank : {4, 3}) {
    const Tensor x =
        matmul(randn({5, rank}, {.dtype = f64}), randn({rank, 5}, {.dtype = f64})).detach().set_requires_grad(true);
    const GradcheckResult result =
        gradcheck([](std::span<const Tensor> in) { return Tensors{det(in[0])}; }, {x}, {.atol = 1e-6, .rtol = 1e-5});
    EXPECT_TRUE(result.ok) << result.message;
  }
  const Tensor x = tensor({{1., 2., 3.}, {2., 4., 6.}, {1., 0., 1.}}, {.dtype = f64, .requires_grad = true});
  const Tensor d = grad(det(x), {x}, {.create_graph = true})[0];
  EXPECT_CONTAINS(message_of<NumericError>([&] { grad(sum(d), {x}); }),
                  "det (second derivative): the matrix is singular");
}

// Full rank is not needed where the rank stays.
TEST(LinalgDerivatives, PseudoInverseOfConstantRank) {
  manual_seed(17);
  const Tensor u = randn({5, 2}, {.dtype = f64}).set_requires_grad(true),
               v = randn({2, 4}, {.dtype = f64}).set_requires_grad(true),
               b = randn({5, 2}, {.dtype = f64}).set_requires_grad(true);
  const auto f = [](std::span<const Tensor> in) {
    const Tensor a = matmul(in[0], in[1]);
    return Tensors{pinv(a, {.rtol = 1e-6}), lstsq(a, in[2], {.rcond = 1e-6}).solution};
  };
  const GradcheckResult first = gradcheck(f, {u, v, b});
  EXPECT_TRUE(first.ok) << first.message;
}

// --- what is no number, batches, layouts, dtypes ---------------------------------------------------------------------

TEST(LinalgEdges, NanIsAnErrorOrComesOut) {
  const Tensor a = index_put(eye(20, {.dtype = f64}), {3, 4}, NAN), b = ones({20, 2}, {.dtype = f64});
  for (const auto& op : std::vector<std::function<void()>>{
           [&] { eigh(tenrec::t(a)); }, [&] { eigvalsh(a); }, [&] { svd(a); }, [&] { svdvals(a); }, [&] { eig(a); },
           [&] { eigvals(a); }, [&] { pinv(a); }, [&] { matrix_rank(a); }, [&] { lstsq(a, b); }})
    EXPECT_CONTAINS(message_of<NumericError>(op), "not finite");
  EXPECT_CONTAINS(message_of<NumericError>([&] { cholesky(tenrec::t(a)); }), "order 5 is not positive");
  for (const Tensor& y : {solve(a, b), inv(a), qr(a).r, lu(a).u, det(a), slogdet(a).logabsdet, matrix_exp(a)})
    EXPECT_TRUE(any(isnan(y)).item<bool>());
  EXPECT_TRUE(all(isnan(matrix_exp(full({2, 2}, INFINITY)))).item<bool>());
}

TEST(LinalgEdges, ErrorsNameThePlaceInTheBatch) {
  Tensor batch = clone(expand(eye(2), {2, 3, 2, 2}));
  const NoGrad off;
  fill_(batch[1][0], -1);
  EXPECT_CONTAINS(message_of<NumericError>([&] { cholesky(batch); }),
                  "cholesky: matrix [1, 0] of the batch is not positive definite: its leading minor of order 1");
  EXPECT_CONTAINS(message_of<NumericError>([&] {
                    solve(batch, ones({2, 1}));
                  }),
                  "solve: matrix [1, 0] of the batch is singular");
}

// A matrix alone, at any place of a batch, and however it lies: the same bits.
TEST(LinalgEdges, NeighboursAndLayoutDoNotMatter) {
  manual_seed(18);
  for (DType dtype : {f64, f32}) {
    const Tensor batch = randn({5, 21, 21}).to(dtype), b = randn({5, 21, 2}).to(dtype);
    const auto results = [](const Tensor& a, const Tensor& right) {
      const Tensor spd = matmul(a, t(a)) + eye(21, {.dtype = a.dtype()});
      const SVD f = svd(a);
      const Eig e = eig(a);
      return Tensors{solve(a, right),
                     inv(a),
                     cholesky(spd),
                     qr(a).q,
                     f.u,
                     f.vh,
                     eigh(a).vectors,
                     e.vectors_real,
                     lu(a).u,
                     det(a),
                     matrix_exp(a * 3.0),
                     solve_triangular(a, right)};
    };
    const Tensors together = results(batch, b);
    for (int64_t i = 0; i < 5; ++i) {
      const Tensors alone = results(slice(batch, 0, i, i + 1), slice(b, 0, i, i + 1));
      const Tensors turned = results(t(clone(t(slice(batch, 0, i, i + 1)))), slice(b, 0, i, i + 1));
      for (size_t k = 0; k < alone.size(); ++k) {
        EXPECT_TRUE(equal(together[k][i], alone[k][0]))
            << "result " << k << " of matrix " << i << " in " << name(dtype);
        EXPECT_TRUE(equal(turned[k], alone[k])) << "result " << k << " of matrix " << i << ", turned";
      }
    }
  }
}

TEST(LinalgEdges, EigenvaluesThatAreComplex) {
  const Eig e = eig(tensor({{0., -2.}, {2., 0.}}, {.dtype = f64}));
  expect_equal("real", e.values_real, zeros({2}, {.dtype = f64}), 1e-15);
  expect_equal("imaginary", e.values_imag, tensor({2., -2.}, {.dtype = f64}), 1e-15);
  EXPECT_TRUE(equal(select(e.vectors_imag, 1, 0), -select(e.vectors_imag, 1, 1)));
}

TEST(LinalgEdges, AutocastWorksInF32) {
  const Autocast scope(bf16);
  const Tensor a = eye(3, {.dtype = bf16}) * 2.0, b = ones({3, 1}, {.dtype = f16});
  EXPECT_EQ(solve(a, b).dtype(), f32);
  EXPECT_EQ(cholesky(a).dtype(), f32);
  EXPECT_EQ(svd(a).u.dtype(), f32);
  EXPECT_EQ(eigh(a).values.dtype(), f32);
  EXPECT_EQ(solve(a.to(f64), b.to(f64)).dtype(), f64);
}

TEST(LinalgEdges, ATransposedSolveKeepsItsFactorsForOnePass) {
  manual_seed(19);
  const Tensor a = randn({6, 6}, {.dtype = f64}).set_requires_grad(true), b = randn({6}, {.dtype = f64});
  const Tensor x = solve(a, b), w = randn({6}, {.dtype = f64});
  const Tensor da = grad(sum(x * w), {a})[0];
  const Tensor u = solve(tenrec::t(a.detach()), w);
  expect_equal("-u x^T", da, -(unsqueeze(u, 1) * unsqueeze(x.detach(), 0)), 1e-12);
}

}  // namespace
}  // namespace tenrec
