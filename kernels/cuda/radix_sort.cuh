// The device-wide sort: rows of unsigned keys, each with its place in the row, stably, by digits of eight bits from the
// lowest up (D. E. Knuth, The Art of Computer Programming, vol. 3, 5.2.5). A single row goes to CUB (cub.h), which
// needs fewer passes; it has nothing as good for a few long rows, which are sorted here together.
//
// A turn for each digit: every tile of a row counts its digits; a scan of the counts, by row, digit and tile, says
// where each tile's elements of each digit go; every tile orders its elements by digit in shared memory and writes them
// there, runs of a digit together. Floor of a turn: the keys are read twice, keys and places written once. Counts are
// integers and ranks follow the order in memory, so nothing depends on the order in which blocks run.
#pragma once

#include "tenrec/kernels/cuda/block_scan.cuh"

namespace tenrec::cuda {

constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits;
static_assert(kDigits == kThreads, "a thread for each digit");

template <class Key, class Place>
constexpr int kSortItems = sizeof(Key) + sizeof(Place) <= 8 ? 16 : 8;  // of a thread; a tile fits into 48 KiB

template <class Key>
__device__ inline int digit_of(Key key, int shift) {
  return int(key >> shift) & (kDigits - 1);
}

// Rows of n elements, cut into tiles of at most `most`.
struct RowTiles {
  int64_t rows, n, most, per_row;
  RowTiles(int64_t rows_, int64_t n_, int64_t most_)
      : rows(rows_), n(n_), most(most_), per_row(kernels::ceil_div(n_, most_)) {}
  __host__ __device__ int64_t count() const { return rows * per_row; }
};
struct SortTile {
  int64_t first, begin;  // in its row; in memory
  int size;
  int64_t counter;  // of digit 0; those of a digit lie together for all tiles of a row
  __device__ SortTile(const RowTiles& tiles, int64_t tile) {
    const int64_t row = tile / tiles.per_row, in_row = tile % tiles.per_row;
    first = in_row * tiles.most;
    begin = row * tiles.n + first;
    size = int(std::min(tiles.most, tiles.n - first));
    counter = row * kDigits * tiles.per_row + in_row;
  }
};

template <class Key>
__global__ void count_digits(const Key* keys, int shift, RowTiles tiles, int64_t* counts) {
  TENREC_SHARED(unsigned, found, kDigits);
  const int own = int(threadIdx.x);
  for (int64_t t = blockIdx.x; t < tiles.count(); t += gridDim.x) {
    const SortTile tile(tiles, t);
    found[own] = 0;
    __syncthreads();
    for (int i = own; i < tile.size; i += kThreads) atomicAdd(&found[digit_of(keys[tile.begin + i], shift)], 1u);
    __syncthreads();
    counts[tile.counter + own * tiles.per_row] = found[own];
  }
}

// How many earlier elements of the warp's run have the digit, of which `seen` keeps count.
__device__ inline unsigned rank_in_warp(unsigned* seen, int digit, bool inside) {
  unsigned peers = __ballot_sync(kAllLanes, inside);
  for (int b = 0; b < kDigitBits; ++b) {
    const bool bit = digit >> b & 1;
    const unsigned votes = __ballot_sync(kAllLanes, bit);
    peers &= bit ? votes : ~votes;
  }
  const unsigned lower = peers & ((1u << threadIdx.x % kWarp) - 1), before = inside ? seen[digit] : 0;
  __syncwarp();
  if (inside && lower == 0) seen[digit] = before + unsigned(__popc(peers));
  __syncwarp();
  return before + unsigned(__popc(lower));
}

// `places` may be null: then each is where its key stands.
template <class Key, class Place>
__global__ void move_by_digit(const Key* keys, const Place* places, Key* keys_out, Place* places_out, int shift,
                              RowTiles tiles, const int64_t* starts) {
  constexpr int kItems = kSortItems<Key, Place>, kWarps = kThreads / kWarp;
  TENREC_SHARED(unsigned, seen, kWarps* kDigits);
  TENREC_SHARED(Key, tile_keys, kItems * kThreads);
  TENREC_SHARED(Place, tile_places, kItems * kThreads);
  TENREC_SHARED(int64_t, start, kDigits);  // where an element goes, less where it stands in the ordered tile
  const int own = int(threadIdx.x), lane = own % kWarp;
  unsigned* of_warp = seen + own / kWarp * kDigits;
  for (int64_t t = blockIdx.x; t < tiles.count(); t += gridDim.x) {
    const SortTile tile(tiles, t);
    const TilePart<kItems> part(tile.size);
    for (int d = lane; d < kDigits; d += kWarp) of_warp[d] = 0;
    __syncwarp();
    Key key[kItems];
    unsigned rank[kItems];
    for (int j = 0; j < kItems; ++j) {
      if (j >= part.turns) continue;
      const bool inside = part.at(j) < tile.size;
      key[j] = inside ? keys[tile.begin + part.at(j)] : Key(0);
      rank[j] = rank_in_warp(of_warp, digit_of(key[j], shift), inside);
    }
    __syncthreads();
    unsigned count = 0;
    for (int w = 0; w < kWarps; ++w) count += seen[w * kDigits + own];
    unsigned before = block_scan(count, 0u, [](unsigned a, unsigned b) { return a + b; }) - count;
    start[own] = starts[tile.counter + own * tiles.per_row] - before;
    for (int w = 0; w < kWarps; ++w) {
      const unsigned of_this = seen[w * kDigits + own];
      seen[w * kDigits + own] = before;
      before += of_this;
    }
    __syncthreads();
    for (int j = 0; j < kItems; ++j) {
      if (j >= part.turns || part.at(j) >= tile.size) continue;
      const unsigned to = of_warp[digit_of(key[j], shift)] + rank[j];
      tile_keys[to] = key[j];
      tile_places[to] = places ? places[tile.begin + part.at(j)] : Place(tile.first + part.at(j));
    }
    __syncthreads();
    for (int i = own; i < tile.size; i += kThreads) {
      const int64_t to = start[digit_of(tile_keys[i], shift)] + i;
      keys_out[to] = tile_keys[i];
      places_out[to] = tile_places[i];
    }
  }
}

// An array and the room that its next version needs.
template <class T>
class DoubleBuffer {
 public:
  explicit DoubleBuffer(int64_t n) : a_(n), b_(n), now_(a_.data()), spare_(b_.data()) {}
  T* now() const { return now_; }
  T* spare() const { return spare_; }
  void swap() { std::swap(now_, spare_); }

