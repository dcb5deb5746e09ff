// Helpers of the elementwise and activation rows.
#pragma once

#include <cmath>
#include <limits>

#include "op_cases/op_case.h"

namespace tenrec::testing {

inline constexpr double kInf = std::numeric_limits<double>::infinity();
inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

using Unary = Tensor (*)(const Tensor&);
using Binary = Tensor (*)(const Tensor&, const Tensor&);
using Number = std::function<double(double)>;
using Numbers = std::function<double(double, double)>;

inline Function op_of(std::function<Tensor(const Tensor&)> f) {
  return [f](std::span<const Tensor> in) { return std::vector<Tensor>{f(in[0])}; };
}
inline Function op_of(std::function<Tensor(const Tensor&, const Tensor&)> f) {
  return [f](std::span<const Tensor> in) { return std::vector<Tensor>{f(in[0], in[1])}; };
}
inline Function op_of(std::function<Tensor(const Tensor&, const Tensor&, const Tensor&)> f) {
  return [f](std::span<const Tensor> in) { return std::vector<Tensor>{f(in[0], in[1], in[2])}; };
}

inline Reference reference_of(Number f) {
  return [f](std::span<const Array> in) { return std::vector<Array>{map_array(in[0], f)}; };
}
inline Reference reference_of(Numbers f) {
  return [f](std::span<const Array> in) { return std::vector<Array>{zip_array(in[0], in[1], f)}; };
}

// The gradients of the sum of f's output, as a function: what the rows about kinks and ties look at, because there no
// difference quotient can.
inline Function gradient_of(Function f) {
  return [f](std::span<const Tensor> in) {
    const EnableGrad on;
    std::vector<Tensor> xs;
    for (const Tensor& x : in) xs.push_back(x.detach().set_requires_grad(true));
    const Tensor y = f(xs)[0];
    return grad({y}, xs, {ones_like(y)});
  };
}

inline Input given(std::vector<double> values) {
  const auto n = int64_t(values.size());
  return {.shape = {n}, .values = std::move(values)};
}
inline Input integers(std::vector<double> values) {
  Input input = given(std::move(values));
  input.kind = Input::integer;
  return input;
}
inline Input booleans(std::vector<double> values) {
  Input input = given(std::move(values));
  input.kind = Input::boolean;
  return input;
}

// Sizes at which an elementwise op is timed: in the second cache, in memory.
inline Bench elementwise_bench(size_t inputs, double low, double high, double flops) {
  return {.shapes = {{65536}, {1 << 22}},
          .inputs = [=](const Shape& s) { return std::vector<Input>(inputs, {.shape = s, .low = low, .high = high}); },
          .bytes_per_element = 4.0 * double(inputs + 1),
          .flops_per_element = flops};
}

void add_ternary_cases(const Add& add);
void add_unary_cases(const Add& add);
void add_compare_cases(const Add& add);

}  // namespace tenrec::testing
