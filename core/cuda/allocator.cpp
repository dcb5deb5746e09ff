#include "tenrec/core/cuda/allocator.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "tenrec/core/cuda/runtime.h"
#include "tenrec/core/module_scope.h"

namespace tenrec::cuda::detail {
namespace {

constexpr size_t kAlign = 512;             // of a block's size and address
constexpr size_t kMostSmall = 1 << 20;     // requests up to here are small
constexpr size_t kSmallSegment = 2 << 20;  // what is asked of CUDA for them
constexpr size_t kLargeSegment = 20 << 20;
constexpr size_t kOwnSegment = 10 << 20;  // from here on a request has a segment of its own, of whole kSmallSegments

size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

size_t segment_bytes(size_t bytes) {
  if (bytes <= kMostSmall) return kSmallSegment;
  return bytes < kOwnSegment ? kLargeSegment : round_up(bytes, kSmallSegment);
}

// Blocks of a captured step's pool are always cached.
bool use_system(int pool) {
  if (pool) return false;
  static const bool value = [] {
    const char* text = std::getenv("TENREC_ALLOC");
    return text && std::strcmp(text, "system") == 0;
  }();
  return value;
}

std::string readable(size_t bytes) {
  if (bytes >= size_t(10) << 20) return concat(bytes >> 20, " MiB");
  return bytes >= 10 << 10 ? concat(bytes >> 10, " KiB") : concat(bytes, " bytes");
}

}  // namespace

// Never destroyed: tensors in static storage are freed after every static destructor of ours has run.
Allocator& Allocator::of(int device) {
  static std::mutex mutex;
  static auto* const allocators = new std::map<int, std::unique_ptr<Allocator>>;
  const std::lock_guard lock(mutex);
  std::unique_ptr<Allocator>& allocator = (*allocators)[device];
  if (!allocator) allocator = std::make_unique<Allocator>(device);
  return *allocator;
}

Block* Allocator::allocate(size_t asked, cudaStream_t stream, int pool) {
  const size_t bytes = round_up(std::max<size_t>(asked, 1), kAlign);
  const std::lock_guard lock(mutex_);
  ++stats_.allocations;
  Block* block = nullptr;
  if (!use_system(pool)) {
    if (!pending_.empty() && !recording_on_thread) collect(false);
    block = take(pools_[{stream, bytes <= kMostSmall, pool}], bytes);
  }
  if (!block) block = grow(bytes, stream, pool);
  block->is_free = false;
  block->asked = asked;
  block->owner = tenrec::detail::current_module_path();
  stats_.in_use += int64_t(block->bytes);
  in_use_.insert(block);
  return block;
}

// The smallest free block that is large enough.
Block* Allocator::take(Pool& pool, size_t bytes) {
  Block wanted;
  wanted.bytes = bytes;
  const auto at = pool.lower_bound(&wanted);
  if (at == pool.end()) return nullptr;
  Block* block = *at;
  // A large block is not cut up for a much smaller one, which would keep its segment from ever being returned.
  if (!block->small && block->bytes >= kLargeSegment && block->bytes > 2 * bytes + kLargeSegment) return nullptr;
  pool.erase(at);
  split(block, bytes);
  return block;
}

// Leaves `bytes` in the block and frees the rest, if it is worth having.
void Allocator::split(Block* block, size_t bytes) {
  const size_t rest = block->bytes - bytes;
  if (rest < (block->small ? kAlign : kMostSmall)) return;
  auto* other = new Block{.data = block->data + bytes,
                          .bytes = rest,
                          .device = device_,
                          .stream = block->stream,
                          .pool = block->pool,
                          .small = block->small,
                          .is_free = true,
                          .before = block,
                          .after = block->after};
  if (block->after) block->after->before = other;
  block->after = other;
  block->bytes = bytes;
  pool_of(other).insert(other);
}

Block* Allocator::grow(size_t bytes, cudaStream_t stream, int pool) {
  if (recording_on_thread) throw PoolTooSmall{};
  const size_t segment = use_system(pool) ? bytes : segment_bytes(bytes);
  char* data = ask(segment);
  if (!data) {
    collect(true);
    release_cached();
    data = ask(segment);
  }
  if (!data) fail_memory(bytes);
  auto* block = new Block{
      .data = data, .bytes = segment, .device = device_, .stream = stream, .pool = pool, .small = bytes <= kMostSmall};
  if (!use_system(pool)) split(block, bytes);
  return block;
}

// Null where neither the limit nor the device leaves room.
char* Allocator::ask(size_t bytes) {
  if (limit_ && stats_.reserved + int64_t(bytes) > limit_) return nullptr;
  void* data = nullptr;
  ++stats_.system_calls;
  const cudaError_t error = cudaMalloc(&data, bytes);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // it is not sticky; nobody else shall see it
    return nullptr;
  }
  TENREC_CUDA_CHECK(error);
  stats_.reserved += int64_t(bytes);
  stats_.peak_reserved = std::max(stats_.peak_reserved, stats_.reserved);
  return static_cast<char*>(data);
}

void Allocator::deallocate(Block* block) noexcept {
  const std::lock_guard lock(mutex_);
  if (block->holders > 0)
    block->orphan = true;
  else
    free_block(block);
}

void Allocator::free_block(Block* block) {
  stats_.in_use -= int64_t(block->bytes);
  in_use_.erase(block);
  if (block->users.empty())
    give_back(block);
  else if (recording_on_thread)
    deferred_.push_back(block);
  else
    wait_for_users(block);
}

