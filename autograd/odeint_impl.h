// What odeint and odeint_adjoint share: the solver for a state of several tensors. Internal.
#pragma once

#include <vector>

#include "tenrec/autograd/odeint.h"
#include "tenrec/core/parallel.h"  // FunctionRef

namespace tenrec::detail {

using OdeState = std::vector<Tensor>;
using OdeRhs = FunctionRef<OdeState(const Tensor& t, const OdeState& y)>;

// When the state is wanted: as numbers, and as 0-d tensors of the state's dtype that may be on the tape.
struct OdeTimes {
  std::vector<double> host;
  std::vector<Tensor> tensor;
};

// Checks the arguments; `op` is what messages begin with.
OdeTimes check_ode(const char* op, const Tensor& y0, const Tensor& ts, const OdeOptions& options);
// f(t, y), checked to look as y.
Tensor call_ode(const char* op, const OdeFunction& f, const Tensor& t, const Tensor& y);
// The states at all times, the first of which is y0.
std::vector<OdeState> solve_ode(const char* op, OdeRhs rhs, const OdeState& y0, const OdeTimes& times,
                                const OdeOptions& options);
// The solutions at all times as one tensor.
Tensor odeint_of(const char* op, const OdeFunction& f, const Tensor& y0, const OdeTimes& times,
                 const OdeOptions& options);

}  // namespace tenrec::detail
