// A step of training that --capture turns into a CUDA graph.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "common/app.h"

namespace examples {

class TrainingStep {
 public:
  // All that happens to the weights for one batch, on the default device; returns what the loop wants to know of it.
  using Function =
      std::function<std::vector<tenrec::Tensor>(const tenrec::Tensor& input, const tenrec::Tensor& target)>;

  TrainingStep(const Flags& flags, Function function) : captures_(flags.capture), function_(std::move(function)) {}
  // With --capture, batches of the first one's size are replayed; a last, smaller one of an epoch runs as usual.
  std::vector<tenrec::Tensor> operator()(const tenrec::Tensor& input, const tenrec::Tensor& target);

 private:
  bool captures_;
  Function function_;
  tenrec::Shape shape_;
  std::optional<tenrec::cuda::CapturedStep<std::vector<tenrec::Tensor>>> captured_;
};

}  // namespace examples
