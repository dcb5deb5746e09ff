// Views and what moves elements without changing them. Results share storage with their input unless said otherwise.
#pragma once

#include <vector>

#include "tenrec/core/tensor.h"

namespace tenrec {

// The same elements under another shape; one size may be -1. Copies if no view can do it. ShapeError on a misfit.
Tensor reshape(const Tensor& x, const Shape& shape);
// Dimensions start..end (inclusive) as one.
Tensor flatten(const Tensor& x, int64_t start = 0, int64_t end = -1);
Tensor unflatten(const Tensor& x, int64_t dim, const Shape& sizes);
// Dimension i of the result is dimension dims[i] of x.
Tensor permute(const Tensor& x, const Shape& dims);
Tensor transpose(const Tensor& x, int64_t dim0, int64_t dim1);
// The matrix transpose: the last two dimensions.
Tensor t(const Tensor& x);
Tensor movedim(const Tensor& x, int64_t from, int64_t to);
// Sizes of 1 repeated without a copy; -1 keeps a size.
Tensor expand(const Tensor& x, const Shape& shape);
Tensor broadcast_to(const Tensor& x, const Shape& shape);
// All at the shape they broadcast to together. ShapeError if they do not.
std::vector<Tensor> broadcast_tensors(const std::vector<Tensor>& xs);
Tensor squeeze(const Tensor& x);
Tensor squeeze(const Tensor& x, int64_t dim);
Tensor unsqueeze(const Tensor& x, int64_t dim);
// Elements start, start + step, ... before end of one dimension; start and end clamp as in Python. step > 0.
Tensor slice(const Tensor& x, int64_t dim, int64_t start, int64_t end = INT64_MAX, int64_t step = 1);
// `length` elements from `start`; IndexError when they are not all there.
Tensor narrow(const Tensor& x, int64_t dim, int64_t start, int64_t length);
// One entry of a dimension, which goes away.
Tensor select(const Tensor& x, int64_t dim, int64_t index);
// The diagonal of dimensions dim0 and dim1, as the last dimension of the result.
Tensor diagonal(const Tensor& x, int64_t offset = 0, int64_t dim0 = 0, int64_t dim1 = 1);
// The transpose of diagonal, a copy: zeros but for x's last dimension on the diagonal of dim0 and dim1 of the result.
Tensor diag_embed(const Tensor& x, int64_t offset = 0, int64_t dim0 = -2, int64_t dim1 = -1);
// The diagonal of a matrix (a view), or a matrix with the vector x on its diagonal (a copy).
Tensor diag(const Tensor& x, int64_t offset = 0);

// x itself if it is contiguous, else a contiguous copy.
Tensor contiguous(const Tensor& x);
// A contiguous copy.
Tensor clone(const Tensor& x);
// A new view of all of x with a tape node of its own.
Tensor alias(const Tensor& x);

}  // namespace tenrec
