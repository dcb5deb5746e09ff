// From a device to the kernels that run there: one call, one tag type per backend.
//
//   dispatch("softmax", x.device(), [&](auto device) { kernels::softmax(device, view(x), view(y), dim); });
//
// A tensor of another device is refused where the lambda takes its view (core/view.h).
#pragma once

#include "tenrec/core/cuda_memory.h"
#include "tenrec/core/device.h"
#include "tenrec/core/profile_range.h"

namespace tenrec {

struct Cpu {};
struct Cuda {};  // the device that dispatch entered

namespace detail {

#if defined(TENREC_HAVE_CUDA)
// What the calling thread dispatches at the moment.
struct Dispatch {
  const char* op = nullptr;
  Device device = kCpu;
};
inline thread_local constinit Dispatch dispatching{};

class DispatchScope {
 public:
  DispatchScope(const char* op, Device device) : range_(op), before_(dispatching) { dispatching = {op, device}; }
  ~DispatchScope() { dispatching = before_; }
  DispatchScope(const DispatchScope&) = delete;
  DispatchScope& operator=(const DispatchScope&) = delete;

 private:
  ProfileRange range_;
  Dispatch before_;
};
#endif

}  // namespace detail

// `op` must outlive the call.
template <class F>
decltype(auto) dispatch(const char* op, Device device, F&& f) {
#if defined(TENREC_HAVE_CUDA)
  const detail::DispatchScope scope(op, device);
  if (device.is_cuda()) {
    cuda::detail::enter(op, device);
    return f(Cuda{});
  }
  if (cuda::detail::recording_on_thread) [[unlikely]]
    cuda::detail::fail_recording_on_cpu(op);
#else
  if (!device.is_cpu()) [[unlikely]]
    cuda::detail::enter(op, device);  // throws
#endif
  return f(Cpu{});
}

}  // namespace tenrec
