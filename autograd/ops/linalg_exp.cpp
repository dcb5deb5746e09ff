// The matrix exponential: arithmetic on whole batches, so it needs no kernel.
#include <cmath>

#include "tenrec/autograd/ops/compare.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/join.h"
#include "tenrec/autograd/ops/linalg_impl.h"
#include "tenrec/autograd/ops/matmul.h"
#include "tenrec/autograd/ops/reduce.h"

namespace tenrec {
namespace {

using namespace detail;

// Numerator coefficients of diagonal Pade approximants: of degree 13, whose backward error is below the unit roundoff
// of f64 up to a norm of kTheta13, and of degree 7, which is enough for f32 up to kTheta7 (Higham 2005; N. J. Higham,
// "Functions of Matrices", 2008, section 10.3).
constexpr double kPade13[] = {64764752532480000.0,
                              32382376266240000.0,
                              7771770303897600.0,
                              1187353796428800.0,
                              129060195264000.0,
                              10559470521600.0,
                              670442572800.0,
                              33522128640.0,
                              1323241920.0,
                              40840800.0,
                              960960.0,
                              16380.0,
                              182.0,
                              1.0};
constexpr double kTheta13 = 5.371920351148152;
constexpr double kPade7[] = {17297280.0, 8648640.0, 1995840.0, 277200.0, 25200.0, 1512.0, 56.0, 1.0};
constexpr double kTheta7 = 3.925724783138660;

// The largest sum of |elements| of a column, [..., 1, 1].
Tensor norm1(const Tensor& a) { return amax(sum(abs(a), {.dim = -2, .keepdim = true}), {.dim = -1, .keepdim = true}); }

// The approximant is (V - U)^-1 (V + U), U the odd and V the even part of the numerator.
struct Parts {
  Tensor odd, even;
};

Parts pade7(const Tensor& a, const Tensor& one) {
  const auto b = [](int i) { return kPade7[i] / kPade7[0]; };
  const Tensor a2 = matmul(a, a), a4 = matmul(a2, a2), a6 = matmul(a4, a2);
  return {matmul(a, a6 * b(7) + a4 * b(5) + a2 * b(3) + one * b(1)), a6 * b(6) + a4 * b(4) + a2 * b(2) + one};
}

Parts pade13(const Tensor& a, const Tensor& one) {
  const auto b = [](int i) { return kPade13[i] / kPade13[0]; };
  const Tensor a2 = matmul(a, a), a4 = matmul(a2, a2), a6 = matmul(a4, a2);
  const Tensor odd = matmul(a6, a6 * b(13) + a4 * b(11) + a2 * b(9)) + a6 * b(7) + a4 * b(5) + a2 * b(3) + one * b(1);
  const Tensor even = matmul(a6, a6 * b(12) + a4 * b(10) + a2 * b(8)) + a6 * b(6) + a4 * b(4) + a2 * b(2) + one;
  return {matmul(a, odd), even};
}

Tensor matrix_exp_forward(const Tensor& x) {
  const NoGrad off;
  const Tensor a = x.detach();
  if (a.numel() == 0) return clone(a);
  const bool wide = a.dtype() == f64;
  const double theta = wide ? kTheta13 : kTheta7;
  const Tensor norm = norm1(a), finite = isfinite(norm);
  // How often each matrix is halved; what is not finite becomes NaN as a whole.
  const Tensor halvings = where(logical_and(finite, gt(norm, theta)), ceil(log2(norm / theta)), 0);
  const Tensor scaled = where(finite, ldexp(a, -halvings), std::nan(""));
  const Tensor one = eye(rows_of(a), {.dtype = a.dtype(), .device = a.device()});
  const Parts p = wide ? pade13(scaled, one) : pade7(scaled, one);
  Tensor y = solve(p.even - p.odd, p.even + p.odd);
  const auto most = int64_t(amax(halvings).item<double>());
  for (int64_t i = 0; i < most; ++i) y = where(gt(halvings, double(i)), matmul(y, y), y);
  return y;
}

}  // namespace

// exp([[A, E], [0, A]]) has the derivative of exp at A along E as its upper right block, and the adjoint of that is the
// derivative at A^T. It is linear in E, so E is brought to A's size first: a large one would make the scaling too fine.
Tensor matrix_exp(const Tensor& a) {
  if (is_autocast_enabled()) [[unlikely]]
    return autocast_f32(matrix_exp, a);
  check_square("matrix_exp", a);
  return record("matrix_exp", {a}, matrix_exp_forward(a), save_input(0), [](const Saved& s, const Tensor& dy, Needs) {
    const Tensor turned = t(s.input());
    if (turned.numel() == 0) return Grads{zeros_like(turned)};
    const int64_t n = rows_of(turned);
    const Tensor size = norm1(dy.detach());
    const Tensor ratio = where(gt(size, 0), clamp_min(norm1(turned.detach()), 1) / size, 1);
    const Tensor top = cat({turned, dy * ratio}, -1), bottom = cat({zeros_like(turned), turned}, -1);
    return Grads{slice(slice(matrix_exp(cat({top, bottom}, -2)), -2, 0, n), -1, n) / ratio};
  });
}

}  // namespace tenrec
