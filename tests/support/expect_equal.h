// A tensor against the one that was expected.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "op_cases/op_case.h"

namespace tenrec::testing {

// Shapes, dtypes and elements; |got - expected| / max(1, |expected|) is at most the tolerance.
inline void expect_equal(const std::string& what, const Tensor& got, const Tensor& expected, double tolerance) {
  ASSERT_TRUE(got.defined()) << what;
  ASSERT_EQ(to_string(got.shape()), to_string(expected.shape())) << what;
  ASSERT_EQ(got.dtype(), expected.dtype()) << what;
  const std::vector<double> a = got.detach().to_vector<double>(), b = expected.to_vector<double>();
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_LE(error_of(a[i], b[i]), tolerance) << what << " element " << i << ": got " << a[i] << ", expected " << b[i];
}

}  // namespace tenrec::testing
