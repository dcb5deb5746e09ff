#include "emulator/device_memory.h"

namespace tenrec::simt {

DeviceMemory& DeviceMemory::instance() {
  static DeviceMemory memory;
  return memory;
}

void* DeviceMemory::allocate(size_t bytes) {
  const std::lock_guard lock(mutex_);
  Guarded block(bytes, 256);
  if (launches_ == 0) block.forbid();
  void* data = block.data();
  blocks_.emplace(data, std::move(block));
  bytes_ += bytes;
  return data;
}

void DeviceMemory::deallocate(void* pointer) {
  constexpr size_t kKept = size_t(64) << 20;
  const std::lock_guard lock(mutex_);
  const auto found = blocks_.find(pointer);
  if (found == blocks_.end()) fail<KernelError>("emulator: freed what is no block of device memory");
  Guarded block = std::move(found->second);
  blocks_.erase(found);
  bytes_ -= block.bytes();
  const bool intact = block.intact();
  block.allow();
  block.poison();
  block.forbid();
  freed_bytes_ += block.bytes();
  const size_t size = block.bytes();
  freed_.push_back(std::move(block));
  while (freed_bytes_ > kKept && !freed_.empty()) {
    freed_bytes_ -= freed_.front().bytes();
    freed_.front().allow();
    freed_.erase(freed_.begin());
  }
  if (!intact)
    fail<KernelError>("emulator: something was written next to a block of ", size, " bytes of device memory");
}

std::map<const void*, Guarded>::iterator DeviceMemory::find(const void* pointer) {
  auto found = blocks_.upper_bound(pointer);
  if (found == blocks_.begin()) return blocks_.end();
  --found;
  return pointer < found->second.data() + std::max<size_t>(found->second.bytes(), 1) ? found : blocks_.end();
}

const Guarded& DeviceMemory::block_of(const void* pointer, size_t bytes) {
  const auto found = find(pointer);
  if (found == blocks_.end()) fail<KernelError>("emulator: a copy touches what is no device memory");
  if (static_cast<const unsigned char*>(pointer) + bytes > found->second.data() + found->second.bytes())
    fail<KernelError>("emulator: a copy of ", bytes, " bytes leaves its block of ", found->second.bytes());
  return found->second;
}

void DeviceMemory::begin_launch() {
  const std::lock_guard lock(mutex_);
  if (launches_++ == 0)
    for (const auto& [pointer, block] : blocks_) block.allow();
}

std::string DeviceMemory::end_launch() {
  const std::lock_guard lock(mutex_);
  if (--launches_ > 0) return "";
  std::string found;
  for (const auto& [pointer, block] : blocks_) {
    if (!block.intact()) {
      found = concat("something was written next to a block of device memory of ", block.bytes(), " bytes");
      block.mend();  // reported once
    }
    block.forbid();
  }
  for (const Guarded& block : freed_) {
    if (block.poisoned()) continue;
    found = concat("something was written to device memory of ", block.bytes(), " bytes after it was freed");
    block.poison();
  }
  return found;
}

size_t DeviceMemory::blocks() {
  const std::lock_guard lock(mutex_);
  return blocks_.size();
}

}  // namespace tenrec::simt
