// The inner loop of a functor, and the kernels' front ends made of it. Included only by the files that instantiate
// functors (unary_cpu.cpp and its siblings).
#pragma once

#include <array>
#include <cstring>
#include <utility>

#include "tenrec/core/error.h"
#include "tenrec/kernels/elementwise.h"
#include "tenrec/kernels/elementwise_functors.h"

namespace tenrec::kernels::detail {

// The first `count` lanes from memory. What the others hold does not matter: a lane's value depends on itself alone.
template <class P>
TENREC_INLINE P load_tail(const ElementOf<P>* from, int64_t count) {
#if defined(__AVX512F__)
  // Built from compares, so that no header of intrinsics is needed: a masked load touches no memory beyond the mask.
  if constexpr (FloatPacket<P> && kSizeOf<P> == 16) {
    return P(__builtin_ia32_loadups512_mask(from, typename P::Vec{}, uint16_t((1u << count) - 1)));
  }
  if constexpr (DoublePacket<P> && kSizeOf<P> == 8) {
    return P(__builtin_ia32_loadupd512_mask(from, typename P::Vec{}, uint8_t((1u << count) - 1)));
  }
#endif
  ElementOf<P> lanes[kSizeOf<P>] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = from[i];
  return P::load(lanes);
}
template <class P>
TENREC_INLINE void store_tail(ElementOf<P>* to, P x, int64_t count) {
#if defined(__AVX512F__)
  if constexpr (FloatPacket<P> && kSizeOf<P> == 16) {
    return __builtin_ia32_storeups512_mask(to, x.v, uint16_t((1u << count) - 1));
  }
  if constexpr (DoublePacket<P> && kSizeOf<P> == 8) {
    return __builtin_ia32_storeupd512_mask(to, x.v, uint8_t((1u << count) - 1));
  }
#endif
  ElementOf<P> lanes[kSizeOf<P>];
  x.store(lanes);
  for (int64_t i = 0; i < count; ++i) to[i] = lanes[i];
}

template <class Int, int N>
TENREC_INLINE void store_mask(uint8_t* to, Mask<Int, N> m, int64_t count) {
  typedef uint8_t Bytes __attribute__((vector_size(N)));
  const Bytes ones = __builtin_convertvector(m.v, Bytes) & uint8_t(1);
  if (count >= N) [[likely]] {
    std::memcpy(to, &ones, N);
  } else {
    uint8_t lanes[N];
    std::memcpy(lanes, &ones, N);
    for (int64_t i = 0; i < count; ++i) to[i] = lanes[i];
  }
}

// Floats and doubles by packs, the last one filled up. The functor stands here once: heavy ones are long.
template <class F, class T, size_t... I>
void packed_loop(const void* functor, const Run& run, std::index_sequence<I...>) {
  using P = NativePack<T>;
  constexpr int64_t lanes = kLanes<T>;
  const F f = *static_cast<const F*>(functor);
  const T* x[] = {static_cast<const T*>(run.in[I])...};
  const int64_t step[] = {run.step[I] * lanes...};
  auto* y = static_cast<std::conditional_t<is_predicate<F>, uint8_t, T>*>(run.out);
  for (int64_t n = run.n; n > 0; n -= lanes, y += lanes) {
    P in[sizeof...(I)];
    if (n >= lanes) [[likely]]
      ((in[I] = P::load(x[I])), ...);
    else
      ((in[I] = load_tail<P>(x[I], n)), ...);
    ((x[I] += step[I]), ...);
    const auto out = f(in[I]...);
    if constexpr (is_predicate<F>)
      store_mask(y, out, n);
    else if (n >= lanes) [[likely]]
      out.store(y);
    else
      store_tail(y, out, n);
  }
}

// Integers one by one; the compiler vectorises what it can where nothing repeats.
template <class F, class T, size_t... I>
void scalar_loop(const void* functor, const Run& run, std::index_sequence<I...>) {
  const F f = *static_cast<const F*>(functor);
  const T* const x[] = {static_cast<const T*>(run.in[I])...};
  auto* y = static_cast<std::conditional_t<is_predicate<F>, uint8_t, T>*>(run.out);
  if (((run.step[I] == 1) && ...)) {
    for (int64_t i = 0; i < run.n; ++i) y[i] = f(x[I][i]...);
  } else {
    for (int64_t i = 0; i < run.n; ++i) y[i] = f(x[I][i * run.step[I]]...);
  }
}

template <class F, class T, size_t N>
void element_loop(const void* functor, const Run& run) {
  if constexpr (std::is_integral_v<T>)
    scalar_loop<F, T>(functor, run, std::make_index_sequence<N>());
  else
    packed_loop<F, T>(functor, run, std::make_index_sequence<N>());
}

template <class F, size_t N>
void run(const F& f, DType compute, const std::array<View, N>& inputs, const View& y) {
  ElementLoop loop = nullptr;
  if constexpr (on_floats<F>) {
    if (compute == f32) loop = element_loop<F, float, N>;
    if (compute == f64) loop = element_loop<F, double, N>;
  }
  if constexpr (on_integers<F>) {
    if (compute == i64) loop = element_loop<F, int64_t, N>;
  }
  if (!loop) [[unlikely]]
    fail<DTypeError>("this elementwise op is not defined for ", y.dtype);
  run_elementwise({loop, &f, compute, is_predicate<F>}, inputs, y);
}

}  // namespace tenrec::kernels::detail

namespace tenrec::kernels {

template <class F>
void unary(Cpu, const F& f, DType compute, const View& x, const View& y) {
  detail::run<F, 1>(f, compute, {x}, y);
}
template <class F>
void binary(Cpu, const F& f, DType compute, const View& a, const View& b, const View& y) {
  detail::run<F, 2>(f, compute, {a, b}, y);
}
template <class F>
void ternary(Cpu, const F& f, DType compute, const View& a, const View& b, const View& c, const View& y) {
  detail::run<F, 3>(f, compute, {a, b, c}, y);
}

template <class F>
struct UnaryInstance {
  void (*kernel)(Cpu, const F&, DType, const View&, const View&) = &unary<F>;
};
template <class F>
struct BinaryInstance {
  void (*kernel)(Cpu, const F&, DType, const View&, const View&, const View&) = &binary<F>;
};
template <class F>
struct TernaryInstance {
  void (*kernel)(Cpu, const F&, DType, const View&, const View&, const View&, const View&) = &ternary<F>;
};
}  // namespace tenrec::kernels
