// CUDA blocks on the CPU: what a kernel's source sees when g++ compiles it (kernels/cuda/kernel.h includes this).
//
// Every CUDA thread of a block is a fiber. A fiber runs until it waits at a barrier or a warp operation; the scheduler
// then goes on with another one, forwards, backwards or in random order. What a race leaves open is so seen as results
// that differ between the orders, and by ThreadSanitizer, to which each fiber is a thread of its own. Barriers and warp
// operations remember where they were called: threads that wait at different places are an error and not a hang.
//
// Memory is poisoned: shared arrays and device memory begin as bytes 0xFF (NaN), between and around them lie guards
// that are looked at after each block or launch, and that AddressSanitizer knows. Outside a launch device memory must
// not be touched by the host.
//
// It proves index, barrier and lifetime logic, never speed and not the weak memory order of the device.
#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "tenrec/core/error.h"

namespace tenrec::simt {

// A fault of a kernel: the message says which rule was broken, where, and by which thread of which block.
class KernelError : public Error {
  using Error::Error;
};

enum class Order : uint8_t { forward, reverse, random };

struct Options {
  Order order = Order::forward;
  uint64_t seed = 0;              // of the random order
  std::vector<dim3> blocks = {};  // if not empty, only these blocks of the grid run: for grids beyond what can be run
};
// Those of the launches that follow, on every thread. The order begins as TENREC_EMULATOR_ORDER
// says: forward, reverse or random.
Options& options();

struct Launch {
  const char* name;
  dim3 grid, block;
  size_t shared_bytes = 0;  // dynamic shared memory
};
// KernelError for a configuration that no device takes.
void check_configuration(const Launch& launch);
// Runs all blocks of a checked grid, one after the other. Throws KernelError.
void run(const Launch& launch, const std::function<void()>& body);

// --- device memory --------------------------------------------------------------------------------------------------

void* allocate(size_t bytes);
void deallocate(void* pointer);
// Host access between launches goes through copies, as on a device.
void copy_in(void* device, const void* host, size_t bytes);
void copy_out(void* host, const void* device, size_t bytes);
size_t allocated_blocks();

// --- inside a kernel ------------------------------------------------------------------------------------------------

#if defined(__cpp_lib_source_location)
using Site = std::source_location;
#else  // clang 14 reads this too
class Site {
 public:
  static constexpr Site current(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
    Site site;
    site.file_ = file;
    site.line_ = line;
    return site;
  }
  constexpr const char* file_name() const { return file_; }
  constexpr unsigned line() const { return line_; }
  constexpr unsigned column() const { return 0; }

 private:
  const char* file_ = "";
  unsigned line_ = 0;
};
#endif

const uint3& thread_index();
const uint3& block_index();
const dim3& block_size();
const dim3& grid_size();
unsigned lane();

void barrier(Site site);
void warp_barrier(uint32_t mask, Site site);
// Every lane of the mask gives a value and gets that of lane `from`. Words are what travels.
uint64_t exchange(uint32_t mask, uint64_t value, unsigned from, Site site);
// One bit from each lane of the mask.
uint32_t ballot(uint32_t mask, bool vote, Site site);
// What each lane of a full warp gives: `all` has 32 pointers to words, which stay until the lane's next operation of a
// warp. Those words are copies; a lane that reads what they point to ends with a warp_barrier.
void gather(const uint32_t* words, int count, const uint32_t** all, Site site);

// Copies of 4 or 16 bytes that run beside the thread (cp.async): in groups, and a thread waits for its own. They are
// made as early as a device may make them, or, unless the order is forward, as late, so that what does not wait sees
// the difference. `from` may be null: zeros.
void copy_async(void* to, const void* from, unsigned bytes, Site site);
void commit_copies();
// Makes those of all groups but the last `pending`.
void wait_copies(unsigned pending);

// The block's array for a declaration, which `tag` stands for.
void* shared_array(const void* tag, const char* name, size_t bytes, size_t align);
void* dynamic_shared();
[[noreturn]] void fault(const std::string& what, Site site);

template <class T>
T exchange_value(uint32_t mask, T value, unsigned from, Site site) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  uint64_t word = 0;
  std::memcpy(&word, &value, sizeof(T));
  word = exchange(mask, word, from, site);
  std::memcpy(&value, &word, sizeof(T));
  return value;
}

