// Layers that only change the shape.
#pragma once

#include "tenrec/autograd/ops/shape.h"
#include "tenrec/nn/module.h"

namespace tenrec {

// Dimensions start..end as one; by default everything but the batch.
class Flatten : public Module {
 public:
  explicit Flatten(int64_t start = 1, int64_t end = -1) : start_(start), end_(end) {}
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return flatten(x, start_, end_);
  }

 private:
  int64_t start_, end_;
};

// One dimension as several; one size may be -1.
class Unflatten : public Module {
 public:
  Unflatten(int64_t dim, const Shape& sizes) : dim_(dim), sizes_(sizes) {}
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return unflatten(x, dim_, sizes_);
  }

 private:
  int64_t dim_;
  Shape sizes_;
};

}  // namespace tenrec
