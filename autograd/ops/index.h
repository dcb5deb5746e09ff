// Indexing: what Python writes x[...], and the ops that pick, scatter or look up by index or mask.
//
// Index tensors are i64 or i32, masks are bool. An index outside its dimension is an IndexError that names the op, the
// index, its place and the bound, before anything is written. Where indices repeat, results follow the order of the
// indices: the last one is kept, sums are formed in that order; so all of this is deterministic for any number of
// threads, backward too.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "tenrec/core/index_error.h"
#include "tenrec/core/tensor.h"

namespace tenrec {

// start:stop:step of Python; what is left out means the end. step > 0.
struct Slice {
  std::optional<int64_t> start = {}, stop = {};
  int64_t step = 1;
};
struct NoneType {};
struct EllipsisType {};
inline constexpr NoneType None{};          // a new dimension of size 1
inline constexpr EllipsisType Ellipsis{};  // all dimensions that are not named

// One entry of a subscript.
class Index {
 public:
  enum class Kind : uint8_t { integer, slice, none, ellipsis, tensor };
  template <class T>
  requires(std::is_integral_v<T> && !std::is_same_v<T, bool>) Index(T i)
      : kind(Kind::integer), integer(int64_t(i)) {}          // NOLINT(google-explicit-constructor)
  Index(const Slice& s) : kind(Kind::slice), slice(s) {}     // NOLINT(google-explicit-constructor)
  Index(NoneType) : kind(Kind::none) {}                      // NOLINT(google-explicit-constructor)
  Index(EllipsisType) : kind(Kind::ellipsis) {}              // NOLINT(google-explicit-constructor)
  Index(const Tensor& t) : kind(Kind::tensor), tensor(t) {}  // NOLINT(google-explicit-constructor)

  Kind kind;
  int64_t integer = 0;
  Slice slice = {};
  Tensor tensor = {};
};

// x[indices] by PyTorch's rules. Integers, slices, None and Ellipsis alone give a view. Tensors pick: index tensors
// broadcast against each other, a mask stands for the indices of its true elements; their dimensions are replaced by
// the broadcast shape, in place if they are neighbours, else in front.
Tensor index(const Tensor& x, const std::vector<Index>& indices);
// x with x[indices] = value, or += value with `accumulate`; value broadcasts to x[indices] and is cast to x's dtype.
Tensor index_put(const Tensor& x, const std::vector<Index>& indices, const Tensor& value, bool accumulate = false);
Tensor index_put(const Tensor& x, const std::vector<Index>& indices, Scalar value, bool accumulate = false);
// The same in place (see mutate.h). Returns x.
const Tensor& index_put_(const Tensor& x, const std::vector<Index>& indices, const Tensor& value,
                         bool accumulate = false);
const Tensor& index_put_(const Tensor& x, const std::vector<Index>& indices, Scalar value, bool accumulate = false);

// Entries of one dimension by a vector of indices (not negative).
Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index);
// x with alpha * source[.., i, ..] added to entry index[i] of `dim`. source has x's shape but for `dim`.
Tensor index_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source, Scalar alpha = 1);
// Rows of weight [count, dim] -> indices.shape() + [dim]. Row padding_idx (-1: none) gets no gradient.
Tensor embedding(const Tensor& weight, const Tensor& indices, int64_t padding_idx = -1);
// Elements of the flattened x, by indices of any shape, which the result has.
Tensor take(const Tensor& x, const Tensor& index);

// y[i][j] = x[index[i][j]][j] for dim = 0. index has x's number of dimensions and is nowhere larger than x but along
// dim.
Tensor gather(const Tensor& x, int64_t dim, const Tensor& index);
// gather with indices that may be negative and broadcast against x (numpy.take_along_axis).
Tensor take_along_dim(const Tensor& x, const Tensor& index, int64_t dim);
// x with y[index[i][j]][j] = src[i][j] for dim = 0; src is nowhere smaller than index.
Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src);
Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, Scalar value);
Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src);
// reduce: "sum", "prod", "mean" (floating dtypes), "amax", "amin". Without include_self, what is scattered to replaces
// x. prod has no derivative; the gradient of amax and amin is shared equally by all that are equal to the result.
Tensor scatter_reduce(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce,
                      bool include_self = true);

// The elements where the mask is true, as a vector. x and mask broadcast.
Tensor masked_select(const Tensor& x, const Tensor& mask);
// x with `value` where the mask is true; the mask broadcasts to x. A tensor value is 0-d.
Tensor masked_fill(const Tensor& x, const Tensor& mask, Scalar value);
Tensor masked_fill(const Tensor& x, const Tensor& mask, const Tensor& value);
// x with the first elements of source, in order, where the mask is true.
Tensor masked_scatter(const Tensor& x, const Tensor& mask, const Tensor& source);

// Indices of the elements that are not zero: [n, ndim], i64; or one vector per dimension, for index().
Tensor nonzero(const Tensor& x);
std::vector<Tensor> where(const Tensor& condition);

// [...] -> [..., classes] i64; -1 classes: the largest index plus one.
Tensor one_hot(const Tensor& index, int64_t classes = -1);
// How often each of 0, 1, ... appears in a vector, as i64; or the sum of its weights. At least min_length long.
Tensor bincount(const Tensor& x, int64_t min_length = 0);
Tensor bincount(const Tensor& x, const Tensor& weights, int64_t min_length = 0);

namespace detail {
// An index tensor as contiguous i64 outside the tape. DTypeError unless it is i64 or i32.
Tensor as_index(const char* op, const Tensor& index);
// IndexError unless the rule takes all of a contiguous i64 tensor: at once on the CPU, where the host waits next on a
// device. There, what uses the index must leave out what is outside (kernels/index.h).
void check_index(const char* op, const Tensor& index, const IndexRule& rule);
inline IndexRule into_dim(int64_t dim, int64_t size) {
  return {.kind = IndexRule::Kind::dimension, .low = 0, .high = size, .dim = dim};
}
// Positions of what is not zero in the flattened x.
Tensor true_positions(const Tensor& x);

// x [outer, n, inner], rows (checked, i64) -> [outer, rows.numel(), inner]; the rows equal to `skip` are zero. And the
// transpose. Each is the other's rule.
Tensor take_rows(const char* op, const Tensor& x, const Tensor& rows, int64_t skip = -1);
Tensor add_rows(const char* op, const Tensor& picked, const Tensor& rows, int64_t n, int64_t skip = -1);
// x with rows replaced; where they repeat, the last one stays and only that one gets a gradient.
Tensor put_rows(const Tensor& x, const Tensor& rows, const Tensor& picked);
}  // namespace detail

}  // namespace tenrec
