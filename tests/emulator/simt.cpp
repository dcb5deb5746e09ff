#include "emulator/simt.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <random>
#include <string_view>

#include "emulator/context.h"
#include "emulator/device_memory.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreReadsBegin(const char*, int);
void AnnotateIgnoreReadsEnd(const char*, int);
void AnnotateIgnoreWritesBegin(const char*, int);
void AnnotateIgnoreWritesEnd(const char*, int);
}
#endif

namespace tenrec::simt {
namespace {

constexpr size_t kStack = 64 << 10, kPage = 4096;
constexpr unsigned kWarp = 32;
constexpr int kGathered = 6;  // the words of a lane that gather takes at most

// What the emulator itself reads and writes is no part of the kernel: ThreadSanitizer looks away.
struct Unseen {
#if defined(__SANITIZE_THREAD__)
  Unseen() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Unseen() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
#else
  Unseen() {}
  ~Unseen() {}
#endif
};

void release(char* token) {
#if defined(__SANITIZE_THREAD__)
  __tsan_release(token);
#else
  static_cast<void>(token);
#endif
}
void acquire(char* token) {
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(token);
#else
  static_cast<void>(token);
#endif
}

// --- fibers ---------------------------------------------------------------------------------------------------------

enum class State : uint8_t { ready, at_barrier, at_warp, done };

struct AsyncCopy {
  void* to;
  const void* from;
  unsigned bytes, group;
};

struct Fiber {
  Context context;
  void* stack = nullptr;
  void* sanitizer = nullptr;  // ASan's fake stack, or TSan's fiber
  unsigned number = 0;        // in the block
  uint3 index{};
  State state = State::ready;
  Site site;
  uint32_t mask = 0;
  uint64_t word = 0;
  uint32_t words[2][kGathered];   // what it gave to gather, last and before
  bool second = false;            // which is the last
  std::vector<AsyncCopy> copies;  // not made yet, the oldest first
  unsigned group = 0;             // that the next one belongs to
  // For ThreadSanitizer. A thread that is already at its next wait must not be taken for one that has come to this, so
  // waits use two tokens in turn; `partners` has a bit for each lane: its turn in the operation both took part in.
  // The first to go on takes over what all have done, and hands it to the others as one (`owner` is the lowest lane).
  char tokens[2] = {}, together = 0;
  bool turn = false, handed = false;
  uint32_t partners = 0;
  Fiber* owner = nullptr;
};

// Stacks with a guard page below, kept from block to block.
class Stacks {
 public:
  void* get(size_t i) {
    while (stacks_.size() <= i) {
      void* memory =
          mmap(nullptr, kStack + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (memory == MAP_FAILED) fail<OutOfMemoryError>("emulator: no memory for a thread's stack");
      mprotect(memory, kPage, PROT_NONE);
      stacks_.push_back(static_cast<char*>(memory) + kPage);
    }
    SIMT_UNPOISON(stacks_[i], kStack);
    return stacks_[i];
  }
  ~Stacks() {
    for (void* stack : stacks_) munmap(static_cast<char*>(stack) - kPage, kStack + kPage);
  }

 private:
  std::vector<void*> stacks_;
};

#if defined(__SANITIZE_THREAD__)
// ThreadSanitizer's own side of fibers. To make one costs more than most blocks, so they are kept from block to block;
// the blocks of a worker come one after the other anyway. A fiber ends in leave(), which never returns, and what that
// leaves on its shadow call stack adds up: one serves so many blocks.
class SanitizerFibers {
 public:
  void* get(size_t i) {
    if (i == fibers_.size()) fibers_.push_back({});
    Entry& entry = fibers_[i];
    if (entry.uses++ % kUses == 0) {
      if (entry.fiber) __tsan_destroy_fiber(entry.fiber);
      entry.fiber = __tsan_create_fiber(0);
    }
    return entry.fiber;
  }
  ~SanitizerFibers() {
    for (const Entry& entry : fibers_) __tsan_destroy_fiber(entry.fiber);
  }

