// Which indices an op takes, and the error for one that it does not.
//
// On the CPU a check throws at once. On a device nobody waits for its answer: the first offender is written to a record
// of the stream (core/cuda/index_record.h), with the rule that it broke, and thrown where the host waits next.
#pragma once

#include <cstdint>
#include <string>

#include "tenrec/core/dtype.h"

namespace tenrec::detail {

struct IndexRule {
  enum class Kind : int32_t {  // how the error speaks of it
    number,                    // an index into no one dimension
    dimension,                 // into `dim`
    picker,                    // the same, in one of several index tensors
    target,                    // a class
  };

  Kind kind = Kind::number;
  int64_t low = 0, high = 0;  // [low, high) is taken
  int64_t dim = 0;
  bool skips = false;  // `skipped` is taken too: it stands for nothing
  int64_t skipped = 0;

  TENREC_HD bool takes(int64_t index) const { return (index >= low && index < high) || (skips && index == skipped); }
};

// "gather: index 7 (element 2 of the indices) is out of range for dimension 0 of size 5". `position` counts the indices
// in row-major order.
std::string index_error(const std::string& op, const IndexRule& rule, int64_t index, int64_t position);

}  // namespace tenrec::detail