// Lanes are taken in groups of `width`; a source outside the group is the lane itself.
inline unsigned source_lane(int from, int width) {
  const int own = int(lane());
  return unsigned((own & ~(width - 1)) == (from & ~(width - 1)) && from >= 0 ? from : own);
}

template <class T, class F>
T atomic_update(T* place, F f) {
  std::atomic_ref<T> value(*place);
  T before = value.load(std::memory_order_relaxed);
  while (!value.compare_exchange_weak(before, f(before), std::memory_order_relaxed)) {
  }
  return before;
}

}  // namespace tenrec::simt

// --- the names that CUDA gives these --------------------------------------------------------------------------------

#undef __global__
#undef __device__
#undef __host__
#undef __constant__
#undef __forceinline__
#undef __noinline__
#undef __launch_bounds__
#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __launch_bounds__(...)

#define threadIdx (::tenrec::simt::thread_index())
#define blockIdx (::tenrec::simt::block_index())
#define blockDim (::tenrec::simt::block_size())
#define gridDim (::tenrec::simt::grid_size())

inline void __syncthreads(tenrec::simt::Site site = tenrec::simt::Site::current()) { tenrec::simt::barrier(site); }
inline void __syncwarp(uint32_t mask = ~0u, tenrec::simt::Site site = tenrec::simt::Site::current()) {
  tenrec::simt::warp_barrier(mask, site);
}
inline uint32_t __ballot_sync(uint32_t mask, bool vote, tenrec::simt::Site site = tenrec::simt::Site::current()) {
  return tenrec::simt::ballot(mask, vote, site);
}
inline bool __any_sync(uint32_t mask, bool vote, tenrec::simt::Site site = tenrec::simt::Site::current()) {
  return tenrec::simt::ballot(mask, vote, site) != 0;
}
inline bool __all_sync(uint32_t mask, bool vote, tenrec::simt::Site site = tenrec::simt::Site::current()) {
  return tenrec::simt::ballot(mask, !vote, site) == 0;
}
template <class T>
T __shfl_sync(uint32_t mask, T value, int from, int width = 32,
              tenrec::simt::Site site = tenrec::simt::Site::current()) {
  const unsigned base = tenrec::simt::lane() & ~unsigned(width - 1);
  return tenrec::simt::exchange_value(mask, value, base | (unsigned(from) & unsigned(width - 1)), site);
}
template <class T>
T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32,
                   tenrec::simt::Site site = tenrec::simt::Site::current()) {
  const unsigned from = tenrec::simt::source_lane(int(tenrec::simt::lane() + delta), width);
  return tenrec::simt::exchange_value(mask, value, from, site);
}
template <class T>
T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = 32,
                 tenrec::simt::Site site = tenrec::simt::Site::current()) {
  const unsigned from = tenrec::simt::source_lane(int(tenrec::simt::lane()) - int(delta), width);
  return tenrec::simt::exchange_value(mask, value, from, site);
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int lanes, int width = 32,
                  tenrec::simt::Site site = tenrec::simt::Site::current()) {
  const unsigned from = tenrec::simt::source_lane(int(tenrec::simt::lane()) ^ lanes, width);
  return tenrec::simt::exchange_value(mask, value, from, site);
}

template <class T>
T atomicAdd(T* place, std::type_identity_t<T> value) {
  return tenrec::simt::atomic_update(place, [=](T before) { return T(before + value); });
}
template <class T>
T atomicMax(T* place, std::type_identity_t<T> value) {
  return tenrec::simt::atomic_update(place, [=](T before) { return before < value ? value : before; });
}
template <class T>
T atomicMin(T* place, std::type_identity_t<T> value) {
  return tenrec::simt::atomic_update(place, [=](T before) { return value < before ? value : before; });
}
template <class T>
T atomicExch(T* place, std::type_identity_t<T> value) {
  return tenrec::simt::atomic_update(place, [=](T) { return value; });
}
template <class T>
T atomicCAS(T* place, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return tenrec::simt::atomic_update(place, [=](T before) { return before == expected ? value : before; });
}
// The threads of a kernel are fibers of one thread, so only the compiler could change their order.
inline void __threadfence() { std::atomic_signal_fence(std::memory_order_seq_cst); }
inline void __threadfence_block() { std::atomic_signal_fence(std::memory_order_seq_cst); }
template <class T>
T __ldg(const T* place) {
  return *place;
}
inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __ffs(int bits) { return bits ? std::countr_zero(unsigned(bits)) + 1 : 0; }
inline int __clz(int bits) { return std::countl_zero(unsigned(bits)); }
