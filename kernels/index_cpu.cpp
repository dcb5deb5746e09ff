// Rows, masks, triangles and lookup. gather and scatter are in scatter_cpu.cpp.
#include "tenrec/kernels/index.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "tenrec/core/parallel.h"
#include "tenrec/kernels/tiles.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::kernels {
namespace {

constexpr int64_t kGrain = 16384;  // elements of a parallel chunk

int64_t grain_of(int64_t elements_per_item) {
  return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, elements_per_item));
}

}  // namespace

void check_index(Cpu, const char* op, const View& index, const tenrec::detail::IndexRule& rule) {
  const auto* p = index.as<int64_t>();
  const uint64_t low = uint64_t(rule.low), range = uint64_t(rule.high) - low;
  std::atomic<int64_t> found{INT64_MAX};
  parallel_for(index.numel, kGrain, [&](int64_t begin, int64_t end) {
    uint64_t outside = 0;  // among them, those that are skipped
    for (int64_t i = begin; i < end; ++i) outside |= uint64_t(uint64_t(p[i]) - low >= range);
    if (!outside) return;
    int64_t at = begin;
    while (at < end && rule.takes(p[at])) ++at;
    if (at == end) return;
    for (int64_t seen = found.load(); at < seen && !found.compare_exchange_weak(seen, at);) {
    }
  });
  const int64_t at = found.load();
  if (at != INT64_MAX) fail<IndexError>(tenrec::detail::index_error(op, rule, p[at], at));
}

void combine_rows(Cpu, const View& index, int64_t size, bool first, const View& rows) {
  const auto* p = index.as<int64_t>();
  auto* r = rows.as<int64_t>();
  parallel_for(index.numel, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t wrapped = p[i] < 0 ? p[i] + size : p[i];
      r[i] = first ? wrapped : r[i] * size + wrapped;
    }
  });
}

// --- rows -----------------------------------------------------------------------------------------------------------

namespace {

template <class T>
void take_strided(const View& from, const int64_t* rows, T* to, int64_t count, int64_t inner, int64_t skip) {
  const int64_t so = from.stride(0), sn = from.stride(1), si = from.stride(2);
  const auto* x = from.as<T>();
  parallel_for(from.size(0) * count, grain_of(inner), [&](int64_t begin, int64_t end) {
    int64_t o = begin / count, b = begin % count;
    for (int64_t i = begin; i < end; ++i) {
      T* y = to + i * inner;
      if (rows[b] == skip) {
        std::memset(y, 0, size_t(inner) * sizeof(T));
      } else {
        const T* row = x + o * so + rows[b] * sn;
        if (inner == 1)
          y[0] = row[0];
        else if (si == 1)
          std::memcpy(y, row, size_t(inner) * sizeof(T));
        else
          for (int64_t k = 0; k < inner; ++k) y[k] = row[k * si];
      }
      if (++b == count) b = 0, ++o;
    }
  });
}

// Calls f(o, first column, columns) for blocks of columns that no other block shares: each goes through the indices in
// their order.
template <class F>
void for_column_blocks(const View& into, int64_t count, F&& f) {
  const int64_t outer = into.size(0), inner = into.size(2);
  const int64_t block = std::max<int64_t>(16, round_up(inner / 16, 16));  // at most 16 or so, whole cache lines
  const int64_t blocks = ceil_div(inner, block);
  if (count == 0) return;
  parallel_for(outer * blocks, grain_of(count * std::min(block, inner)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t column = i % blocks * block;
      f(i / blocks, column, std::min(block, inner - column));
    }
  });
}

}  // namespace

void take_rows(Cpu, const View& from, const View& rows, const View& picked, int64_t skip) {
  if (picked.numel == 0) return;
  visit_width(from.dtype, [&](auto zero) {
    using T = decltype(zero);
    take_strided<T>(from, rows.as<int64_t>(), picked.as<T>(), rows.numel, picked.size(2), skip);
  });
}

void add_rows(Cpu, const View& picked, const View& rows, const View& into, int64_t skip) {
  const int64_t n = into.size(1), inner = into.size(2), count = rows.numel;
  const auto* r = rows.as<int64_t>();
  visit_dtype(into.dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) {
      for_column_blocks(into, count, [&](int64_t o, int64_t column, int64_t columns) {
        const T* x = picked.as<T>() + o * count * inner + column;
        T* y = into.as<T>() + o * n * inner + column;
        for (int64_t b = 0; b < count; ++b) {
          if (r[b] == skip) continue;
          const T* from = x + b * inner;
          T* to = y + r[b] * inner;
          for (int64_t k = 0; k < columns; ++k) to[k] = T(to[k] + from[k]);
        }
      });
    } else {
      fail<DTypeError>("adding rows is not defined for ", into.dtype);
    }
  });
}

void put_rows(Cpu, const View& picked, const View& rows, const View& into) {
  const int64_t n = into.size(1), inner = into.size(2), count = rows.numel;
  const auto* r = rows.as<int64_t>();
  visit_width(into.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_column_blocks(into, count, [&](int64_t o, int64_t column, int64_t columns) {
      const T* x = picked.as<T>() + o * count * inner + column;
      T* y = into.as<T>() + o * n * inner + column;
      for (int64_t b = 0; b < count; ++b)
        for (int64_t k = 0; k < columns; ++k) y[r[b] * inner + k] = x[b * inner + k];
    });
  });
}