 private:
  static constexpr uint64_t kUses = 1000;
  struct Entry {
    void* fiber = nullptr;
    uint64_t uses = 0;
  };
  std::vector<Entry> fibers_;
};
#endif

bool same_site(const Site& a, const Site& b) {
  return a.line() == b.line() && a.column() == b.column() && std::strcmp(a.file_name(), b.file_name()) == 0;
}
std::string place(const Site& site) { return concat(site.file_name(), ":", site.line()); }
std::string place(const uint3& i) { return concat("(", i.x, ", ", i.y, ", ", i.z, ")"); }

class Block;
thread_local Block* running = nullptr;
struct Aborted {};  // unwinds the fibers of a block that has failed

class Block {
 public:
  Block(const Launch& launch, uint3 index, const std::function<void()>& body)
      : launch_(launch),
        index_(index),
        body_(body),
        fibers_(launch.block.x * launch.block.y * launch.block.z),
        dynamic_(launch.shared_bytes, 16) {
    static thread_local Stacks stacks;
    for (unsigned i = 0; i < fibers_.size(); ++i) prepare(fibers_[i], i, stacks.get(i));
  }

  void run();

  Fiber& current() { return *current_; }
  const Launch& launch() const { return launch_; }
  const uint3& index() const { return index_; }
  void* dynamic() const { return dynamic_.data(); }

  void wait(State state, uint32_t mask, Site site);
  uint64_t exchange(uint32_t mask, uint64_t value, unsigned from, Site site);
  uint32_t ballot(uint32_t mask, bool vote, Site site);
  void gather(const uint32_t* words, int count, const uint32_t** all, Site site);
  void copy_async(void* to, const void* from, unsigned bytes, Site site);
  void commit_copies() { ++current_->group; }
  void wait_copies(unsigned pending);
  void* shared_array(const void* tag, const char* name, size_t bytes, size_t align);

  std::string who(const Fiber& fiber) const { return concat("block ", place(index_), ", thread ", place(fiber.index)); }
  [[noreturn]] void fault(const std::string& what, Site site) {
    fail<KernelError>(launch_.name, ": ", what, " at ", place(site), " (", who(*current_), ")");
  }

 private:
  static void entry();
  void prepare(Fiber& fiber, unsigned number, void* stack);
  void resume(Fiber& fiber);
  void suspend(Fiber& fiber);
  void leave();
  void check_mask(uint32_t mask, Site site);
  Fiber* lane(const Fiber& of, unsigned lane) {
    const size_t i = of.number / kWarp * kWarp + lane;
    return i < fibers_.size() ? &fibers_[i] : nullptr;
  }
  bool release_warps();
  bool release_barrier();
  std::string stuck() const;
  void check_guards();

  const Launch& launch_;
  uint3 index_;
  const std::function<void()>& body_;
  std::vector<Fiber> fibers_;
  uint64_t rounds_ = 0;                          // barriers that all threads have reached
  char barriers_[2] = {}, start_ = 0, end_ = 0;  // tokens of ThreadSanitizer's
  Guarded dynamic_;
  struct Shared {
    const void* tag;
    const char* name;
    Guarded memory;
  };
  std::vector<Shared> shared_;
  Context scheduler_;
  void* scheduler_sanitizer_ = nullptr;
  const void* scheduler_stack_ = nullptr;
  size_t scheduler_stack_size_ = 0;
  Fiber* current_ = nullptr;
  std::exception_ptr error_;
  bool aborting_ = false;
};

void Block::prepare(Fiber& fiber, unsigned number, void* stack) {
  const dim3& size = launch_.block;
  fiber.number = number;
  fiber.index = {number % size.x, number / size.x % size.y, number / (size.x * size.y)};
  fiber.stack = stack;
  fiber.context.prepare(stack, kStack, entry);
#if defined(__SANITIZE_THREAD__)
  static thread_local SanitizerFibers fibers;
  fiber.sanitizer = fibers.get(number);
#endif
}

void Block::resume(Fiber& fiber) {
  current_ = &fiber;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&scheduler_sanitizer_, fiber.stack, kStack);
#elif defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(fiber.sanitizer, __tsan_switch_to_fiber_no_sync);
#endif
  scheduler_.change_to(fiber.context);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(scheduler_sanitizer_, nullptr, nullptr);
#endif
}

// Back to the scheduler, until it resumes the fiber.
void Block::suspend(Fiber& fiber) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&fiber.sanitizer, scheduler_stack_, scheduler_stack_size_);
#elif defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(scheduler_sanitizer_, __tsan_switch_to_fiber_no_sync);
#endif
  fiber.context.change_to(scheduler_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fiber.sanitizer, &scheduler_stack_, &scheduler_stack_size_);
#endif
  if (aborting_) throw Aborted{};
}

void Block::entry() {
  Block& block = []() -> Block& {
    const Unseen here;
    return *running;
  }();
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &block.scheduler_stack_, &block.scheduler_stack_size_);
#endif
  acquire(&block.start_);
  try {
    block.body_();
    block.wait_copies(0);
  } catch (const Aborted&) {
  } catch (...) {
    const Unseen here;
    if (!block.error_) block.error_ = std::current_exception();
  }
  block.leave();
}

