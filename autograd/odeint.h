// Ordinary differential equations: y' = f(t, y) from y(ts[0]) = y0 to each time of ts, forwards or backwards in time.
//
//   const Tensor ys = odeint([&](const Tensor& t, const Tensor& y) { return net(y); }, y0, linspace(0, 1, 11));
//
// f gets the time as a 0-d tensor of y's dtype and the state, and returns the derivative: y's shape, dtype and device.
// A state may have any shape; a batch is one system, which takes one step at a time for all.
//
// Everything is made of ops, so gradients flow through the steps to y0, to the times and to whatever f uses, and to any
// order; the sizes of adaptive steps count as constants. The tape then grows with the number of steps. odeint_adjoint
// keeps the results at ts alone.
//
// Methods: the classical Runge-Kutta method of order 4, and the pair of order 5(4) of J. Dormand and P. Prince, "A
// family of embedded Runge-Kutta formulae" (1980), with the step control and the interpolant of order 4 of E. Hairer,
// S. Norsett and G. Wanner, "Solving ordinary differential equations I", II.4 and II.6. Both are explicit: a stiff
// problem makes them slow, and max_steps says so.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "tenrec/core/numeric_error.h"
#include "tenrec/core/tensor.h"

namespace tenrec {

using OdeFunction = std::function<Tensor(const Tensor& t, const Tensor& y)>;

enum class OdeMethod { rk4, dopri5 };

struct OdeOptions {
  OdeMethod method = OdeMethod::dopri5;
  // Adaptive steps: the root mean square over all elements of error / (atol + rtol max |y|) is kept below 1. In f32
  // nothing is gained below an rtol of about 1e-6.
  double rtol = 1e-7;
  double atol = 1e-9;
  // Fixed steps: from one time of ts to the next in equal steps of at most this size. 0: dopri5 chooses its steps, rk4
  // takes one from each time to the next.
  double step = 0;
  double first_step = 0;        // of dopri5; 0: chosen by how fast f changes
  int64_t max_steps = 100'000;  // tries, those that were refused included
};

// [n] + y0.shape: the solution at each of the n >= 1 times in ts, the first of which is y0. Adaptive steps do not
// depend on the times between the ends: what lies there is interpolated, at no further call of f.
//
// y0 is f32 or f64 and ts a vector of a floating dtype (DTypeError, ShapeError); its times are finite and rise or fall
// strictly (ValueError). What f returns must look as y (ShapeError, DTypeError, DeviceError). NumericError if more than
// max_steps are needed, if the steps become too small for the clock, or if f gives what is not finite.
Tensor odeint(const OdeFunction& f, const Tensor& y0, const Tensor& ts, const OdeOptions& options = {});

// The same values. The gradient is found by solving another equation backwards, from the last time to the first: memory
// does not grow with the number of steps. It is that of the exact solution, to the tolerances, and not of the steps.
// R. Chen et al., "Neural ordinary differential equations" (2018).
//
// `params` lists what f uses and what is to get a gradient; AutogradError if f uses anything else that requires grad.
// f must give the same derivative whenever it is called with the same t and y.
//
// The state is computed backwards too, starting anew from the result at each of ts. An equation that forgets its past
// (y' = -50 y) is unstable in that direction, and digits are lost between two times; then ask for more of them, or use
// odeint.
//
// First derivatives are the adjoint's. Under create_graph the gradient is that through the steps instead, with odeint's
// memory, which has derivatives of any order.
Tensor odeint_adjoint(const OdeFunction& f, const Tensor& y0, const Tensor& ts, const std::vector<Tensor>& params,
                      const OdeOptions& options = {});

}  // namespace tenrec
