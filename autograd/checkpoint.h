// Recomputation instead of memory: T. Chen et al., "Training deep nets with sublinear memory cost", 2016.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "tenrec/autograd/autocast.h"
#include "tenrec/core/tensor.h"

namespace tenrec {

// Runs fn(inputs) and records it as usual, except that the nodes keep a promise instead of their saved tensors. The
// first one that backward reads runs fn again, with the random offset, autocast and grad mode of the first time, and
// fills them all. So parameters that fn captures get their gradients, and create_graph and nesting work.
// `fn` must compute the same ops each time; AutogradError if it does not, or if an input was changed in place since.
std::vector<Tensor> checkpoint(std::function<std::vector<Tensor>(const std::vector<Tensor>&)> fn,
                               const std::vector<Tensor>& inputs);

// True while a checkpoint computes its function again: layers then leave their buffers (running statistics) alone.
bool is_recomputing();

namespace detail {

class Node;

class CheckpointFrame {
 public:
  CheckpointFrame(std::function<std::vector<Tensor>(const std::vector<Tensor>&)> fn, std::vector<Tensor> inputs);
  void retain() { __atomic_fetch_add(&refs_, 1u, __ATOMIC_RELAXED); }
  void release();
  // Called for each node made while this frame is current: takes over its saved list, or refills it.
  void adopt(Node& node);
  Tensor get(uint32_t index);
  void drop(uint32_t index);
  std::vector<Tensor> forward();

 private:
  struct Promise {
    Tensor tensor;
    uint32_t version = 0;
    bool dropped = false;
    bool filled = false;
    Shape shape;
  };
  void recompute();

  std::function<std::vector<Tensor>(const std::vector<Tensor>&)> fn_;
  std::vector<Tensor> inputs_;
  std::vector<uint32_t> versions_;
  std::vector<Promise> promises_;
  CheckpointFrame* outer_ = nullptr;  // the checkpoint that this one stands in
  uint64_t random_seed_ = 0, random_offset_ = 0;
  bool autocast_ = is_autocast_enabled();
  DType autocast_dtype_ = autocast_dtype();
  uint32_t next_ = 0;
  bool filling_ = false, detach_ = false;
  uint32_t refs_ = 1;
  std::recursive_mutex mutex_;
};

CheckpointFrame* current_frame();

}  // namespace detail
}  // namespace tenrec
