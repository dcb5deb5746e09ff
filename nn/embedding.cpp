#include "tenrec/nn/embedding.h"

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"
#include "tenrec/nn/init.h"

namespace tenrec {

Embedding::Embedding(int64_t count, int64_t dim, const EmbeddingOptions& options) : padding_idx_(options.padding_idx) {
  if (count < 0 || dim < 0) fail<ValueError>("Embedding: sizes must not be negative, got ", count, " and ", dim);
  if (padding_idx_ < -1 || padding_idx_ >= count)
    fail<IndexError>("Embedding: padding_idx ", padding_idx_, " is out of range for ", count, " rows");
  weight = init::normal_(empty({count, dim}));
  if (padding_idx_ >= 0) zero_(select(weight, 0, padding_idx_));
  weight.set_requires_grad(true);
}

Tensor Embedding::operator()(const Tensor& indices) const {
  const ModuleScope scope(*this);
  return embedding(weight, indices, padding_idx_);
}

}  // namespace tenrec
