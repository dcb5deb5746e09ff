// Sums by key without float atomics: what several elements add up to at one place, in the order of the elements.
//
// The keys (places to add to) are sorted stably, so that what belongs together lies together and in order. Then fixed
// tiles of the sorted order are combined, each by one thread from its first element on: a run of equal keys that begins
// in the tile is combined with what is at its place, one that began earlier is left as a partial result. The partial
// results, at most one a tile, are the elements of the next level, in their order: a run of any length takes a number
// of steps that grows with its logarithm. Every place is written by one thread of a level.
//
// Floor: keys and places cross memory once for each digit of the sort; then each element is read once.
#pragma once

#include "tenrec/kernels/cuda/block_sort.cuh"
#include "tenrec/kernels/cuda/moves.cuh"
#include "tenrec/kernels/cuda/radix_sort.cuh"

namespace tenrec::cuda {

// --- keys ------------------------------------------------------------------------------------------------------------

// What stands for an index that is out of range, and comes after all others.
template <class Key>
constexpr Key kNoKey = Key(~Key(0));

// An index [outer, length, inner] into places [0, places), seen as outer * inner lines; lines count by inner first.
struct IndexLines {
  const int64_t* index;
  int64_t length, inner, places;
  __device__ bool holds(int64_t place) const { return place >= 0 && place < places; }
  // Element k of a line lies at first(line) + k * inner.
  __device__ int64_t first(int64_t line) const {
    int64_t rest;
    return divide(line, inner, rest) * length * inner + rest;
  }
  template <class Key>
  __device__ Key key(int64_t line, int64_t k) const {
    const int64_t place = index[first(line) + k * inner];
    return holds(place) ? Key(place) : kNoKey<Key>;
  }
};

template <class Key>
__global__ void load_keys(IndexLines lines, Key* keys, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    int64_t k;
    const int64_t line = divide(i, lines.length, k);
    keys[i] = lines.key<Key>(line, k);
  }
}

template <class Key>
struct LoadIndex {
  IndexLines lines;
  __device__ auto operator()(int64_t row, int i) const { return Entry<Key>::of(lines.key<Key>(row, i), uint32_t(i)); }
};
template <class Key, class Place>
struct StoreKey {
  Key* keys;
  Place* places;
  int64_t n;
  template <class E>
  __device__ void operator()(int64_t row, int i, const E& entry) const {
    keys[row * n + i] = entry.key();
    places[row * n + i] = Place(entry.place());
  }
};

// The indices of each line in rising order, and the places in the line that they come from.
template <class Key, class Place>
class SortedKeys {
 public:
  SortedKeys(const IndexLines& lines, int64_t count) : keys_(count * lines.length), places_(count * lines.length) {
    if (lines.length <= kShortRow<Key>) {
      sort_in_blocks<Key>(LoadIndex<Key>{lines}, StoreKey<Key, Place>{keys_.now(), places_.now(), lines.length}, count,
                          lines.length);
    } else {
      const int64_t all = count * lines.length;
      TENREC_LAUNCH(load_keys<Key>, grid_for(all), kThreads, 0, stream(), lines, keys_.now(), all);
      // Bits for one number more than there are places: kNoKey then comes after them and apart from them.
      sort_places(keys_, places_, count, lines.length, int(std::bit_width(uint64_t(lines.places))));
    }
  }
  const Key* keys() const { return keys_.now(); }
  const Place* places() const { return places_.now(); }

 private:
  DoubleBuffer<Key> keys_;
  DoubleBuffer<Place> places_;
};

// Calls f with zeros of the types of keys and of positions in a line.
template <class F>
void visit_key(const IndexLines& lines, F&& f) {
  if (lines.places < int64_t(UINT32_MAX) && lines.length < int64_t(UINT32_MAX))
    f(uint32_t{}, uint32_t{});
  else
    f(uint64_t{}, int64_t{});
}

// --- combining -------------------------------------------------------------------------------------------------------

constexpr int64_t kRunTile = 32;  // sorted elements that a thread combines

// Lines of elements that are put, by their keys, into lines of y.
struct PutLines {
  Offsets<2> offsets;  // where lines begin, in the elements and in y
  int64_t count, length;
  const void* from;
  int64_t from_along;
  void* y;
  int64_t y_along;
  DType dtype;
};

// The elements of a level. Lines may share one row of keys.
template <class Key, class Place, class T>
struct Level {
  const Key* keys;
  const Place* places;  // of the first level
  const T* partial;     // of the later ones: [length, lines]
  int64_t length;
  bool shared;
  __device__ int64_t row(int64_t line) const { return shared ? 0 : line * length; }
  __device__ T get(const PutLines& lines, int64_t line, int64_t begin, int64_t p) const {
    if (partial) return partial[p * lines.count + line];
    return load_as<T>(lines.from, begin + int64_t(places[row(line) + p]) * lines.from_along, lines.dtype);
  }
};

// A thread for each tile of each line. What goes on from the tile before becomes the tile's element of the next level,
// whose key is kNoKey if there is nothing. Nothing is put at `skip`.
template <class Key, class Place, class T, class Op>
__global__ void combine_runs(Op combine, Level<Key, Place, T> level, PutLines lines, Key skip, int64_t tiles,
                             Key* next_keys, T* next) {
  for (int64_t i = grid_start(); i < tiles * lines.count; i += grid_stride()) {
    int64_t line, offset[2];
    const int64_t tile = divide(i, lines.count, line);
    lines.offsets.at(line, offset);
    const Key* keys = level.keys + level.row(line);
    int64_t p = tile * kRunTile;
    const int64_t end = std::min(p + kRunTile, level.length);
    bool goes_on = p > 0 && keys[p - 1] == keys[p];
    if (!level.shared || line == 0)
      next_keys[(level.shared ? 0 : line * tiles) + tile] = goes_on ? keys[p] : kNoKey<Key>;
    while (p < end) {
      const Key key = keys[p];
      if (key == kNoKey<Key> || key == skip) {
        ++p;
      } else {
        T sum = level.get(lines, line, offset[0], p++);
        for (; p < end && keys[p] == key; ++p) sum = combine(sum, level.get(lines, line, offset[0], p));
        const int64_t to = offset[1] + int64_t(key) * lines.y_along;
        if (goes_on)
          next[tile * lines.count + line] = sum;
        else
          store_as(lines.y, to, lines.dtype, combine(load_as<T>(lines.y, to, lines.dtype), sum));
      }
      goes_on = false;
    }
  }
}

// y[line, key] = combine(.. combine(y[line, key], first element with the key) .., last one), cut into runs as above.
template <class Key, class Place, class T, class Op>
void combine_levels(const Op& combine, const Level<Key, Place, T>& level, const PutLines& lines, Key skip) {
  const int64_t tiles = kernels::ceil_div(level.length, kRunTile);
  const Buffer<Key> next_keys(tiles * (level.shared ? 1 : lines.count));
  const Buffer<T> next(tiles * lines.count);
  TENREC_LAUNCH((combine_runs<Key, Place, T, Op>), grid_for(tiles * lines.count, 64), 64, 0, stream(), combine, level,
                lines, skip, tiles, next_keys.data(), next.data());
  TENREC_LAUNCH_CHECK();
  if (tiles > 1)
    combine_levels<Key, Place, T, Op>(combine, {next_keys.data(), nullptr, next.data(), tiles, level.shared}, lines,
                                      skip);
}

}  // namespace tenrec::cuda
