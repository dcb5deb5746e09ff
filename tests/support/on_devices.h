// Tests that run on the CPU and, where there is one, on a cuda device:
//   class MyTest : public testing::OnDevices {};
//   INSTANTIATE_TEST_SUITE_P(Devices, MyTest, testing::kDevices);
//   TEST_P(MyTest, ...)  // tensors are made on the device, random numbers start anew
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "op_cases/op_case.h"
#include "tenrec/tenrec.h"

namespace tenrec::testing {

inline const auto kDevices = ::testing::Values("cpu", "cuda");

class OnDevices : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (std::string(GetParam()) == "cuda" && !cuda::is_available()) GTEST_SKIP() << "skipped, no cuda device";
    scope_.emplace(Device(GetParam()));
    manual_seed(1);
  }

 private:
  std::optional<DeviceScope> scope_;
};

}  // namespace tenrec::testing
