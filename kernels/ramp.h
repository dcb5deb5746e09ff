// Evenly spaced numbers.
#pragma once

#include "tenrec/core/dispatch.h"
#include "tenrec/core/view.h"

namespace tenrec::kernels {

// y[i] = start + i step, computed in f64 and converted. Contiguous.
void ramp(Cpu, double start, double step, const View& y);
void ramp(Cuda, double start, double step, const View& y);

}  // namespace tenrec::kernels
