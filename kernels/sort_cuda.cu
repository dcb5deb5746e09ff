// Sorting and selecting of rows, and runs of equal elements.
//
// Elements become unsigned keys whose order is the order wanted, so that nothing here compares floats. Rows that fit
// into a block's shared memory are sorted there (cuda/block_sort.cuh), one pass over memory; longer ones by digits
// (cuda/radix_sort.cuh). Are only a few of a long row's elements wanted, a block finds the digits of the last of them
// from the highest down, a pass over the row for each, and picks what is not above it: at most nine readings of the row
// and no writing but of the few.
#include <bit>

#include "tenrec/kernels/cuda/block_sort.cuh"
#include "tenrec/kernels/cuda/radix_sort.cuh"
#include "tenrec/kernels/sort.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::cuda {
namespace {

template <class T>
using KeyOf = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
template <class T>
constexpr int kKeyBits = 8 * int(sizeof(T));

template <class Bits, class T>
__device__ Bits float_key(T value, bool nan) {
  if (nan) return Bits(~Bits(0));
  constexpr Bits sign = Bits(Bits(1) << (sizeof(Bits) * 8 - 1));
  Bits bits = std::bit_cast<Bits>(value);
  if (bits == sign) bits = 0;  // -0
  return bits & sign ? Bits(~bits) : Bits(bits | sign);
}

// Rising with the element, in its low kKeyBits.
template <class T>
__device__ KeyOf<T> key_of(T x, bool falling) {
  using Bits = std::conditional_t<sizeof(T) == 2, uint16_t, std::conditional_t<sizeof(T) == 1, uint8_t, KeyOf<T>>>;
  Bits key;
  if constexpr (std::is_class_v<T>)
    key = float_key<Bits>(x, float(x) != float(x));
  else if constexpr (std::is_floating_point_v<T>)
    key = float_key<Bits>(x, x != x);
  else
    key = Bits(Bits(x) ^ (std::is_signed_v<T> ? Bits(Bits(1) << (sizeof(T) * 8 - 1)) : Bits(0)));
  return falling ? Bits(~key) : key;
}

// What is wanted of a row of n elements in order: `count` elements from place `first` on.
struct Wanted {
  int64_t n, first, count;
  bool falling;
};

template <class T>
struct LoadElement {
  const T* x;
  Wanted wanted;
  __device__ auto operator()(int64_t row, int i) const {
    return Entry<KeyOf<T>>::of(key_of(x[row * wanted.n + i], wanted.falling), uint32_t(i));
  }
};
template <class E>
struct LoadPicked {
  const E* picked;
  int64_t n;
  __device__ E operator()(int64_t row, int i) const { return picked[row * n + i]; }
};
// Writes the element that stands at i of a row in order, if it is wanted.
template <class T>
struct StoreSorted {
  const T* x;
  Wanted wanted;
  T* values;
  int64_t* indices;
  __device__ void put(int64_t row, int64_t i, int64_t place) const {
    if (i < wanted.first || i >= wanted.first + wanted.count) return;
    const int64_t to = row * wanted.count + i - wanted.first;
    values[to] = x[row * wanted.n + place];
    indices[to] = place;
  }
  template <class E>
  __device__ void operator()(int64_t row, int i, const E& entry) const {
    put(row, i, entry.place());
  }
};

// --- long rows -------------------------------------------------------------------------------------------------------

template <class T>
__global__ void make_keys(const T* x, bool falling, KeyOf<T>* keys, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) keys[i] = key_of(x[i], falling);
}
template <class T, class Place>
__global__ void store_sorted(StoreSorted<T> store, const Place* places, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    const int64_t row = i / store.wanted.count, at = store.wanted.first + i % store.wanted.count;
    store.put(row, at, int64_t(places[row * store.wanted.n + at]));
  }
}

template <class T, class Place>
void sort_by_digits(const T* x, int64_t rows, const StoreSorted<T>& store) {
  const int64_t n = store.wanted.n, count = rows * store.wanted.count;
  DoubleBuffer<KeyOf<T>> keys(rows * n);
  DoubleBuffer<Place> places(rows * n);
  TENREC_LAUNCH(make_keys<T>, grid_for(rows * n), kThreads, 0, stream(), x, store.wanted.falling, keys.now(), rows * n);
  sort_places(keys, places, rows, n, kKeyBits<T>);
  TENREC_LAUNCH((store_sorted<T, Place>), grid_for(count), kThreads, 0, stream(), store, places.now(), count);
  TENREC_LAUNCH_CHECK();
}