// The last act of a fiber: back to the scheduler for good.
void Block::leave() {
  {
    const Unseen here;
    current_->state = State::done;
  }
  Fiber& me = *current_;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(nullptr, scheduler_stack_, scheduler_stack_size_);
#elif defined(__SANITIZE_THREAD__)
  void* sanitizer = scheduler_sanitizer_;
  release(&end_);  // nothing of the block is read after this
  __tsan_switch_to_fiber(sanitizer, __tsan_switch_to_fiber_no_sync);
#endif
  me.context.change_to(scheduler_);
}

void Block::wait(State state, uint32_t mask, Site site) {
  const Unseen here;
  Fiber& me = *current_;
  me.state = state;
  me.mask = mask;
  me.site = site;
  if (state == State::at_barrier) {
    char* token = &barriers_[rounds_ % 2];
    release(token);
    suspend(me);
    acquire(token);
    return;
  }
  me.turn = !me.turn;
  release(&me.tokens[me.turn]);
  suspend(me);
  if (me.owner->handed) return acquire(&me.owner->together);
  for (unsigned k = 0; k < kWarp; ++k)
    if (mask >> k & 1) acquire(&lane(me, k)->tokens[me.partners >> k & 1]);
  me.owner->handed = true;
  release(&me.owner->together);
}

void Block::check_mask(uint32_t mask, Site site) {
  if (!(mask >> (current_->number % kWarp) & 1))
    fault(concat("lane ", current_->number % kWarp, " calls a warp operation whose mask leaves it out"), site);
}

uint64_t Block::exchange(uint32_t mask, uint64_t value, unsigned from, Site site) {
  const Unseen here;
  check_mask(mask, site);
  Fiber& me = *current_;
  me.word = value;
  wait(State::at_warp, mask, site);
  const Fiber* source = lane(me, from % kWarp);
  if (!(mask >> (from % kWarp) & 1) || !source || source->state == State::done)
    fault(concat("lane ", me.number % kWarp, " reads lane ", from % kWarp,
                 source ? ", which does not take part" : ", which does not exist"),
          site);
  const uint64_t word = source->word;
  wait(State::at_warp, mask, site);  // nobody overwrites what another has not read
  return word;
}

uint32_t Block::ballot(uint32_t mask, bool vote, Site site) {
  const Unseen here;
  check_mask(mask, site);
  Fiber& me = *current_;
  me.word = vote;
  wait(State::at_warp, mask, site);
  uint32_t votes = 0;
  for (unsigned k = 0; k < kWarp; ++k)
    if (const Fiber* other = lane(me, k); mask >> k & 1 && other && other->state != State::done)
      votes |= uint32_t(other->word) << k;
  wait(State::at_warp, mask, site);
  return votes;
}

// Two places in turn: a lane that is already at its next gather has not overwritten what others still read of this one,
// and cannot be two ahead.
void Block::gather(const uint32_t* words, int count, const uint32_t** all, Site site) {
  const Unseen here;
  Fiber& me = *current_;
  me.second = !me.second;
  std::memcpy(me.words[me.second], words, size_t(count) * sizeof(uint32_t));
  const bool second = me.second;
  wait(State::at_warp, ~0u, site);
  for (unsigned k = 0; k < kWarp; ++k) all[k] = lane(me, k)->words[second];
}

void make_copy(const AsyncCopy& copy) {
  if (copy.from)
    std::memcpy(copy.to, copy.from, copy.bytes);
  else
    std::memset(copy.to, 0, copy.bytes);
}

void Block::copy_async(void* to, const void* from, unsigned bytes, Site site) {
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % bytes)
    fault(concat("a copy of ", bytes, " bytes from or to an address that is not a multiple of ", bytes), site);
  const AsyncCopy copy{to, from, bytes, current_->group};
  if (options().order == Order::forward) return make_copy(copy);
  const Unseen here;
  current_->copies.push_back(copy);
}

void Block::wait_copies(unsigned pending) {
  std::vector<AsyncCopy>& copies = current_->copies;
  size_t made = 0;
  for (; made < copies.size() && copies[made].group + pending < current_->group; ++made) make_copy(copies[made]);
  const Unseen here;
  copies.erase(copies.begin(), copies.begin() + ptrdiff_t(made));
}

void* Block::shared_array(const void* tag, const char* name, size_t bytes, size_t align) {
  const Unseen here;
  for (const Shared& array : shared_)
    if (array.tag == tag) return array.memory.data();
  shared_.push_back({tag, name, Guarded(bytes, align)});
  return shared_.back().memory.data();
}

