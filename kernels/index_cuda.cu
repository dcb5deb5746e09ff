// Indices and rows, masks, triangles, one-hot, counting and lookup. gather, scatter and what writes by index are in
// scatter_cuda.cu.
//
// Floor: every element is read or written once. Nothing here computes, so rows go by the widest unit that their length
// and place allow, up to 16 bytes a thread. Positions of true elements are found tile by tile: their numbers, a scan
// of these, and then every tile knows where to write.
#include "tenrec/core/cuda/index_record.h"
#include "tenrec/kernels/cuda/block_scan.cuh"
#include "tenrec/kernels/cuda/moves.cuh"
#include "tenrec/kernels/index.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::cuda {
namespace {

using tenrec::detail::IndexRule;

using Count = unsigned long long;  // what integer atomics take

// What is written before is seen by the host before what is written after.
__device__ inline void fence_for_host() {
#if defined(__CUDACC__)
  __threadfence_system();
#else
  __threadfence();
#endif
}

// One launch, for the host is not asked: the blocks' first offenders meet in one word, and the block that is done last
// finds the first of all there, writes the record and leaves the words as they were. An earlier error stays.
__global__ void note_first_outside(const int64_t* index, int64_t n, IndexRule rule, IndexNote note) {
  Count first = IndexSearch::kNone;
  for (int64_t i = grid_start(); i < n && first == IndexSearch::kNone; i += grid_stride())
    if (!rule.takes(index[i])) first = Count(i);
  first = block_reduce(first, Count(IndexSearch::kNone), [](Count a, Count b) { return a < b ? a : b; });
  if (threadIdx.x != 0) return;
  if (first != IndexSearch::kNone) atomicMin(&note.search->first, first);
  __threadfence();
  if (atomicAdd(&note.search->blocks_done, Count(1)) + 1 < gridDim.x) return;
  atomicExch(&note.search->blocks_done, Count(0));
  first = atomicExch(&note.search->first, Count(IndexSearch::kNone));
  volatile int64_t* site = &note.record->site;
  if (first == IndexSearch::kNone || *site != 0) return;
  note.record->index = index[first];
  note.record->position = int64_t(first);
  note.record->rule = rule;
  fence_for_host();
  *site = note.site;
}

__global__ void add_index(const int64_t* index, int64_t n, int64_t size, bool first, int64_t* rows) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    const int64_t wrapped = index[i] < 0 ? index[i] + size : index[i];
    const bool inside = wrapped >= 0 && wrapped < size && (first || rows[i] >= 0);
    rows[i] = !inside ? -1 : first ? wrapped : rows[i] * size + wrapped;
  }
}

// Sizes and strides in units of T.
struct TakeShape {
  int64_t count, inner;  // rows picked, units of each
  int64_t n, skip;       // rows there are, and the one that is zero
  int64_t outer_stride, row_stride, inner_stride;
};
template <class T>
__global__ void take_units(const T* from, const int64_t* rows, T* picked, TakeShape s, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    int64_t k, b;
    const int64_t o = divide(divide(i, s.inner, k), s.count, b), row = rows[b];
    const bool taken = row >= 0 && row < s.n && row != s.skip;
    picked[i] = taken ? from[o * s.outer_stride + row * s.row_stride + k * s.inner_stride] : T{};
  }
}

// --- masks -----------------------------------------------------------------------------------------------------------

// Bytes that are not zero.
__device__ int count_bytes(uint64_t bytes) {
  constexpr uint64_t kLow = 0x7f7f7f7f7f7f7f7f;
  const uint64_t high = (((bytes & kLow) + kLow) | bytes) & ~kLow;
  return __popc(unsigned(high)) + __popc(unsigned(high >> 32));
}

__global__ void add_true(const uint8_t* mask, int64_t n, bool aligned, Count* total) {
  const int64_t packs = aligned ? n / 16 : 0;
  int64_t count = 0;
  for (int64_t p = grid_start(); p < packs; p += grid_stride()) {
    const auto pack = load16(reinterpret_cast<const uint64_t*>(mask) + 2 * p);
    count += count_bytes(pack.values[0]) + count_bytes(pack.values[1]);
  }
  for (int64_t i = packs * 16 + grid_start(); i < n; i += grid_stride()) count += mask[i] != 0;
  count = block_reduce(count, int64_t(0), [](int64_t a, int64_t b) { return a + b; });
  if (threadIdx.x == 0) atomicAdd(total, Count(count));
}

struct IsTrue {
  const uint8_t* mask;
  __device__ bool operator()(int64_t i) const { return mask[i] != 0; }
};
struct WritePosition {
  int64_t* positions;
  int64_t most;
  __device__ void operator()(int64_t i, bool flag, int64_t rank) const {
    if (flag && rank < most) positions[rank] = i;
  }
};

