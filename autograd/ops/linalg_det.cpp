// Determinants.
#include "tenrec/autograd/ops/compare.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/index.h"
#include "tenrec/autograd/ops/linalg_impl.h"
#include "tenrec/autograd/ops/matmul.h"
#include "tenrec/autograd/ops/reduce.h"

namespace tenrec {
namespace {

using namespace detail;

// -1 for an odd number of exchanges, else 1.
Tensor sign_of(const Tensor& pivots, DType dtype) {
  const Tensor places = arange(1, pivots.shape().back() + 1, {.dtype = i32, .device = pivots.device()});
  const Tensor exchanges = sum(ne(pivots, places).to(i64), {.dim = -1});
  return (1 - remainder(exchanges, 2) * 2).to(dtype);
}

Tensor det_forward(const Tensor& a) {
  const NoGrad off;
  const Factored f = factor(a);
  return prod(diagonal(f.lu, 0, -2, -1), {.dim = -1}) * sign_of(f.pivots, a.dtype());
}

// det(A) A^-T without an inverse: with A = U S V^T, det(U) det(V) U adj(S) V^T, where the diagonal of adj(S) has the
// products of all other singular values.
Tensor cofactors_forward(const Tensor& a) {
  const NoGrad off;
  if (a.numel() == 0) return zeros_like(a);
  const SVD f = svd_forward("det", a, true);
  const int64_t n = rows_of(a);
  Shape square = f.u.shape();
  const Tensor one = eye(n, {.dtype = boolean, .device = a.device()});
  const Tensor others = prod(masked_fill(expand(as_row(f.s), square), one, 1), {.dim = -1});
  const Tensor turn = sign(det_forward(f.u) * det_forward(f.vh));
  return matmul(f.u * as_row(others), f.vh) * as_column(as_column(turn));
}

// dC = tr(A^-1 dA) C - C dA^T A^-T.
Tensor cofactors(const Tensor& a) {
  return record("det_grad", {a}, cofactors_forward(a), save_both, [](const Saved& s, const Tensor& dy, Needs) {
    const Tensor c = s.output(), turned = t(inverse("det (second derivative)", s.input()));
    return Grads{turned * sum(dy * c, {.dim = {-2, -1}, .keepdim = true}) - matmul(matmul(turned, t(dy)), c)};
  });
}

}  // namespace

Tensor det(const Tensor& a) {
  if (is_autocast_enabled()) [[unlikely]]
    return autocast_f32(det, a);
  check_square("det", a);
  return record("det", {a}, det_forward(a), save_input(0), [](const Saved& s, const Tensor& dy, Needs) {
    return Grads{as_column(as_column(dy)) * cofactors(s.input())};
  });
}

SignLogDet slogdet(const Tensor& a) {
  if (is_autocast_enabled()) [[unlikely]]
    return autocast_f32(slogdet, a);
  check_square("slogdet", a);
  const auto forward = [&] {
    const NoGrad off;
    const Factored f = factor(a);
    const Tensor pivots = diagonal(f.lu, 0, -2, -1);
    return std::vector<Tensor>{prod(sign(pivots), {.dim = -1}) * sign_of(f.pivots, a.dtype()),
                               sum(log(abs(pivots)), {.dim = -1})};
  };
  const std::vector<Tensor> out =
      record("slogdet", {a}, forward(), save_input(0), [](const Saved& s, const Cotangents& dys, Needs) {
        return Grads{as_column(as_column(dys[1])) * t(inverse("slogdet (derivative)", s.input()))};
      });
  return {out[0], out[1]};
}

}  // namespace tenrec
