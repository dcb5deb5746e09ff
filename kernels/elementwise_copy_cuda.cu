// Copies between layouts and dtypes, fills, ramps, and the look for zeros.
//
// Floor: each element is read and written once. A copy between gapless operands of one dtype is CUDA's own; conversions
// and strides go by elements.
#include <cstring>

#include "tenrec/kernels/convert.h"
#include "tenrec/kernels/cuda/elementwise.cuh"
#include "tenrec/kernels/ramp.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::cuda {
namespace {

template <class From, class To>
__global__ void copy_strided(const Stored<From>* x, Stored<To>* y, Offsets<2> offsets, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    int64_t at[2];
    offsets.at(i, at);
    if constexpr (std::is_same_v<From, To>)
      y[at[1]] = x[at[0]];
    else if constexpr (std::is_same_v<From, bool>)
      y[at[1]] = convert_to<To>(x[at[0]] != 0);
    else
      y[at[1]] = convert_to<To>(x[at[0]]);
  }
}

template <class T>
__global__ void fill_strided(T value, T* y, Offsets<1> offsets, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    int64_t at[1];
    offsets.at(i, at);
    y[at[0]] = value;
  }
}

__global__ void fill_ramp(double start, double step, void* y, DType dtype, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) store_as(y, i, dtype, start + double(i) * step);
}

// Sets *found if an element is zero.
__global__ void find_zero(const void* x, DType dtype, Offsets<1> offsets, int64_t n, int* found) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    int64_t at[1];
    offsets.at(i, at);
    if (!load_as<bool>(x, at[0], dtype)) atomicExch(found, 1);
  }
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

void copy(Cuda, const View& from, const View& to) {
  if (to.numel == 0) return;
  const Strides strides[2] = {detail::expand_strides(from, *to.shape), *to.strides};
  const detail::Space space = detail::merge(*to.shape, strides, 2);
  if (from.dtype == to.dtype && is_linear(space, 0) && is_linear(space, 1)) {
    TENREC_CUDA_CHECK(
        cudaMemcpyAsync(to.data, from.data, size_t(to.numel * size_of(to.dtype)), cudaMemcpyDeviceToDevice, stream()));
    return;
  }
  const auto offsets = offsets_of<2>(space.shape, space.strides);
  const auto run = [&](auto x, auto y) {
    using From = decltype(x);
    using To = decltype(y);
    TENREC_LAUNCH((copy_strided<From, To>), grid_for(to.numel), kThreads, 0, stream(), from.as<Stored<From>>(),
                  to.as<Stored<To>>(), offsets, to.numel);
  };
  if (from.dtype == to.dtype)
    visit_width(from.dtype, [&](auto x) { run(x, x); });
  else
    visit_dtype(from.dtype, [&](auto x) { visit_dtype(to.dtype, [&](auto y) { run(x, y); }); });
  TENREC_LAUNCH_CHECK();
}

void fill(Cuda, const View& y, double value, int64_t integer) {
  if (y.numel == 0) return;
  const detail::Space space = detail::merge(*y.shape, y.strides, 1);
  const auto offsets = offsets_of<1>(space.shape, space.strides);
  alignas(8) char element[8] = {};
  const bool floating = is_floating(y.dtype);
  convert_strided(floating ? static_cast<void*>(&value) : static_cast<void*>(&integer), floating ? f64 : i64, 0,
                  element, y.dtype, 1, 1);
  visit_width(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    T pattern;
    std::memcpy(&pattern, element, sizeof(T));
    TENREC_LAUNCH(fill_strided<T>, grid_for(y.numel), kThreads, 0, stream(), pattern, y.as<T>(), offsets, y.numel);
  });
  TENREC_LAUNCH_CHECK();
}

void ramp(Cuda, double start, double step, const View& y) {
  if (y.numel == 0) return;
  TENREC_LAUNCH(fill_ramp, grid_for(y.numel), kThreads, 0, stream(), start, step, y.data, y.dtype, y.numel);
  TENREC_LAUNCH_CHECK();
}

bool all_nonzero(Cuda, const View& x) {
  if (x.numel == 0) return true;
  const detail::Space space = detail::merge(*x.shape, x.strides, 1);
  const Buffer<int> found(1);
  TENREC_CUDA_CHECK(cudaMemsetAsync(found.data(), 0, sizeof(int), stream()));
  TENREC_LAUNCH(find_zero, grid_for(x.numel), kThreads, 0, stream(), x.data, x.dtype,
                offsets_of<1>(space.shape, space.strides), x.numel, found.data());
  TENREC_LAUNCH_CHECK();
  return download(found.data()) == 0;
}

}  // namespace tenrec::kernels