struct Sizes {
  int ndim;
  int64_t size[kMaxDims];
};
__global__ void split_positions(const int64_t* positions, int64_t n, Sizes shape, int64_t* coordinates) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    int64_t rest = positions[i];
    for (int d = shape.ndim - 1; d >= 0; --d) rest = divide(rest, shape.size[d], coordinates[i * shape.ndim + d]);
  }
}

// --- triangles, one-hot, counting, lookup ----------------------------------------------------------------------------

struct Triangle {
  int64_t rows, cols, diagonal;
  bool lower;
  __device__ bool keeps(int64_t row, int64_t col) const {
    return lower ? col - row <= diagonal : col - row >= diagonal;
  }
};
// kCount elements at once; what stays nothing is not read.
template <class T, int kCount>
__global__ void copy_triangle(const T* x, T* y, Triangle t, int64_t n) {
  struct alignas(kCount * sizeof(T)) Pack {
    T values[kCount];
  };
  const int64_t packs = n / kCount;
  for (int64_t p = grid_start(); p < packs; p += grid_stride()) {
    int64_t row, col;
    divide(divide(p * kCount, t.cols, col), t.rows, row);
    bool keeps[kCount], any = false;
    for (int j = 0; j < kCount; ++j) {
      keeps[j] = t.keeps(row, col);
      any = any || keeps[j];
      if (++col == t.cols) {
        col = 0;
        if (++row == t.rows) row = 0;
      }
    }
    Pack pack{};
    if (any) pack = *reinterpret_cast<const Pack*>(x + p * kCount);
    for (int j = 0; j < kCount; ++j)
      if (!keeps[j]) pack.values[j] = 0;
    *reinterpret_cast<Pack*>(y + p * kCount) = pack;
  }
  const int64_t i = packs * kCount + grid_start();
  if (i < n) {
    int64_t row, col;
    divide(divide(i, t.cols, col), t.rows, row);
    y[i] = t.keeps(row, col) ? x[i] : T(0);
  }
}

__global__ void mark_classes(const int64_t* index, int64_t* y, int64_t classes, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    int64_t c;
    const int64_t row = divide(i, classes, c);
    y[i] = index[row] == c;
  }
}

constexpr int64_t kMostBins = 4096;  // that a block counts in its own memory

__global__ void count_in_blocks(const int64_t* index, int64_t n, int bins, Count* y) {
  TENREC_DYNAMIC_SHARED(unsigned, counts);
  for (int bin = int(threadIdx.x); bin < bins; bin += int(blockDim.x)) counts[bin] = 0;
  __syncthreads();
  for (int64_t i = grid_start(); i < n; i += grid_stride())
    if (index[i] >= 0 && index[i] < bins) atomicAdd(&counts[index[i]], 1u);
  __syncthreads();
  for (int bin = int(threadIdx.x); bin < bins; bin += int(blockDim.x))
    if (counts[bin]) atomicAdd(&y[bin], Count(counts[bin]));
}
__global__ void count_in_place(const int64_t* index, int64_t n, int64_t bins, Count* y) {
  for (int64_t i = grid_start(); i < n; i += grid_stride())
    if (index[i] >= 0 && index[i] < bins) atomicAdd(&y[index[i]], Count(1));
}

// NaN comes after everything, as in sort.
template <class T>
__device__ bool before(T a, T b) {
  if constexpr (std::is_class_v<T>)
    return before(float(a), float(b));
  else
    return a < b || (b != b && a == a);
}
// `shared`: one row serves all values.
template <class T>
__global__ void find_places(const T* sorted, int64_t length, const T* values, int64_t per_row, bool shared, bool right,
                            int64_t* y, int64_t n) {
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    const T* row = sorted + (shared ? 0 : i / per_row * length);
    const T v = values[i];
    int64_t low = 0, high = length;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (right ? !before(v, row[middle]) : before(row[middle], v))
        low = middle + 1;
      else
        high = middle;
    }
    y[i] = low;
  }
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

void check_index(Cuda, const char* op, const View& index, const tenrec::detail::IndexRule& rule) {
  if (index.numel == 0) return;
  TENREC_LAUNCH(note_first_outside, grid_for(index.numel), kThreads, 0, stream(), index.as<int64_t>(), index.numel,
                rule, index_note(op));
  TENREC_LAUNCH_CHECK();
}

void combine_rows(Cuda, const View& index, int64_t size, bool first, const View& rows) {
  if (index.numel == 0) return;
  TENREC_LAUNCH(add_index, grid_for(index.numel), kThreads, 0, stream(), index.as<int64_t>(), index.numel, size, first,
                rows.as<int64_t>());
  TENREC_LAUNCH_CHECK();
}