// Lets go the lanes that wait for each other: all that a mask names, at one place. A device lets a mask name lanes that
// have exited; whether they already have is a race, so here it may not.
bool Block::release_warps() {
  bool released = false;
  for (Fiber& fiber : fibers_) {
    if (fiber.state != State::at_warp) continue;
    const auto arrived = [&](unsigned k) {
      const Fiber* other = lane(fiber, k);
      return other && other->state == State::at_warp && other->mask == fiber.mask && same_site(other->site, fiber.site);
    };
    bool all = true;
    for (unsigned k = 0; k < kWarp; ++k) all = all && (!(fiber.mask >> k & 1) || arrived(k));
    if (!all) continue;
    uint32_t turns = 0;
    for (unsigned k = 0; k < kWarp; ++k)
      if (fiber.mask >> k & 1) turns |= uint32_t(lane(fiber, k)->turn) << k;
    const uint32_t mask = fiber.mask;
    Fiber* owner = lane(fiber, unsigned(std::countr_zero(mask)));
    owner->handed = false;
    for (unsigned k = 0; k < kWarp; ++k)
      if (mask >> k & 1) {
        lane(fiber, k)->owner = owner;
        lane(fiber, k)->partners = turns;
        lane(fiber, k)->state = State::ready;
      }
    released = true;
  }
  return released;
}

bool Block::release_barrier() {
  const Fiber* first = nullptr;
  for (const Fiber& fiber : fibers_) {
    if (fiber.state == State::done) continue;
    if (fiber.state != State::at_barrier) return false;
    if (!first) first = &fiber;
    if (!same_site(fiber.site, first->site)) return false;
  }
  for (Fiber& fiber : fibers_)
    if (fiber.state == State::at_barrier) fiber.state = State::ready;
  ++rounds_;
  return first != nullptr;
}

std::string Block::stuck() const {
  const Fiber *first = nullptr, *other = nullptr;
  for (const Fiber& fiber : fibers_) {
    if (fiber.state == State::done) continue;
    if (!first) first = &fiber;
    if (fiber.state != first->state || fiber.mask != first->mask || !same_site(fiber.site, first->site)) other = &fiber;
  }
  const auto waits = [&](const Fiber& f) {
    return concat("thread ", place(f.index),
                  f.state == State::at_barrier ? " at the barrier " : " in the warp operation ", place(f.site));
  };
  return concat(launch_.name, ": the threads of a block wait at different places: ", waits(*first),
                other ? concat(", ", waits(*other)) : ", for lanes that never come", " (block ", place(index_), ")");
}

void Block::check_guards() {
  for (const Shared& array : shared_)
    if (!array.memory.intact())
      fail<KernelError>(launch_.name, ": something was written next to the shared array '", array.name, "' of ",
                        array.memory.bytes(), " bytes (block ", place(index_), ")");
  if (!dynamic_.intact())
    fail<KernelError>(launch_.name, ": something was written next to the dynamic shared memory of ", dynamic_.bytes(),
                      " bytes (block ", place(index_), ")");
}

void Block::run() {
  std::vector<size_t> turn(fibers_.size());
  for (size_t i = 0; i < turn.size(); ++i) turn[i] = options().order == Order::reverse ? turn.size() - 1 - i : i;
  std::mt19937_64 random(options().seed * 1000003 + index_.x + (uint64_t(index_.y) << 20) + (uint64_t(index_.z) << 40));
  running = this;
#if defined(__SANITIZE_THREAD__)
  scheduler_sanitizer_ = __tsan_get_current_fiber();
#endif
  release(&start_);
  {
    const Unseen here;
    while (true) {
      if (options().order == Order::random) std::shuffle(turn.begin(), turn.end(), random);
      size_t done = 0;
      for (const size_t i : turn) {
        if (fibers_[i].state == State::ready) resume(fibers_[i]);
        done += fibers_[i].state == State::done;
      }
      if (done == fibers_.size()) break;
      if (!error_ && (release_warps() || release_barrier())) continue;
      if (!error_) error_ = std::make_exception_ptr(KernelError(stuck()));
      aborting_ = true;
      for (Fiber& fiber : fibers_)
        if (fiber.state != State::done) fiber.state = State::ready;
    }
  }
  acquire(&end_);
  running = nullptr;
  if (error_) std::rethrow_exception(error_);
  check_guards();
}

