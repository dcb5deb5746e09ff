// CPU references behind CUB's sorts and scans (kernels/cuda/cub.h), in the stream's order.
#include "tenrec/kernels/cuda/cub.h"

#include <algorithm>
#include <tuple>
#include <vector>

#include "emulator/library_call.h"

namespace tenrec::cuda {

using simt::call_library;

namespace {

// The result goes to the spare arrays if the number of digits is odd, as with a turn for each.
template <class Key, class Place>
bool sort(const Pair<Key>& keys, const Pair<Place>& places, int64_t n, int bits, cudaStream_t stream) {
  const bool moved = (bits + 7) / 8 % 2 == 1;
  call_library(stream, "cub::DeviceRadixSort", [=] {
    const Key mask = bits >= int(8 * sizeof(Key)) ? Key(~Key(0)) : Key((Key(1) << bits) - 1);
    std::vector<std::pair<Key, Place>> entries;
    for (int64_t i = 0; i < n; ++i) entries.emplace_back(keys.now[i], places.now[i]);
    std::stable_sort(entries.begin(), entries.end(),
                     [mask](const auto& a, const auto& b) { return (a.first & mask) < (b.first & mask); });
    Key* to_keys = moved ? keys.spare : keys.now;
    Place* to_places = moved ? places.spare : places.now;
    for (int64_t i = 0; i < n; ++i) std::tie(to_keys[i], to_places[i]) = entries[size_t(i)];
  });
  return moved;
}

}  // namespace

void exclusive_sum(const int64_t* x, int64_t* sums, int64_t n, cudaStream_t stream) {
  call_library(stream, "cub::DeviceScan", [=] {
    uint64_t sum = 0;
    for (int64_t i = 0; i < n; ++i) {
      const auto own = uint64_t(x[i]);
      sums[i] = int64_t(sum);
      sum += own;
    }
  });
}
void inclusive_sum(const int64_t* x, int64_t* sums, int64_t n, cudaStream_t stream) {
  call_library(stream, "cub::DeviceScan", [=] {
    uint64_t sum = 0;
    for (int64_t i = 0; i < n; ++i) sums[i] = int64_t(sum += uint64_t(x[i]));
  });
}

bool sort_pairs(Pair<uint32_t> keys, Pair<uint32_t> places, int64_t n, int bits, cudaStream_t stream) {
  return sort(keys, places, n, bits, stream);
}
bool sort_pairs(Pair<uint32_t> keys, Pair<int64_t> places, int64_t n, int bits, cudaStream_t stream) {
  return sort(keys, places, n, bits, stream);
}
bool sort_pairs(Pair<uint64_t> keys, Pair<uint32_t> places, int64_t n, int bits, cudaStream_t stream) {
  return sort(keys, places, n, bits, stream);
}
bool sort_pairs(Pair<uint64_t> keys, Pair<int64_t> places, int64_t n, int bits, cudaStream_t stream) {
  return sort(keys, places, n, bits, stream);
}

}  // namespace tenrec::cuda
