#include "tenrec/kernels/pool.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "tenrec/core/error.h"
#include "tenrec/core/parallel.h"
#include "tenrec/kernels/reduce_tree.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::kernels {
namespace {

template <class T>
using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;

int64_t planes_per_chunk(int64_t area) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(area, 1)); }

bool is_halving(const Windows& w) {
  if (w.step != 1) return false;
  for (int64_t i = 0; i < w.count(); ++i)
    if (w.begin[size_t(i)] != 2 * i || w.end[size_t(i)] != 2 * i + 2) return false;
  return true;
}

// What max_pool takes of a window: the larger, the first of equals, and a NaN before all else.
template <class T>
bool is_better(T value, T best) {
  return value > best || (value != value && best == best);
}

// 16 of them, by the compiler's own vector types: it does not see by itself that the choices need no branches.
constexpr int kHalvingLanes = 16;
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));

// 16 floats or, where memory ends before, the first `room` of them; and to memory the first `count` of floats or
// indices. (To store whole vectors and let the next row overwrite what is too much was slower.)
// (By reference: how such vectors are returned depends on the instruction set.)
TENREC_INLINE void load_part(const void* memory, int64_t room, Floats& v) {
  const auto* from = static_cast<const float*>(memory);
  if (room >= kHalvingLanes) {
    std::memcpy(&v, from, sizeof v);
  } else {
    const auto pack = detail::load_first(from, int(std::max<int64_t>(room, 0)));
    static_assert(sizeof pack == sizeof v);
    std::memcpy(&v, &pack, sizeof v);
  }
}
template <class V, class T>
TENREC_INLINE void store_part(T* to, const V& v, int64_t count) {
#if defined(__AVX512F__)
  __builtin_ia32_storedqusi512_mask(reinterpret_cast<int*>(to), std::bit_cast<Ints>(v), uint16_t((1u << count) - 1));
#else
  std::memcpy(to, &v, size_t(count) * sizeof(T));
#endif
}

constexpr Ints kEven = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30};

// A plane of windows.
void max_pool_halving(const PooledPlane& p, const float* x, float* y, int32_t* indices) {
  for (int64_t i = 0; i < p.out_rows; ++i) {
    for (int64_t j = 0; j < p.out_cols; j += kHalvingLanes) {
      Floats best{};
      Ints place{};
#pragma GCC unroll 2
      for (int row = 0; row < 2; ++row) {
        const int64_t at = (2 * i + row) * p.cols + 2 * j, room = p.area() - at;
        Floats low, high;
        load_part(x + at, room, low);
        load_part(x + at + kHalvingLanes, room - kHalvingLanes, high);
        const Floats sides[2] = {
            __builtin_shufflevector(low, high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30),
            __builtin_shufflevector(low, high, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)};
#pragma GCC unroll 2
        for (int col = 0; col < 2; ++col) {
          const Floats value = sides[col];
          // Larger, or the first NaN.
          const Ints better = row + col == 0 ? Ints{} == 0 : ~(value <= best) & (best == best);
          best = better ? value : best;
          place = better ? kEven + int32_t(at + col) : place;
        }
      }
      const int64_t to = i * p.out_cols + j, count = std::min<int64_t>(kHalvingLanes, p.out_cols - j);
      store_part(y + to, best, count);
      store_part(indices + to, place, count);
    }
  }
}

// Its transpose: each of dy goes to one of the four places of its window, the others become 0.
void scatter_halving(const PooledPlane& p, const float* dy, const int32_t* indices, float* dx) {
  for (int64_t i = 0; i < p.out_rows; ++i) {
    for (int64_t j = 0; j < p.out_cols; j += kHalvingLanes) {
      const int64_t from = i * p.out_cols + j, count = std::min<int64_t>(kHalvingLanes, p.out_cols - j);
      const int64_t room = p.outputs() - from;
      Floats value, place_bits;
      Ints place;
      load_part(dy + from, room, value);
      load_part(indices + from, room, place_bits);
      std::memcpy(&place, &place_bits, sizeof place);
      value += Floats{};  // 0 + dy: no -0, as where windows overlap
      for (int64_t row = 2 * i; row < 2 * i + 2; ++row) {
        const int64_t at = row * p.cols + 2 * j;
        const Ints first = kEven + int32_t(at);
        const Floats left = place == first ? value : Floats{}, right = place == first + 1 ? value : Floats{};
        store_part(dx + at,
                   __builtin_shufflevector(left, right, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
                   std::min<int64_t>(2 * count, kHalvingLanes));
        if (2 * count > kHalvingLanes)
          store_part(dx + at + kHalvingLanes,
                     __builtin_shufflevector(left, right, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31),
                     2 * count - kHalvingLanes);
      }
    }
    if (p.cols > 2 * p.out_cols)
      for (int64_t row = 2 * i; row < 2 * i + 2; ++row)
        std::fill(dx + row * p.cols + 2 * p.out_cols, dx + (row + 1) * p.cols, 0.0f);
  }
  std::fill(dx + 2 * p.out_rows * p.cols, dx + p.area(), 0.0f);
}

template <class T>
void max_pool_plane(const Windows& rows, const Windows& cols, const T* x, T* y, int32_t* indices) {
  for (int64_t i = 0; i < rows.count(); ++i) {
    for (int64_t j = 0; j < cols.count(); ++j) {
      int64_t place = rows.begin[size_t(i)] * cols.size + cols.begin[size_t(j)];
      Wide<T> best = Wide<T>(x[place]);
      for (int64_t r = rows.begin[size_t(i)]; r < rows.end[size_t(i)]; r += rows.step) {
        for (int64_t c = cols.begin[size_t(j)]; c < cols.end[size_t(j)]; c += cols.step) {
          const Wide<T> value = Wide<T>(x[r * cols.size + c]);
          if (is_better(value, best)) {
            best = value;
            place = r * cols.size + c;
          }
        }
      }
      y[i * cols.count() + j] = x[place];
      indices[i * cols.count() + j] = int32_t(place);
    }
  }
}

}  // namespace

