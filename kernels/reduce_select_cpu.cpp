// Reductions that choose an element: arguments of extremes, medians, quantiles; and the gradient of a product.
#include <cmath>
#include <numeric>
#include <optional>

#include "tenrec/core/parallel.h"
#include "tenrec/kernels/convert.h"
#include "tenrec/kernels/reduce.h"
#include "tenrec/kernels/reduce_engine.h"
#include "tenrec/kernels/scratch.h"
#include "tenrec/kernels/tiles.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::kernels {

namespace {

using namespace detail;

// The lines of x along one dimension: line o starts at offset `at(o)`.
struct Lines {
  DimSpace kept, line;
  Lines(const View& x, int64_t dim) {
    for (int64_t d = 0; d < x.ndim(); ++d)
      if (d != dim) kept.add(x.size(d), x.stride(d));
    if (x.ndim()) line.add(x.size(dim), x.stride(dim));
  }
};

template <bool kMax>
struct Extreme {
  template <class T>
  static T identity() {
    if constexpr (std::is_integral_v<T>)
      return kMax ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max();
    else
      return kMax ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::infinity();
  }
  template <class P>
  TENREC_INLINE static P map(P x) {
    return x;
  }
  template <class P>
  TENREC_INLINE static P combine(P a, P b) {
    const auto first = kMax ? a > b : a < b;
    if constexpr (std::is_integral_v<ElementOf<P>>)
      return select(first, a, b);
    else
      return select(first | (a != a), a, b);
  }
};

template <class T>
bool is_nan_value(T x) {
  return x != x;
}

// The first element of a leaf that is `value` (a NaN: that is NaN).
template <class T>
int64_t first_of(const T* x, int64_t m, T value) {
  using P = TreePack<T>;
  const bool nan = is_nan_value(value);
  const P wanted(value);
  int64_t i = 0;
  for (; i + kTreeLanes<T> <= m; i += kTreeLanes<T>) {
    const P v = P::load(x + i);
    if (any(nan ? v != v : v == wanted)) break;
  }
  while (!(nan ? is_nan_value(x[i]) : x[i] == value)) ++i;
  return i;
}

template <class T>
struct Place {
  T value;
  int64_t index = -1;
};
template <bool kMax, class T>
bool better(const Place<T>& a, const Place<T>& b) {
  if (b.index < 0 || is_nan_value(b.value)) return b.index < 0;
  return is_nan_value(a.value) || (kMax ? a.value > b.value : a.value < b.value);
}

// The best of elements [begin, end) of a line at `base`.
template <bool kMax, class T>
Place<T> best_of(const DimSpace& line, const char* base, DType dtype, int64_t begin, int64_t end) {
  alignas(64) T buffer[kLeaf];
  Place<T> best{};
  DimWalker at(line, begin);
  for (int64_t i = begin; i < end; i += kLeaf) {
    const int64_t m = std::min(kLeaf, end - i);
    const T* x = gather_run(line, base, dtype, at, m, buffer);
    const Extreme<kMax> op;
    const Place<T> found{reduce_leaf<T>(m, op, RowLoad<T, Extreme<kMax>>{x, op}), i};
    if (better<kMax>(found, best)) best = found;
  }
  // Of the leaf it is in, the element.
  DimWalker again(line, best.index);
  const int64_t m = std::min(kLeaf, end - best.index);
  best.index += first_of(gather_run(line, base, dtype, again, m, buffer), m, best.value);
  return best;
}

template <bool kMax, class T>
void extreme_index(const View& x, int64_t dim, const View* values, const View& indices) {
  const Lines lines(x, dim);
  const int64_t n = lines.line.numel, outputs = lines.kept.numel, size = size_of(x.dtype);
  const int64_t chunks = ceil_div(n, kReduceGrain);
  const auto store = [&](int64_t o, const Place<T>& best) {
    indices.as<int64_t>()[o] = best.index;
    if (values)
      convert_strided(&best.value, dtype_of<T>, 1, values->as<char>() + o * size_of(values->dtype), values->dtype, 1,
                      1);
  };
  if (chunks == 1) {
    parallel_for(outputs, std::max<int64_t>(1, kReduceGrain / n), [&](int64_t begin, int64_t end) {
      DimWalker at(lines.kept, begin);
      for (int64_t o = begin; o < end; ++o, at.advance(1))
        store(o, best_of<kMax, T>(lines.line, x.as<char>() + at.offset() * size, x.dtype, 0, n));
    });
    return;
  }
  Scratch scratch;
  auto* partial = scratch.get<Place<T>>(outputs * chunks);
  parallel_for(outputs * chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const char* base = x.as<char>() + DimWalker(lines.kept, i / chunks).offset() * size;
      const int64_t first = i % chunks * kReduceGrain;
      partial[i] = best_of<kMax, T>(lines.line, base, x.dtype, first, std::min(n, first + kReduceGrain));
    }
  });
  for (int64_t o = 0; o < outputs; ++o) {
    Place<T> best{};
    for (int64_t c = 0; c < chunks; ++c)
      if (better<kMax>(partial[o * chunks + c], best)) best = partial[o * chunks + c];
    store(o, best);
  }
}

