// CPU against CUDA: every row of the case table in every dtype, forward and gradient, on whatever device there is (the
// emulator is one).
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "op_cases/op_case.h"
#include "tenrec/core/cuda.h"

namespace tenrec::testing {
namespace {

// Missing kernels by name, and how many rows want each.
using Missing = std::map<std::string, int>;

double tolerance(const OpCase& c, DType dtype) {
  const Tolerance& t = c.tolerance;
  return dtype == f64 ? t.f64 : dtype == f32 ? t.f32 : dtype == bf16 ? t.bf16 : t.f16;
}

bool has_real_input(const OpCase& c) {
  for (const Input& input : c.inputs)
    if (input.kind == Input::real) return true;
  return c.inputs.empty();
}

double error_of(double got, double expected) {
  if (std::isnan(expected)) return std::isnan(got) ? 0 : INFINITY;
  if (std::isinf(expected) || std::isinf(got)) return got == expected ? 0 : INFINITY;
  if (std::isnan(got)) return INFINITY;
  return std::abs(got - expected) / std::max(1.0, std::abs(expected));
}

std::vector<Tensor> inputs_on(Device device, const OpCase& c, DType dtype) {
  std::vector<Tensor> inputs = make_inputs(c.inputs, dtype, 2);
  for (size_t i = 0; i < inputs.size(); ++i) {
    inputs[i] = inputs[i].to(device);
    if (c.differentiable && c.inputs[i].kind == Input::real && c.inputs[i].differentiable)
      inputs[i].set_requires_grad(true);
  }
  return inputs;
}

// New tensors are made on a device until the end of the scope.
struct DeviceScope {
  explicit DeviceScope(Device device) { set_default_device(device); }
  ~DeviceScope() { set_default_device(kCpu); }
};

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
  Missing missing;
  int64_t checks = 0, rows_missing = 0;
  const char* only = std::getenv("TENREC_CASE");  // rows of one op
  for (const OpCase& c : op_cases()) {
    if (only && c.op != only) continue;
    for (DType dtype : has_real_input(c) ? c.dtypes : std::vector<DType>{f64}) {
      const std::string label = c.op + (c.variant.empty() ? "" : " / " + c.variant) + " in " + name(dtype);
      SCOPED_TRACE(label);
      try {
        // Two roundings may differ, one on each side; gradients of 16-bit results add some up.
        const double error = compare(c, dtype, device), limit = 4 * tolerance(c, dtype);
        EXPECT_LE(error, limit);
        ++checks;
      } catch (const std::exception& e) {
        const std::string what = e.what();
        const size_t at = what.find(": there is no CUDA kernel");
        if (at == std::string::npos) {
          ADD_FAILURE() << what;
        } else {
          ++missing[what.substr(0, at)];
          ++rows_missing;
        }
      }
    }
  }
  std::printf("checks cuda_parity %lld, missing %lld\n", static_cast<long long>(checks),
              static_cast<long long>(rows_missing));
  for (const auto& [kernel, rows] : missing) std::printf("  no kernel: %-24s %4d rows\n", kernel.c_str(), rows);
}

}  // namespace
}  // namespace tenrec::testing