 private:
  Buffer<T> a_, b_;
  T *now_, *spare_;
};

template <class Place>
__global__ void number_places(Place* places, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) places[i] = Place(i);
}

template <class Key, class Place>
void sort_one_row(DoubleBuffer<Key>& keys, DoubleBuffer<Place>& places, int64_t n, int bits) {
  TENREC_LAUNCH(number_places<Place>, grid_for(n), kThreads, 0, stream(), places.now(), n);
  TENREC_LAUNCH_CHECK();
  if (!sort_pairs(Pair<Key>{keys.now(), keys.spare()}, Pair<Place>{places.now(), places.spare()}, n, bits, stream()))
    return;
  keys.swap();
  places.swap();
}

// Sorts each of `rows` rows of n keys by their low `bits` bits, rising and stably. places[r, i] becomes the place in
// row r that the key at i came from.
template <class Key, class Place>
void sort_places(DoubleBuffer<Key>& keys, DoubleBuffer<Place>& places, int64_t rows, int64_t n, int bits) {
  bits = std::max(bits, 1);
  if (rows == 1) return sort_one_row(keys, places, n, bits);
  const RowTiles tiles(rows, n, int64_t(kSortItems<Key, Place>) * kThreads);
  const int64_t counters = tiles.count() * kDigits;
  const Buffer<int64_t> counts(counters + 1);
  const unsigned grid = blocks_for(tiles.count());
  for (int shift = 0; shift < bits; shift += kDigitBits) {
    TENREC_LAUNCH(count_digits<Key>, grid, kThreads, 0, stream(), keys.now(), shift, tiles, counts.data());
    exclusive_scan(counts.data(), counters, counts.data());
    TENREC_LAUNCH((move_by_digit<Key, Place>), grid, kThreads, 0, stream(), keys.now(),
                  shift ? places.now() : static_cast<const Place*>(nullptr), keys.spare(), places.spare(), shift, tiles,
                  counts.data());
    TENREC_LAUNCH_CHECK();
    keys.swap();
    places.swap();
  }
}

}  // namespace tenrec::cuda
