// The CPU allocator: size classes, thread-local free lists for small blocks, one shared cache for large ones.
//
// Freed blocks are kept, so a training loop stops asking the system for pages after its first step (fresh pages from
// mmap cost more than most ops). What is held stays within twice the most that was ever in use, and 64 MiB: then the
// sizes that have not been asked for longest are given back. Blocks are 64-byte aligned. Tape nodes and tensor headers
// come from here too.
// Under AddressSanitizer cached blocks are poisoned and every block is followed by a red zone.
// TENREC_ALLOC=system turns the cache off.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tenrec {

struct MemoryStats {
  int64_t in_use = 0;    // bytes handed out and not yet returned
  int64_t reserved = 0;  // bytes held from the system, in use or cached
  int64_t peak_reserved = 0;
  int64_t allocations = 0;   // calls so far
  int64_t system_calls = 0;  // of these, how many had to ask the system
};

MemoryStats memory_stats();
// Bytes that may be held from the system; 0 means no limit. A request that would pass it, after the cache has been
// emptied, throws OutOfMemoryError and changes nothing.
void set_memory_limit(int64_t bytes);
// Returns cached large blocks to the system.
void empty_cache();
// Tensors (headers) alive in the process.
int64_t live_tensors();

namespace detail {

void* allocate(size_t bytes);
void deallocate(void* block, size_t bytes) noexcept;
void count_tensor(int delta) noexcept;
// Test hook: the n-th allocation from now throws OutOfMemoryError (0 turns it off). On every thread.
void fail_allocation_after(int64_t n);

}  // namespace detail
}  // namespace tenrec
