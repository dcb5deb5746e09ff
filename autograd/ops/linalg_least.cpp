// Rank, the pseudo-inverse and least squares, by singular values.
#include "tenrec/autograd/ops/compare.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/linalg_impl.h"
#include "tenrec/autograd/ops/matmul.h"
#include "tenrec/autograd/ops/reduce.h"

namespace tenrec {
namespace {

using namespace detail;

void check_tolerance(const char* op, const char* which, const std::optional<double>& value) {
  if (value && !(*value >= 0)) fail<ValueError>(op, ": ", which, " must not be negative, got ", *value);
}

// |s| [..., k] that count as 0 in a matrix [..., m, n], by torch.linalg's rule.
Tensor counts_as_zero(const char* op, const Tensor& a, const Tensor& s, const RankOptions& o) {
  check_tolerance(op, "atol", o.atol);
  check_tolerance(op, "rtol", o.rtol);
  const double atol = o.atol.value_or(0);
  const double rtol = o.rtol.value_or(atol > 0 ? 0 : double(std::max(rows_of(a), cols_of(a))) * epsilon(a.dtype()));
  if (s.numel() == 0) return le(s, 0);
  return le(abs(s), clamp_min(amax(abs(s), {.dim = -1, .keepdim = true}) * rtol, atol));
}

Tensor pinv_forward(const Tensor& a, const RankOptions& o) {
  const NoGrad off;
  if (o.hermitian) {
    const Eigh e = eigh_forward("pinv", a, true);
    const Tensor inverse = reciprocal_unless(e.values, counts_as_zero("pinv", a, e.values, o));
    return matmul(e.vectors * as_row(inverse), t(e.vectors));
  }
  const SVD f = svd_forward("pinv", a, true);
  const Tensor inverse = reciprocal_unless(f.s, counts_as_zero("pinv", a, f.s, o));
  return matmul(t(f.vh) * as_row(inverse), t(f.u));
}

// dP = -P dA P + P P^T dA^T (1 - A P) + (1 - P A) dA^T P^T P (Golub and Pereyra, 1973).
Tensor pinv_grad(const Tensor& a, const Tensor& p, const Tensor& dy) {
  const Tensor pt = t(p), dyt = t(dy), inner = matmul(dyt, p);  // [m, m]
  const Tensor through = matmul(matmul(pt, dy), pt);
  const Tensor left = matmul(inner - matmul(a, matmul(p, inner)), pt);
  const Tensor outer = matmul(pt, matmul(p, dyt));
  return left + outer - matmul(matmul(outer, p), a) - through;
}

// The least-norm solution and the rank, outside the tape.
struct Solved {
  Tensor x, rank, s;
};
Solved lstsq_forward(const Tensor& a, const Tensor& b, const RankOptions& o) {
  const NoGrad off;
  const SVD f = svd_forward("lstsq", a, true);
  const Tensor zero = counts_as_zero("lstsq", a, f.s, o), inverse = reciprocal_unless(f.s, zero);
  const Tensor x = matmul(t(f.vh), as_column(inverse) * matmul(t(f.u), b.detach()));
  return {x, sum(logical_not(zero).to(i64), {.dim = -1}), f.s};
}

// With P the pseudo-inverse, x = P b, r = b - A x and u = P^T dx: the terms of pinv_grad for the cotangent dx b^T.
Grads lstsq_rule(const Saved& s, const Tensor& dx, Needs needs, const RankOptions& o) {
  const Tensor a = s.input(0), p = pinv(a, o), u = matmul(t(p), dx);
  if (!needs[0]) return Grads{Tensor(), u};
  const Tensor x = s.output(0), r = s.input(1) - matmul(a, x);
  const Tensor da = matmul(r, t(matmul(p, u))) + matmul(matmul(t(p), x), t(dx - matmul(t(a), u))) - matmul(u, t(x));
  return Grads{da, needs[1] ? u : Tensor()};
}

Lstsq lstsq_matrix(const Tensor& a, const Tensor& b, const LstsqOptions& options) {
  check_right_hand_side("lstsq", a, b);
  broadcast_shapes("lstsq", batch_of(a), batch_of(b));
  check_tolerance("lstsq", "rcond", options.rcond);
  const RankOptions o{.rtol = options.rcond};
  const Solved f = lstsq_forward(a, b, o);
  const Tensor x = record("lstsq", {a, b}, f.x, save_both,
                          [o](const Saved& s, const Tensor& dy, Needs needs) { return lstsq_rule(s, dy, needs, o); });
  Tensor residuals = empty({0}, {.dtype = a.dtype(), .device = a.device()});
  if (rows_of(a) > cols_of(a)) residuals = sum(square(b - matmul(a, x)), {.dim = -2});
  return {x, residuals, f.rank, f.s};
}

}  // namespace

Tensor pinv(const Tensor& a, const RankOptions& options) {
  if (is_autocast_enabled()) [[unlikely]]
    return autocast_f32(pinv, a, options);
  if (options.hermitian)
    check_square("pinv", a);
  else
    check_matrix("pinv", a);
  return record("pinv", {a}, pinv_forward(a, options), save_both,
                [hermitian = options.hermitian](const Saved& s, const Tensor& dy, Needs) {
                  const Tensor full = hermitian ? mirror_upper(t(s.input())) : s.input();
                  const Tensor da = pinv_grad(full, s.output(), dy);
                  return Grads{hermitian ? symmetrized(da) : da};
                });
}

Tensor matrix_rank(const Tensor& a, const RankOptions& options) {
  if (is_autocast_enabled()) [[unlikely]]
    return autocast_f32(matrix_rank, a, options);
  if (options.hermitian)
    check_square("matrix_rank", a);
  else
    check_matrix("matrix_rank", a);
  const NoGrad off;
  const Tensor fixed = a.detach();
  const Tensor s =
      options.hermitian ? eigh_forward("matrix_rank", fixed, false).values : svd_forward("matrix_rank", fixed, false).s;
  return sum(logical_not(counts_as_zero("matrix_rank", a, s, options)).to(i64), {.dim = -1});
}

Lstsq lstsq(const Tensor& a, const Tensor& b, const LstsqOptions& options) {
  if (is_autocast_enabled()) [[unlikely]]
    return autocast_f32(lstsq, a, b, options);
  check_matrix("lstsq", a);
  if (!is_vector(a, b)) return lstsq_matrix(a, b, options);
  Lstsq out = lstsq_matrix(a, unsqueeze(b, -1), options);
  out.solution = squeeze(out.solution, -1);
  if (rows_of(a) > cols_of(a)) out.residuals = squeeze(out.residuals, -1);
  return out;
}

}  // namespace tenrec
