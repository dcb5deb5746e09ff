// What numbers alone can break: matrices that an algorithm cannot go on with, iterations that do not converge.
#pragma once

#include "tenrec/core/error.h"

namespace tenrec {

// A matrix that is singular, not positive definite or not finite, or an iteration that did not converge.
class NumericError : public Error {
  using Error::Error;
};

}  // namespace tenrec
