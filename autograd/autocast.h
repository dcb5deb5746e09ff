// Autocast: mixed precision without a change to the model. In its scope products and convolutions run in bf16 or f16
// and what needs the range or the digits runs in f32, by the lists of torch.amp; parameters stay f32.
//
//   const Autocast scope(bf16);
//   const Tensor loss = cross_entropy(net(x), target);  // logits are bf16, the loss is f32
//
// - In the scope's dtype: matmul (and with it bmm and einsum), linear, the convolutions and their gradients, prelu.
// - In f32, and with f32 results: softmax, log_softmax, softmin, all losses, sum, prod, norm, cumsum, cumprod, pow,
//   square, number / x, reciprocal, rsqrt, exp, expm1, log, log2, log10, log1p, tan, acos, asin, cosh, sinh, erfinv,
//   softplus.
// - Everything else takes what it gets and promotes as ever. Batch and layer norm do too: a 16-bit input gives a 16-bit
//   output, but their statistics and arithmetic are f32.
//
// An op with an f64 operand is left alone, as are integers. The casts are ops on the tape, so the gradient of an f32
// parameter is f32. A pass over the tape runs with autocast off, wherever it is called: gradients have the dtypes that
// the forward chose. P. Micikevicius et al., "Mixed precision training" (2018).
#pragma once

#include <type_traits>

#include "tenrec/core/tensor.h"

namespace tenrec {

namespace detail {

class CastCache;

struct AutocastState {
  bool enabled = false;
  DType dtype = DType::bf16;
  CastCache* cache = nullptr;  // of the outermost scope
};
inline thread_local constinit AutocastState autocast_state;

}  // namespace detail

inline bool is_autocast_enabled() { return detail::autocast_state.enabled; }
// Of the innermost scope; bf16 where there is none.
inline DType autocast_dtype() { return detail::autocast_state.dtype; }

// Turns it on for this thread while it lives, then restores what was. The cast of a parameter (a leaf that requires
// grad) is made once and kept until the outermost scope ends or the parameter is written to.
class Autocast {
 public:
  // DTypeError unless bf16 or f16. `enabled` = false is the same as Autocast(false).
  explicit Autocast(DType dtype, bool enabled = true);
  // `Autocast off(false);` in a scope: ops keep their operands' dtypes. `true` goes on with the dtype around it.
  explicit Autocast(bool enabled);
  ~Autocast() {
    detail::autocast_state = before_;
    if (owned_) end();
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  void end() noexcept;
  detail::AutocastState before_ = detail::autocast_state;
  detail::CastCache* owned_ = nullptr;
};

namespace detail {

// x in a floating dtype; x itself if it is undefined, an integer or f64.
Tensor autocast_input(const Tensor& x, DType dtype);
template <class T>
decltype(auto) autocast_argument(const T& argument, DType dtype) {
  if constexpr (std::is_same_v<T, Tensor>)
    return autocast_input(argument, dtype);
  else
    return (argument);
}
template <class T>
bool is_double(const T& argument) {
  if constexpr (std::is_same_v<T, Tensor>)
    return argument.defined() && argument.dtype() == f64;
  else
    return false;
}

template <class Op, class... T>
auto without_autocast(const Op& op, const T&... arguments) {
  const Autocast off(false);
  return op(arguments...);
}
// op(arguments...) without autocast, its tensors cast before: the first line of an op of one of the lists is
//   if (is_autocast_enabled()) [[unlikely]] return detail::autocast_low(op, its arguments...);
template <class Op, class... T>
auto autocast_to(DType dtype, const Op& op, const T&... arguments) {
  if ((is_double(arguments) || ...)) return without_autocast(op, arguments...);
  return without_autocast(op, autocast_argument(arguments, dtype)...);
}
template <class Op, class... T>
auto autocast_low(const Op& op, const T&... arguments) {
  return autocast_to(autocast_dtype(), op, arguments...);
}
template <class Op, class... T>
auto autocast_f32(const Op& op, const T&... arguments) {
  return autocast_to(f32, op, arguments...);
}
// The dtype of a result that a kernel can round to f32 as well as to the input's dtype.
inline DType autocast_result(DType dtype) {
  return is_autocast_enabled() && (dtype == bf16 || dtype == f16) ? f32 : dtype;
}

}  // namespace detail
}  // namespace tenrec
