// CPU against CUDA: every row of the case table in every dtype, forward and gradient, on whatever device there is (the
// emulator is one).
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "op_cases/op_case.h"
#include "tenrec/core/cuda.h"

namespace tenrec::testing {
namespace {

std::vector<Tensor> inputs_on(Device device, const OpCase& c, DType dtype) {
  std::vector<Tensor> inputs = make_inputs(c.inputs, dtype, 2);
  for (size_t i = 0; i < inputs.size(); ++i) {
    inputs[i] = inputs[i].to(device);
    if (c.differentiable && c.inputs[i].kind == Input::real && c.inputs[i].differentiable)
      inputs[i].set_requires_grad(true);
  }
  return inputs;
}

// The outputs, then the gradients of their sum.
std::vector<Tensor> results_on(Device device, const OpCase& c, DType dtype) {
  const std::vector<Tensor> inputs = inputs_on(device, c, dtype);
  const DeviceScope scope(device);
  manual_seed(7);
  std::vector<Tensor> results = c.f(inputs), ys, cotangents, xs;
  for (const Tensor& x : inputs)
    if (x.requires_grad()) xs.push_back(x);
  for (const Tensor& y : results) {
    if (!y.requires_grad()) continue;
    ys.push_back(y);
    cotangents.push_back(ones_like(y));
  }
  if (!ys.empty() && !xs.empty())
    for (const Tensor& g : grad(ys, xs, cotangents, {.allow_unused = true}))
      if (g.defined()) results.push_back(g);
  return results;
}

// Largest error of the device's results, which must lie on the device.
double compare(const OpCase& c, DType dtype, Device device) {
  const std::vector<Tensor> expected = results_on(kCpu, c, dtype), got = results_on(device, c, dtype);
  EXPECT_EQ(got.size(), expected.size());
  double worst = 0;
  for (size_t k = 0; k < std::min(got.size(), expected.size()); ++k) {
    EXPECT_EQ(to_string(got[k].device()), to_string(device)) << "result " << k;
    EXPECT_EQ(got[k].dtype(), expected[k].dtype()) << "result " << k;
    EXPECT_EQ(to_string(got[k].shape()), to_string(expected[k].shape())) << "result " << k;
    const std::vector<double> a = got[k].detach().to_vector<double>(), b = expected[k].detach().to_vector<double>();
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) worst = std::max(worst, error_of(a[i], b[i]));
  }
  return worst;
}

TEST(CudaParity, EveryRowInEveryDType) {
  if (!cuda::is_available()) GTEST_SKIP() << "skipped, no cuda device";
  const Device device = DeviceType::cuda;
  int64_t checks = 0;
  const char* only = std::getenv("TENREC_CASE");  // rows of one op
  for (const OpCase& c : op_cases()) {
    if (only && c.op != only) continue;
    for (DType dtype : dtypes_of(c)) {
      const std::string label = c.op + (c.variant.empty() ? "" : " / " + c.variant) + " in " + name(dtype);
      SCOPED_TRACE(label);
      try {
        // Two roundings may differ, one on each side; gradients of 16-bit results add some up.
        const double error = compare(c, dtype, device), limit = 4 * tolerance(c, dtype);
        EXPECT_LE(error, limit);
        ++checks;
      } catch (const std::exception& e) {
        ADD_FAILURE() << e.what();
      }
    }
  }
  std::printf("checks cuda_parity %lld\n", static_cast<long long>(checks));
}

}  // namespace
}  // namespace tenrec::testing
