#include "op_cases/op_case.h"

#include <algorithm>
#include <cmath>

#include "op_cases/linalg_cases.h"
#include "tenrec/core/philox.h"

namespace tenrec::testing {

const std::vector<OpCase>& op_cases() {
  static const std::vector<OpCase> cases = [] {
    std::vector<OpCase> all;
    const Add add = [&](OpCase c) { all.push_back(std::move(c)); };
    add_elementwise_cases(add);
    add_activation_cases(add);
    add_reduce_cases(add);
    add_softmax_cases(add);
    add_norm_cases(add);
    add_attention_cases(add);
    add_shape_cases(add);
    add_index_cases(add);
    add_sort_cases(add);
    add_random_cases(add);
    add_matmul_cases(add);
    add_linalg_cases(add);
    add_linear_cases(add);
    add_conv_cases(add);
    add_pool_cases(add);
    add_recurrent_cases(add);
    add_resample_cases(add);
    return all;
  }();
  return cases;
}

std::vector<Tensor> make_inputs(const std::vector<Input>& inputs, DType dtype, uint64_t seed) {
  std::vector<Tensor> out;
  for (size_t k = 0; k < inputs.size(); ++k) {
    const Input& input = inputs[k];
    const int64_t n = checked_numel(input.shape);
    std::vector<double> values = input.values;
    if (values.empty()) {
      const Philox philox(seed);
      for (int64_t i = 0; i < n; ++i) {
        const double u = double(philox(uint64_t(k), uint64_t(i)).word[0]) * 0x1p-32;
        if (input.kind == Input::real)
          values.push_back(input.low + (input.high - input.low) * u);
        else if (input.kind == Input::integer)
          values.push_back(std::floor(input.low + (input.high - input.low + 1) * u));
        else
          values.push_back(u < 0.5 ? 0 : 1);
      }
    }
    const DType type = input.kind == Input::real ? dtype : input.kind == Input::integer ? i64 : boolean;
    out.push_back(from_vector(values, input.shape).to(type));
  }
  return out;
}

double tolerance(const OpCase& c, DType dtype) {
  switch (dtype) {
    case f64:
      return c.tolerance.f64;
    case f32:
      return c.tolerance.f32;
    case bf16:
      return c.tolerance.bf16;
    default:
      return c.tolerance.f16;
  }
}

bool has_real_input(const OpCase& c) {
  for (const Input& input : c.inputs)
    if (input.kind == Input::real) return true;
  return c.inputs.empty();
}

std::vector<DType> dtypes_of(const OpCase& c) { return has_real_input(c) ? c.dtypes : std::vector<DType>{f64}; }

double error_of(double got, double expected) {
  if (std::isnan(expected)) return std::isnan(got) ? 0 : INFINITY;
  if (std::isinf(expected) || std::isinf(got)) return got == expected ? 0 : INFINITY;
  if (std::isnan(got)) return INFINITY;
  return std::abs(got - expected) / std::max(1.0, std::abs(expected));
}

Array to_array(const Tensor& t) { return {t.shape(), t.to_vector<double>()}; }

Array map_array(const Array& x, const std::function<double(double)>& f) {
  Array y = x;
  for (double& v : y.values) v = f(v);
  return y;
}

Array zip_array(const Array& a, const Array& b, const std::function<double(double, double)>& f) {
  Array y{broadcast_shapes("zip_array", a.shape, b.shape), {}};
  const auto offset = [&](const Array& x, const Shape& index) {
    int64_t at = 0;
    const int64_t lead = y.shape.ndim() - x.shape.ndim();
    for (int64_t d = 0; d < x.shape.ndim(); ++d) at = at * x.shape[d] + (x.shape[d] == 1 ? 0 : index[d + lead]);
    return size_t(at);
  };
  Shape index = Shape::filled(y.shape.ndim(), 0);
  for (int64_t i = 0; i < checked_numel(y.shape); ++i) {
    y.values.push_back(f(a.values[offset(a, index)], b.values[offset(b, index)]));
    for (int64_t d = index.ndim() - 1; d >= 0 && ++index[d] == y.shape[d]; --d) index[d] = 0;
  }
  return y;
}

}  // namespace tenrec::testing
