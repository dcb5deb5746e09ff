// What the library's own CUDA code needs of the runtime: checked calls, the stream to launch on, scratch memory.
// Internal: public headers do not name CUDA's.
#pragma once

#include <cuda_runtime_api.h>

#include "tenrec/core/cuda.h"
#include "tenrec/core/cuda_memory.h"
#include "tenrec/core/error.h"

// Throws DeviceError (OutOfMemoryError for want of memory) that names the expression, the file and the line.
#define TENREC_CUDA_CHECK(call)                                                        \
  do {                                                                                 \
    if (const cudaError_t cuda_error = (call); cuda_error != cudaSuccess) [[unlikely]] \
      ::tenrec::cuda::detail::fail_call(cuda_error, #call, __FILE__, __LINE__);        \
  } while (false)

namespace tenrec::cuda {

namespace detail {
[[noreturn]] void fail_call(cudaError_t error, const char* call, const char* file, int line);
}  // namespace detail

// Of the calling thread, on the device that dispatch entered.
cudaStream_t stream();
int device();
int multiprocessors();
bool has_tensor_cores();  // that take bf16: compute capability 8.0 and later

// Scratch memory of `count` elements for kernels on this stream.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t count)
      : block_(detail::allocate(size_t(count) * sizeof(T), Device(DeviceType::cuda, device()))) {}
  ~Buffer() { detail::deallocate(block_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  T* data() const { return static_cast<T*>(detail::address(block_)); }

 private:
  detail::Block* block_;
};

// Waits for the stream and reads one value.
template <class T>
T download(const T* from) {
  T value;
  detail::copy_to_host(&value, from, sizeof(T), Device(DeviceType::cuda, device()));
  return value;
}

}  // namespace tenrec::cuda
