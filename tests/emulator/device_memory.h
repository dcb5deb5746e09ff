// The emulator's memory: blocks between guards, poisoned when they are made and when they are freed. Internal.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "emulator/simt.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define SIMT_POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define SIMT_UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define SIMT_POISON(p, n) static_cast<void>(p)
#define SIMT_UNPOISON(p, n) static_cast<void>(p)
#endif

namespace tenrec::simt {

// Bytes between two guards. They begin poisoned; the guards are looked at by intact().
class Guarded {
  static constexpr size_t kGuard = 64;
  static constexpr int kPoison = 0xff, kCanary = 0xa5;

 public:
  Guarded(size_t bytes, size_t align) : bytes_(bytes), front_(std::max<size_t>(align, kGuard)) {
    const size_t whole = (front_ + bytes + kGuard + front_ - 1) / front_ * front_;
    raw_.reset(static_cast<unsigned char*>(std::aligned_alloc(front_, whole)));
    if (!raw_) fail<OutOfMemoryError>("emulator: ", bytes, " bytes could not be had");
    poison();
    mend();
    SIMT_POISON(raw_.get(), front_);
    SIMT_POISON(raw_.get() + front_ + bytes, kGuard);
  }
  Guarded(Guarded&&) = default;
  Guarded& operator=(Guarded&&) = default;
  ~Guarded() {
    if (raw_) SIMT_UNPOISON(raw_.get(), front_ + bytes_ + kGuard);
  }

  unsigned char* data() const { return raw_.get() + front_; }
  size_t bytes() const { return bytes_; }
  bool intact() const {
#if defined(__SANITIZE_ADDRESS__)
    return true;  // it would have said so
#else
    const auto is_canary = [](unsigned char byte) { return byte == kCanary; };
    return std::all_of(raw_.get(), data(), is_canary) &&
           std::all_of(data() + bytes_, data() + bytes_ + kGuard, is_canary);
#endif
  }
  void mend() const {
    std::memset(raw_.get(), kCanary, front_);
    std::memset(data() + bytes_, kCanary, kGuard);
  }
  void poison() const { std::memset(data(), kPoison, bytes_); }
  bool poisoned() const {
#if defined(__SANITIZE_ADDRESS__)
    return true;  // it would have said so
#else
    return std::all_of(data(), data() + bytes_, [](unsigned char byte) { return byte == kPoison; });
#endif
  }
  void forbid() const { SIMT_POISON(data(), bytes_); }
  void allow() const { SIMT_UNPOISON(data(), bytes_); }

 private:
  struct Free {
    void operator()(unsigned char* p) const { std::free(p); }
  };
  std::unique_ptr<unsigned char[], Free> raw_;
  size_t bytes_, front_;
};

// What cudaMalloc gives out. Outside a launch or a copy nobody may touch it. What is freed stays poisoned for a while,
// so that a late write is found and a late read gives NaN.
class DeviceMemory {
 public:
  static DeviceMemory& instance();

  void* allocate(size_t bytes);
  void deallocate(void* pointer);
  bool contains(const void* pointer) { return find(pointer) != blocks_.end(); }
  size_t bytes() const { return bytes_; }
  size_t blocks();
  // Calls f while the block that holds [pointer, pointer + bytes) may be touched.
  template <class F>
  void access(const void* pointer, size_t bytes, F&& f) {
    const std::lock_guard lock(mutex_);
    const Guarded& block = block_of(pointer, bytes);
    if (launches_ == 0) block.allow();
    f();
    if (launches_ == 0) block.forbid();
  }
  // Calls f, which may touch all of it. KernelError, in the launch's name, if something was written where it should not
  // have been.
  template <class F>
  void launch(const char* name, F&& f) {
    begin_launch();
    try {
      f();
    } catch (...) {
      end_launch();
      throw;
    }
    if (const std::string found = end_launch(); !found.empty()) fail<KernelError>(name, ": ", found);
  }

 private:
  void begin_launch();
  // What was written where it should not have been; empty if nothing was.
  std::string end_launch();
  std::map<const void*, Guarded>::iterator find(const void* pointer);
  const Guarded& block_of(const void* pointer, size_t bytes);

  std::recursive_mutex mutex_;
  std::map<const void*, Guarded> blocks_;
  std::vector<Guarded> freed_;
  size_t bytes_ = 0, freed_bytes_ = 0;
  int launches_ = 0;
};

}  // namespace tenrec::simt
