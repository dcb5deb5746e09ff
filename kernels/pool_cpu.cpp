#include "tenrec/kernels/pool.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "tenrec/core/error.h"
#include "tenrec/core/parallel.h"
#include "tenrec/kernels/reduce_tree.h"

namespace tenrec::kernels {
namespace {

template <class T>
using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class F>
void visit_floating(DType dtype, F&& f) {
  switch (dtype) {
    case f64:
      return f(double{});
    case f32:
      return f(float{});
    case bf16:
      return f(bfloat16{});
    case f16:
      return f(float16{});
    default:
      fail<DTypeError>("pooling: expected a floating dtype, got ", dtype);
  }
}

int64_t planes_per_chunk(int64_t area) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(area, 1)); }

// The windows of "kernel 2, stride 2" without padding, by far the most common: two rows side by side, no inner loops.
bool is_halving(const Windows& w) {
  if (w.step != 1) return false;
  for (int64_t i = 0; i < w.count(); ++i)
    if (w.begin[size_t(i)] != 2 * i || w.end[size_t(i)] != 2 * i + 2) return false;
  return true;
}

// What max_pool takes of a window: the larger, the first of equals, and a NaN before all else.
template <class V>
auto is_better(V value, V best) {
  return (value > best) | ((value != value) & (best == best));
}

// 16 of them, by the compiler's own vector types: it does not see by itself that the choices need no branches.
constexpr int kHalvingLanes = 16;
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));

// The first `count` of 16 floats, and to memory the first of floats or indices.
TENREC_INLINE Floats load_part(const float* from, int64_t count) {
  return std::bit_cast<Floats>(detail::load_first(from, int(std::clamp<int64_t>(count, 0, kHalvingLanes))));
}
template <class V, class T>
TENREC_INLINE void store_part(T* to, V v, int64_t count) {
#if defined(__AVX512F__)
  __builtin_ia32_storedqusi512_mask(reinterpret_cast<int*>(to), std::bit_cast<Ints>(v), uint16_t((1u << count) - 1));
#else
  std::memcpy(to, &v, size_t(count) * sizeof(T));
#endif
}

// One row of windows; `x` is their upper row, `at` its place in the plane.
inline void max_pool_halving_row(int64_t cols, int64_t width, int32_t at, const float* x, float* y, int32_t* indices) {
  Ints even, odd;
  for (int k = 0; k < kHalvingLanes; ++k) {
    even[k] = 2 * k;
    odd[k] = 2 * k + 1;
  }
  for (int64_t j = 0; j < cols; j += kHalvingLanes) {
    const int64_t count = std::min<int64_t>(kHalvingLanes, cols - j);
    Floats best{};
    Ints place{};
    for (int row = 0; row < 2; ++row) {
      const float* from = x + row * width + 2 * j;
      const Floats low = load_part(from, 2 * count), high = load_part(from + kHalvingLanes, 2 * count - kHalvingLanes);
      for (int col = 0; col < 2; ++col) {
        const Floats value = __builtin_shuffle(low, high, col ? odd : even);
        const Ints where = even + int32_t(at + 2 * j + row * width + col);
        const Ints better = row + col == 0 ? Ints{} == 0 : is_better(value, best);
        best = better ? value : best;
        place = better ? where : place;
      }
    }
    store_part(y + j, best, count);
    store_part(indices + j, place, count);
  }
}

void max_pool_halving(int64_t rows, int64_t cols, int64_t width, const float* x, float* y, int32_t* indices) {
  for (int64_t i = 0; i < rows; ++i)
    max_pool_halving_row(cols, width, int32_t(2 * i * width), x + 2 * i * width, y + i * cols, indices + i * cols);
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

void max_pool(Cpu, DType dtype, int64_t planes, const Windows& rows, const Windows& cols, const void* x, void* y,
              int32_t* indices) {
  const int64_t area = rows.size * cols.size, outputs = rows.count() * cols.count();
  const bool halving = is_halving(rows) && is_halving(cols);
  visit_floating(dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(planes, planes_per_chunk(area), [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        const T* from = static_cast<const T*>(x) + p * area;
        T* to = static_cast<T*>(y) + p * outputs;
        if constexpr (std::is_same_v<T, float>) {
          if (halving) {
            max_pool_halving(rows.count(), cols.count(), cols.size, from, to, indices + p * outputs);
            continue;
          }
        }
        max_pool_plane(rows, cols, from, to, indices + p * outputs);
      }
    });
  });
}

void pool_scatter(Cpu, DType dtype, int64_t planes, int64_t area, int64_t outputs, const void* dy,
                  const int32_t* indices, void* dx) {
  visit_floating(dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(planes, planes_per_chunk(area), [&](int64_t begin, int64_t end) {
      std::vector<float> wide(std::is_class_v<T> ? size_t(area) : 0);
      for (int64_t p = begin; p < end; ++p) {
        const T* from = static_cast<const T*>(dy) + p * outputs;
        const int32_t* place = indices + p * outputs;
        T* to = static_cast<T*>(dx) + p * area;
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
  visit_floating(dtype, [&](auto zero) {
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
  visit_floating(dtype, [&](auto zero) {
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
  visit_floating(dtype, [&](auto zero) {
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