// --- a few of a long row ---------------------------------------------------------------------------------------------

// The key that stands at place `rank` of a row in order; `rank` becomes its place among its equals.
template <class T>
__device__ KeyOf<T> find_key(const T* x, int64_t n, bool falling, int64_t& rank) {
  TENREC_SHARED(unsigned, counts, kDigits);
  TENREC_SHARED(int, found, 1);
  TENREC_SHARED(int64_t, left, 1);
  using Key = KeyOf<T>;
  const int own = int(threadIdx.x);
  Key prefix = 0, mask = 0;
  for (int shift = kKeyBits<T> - kDigitBits; shift >= 0; shift -= kDigitBits) {
    counts[own] = 0;
    __syncthreads();
    for (int64_t i = own; i < n; i += kThreads) {
      const Key key = key_of(x[i], falling);
      if ((key & mask) == prefix) atomicAdd(&counts[digit_of(key, shift)], 1u);
    }
    __syncthreads();
    const int64_t count = counts[own];
    const int64_t before = block_scan(count, int64_t(0), [](int64_t a, int64_t b) { return a + b; }) - count;
    if (rank >= before && rank < before + count) {
      found[0] = own;
      left[0] = rank - before;
    }
    __syncthreads();
    rank = left[0];
    prefix |= Key(Key(found[0]) << shift);
    mask |= Key(Key(kDigits - 1) << shift);
  }
  return prefix;
}

// The entries of a row before the last one wanted, then as many of its equals as are wanted, in no order that matters;
// or, of a single one wanted, that one.
template <class T>
__global__ void pick_entries(const T* x, Wanted wanted, int64_t rows, Entry<KeyOf<T>>* picked) {
  using E = Entry<KeyOf<T>>;
  constexpr int kItems = 8;
  constexpr uint64_t kEqual = uint64_t(1) << 32;  // lower keys are counted below it
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* from = x + row * wanted.n;
    int64_t last_equal = wanted.first + wanted.count - 1;
    const auto limit = find_key(from, wanted.n, wanted.falling, last_equal);
    const int64_t lower = wanted.first + wanted.count - 1 - last_equal;
    const uint64_t all = kEqual * uint64_t(last_equal + 1) + uint64_t(lower);
    uint64_t seen = 0;
    // Done when both halves have reached those of `all`; the equal ones may go on.
    for (int64_t begin = 0; begin < wanted.n && (uint32_t(seen) < uint32_t(all) || seen / kEqual < all / kEqual);
         begin += kThreads * kItems) {
      const TilePart<kItems> part(wanted.n - begin);
      uint64_t own[kItems], v[kItems];
      for (int j = 0; j < kItems; ++j) {
        own[j] = v[j] = 0;
        if (begin + part.at(j) >= wanted.n) continue;
        const auto key = key_of(from[begin + part.at(j)], wanted.falling);
        own[j] = v[j] = key < limit ? 1 : key == limit ? kEqual : 0;
      }
      const uint64_t total = scan_tile(v, part.turns, [](uint64_t a, uint64_t b) { return a + b; });
      for (int j = 0; j < kItems; ++j) {
        if (!own[j]) continue;
        const uint64_t before = seen + v[j] - own[j];
        const int64_t equal = int64_t(before / kEqual), i = begin + part.at(j);
        int64_t to = own[j] == kEqual ? (equal <= last_equal ? lower + equal : -1) : int64_t(uint32_t(before));
        if (wanted.count == 1) to = own[j] == kEqual && equal == last_equal ? 0 : -1;
        if (to >= 0) picked[row * wanted.count + to] = E::of(key_of(from[i], wanted.falling), uint32_t(i));
      }
      seen += total;
    }
  }
}

