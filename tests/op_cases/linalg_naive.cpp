// Linear algebra from the definitions, for matrices of a few rows.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "op_cases/linalg_cases.h"

namespace tenrec::testing {
namespace {

void swap_rows(Dense& a, int64_t i, int64_t k) {
  for (int64_t j = 0; j < a.cols; ++j) std::swap(a(i, j), a(k, j));
}

int64_t largest_below(const Dense& a, int64_t j) {
  int64_t best = j;
  for (int64_t i = j + 1; i < a.rows; ++i)
    if (std::abs(a(i, j)) > std::abs(a(best, j))) best = i;
  return best;
}

double dot_columns(const Dense& a, int64_t i, const Dense& b, int64_t j) {
  double sum = 0;
  for (int64_t k = 0; k < a.rows; ++k) sum += a(k, i) * b(k, j);
  return sum;
}

// Columns i and j turned by the angle whose cosine and sine are given.
void rotate_columns(Dense& a, int64_t i, int64_t j, double c, double s) {
  for (int64_t k = 0; k < a.rows; ++k) {
    const double x = a(k, i), y = a(k, j);
    a(k, i) = c * x - s * y;
    a(k, j) = s * x + c * y;
  }
}

// The rotation that makes the off-diagonal element of [[p, q], [q, r]] zero.
std::pair<double, double> rotation(double p, double q, double r) {
  if (q == 0) return {1, 0};
  const double theta = (r - p) / (2 * q);
  const double t = (theta < 0 ? -1 : 1) / (std::abs(theta) + std::sqrt(1 + theta * theta));
  const double c = 1 / std::sqrt(1 + t * t);
  return {c, t * c};
}

Dense columns_in_order(const Dense& a, const std::vector<int64_t>& order) {
  Dense b(a.rows, int64_t(order.size()));
  for (int64_t j = 0; j < b.cols; ++j)
    for (int64_t i = 0; i < a.rows; ++i) b(i, j) = a(i, order[size_t(j)]);
  return b;
}

// The first of the largest elements of each column becomes positive; `with` has its rows turned likewise.
void fix_signs(Dense& a, Dense* with) {
  for (int64_t j = 0; j < a.cols; ++j) {
    int64_t best = 0;
    for (int64_t i = 1; i < a.rows; ++i)
      if (std::abs(a(i, j)) > std::abs(a(best, j))) best = i;
    if (a(best, j) >= 0) continue;
    for (int64_t i = 0; i < a.rows; ++i) a(i, j) = -a(i, j);
    for (int64_t i = 0; with && i < with->cols; ++i) (*with)(j, i) = -(*with)(j, i);
  }
}

Shape batch_of(const Array& a) {
  Shape batch;
  for (int64_t d = 0; d + 2 < a.shape.ndim(); ++d) batch.push_back(a.shape[d]);
  return batch;
}

}  // namespace

Dense transposed(const Dense& a) {
  Dense b(a.cols, a.rows);
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t j = 0; j < a.cols; ++j) b(j, i) = a(i, j);
  return b;
}

Dense times(const Dense& a, const Dense& b) {
  Dense c(a.rows, b.cols);
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t j = 0; j < b.cols; ++j)
      for (int64_t k = 0; k < a.cols; ++k) c(i, j) += a(i, k) * b(k, j);
  return c;
}

Dense identity(int64_t n) {
  Dense a(n, n);
  for (int64_t i = 0; i < n; ++i) a(i, i) = 1;
  return a;
}

Dense naive_solve(Dense a, Dense b) {
  for (int64_t j = 0; j < a.rows; ++j) {
    const int64_t p = largest_below(a, j);
    swap_rows(a, j, p);
    swap_rows(b, j, p);
    for (int64_t i = 0; i < a.rows; ++i) {
      if (i == j) continue;
      const double factor = a(i, j) / a(j, j);
      for (int64_t k = j; k < a.cols; ++k) a(i, k) -= factor * a(j, k);
      for (int64_t k = 0; k < b.cols; ++k) b(i, k) -= factor * b(j, k);
    }
  }
  for (int64_t i = 0; i < b.rows; ++i)
    for (int64_t k = 0; k < b.cols; ++k) b(i, k) /= a(i, i);
  return b;
}

Dense naive_cholesky(const Dense& a) {
  Dense l(a.rows, a.rows);
  for (int64_t j = 0; j < a.rows; ++j)
    for (int64_t i = j; i < a.rows; ++i) {
      double sum = a(i, j);
      for (int64_t k = 0; k < j; ++k) sum -= l(i, k) * l(j, k);
      l(i, j) = i == j ? std::sqrt(sum) : sum / l(j, j);
    }
  return l;
}

std::vector<Dense> naive_lu(const Dense& a) {
  const int64_t m = a.rows, k = std::min(m, a.cols);
  Dense u = a, l(m, k), p = identity(m);  // p: rows as they come to stand
  for (int64_t j = 0; j < k; ++j) {
    const int64_t best = largest_below(u, j);
    swap_rows(u, j, best);
    swap_rows(l, j, best);
    swap_rows(p, j, best);
    l(j, j) = 1;
    for (int64_t i = j + 1; i < m; ++i) {
      l(i, j) = u(i, j) / u(j, j);
      for (int64_t c = j; c < a.cols; ++c) u(i, c) -= l(i, j) * u(j, c);
    }
  }
  Dense top(k, a.cols);
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = i; j < a.cols; ++j) top(i, j) = u(i, j);
  return {transposed(p), l, top};
}

