#include "tenrec/core/allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

#include "tenrec/core/error.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#define TENREC_POISON(p, n) __asan_poison_memory_region(p, n)
#define TENREC_UNPOISON(p, n) __asan_unpoison_memory_region(p, n)
#else
#define TENREC_POISON(p, n) (void)0
#define TENREC_UNPOISON(p, n) (void)0
#endif

namespace tenrec {
namespace detail {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kRedZone = 64;
#else
constexpr size_t kRedZone = 0;
#endif

constexpr size_t kAlign = 64;
constexpr size_t kSmall = 32 << 10;  // blocks up to here are carved from slabs and cached per thread
constexpr size_t kSlab = 256 << 10;
constexpr size_t kHuge = 2 << 20;           // blocks from here on are aligned for transparent huge pages
constexpr size_t kThreadCache = 256 << 10;  // bytes per class that a thread keeps before it gives half away
constexpr int kClasses = 16 + 54 * 8;

// Classes: multiples of 64 up to 1 KiB, then eight steps an octave (at most 12.5 % of a block unused).
int class_of(size_t bytes) {
  if (bytes <= 1024) return bytes == 0 ? 0 : int((bytes - 1) / 64);
  const int octave = std::bit_width(bytes - 1) - 1;  // 2^octave < bytes <= 2^(octave+1)
  const size_t step = (bytes - 1 - (size_t(1) << octave)) >> (octave - 3);
  return 16 + (octave - 10) * 8 + int(step);
}

size_t class_bytes(int c) {
  if (c < 16) return size_t(c + 1) * 64;
  const int octave = 10 + (c - 16) / 8;
  return (size_t(1) << octave) + size_t((c - 16) % 8 + 1) * (size_t(1) << (octave - 3));
}

const int kSmallClasses = class_of(kSmall) + 1;
constexpr int kMaxSmallClasses = 64;

struct FreeBlock {
  FreeBlock* next;
};

// Counters are written by their own thread only, with plain relaxed stores: no locked instruction on the hot path.
struct Counter {
  std::atomic<int64_t> value{0};
  void add(int64_t n) { value.store(value.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  int64_t get() const { return value.load(std::memory_order_relaxed); }
};

struct ThreadCache {
  FreeBlock* head[kMaxSmallClasses] = {};
  uint32_t count[kMaxSmallClasses] = {};
  Counter in_use, allocations, tensors;
};

struct Shared {
  std::mutex mutex;
  FreeBlock* head[kClasses] = {};
  std::vector<ThreadCache*> threads;
  int64_t reserved = 0, peak_reserved = 0, system_calls = 0, limit = 0;
  // Of blocks that are cached here only: what is handed out, the most that ever was, and what waits.
  int64_t large_in_use = 0, large_peak = 0, cached_large = 0;
  uint64_t tick = 0, last_use[kClasses] = {};
  // What ended threads had counted.
  int64_t in_use = 0, allocations = 0, tensors = 0;
};

// Never destroyed: tensors in static storage are freed after every static destructor of ours has run.
Shared& shared() {
  static Shared* const instance = new Shared;
  return *instance;
}

constinit thread_local ThreadCache* thread_cache = nullptr;
constinit thread_local bool thread_ended = false;
constinit std::atomic<int64_t> fail_countdown{0};

bool use_system() {
  static const bool value = [] {
    const char* text = std::getenv("TENREC_ALLOC");
    return text && std::strcmp(text, "system") == 0;
  }();
  return value;
}

void push(FreeBlock*& head, void* block) {
  auto* free_block = static_cast<FreeBlock*>(block);
  TENREC_UNPOISON(free_block, sizeof(FreeBlock));
  free_block->next = head;
  TENREC_POISON(free_block, sizeof(FreeBlock));
  head = free_block;
}

void* pop(FreeBlock*& head) {
  FreeBlock* block = head;
  TENREC_UNPOISON(block, sizeof(FreeBlock));
  head = block->next;
  return block;
}

struct ThreadExit {
  ~ThreadExit() {
    ThreadCache* cache = thread_cache;
    if (!cache) return;
    thread_cache = nullptr;
    thread_ended = true;
    Shared& s = shared();
    std::lock_guard lock(s.mutex);
    for (int c = 0; c < kSmallClasses; ++c)
      while (cache->head[c]) push(s.head[c], pop(cache->head[c]));
    s.in_use += cache->in_use.get();
    s.allocations += cache->allocations.get();
    s.tensors += cache->tensors.get();
    std::erase(s.threads, cache);
    delete cache;
  }
};

ThreadCache* make_thread_cache() {
  if (thread_ended) return nullptr;  // a destructor that runs after ours: served by the shared lists
  thread_local ThreadExit on_exit;
  (void)on_exit;
  auto* cache = new ThreadCache;
  Shared& s = shared();
  std::lock_guard lock(s.mutex);
  s.threads.push_back(cache);
  return thread_cache = cache;
}

ThreadCache* this_thread() { return thread_cache ? thread_cache : make_thread_cache(); }

void free_one(Shared& s, int c) {
  void* block = pop(s.head[c]);
  TENREC_UNPOISON(block, class_bytes(c));
  std::free(block);
  s.reserved -= int64_t(class_bytes(c));
  s.cached_large -= int64_t(class_bytes(c));
}

void free_cached_large(Shared& s) {
  for (int c = kSmallClasses; c < kClasses; ++c)
    while (s.head[c]) free_one(s, c);
}

// A program whose sizes change from step to step would fill every class in turn. What is held may be twice the most
// that was ever in use (classes of one step that peak at different times need some of that); then the classes that have
// waited longest give their blocks back.
void trim(Shared& s, size_t wanted) {
  constexpr int64_t kSlack = 64 << 20;
  const int64_t bound = 2 * s.large_peak + kSlack;
  while (s.cached_large > 0 && s.large_in_use + s.cached_large + int64_t(wanted) > bound) {
    int oldest = -1;
    for (int c = kSmallClasses; c < kClasses; ++c)
      if (s.head[c] && (oldest < 0 || s.last_use[c] < s.last_use[oldest])) oldest = c;
    free_one(s, oldest);
  }
}

[[noreturn]] void out_of_memory(const Shared& s, size_t bytes) {
  fail<OutOfMemoryError>("out of memory: ", bytes, " bytes asked for, ", s.reserved, " held, limit ",
                         s.limit ? concat(s.limit, " bytes") : std::string("none"));
}

// Called with the lock held.
void* from_system(Shared& s, size_t bytes) {
  const auto passes_limit = [&] { return s.limit > 0 && s.reserved + int64_t(bytes) > s.limit; };
  if (passes_limit()) free_cached_large(s);
  if (passes_limit()) out_of_memory(s, bytes);
  void* block = nullptr;
  if (posix_memalign(&block, bytes >= kHuge ? kHuge : kAlign, bytes) != 0) {
    free_cached_large(s);
    if (posix_memalign(&block, kAlign, bytes) != 0) out_of_memory(s, bytes);
  }
#if defined(MADV_HUGEPAGE)
  if (bytes >= kHuge) madvise(block, bytes, MADV_HUGEPAGE);  // advice only: a refusal is harmless
#endif
#if defined(__SANITIZE_ADDRESS__)
  // Cached blocks hang on links in poisoned memory, where LeakSanitizer does not look. It finds leaks of tensors with
  // TENREC_ALLOC=system, where each block is an object of its own.
  __lsan_ignore_object(block);
#endif
  s.reserved += int64_t(bytes);
  s.peak_reserved = std::max(s.peak_reserved, s.reserved);
  ++s.system_calls;
  return block;
}

// A batch for the thread's list, from the shared list or a new slab. Called with an empty thread list.
void refill(ThreadCache& cache, int c) {
  Shared& s = shared();
  const size_t bytes = class_bytes(c);
  const auto batch = uint32_t(std::clamp<size_t>(kThreadCache / 4 / bytes, 1, 64));
  std::lock_guard lock(s.mutex);
  while (s.head[c] && cache.count[c] < batch) {
    push(cache.head[c], pop(s.head[c]));
    ++cache.count[c];
  }
  if (cache.count[c]) return;
  const size_t slab_bytes = std::max(kSlab / 8, bytes * 8);
  char* slab = static_cast<char*>(from_system(s, slab_bytes));
  TENREC_POISON(slab, slab_bytes);
  for (size_t i = slab_bytes / bytes; i-- > 0;) {
    push(cache.head[c], slab + i * bytes);
    ++cache.count[c];
  }
}

void give_half_back(ThreadCache& cache, int c) {
  Shared& s = shared();
  std::lock_guard lock(s.mutex);
  for (uint32_t n = cache.count[c] / 2; n > 0; --n, --cache.count[c]) push(s.head[c], pop(cache.head[c]));
}

void* allocate_shared(int c) {
  Shared& s = shared();
  std::lock_guard lock(s.mutex);
  if (c < kSmallClasses) return s.head[c] ? pop(s.head[c]) : from_system(s, class_bytes(c));
  const auto bytes = int64_t(class_bytes(c));
  void* block;
  if (s.head[c]) {
    block = pop(s.head[c]);
    s.cached_large -= bytes;
  } else {
    trim(s, size_t(bytes));
    block = from_system(s, size_t(bytes));
  }
  s.last_use[c] = ++s.tick;
  s.large_in_use += bytes;
  s.large_peak = std::max(s.large_peak, s.large_in_use);
  return block;
}

void maybe_fail(size_t bytes) {
  if (fail_countdown.load(std::memory_order_relaxed) > 0 && fail_countdown.fetch_sub(1) == 1)
    fail<OutOfMemoryError>("out of memory: ", bytes, " bytes asked for (failure planted by a test)");
}

}  // namespace

void* allocate(size_t bytes) {
  if (fail_countdown.load(std::memory_order_relaxed) > 0) [[unlikely]]
    maybe_fail(bytes);
  if (bytes > (size_t(1) << 62)) fail<OutOfMemoryError>("out of memory: ", bytes, " bytes asked for");
  ThreadCache* cache = this_thread();
  void* block;
  const int c = class_of(bytes + kRedZone);
  if (use_system()) [[unlikely]] {
    block = std::aligned_alloc(kAlign, class_bytes(c));
    if (!block) fail<OutOfMemoryError>("out of memory: ", bytes, " bytes asked for");
  } else if (c < kSmallClasses && cache) {
    if (!cache->head[c]) refill(*cache, c);
    block = pop(cache->head[c]);
    --cache->count[c];
  } else {
    block = allocate_shared(c);
  }
  if (cache) {
    cache->in_use.add(int64_t(class_bytes(c)));
    cache->allocations.add(1);
  }
  TENREC_POISON(block, class_bytes(c));
  TENREC_UNPOISON(block, bytes);
  return block;
}

void deallocate(void* block, size_t bytes) noexcept {
  if (!block) return;
  const int c = class_of(bytes + kRedZone);
  ThreadCache* cache = this_thread();
  if (cache) cache->in_use.add(-int64_t(class_bytes(c)));
  if (use_system()) [[unlikely]] {
    TENREC_UNPOISON(block, class_bytes(c));
    std::free(block);
    return;
  }
  TENREC_POISON(block, class_bytes(c));
  if (c < kSmallClasses && cache) {
    push(cache->head[c], block);
    if (++cache->count[c] * class_bytes(c) > kThreadCache && cache->count[c] > 1) give_half_back(*cache, c);
    return;
  }
  Shared& s = shared();
  std::lock_guard lock(s.mutex);
  push(s.head[c], block);
  if (c < kSmallClasses) return;
  s.last_use[c] = ++s.tick;
  s.large_in_use -= int64_t(class_bytes(c));
  s.cached_large += int64_t(class_bytes(c));
}

void count_tensor(int delta) noexcept {
  if (ThreadCache* cache = this_thread()) cache->tensors.add(delta);
}

void fail_allocation_after(int64_t n) { fail_countdown.store(n); }

}  // namespace detail

MemoryStats memory_stats() {
  detail::Shared& s = detail::shared();
  std::lock_guard lock(s.mutex);
  MemoryStats stats{s.in_use, s.reserved, s.peak_reserved, s.allocations, s.system_calls};
  for (const detail::ThreadCache* cache : s.threads) {
    stats.in_use += cache->in_use.get();
    stats.allocations += cache->allocations.get();
  }
  return stats;
}

void set_memory_limit(int64_t bytes) {
  if (bytes < 0) fail<ValueError>("set_memory_limit: expected 0 or more bytes, got ", bytes);
  detail::Shared& s = detail::shared();
  std::lock_guard lock(s.mutex);
  s.limit = bytes;
}

void empty_cache() {
  detail::Shared& s = detail::shared();
  std::lock_guard lock(s.mutex);
  detail::free_cached_large(s);
}

int64_t live_tensors() {
  detail::Shared& s = detail::shared();
  std::lock_guard lock(s.mutex);
  int64_t n = s.tensors;
  for (const detail::ThreadCache* cache : s.threads) n += cache->tensors.get();
  return n;
}

}  // namespace tenrec
