// Padding row by row of the last dimension, in one pass over the output.
#include <algorithm>
#include <cstring>

#include "tenrec/core/parallel.h"
#include "tenrec/kernels/pad.h"
#include "tenrec/kernels/scratch.h"

namespace tenrec::kernels {
namespace {

constexpr int64_t kGrain = 16384;  // elements of a parallel chunk

int64_t grain_of(int64_t row) { return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, row)); }

// Coordinates [begin, begin + length) of a row of y show x from `from` on, or nothing if that is -1.
struct Segment {
  int64_t begin, length, from;
};

std::vector<Segment> segments_of(const std::vector<int64_t>& map) {
  std::vector<Segment> out;
  for (int64_t i = 0; i < int64_t(map.size()); ++i) {
    const int64_t from = map[size_t(i)];
    if (!out.empty()) {
      Segment& last = out.back();
      if (from < 0 ? last.from < 0 : last.from >= 0 && from == last.from + last.length) {
        ++last.length;
        continue;
      }
    }
    out.push_back({i, 1, from});
  }
  return out;
}

// Where row `r` of y lies in x, in rows; -1 if it shows nothing.
int64_t source_row(const View& x, const View& y, PadMaps maps, int64_t r) {
  int64_t row = 0, step = 1;
  for (int64_t d = y.ndim() - 2; d >= 0; --d) {
    const int64_t from = maps[size_t(d)][size_t(r % y.size(d))];
    if (from < 0) return -1;
    row += from * step;
    step *= x.size(d);
    r /= y.size(d);
  }
  return row;
}

template <class T>
void pad_rows(const View& x, const View& y, PadMaps maps, T fill) {
  const int64_t x_row = x.size(x.ndim() - 1), y_row = y.size(y.ndim() - 1);
  const std::vector<Segment> segments = segments_of(maps.back());
  parallel_for(y.numel / y_row, grain_of(y_row), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      T* to = y.as<T>() + r * y_row;
      const int64_t row = source_row(x, y, maps, r);
      if (row < 0) {
        std::fill(to, to + y_row, fill);
        continue;
      }
      const T* from = x.as<T>() + row * x_row;
      for (const Segment& s : segments) {
        if (s.from < 0)
          std::fill(to + s.begin, to + s.begin + s.length, fill);
        else if (s.length == 1)
          to[s.begin] = from[s.from];
        else
          std::memcpy(to + s.begin, from + s.from, size_t(s.length) * sizeof(T));
      }
    }
  });
}

// For each coordinate of x, those of y that show it, in rising order.
std::vector<std::vector<int64_t>> inverse(const std::vector<int64_t>& map, int64_t size) {
  std::vector<std::vector<int64_t>> out(static_cast<size_t>(size));
  for (size_t i = 0; i < map.size(); ++i)
    if (map[i] >= 0) out[size_t(map[i])].push_back(int64_t(i));
  return out;
}

// All rows of y that show one row of x, visited in order.
class ShowingRows {
 public:
  ShowingRows(const View& x, const View& y, PadMaps maps) : x_(x), y_(y) {
    for (int64_t d = 0; d + 1 < x.ndim(); ++d) inverse_.push_back(inverse(maps[size_t(d)], x.size(d)));
  }
  template <class F>
  void visit(int64_t row, F&& f) const {
    const std::vector<int64_t>* lists[kMaxDims];
    const int64_t outer = x_.ndim() - 1;
    for (int64_t d = outer - 1; d >= 0; --d) {
      lists[d] = &inverse_[size_t(d)][size_t(row % x_.size(d))];
      row /= x_.size(d);
    }
    walk(lists, 0, outer, 0, f);
  }

 private:
  template <class F>
  void walk(const std::vector<int64_t>* const* lists, int64_t d, int64_t n, int64_t row, F& f) const {
    if (d == n) return f(row);
    // NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): visit has set those below n
    for (const int64_t i : *lists[d]) walk(lists, d + 1, n, row * y_.size(d) + i, f);
  }
  const View &x_, &y_;
  std::vector<std::vector<std::vector<int64_t>>> inverse_;
};

template <class T>
void pad_grad_rows(const View& dy, const View& dx, PadMaps maps) {
  using Sum = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const int64_t x_row = dx.size(dx.ndim() - 1), y_row = dy.size(dy.ndim() - 1);
  const std::vector<Segment> segments = segments_of(maps.back());
  const ShowingRows rows(dx, dy, maps);
  parallel_for(dx.numel / x_row, grain_of(y_row), [&](int64_t begin, int64_t end) {
    Scratch scratch;
    Sum* sums = scratch.get<Sum>(x_row);
    for (int64_t r = begin; r < end; ++r) {
      std::fill(sums, sums + x_row, Sum(0));
      rows.visit(r, [&](int64_t row) {
        const T* from = dy.as<T>() + row * y_row;
        for (const Segment& s : segments) {
          if (s.from < 0) continue;
          for (int64_t i = 0; i < s.length; ++i) sums[s.from + i] += Sum(from[s.begin + i]);
        }
      });
      T* to = dx.as<T>() + r * x_row;
      for (int64_t i = 0; i < x_row; ++i) to[i] = T(sums[i]);
    }
  });
}

}  // namespace

void pad(Cpu, const View& x, const View& y, PadMaps maps, const void* fill) {
  if (y.numel == 0) return;
  const auto run = [&](auto zero) {
    std::memcpy(&zero, fill, sizeof(zero));
    pad_rows(x, y, maps, zero);
  };
  switch (size_of(x.dtype)) {
    case 1:
      return run(uint8_t{});
    case 2:
      return run(uint16_t{});
    case 4:
      return run(uint32_t{});
    default:
      return run(uint64_t{});
  }
}

void pad_grad(Cpu, const View& dy, const View& dx, PadMaps maps) {
  if (dx.numel == 0) return;
  switch (dy.dtype) {
    case f64:
      return pad_grad_rows<double>(dy, dx, maps);
    case f32:
      return pad_grad_rows<float>(dy, dx, maps);
    case bf16:
      return pad_grad_rows<bfloat16>(dy, dx, maps);
    case f16:
      return pad_grad_rows<float16>(dy, dx, maps);
    default:
      fail<DTypeError>("pad_grad is not defined for ", dy.dtype);
  }
}

}  // namespace tenrec::kernels
