// The named mutations. Allowed under NoGrad, or on a tensor whose storage no node of the tape has recorded; otherwise
// AutogradError, which names the functional form. Each adds one to the version that all views of the storage share.
#pragma once

#include "tenrec/core/tensor.h"

namespace tenrec {

// x = y, broadcast and cast to x's dtype. Returns x.
const Tensor& copy_(const Tensor& x, const Tensor& y);
const Tensor& fill_(const Tensor& x, Scalar value);
const Tensor& zero_(const Tensor& x);
// x = x + alpha * y, y broadcast to x's shape.
const Tensor& add_(const Tensor& x, const Tensor& y, double alpha = 1);
// x = x * y, a number or a tensor broadcast to x's shape.
const Tensor& mul_(const Tensor& x, Scalar value);
const Tensor& mul_(const Tensor& x, const Tensor& y);

namespace detail {
// Whether elements of shape `from` fill shape `to` by repetition.
bool broadcasts_to(const Shape& from, const Shape& to);
// The check that every mutation starts with, and the new version it ends with.
void check_mutation(const char* op, const Tensor& x, const char* instead);
inline void bump_version(const Tensor& x) { __atomic_add_fetch(&x.impl().storage->version, 1u, __ATOMIC_RELAXED); }
}  // namespace detail

}  // namespace tenrec