// Calls f(line as contiguous T, o) for every line, with room for a second one.
template <class T, class F>
void for_lines(const View& x, int64_t dim, F&& f) {
  const Lines lines(x, dim);
  const int64_t n = lines.line.numel;
  parallel_for(lines.kept.numel, std::max<int64_t>(1, 4096 / n), [&](int64_t begin, int64_t end) {
    Scratch scratch;
    T* buffer = scratch.get<T>(n);
    T* work = scratch.get<T>(n);
    DimWalker at(lines.kept, begin);
    for (int64_t o = begin; o < end; ++o, at.advance(1)) {
      DimWalker first(lines.line, 0);
      f(gather_run(lines.line, x.as<char>() + at.offset() * size_of(x.dtype), x.dtype, first, n, buffer), work, o);
    }
  });
}

template <class T>
std::optional<int64_t> first_nan(const T* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    if (is_nan_value(x[i])) return i;
  return {};
}

template <class T>
void prod_grad(const View& x, const View& dy, const View& dx) {
  const int64_t rows = x.size(0), n = x.size(1);
  parallel_for(rows, std::max<int64_t>(1, 8192 / std::max<int64_t>(n, 1)), [&](int64_t begin, int64_t end) {
    Scratch scratch;
    T* row = scratch.get<T>(n);
    T* grad = scratch.get<T>(n);
    for (int64_t r = begin; r < end; ++r) {
      convert_strided(x.as<char>() + r * n * size_of(x.dtype), x.dtype, 1, row, dtype_of<T>, 1, n);
      T left = 0;
      convert_strided(dy.as<char>() + r * size_of(dy.dtype), dy.dtype, 1, &left, dtype_of<T>, 1, 1);
      for (int64_t i = 0; i < n; ++i) {
        grad[i] = left;
        left *= row[i];
      }
      T right = 1;
      for (int64_t i = n - 1; i >= 0; --i) {
        grad[i] *= right;
        right *= row[i];
      }
      convert_strided(grad, dtype_of<T>, 1, dx.as<char>() + r * n * size_of(dx.dtype), dx.dtype, 1, n);
    }
  });
}

}  // namespace

void prod_grad(Cpu, const View& x, const View& dy, const View& dx) {
  // In double: the products of a long row would leave f32's range on the way, though the gradient is in it.
  prod_grad<double>(x, dy, dx);
}

void extreme_index(Cpu, bool largest, const View& x, int64_t dim, const View* values, const View& indices) {
  if (indices.numel == 0) return;
  visit_wide(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (largest)
      extreme_index<true, T>(x, dim, values, indices);
    else
      extreme_index<false, T>(x, dim, values, indices);
  });
}

void median_index(Cpu, const View& x, int64_t dim, const View& indices) {
  if (indices.numel == 0) return;
  visit_wide(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t n = x.ndim() ? x.size(dim) : 1;
    for_lines<T>(x, dim, [&](const T* line, T* work, int64_t o) {
      std::optional<int64_t> place = first_nan(line, n);
      if (!place) {
        std::copy_n(line, n, work);
        std::nth_element(work, work + (n - 1) / 2, work + n);
        place = first_of(line, n, work[(n - 1) / 2]);
      }
      indices.as<int64_t>()[o] = *place;
    });
  });
}

void quantile_indices(Cpu, const View& x, int64_t dim, const double* q, const View& lower, const View& upper) {
  if (lower.numel == 0) return;
  visit_wide(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t n = x.ndim() ? x.size(dim) : 1, lines = Lines(x, dim).kept.numel, ranks = lower.numel / lines;
    for_lines<T>(x, dim, [&](const T* line, T* work, int64_t o) {
      const std::optional<int64_t> nan = first_nan(line, n);
      std::copy_n(line, n, work);
      if (!nan) std::sort(work, work + n);
      for (int64_t k = 0; k < ranks; ++k) {
        const double rank = q[k] * double(n - 1);
        const auto place = [&](double r) { return nan ? *nan : first_of(line, n, work[int64_t(r)]); };
        lower.as<int64_t>()[o * ranks + k] = place(std::floor(rank));
        upper.as<int64_t>()[o * ranks + k] = place(std::ceil(rank));
      }
    });
  });
}

}  // namespace tenrec::kernels
