// A step of work on a device that is recorded once and replayed as a whole: a CUDA graph, the memory it works in, and
// what the host has to do again for each replay. autograd/capture.h is the face of it; this is internal.
//
// Pool. What is allocated while a step runs or is recorded comes from a pool that nothing else uses while the StepGraph
// lives, so a replay finds its memory as it left it. Recording must not ask CUDA for memory: a step that runs as usual
// first leaves the pool large enough. Blocks from elsewhere that the recorded work uses are held until the end.
//
// Numbers. A kernel's arguments are frozen when it is recorded. Those that change (a learning rate, a step count, the
// offset of random numbers) are read from a block on the device instead, which each replay fills first. The host finds
// the new values by doing again what was given to repeat_on_replay: an optimizer's step, which counts and hands its
// numbers over, but launches nothing while it is repeated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tenrec/core/device.h"

namespace tenrec::cuda::detail {

using HostAction = std::function<void()>;

// Copies of memory, to go back to.
class MemoryImage;

class StepGraph {
 public:
  // DeviceError if there is no such device. The step belongs to the calling thread's stream.
  explicit StepGraph(Device device);
  ~StepGraph();
  StepGraph(const StepGraph&) = delete;
  StepGraph& operator=(const StepGraph&) = delete;

  // Runs f as usual, in the pool.
  void run(const HostAction& f);
  // Records f without running it. False, with nothing changed, if the pool is too small. What f throws, and
  // CaptureError, undo what the host has done.
  bool record(const HostAction& f);
  // Queues the recorded work; `fresh`: for the first time since it was recorded, so the host has done its part.
  void replay(bool fresh);
  bool recorded() const;
  void forget();
  // Pieces of recorded work.
  int64_t nodes() const;
  Device device() const;

  // The memory of every tensor on the device but those at `except`; no block of it is given back while the image lives.
  std::unique_ptr<MemoryImage> image(const std::vector<const void*>& except);
  // What the host has to undo to be where it is now.
  std::vector<HostAction> host_state() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class MemoryImage {
 public:
  MemoryImage(const MemoryImage&) = delete;
  MemoryImage& operator=(const MemoryImage&) = delete;
  virtual ~MemoryImage() = default;
  // Writes it back.
  virtual void restore() const = 0;
  // The memory as it is now, of the same tensors.
  virtual std::vector<std::vector<char>> read() const = 0;
  // What the i-th tensor is, for a message; empty if nobody has it any more.
  virtual std::string describe(size_t i) const = 0;

 protected:
  MemoryImage() = default;
};

#if defined(TENREC_HAVE_CUDA)
// Does `action`, and again before each replay if a step is being recorded. `state` returns what would undo it.
void repeat_on_replay(const HostAction& action, const std::function<HostAction()>& state);
// For work on the device within such an action whose numbers are the same in every step, products of matrices say: it
// is recorded with the rest of the step and is not done when the action is repeated.
void fixed_on_replay(const HostAction& work);
// `undo` is called if the recording that goes on fails.
void undo_if_refused(const HostAction& undo);
#else
inline void repeat_on_replay(const HostAction& action, const std::function<HostAction()>&) { action(); }
inline void fixed_on_replay(const HostAction& work) { work(); }
inline void undo_if_refused(const HostAction&) {}
#endif

}  // namespace tenrec::cuda::detail
