// Search along a line for a point that satisfies the strong Wolfe conditions: enough decrease, and a slope that is
// small enough. J. Nocedal and S. J. Wright, "Numerical Optimization" (2006), algorithms 3.5 and 3.6, with the
// safeguards of PyTorch's LBFGS: so that the points tried are the same.
#pragma once

#include <cstdint>
#include <functional>

#include "tenrec/core/tensor.h"

namespace tenrec {

struct LinePoint {
  double t = 0, value = 0, slope = 0;
  Tensor gradient = {};
  double largest = 0;  // |element| of the gradient
};

struct StrongWolfeOptions {
  double c1 = 1e-4;                // decrease of at least c1 times what the first slope promises
  double c2 = 0.9;                 // |slope| at most c2 times the first one
  double tolerance_change = 1e-9;  // a bracket whose parameters differ by less is not searched further
  int64_t max_iterations = 25;
};

struct LineSearchResult {
  LinePoint point = {};  // the best one; `start` if none is
  bool finite = true;    // false: nothing that was tried is finite
};

// `at` evaluates at t; start is t = 0, with a negative slope; `longest` the largest |element| of the direction. Where a
// value is not finite the step is cut to a tenth, towards the last good point, up to 20 times.
LineSearchResult strong_wolfe(const std::function<LinePoint(double)>& at, const LinePoint& start, double t,
                              double longest, const StrongWolfeOptions& options = {});

}  // namespace tenrec
