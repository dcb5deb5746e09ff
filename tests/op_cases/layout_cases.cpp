#include "op_cases/layout_cases.h"

namespace tenrec::testing {

Array tabulate(const Shape& shape, const At& f) {
  Array y{shape, {}};
  Shape index = Shape::filled(shape.ndim(), 0);
  for (int64_t i = 0; i < checked_numel(shape); ++i) {
    y.values.push_back(f(index));
    for (int64_t d = shape.ndim() - 1; d >= 0 && ++index[d] == shape[d]; --d) index[d] = 0;
  }
  return y;
}

double get(const Array& a, const Shape& index) { return element(const_cast<Array&>(a), index); }

double& element(Array& a, const Shape& index) {
  int64_t at = 0;
  for (int64_t d = 0; d < a.shape.ndim(); ++d) at = at * a.shape[d] + index[d];
  return a.values[size_t(at)];
}

}  // namespace tenrec::testing
