// Host memory that a device reads and writes by itself (page-locked). Blocks are kept and reused; one that a copy may
// still be reading is not. Internal.
#pragma once

#include <cuda_runtime_api.h>

#include <map>
#include <mutex>
#include <vector>

namespace tenrec::cuda::detail {

class PinnedMemory {
 public:
  static PinnedMemory& instance();

  void* allocate(size_t bytes);
  void deallocate(void* data) noexcept;
  bool contains(const void* pointer);
  // The work that `stream` holds now reads or writes the block at `pointer`.
  void used_on(const void* pointer, cudaStream_t stream);

 private:
  struct Block {
    size_t bytes = 0;
    std::vector<cudaEvent_t> uses = {};  // of copies that may not be done
  };
  std::map<const void*, Block>::iterator find(const void* pointer);
  static bool idle(Block& block);

  std::mutex mutex_;
  std::map<const void*, Block> in_use_;
  std::vector<std::pair<void*, Block>> free_;
};

}  // namespace tenrec::cuda::detail
