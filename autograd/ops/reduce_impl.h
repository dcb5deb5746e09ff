// What the reductions share. Internal: included by op files, not by users.
#pragma once

#include "tenrec/autograd/ops/reduce.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/core/view.h"

namespace tenrec::detail {

// A reduction's shapes: with the reduced dimensions as 1, and as the result has them.
struct ReducedShape {
  Shape kept, result;
  int64_t reduced = 1;  // elements that make one output
  ReducedShape(const char* op, const Shape& shape, const Dims& dim, bool keepdim);
};

// A contiguous tensor seen at another shape of as many elements, for a kernel.
struct ReshapedView {
  const Tensor& tensor;
  Shape shape;
  Strides strides;
  ReshapedView(const Tensor& t, const Shape& s) : tensor(t), shape(s), strides(contiguous_strides(s)) {}
  View view() const { return {tensor.data_ptr(), &shape, &strides, tensor.numel(), tensor.dtype(), true}; }
};

inline void check_floating(const char* op, const Tensor& x) {
  if (!is_floating(x.dtype())) fail<DTypeError>(op, ": needs a floating dtype, got ", x.dtype());
}

// x as a kernel that wants it contiguous reads it: outside the tape, copied only if need be.
inline Tensor contiguous_data(const Tensor& x) { return x.is_contiguous() ? x : contiguous(x.detach()); }

// Fails where outputs would be made of no elements.
inline void check_not_empty(const char* op, const Tensor& x, const ReducedShape& to) {
  if (to.reduced == 0 && checked_numel(to.kept) > 0)
    fail<ShapeError>(op, ": nothing to choose from in shape ", x.shape());
}

}  // namespace tenrec::detail
