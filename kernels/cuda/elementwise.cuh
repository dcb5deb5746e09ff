// The CUDA side of the elementwise kernels: one loop for any functor.
//
// Floor: every operand crosses memory once. Operands that lie without gaps in one dtype go by 16 bytes; everything else
// (broadcasting, strides, mixed dtypes) by elements, whose place is computed from the index and whose dtype is looked
// up: a branch that all threads take alike.
#pragma once

#include "tenrec/kernels/cuda/launch.h"
#include "tenrec/kernels/elementwise.h"
#include "tenrec/kernels/elementwise_functors.h"
#include "tenrec/kernels/elementwise_space.h"

namespace tenrec::cuda {

using kernels::is_predicate;

template <int K>
struct Operands {
  const void* in[K];
  DType dtype[K];
  void* out;
  DType out_dtype;
  Offsets<K + 1> offsets;  // the output's last
};

template <class F, class C, int K, int... I>
__device__ auto apply(const F& f, const C (&x)[K], std::integer_sequence<int, I...>) {
  return f(x[I]...);
}

// Any layout and dtypes; arithmetic in C.
template <class F, class C, int K>
__global__ void elementwise(F f, Operands<K> x, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    int64_t offset[K + 1];
    x.offsets.at(i, offset);
    C in[K];
    for (int k = 0; k < K; ++k) in[k] = load_as<C>(x.in[k], offset[k], x.dtype[k]);
    store_as(x.out, offset[K], x.out_dtype, apply(f, in, std::make_integer_sequence<int, K>()));
  }
}

template <int K, class T>
struct Contiguous {
  const T* in[K];
};

// Contiguous, aligned operands of one dtype T, a pack of 16 bytes a turn; the rest, less than a pack, by the last
// threads.
template <class F, class C, class T, class Out, int K>
__global__ void elementwise_packed(F f, Contiguous<K, T> x, Out* y, int64_t n) {
  constexpr int kCount = Pack16<T>::kCount;
  constexpr auto kAll = std::make_integer_sequence<int, K>();
  const int64_t packs = n / kCount;
  for (int64_t p = grid_start(); p < packs; p += grid_stride()) {
    Pack16<T> in[K];
    for (int k = 0; k < K; ++k) in[k] = load16(x.in[k] + p * kCount);
    struct alignas(kCount * sizeof(Out)) {
      Out values[kCount];
    } out;
    for (int j = 0; j < kCount; ++j) {
      C element[K];
      for (int k = 0; k < K; ++k) element[k] = convert_to<C>(in[k].values[j]);
      out.values[j] = convert_to<Out>(apply(f, element, kAll));
    }
    *reinterpret_cast<decltype(out)*>(y + p * kCount) = out;
  }
  const int64_t i = packs * kCount + grid_start();
  if (i < n) {
    C element[K];
    for (int k = 0; k < K; ++k) element[k] = convert_to<C>(x.in[k][i]);
    y[i] = convert_to<Out>(apply(f, element, kAll));
  }
}

template <class F, class C, class T, int K>
bool run_packed(const F& f, const std::array<View, K>& inputs, const View& y) {
  using Out = std::conditional_t<is_predicate<F>, uint8_t, T>;
  if (y.dtype != (is_predicate<F> ? boolean : dtype_of<T>)) return false;
  const auto fits = [](const View& v) { return v.contiguous && reinterpret_cast<uintptr_t>(v.data) % 16 == 0; };
  Contiguous<K, T> x;
  for (int k = 0; k < K; ++k) {
    const View& in = inputs[size_t(k)];
    if (in.dtype != dtype_of<T> || !fits(in) || *in.shape != *y.shape) return false;
    x.in[k] = in.as<T>();
  }
  if (!fits(y)) return false;
  const unsigned grid = grid_for(kernels::ceil_div(y.numel, Pack16<T>::kCount));
  TENREC_LAUNCH((elementwise_packed<F, C, T, Out, K>), grid, kThreads, 0, stream(), f, x, y.as<Out>(), y.numel);
  return true;
}

template <class F, class C, int K>
void run_any(const F& f, const std::array<View, K>& inputs, const View& y) {
  Strides strides[K + 1];
  Operands<K> x;
  for (int k = 0; k < K; ++k) {
    const View& in = inputs[size_t(k)];
    strides[k] = kernels::detail::expand_strides(in, *y.shape);
    x.in[k] = in.data;
    x.dtype[k] = in.dtype;
  }
  strides[K] = *y.strides;
  const kernels::detail::Space space = kernels::detail::merge(*y.shape, strides, K + 1);
  x.out = y.data;
  x.out_dtype = y.dtype;
  x.offsets = offsets_of<K + 1>(space.shape, space.strides);
  TENREC_LAUNCH((elementwise<F, C, K>), grid_for(y.numel), kThreads, 0, stream(), f, x, y.numel);
}

template <class F, int K>
void run_elementwise(const F& f, DType compute, const std::array<View, K>& inputs, const View& y) {
  if (y.numel == 0) return;
  bool known = false;
  if constexpr (kernels::on_floats<F>) {
    if (compute == f32) {
      known = true;
      if (!run_packed<F, float, float, K>(f, inputs, y) && !run_packed<F, float, bfloat16, K>(f, inputs, y) &&
          !run_packed<F, float, float16, K>(f, inputs, y))
        run_any<F, float, K>(f, inputs, y);
    } else if (compute == f64) {
      known = true;
      if (!run_packed<F, double, double, K>(f, inputs, y)) run_any<F, double, K>(f, inputs, y);
    }
  }
  if constexpr (kernels::on_integers<F>) {
    if (compute == i64) {
      known = true;
      if (!run_packed<F, int64_t, int64_t, K>(f, inputs, y)) run_any<F, int64_t, K>(f, inputs, y);
    }
  }
  if (!known) fail<DTypeError>("this elementwise op is not defined for ", y.dtype);
  TENREC_LAUNCH_CHECK();
}

}  // namespace tenrec::cuda

namespace tenrec::kernels {

template <class F>
void unary(Cuda, const F& f, DType compute, const View& x, const View& y) {
  cuda::run_elementwise<F, 1>(f, compute, {x}, y);
}
template <class F>
void binary(Cuda, const F& f, DType compute, const View& a, const View& b, const View& y) {
  cuda::run_elementwise<F, 2>(f, compute, {a, b}, y);
}
template <class F>
void ternary(Cuda, const F& f, DType compute, const View& a, const View& b, const View& c, const View& y) {
  cuda::run_elementwise<F, 3>(f, compute, {a, b, c}, y);
}

template <class F>
struct CudaUnary {
  void (*kernel)(Cuda, const F&, DType, const View&, const View&) = &unary<F>;
};
template <class F>
struct CudaBinary {
  void (*kernel)(Cuda, const F&, DType, const View&, const View&, const View&) = &binary<F>;
};
template <class F>
struct CudaTernary {
  void (*kernel)(Cuda, const F&, DType, const View&, const View&, const View&, const View&) = &ternary<F>;
};

}  // namespace tenrec::kernels
