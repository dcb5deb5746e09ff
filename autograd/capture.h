// Captured steps: a whole training step, recorded once as a CUDA graph and then replayed with one call.
//
//   auto step = cuda::capture([&](const Tensor& x, const Tensor& y) {
//     optimizer.zero_grad();
//     const Tensor loss = cross_entropy(net(x), y);
//     backward(loss);
//     optimizer.step();
//     return loss;
//   }, x, y);
//   for (const Example& batch : loader) step(batch.input(), batch.target());
//
// Every call is one step. The first two run as usual, which sizes the step's own pool of memory; the third is recorded,
// and from then on the recorded work is replayed, which costs the host about as much as one op. The examples given to
// capture fix the shapes and dtypes of the inputs and are not used otherwise; a call copies its inputs, from the host
// or a device, to where the step reads them. What a call returns is outside the tape and is overwritten by the next
// one.
//
// The step refuses what a replay would get wrong, with a CaptureError that names it: reading a value on the host, work
// on the CPU, another shape or dtype, more memory than the pool holds, draws from a generator other than the thread's
// default. After a refusal the step has not happened. Host code in the function runs only when it is recorded; an
// optimizer's and a scheduler's step are done again by themselves, so learning rates, step counts and random numbers
// advance. What else is to be done on the host belongs after the call. The function, and what it refers to, must live
// as long as the step; a step is called from one thread at a time, on the stream it was made on.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "tenrec/core/tensor.h"

namespace tenrec::cuda {

// What CapturedStep::verify found.
struct Verification {
  bool equal = true;
  std::string difference;  // the first one, in words; empty if there is none
};

namespace detail {

// The step without its types.
class Step {
 public:
  using Function = std::function<std::vector<Tensor>(std::span<const Tensor>)>;
  Step(Function function, const std::vector<Tensor>& examples);
  ~Step();
  Step(Step&&) noexcept;
  Step& operator=(Step&&) noexcept;

  std::vector<Tensor> call(std::span<const TensorRef> inputs);
  Verification verify(int64_t n, std::span<const TensorRef> inputs);
  int64_t nodes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace detail

// Result: Tensor or std::vector<Tensor>, as the function returns.
template <class Result>
class CapturedStep {
 public:
  explicit CapturedStep(detail::Step step) : step_(std::move(step)) {}

  // One step. ShapeError, DTypeError or ValueError for inputs unlike the examples; CaptureError as above.
  template <class... Inputs>
  requires(std::same_as<Inputs, Tensor>&&...) Result operator()(const Inputs&... inputs) {
    std::vector<Tensor> out = step_.call(std::vector<TensorRef>{inputs...});
    if constexpr (std::is_same_v<Result, Tensor>)
      return std::move(out.front());
    else
      return out;
  }
  // Replays n steps, does them again without the graph from where the first ones began, compares all results and all
  // memory that lasts, bit by bit, and goes back to where it began. Calls that are still missing until the step is
  // recorded are made first. The inputs are the same for all steps.
  template <class... Inputs>
  requires(std::same_as<Inputs, Tensor>&&...) Verification verify(int64_t n, const Inputs&... inputs) {
    return step_.verify(n, std::vector<TensorRef>{inputs...});
  }
  // Kernels and copies that a replay runs; 0 until the step is recorded.
  int64_t nodes() const { return step_.nodes(); }

 private:
  detail::Step step_;
};

// See the top of this file. The step works on the device of the first example that is on one, else on cuda:0.
// DeviceError if there is none.
template <class F, class... Examples>
requires(std::same_as<Examples, Tensor>&&...) auto capture(F function, const Examples&... examples) {
  using Result = std::invoke_result_t<F&, const Examples&...>;
  static_assert(std::is_same_v<Result, Tensor> || std::is_same_v<Result, std::vector<Tensor>>,
                "a captured step returns a Tensor or a std::vector<Tensor>");
  auto call =
      [function = std::move(function)]<size_t... I>(std::span<const Tensor> inputs, std::index_sequence<I...>) mutable {
    if constexpr (std::is_same_v<Result, Tensor>)
      return std::vector<Tensor>{function(inputs[I]...)};
    else
      return function(inputs[I]...);
  };
  return CapturedStep<Result>(detail::Step(
      [call = std::move(call)](std::span<const Tensor> inputs) mutable {
        return call(inputs, std::index_sequence_for<Examples...>());
      },
      std::vector<Tensor>{examples...}));
}

}  // namespace tenrec::cuda