template <class T>
void sort_picked(const T* x, int64_t rows, StoreSorted<T> store) {
  using E = Entry<KeyOf<T>>;
  const int64_t count = store.wanted.count;
  const Buffer<E> picked(rows * count);
  TENREC_LAUNCH(pick_entries<T>, blocks_for(rows), kThreads, 0, stream(), x, store.wanted, rows, picked.data());
  TENREC_LAUNCH_CHECK();
  store.wanted.first = 0;
  sort_in_blocks<KeyOf<T>>(LoadPicked<E>{picked.data(), count}, store, rows, count);
}

// --- all of them -----------------------------------------------------------------------------------------------------

template <class T>
void sort_wanted(const T* x, int64_t rows, const StoreSorted<T>& store) {
  constexpr int64_t kShort = kShortRow<KeyOf<T>>, kManyRows = 32, kFewElements = 1 << 16;
  const auto& [n, first, count, falling] = store.wanted;
  if (n <= kShort) return sort_in_blocks<KeyOf<T>>(LoadElement<T>{x, store.wanted}, store, rows, n);
  if (n > int64_t(UINT32_MAX)) return sort_by_digits<T, int64_t>(x, rows, store);
  const bool few = count <= kShort && count * 8 <= n && (first == 0 || count == 1);
  if (few && (rows >= kManyRows || n <= kFewElements)) return sort_picked(x, rows, store);
  sort_by_digits<T, uint32_t>(x, rows, store);
}

void sort_view(const View& x, const Wanted& wanted, const View& values, const View& indices) {
  visit_dtype(x.dtype, [&](auto zero) {
    using T = Stored<decltype(zero)>;
    sort_wanted<T>(x.as<T>(), values.numel / wanted.count, {x.as<T>(), wanted, values.as<T>(), indices.as<int64_t>()});
  });
}

// --- runs ------------------------------------------------------------------------------------------------------------

template <class T>
struct BeginsRun {
  const T* x;
  __device__ bool operator()(int64_t i) const {
    if (i == 0) return false;  // runs are counted from 0
    if constexpr (std::is_class_v<T>)
      return float(x[i]) != float(x[i - 1]);
    else
      return x[i] != x[i - 1];
  }
};
struct WriteRun {
  int64_t* group;
  __device__ void operator()(int64_t i, bool begins, int64_t rank) const { group[i] = rank + begins; }
};

// A run's first element writes what the run is, and where it begins as a negative length; then its last one adds where
// it ends.
template <class T>
__global__ void begin_runs(const T* x, const int64_t* group, T* values, int64_t* counts, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    if (i > 0 && group[i] == group[i - 1]) continue;
    values[group[i]] = x[i];
    counts[group[i]] = -i;
  }
}
__global__ void end_runs(const int64_t* group, int64_t* counts, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride())
    if (i == n - 1 || group[i] != group[i + 1]) counts[group[i]] += i + 1;
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

void sort_rows(Cuda, const View& x, int64_t n, bool descending, const View& values, const View& indices) {
  if (values.numel == 0) return;
  sort_view(x, {n, 0, values.size(values.ndim() - 1), descending}, values, indices);
}

void kth_of_rows(Cuda, const View& x, int64_t n, int64_t k, const View& values, const View& indices) {
  if (values.numel == 0) return;
  sort_view(x, {n, k, 1, false}, values, indices);
}

int64_t number_runs(Cuda, const View& x, const View& group) {
  if (x.numel == 0) return 0;
  int64_t runs = 0;
  visit_dtype(x.dtype, [&](auto zero) {
    using T = Stored<decltype(zero)>;
    const RankedFlags flags(BeginsRun<T>{x.as<T>()}, x.numel);
    flags.visit(WriteRun{group.as<int64_t>()});
    runs = flags.count() + 1;
  });
  return runs;
}

void describe_runs(Cuda, const View& x, const View& group, const View& values, const View& counts) {
  if (x.numel == 0) return;
  const auto* g = group.as<int64_t>();
  visit_width(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    TENREC_LAUNCH(begin_runs<T>, grid_for(x.numel), kThreads, 0, stream(), x.as<T>(), g, values.as<T>(),
                  counts.as<int64_t>(), x.numel);
  });
  TENREC_LAUNCH(end_runs, grid_for(x.numel), kThreads, 0, stream(), g, counts.as<int64_t>(), x.numel);
  TENREC_LAUNCH_CHECK();
}

}  // namespace tenrec::kernels
