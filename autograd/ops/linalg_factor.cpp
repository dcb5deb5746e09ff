// Cholesky, LU and QR.
#include <utility>

#include "tenrec/autograd/ops/compare.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/index.h"
#include "tenrec/autograd/ops/join.h"
#include "tenrec/autograd/ops/linalg_impl.h"
#include "tenrec/autograd/ops/matmul.h"

namespace tenrec {
namespace {

using namespace detail;

// --- Cholesky --------------------------------------------------------------------------------------------------------

Tensor cholesky_forward(const Tensor& a, bool upper) {
  const NoGrad off;
  const Tensor y = copy_rows(a), info = empty_info(batch_of(a), a);
  if (a.numel() == 0) return y;
  dispatch("cholesky", a.device(), [&](auto device) {  // row by row, the lower triangle is the upper one by columns
    kernels::cholesky(device, matrices(a), !upper, view(y).data, view(info).template as<int32_t>());
  });
  check_info("cholesky", info, [](int64_t order) {
    return concat("is not positive definite: its leading minor of order ", order, " is not positive");
  });
  return upper ? triu(y) : tril(y);
}

// --- LU --------------------------------------------------------------------------------------------------------------

// The rows' order that pivots [..., k] bring about: row i of the result was row order[i], of m. i64, made on the host.
Tensor order_of(const Tensor& pivots, int64_t m, bool inverse) {
  const Tensor host = contiguous(pivots.detach().to(kCpu));
  const int64_t k = pivots.shape().back(), count = checked_numel(batch_of(pivots, 1));
  const auto* swaps = host.data<int32_t>();
  std::vector<int64_t> orders(size_t(count * m));
  std::vector<int64_t> order(static_cast<size_t>(m));
  for (int64_t b = 0; b < count; ++b) {
    for (int64_t i = 0; i < m; ++i) order[size_t(i)] = i;
    for (int64_t i = 0; i < k; ++i) std::swap(order[size_t(i)], order[size_t(swaps[b * k + i] - 1)]);
    for (int64_t i = 0; i < m; ++i) {
      const int64_t from = inverse ? order[size_t(i)] : i, to = inverse ? i : order[size_t(i)];
      orders[size_t(b * m + from)] = to;
    }
  }
  return from_data(orders.data(), with_dims(batch_of(pivots, 1), {m}), i64).to(pivots.device());
}

Tensor rows_from(const Tensor& x, int64_t begin) { return slice(x, -2, begin); }
Tensor first_rows(const Tensor& x, int64_t count) { return slice(x, -2, 0, count); }
Tensor cols_from(const Tensor& x, int64_t begin) { return slice(x, -1, begin); }
Tensor first_cols(const Tensor& x, int64_t count) { return slice(x, -1, 0, count); }

Tensor lower_factor(const Tensor& lu) {
  const int64_t k = std::min(rows_of(lu), cols_of(lu));
  return tril(first_cols(lu, k), -1) + eye(rows_of(lu), k, {.dtype = lu.dtype(), .device = lu.device()});
}
Tensor upper_factor(const Tensor& lu) { return triu(first_rows(lu, std::min(rows_of(lu), cols_of(lu)))); }

// The gradient of B = L U from those of both, without pivots. With B's square block B1 = L1 U1 and X = L1^-1 dB1 U1^-1,
// dL1 = L1 tril(X, -1) and dU1 = triu(X) U1; L2 = B2 U1^-1 or U2 = L1^-1 B2 is beside it.
Tensor unpivoted_grad(const Tensor& lu, const Tensor& dlu) {
  const int64_t m = rows_of(lu), n = cols_of(lu), k = std::min(m, n);
  const Tensor l = lower_factor(lu), u = upper_factor(lu), l1 = first_rows(l, k), u1 = first_cols(u, k);
  Tensor dl = tril(first_rows(first_cols(dlu, k), k), -1), du = triu(first_cols(first_rows(dlu, k), k)), beside;
  if (m > n) {
    beside = solve_triangular_unchecked(t(u1), rows_from(dlu, k), {.left = false});
    du = du - triu(matmul(t(rows_from(l, k)), beside));
  } else if (n > m) {
    beside = solve_triangular_unchecked(t(l1), cols_from(dlu, k), {.upper = true, .unitriangular = true});
    dl = dl - tril(matmul(beside, t(cols_from(u, k))), -1);
  }
  const Tensor inner = tril(matmul(t(l1), dl), -1) + triu(matmul(du, t(u1)));
  const Tensor half = solve_triangular_unchecked(t(l1), inner, {.upper = true, .unitriangular = true});
  const Tensor square = solve_triangular_unchecked(t(u1), half, {.left = false});
  return m == n ? square : cat({square, beside}, m > n ? -2 : -1);
}

// --- QR --------------------------------------------------------------------------------------------------------------

QR qr_forward(const Tensor& a) {
  const NoGrad off;
  const Tensor q = copy_columns(a), r = empty_matrices(batch_of(a), {cols_of(a), cols_of(a)}, a);
  if (a.numel() == 0) return {contiguous(t(q)), zeros_like(r)};
  dispatch("qr", a.device(), [&](auto device) { kernels::qr(device, matrices(a), view(q).data, view(r).data); });
  const Tensor diagonal_of_r = diagonal(r, 0, -2, -1);
  const Tensor signs = where(lt(diagonal_of_r, 0), -ones_like(diagonal_of_r), ones_like(diagonal_of_r));
  return {contiguous(t(q) * as_row(signs)), contiguous(t(r) * as_column(signs))};
}

// At least as many rows as columns. The rule: Walter and Lehmann (2010).
QR qr_tall(const Tensor& a) {
  const QR f = qr_forward(a);
  const std::vector<Tensor> out =
      record("qr", {a}, std::vector<Tensor>{f.q, f.r}, save_output, [](const Saved& s, const Cotangents& dys, Needs) {
        const Tensor q = s.output(0), r = s.output(1), dq = dys[0], dr = dys[1];
        if (r.numel() > 0) check_diagonal("qr", r, "has dependent columns: its QR factors have no derivative");
        const Tensor inner = mirror_upper(matmul(dr, t(r)) - matmul(t(q), dq));
        return Grads{solve_triangular_unchecked(t(r), dq + matmul(q, inner), {.left = false})};
      });
  return {out[0], out[1]};
}

}  // namespace

Tensor cholesky(const Tensor& a, const CholeskyOptions& options) {
  if (is_autocast_enabled()) [[unlikely]]
    return autocast_f32(cholesky, a, options);
  check_square("cholesky", a);
  return record("cholesky", {a}, cholesky_forward(a, options.upper), save_output,
                [upper = options.upper](const Saved& s, const Tensor& dy, Needs) {
                  const Tensor y = s.output(), l = upper ? t(y) : y, dl = upper ? t(dy) : dy;
                  // dL = L phi(L^-1 dA L^-T), phi the lower triangle with half of the diagonal (Murray 2016).
                  const Tensor inner = symmetrized(scale_diagonal(tril(matmul(t(l), dl)), 0.5));
                  const Tensor half = solve_triangular_unchecked(t(l), inner, {.upper = true});
                  return Grads{solve_triangular_unchecked(l, half, {.left = false})};
                });
}

LUFactors lu_factor(const Tensor& a) {
  if (is_autocast_enabled()) [[unlikely]]
    return autocast_f32(lu_factor, a);
  check_matrix("lu_factor", a);
  const Factored f = factor(a);
  const std::vector<Tensor> out =
      record("lu_factor", {a}, std::vector<Tensor>{clone(t(f.lu)), f.pivots}, save_output,
             [](const Saved& s, const Cotangents& dys, Needs) {
               const Tensor lu = s.output(0);
               if (lu.numel() == 0) return Grads{zeros_like(lu)};
               const Tensor back = order_of(s.output(1), rows_of(lu), true);
               return Grads{take_along_dim(unpivoted_grad(lu, dys[0]), as_column(back), -2)};
             });
  return {out[0], out[1]};
}

LU lu(const Tensor& a) {
  if (is_autocast_enabled()) [[unlikely]]
    return autocast_f32(lu, a);
  check_matrix("lu", a);
  const LUFactors f = lu_factor(a);
  const Tensor order = order_of(f.pivots, rows_of(a), false);
  const Tensor rows = arange(rows_of(a), {.dtype = i64, .device = a.device()});
  return {eq(as_column(rows), as_row(order)).to(a.dtype()), lower_factor(f.lu), upper_factor(f.lu)};
}

QR qr(const Tensor& a) {
  if (is_autocast_enabled()) [[unlikely]]
    return autocast_f32(qr, a);
  check_matrix("qr", a);
  const int64_t m = rows_of(a);
  if (m >= cols_of(a)) return qr_tall(a);
  const QR left = qr_tall(first_cols(a, m));
  return {left.q, cat({left.r, matmul(t(left.q), cols_from(a, m))}, -1)};
}

}  // namespace tenrec
