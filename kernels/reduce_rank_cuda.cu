// Medians and quantiles: the places of elements of given ranks.
//
// Floor: x is read once. Where a line is short, a block holds it and each thread counts the elements before its own. In
// a longer one the element is found digit by digit from the top (radix select; D. Knuth, "The Art of Computer
// Programming" 3, 5.2.5, of which only the part that holds the rank is followed): a histogram of the line for each 8
// bits of the dtype, one reading each, and one more for the place. Lines too few to fill the device are cut into
// chunks, whose counts meet in memory: integers, so that the order does not matter.
#include <cmath>

#include "tenrec/kernels/cuda/launch.h"
#include "tenrec/kernels/elementwise_space.h"
#include "tenrec/kernels/reduce.h"

namespace tenrec::cuda {
namespace {

using Count = unsigned long long;  // the 64-bit integer of CUDA's atomics
constexpr Count kNone = ~Count(0);

// --- keys -----------------------------------------------------------------------------------------------------------

// Lines of a tensor along one dimension.
struct Lines {
  const void* x;
  DType dtype;
  int bits;  // of a key
  int64_t count, n, stride;
  Offsets<1> kept;

  __device__ int64_t base(int64_t line) const {
    int64_t at[1];
    kept.at(line, at);
    return at[0];
  }
};

template <class Bits>
__device__ Bits ordered(Bits bits) {
  constexpr Bits sign = Bits(Bits(1) << (8 * sizeof(Bits) - 1));
  if (bits == sign) bits = 0;  // minus zero equals zero
  return bits & sign ? Bits(~bits) : Bits(bits | sign);
}

// An integer of the dtype's width, in the order of the elements. A NaN's key means nothing.
__device__ inline uint64_t key_at(const Lines& lines, int64_t at) {
  switch (lines.dtype) {
    case DType::f64:
      return ordered(static_cast<const uint64_t*>(lines.x)[at]);
    case DType::f32:
      return ordered(static_cast<const uint32_t*>(lines.x)[at]);
    case DType::bf16:
    case DType::f16:
      return ordered(static_cast<const uint16_t*>(lines.x)[at]);
    case DType::i64:
      return static_cast<const uint64_t*>(lines.x)[at] ^ (uint64_t(1) << 63);
    case DType::i32:
      return static_cast<const uint32_t*>(lines.x)[at] ^ (uint32_t(1) << 31);
    case DType::u8:
      return static_cast<const uint8_t*>(lines.x)[at];
    default:
      return static_cast<const uint8_t*>(lines.x)[at] != 0;
  }
}
__device__ inline bool nan_at(const Lines& lines, int64_t at) {
  if (!is_floating(lines.dtype)) return false;
  const double value = load_as<double>(lines.x, at, lines.dtype);
  return value != value;
}

// Wanted ranks. That of number j goes to place (first + j) / 2 of a line of `lower`, or of `upper` if j is odd.
struct Ranks {
  static constexpr int kMost = 32;
  int64_t rank[kMost];
  int count = 0;
  int64_t first = 0, each = 1;  // places in a line
  int64_t *lower, *upper;

  __device__ void store(int64_t line, int j, int64_t index) const {
    int64_t* const to = j % 2 ? upper : lower;  // g++ 12 with UBSan loses the place of the lower one in one expression
    to[line * each + (first + j) / 2] = index;
  }
};

__device__ inline int64_t block_min(int64_t value) {
  return block_reduce(value, INT64_MAX, [](int64_t a, int64_t b) { return a < b ? a : b; });
}

// --- short lines ----------------------------------------------------------------------------------------------------

constexpr int kShortLine = 256;

// A block has at least as many threads as a line has elements.
__global__ void __launch_bounds__(kShortLine) count_ranks(Lines lines, Ranks ranks) {
  TENREC_SHARED(uint64_t, keys, kShortLine);
  const int i = int(threadIdx.x), n = int(lines.n);
  for (int64_t line = blockIdx.x; line < lines.count; line += gridDim.x) {
    const int64_t at = lines.base(line) + i * lines.stride;
    const uint64_t key = i < n ? key_at(lines, at) : 0;
    keys[i] = key;
    const int64_t nan = block_min(i < n && nan_at(lines, at) ? i : INT64_MAX);  // a barrier for keys as well
    int64_t before = 0, first = i;
    for (int j = 0; j < n; ++j) {
      const bool equal = keys[j] == key;
      before += keys[j] < key || (equal && j < i);
      if (equal && j < first) first = j;
    }
    if (i < n) {
      for (int j = 0; j < ranks.count; ++j) {
        if (nan != INT64_MAX ? i == 0 : before == ranks.rank[j]) ranks.store(line, j, nan != INT64_MAX ? nan : first);
      }
    }
    __syncthreads();  // keys are about to change
  }
}

// --- long lines -----------------------------------------------------------------------------------------------------

constexpr int kDigit = 8, kBins = 1 << kDigit;

// The search for one rank of one line.
struct Query {
  uint64_t prefix;  // of the key, as far as it is known
  int64_t rank;     // among the elements with this prefix
};

// Queries [0, count) belong to the lines from `first_line` on, `ranks` to each. A block takes a chunk of a line.
struct Search {
  Lines lines;
  int64_t first_line, count, chunk, chunks;
  int ranks;
  Query* queries;
  Count* bins;   // kBins for each query
  Count* nan;    // place of the first NaN of each line
  Count* found;  // and of the element of each query

