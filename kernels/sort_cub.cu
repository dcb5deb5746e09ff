// The sort of one long array by CUB: digits of eight bits from the lowest up, each turn one pass over memory (A.
// Adinets and D. Merrill, "Onesweep: a faster least significant digit radix sort for GPUs", 2022). Floor of a turn:
// keys and places are read and written once. Ranks are integers, so nothing depends on the order in which blocks run.
#include <cub/device/device_radix_sort.cuh>

#include "tenrec/core/cuda/runtime.h"
#include "tenrec/kernels/cuda/cub.h"

namespace tenrec::cuda {
namespace {

template <class Key, class Place>
bool sort(const Pair<Key>& keys, const Pair<Place>& places, int64_t n, int bits, cudaStream_t stream) {
  cub::DoubleBuffer<Key> of_keys(keys.now, keys.spare);
  cub::DoubleBuffer<Place> of_places(places.now, places.spare);
  size_t bytes = 0;
  TENREC_CUDA_CHECK(cub::DeviceRadixSort::SortPairs(nullptr, bytes, of_keys, of_places, n, 0, bits, stream));
  const Buffer<char> memory{int64_t(bytes)};
  TENREC_CUDA_CHECK(cub::DeviceRadixSort::SortPairs(memory.data(), bytes, of_keys, of_places, n, 0, bits, stream));
  TENREC_ASSERT(of_keys.selector == of_places.selector);
  return of_keys.selector == 1;
}

}  // namespace

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
