// What the functors of the elementwise kernels share: their traits, lists of them, numbers as packets, and binary
// functors with one operand fixed. See elementwise_functors.h.
#pragma once

#include "tenrec/kernels/vector_math.h"

namespace tenrec::kernels {

template <class... F>
struct FunctorList {};

// The instances of a list's functors: a constant that holds their addresses puts them into the object file, from where
// the linker takes only those that a program calls.
template <template <class> class Instance, class List>
struct Instances;
template <template <class> class Instance, class... F>
struct Instances<Instance, FunctorList<F...>> : Instance<F>... {};

template <class F>
inline constexpr bool is_predicate = requires {
  F::predicate;
};
template <class F>
inline constexpr bool on_integers = requires {
  F::integers;
}
|| requires { F::integers_only; };
template <class F>
inline constexpr bool on_floats = !requires {
  F::integers_only;
};

template <class P>
inline constexpr bool is_integer_packet = std::is_integral_v<ElementOf<P>>;

// A C++ number as a packet.
template <RealPacket P>
TENREC_INLINE P splat(double value) {
  return P(ElementOf<P>(value));
}

// A binary functor with one operand fixed. The number is kept both ways; which one counts, the packet says.
template <class F>
struct BindRight {
  double value;
  int64_t integer;
  template <class P>
  TENREC_INLINE auto operator()(P x) const {
    if constexpr (is_integer_packet<P>)
      return F()(x, P(integer));
    else
      return F()(x, splat<P>(value));
  }
};
template <class F>
struct BindLeft {
  double value;
  int64_t integer;
  template <class P>
  TENREC_INLINE auto operator()(P x) const {
    if constexpr (is_integer_packet<P>)
      return F()(P(integer), x);
    else
      return F()(splat<P>(value), x);
  }
};
template <class F>
inline constexpr bool is_predicate<BindRight<F>> = is_predicate<F>;
template <class F>
inline constexpr bool on_integers<BindRight<F>> = on_integers<F>;
template <class F>
inline constexpr bool on_integers<BindLeft<F>> = on_integers<F>;

// int64_t arithmetic modulo 2^64.
TENREC_INLINE int64_t wrap_add(int64_t a, int64_t b) { return int64_t(uint64_t(a) + uint64_t(b)); }
TENREC_INLINE int64_t wrap_sub(int64_t a, int64_t b) { return int64_t(uint64_t(a) - uint64_t(b)); }
TENREC_INLINE int64_t wrap_mul(int64_t a, int64_t b) { return int64_t(uint64_t(a) * uint64_t(b)); }

}  // namespace tenrec::kernels