Block& here(const char* what) {
  if (!running) fail<KernelError>("emulator: ", what, " outside of a kernel");
  return *running;
}

}  // namespace

void check_configuration(const Launch& l) {
  const auto bad = [&](const char* why) {
    fail<KernelError>(l.name, ": no device takes a grid of ", place(uint3{l.grid.x, l.grid.y, l.grid.z}), " blocks of ",
                      place(uint3{l.block.x, l.block.y, l.block.z}), " threads with ", l.shared_bytes,
                      " bytes of shared memory: ", why);
  };
  if (running) bad("a kernel cannot launch another here");
  if (l.grid.x < 1 || l.grid.y < 1 || l.grid.z < 1) bad("an empty grid");
  if (l.grid.x > 0x7fffffffu || l.grid.y > 65535 || l.grid.z > 65535) bad("at most 2^31 - 1, 65535 and 65535 blocks");
  if (l.block.x < 1 || l.block.y < 1 || l.block.z < 1) bad("an empty block");
  if (l.block.x > 1024 || l.block.y > 1024 || l.block.z > 64 || uint64_t(l.block.x) * l.block.y * l.block.z > 1024)
    bad("at most 1024 threads, 64 of them along z");
  if (l.shared_bytes > 227 * 1024) bad("at most 227 KiB");
}

namespace {

Order order_of(const char* name) {
  if (!name) return Order::forward;
  const std::string_view order = name;
  if (order == "forward") return Order::forward;
  if (order == "reverse") return Order::reverse;
  if (order == "random") return Order::random;
  fail<ValueError>("TENREC_EMULATOR_ORDER: expected forward, reverse or random, got ", order);
}

}  // namespace

Options& options() {
  static Options options{.order = order_of(std::getenv("TENREC_EMULATOR_ORDER"))};
  return options;
}

void run(const Launch& launch, const std::function<void()>& body) {
  DeviceMemory::instance().launch(launch.name, [&] {
    if (options().blocks.empty()) {
      for (unsigned z = 0; z < launch.grid.z; ++z)
        for (unsigned y = 0; y < launch.grid.y; ++y)
          for (unsigned x = 0; x < launch.grid.x; ++x) Block(launch, {x, y, z}, body).run();
    } else {
      for (const dim3& block : options().blocks) Block(launch, {block.x, block.y, block.z}, body).run();
    }
  });
}

void* allocate(size_t bytes) { return DeviceMemory::instance().allocate(bytes); }
void deallocate(void* pointer) {
  if (pointer) DeviceMemory::instance().deallocate(pointer);
}
void copy_in(void* device, const void* host, size_t bytes) {
  DeviceMemory::instance().access(device, bytes, [&] { std::memcpy(device, host, bytes); });
}
void copy_out(void* host, const void* device, size_t bytes) {
  DeviceMemory::instance().access(device, bytes, [&] { std::memcpy(host, device, bytes); });
}
size_t allocated_blocks() { return DeviceMemory::instance().blocks(); }

const uint3& thread_index() {
  const Unseen unseen;
  return here("threadIdx").current().index;
}
const uint3& block_index() { return here("blockIdx").index(); }
const dim3& block_size() { return here("blockDim").launch().block; }
const dim3& grid_size() { return here("gridDim").launch().grid; }
unsigned lane() {
  const Unseen unseen;
  return here("a lane").current().number % kWarp;
}
void barrier(Site site) { here("__syncthreads").wait(State::at_barrier, 0, site); }
void warp_barrier(uint32_t mask, Site site) { here("__syncwarp").ballot(mask, false, site); }
uint64_t exchange(uint32_t mask, uint64_t value, unsigned from, Site site) {
  return here("a warp operation").exchange(mask, value, from, site);
}
uint32_t ballot(uint32_t mask, bool vote, Site site) { return here("a warp operation").ballot(mask, vote, site); }
void gather(const uint32_t* words, int count, const uint32_t** all, Site site) {
  here("a warp operation").gather(words, count, all, site);
}
void copy_async(void* to, const void* from, unsigned bytes, Site site) {
  here("a copy").copy_async(to, from, bytes, site);
}
void commit_copies() { here("a copy").commit_copies(); }
void wait_copies(unsigned pending) { here("a copy").wait_copies(pending); }
void* shared_array(const void* tag, const char* name, size_t bytes, size_t align) {
  return here("shared memory").shared_array(tag, name, bytes, align);
}
void* dynamic_shared() { return here("shared memory").dynamic(); }
void fault(const std::string& what, Site site) { here("a fault").fault(what, site); }

}  // namespace tenrec::simt
