#include "tenrec/autograd/checkpoint.h"

#include "tenrec/autograd/ops/shape.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/core/random.h"
#include "tenrec/core/reference.h"

namespace tenrec {
namespace {

thread_local constinit detail::CheckpointFrame* frame = nullptr;
thread_local constinit int recomputing = 0;

struct FrameScope {
  detail::CheckpointFrame* before;
  explicit FrameScope(detail::CheckpointFrame* now) : before(std::exchange(frame, now)) {}
  ~FrameScope() { frame = before; }
};

}  // namespace

bool is_recomputing() { return recomputing > 0; }

namespace detail {

CheckpointFrame* current_frame() { return frame; }

CheckpointFrame::CheckpointFrame(std::function<std::vector<Tensor>(const std::vector<Tensor>&)> fn,
                                 std::vector<Tensor> inputs)
    : fn_(std::move(fn)), inputs_(std::move(inputs)), outer_(frame) {
  for (const Tensor& x : inputs_) versions_.push_back(x.impl().storage->version);
  const GeneratorState state = default_generator().state();
  random_seed_ = state.seed;
  random_offset_ = state.offset;
}

void CheckpointFrame::release() {
  if (detail::drop_reference(refs_)) delete this;
}

std::vector<Tensor> CheckpointFrame::forward() {
  const FrameScope scope(this);
  return fn_(inputs_);
}

void CheckpointFrame::adopt(Node& node) {
  if (node.saved_count == 0) return;  // nothing to promise, so no reason to keep the inputs for it
  if (filling_) {
    for (uint16_t i = 0; i < node.saved_count; ++i, ++next_) {
      if (next_ >= promises_.size())
        fail<AutogradError>("checkpoint: the function recorded more when it ran again than the first time");
      Promise& promise = promises_[next_];
      retain_impl(node.saved[i].tensor);
      Tensor t = Tensor::adopt(node.saved[i].tensor);
      if (t.shape() != promise.shape)
        fail<AutogradError>("checkpoint: the function made a tensor of shape ", t.shape(), " for op ", node.name,
                            " when it ran again, ", promise.shape, " the first time");
      if (promise.dropped) continue;
      promise.tensor = detach_ ? t.detach() : t;
      promise.version = t.impl().storage->version;
      promise.filled = true;
    }
    return;
  }
  node.frame = this;
  node.frame_base = uint32_t(promises_.size());
  retain();
  for (uint16_t i = 0; i < node.saved_count; ++i) {
    TensorImpl* impl = std::exchange(node.saved[i].tensor, nullptr);
    promises_.push_back({});
    promises_.back().shape = impl->shape;
    release_impl(impl);
  }
}

Tensor CheckpointFrame::get(uint32_t index) {
  const std::lock_guard lock(mutex_);
  if (!promises_[index].filled) recompute();
  const Promise& promise = promises_[index];
  if (!promise.filled) fail<AutogradError>("checkpoint: the function recorded less when it ran again");
  if (promise.tensor.impl().storage->version != promise.version)
    fail<AutogradError>("checkpoint: a recomputed tensor was changed in place");
  return promise.tensor;
}

void CheckpointFrame::drop(uint32_t index) {
  const std::lock_guard lock(mutex_);
  promises_[index].tensor = Tensor();
  promises_[index].filled = false;
  promises_[index].dropped = true;
}

void CheckpointFrame::recompute() {
  for (size_t i = 0; i < inputs_.size(); ++i)
    if (inputs_[i].impl().storage->version != versions_[i])
      fail<AutogradError>("checkpoint: input ", i, " was changed in place since the first run");
  struct Restore {
    GeneratorState state = default_generator().state();
    Restore() { ++recomputing; }
    ~Restore() {
      --recomputing;
      default_generator().set_state(state);
    }
  } restore;
  default_generator().set_state({random_seed_, random_offset_});
  detach_ = !grad_enabled();  // without create_graph nobody differentiates through what is made now
  next_ = 0;
  filling_ = true;
  try {
    const EnableGrad recording;
    const Autocast mode(autocast_dtype_, autocast_);
    const FrameScope scope(this);
    fn_(inputs_);
  } catch (...) {
    filling_ = false;
    throw;
  }
  filling_ = false;
}

}  // namespace detail

std::vector<Tensor> checkpoint(std::function<std::vector<Tensor>(const std::vector<Tensor>&)> fn,
                               const std::vector<Tensor>& inputs) {
  if (!grad_enabled()) return fn(inputs);
  auto* made = new detail::CheckpointFrame(std::move(fn), inputs);
  struct Release {
    detail::CheckpointFrame* frame;
    ~Release() { frame->release(); }
  } release{made};
  return made->forward();
}

}  // namespace tenrec
