// What the linear algebra on the CPU shares: a matrix of a batch as Eigen sees it, and the loop over a batch. Internal.
#pragma once

#include <algorithm>

#include "tenrec/core/parallel.h"
#include "tenrec/kernels/eigen_impl.h"
#include "tenrec/kernels/linalg.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::kernels {

template <class T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
template <class T>
using Vector = Eigen::Matrix<T, Eigen::Dynamic, 1>;
template <class T>
using MatrixMap = Eigen::Map<Matrix<T>>;
template <class T>
using VectorMap = Eigen::Map<Vector<T>>;

// Matrix i of a batch.
template <class T>
MatrixMap<T> matrix_at(void* data, int64_t i, int64_t rows, int64_t cols) {
  return {static_cast<T*>(data) + i * rows * cols, rows, cols};
}
template <class T>
Eigen::Map<const Matrix<T>> matrix_at(const void* data, int64_t i, int64_t rows, int64_t cols) {
  return {static_cast<const T*>(data) + i * rows * cols, rows, cols};
}

// body(i, zero of the element type) for each matrix, each by one thread; small ones are taken several at a time.
template <class Body>
void for_matrices(const char* op, const Matrices& s, Body body) {
  constexpr int64_t kWork = 20000;  // multiply-adds that are worth a chunk
  const int64_t work = std::max<int64_t>(1, s.rows * s.cols * std::min(s.rows, s.cols));
  visit_floating(op, s.dtype, [&](auto zero) {
    if constexpr (std::is_floating_point_v<decltype(zero)>)
      parallel_for(s.count, std::max<int64_t>(1, kWork / work), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) body(i, zero);
      });
  });
}

}  // namespace tenrec::kernels