std::vector<Dense> naive_qr(const Dense& a) {
  const int64_t k = std::min(a.rows, a.cols);
  Dense q(a.rows, k);
  for (int64_t j = 0; j < k; ++j) {
    for (int64_t i = 0; i < a.rows; ++i) q(i, j) = a(i, j);
    for (int pass = 0; pass < 2; ++pass)
      for (int64_t before = 0; before < j; ++before) {
        const double along = dot_columns(q, before, q, j);
        for (int64_t i = 0; i < a.rows; ++i) q(i, j) -= along * q(i, before);
      }
    const double size = std::sqrt(dot_columns(q, j, q, j));
    for (int64_t i = 0; i < a.rows; ++i) q(i, j) /= size;
  }
  Dense r = times(transposed(q), a);
  for (int64_t i = 0; i < r.rows; ++i)
    for (int64_t j = 0; j < i; ++j) r(i, j) = 0;
  return {q, r};
}

std::vector<Dense> naive_eigh(Dense a) {
  const int64_t n = a.rows;
  Dense v = identity(n);
  for (int sweep = 0; sweep < 30; ++sweep)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = i + 1; j < n; ++j) {
        const auto [c, s] = rotation(a(i, i), a(i, j), a(j, j));
        rotate_columns(a, i, j, c, s);
        a = transposed(a);
        rotate_columns(a, i, j, c, s);
        rotate_columns(v, i, j, c, s);
      }
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t x, int64_t y) { return a(x, x) < a(y, y); });
  Dense values(n, 1), vectors = columns_in_order(v, order);
  for (int64_t i = 0; i < n; ++i) values(i, 0) = a(order[size_t(i)], order[size_t(i)]);
  fix_signs(vectors, nullptr);
  return {values, vectors};
}

// M. R. Hestenes, "Inversion of matrices by biorthogonalization and related results" (1958): rotations from the right
// until the columns are orthogonal.
std::vector<Dense> naive_svd(const Dense& a) {
  const bool wide = a.rows < a.cols;
  Dense w = wide ? transposed(a) : a, v = identity(w.cols);
  const int64_t n = w.cols;
  for (int sweep = 0; sweep < 30; ++sweep)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = i + 1; j < n; ++j) {
        const auto [c, s] = rotation(dot_columns(w, i, w, i), dot_columns(w, i, w, j), dot_columns(w, j, w, j));
        rotate_columns(w, i, j, c, s);
        rotate_columns(v, i, j, c, s);
      }
  std::vector<double> size(static_cast<size_t>(n));
  for (int64_t j = 0; j < n; ++j) size[size_t(j)] = std::sqrt(dot_columns(w, j, w, j));
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t x, int64_t y) { return size[size_t(x)] > size[size_t(y)]; });
  Dense left = columns_in_order(w, order), right = columns_in_order(v, order), s(n, 1);
  for (int64_t j = 0; j < n; ++j) {
    s(j, 0) = size[size_t(order[size_t(j)])];
    for (int64_t i = 0; i < left.rows; ++i) left(i, j) /= s(j, 0);
  }
  Dense u = wide ? right : left, vh = transposed(wide ? left : right);
  fix_signs(u, &vh);
  return {u, s, vh};
}

double naive_det(const Dense& a) {
  if (a.rows == 0) return 1;
  double sum = 0;
  for (int64_t j = 0; j < a.cols; ++j) {
    Dense minor(a.rows - 1, a.cols - 1);
    for (int64_t i = 1; i < a.rows; ++i)
      for (int64_t k = 0; k < a.cols; ++k)
        if (k != j) minor(i - 1, k - (k > j)) = a(i, k);
    sum += (j % 2 ? -1 : 1) * a(0, j) * naive_det(minor);
  }
  return sum;
}

Dense naive_exp(const Dense& a) {
  Dense y = identity(a.rows), term = y;
  for (int k = 1; k < 100; ++k) {
    term = times(term, a);
    for (double& x : term.values) x /= k;
    for (size_t i = 0; i < y.values.size(); ++i) y.values[i] += term.values[i];
  }
  return y;
}

Dense naive_pinv(const Dense& a) {
  const Dense at = transposed(a);
  if (a.rows >= a.cols) return naive_solve(times(at, a), at);
  return transposed(naive_solve(times(a, at), a));
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

std::vector<Array> for_each_matrix(const Array& a, const PerMatrix& f, const std::vector<size_t>& vectors) {
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

Reference reference_of_matrices(const PerMatrix& f, const std::vector<size_t>& vectors) {
  return [=](std::span<const Array> in) { return for_each_matrix(in[0], f, vectors); };
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

Input regular(const Shape& batch) {
  Input input{.shape = batch};
  const double one[] = {0.5, -2, 1, 3, 0.25, -0.5, 1, 1.5, 2.5};
  for (int64_t b = 0; b < checked_numel(batch); ++b)
    for (int i = 0; i < 9; ++i) input.values.push_back(one[i] + 0.25 * double(b) * (i % 4 == 0 ? 1 : -0.5));
  input.shape.push_back(3);
  input.shape.push_back(3);
  return input;
}

Bench batch_bench(double flops_per_matrix_cube) {
  return {.shapes = {{64, 24, 24}, {1, 256, 256}},
          .inputs = [](const Shape& s) { return std::vector<Input>{{.shape = s, .low = -0.1, .high = 0.1}}; },
          .flops = [=](const Shape& s) { return flops_per_matrix_cube * double(s[0]) * std::pow(double(s[1]), 3); }};
}

}  // namespace tenrec::testing
