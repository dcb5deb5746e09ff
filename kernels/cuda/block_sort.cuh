// Sorting of short rows, in the shared memory of a block: K. E. Batcher's bitonic network ("Sorting networks and their
// applications", 1968), log2(n) (log2(n) + 1) / 2 turns of n / 2 comparisons. An entry is a key and its place in the
// row, so no two are equal, the one right order is also the stable one, and n need not be a power of two: what fills a
// row up comes after all of it.
//
// Floor: each row is read and written once; the comparisons decide. A turn over distances up to 32 stays within a warp,
// which needs no barrier of the block.
#pragma once

#include <bit>

#include "tenrec/kernels/cuda/launch.h"

namespace tenrec::cuda {

// A key of 32 bits above its place.
struct NarrowEntry {
  uint64_t word;
  __device__ static NarrowEntry of(uint32_t key, uint32_t place) { return {uint64_t(key) << 32 | place}; }
  __device__ static NarrowEntry last() { return {~uint64_t(0)}; }
  __device__ uint32_t key() const { return uint32_t(word >> 32); }
  __device__ uint32_t place() const { return uint32_t(word); }
  __device__ bool before(const NarrowEntry& b) const { return word < b.word; }
};
struct WideEntry {
  uint64_t key_, place_;
  __device__ static WideEntry of(uint64_t key, uint32_t place) { return {key, place}; }
  __device__ static WideEntry last() { return {~uint64_t(0), ~uint64_t(0)}; }
  __device__ uint64_t key() const { return key_; }
  __device__ uint32_t place() const { return uint32_t(place_); }
  __device__ bool before(const WideEntry& b) const { return key_ != b.key_ ? key_ < b.key_ : place_ < b.place_; }
};
template <class Key>
using Entry = std::conditional_t<sizeof(Key) == 4, NarrowEntry, WideEntry>;

// Rows up to this length fit.
template <class Key>
constexpr int64_t kShortRow = 32768 / sizeof(Entry<Key>);

// `padded`: n as a power of two, at least 2; `at_once` rows share a block, and with them at least 64 entries.
template <class E, class Load, class Store>
__global__ void sort_short_rows(Load load, Store store, int64_t rows, int n, int padded, int at_once) {
  TENREC_DYNAMIC_SHARED(E, entries);
  const int all = at_once * padded, own = int(threadIdx.x), threads = int(blockDim.x);
  for (int64_t first = int64_t(blockIdx.x) * at_once; first < rows; first += int64_t(gridDim.x) * at_once) {
    for (int i = own; i < all; i += threads) {
      const int64_t row = first + i / padded;
      const int at = i & (padded - 1);
      entries[i] = row < rows && at < n ? load(row, at) : E::last();
    }
    __syncthreads();
    for (int size = 2; size <= padded; size *= 2) {
      for (int distance = size / 2; distance > 0; distance /= 2) {
        for (int pair = own; pair < all / 2; pair += threads) {
          const int low = 2 * pair - (pair & (distance - 1));
          const bool falls = low & (padded - 1) & size;
          const E a = entries[low], b = entries[low + distance];
          if (b.before(a) != falls) {
            entries[low] = b;
            entries[low + distance] = a;
          }
        }
        // A warp's 32 pairs are 64 neighbours as long as pairs are at most 32 apart.
        const int next = distance > 1 ? distance / 2 : size < padded ? size : all;
        if (distance > kWarp || next > kWarp)
          __syncthreads();
        else
          __syncwarp();
      }
    }
    for (int i = own; i < all; i += threads) {
      const int64_t row = first + i / padded;
      const int at = i & (padded - 1);
      if (row < rows && at < n) store(row, at, entries[i]);
    }
    __syncthreads();
  }
}

// For rows of 1 <= n <= kShortRow: store(row, i, entry) gets what is i-th of the entries that load(row, i) gives.
template <class Key, class Load, class Store>
void sort_in_blocks(const Load& load, const Store& store, int64_t rows, int64_t n) {
  using E = Entry<Key>;
  constexpr int64_t kEntries = 1024, kFewest = 64, kMostThreads = 512;
  const int64_t padded = std::max<int64_t>(2, int64_t(std::bit_ceil(uint64_t(n))));
  const int64_t wanted = int64_t(std::bit_ceil(uint64_t(std::min(rows, std::max<int64_t>(1, kEntries / padded)))));
  const int64_t at_once = std::max(wanted, kFewest / padded), all = at_once * padded;
  TENREC_LAUNCH((sort_short_rows<E, Load, Store>), blocks_for(kernels::ceil_div(rows, at_once)),
                unsigned(std::min(all / 2, kMostThreads)), size_t(all) * sizeof(E), stream(), load, store, rows, int(n),
                int(padded), int(at_once));
  TENREC_LAUNCH_CHECK();
}

}  // namespace tenrec::cuda
