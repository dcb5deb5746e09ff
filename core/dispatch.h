// From a device to the kernels that run there: one call, one tag type per backend.
//
//   dispatch("softmax", x.device(), [&](auto device) { kernels::softmax(device, view(x), view(y), dim); });
#pragma once

#include "tenrec/core/device.h"
#include "tenrec/core/error.h"

namespace tenrec {

struct Cpu {};
struct Cuda {
  int index = 0;
};

template <class F>
decltype(auto) dispatch(const char* op, Device device, F&& f) {
  if (!device.is_cpu()) [[unlikely]]
    fail<DeviceError>(op,
                      ": tensor is on cuda but Tenrec was built with TENREC_CUDA=OFF; "
                      "configure with TENREC_CUDA=ON or move the tensor with x.to(kCpu)");
  return f(Cpu{});
}

}  // namespace tenrec
