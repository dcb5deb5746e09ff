// Scans of a block's tile and of whole arrays: what cumulative sums, sorting and selecting are made of.
//
// A warp takes a run of its own from a tile, 32 neighbours a turn, so that memory is read in its order: element
// (warp * kItems + j) * 32 + lane is the j-th of a thread.
#pragma once

#include <cstring>

#include "tenrec/kernels/cuda/cub.h"
#include "tenrec/kernels/cuda/launch.h"

namespace tenrec::cuda {

// Values that warps exchange: numbers, or what is made of 8-byte words.
template <class T, class Exchange>
__device__ T exchange_words(T value, Exchange exchange) {
  if constexpr (std::is_arithmetic_v<T>) {
    return exchange(value);
  } else {
    static_assert(sizeof(T) % 8 == 0);
    uint64_t words[sizeof(T) / 8];
    std::memcpy(words, &value, sizeof(T));
    for (uint64_t& word : words) word = exchange(word);
    std::memcpy(&value, words, sizeof(T));
    return value;
  }
}
template <class T>
__device__ T shuffle_up(T value, int distance) {
  return exchange_words(value, [=](auto word) { return __shfl_up_sync(kAllLanes, word, unsigned(distance)); });
}
template <class T>
__device__ T shuffle(T value, int from) {
  return exchange_words(value, [=](auto word) { return __shfl_sync(kAllLanes, word, from); });
}

// Where a thread's elements lie in a tile of `size` elements, and how many turns its warp has.
template <int kItems>
struct TilePart {
  int first, turns;
  __device__ explicit TilePart(int64_t size) {
    const int warp = int(threadIdx.x) / kWarp, begin = warp * kItems * kWarp;
    first = begin + int(threadIdx.x) % kWarp;
    turns = size <= begin ? 0 : int(kernels::ceil_div(std::min<int64_t>(size - begin, kItems * kWarp), kWarp));
  }
  __device__ int at(int j) const { return first + j * kWarp; }
};

// Replaces v by the scan of the tile up to each element, and returns that of the whole tile, which has a meaning if
// the tile is full or elements beyond its end combine to nothing. combine(a, b) gets a from before b. Two barriers.
template <int kItems, class T, class Op>
__device__ T scan_tile(T (&v)[kItems], int turns, Op combine) {
  TENREC_SHARED(T, totals, kWarp);
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp, warps = int(blockDim.x) / kWarp;
  T end{};
  for (int j = 0; j < kItems; ++j) {
    if (j >= turns) continue;
    for (int distance = 1; distance < kWarp; distance *= 2) {
      const T before = shuffle_up(v[j], distance);
      if (lane >= distance) v[j] = combine(before, v[j]);
    }
    if (j > 0) v[j] = combine(end, v[j]);
    end = shuffle(v[j], kWarp - 1);
  }
  __syncthreads();  // an earlier call may still be reading
  if (lane == 0) totals[warp] = end;
  __syncthreads();
  T sum = totals[0];
  for (int w = 1; w < warps; ++w) {
    if (w == warp)
      for (int j = 0; j < kItems; ++j)
        if (j < turns) v[j] = combine(sum, v[j]);
    sum = combine(sum, totals[w]);
  }
  return sum;
}

// --- over an array ---------------------------------------------------------------------------------------------------

constexpr int kScanItems = 8, kScanTile = kScanItems * kThreads;

// sums[i] = x[0] + .. + x[i - 1]; sums[n] = everything. One block goes through all tiles.
template <class T>
__global__ void scan_tiles(const T* x, int64_t n, T* sums) {
  const int64_t tiles = kernels::ceil_div(n, kScanTile);
  T carry{};
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t begin = tile * kScanTile, size = std::min<int64_t>(n - begin, kScanTile);
    const TilePart<kScanItems> part(size);
    T own[kScanItems], v[kScanItems];
    for (int j = 0; j < kScanItems; ++j) own[j] = v[j] = part.at(j) < size ? x[begin + part.at(j)] : T{};
    const T total = scan_tile(v, part.turns, [](T a, T b) { return a + b; });
    for (int j = 0; j < kScanItems; ++j)
      if (part.at(j) < size) sums[begin + part.at(j)] = carry + v[j] - own[j];
    carry += total;
  }
  if (threadIdx.x == 0) sums[n] = carry;
}

