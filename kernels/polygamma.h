// The polygamma functions: derivative number n of digamma, computed in double for floats and doubles alike.
//
// For x > 0 by (-1)^(n+1) n! zeta(n + 1, x), Hurwitz's zeta by direct terms up to x + k >= 12 + n and Euler and
// Maclaurin's series behind them (DLMF 25.11.5). For x < 0 by reflection (DLMF 5.15.6): the derivatives of pi cot(pi x)
// are polynomials in the cotangent, p_0 = c, p_(k+1) = -pi (1 + c^2) p_k'. The largest relative error is about 1e-13
// away from the zeros of the even orders on the negative axis.
#pragma once

#include <cmath>

#include "tenrec/kernels/pack.h"

namespace tenrec::kernels {

// Orders above this overflow nearly everywhere.
inline constexpr int kMaxPolygammaOrder = 100;

namespace detail {

// (-1)^(n+1) psi^(n)(x) for x > 0, n >= 1.
TENREC_HD inline double polygamma_magnitude(int n, double x) {
  // B_2k / (2k)!
  constexpr double bernoulli[] = {1.0 / 12,          -1.0 / 720,
                                  1.0 / 30240,       -1.0 / 1209600,
                                  1.0 / 47900160,    -691.0 / 1307674368000,
                                  1.0 / 74724249600, -3617.0 / 10670622842880000};
  double factorial = 1;
  for (int k = 2; k <= n; ++k) factorial *= k;
  const double s = n + 1;
  double sum = 0, q = x;
  for (; q < 12 + n; q += 1) sum += std::pow(q, -s);
  const double power = std::pow(q, -s);  // q^-s
  sum += power * q / n + power / 2;
  double term = power * s / q;  // s (s + 1) ... (s + 2k) q^(-s - 2k - 1)
  for (int k = 0; k < 8; ++k) {
    sum += bernoulli[k] * term;
    term *= (s + 2 * k + 1) * (s + 2 * k + 2) / (q * q);
  }
  return factorial * sum;
}

// d^n/dx^n of pi cot(pi x), x not an integer.
TENREC_HD inline double cotangent_derivative(int n, double x) {
  constexpr double pi = 3.141592653589793;
  const double fraction = x - std::floor(x);
  const double cot = std::cos(pi * fraction) / std::sin(pi * fraction);
  double p[kMaxPolygammaOrder + 2] = {0, 1};  // p[k] is the coefficient of cot^k
  for (int order = 0; order < n; ++order) {
    double next[kMaxPolygammaOrder + 2] = {};
    for (int k = 1; k <= order + 1; ++k) {
      next[k - 1] -= pi * k * p[k];
      next[k + 1] -= pi * k * p[k];
    }
    for (int k = 0; k <= order + 2; ++k) p[k] = next[k];
  }
  double sum = 0;
  for (int k = n + 1; k >= 0; --k) sum = sum * cot + p[k];
  return pi * sum;
}

TENREC_HD inline double polygamma_scalar(int n, double x) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  if (!(x > -inf && x < inf)) return x > 0 ? 0 : std::numeric_limits<double>::quiet_NaN();
  const double sign = n % 2 ? 1 : -1;
  if (x > 0) return sign * polygamma_magnitude(n, x);
  if (x == std::floor(x)) return sign * inf;  // a pole
  // psi(1 - x) - psi(x) = pi cot(pi x), derived n times.
  return -polygamma_magnitude(n, 1 - x) - cotangent_derivative(n, x);
}

}  // namespace detail

// 1 <= order <= kMaxPolygammaOrder.
template <RealPacket P>
TENREC_HD inline P polygamma(int order, P x) {
  using T = ElementOf<P>;
  const auto one = [order](T v) { return T(detail::polygamma_scalar(order, double(v))); };
#if defined(__CUDACC__)
  return one(x);
#else
  if constexpr (kSizeOf<P> == 1)
    return one(x);
  else
    return each_lane(one, x);
#endif
}

}  // namespace tenrec::kernels