void last_rows(Cpu, const View& rows, int64_t n, const View& last) {
  const auto* r = rows.as<int64_t>();
  auto* y = last.as<uint8_t>();
  std::vector<bool> seen(static_cast<size_t>(n));
  for (int64_t b = rows.numel - 1; b >= 0; --b) {
    y[b] = !seen[size_t(r[b])];
    seen[size_t(r[b])] = true;
  }
}

// --- masks ----------------------------------------------------------------------------------------------------------

int64_t count_true(Cpu, const View& mask) {
  const auto* p = mask.as<uint8_t>();
  std::atomic<int64_t> total{0};
  parallel_for(mask.numel, kGrain, [&](int64_t begin, int64_t end) {
    int64_t n = 0;
    for (int64_t i = begin; i < end; ++i) n += p[i] != 0;
    total += n;
  });
  return total;
}

void true_positions(Cpu, const View& mask, const View& positions) {
  const auto* p = mask.as<uint8_t>();
  auto* y = positions.as<int64_t>();
  constexpr int64_t kBlock = 64;
  int64_t at = 0;
  for (int64_t i = 0; i < mask.numel; i += kBlock) {
    // Without a branch for each element: what is not true is overwritten by the next.
    int64_t found[kBlock], n = 0;
    for (int64_t k = i; k < std::min(mask.numel, i + kBlock); ++k) {
      found[n] = k;
      n += p[k] != 0;
    }
    n = std::min(n, positions.numel - at);
    std::memcpy(y + at, found, size_t(n) * sizeof(int64_t));
    at += n;
  }
}

void unravel(Cpu, const View& positions, const Shape& shape, const View& coordinates) {
  const auto* p = positions.as<int64_t>();
  auto* y = coordinates.as<int64_t>();
  const int64_t n = shape.ndim();
  parallel_for(positions.numel, grain_of(n), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t rest = p[i];
      for (int64_t d = n - 1; d >= 0; --d) {
        y[i * n + d] = rest % shape[d];
        rest /= shape[d];
      }
    }
  });
}

// --- triangles, one-hot, counting, lookup ----------------------------------------------------------------------------

void triangle(Cpu, const View& x, const View& y, int64_t diagonal, bool lower) {
  if (x.numel == 0) return;
  const int64_t rows = x.size(x.ndim() - 2), cols = x.size(x.ndim() - 1), width = size_of(x.dtype);
  const auto* from = static_cast<const char*>(x.data);
  auto* to = static_cast<char*>(y.data);
  parallel_for(x.numel / cols, grain_of(cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      // Columns [0, split) are on or below the diagonal.
      const int64_t i = r % rows;
      const int64_t reach = lower ? diagonal + 1 : diagonal;
      const int64_t split = reach >= cols - i ? cols : std::max<int64_t>(0, i + reach);
      const char* a = from + r * cols * width;
      char* b = to + r * cols * width;
      const size_t left = size_t(split * width), right = size_t((cols - split) * width);
      if (lower) {
        std::memcpy(b, a, left);
        std::memset(b + left, 0, right);
      } else {
        std::memset(b, 0, left);
        std::memcpy(b + left, a + left, right);
      }
    }
  });
}

void one_hot(Cpu, const View& index, const View& y) {
  const auto* p = index.as<int64_t>();
  auto* q = y.as<int64_t>();
  const int64_t classes = y.size(y.ndim() - 1);
  parallel_for(index.numel, grain_of(classes), [&](int64_t begin, int64_t end) {
    std::fill(q + begin * classes, q + end * classes, int64_t(0));
    for (int64_t i = begin; i < end; ++i) q[i * classes + p[i]] = 1;
  });
}

void count_each(Cpu, const View& index, const View& y) {
  const auto* p = index.as<int64_t>();
  auto* q = y.as<int64_t>();
  for (int64_t i = 0; i < index.numel; ++i) ++q[p[i]];
}

namespace {

// NaN comes after everything, as in sort.
template <class T>
bool before(T a, T b) {
  if constexpr (std::is_class_v<T>)
    return before(float(a), float(b));
  else if constexpr (std::is_floating_point_v<T>)
    return a < b || (std::isnan(b) && !std::isnan(a));
  else
    return a < b;
}

}  // namespace

void search_sorted(Cpu, const View& sorted, const View& values, const View& y, bool right) {
  if (values.numel == 0) return;
  const int64_t n = sorted.size(sorted.ndim() - 1);
  const int64_t per_row = values.ndim() ? values.size(values.ndim() - 1) : 1;
  const bool shared = sorted.ndim() == 1;
  visit_dtype(sorted.dtype, [&](auto zero) {
    using T = std::conditional_t<std::is_same_v<decltype(zero), bool>, uint8_t, decltype(zero)>;
    parallel_for(values.numel, kGrain / 8, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T* row = sorted.as<T>() + (shared ? 0 : i / per_row * n);
        const T v = values.as<T>()[i];
        const T* at =
            right ? std::upper_bound(row, row + n, v, before<T>) : std::lower_bound(row, row + n, v, before<T>);
        y.as<int64_t>()[i] = at - row;
      }
    });
  });
}

}  // namespace tenrec::kernels
