// How a reduction of a strided tensor is cut for CUDA, for any accumulator: what kernels/reduce_cuda.cu and
// kernels/reduce_select_cuda.cu share.
//
// A block is `width` outputs by `depth` threads for each. Where the reduced dimensions lie innermost ("rows"),
// neighbouring threads take neighbouring elements of an output, 16 bytes each if alignment and strides allow it; else
// they take neighbouring outputs. Outputs too few to fill the device are cut into chunks of elements, which a second
// pass puts together in order. Every choice follows from the shape, so the bits do too.
#pragma once

#include <bit>
#include <limits>

#include "tenrec/kernels/cuda/launch.h"
#include "tenrec/kernels/elementwise_space.h"

namespace tenrec::cuda {

struct Reduction {
  const void* x;
  DType dtype;
  int size;  // of an element
  bool rows, packed;
  int width, depth;  // powers of two, at least a warp together
  int64_t outputs, n, chunk, chunks;
  Offsets<1> kept, reduced;

  int threads() const { return width * depth; }
  int64_t tiles() const { return kernels::ceil_div(outputs, width) * chunks; }
  // Blocks go on to further tiles, so that a large grid need not start them all.
  unsigned grid() const { return unsigned(std::min<int64_t>(tiles(), int64_t(multiprocessors()) * 64)); }
};

// --- on the device --------------------------------------------------------------------------------------------------

// The same as offsets.at(), in little code: it stands at every load.
template <class Index>
__device__ inline int64_t divided_place(const Offsets<1>& offsets, Index i) {
  int64_t at = 0;
#if defined(__CUDACC__)
#pragma unroll 1
#endif
  for (int d = offsets.ndim - 1; d > 0; --d) {
    const Index size = Index(offsets.sizes[d]), rest = i / size;
    at += int64_t(i - rest * size) * offsets.strides[d][0];
    i = rest;
  }
  return at + int64_t(i) * offsets.strides[0][0];
}
__device__ inline int64_t place(const Offsets<1>& offsets, int64_t i) {
  return offsets.short_index ? divided_place(offsets, uint32_t(i)) : divided_place(offsets, uint64_t(i));
}

// f(element k, k) for those of a pack, whose dtype is of the accumulator's kind.
template <class Acc, class F>
__device__ void unpack(const Pack16<uint32_t>& raw, DType dtype, const F& f) {
  const auto as = [&](auto zero) {
    using T = decltype(zero);
    const auto pack = std::bit_cast<Pack16<Stored<T>>>(raw);
    for (int k = 0; k < Pack16<Stored<T>>::kCount; ++k) {
      if constexpr (std::is_same_v<T, bool>)
        f(Acc(pack.values[k] != 0), k);
      else
        f(convert_to<Acc>(pack.values[k]), k);
    }
  };
  if constexpr (std::is_floating_point_v<Acc>) {
    if (dtype == DType::f32)
      as(float{});
    else if (dtype == DType::bf16)
      as(bfloat16{});
    else if (dtype == DType::f16)
      as(float16{});
    else
      as(double{});
  } else {
    if (dtype == DType::i64)
      as(int64_t{});
    else if (dtype == DType::i32)
      as(int32_t{});
    else if (dtype == DType::u8)
      as(uint8_t{});
    else
      as(bool{});
  }
}

// Four elements at once: the dtype is looked up once, and their loads are under way together.
constexpr int kAhead = 4;
template <class Acc>
__device__ void load_ahead(const void* x, const int64_t (&at)[kAhead], DType dtype, Acc (&values)[kAhead]) {
  if constexpr (std::is_floating_point_v<Acc>) {
    const auto as = [&](auto zero) {
      using T = decltype(zero);
      T loaded[kAhead];
      for (int k = 0; k < kAhead; ++k) loaded[k] = static_cast<const T*>(x)[at[k]];
      for (int k = 0; k < kAhead; ++k) values[k] = convert_to<Acc>(loaded[k]);
    };
    if (dtype == DType::f32) return as(float{});
    if (dtype == DType::bf16) return as(bfloat16{});
    if (dtype == DType::f16) return as(float16{});
    if (dtype == DType::f64) return as(double{});
  }
  for (int k = 0; k < kAhead; ++k) values[k] = load_as<Acc>(x, at[k], dtype);
}

// f(element, its number) for those among [begin, end) of the output at `base` that are thread y's.
template <class Acc, class F>
__device__ void for_elements(const Reduction& p, int64_t base, int64_t begin, int64_t end, int y, const F& f) {
  if (!p.packed) {
    const int64_t step = p.depth;
    int64_t i = begin + y;
    for (; i + (kAhead - 1) * step < end; i += kAhead * step) {
      int64_t at[kAhead];
      Acc values[kAhead];
      for (int k = 0; k < kAhead; ++k) at[k] = base + place(p.reduced, i + k * step);
      load_ahead(p.x, at, p.dtype, values);
      for (int k = 0; k < kAhead; ++k) f(values[k], i + k * step);
    }
    for (; i < end; i += step) f(load_as<Acc>(p.x, base + place(p.reduced, i), p.dtype), i);
    return;
  }
  const int count = 16 / p.size;
  const int64_t step = int64_t(p.depth) * count;
  const auto load = [&](int64_t i) {
    const char* from = static_cast<const char*>(p.x) + (base + place(p.reduced, i)) * p.size;
    return load16(reinterpret_cast<const uint32_t*>(from));
  };
  const auto give = [&](const Pack16<uint32_t>& raw, int64_t i) {
    unpack<Acc>(raw, p.dtype, [&](Acc value, int k) { f(value, i + k); });
  };
  int64_t i = begin + int64_t(y) * count;
  if constexpr (std::is_floating_point_v<Acc>) {
    for (; i + (kAhead - 1) * step + count <= end; i += kAhead * step) {
      Pack16<uint32_t> raw[kAhead];
      for (int k = 0; k < kAhead; ++k) raw[k] = load(i + k * step);
#if defined(__CUDACC__)
#pragma unroll
#endif
      for (int k = 0; k < kAhead; ++k) give(raw[k], i + k * step);
    }
  }
  for (; i + count <= end; i += step) give(load(i), i);
  for (; i < end; ++i) f(load_as<Acc>(p.x, base + i, p.dtype), i);  // less than a pack, at the end of a gapless row
}

// This thread's share of tile t.
struct Share {
  int64_t output, chunk, begin, end;
  int y;
  bool active, first;  // first: of its output's threads

