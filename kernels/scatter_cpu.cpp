// gather and scatter along one dimension.
//
// A line is the run of elements along that dimension. Lines are shared out among threads; within one, elements are
// visited in their order. Where the dimension is not the innermost, a block of neighbouring lines is walked together,
// so that memory is read in its own order.
#include <algorithm>
#include <cmath>
#include <vector>

#include "tenrec/core/parallel.h"
#include "tenrec/kernels/elementwise_space.h"
#include "tenrec/kernels/index.h"

namespace tenrec::kernels {
namespace {

constexpr int64_t kGrain = 16384;

// Three operands along their lines. Operand 0 is the one that is indexed, 1 the index, 2 the other.
struct Lines {
  detail::Space space;    // all dimensions but the one
  int64_t length, count;  // of a line; of lines
  int64_t along[3];       // stride along the line
  int64_t across(int k) const { return space.strides[k].back(); }
};

Lines make_lines(const View& indexed, const View& index, const View& other, int64_t dim) {
  const View* views[3] = {&indexed, &index, &other};
  Lines lines{};
  Shape shape = *index.shape;
  Strides strides[3];
  for (int k = 0; k < 3; ++k) {
    strides[k] = *views[k]->strides;
    lines.along[k] = shape.ndim() ? strides[k][dim] : 0;
    if (shape.ndim()) strides[k].erase(dim);
  }
  lines.length = shape.ndim() ? shape[dim] : 1;
  if (shape.ndim()) shape.erase(dim);
  lines.count = index.numel / std::max<int64_t>(1, lines.length);
  lines.space = detail::merge(shape, strides, 3);
  return lines;
}

// Calls f(indexed line, index, other element) for every element, lines apart from each other.
template <class F>
void for_lines(const Lines& l, F&& f) {
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, l.length));
  parallel_for(l.count, grain, [&](int64_t begin, int64_t end) {
    detail::walk_rows(l.space, begin, end - begin, [&](const int64_t* offset, int64_t n) {
      const auto element = [&](int64_t j, int64_t k) {
        f(offset[0] + j * l.across(0), offset[1] + j * l.across(1) + k * l.along[1],
          offset[2] + j * l.across(2) + k * l.along[2]);
      };
      if (l.along[1] == 1) {
        for (int64_t j = 0; j < n; ++j)
          for (int64_t k = 0; k < l.length; ++k) element(j, k);
      } else {
        for (int64_t k = 0; k < l.length; ++k)
          for (int64_t j = 0; j < n; ++j) element(j, k);
      }
    });
  });
}

template <class T>
T larger(T a, T b) {
  if constexpr (std::is_class_v<T>)
    return T(larger(float(a), float(b)));
  else if constexpr (std::is_floating_point_v<T>)
    return std::isnan(a) || a > b ? a : b;
  else
    return std::max(a, b);
}
template <class T>
T smaller(T a, T b) {
  if constexpr (std::is_class_v<T>)
    return T(smaller(float(a), float(b)));
  else if constexpr (std::is_floating_point_v<T>)
    return std::isnan(a) || a < b ? a : b;
  else
    return std::min(a, b);
}

template <class T, class Combine>
void scatter_with(const Lines& l, const View& src, const View& index, const View& y, Combine combine) {
  const auto* from = src.as<T>();
  const auto* at = index.as<int64_t>();
  auto* to = y.as<T>();
  for_lines(l, [&](int64_t line, int64_t i, int64_t j) {
    T& target = to[line + at[i] * l.along[0]];
    target = combine(target, from[j]);
  });
}

}  // namespace

void gather(Cpu, const View& x, const View& index, const View& y, int64_t dim) {
  if (y.numel == 0) return;
  const Lines l = make_lines(x, index, y, dim);
  const auto* at = index.as<int64_t>();
  const auto move = [&](auto zero) {
    using T = decltype(zero);
    const auto* from = x.as<T>();
    auto* to = y.as<T>();
    for_lines(l, [&](int64_t line, int64_t i, int64_t j) { to[j] = from[line + at[i] * l.along[0]]; });
  };
  switch (size_of(x.dtype)) {
    case 1:
      return move(uint8_t{});
    case 2:
      return move(uint16_t{});
    case 4:
      return move(uint32_t{});
    default:
      return move(uint64_t{});
  }
}

void scatter(Cpu, const View& src, const View& index, const View& y, int64_t dim, Scatter how) {
  if (index.numel == 0) return;
  const Lines l = make_lines(y, index, src, dim);
  visit_dtype(y.dtype, [&](auto zero) {
    using T = std::conditional_t<std::is_same_v<decltype(zero), bool>, uint8_t, decltype(zero)>;
    constexpr bool floats16 = std::is_class_v<T>;
    switch (how) {
      case Scatter::put:
        return scatter_with<T>(l, src, index, y, [](T, T b) { return b; });
      case Scatter::largest:
        return scatter_with<T>(l, src, index, y, [](T a, T b) { return larger(a, b); });
      case Scatter::smallest:
        return scatter_with<T>(l, src, index, y, [](T a, T b) { return smaller(a, b); });
      case Scatter::add:
        if constexpr (!floats16) return scatter_with<T>(l, src, index, y, [](T a, T b) { return T(a + b); });
        break;
      case Scatter::multiply:
        if constexpr (!floats16) return scatter_with<T>(l, src, index, y, [](T a, T b) { return T(a * b); });
        break;
    }
    fail<InternalError>("scatter: sums of ", y.dtype, " are kept in f32 by the caller");
  });
}

void last_writers(Cpu, const View& index, int64_t n, int64_t dim, const View& last) {
  if (index.numel == 0) return;
  const Lines l = make_lines(index, index, last, dim);
  const auto* at = index.as<int64_t>();
  auto* y = last.as<uint8_t>();
  const int64_t grain = std::max<int64_t>(1, kGrain / (l.length + n));
  parallel_for(l.count, grain, [&](int64_t begin, int64_t end) {
    std::vector<int64_t> seen(static_cast<size_t>(n), -1);  // the line that was here last
    int64_t line = 0;
    detail::walk_rows(l.space, begin, end - begin, [&](const int64_t* offset, int64_t count) {
      for (int64_t j = 0; j < count; ++j, ++line) {
        for (int64_t k = l.length - 1; k >= 0; --k) {
          int64_t& mark = seen[size_t(at[offset[1] + j * l.across(1) + k * l.along[1]])];
          y[offset[2] + j * l.across(2) + k * l.along[2]] = mark != line;
          mark = line;
        }
      }
    });
  });
}

}  // namespace tenrec::kernels
