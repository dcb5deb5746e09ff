// How a gamma variate moves with its shape: dx/da of the quantile x of Gamma(a, 1) at a fixed probability, which is
// -(dP/da) / (dP/dx) for the distribution function P(a, x) (M. Figurnov, S. Mohamed and A. Mnih, "Implicit
// reparameterization gradients", 2018). Computed in double for floats and doubles alike.
//
// Left of the mean by the series of P (DLMF 8.11.4), derived by a term by term; right of it by the continued fraction
// of 1 - P (DLMF 8.9.2), derived along with its evaluation. Neither cancels. Where a is so large that both would take
// thousands of terms, the first two terms of Temme's uniform expansion (DLMF 8.12) meet both within 2e-7.
#pragma once

#include <cmath>
#include <limits>

#include "tenrec/kernels/vector_math_special.h"

namespace tenrec::kernels {
namespace detail {

inline constexpr double kLargeGammaShape = 1e5;
inline constexpr int kMaxGammaTerms = 20000;  // about 9 sqrt(a) are needed at most

// x sum t_n (psi(a + n + 1) - log x) with t_0 = 1 / a, t_n = t_(n-1) x / (a + n); for x <= max(a, 1).
TENREC_HD inline double gamma_grad_series(double a, double x) {
  const double log_x = std::log(x);
  double term = 1 / a, psi = digamma(a + 1), size = term, sum = term * (psi - log_x);
  for (int n = 1; n < kMaxGammaTerms && term > 0x1p-56 * size; ++n) {
    const double next = 1 / (a + n);
    psi += next;
    term *= x * next;
    size += term;
    sum += term * (psi - log_x);
  }
  return x * sum;
}

// x h (log x - psi(a) + h' / h), where h is the fraction of Gamma(a, x) = x^a e^-x h, evaluated from its head (W.
// Lentz, Applied Optics 15, 1976) with derivatives by a of numerators c and denominators d; for x > max(a, 1).
TENREC_HD inline double gamma_grad_fraction(double a, double x) {
  const double away = std::log(x) - digamma(a);
  double b = x + 1 - a, c = std::numeric_limits<double>::infinity(), dc = 0, d = 1 / b, dd = d * d;
  double h = d, log_slope = dd / d;
  for (int i = 1; i < kMaxGammaTerms; ++i) {
    const double n = i, numerator = n * (a - n);  // its derivative is n, that of b is -1
    b += 2;
    const double slope_d = n * d + numerator * dd - 1;
    d = 1 / (numerator * d + b);
    dd = -slope_d * d * d;
    dc = n / c - numerator / c * (dc / c) - 1;
    c = b + numerator / c;
    const double step = c * d, slope = dc / c + dd / d;
    h *= step;
    log_slope += slope;
    if (std::fabs(step - 1) < 0x1p-52 && std::fabs(slope) < 0x1p-52 * (away + log_slope)) break;
  }
  return x * h * (away + log_slope);
}

TENREC_HD inline double gamma_grad_scalar(double a, double x) {
  if (!(a > 0 && x >= 0 && x < std::numeric_limits<double>::infinity()))
    return std::numeric_limits<double>::quiet_NaN();
  if (x == 0) return 0;
  if (a > kLargeGammaShape) {
    const double e = (x - a) / a;
    return (1 + e) * (e == 0 ? 1 : std::log1p(e) / e) + 1 / (6 * a);
  }
  return x > a && x > 1 ? gamma_grad_fraction(a, x) : gamma_grad_series(a, x);
}

}  // namespace detail

template <RealPacket P>
TENREC_HD inline P gamma_grad(P shape, P x) {
  using T = ElementOf<P>;
  return detail::by_lane([](T a, T v) { return T(detail::gamma_grad_scalar(double(a), double(v))); }, shape, x);
}

}  // namespace tenrec::kernels
