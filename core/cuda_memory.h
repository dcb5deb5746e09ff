// Device memory as the rest of core sees it. Without CUDA (off.cpp) each of these throws DeviceError. Internal.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tenrec/core/device.h"

namespace tenrec::cuda::detail {

struct Block;
// At least `bytes` bytes, aligned to 256 as CUDA promises, for work on the calling thread's stream. OutOfMemoryError.
Block* allocate(size_t bytes, Device device);
void deallocate(Block* block) noexcept;
void* address(const Block* block);
// The calling thread's stream is about to use the block: it is not given out again before that work is done.
void use(Block* block);

// Bytes from here to there, after all that the calling thread's stream holds. The host may use `from` at once after
// copy_to_device, and reads `to` after copy_to_host, which waits. `non_blocking`: pinned memory may not be written
// again before the stream has done the copy.
void copy_to_device(void* to, const void* from, size_t bytes, Device device, bool non_blocking = false);
void copy_to_host(void* to, const void* from, size_t bytes, Device device);

#if defined(TENREC_HAVE_CUDA)
// Set while the calling thread records a step (core/step_graph.h).
inline thread_local constinit bool recording_on_thread = false;
// CaptureError for an op that runs on the CPU meanwhile, and so would not be repeated.
[[noreturn]] void fail_recording_on_cpu(const char* op);
#endif

// Makes a device the calling thread's. DeviceError in the op's name for one that does not exist.
void enter(const char* op, Device device);

}  // namespace tenrec::cuda::detail
