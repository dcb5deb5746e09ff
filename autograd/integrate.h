// Definite integrals: Simpson's rule with equal and with chosen intervals, and the Monte Carlo method.
//
// The integrand is called with all its points at once and is made of ops, so an integral can be differentiated by
// whatever the integrand uses and by the ends, to any order.
#pragma once

#include <cstdint>
#include <functional>

#include "tenrec/core/numeric_error.h"
#include "tenrec/core/random.h"
#include "tenrec/core/tensor.h"

namespace tenrec {

using Integrand = std::function<Tensor(const Tensor& x)>;

// Samples at equal distances dx along `dim`, an odd number of at least 3 (ShapeError), by the composite rule: the error
// falls with dx^4. The dimension goes away. Floating dtypes, else DTypeError.
Tensor simpson(const Tensor& y, double dx = 1, int64_t dim = -1);

// f from a to b, 0-d tensors of one floating dtype, with an even number of intervals (ValueError). f gets the points as
// a vector [intervals + 1] and returns [intervals + 1, ...]: any number of functions at once. The result is [...].
Tensor simpson(const Integrand& f, const Tensor& a, const Tensor& b, int64_t intervals = 100);
// The same between numbers, in f64.
Tensor simpson(const Integrand& f, double a, double b, int64_t intervals = 100);

struct AdaptiveSimpsonOptions {
  double tol = 1e-10;      // of the sum of the estimated errors, absolute
  int64_t max_depth = 40;  // halvings of an interval
  int64_t max_points = 10'000'000;
};

// f from a to b in f64: an interval is halved until Simpson's rule and its halves agree to the interval's share of the
// tolerance, thrice at least (W. Kuncir, 1962; J. Lyness, 1969). Intervals that are still too wide are looked at
// together, in one call of f with a vector of points, which returns a vector. The choice is made outside the tape; the
// result, one more call with all points, is on it. NumericError if max_depth or max_points do not suffice or f is not
// finite.
Tensor adaptive_simpson(const Integrand& f, double a, double b, const AdaptiveSimpsonOptions& options = {});

struct MonteCarloOptions {
  int64_t samples = 100'000;
  Generator* generator = nullptr;  // this thread's default
};
struct MonteCarlo {
  Tensor mean;            // the estimate, 0-d
  Tensor standard_error;  // of the estimate: the samples' deviation times the volume over sqrt(samples)
};

// f over the box from low to high, vectors [d] of one floating dtype: f gets points [samples, d] and returns [samples].
// The estimate is differentiable as f is, by the box too. The same generator state gives the same points with any
// number of threads. ValueError for fewer than 2 samples.
MonteCarlo monte_carlo(const Integrand& f, const Tensor& low, const Tensor& high,
                       const MonteCarloOptions& options = {});

}  // namespace tenrec
