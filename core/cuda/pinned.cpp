#include "tenrec/core/cuda/pinned.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "tenrec/core/cuda/runtime.h"
#include "tenrec/core/cuda/step_state.h"
#include "tenrec/core/tensor.h"

namespace tenrec::cuda {
namespace detail {

// Never destroyed, as the allocators of devices.
PinnedMemory& PinnedMemory::instance() {
  static auto* const memory = new PinnedMemory;
  return *memory;
}

void* PinnedMemory::allocate(size_t bytes) {
  refuse_while_recording("cuda::pin_memory");
  bytes = std::bit_ceil(std::max<size_t>(bytes, 512));
  const std::lock_guard lock(mutex_);
  for (auto at = free_.begin(); at != free_.end(); ++at) {
    if (at->second.bytes != bytes || !idle(at->second)) continue;
    void* data = at->first;
    in_use_.emplace(data, std::move(at->second));
    free_.erase(at);
    return data;
  }
  void* data = nullptr;
  TENREC_CUDA_CHECK(cudaMallocHost(&data, bytes));
  in_use_.emplace(data, Block{bytes});
  return data;
}

void PinnedMemory::deallocate(void* data) noexcept {
  const std::lock_guard lock(mutex_);
  const auto at = in_use_.find(data);
  free_.emplace_back(data, std::move(at->second));
  in_use_.erase(at);
}

std::map<const void*, PinnedMemory::Block>::iterator PinnedMemory::find(const void* pointer) {
  auto at = in_use_.upper_bound(pointer);
  if (at == in_use_.begin()) return in_use_.end();
  --at;
  return static_cast<const char*>(pointer) < static_cast<const char*>(at->first) + at->second.bytes ? at
                                                                                                    : in_use_.end();
}

bool PinnedMemory::contains(const void* pointer) {
  const std::lock_guard lock(mutex_);
  return find(pointer) != in_use_.end();
}

void PinnedMemory::used_on(const void* pointer, cudaStream_t stream) {
  const std::lock_guard lock(mutex_);
  const auto at = find(pointer);
  if (at == in_use_.end()) return;
  idle(at->second);  // forgets copies that are done
  cudaEvent_t event = nullptr;
  TENREC_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  at->second.uses.push_back(event);
  TENREC_CUDA_CHECK(cudaEventRecord(event, stream));
}

bool PinnedMemory::idle(Block& block) {
  std::erase_if(block.uses, [](cudaEvent_t event) {
    if (cudaEventQuery(event) == cudaErrorNotReady) return false;
    cudaEventDestroy(event);
    return true;
  });
  return block.uses.empty();
}

}  // namespace detail

Tensor pin_memory(const Tensor& x) {
  detail::enter("cuda::pin_memory", DeviceType::cuda);
  if (!x.device().is_cpu())
    fail<DeviceError>("cuda::pin_memory: expected a tensor on the CPU, got one on ", x.device());
  if (!x.is_contiguous()) fail<ValueError>("cuda::pin_memory: expected a contiguous tensor; call contiguous(x) first");
  const auto bytes = size_t(x.numel() * size_of(x.dtype()));
  void* data = detail::PinnedMemory::instance().allocate(bytes);
  if (bytes) std::memcpy(data, x.data_ptr(), bytes);
  return from_blob(
      data, x.shape(), x.dtype(), [](void* block) { detail::PinnedMemory::instance().deallocate(block); }, data);
}

bool is_pinned(const Tensor& x) {
  return x.device().is_cpu() && detail::PinnedMemory::instance().contains(x.data_ptr());
}

}  // namespace tenrec::cuda
