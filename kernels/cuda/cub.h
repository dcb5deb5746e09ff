// Device-wide sorts and scans by the vendor's library: CUB on a device (kernels/sort_cub.cu, kernels/scan_cub.cu),
// plain loops in its place on the emulator (tests/emulator/cub.cpp). Internal.
//
// Integers only: CUB's scan adds tiles up in the order in which they happen to finish, which changes the last bits of
// floating sums from run to run. Sums, products and logarithms of sums are scanned by scan_cuda.cu for that reason.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace tenrec::cuda {

// sums[i] = x[0] + .. + x[i - 1], for n elements; integers wrap. `sums` may be x.
void exclusive_sum(const int64_t* x, int64_t* sums, int64_t n, cudaStream_t stream);
// sums[i] = x[0] + .. + x[i].
void inclusive_sum(const int64_t* x, int64_t* sums, int64_t n, cudaStream_t stream);

// An array and room for as much.
template <class T>
struct Pair {
  T *now, *spare;
};
// Sorts n keys by their low `bits` bits (at least 1), rising and stably, and carries a place along with each. True if
// the result is in the spare arrays; the others then hold anything.
bool sort_pairs(Pair<uint32_t> keys, Pair<uint32_t> places, int64_t n, int bits, cudaStream_t stream);
bool sort_pairs(Pair<uint32_t> keys, Pair<int64_t> places, int64_t n, int bits, cudaStream_t stream);
bool sort_pairs(Pair<uint64_t> keys, Pair<uint32_t> places, int64_t n, int bits, cudaStream_t stream);
bool sort_pairs(Pair<uint64_t> keys, Pair<int64_t> places, int64_t n, int bits, cudaStream_t stream);

}  // namespace tenrec::cuda
