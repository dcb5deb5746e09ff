// The caching allocator of a device: best fit, stream-ordered.
//
// Memory is had from CUDA in segments, from which blocks are split and into which freed neighbours merge again. Small
// blocks (up to 1 MiB) come from segments of 2 MiB, others from segments of their own or of 20 MiB. A freed block goes
// to the pool of the stream it was allocated for, where it may be handed out at once: work of that stream comes later
// by itself. Was it used on other streams too, it first waits for events of theirs. When CUDA has no more, cached
// segments are returned and the call tried again; then OutOfMemoryError names the largest blocks in use.
//
// A captured step has a pool of its own (core/step_graph.h). While a step is recorded nothing is asked of CUDA
// (PoolTooSmall is thrown instead), no event is queried, and blocks that other streams used wait until it is over.
//
// TENREC_ALLOC=system asks CUDA for every block outside such pools, so that the emulator's guards and compute-sanitizer
// see each by itself.
#pragma once

#include <cuda_runtime_api.h>

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "tenrec/core/allocator.h"
#include "tenrec/core/cuda_memory.h"

namespace tenrec::cuda::detail {

struct Block {
  char* data = nullptr;
  size_t bytes = 0;
  int device = 0;
  cudaStream_t stream = nullptr;
  int pool = 0;        // a captured step's; 0: everybody's
  bool small = false;  // from a segment of small blocks
  bool is_free = false;
  bool orphan = false;                        // nobody has it any more but those who hold it
  int holders = 0;                            // captured steps that work with it
  size_t asked = 0;                           // bytes, before rounding
  Block *before = nullptr, *after = nullptr;  // neighbours in the segment
  std::vector<cudaStream_t> users = {};       // other streams that have work with it
  std::string owner = {};                     // the module that ran at the time, for messages
  bool whole_segment() const { return !before && !after; }
};

// Thrown while a step is recorded, when its pool has no room.
struct PoolTooSmall {};

class Allocator {
 public:
  static Allocator& of(int device);
  explicit Allocator(int device) : device_(device) {}

  Block* allocate(size_t bytes, cudaStream_t stream, int pool = 0);
  void deallocate(Block* block) noexcept;
  // Work on `stream` uses the block as well: it is not given out again before that is done.
  void used_on(Block* block, cudaStream_t stream);

  int new_pool();
  // What is left of a pool becomes everybody's.
  void retire_pool(int pool);
  // A held block is not given out again, whoever frees it, until it is let go as often.
  void hold(Block* block);
  void let_go(const std::vector<Block*>& blocks);
  // Holds all blocks in use but those at `except`, and returns them.
  std::vector<Block*> hold_all(const std::vector<const void*>& except);
  // What recording has put off.
  void settle_deferred();

  MemoryStats stats();
  void set_limit(int64_t bytes);
  void empty_cache();

 private:
  struct BySize {
    bool operator()(const Block* a, const Block* b) const {
      return a->bytes != b->bytes ? a->bytes < b->bytes : a->data < b->data;
    }
  };
  using Pool = std::set<Block*, BySize>;  // the free blocks of a stream
  struct Pending {
    Block* block;
    std::vector<cudaEvent_t> events;
  };

  Block* take(Pool& pool, size_t bytes);
  Block* grow(size_t bytes, cudaStream_t stream, int pool);
  void split(Block* block, size_t bytes);
  char* ask(size_t bytes);
  void give_back(Block* block);
  void free_block(Block* block);
  void wait_for_users(Block* block);
  void absorb(Block* block, Block* neighbour);
  void collect(bool wait);
  void release_cached();
  [[noreturn]] void fail_memory(size_t bytes);
  using PoolKey = std::tuple<cudaStream_t, bool, int>;
  Pool& pool_of(const Block* block) { return pools_[{block->stream, block->small, block->pool}]; }

  const int device_;
  std::mutex mutex_;
  std::map<PoolKey, Pool> pools_;
  std::set<Block*> in_use_;
  std::vector<Pending> pending_;
  std::vector<Block*> deferred_;  // freed while a step was recorded, used on other streams
  int last_pool_ = 0;
  MemoryStats stats_;
  int64_t limit_ = 0;
};

}  // namespace tenrec::cuda::detail