// sums[i] = x[0] + .. + x[i - 1] for 0 <= i <= n: n + 1 numbers, for which there is room in both. `sums` may be x.
inline void exclusive_scan(int64_t* x, int64_t n, int64_t* sums) {
  constexpr int64_t kMostOfOneBlock = 4 * kScanTile;
  if (n <= kMostOfOneBlock) {
    TENREC_LAUNCH(scan_tiles<int64_t>, 1, kThreads, 0, stream(), x, n, sums);
  } else {
    TENREC_CUDA_CHECK(
        cudaMemsetAsync(x + n, 0, sizeof(int64_t), stream()));  // it is read, though nothing is made of it
    exclusive_sum(x, sums, n + 1, stream());
  }
  TENREC_LAUNCH_CHECK();
}

// --- flags -----------------------------------------------------------------------------------------------------------

template <class Flag>
__global__ void count_flags(Flag flag, int64_t n, int64_t* counts) {
  const int64_t tiles = kernels::ceil_div(n, kScanTile);
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    int count = 0;
    const int64_t end = std::min(n, (tile + 1) * kScanTile);
    for (int64_t i = tile * kScanTile + threadIdx.x; i < end; i += kThreads) count += flag(i);
    count = block_reduce(count, 0, [](int a, int b) { return a + b; });
    if (threadIdx.x == 0) counts[tile] = count;
  }
}

// Calls write(i, flag(i), how many flags stand before i) for each i; before[tile] of them stand before a tile.
template <class Flag, class Write>
__global__ void rank_flags(Flag flag, Write write, int64_t n, const int64_t* before) {
  TENREC_SHARED(int, totals, kWarp);
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  const int64_t tiles = kernels::ceil_div(n, kScanTile);
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t begin = tile * kScanTile, size = std::min<int64_t>(n - begin, kScanTile);
    const TilePart<kScanItems> part(size);
    unsigned votes[kScanItems];
    int count = 0;
    for (int j = 0; j < kScanItems; ++j) {
      if (j >= part.turns) continue;
      votes[j] = __ballot_sync(kAllLanes, part.at(j) < size && flag(begin + part.at(j)));
      count += __popc(votes[j]);
    }
    __syncthreads();  // an earlier tile's totals may still be read
    if (lane == 0) totals[warp] = count;
    __syncthreads();
    int64_t rank = before[tile];
    for (int w = 0; w < warp; ++w) rank += totals[w];
    for (int j = 0; j < kScanItems; ++j) {
      if (j >= part.turns) continue;
      const unsigned own = 1u << lane;
      if (part.at(j) < size) write(begin + part.at(j), (votes[j] & own) != 0, rank + __popc(votes[j] & (own - 1)));
      rank += __popc(votes[j]);
    }
  }
}

// How many i in [0, n) have a flag, and what to do with each and its rank. Flag and Write are called on the device.
template <class Flag>
class RankedFlags {
 public:
  RankedFlags(Flag flag, int64_t n) : flag_(flag), n_(n), tiles_(kernels::ceil_div(n, kScanTile)), before_(tiles_ + 1) {
    TENREC_LAUNCH(count_flags<Flag>, blocks_for(tiles_), kThreads, 0, stream(), flag_, n_, before_.data());
    exclusive_scan(before_.data(), tiles_, before_.data());
  }
  template <class Write>
  void visit(Write write) const {
    TENREC_LAUNCH((rank_flags<Flag, Write>), blocks_for(tiles_), kThreads, 0, stream(), flag_, write, n_,
                  before_.data());
    TENREC_LAUNCH_CHECK();
  }
  // Waits.
  int64_t count() const { return download(before_.data() + tiles_); }

 private:
  Flag flag_;
  int64_t n_, tiles_;
  Buffer<int64_t> before_;
};

}  // namespace tenrec::cuda
