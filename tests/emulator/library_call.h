// How the CPU references behind the vendor's libraries run: in the stream's order, like a launch, and they may touch
// device memory as one may. Internal.
#pragma once

#include <utility>

#include "emulator/device_memory.h"
#include "emulator/runtime.h"

namespace tenrec::simt {

template <class F>
void call_library(cudaStream_t stream, const char* name, F f) {
  enqueue(stream, [name, f = std::move(f)] { DeviceMemory::instance().launch(name, f); });
}

}  // namespace tenrec::simt
