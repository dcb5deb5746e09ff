// What convolution layers share, transposed or not. Internal: included by their sources.
#pragma once

#include <cmath>

#include "tenrec/core/error.h"
#include "tenrec/nn/init.h"

namespace tenrec::detail {

inline void check_channels(const char* layer, int64_t in, int64_t out, int64_t groups) {
  if (in < 1 || out < 1 || groups < 1 || in % groups != 0 || out % groups != 0)
    fail<ValueError>(layer, ": ", in, " input and ", out, " output channels do not divide into ", groups, " groups");
}

inline Tensor conv_parameter(const Shape& shape, int64_t fan_in) {
  const double bound = fan_in > 0 ? 1 / std::sqrt(double(fan_in)) : 0;
  Tensor t = init::uniform_(empty(shape), -bound, bound);
  return t.set_requires_grad(true);
}

}  // namespace tenrec::detail
