// Joining, cutting, repeating, turning and padding. All keep the dtype but cat and stack, which promote to a common
// one. split, chunk, tensor_split and unbind return views; the others copies.
#pragma once

#include <string_view>
#include <vector>

#include "tenrec/core/tensor.h"

namespace tenrec {

// Tensors one after the other along `dim`; all other sizes must agree (ShapeError). Empty tensors of shape [0] are left
// out, as in PyTorch.
Tensor cat(const std::vector<Tensor>& xs, int64_t dim = 0);
// Tensors of one shape along a new dimension.
Tensor stack(const std::vector<Tensor>& xs, int64_t dim = 0);

// Parts of `size` along `dim`, the last one maybe smaller.
std::vector<Tensor> split(const Tensor& x, int64_t size, int64_t dim = 0);
// Parts of the given sizes, which must add up to the dimension's (ShapeError).
std::vector<Tensor> split(const Tensor& x, const std::vector<int64_t>& sizes, int64_t dim = 0);
// At most n parts of ceil(size / n).
std::vector<Tensor> chunk(const Tensor& x, int64_t n, int64_t dim = 0);
// Exactly n parts, the first ones larger by one if need be; or parts that end before each of the given indices.
std::vector<Tensor> tensor_split(const Tensor& x, int64_t n, int64_t dim = 0);
std::vector<Tensor> tensor_split(const Tensor& x, const std::vector<int64_t>& indices, int64_t dim = 0);
// The entries of a dimension, which goes away.
std::vector<Tensor> unbind(const Tensor& x, int64_t dim = 0);

// x repeated as a whole, repeats[i] times along dimension i; more repeats than dimensions add dimensions in front.
Tensor repeat(const Tensor& x, const Shape& repeats);
// The same, but fewer repeats than dimensions leave the first ones as they are (numpy.tile).
Tensor tile(const Tensor& x, const Shape& repeats);
// Each entry of `dim` repeated in place; the second form has a count (i64, not negative) for each entry. Without `dim`
// x is flattened first.
Tensor repeat_interleave(const Tensor& x, int64_t repeats, int64_t dim);
Tensor repeat_interleave(const Tensor& x, int64_t repeats);
Tensor repeat_interleave(const Tensor& x, const Tensor& repeats, int64_t dim);

// The order of the named dimensions reversed.
Tensor flip(const Tensor& x, const Shape& dims);
// Entries moved by shifts[i] places along dims[i]; what leaves at one end comes in at the other. The second form rolls
// the flattened tensor.
Tensor roll(const Tensor& x, const Shape& shifts, const Shape& dims);
Tensor roll(const Tensor& x, int64_t shift);
// Turned by k quarter turns in the plane from dims[0] to dims[1].
Tensor rot90(const Tensor& x, int64_t k = 1, const Shape& dims = {0, 1});

enum class PadMode { constant, reflect, replicate, circular };
// padding = {left, right} of the last dimension, then of the one before it, and so on. Negative padding cuts off
// (constant mode only). ShapeError if a reflecting or circular padding is larger than what there is to show.
Tensor pad(const Tensor& x, const std::vector<int64_t>& padding, PadMode mode = PadMode::constant, Scalar value = 0);

// The lower (upper) triangle of the last two dimensions, zeros elsewhere: columns up to (from) row + diagonal.
Tensor tril(const Tensor& x, int64_t diagonal = 0);
Tensor triu(const Tensor& x, int64_t diagonal = 0);

// Coordinate grids of vectors or 0-d tensors, as views: "ij" (matrix) or "xy" (Cartesian) order.
std::vector<Tensor> meshgrid(const std::vector<Tensor>& xs, std::string_view indexing = "ij");

}  // namespace tenrec
