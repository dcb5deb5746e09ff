// Helpers of the rows about moving elements: references are written as "element at this index is that".
#pragma once

#include <functional>
#include <initializer_list>

#include "op_cases/op_case.h"

namespace tenrec::testing {

using At = std::function<double(const Shape& index)>;

// The array whose element at `index` is f(index).
Array tabulate(const Shape& shape, const At& f);
double get(const Array& a, const Shape& index);
double& element(Array& a, const Shape& index);
// a as to_array would give it for a vector.
inline Array vector_of(std::vector<double> values) { return {{int64_t(values.size())}, std::move(values)}; }

inline Function one_in(std::function<Tensor(const Tensor&)> f) {
  return [f](std::span<const Tensor> in) { return std::vector<Tensor>{f(in[0])}; };
}
inline Function two_in(std::function<Tensor(const Tensor&, const Tensor&)> f) {
  return [f](std::span<const Tensor> in) { return std::vector<Tensor>{f(in[0], in[1])}; };
}
inline Function three_in(std::function<Tensor(const Tensor&, const Tensor&, const Tensor&)> f) {
  return [f](std::span<const Tensor> in) { return std::vector<Tensor>{f(in[0], in[1], in[2])}; };
}
// One output from the input arrays.
inline Reference single(std::function<Array(std::span<const Array>)> f) {
  return [f](std::span<const Array> in) { return std::vector<Array>{f(in)}; };
}

// Inputs of indices or masks with the given values.
inline Input index_input(const Shape& shape, std::vector<double> values) {
  return {.shape = shape, .kind = Input::integer, .values = std::move(values)};
}
inline Input mask_input(const Shape& shape, std::vector<double> values) {
  return {.shape = shape, .kind = Input::boolean, .values = std::move(values)};
}

void add_view_cases(const Add& add);
void add_join_cases(const Add& add);
void add_pad_cases(const Add& add);

}  // namespace tenrec::testing
