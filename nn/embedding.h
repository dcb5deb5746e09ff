// A table of vectors looked up by index.
#pragma once

#include "tenrec/nn/module.h"

namespace tenrec {

struct EmbeddingOptions {
  int64_t padding_idx = -1;  // this row starts at zero and gets no gradient; -1 for none
};

// indices (i64 or i32, any shape) -> indices.shape() + [dim]. weight [count, dim], N(0, 1). IndexError out of range.
class Embedding : public Module {
 public:
  Embedding(int64_t count, int64_t dim, const EmbeddingOptions& options = {});
  Tensor operator()(const Tensor& indices) const;
  void visit(Visitor& v) override { v("weight", weight); }
  std::string details() const override { return concat(weight.shape()[0], " x ", weight.shape()[1]); }
  Tensor weight;

 private:
  int64_t padding_idx_;
};

}  // namespace tenrec
