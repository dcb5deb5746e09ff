// CPU against CUDA: every row of the case table in every dtype, forward and gradient, on whatever device there is (the
// emulator is one).
//
// TENREC_CASE=OP takes the rows of one op, TENREC_PARITY_SHARD=I/N every Nth row from the Ith on.
// TENREC_PARITY_REPORT=FILE writes a JSON line for each row and dtype as it is done: the largest error against the CPU
// in the same dtype and its limit, and of the forward results alone the largest error against the CPU in f64 on the
// same inputs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>

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

// Of the values alone: the largest error of `got` against `expected`.
double worst_error(const Tensor& got, const Tensor& expected) {
  const std::vector<double> a = got.detach().to_vector<double>(), b = expected.detach().to_vector<double>();
  double worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) worst = std::max(worst, error_of(a[i], b[i]));
  return worst;
}

// Against the CPU in f64, on the row's inputs rounded to `dtype`. Rows without a reference (random ones) have none.
double error_against_f64(const OpCase& c, DType dtype, Device device) {
  const NoGrad off;
  std::vector<Tensor> exact, there;
  for (const Tensor& x : make_inputs(c.inputs, dtype, 2)) {
    exact.push_back(is_floating(x.dtype()) ? x.to(f64) : x);
    there.push_back(x.to(device));
  }
  const std::vector<Tensor> expected = c.f(exact);
  const DeviceScope scope(device);
  const std::vector<Tensor> got = c.f(there);
  double worst = 0;
  for (size_t k = 0; k < std::min(got.size(), expected.size()); ++k)
    worst = std::max(worst, worst_error(got[k], expected[k]));
  return worst;
}

// What TENREC_PARITY_REPORT asks for; nothing without it.
class Report {
 public:
  void add(const OpCase& c, DType dtype, Device device, double error, double limit) {
    if (!file_.is_open()) return;
    file_ << "{\"op\": \"" << c.op << "\", \"variant\": \"" << c.variant << "\", \"dtype\": \"" << name(dtype)
          << "\", \"error\": " << number(error) << ", \"limit\": " << number(limit)
          << ", \"error_f64\": " << (has_f64(c) ? number(error_against_f64(c, dtype, device)) : "null") << "}"
          << std::endl;
  }

 private:
  static bool has_f64(const OpCase& c) {
    return c.reference && std::find(c.dtypes.begin(), c.dtypes.end(), f64) != c.dtypes.end();
  }
  static std::string number(double value) {
    if (!std::isfinite(value)) return "1e999";  // JSON has no word for it
    char text[32];
    std::snprintf(text, sizeof text, "%.3g", value);
    return text;
  }
  const char* const path_ = std::getenv("TENREC_PARITY_REPORT");
  std::ofstream file_ = path_ ? std::ofstream(path_) : std::ofstream();
};

// Largest error of the device's results, which must lie on the device.
double compare(const OpCase& c, DType dtype, Device device) {
  const std::vector<Tensor> expected = results_on(kCpu, c, dtype), got = results_on(device, c, dtype);
  EXPECT_EQ(got.size(), expected.size());
  double worst = 0;
  for (size_t k = 0; k < std::min(got.size(), expected.size()); ++k) {
    EXPECT_EQ(to_string(got[k].device()), to_string(device)) << "result " << k;
    EXPECT_EQ(got[k].dtype(), expected[k].dtype()) << "result " << k;
    EXPECT_EQ(to_string(got[k].shape()), to_string(expected[k].shape())) << "result " << k;
    worst = std::max(worst, worst_error(got[k], expected[k]));
  }
  return worst;
}

// What TENREC_CASE and TENREC_PARITY_SHARD leave.
std::vector<const OpCase*> chosen_rows() {
  const char *only = std::getenv("TENREC_CASE"), *text = std::getenv("TENREC_PARITY_SHARD");
  size_t shard = 0, shards = 1;
  if (text && (std::sscanf(text, "%zu/%zu", &shard, &shards) != 2 || shard >= shards))
    fail<ValueError>("TENREC_PARITY_SHARD=", text, ": must be I/N with I below N");
  std::vector<const OpCase*> chosen;
  for (size_t i = shard; i < op_cases().size(); i += shards)
    if (const OpCase& c = op_cases()[i]; !only || c.op == only) chosen.push_back(&c);
  return chosen;
}

TEST(CudaParity, EveryRowInEveryDType) {
  if (!cuda::is_available()) GTEST_SKIP() << "skipped, no cuda device";
  const Device device = DeviceType::cuda;
  Report report;
  int64_t checks = 0;
  for (const OpCase* row : chosen_rows()) {
    const OpCase& c = *row;
    for (DType dtype : dtypes_of(c)) {
      const std::string label = c.op + (c.variant.empty() ? "" : " / " + c.variant) + " in " + name(dtype);
      SCOPED_TRACE(label);
      try {
        // Two roundings may differ, one on each side; gradients of 16-bit results add some up.
        const double error = compare(c, dtype, device), limit = 4 * tolerance(c, dtype);
        EXPECT_LE(error, limit);
        report.add(c, dtype, device, error, limit);
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
