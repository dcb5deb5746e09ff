#include "tenrec/kernels/scan.h"

#include <array>
#include <cmath>
#include <limits>

#include "tenrec/core/parallel.h"
#include "tenrec/kernels/convert.h"
#include "tenrec/kernels/elementwise_base.h"
#include "tenrec/kernels/reduce_engine.h"
#include "tenrec/kernels/scratch.h"

namespace tenrec::kernels {

namespace {

using namespace detail;

constexpr int64_t kScanGrain = 8192;  // elements of a parallel chunk

// Calls f(lines, n, offset) for every line along `dim`: the n elements of each tensor's line as contiguous T, of which
// the first `inputs` are read before and the others written after, and where the last tensor's begins. All have one
// shape.
template <class T, size_t K, class F>
void for_lines(const std::array<View, K>& tensors, size_t inputs, int64_t dim, F&& f) {
  const View& shape = tensors[0];
  if (shape.numel == 0) return;
  std::array<DimSpace, K> kept, line;
  for (size_t k = 0; k < K; ++k)
    for (int64_t d = 0; d < shape.ndim(); ++d) (d == dim ? line[k] : kept[k]).add(shape.size(d), tensors[k].stride(d));
  const int64_t n = line[0].numel;
  parallel_for(shape.numel / n, std::max<int64_t>(1, kScanGrain / n), [&](int64_t begin, int64_t end) {
    Scratch scratch;
    std::array<T*, K> lines;
    for (T*& to : lines) to = scratch.get<T>(n);
    for (int64_t o = begin; o < end; ++o) {
      std::array<char*, K> at;
      for (size_t k = 0; k < K; ++k)
        at[k] = tensors[k].template as<char>() + DimWalker(kept[k], o).offset() * size_of(tensors[k].dtype);
      for (size_t k = 0; k < inputs; ++k)
        convert_strided(at[k], tensors[k].dtype, line[k].inner_stride(), lines[k], dtype_of<T>, 1, n);
      f(lines, n, (at[K - 1] - tensors[K - 1].template as<char>()) / size_of(tensors[K - 1].dtype));
      for (size_t k = inputs; k < K; ++k)
        convert_strided(lines[k], dtype_of<T>, 1, at[k], tensors[k].dtype, line[k].inner_stride(), n);
    }
  });
}

// A scan of one line with an associative operation in double, or i64 for integers.
template <class F>
void scan(const View& x, const View& y, int64_t dim, bool reverse, const F& combine) {
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    for_lines<T, 2>({x, y}, 1, dim, [&](const std::array<T*, 2>& lines, int64_t n, int64_t) {
      const T* from = lines[0];
      T* to = lines[1];
      const int64_t first = reverse ? n - 1 : 0, step = reverse ? -1 : 1;
      T sum = from[first];
      to[first] = sum;
      for (int64_t k = 1, i = first + step; k < n; ++k, i += step) to[i] = sum = combine(sum, from[i]);
    });
  };
  if (is_floating(x.dtype))
    run(double{});
  else
    run(int64_t{});
}

// Integers wrap, as in elementwise arithmetic.
struct Add {
  double operator()(double a, double b) const { return a + b; }
  int64_t operator()(int64_t a, int64_t b) const { return wrap_add(a, b); }
};

struct Multiply {
  double operator()(double a, double b) const { return a * b; }
  int64_t operator()(int64_t a, int64_t b) const { return wrap_mul(a, b); }
};

double log_add(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return a + b;
  const double high = std::max(a, b), low = std::min(a, b);
  return std::isinf(high) ? high : high + std::log1p(std::exp(low - high));
}

}  // namespace

void cumsum(Cpu, const View& x, const View& y, int64_t dim, bool reverse) { scan(x, y, dim, reverse, Add{}); }

void cumprod(Cpu, const View& x, const View& y, int64_t dim) { scan(x, y, dim, false, Multiply{}); }

void logcumsumexp(Cpu, const View& x, const View& y, int64_t dim) {
  scan(x, y, dim, false, [](auto a, auto b) { return log_add(double(a), double(b)); });
}

void cumextreme(Cpu, bool largest, const View& x, const View& y, const View& indices, int64_t dim) {
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    for_lines<T, 2>({x, y}, 1, dim, [&](const std::array<T*, 2>& lines, int64_t n, int64_t at) {
      int64_t* places = indices.as<int64_t>() + at;
      const int64_t stride = y.ndim() ? y.stride(dim) : 1;
      T best = lines[0][0];
      int64_t place = 0;
      for (int64_t i = 0; i < n; ++i) {
        const T v = lines[0][i];
        if (v != v || (best == best && (largest ? v >= best : v <= best))) {
          best = v;
          place = i;
        }
        lines[1][i] = best;
        places[i * stride] = place;
      }
    });
  };
  if (is_floating(x.dtype))
    run(double{});
  else
    run(int64_t{});
}

void cumprod_grad(Cpu, const View& x, const View& dy, const View& dx, int64_t dim) {
  // dx_i = (product of x before i) * sum over j >= i of dy_j (product of x between i and j): no division, so zeros are
  // like any other number.
  for_lines<double, 3>({x, dy, dx}, 2, dim, [](const std::array<double*, 3>& lines, int64_t n, int64_t) {
    const auto [v, d, grad] = lines;
    double after = 0;
    for (int64_t i = n - 1; i >= 0; --i) grad[i] = after = d[i] + (i + 1 < n ? v[i + 1] * after : 0);
    double before = 1;
    for (int64_t i = 0; i < n; ++i) {
      grad[i] *= before;
      before *= v[i];
    }
  });
}

void logcumsumexp_grad(Cpu, const View& x, const View& y, const View& dy, const View& dx, int64_t dim) {
  // dx_i = sum over j >= i of dy_j e^(x_i - y_j) = e^(x_i - y_i) t_i with t_i = dy_i + e^(y_i - y_i+1) t_i+1. y does
  // not fall, so no exponent is positive.
  const double none = -std::numeric_limits<double>::infinity();
  for_lines<double, 4>({x, y, dy, dx}, 3, dim, [none](const std::array<double*, 4>& lines, int64_t n, int64_t) {
    const auto [v, w, d, grad] = lines;
    double after = 0;
    for (int64_t i = n - 1; i >= 0; --i) {
      const bool flat = i + 1 == n || w[i + 1] == none;
      after = d[i] + (flat ? 1 : std::exp(w[i] - w[i + 1])) * after;
      grad[i] = v[i] == none ? 0 : std::exp(v[i] - w[i]) * after;
    }
  });
}

}  // namespace tenrec::kernels
