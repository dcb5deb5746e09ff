// Eigenvalues of any square matrix. Complex numbers are pairs of tensors here.
#include "tenrec/autograd/ops/compare.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/index.h"
#include "tenrec/autograd/ops/join.h"
#include "tenrec/autograd/ops/linalg_impl.h"
#include "tenrec/autograd/ops/matmul.h"
#include "tenrec/autograd/ops/reduce.h"

namespace tenrec {
namespace {

using namespace detail;

struct Complex {
  Tensor re, im;
};
Complex operator+(const Complex& a, const Complex& b) { return {a.re + b.re, a.im + b.im}; }
Complex operator-(const Complex& a, const Complex& b) { return {a.re - b.re, a.im - b.im}; }
Complex operator*(const Complex& a, const Complex& b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
Complex product(const Complex& a, const Complex& b) {
  return {matmul(a.re, b.re) - matmul(a.im, b.im), matmul(a.re, b.im) + matmul(a.im, b.re)};
}
Complex adjoint(const Complex& a) { return {t(a.re), -t(a.im)}; }
Complex columns(const Complex& a) { return {as_column(a.re), as_column(a.im)}; }
Complex rows(const Complex& a) { return {as_row(a.re), as_row(a.im)}; }
Tensor squared(const Complex& a) { return a.re * a.re + a.im * a.im; }

// a^-1 b by the real matrix [[re, -im], [im, re]].
Complex solve_complex(const Complex& a, const Complex& b) {
  const int64_t n = rows_of(a.re);
  const Tensor real = cat({cat({a.re, -a.im}, -1), cat({a.im, a.re}, -1)}, -2);
  const Tensor x = solve_matrix("eig (derivative, eigenvectors)", real, cat({b.re, b.im}, -2));
  return {slice(x, -2, 0, n), slice(x, -2, n)};
}

// conj(1 / (values_j - values_i)) at [i, j], 0 where the two count as equal.
Complex conjugate_inverse_gaps(const Complex& values) {
  const Complex gaps = rows(values) - columns(values);
  const Tensor squares = squared(gaps), size = sqrt(squared({values.re.detach(), values.im.detach()}));
  const Tensor inverse = reciprocal_unless(squares, count_as_equal(sqrt(squares.detach()), size, rows_of(gaps.re)));
  return {gaps.re * inverse, gaps.im * inverse};
}

// The vectors from the columns that the kernel leaves: of a pair the real parts and then the imaginary parts.
Complex unpacked(const Tensor& v, const Tensor& imaginary) {
  const Tensor first = as_row(gt(imaginary, 0)), second = as_row(lt(imaginary, 0));
  return {where(second, roll(v, {1}, {-1}), v), where(first, roll(v, {-1}, {-1}), where(second, -v, 0))};
}

Eig eig_forward(const char* op, const Tensor& a, bool vectors) {
  const NoGrad off;
  const Shape batch = batch_of(a);
  const Tensor work = copy_columns(a), values = empty_matrices(batch, {2, rows_of(a)}, a), v = empty_like(work),
               info = empty_info(batch, a);
  if (a.numel() > 0) {
    check_finite(op, a);
    dispatch(op, a.device(), [&](auto device) {
      kernels::eig(device, matrices(a), view(work).data, view(values).data, vectors ? view(v).data : nullptr,
                   view(info).template as<int32_t>());
    });
    check_info(op, info, [](int64_t) { return std::string(kNotConverged); });
  }
  const Tensor real = contiguous(select(values, -2, 0)), imaginary = contiguous(select(values, -2, 1));
  if (!vectors || a.numel() == 0) return {real, imaginary, v, empty_like(v)};
  const Complex parts = unpacked(t(v), imaginary);
  return {real, imaginary, contiguous(parts.re), contiguous(parts.im)};
}

// With X = V^-1 dA V: dvalues = diag(X), dV = V (X / gaps) and a multiple of each column that keeps its norm. What is
// left open is a factor of modulus 1 for each column, which `with_real_largest` takes away (Giles 2008; C.
// Boeddeker et al., "On the computation of complex-valued gradients with application to statistically optimum
// beamforming", 2017).
Grads eig_rule(const Saved& s, const Cotangents& dys, Needs) {
  const Complex values{s.output(0), s.output(1)}, v{s.output(2), s.output(3)};
  if (v.re.numel() == 0) return Grads{zeros_like(v.re)};
  Complex inner{diag_embed(dys[0]), diag_embed(dys[1])};
  if (dys.arrived(2) || dys.arrived(3)) {
    const Complex vh = adjoint(v), along = product(vh, {dys[2], dys[3]}), gram = product(vh, v);
    const Tensor growth = as_row(diagonal(along.re, 0, -2, -1));
    inner = inner + conjugate_inverse_gaps(values) * (along - Complex{gram.re * growth, gram.im * growth});
  }
  const Complex vh = adjoint(v);
  return Grads{solve_complex(vh, product(inner, vh)).re};
}

// Each column turned so that the first of its largest components is real and positive. On the tape: it does not change
// with a factor of modulus 1, so what the rule above leaves open plays no part.
Complex with_real_largest(const Complex& v) {
  if (v.re.numel() == 0) return v;
  const Tensor at = argmax(squared({v.re.detach(), v.im.detach()}), {.dim = -2, .keepdim = true});
  const Complex largest{take_along_dim(v.re, at, -2), take_along_dim(v.im, at, -2)};
  const Tensor size = sqrt(squared(largest));
  return v * Complex{largest.re / size, -(largest.im / size)};
}

}  // namespace

Eig eig(const Tensor& a) {
  if (is_autocast_enabled()) [[unlikely]]
    return autocast_f32(eig, a);
  check_square("eig", a);
  const Eig e = eig_forward("eig", a, true);
  const std::vector<Tensor> out =
      record("eig", {a}, std::vector<Tensor>{e.values_real, e.values_imag, e.vectors_real, e.vectors_imag}, save_output,
             &eig_rule);
  const Complex v = with_real_largest({out[2], out[3]});
  return {out[0], out[1], v.re, v.im};
}

Eigvals eigvals(const Tensor& a) {
  if (is_autocast_enabled()) [[unlikely]]
    return autocast_f32(eigvals, a);
  check_square("eigvals", a);
  const Eig e = grad_enabled() && a.requires_grad() ? eig(a) : eig_forward("eigvals", a, false);
  return {e.values_real, e.values_imag};
}

}  // namespace tenrec