void Allocator::wait_for_users(Block* block) {
  Pending pending{block, {}};
  for (cudaStream_t user : std::exchange(block->users, {})) {
    cudaEvent_t event = nullptr;
    // After a fault of the device nothing can be recorded, and nothing will run either.
    if (cudaEventCreateWithFlags(&event, cudaEventDisableTiming) != cudaSuccess) continue;
    pending.events.push_back(event);
    cudaEventRecord(event, user);
  }
  pending_.push_back(std::move(pending));
}

void Allocator::used_on(Block* block, cudaStream_t stream) {
  const std::lock_guard lock(mutex_);
  if (stream != block->stream && std::ranges::count(block->users, stream) == 0) block->users.push_back(stream);
}

void Allocator::settle_deferred() {
  const std::lock_guard lock(mutex_);
  for (Block* block : std::exchange(deferred_, {})) wait_for_users(block);
}

int Allocator::new_pool() {
  const std::lock_guard lock(mutex_);
  return ++last_pool_;
}

void Allocator::retire_pool(int pool) {
  const std::lock_guard lock(mutex_);
  collect(true);
  if (use_system(0)) {  // whose blocks are freed one by one: the pool stays as it is until its memory is wanted
    release_cached();
    return;
  }
  for (Block* block : in_use_)
    if (block->pool == pool) block->pool = 0;
  for (auto at = pools_.begin(); at != pools_.end();) {
    const auto [stream, small, id] = at->first;
    if (id != pool) {
      ++at;
      continue;
    }
    Pool& everybody = pools_[{stream, small, 0}];
    for (Block* block : at->second) {
      block->pool = 0;
      everybody.insert(block);
    }
    at = pools_.erase(at);
  }
}

void Allocator::hold(Block* block) {
  const std::lock_guard lock(mutex_);
  ++block->holders;
}

void Allocator::let_go(const std::vector<Block*>& blocks) {
  const std::lock_guard lock(mutex_);
  for (Block* block : blocks)
    if (--block->holders == 0 && std::exchange(block->orphan, false)) free_block(block);
}

std::vector<Block*> Allocator::hold_all(const std::vector<const void*>& except) {
  const std::lock_guard lock(mutex_);
  std::vector<Block*> out;
  for (Block* block : in_use_) {
    if (block->orphan || std::ranges::count(except, static_cast<const void*>(block->data))) continue;
    ++block->holders;
    out.push_back(block);
  }
  return out;
}

// To the pool, merged with what lies free beside it.
void Allocator::give_back(Block* block) {
  if (use_system(block->pool)) {
    stats_.reserved -= int64_t(block->bytes);
    cudaFreeAsync(block->data, block->stream);
    delete block;
    return;
  }
  if (Block* after = block->after; after && after->is_free) absorb(block, after);
  if (Block* before = block->before; before && before->is_free) {
    pool_of(before).erase(before);
    absorb(before, block);
    block = before;
  }
  block->is_free = true;
  block->owner.clear();
  pool_of(block).insert(block);
}

// Makes one of a block and the one after it.
void Allocator::absorb(Block* block, Block* after) {
  if (after->is_free) pool_of(after).erase(after);
  block->bytes += after->bytes;
  block->after = after->after;
  if (block->after) block->after->before = block;
  delete after;
}

// Blocks whose other streams are done with them.
void Allocator::collect(bool wait) {
  std::erase_if(pending_, [&](Pending& pending) {
    for (cudaEvent_t event : pending.events) {
      if (wait) cudaEventSynchronize(event);
      if (!wait && cudaEventQuery(event) == cudaErrorNotReady) return false;
    }
    for (cudaEvent_t event : pending.events) cudaEventDestroy(event);
    give_back(pending.block);
    return true;
  });
}

void Allocator::release_cached() {
  for (auto& [key, pool] : pools_)
    std::erase_if(pool, [&](Block* block) {
      if (!block->whole_segment()) return false;
      stats_.reserved -= int64_t(block->bytes);
      cudaFree(block->data);  // waits for the device
      delete block;
      return true;
    });
}

void Allocator::fail_memory(size_t bytes) {
  std::vector<const Block*> largest(in_use_.begin(), in_use_.end());
  const size_t shown = std::min<size_t>(largest.size(), 3);
  std::ranges::partial_sort(largest, largest.begin() + std::ptrdiff_t(shown), std::ranges::greater(), &Block::bytes);
  std::string holders;
  for (size_t i = 0; i < shown; ++i)
    holders += concat(i ? ", " : "; the largest blocks: ", readable(largest[i]->bytes),
                      largest[i]->owner.empty() ? "" : " of ", largest[i]->owner);
  fail<OutOfMemoryError>("out of memory on cuda:", device_, ": ", readable(bytes), " asked for, ",
                         readable(size_t(stats_.in_use)), " in use, ", readable(size_t(stats_.reserved)), " reserved",
                         limit_ ? concat(", limit ", readable(size_t(limit_))) : std::string(), holders);
}

MemoryStats Allocator::stats() {
  const std::lock_guard lock(mutex_);
  return stats_;
}
void Allocator::set_limit(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  limit_ = bytes;
}
void Allocator::empty_cache() {
  const std::lock_guard lock(mutex_);
  collect(true);
  release_cached();
}

}  // namespace tenrec::cuda::detail