  __device__ Share(const Reduction& p, int64_t t) {
    const int thread = int(threadIdx.x);
    const int x = p.rows ? thread / p.depth : thread % p.width;
    y = p.rows ? thread % p.depth : thread / p.width;
    const int64_t group = p.chunks == 1 ? t : t / p.chunks;
    output = group * p.width + x;
    chunk = t - group * p.chunks;
    begin = chunk * p.chunk;
    end = begin + p.chunk < p.n ? begin + p.chunk : p.n;
    active = output < p.outputs;
    first = active && y == 0;
  }
};

template <class T>
__device__ T from_lane_xor(T value, int lanes) {
  return __shfl_xor_sync(kAllLanes, value, lanes);
}

// combine over the threads of an output, `step` apart. All threads of the block take part.
template <class T, class Op>
__device__ T reduce_depth(T value, int depth, int step, Op combine) {
  TENREC_SHARED(T, parts, kThreads);
  const int thread = int(threadIdx.x);
  for (int half = depth / 2; half > 0; half /= 2) {
    const int distance = half * step;
    if (distance < kWarp) {
      value = combine(value, from_lane_xor(value, distance));
    } else {
      __syncthreads();  // the step before may still be reading
      parts[thread] = value;
      __syncthreads();
      value = combine(value, parts[thread ^ distance]);
    }
  }
  return value;
}

// --- on the host ----------------------------------------------------------------------------------------------------

namespace detail {

inline int64_t power_of_two_from(int64_t n) { return int64_t(std::bit_ceil(uint64_t(std::max<int64_t>(n, 1)))); }

// Whether elements [i, i + count) of every output lie in 16 aligned bytes, for i a multiple of count.
inline bool fits_packs(const Reduction& p, const kernels::detail::Space& kept, const kernels::detail::Space& reduced) {
  const int64_t count = 16 / p.size, inner = reduced.shape.ndim() - 1;
  if (reduced.strides[0][inner] != 1 || reinterpret_cast<uintptr_t>(p.x) % 16) return false;
  if (inner > 0 && reduced.shape[inner] % count) return false;
  for (int64_t d = 0; d < inner; ++d)
    if (reduced.strides[0][d] % count) return false;
  for (int64_t d = 0; d < kept.shape.ndim(); ++d)
    if (kept.shape[d] > 1 && kept.strides[0][d] % count) return false;
  return true;
}

}  // namespace detail

// `kept` and `reduced`: the dimensions of one operand, merged; neither is empty. `pack`: 16-byte loads may be used.
inline Reduction plan_reduction(const void* x, DType dtype, const kernels::detail::Space& kept,
                                const kernels::detail::Space& reduced, bool pack) {
  using detail::power_of_two_from;
  constexpr int64_t kFewTiles = 256, kManyTiles = 4096;
  Reduction p;
  p.x = x;
  p.dtype = dtype;
  p.size = int(size_of(dtype));
  p.outputs = checked_numel(kept.shape);
  p.n = checked_numel(reduced.shape);
  p.kept = offsets_of<1>(kept.shape, kept.strides);
  p.reduced = offsets_of<1>(reduced.shape, reduced.strides);

  const auto distance = [](int64_t stride) { return stride ? stride : INT64_MAX; };
  const int64_t near = distance(reduced.strides[0].back()), far = distance(kept.strides[0].back());
  // A short innermost run, with outputs close by: their threads share its cache lines.
  const bool fragments = reduced.shape.ndim() > 1 && reduced.shape.back() < 16 && kept.shape.back() >= 16 && far <= 32;
  p.rows = p.outputs == 1 || (p.n > 1 && near <= far && !fragments);
  p.packed = pack && p.rows && detail::fits_packs(p, kept, reduced);

  const int64_t each = p.packed ? 16 / p.size : 1, turns = kernels::ceil_div(p.n, each);
  int64_t width, depth;
  if (p.rows) {
    const int64_t least = std::min<int64_t>(p.packed ? 8 : kWarp, power_of_two_from(turns));
    depth = std::clamp<int64_t>(power_of_two_from(kernels::ceil_div(turns, kAhead)), least, kThreads);
    width = std::min(kThreads / depth, power_of_two_from(p.outputs));
    while (width > 1 && width * depth > 64 && p.outputs / width < kFewTiles) width /= 2;
  } else {
    width = std::min<int64_t>(kWarp, power_of_two_from(kept.shape.back()));
    depth = std::clamp<int64_t>(power_of_two_from(kernels::ceil_div(turns, 2 * kAhead)), 1, kThreads / width);
    width = std::min(kThreads / depth, power_of_two_from(p.outputs));
  }
  p.depth = int(depth);
  p.width = int(std::max(width, kWarp / depth));

  const int64_t least = p.depth * each * 2 * kAhead, groups = kernels::ceil_div(p.outputs, p.width);
  const int64_t parts = std::clamp<int64_t>(p.n / least, 1, std::max<int64_t>(1, kManyTiles / groups));
  p.chunk = kernels::round_up(kernels::ceil_div(p.n, parts), p.depth * each);
  p.chunks = kernels::ceil_div(p.n, p.chunk);
  return p;
}

}  // namespace tenrec::cuda