void take_rows(Cuda, const View& from, const View& rows, const View& picked, int64_t skip) {
  if (picked.numel == 0) return;
  const int64_t inner = picked.size(2);
  Units units(from.dtype);
  units.address(from.data).address(picked.data).elements(from.stride(0)).elements(from.stride(1)).elements(inner);
  const bool strided = inner > 1 && from.stride(2) != 1;
  if (strided) units.elements(1);
  units.visit([&](auto zero) {
    using T = decltype(zero);
    const TakeShape shape{rows.numel,
                          units.in<T>(inner),
                          from.size(1),
                          skip,
                          units.in<T>(from.stride(0)),
                          units.in<T>(from.stride(1)),
                          strided ? from.stride(2) : 1};
    const int64_t n = units.in<T>(picked.numel);
    TENREC_LAUNCH(take_units<T>, grid_for(n), kThreads, 0, stream(), from.as<T>(), rows.as<int64_t>(), picked.as<T>(),
                  shape, n);
  });
  TENREC_LAUNCH_CHECK();
}

int64_t count_true(Cuda, const View& mask) {
  if (mask.numel == 0) return 0;
  const Buffer<Count> total(1);
  TENREC_CUDA_CHECK(cudaMemsetAsync(total.data(), 0, sizeof(Count), stream()));
  const bool aligned = reinterpret_cast<uintptr_t>(mask.data) % 16 == 0;
  TENREC_LAUNCH(add_true, grid_for(ceil_div(mask.numel, 16)), kThreads, 0, stream(), mask.as<uint8_t>(), mask.numel,
                aligned, total.data());
  TENREC_LAUNCH_CHECK();
  return int64_t(download(total.data()));
}

void true_positions(Cuda, const View& mask, const View& positions) {
  if (mask.numel == 0 || positions.numel == 0) return;
  const RankedFlags flags(IsTrue{mask.as<uint8_t>()}, mask.numel);
  flags.visit(WritePosition{positions.as<int64_t>(), positions.numel});
}

void unravel(Cuda, const View& positions, const Shape& shape, const View& coordinates) {
  if (coordinates.numel == 0) return;
  Sizes sizes{int(shape.ndim()), {}};
  for (int d = 0; d < sizes.ndim; ++d) sizes.size[d] = shape[d];
  TENREC_LAUNCH(split_positions, grid_for(positions.numel), kThreads, 0, stream(), positions.as<int64_t>(),
                positions.numel, sizes, coordinates.as<int64_t>());
  TENREC_LAUNCH_CHECK();
}

void triangle(Cuda, const View& x, const View& y, int64_t diagonal, bool lower) {
  if (x.numel == 0) return;
  const Triangle t{x.size(x.ndim() - 2), x.size(x.ndim() - 1), diagonal, lower};
  const bool aligned = (reinterpret_cast<uintptr_t>(x.data) | reinterpret_cast<uintptr_t>(y.data)) % 16 == 0;
  visit_width(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    constexpr int kCount = Pack16<T>::kCount;
    if (aligned)
      TENREC_LAUNCH((copy_triangle<T, kCount>), grid_for(ceil_div(x.numel, kCount)), kThreads, 0, stream(), x.as<T>(),
                    y.as<T>(), t, x.numel);
    else
      TENREC_LAUNCH((copy_triangle<T, 1>), grid_for(x.numel), kThreads, 0, stream(), x.as<T>(), y.as<T>(), t, x.numel);
  });
  TENREC_LAUNCH_CHECK();
}

void one_hot(Cuda, const View& index, const View& y) {
  if (y.numel == 0) return;
  TENREC_LAUNCH(mark_classes, grid_for(y.numel), kThreads, 0, stream(), index.as<int64_t>(), y.as<int64_t>(),
                y.size(y.ndim() - 1), y.numel);
  TENREC_LAUNCH_CHECK();
}

void count_each(Cuda, const View& index, const View& y) {
  if (index.numel == 0) return;
  const unsigned grid = grid_for(index.numel);
  if (y.numel <= kMostBins)
    TENREC_LAUNCH(count_in_blocks, grid, kThreads, size_t(y.numel) * sizeof(unsigned), stream(), index.as<int64_t>(),
                  index.numel, int(y.numel), y.as<Count>());
  else
    TENREC_LAUNCH(count_in_place, grid, kThreads, 0, stream(), index.as<int64_t>(), index.numel, y.numel,
                  y.as<Count>());
  TENREC_LAUNCH_CHECK();
}

void search_sorted(Cuda, const View& sorted, const View& values, const View& y, bool right) {
  if (values.numel == 0) return;
  const int64_t length = sorted.size(sorted.ndim() - 1);
  const int64_t per_row = values.ndim() ? values.size(values.ndim() - 1) : 1;
  visit_dtype(sorted.dtype, [&](auto zero) {
    using T = Stored<decltype(zero)>;
    TENREC_LAUNCH(find_places<T>, grid_for(values.numel), kThreads, 0, stream(), sorted.as<T>(), length, values.as<T>(),
                  per_row, sorted.ndim() == 1, right, y.as<int64_t>(), values.numel);
  });
  TENREC_LAUNCH_CHECK();
}

}  // namespace tenrec::kernels
