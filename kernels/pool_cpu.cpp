#include "tenrec/kernels/pool.h"

#include <algorithm>

#include "tenrec/core/error.h"
#include "tenrec/core/parallel.h"

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

template <class T>
void max_pool_halving(int64_t rows, int64_t cols, int64_t width, const T* x, T* y, int32_t* indices) {
  for (int64_t i = 0; i < rows; ++i) {
    const T* top = x + 2 * i * width;
    const T* bottom = top + width;
    const auto at = int32_t(2 * i * width);
    for (int64_t j = 0; j < cols; ++j) {
      T best = top[2 * j];
      int32_t place = int32_t(2 * j);
      const auto take = [&](T value, int32_t where) {
        const bool better = value > best || value != value;
        best = better ? value : best;
        place = better ? where : place;
      };
      take(top[2 * j + 1], int32_t(2 * j + 1));
      take(bottom[2 * j], int32_t(width + 2 * j));
      take(bottom[2 * j + 1], int32_t(width + 2 * j + 1));
      y[i * cols + j] = best;
      indices[i * cols + j] = at + place;
    }
  }
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
          if (value > best || (value != value && best == best)) {
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
        if constexpr (std::is_floating_point_v<T>) {
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
