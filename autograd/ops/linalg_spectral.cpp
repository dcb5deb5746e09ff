// Eigenvalues of symmetric matrices, and singular values.
#include "tenrec/autograd/ops/compare.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/linalg_impl.h"
#include "tenrec/autograd/ops/matmul.h"

namespace tenrec {
namespace {

using namespace detail;

// --- symmetric -------------------------------------------------------------------------------------------------------

// V (diag(dvalues) + V^T dV / gaps) V^T, its symmetric part; gaps are values_j - values_i at [i, j].
Grads eigh_rule(const Saved& s, const Cotangents& dys, Needs) {
  const Tensor values = s.output(0), v = s.output(1);
  if (v.numel() == 0) return Grads{zeros_like(v)};
  Tensor inner = diag_embed(dys[0]);
  if (dys.arrived(1)) {
    const Tensor gaps = as_row(values) - as_column(values);
    inner = inner + matmul(t(v), dys[1]) * reciprocal_unless(gaps, count_as_equal(gaps, values, rows_of(v)));
  }
  return Grads{symmetrized(matmul(matmul(v, inner), t(v)))};
}

// --- singular values -------------------------------------------------------------------------------------------------

Tensor skew(const Tensor& x) { return x - t(x); }

// Giles (2008), with the parts of dU and dV outside of the spaces of U and V:
//   dA = U (skew(U^T dU) / E  S + S  skew(V^T dV) / E + diag(dS)) V^T + (1 - U U^T) dU S^-1 V^T + ...,
//   E_ij = s_j^2 - s_i^2.
Grads svd_rule(const Saved& saved, const Cotangents& dys, Needs) {
  const Tensor u = saved.output(0), s = saved.output(1), vh = saved.output(2);
  const int64_t m = rows_of(u), n = cols_of(vh), k = cols_of(u), most = std::max(m, n);
  if (u.numel() == 0 || vh.numel() == 0) return Grads{matmul(u, vh)};
  const Tensor gaps = as_row(s) - as_column(s);
  const Tensor e = reciprocal_unless(gaps * (as_row(s) + as_column(s)), count_as_equal(gaps, s, most));
  const Tensor inverse = squeeze(reciprocal_unless(as_column(s), count_as_equal(as_column(s), s, most)), -1);
  Tensor inner = diag_embed(dys[1]), rest;
  if (dys.arrived(0)) {
    const Tensor du = dys[0], along = matmul(t(u), du);
    inner = inner + skew(along) * e * as_row(s);
    if (m > k) rest = matmul((du - matmul(u, along)) * as_row(inverse), vh);
  }
  if (dys.arrived(2)) {
    const Tensor dvh = dys[2], along = matmul(dvh, t(vh));  // (V^T dV)^T
    inner = inner - as_column(s) * (skew(along) * e);
    if (n > k) {
      const Tensor beyond = matmul(u * as_row(inverse), dvh - matmul(along, vh));
      rest = rest.defined() ? rest + beyond : beyond;
    }
  }
  const Tensor da = matmul(matmul(u, inner), vh);
  return Grads{rest.defined() ? da + rest : da};
}

}  // namespace

namespace detail {

Eigh eigh_forward(const char* op, const Tensor& a, bool vectors) {
  const NoGrad off;
  const Shape batch = batch_of(a);
  const Tensor work = copy_rows(a), values = empty_matrices(batch, {rows_of(a)}, a), info = empty_info(batch, a);
  if (a.numel() == 0) return {values, work};
  check_finite(op, a);
  dispatch(op, a.device(), [&](auto device) {  // row by row, the lower triangle is the upper one by columns
    kernels::eigh(device, matrices(a), true, vectors, view(work).data, view(values).data,
                  view(info).template as<int32_t>());
  });
  check_info(op, info, [](int64_t) { return std::string(kNotConverged); });
  if (!vectors) return {values, {}};
  const Tensor v = t(work);
  return {values, contiguous(v * column_signs(v))};
}

SVD svd_forward(const char* op, const Tensor& a, bool vectors) {
  const NoGrad off;
  const Shape batch = batch_of(a);
  const bool wide = rows_of(a) < cols_of(a);
  const Tensor tall = wide ? t(a.detach()) : a.detach();
  const int64_t m = rows_of(tall), n = cols_of(tall);
  const Tensor work = copy_columns(tall), s = empty_matrices(batch, {n}, a), info = empty_info(batch, a);
  Tensor ut = empty_matrices(batch, {vectors ? n : 0, m}, a), v = empty_matrices(batch, {vectors ? n : 0, n}, a);
  if (a.numel() > 0) {
    check_finite(op, a);
    dispatch(op, a.device(), [&](auto device) {  // by columns, U is U^T row by row and V^T is V
      kernels::svd(device, matrices(tall), view(work).data, vectors ? view(ut).data : nullptr, view(s).data,
                   vectors ? view(v).data : nullptr, view(info).template as<int32_t>());
    });
    check_info(op, info, [](int64_t) { return std::string(kNotConverged); });
  }
  if (!vectors) return {{}, s, {}};
  const Tensor u = wide ? v : t(ut), vh = wide ? ut : t(v);
  if (u.numel() == 0) return {contiguous(u), s, contiguous(vh)};
  const Tensor signs = column_signs(u);
  return {contiguous(u * signs), s, contiguous(vh * t(signs))};
}

}  // namespace detail

Eigh eigh(const Tensor& a) {
  if (is_autocast_enabled()) [[unlikely]]
    return autocast_f32(eigh, a);
  check_square("eigh", a);
  const Eigh e = eigh_forward("eigh", a, true);
  const std::vector<Tensor> out =
      record("eigh", {a}, std::vector<Tensor>{e.values, e.vectors}, save_output, &eigh_rule);
  return {out[0], out[1]};
}

Tensor eigvalsh(const Tensor& a) {
  if (grad_enabled() && a.requires_grad()) return eigh(a).values;
  if (is_autocast_enabled()) [[unlikely]]
    return autocast_f32(eigvalsh, a);
  check_square("eigvalsh", a);
  return eigh_forward("eigvalsh", a, false).values;
}

SVD svd(const Tensor& a) {
  if (is_autocast_enabled()) [[unlikely]]
    return autocast_f32(svd, a);
  check_matrix("svd", a);
  const SVD f = svd_forward("svd", a, true);
  const std::vector<Tensor> out = record("svd", {a}, std::vector<Tensor>{f.u, f.s, f.vh}, save_output, &svd_rule);
  return {out[0], out[1], out[2]};
}

Tensor svdvals(const Tensor& a) {
  if (grad_enabled() && a.requires_grad()) return svd(a).s;
  if (is_autocast_enabled()) [[unlikely]]
    return autocast_f32(svdvals, a);
  check_matrix("svdvals", a);
  return svd_forward("svdvals", a, false).s;
}

}  // namespace tenrec