bool is_halving(const Windows& rows, const Windows& cols) { return is_halving(rows) && is_halving(cols); }

void max_pool(Cpu, DType dtype, int64_t planes, const Windows& rows, const Windows& cols, const void* x, void* y,
              int32_t* indices) {
  const int64_t area = rows.size * cols.size, outputs = rows.count() * cols.count();
  const PooledPlane plane{rows.size, cols.size, rows.count(), cols.count(), is_halving(rows, cols)};
  visit_floating("pooling", dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(planes, planes_per_chunk(area), [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        const T* from = static_cast<const T*>(x) + p * area;
        T* to = static_cast<T*>(y) + p * outputs;
        if constexpr (std::is_same_v<T, float>) {
          if (plane.halving) {
            max_pool_halving(plane, from, to, indices + p * outputs);
            continue;
          }
        }
        max_pool_plane(rows, cols, from, to, indices + p * outputs);
      }
    });
  });
}

void pool_scatter(Cpu, DType dtype, int64_t planes, const PooledPlane& plane, const void* dy, const int32_t* indices,
                  void* dx) {
  const int64_t area = plane.area(), outputs = plane.outputs();
  visit_floating("pooling", dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(planes, planes_per_chunk(area), [&](int64_t begin, int64_t end) {
      std::vector<float> wide(std::is_class_v<T> ? size_t(area) : 0);
      for (int64_t p = begin; p < end; ++p) {
        const T* from = static_cast<const T*>(dy) + p * outputs;
        const int32_t* place = indices + p * outputs;
        T* to = static_cast<T*>(dx) + p * area;
        if constexpr (std::is_same_v<T, float>) {
          if (plane.halving) {
            scatter_halving(plane, from, place, to);
            continue;
          }
        }
        if constexpr (std::is_class_v<T>) {  // overlapping windows are summed in f32 and rounded once
          std::fill(wide.begin(), wide.end(), 0.0f);
          for (int64_t i = 0; i < outputs; ++i) wide[size_t(place[i])] += float(from[i]);
          for (int64_t i = 0; i < area; ++i) to[i] = T(wide[size_t(i)]);
        } else {
          std::fill(to, to + area, T(0));
          for (int64_t i = 0; i < outputs; ++i) to[place[i]] += from[i];
        }
      }
    });
  });
}

void pool_gather(Cpu, DType dtype, int64_t planes, int64_t area, int64_t outputs, const void* x, const int32_t* indices,
                 void* y) {
  visit_floating("pooling", dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(planes, planes_per_chunk(area), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * outputs; i < end * outputs; ++i)
        static_cast<T*>(y)[i] = static_cast<const T*>(x)[i / outputs * area + indices[i]];
    });
  });
}

void avg_pool(Cpu, DType dtype, int64_t planes, const Windows& rows, const Windows& cols, const float* divisor,
              const void* x, void* y) {
  const int64_t area = rows.size * cols.size, outputs = rows.count() * cols.count();
  visit_floating("pooling", dtype, [&](auto zero) {
    using T = decltype(zero);
    using W = Wide<T>;
    parallel_for(planes, planes_per_chunk(area), [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        const T* from = static_cast<const T*>(x) + p * area;
        T* to = static_cast<T*>(y) + p * outputs;
        for (int64_t i = 0; i < rows.count(); ++i)
          for (int64_t j = 0; j < cols.count(); ++j) {
            W sum = 0;
            for (int64_t r = rows.begin[size_t(i)]; r < rows.end[size_t(i)]; ++r)
              for (int64_t c = cols.begin[size_t(j)]; c < cols.end[size_t(j)]; ++c) sum += W(from[r * cols.size + c]);
            to[i * cols.count() + j] = T(sum / W(divisor[i * cols.count() + j]));
          }
      }
    });
  });
}

void avg_pool_grad(Cpu, DType dtype, int64_t planes, const Windows& rows, const Windows& cols, const float* divisor,
                   const void* dy, void* dx) {
  const int64_t area = rows.size * cols.size, outputs = rows.count() * cols.count();
  visit_floating("pooling", dtype, [&](auto zero) {
    using T = decltype(zero);
    using W = Wide<T>;
    parallel_for(planes, planes_per_chunk(area), [&](int64_t begin, int64_t end) {
      std::vector<W> sums(static_cast<size_t>(area));
      for (int64_t p = begin; p < end; ++p) {
        std::fill(sums.begin(), sums.end(), W(0));
        const T* from = static_cast<const T*>(dy) + p * outputs;
        for (int64_t i = 0; i < rows.count(); ++i)
          for (int64_t j = 0; j < cols.count(); ++j) {
            const W share = W(from[i * cols.count() + j]) / W(divisor[i * cols.count() + j]);
            for (int64_t r = rows.begin[size_t(i)]; r < rows.end[size_t(i)]; ++r)
              for (int64_t c = cols.begin[size_t(j)]; c < cols.end[size_t(j)]; ++c)
                sums[size_t(r * cols.size + c)] += share;
          }
        T* to = static_cast<T*>(dx) + p * area;
        for (int64_t i = 0; i < area; ++i) to[i] = T(sums[size_t(i)]);
      }
    });
  });
}

}  // namespace tenrec::kernels