  __device__ int64_t base(int64_t query) const { return lines.base(first_line + query / ranks); }
};

__global__ void start_search(Search s, Ranks ranks) {
  for (int64_t q = grid_start(); q < s.count; q += grid_stride()) s.queries[q] = {0, ranks.rank[q % s.ranks]};
}

// Adds 1 to the bin of each lane that takes part, once for all lanes of a bin: most keys share their first digits, and
// adding one by one would make the lanes wait for each other.
__device__ inline void count_digit(unsigned* bins, unsigned digit, bool takes_part) {
  unsigned peers = __ballot_sync(kAllLanes, takes_part);
  for (int bit = 0; bit < kDigit; ++bit) {
    const unsigned ones = __ballot_sync(kAllLanes, (digit >> bit & 1) != 0);
    peers &= digit >> bit & 1 ? ones : ~ones;
  }
  const int lane = int(threadIdx.x) % kWarp;
  if (takes_part && __ffs(int(peers)) - 1 == lane) atomicAdd(&bins[digit], unsigned(__popc(peers)));
}

__global__ void __launch_bounds__(kBins) count_digits(Search s, int shift) {
  TENREC_SHARED(unsigned, bins, kBins);
  const int thread = int(threadIdx.x);
  for (int64_t b = blockIdx.x; b < s.count * s.chunks; b += gridDim.x) {
    const int64_t q = b / s.chunks, begin = b % s.chunks * s.chunk, base = s.base(q);
    const int64_t end = begin + s.chunk < s.lines.n ? begin + s.chunk : s.lines.n;
    const uint64_t prefix = s.queries[q].prefix;
    bins[thread] = 0;
    __syncthreads();
    for (int64_t i = begin; i < end; i += kBins) {
      const bool inside = i + thread < end;
      const uint64_t key = inside ? key_at(s.lines, base + (i + thread) * s.lines.stride) : 0;
      count_digit(bins, unsigned(key >> shift) % kBins, inside && (key ^ prefix) >> shift < uint64_t(kBins));
    }
    __syncthreads();
    if (bins[thread] > 0) atomicAdd(&s.bins[q * kBins + thread], Count(bins[thread]));
  }
}

// The digit that holds the rank. Leaves the bins at 0.
__global__ void __launch_bounds__(kBins) choose_digit(Search s, int shift) {
  const int thread = int(threadIdx.x);
  for (int64_t q = blockIdx.x; q < s.count; q += gridDim.x) {
    const auto count = int64_t(s.bins[q * kBins + thread]);
    s.bins[q * kBins + thread] = 0;
    const Query query = s.queries[q];
    const int64_t up_to = block_scan(count, int64_t(0), [](int64_t a, int64_t b) { return a + b; });
    if (up_to - count <= query.rank && query.rank < up_to)
      s.queries[q] = {query.prefix | uint64_t(thread) << shift, query.rank - (up_to - count)};
  }
}

// The first place in a line for which `holds`, by chunks.
template <class Holds>
__device__ void find_first(const Search& s, int64_t q, int64_t begin, Count* first, Holds holds) {
  const int64_t end = begin + s.chunk < s.lines.n ? begin + s.chunk : s.lines.n, base = s.base(q);
  int64_t i = begin + threadIdx.x;
  while (i < end && !holds(base + i * s.lines.stride)) i += blockDim.x;
  const int64_t least = block_min(i < end ? i : INT64_MAX);
  if (threadIdx.x == 0 && least != INT64_MAX) atomicMin(first, Count(least));
}
__global__ void find_nan(Search s) {
  for (int64_t b = blockIdx.x; b < s.count / s.ranks * s.chunks; b += gridDim.x) {
    const int64_t line = b / s.chunks;
    find_first(s, line * s.ranks, b % s.chunks * s.chunk, s.nan + line,
               [&](int64_t at) { return nan_at(s.lines, at); });
  }
}
__global__ void find_keys(Search s) {
  for (int64_t b = blockIdx.x; b < s.count * s.chunks; b += gridDim.x) {
    const int64_t q = b / s.chunks;
    const uint64_t key = s.queries[q].prefix;
    find_first(s, q, b % s.chunks * s.chunk, s.found + q, [&](int64_t at) { return key_at(s.lines, at) == key; });
  }
}
__global__ void end_search(Search s, Ranks ranks) {
  for (int64_t q = grid_start(); q < s.count; q += grid_stride()) {
    const Count nan = s.nan[q / s.ranks];
    ranks.store(s.first_line + q / s.ranks, int(q % s.ranks), int64_t(nan != kNone ? nan : s.found[q]));
  }
}

void search_lines(const Lines& lines, const Ranks& ranks) {
  constexpr int64_t kMostQueries = 4096, kBlocks = 2048, kLeastChunk = 8192;
  const int64_t batch = std::min(lines.count, std::max<int64_t>(1, kMostQueries / ranks.count));
  const int64_t most = batch * ranks.count;
  const int64_t parts = std::clamp<int64_t>(lines.n / kLeastChunk, 1, std::max<int64_t>(1, kBlocks / most));
  const Buffer<Query> queries(most);
  const Buffer<Count> bins(most * kBins), nan(batch), found(most);
  Search s{lines,       0,          0,           kernels::ceil_div(lines.n, parts), parts, ranks.count, queries.data(),
           bins.data(), nan.data(), found.data()};
  TENREC_CUDA_CHECK(cudaMemsetAsync(bins.data(), 0, size_t(most * kBins) * sizeof(Count), stream()));
  for (; s.first_line < lines.count; s.first_line += batch) {
    const int64_t here = std::min(batch, lines.count - s.first_line);
    s.count = here * ranks.count;
    TENREC_CUDA_CHECK(cudaMemsetAsync(nan.data(), 0xff, size_t(here) * sizeof(Count), stream()));
    TENREC_CUDA_CHECK(cudaMemsetAsync(found.data(), 0xff, size_t(s.count) * sizeof(Count), stream()));
    const unsigned blocks = blocks_for(s.count * s.chunks);
    if (is_floating(lines.dtype)) TENREC_LAUNCH(find_nan, blocks_for(here * s.chunks), kBins, 0, stream(), s);
    TENREC_LAUNCH(start_search, grid_for(s.count), kThreads, 0, stream(), s, ranks);
    for (int shift = lines.bits - kDigit; shift >= 0; shift -= kDigit) {
      TENREC_LAUNCH(count_digits, blocks, kBins, 0, stream(), s, shift);
      TENREC_LAUNCH(choose_digit, blocks_for(s.count), kBins, 0, stream(), s, shift);
    }
    TENREC_LAUNCH(find_keys, blocks, kBins, 0, stream(), s);
    TENREC_LAUNCH(end_search, grid_for(s.count), kThreads, 0, stream(), s, ranks);
    TENREC_LAUNCH_CHECK();
  }
}

// --- launchers ------------------------------------------------------------------------------------------------------

Lines lines_of(const View& x, int64_t dim) {
  Shape kept;
  Strides strides;
  for (int64_t d = 0; d < x.ndim(); ++d) {
    if (d == dim) continue;
    kept.push_back(x.size(d));
    strides.push_back(x.stride(d));
  }
  const kernels::detail::Space space = kernels::detail::merge(kept, &strides, 1);
  Lines lines{x.data, x.dtype, int(8 * size_of(x.dtype)), checked_numel(kept), 1, 1, {}};
  lines.kept = offsets_of<1>(space.shape, space.strides);
  if (x.ndim()) {
    lines.n = x.size(dim);
    lines.stride = x.stride(dim);
  }
  return lines;
}

void find_ranks(const Lines& lines, const Ranks& ranks) {
  if (lines.n > kShortLine) return search_lines(lines, ranks);
  const auto grid = unsigned(std::min<int64_t>(lines.count, int64_t(multiprocessors()) * 64));
  TENREC_LAUNCH(count_ranks, grid, unsigned(kernels::round_up(lines.n, kWarp)), 0, stream(), lines, ranks);
  TENREC_LAUNCH_CHECK();
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

void median_index(Cuda, const View& x, int64_t dim, const View& indices) {
  if (indices.numel == 0) return;
  const Lines lines = lines_of(x, dim);
  Ranks ranks;
  ranks.rank[ranks.count++] = (lines.n - 1) / 2;
  ranks.lower = ranks.upper = indices.as<int64_t>();
  find_ranks(lines, ranks);
}

void quantile_indices(Cuda, const View& x, int64_t dim, const double* q, const View& lower, const View& upper) {
  if (lower.numel == 0) return;
  const Lines lines = lines_of(x, dim);
  Ranks ranks;
  ranks.each = lower.numel / lines.count;
  ranks.lower = lower.as<int64_t>();
  ranks.upper = upper.as<int64_t>();
  for (int64_t k = 0; k < ranks.each; ++k) {
    const double rank = q[k] * double(lines.n - 1);
    ranks.rank[ranks.count++] = int64_t(std::floor(rank));
    ranks.rank[ranks.count++] = int64_t(std::ceil(rank));
    if (ranks.count < Ranks::kMost && k + 1 < ranks.each) continue;
    find_ranks(lines, ranks);
    ranks.first += ranks.count;
    ranks.count = 0;
  }
}

}  // namespace tenrec::kernels
