// copy and fill: any layout to any layout, converted. The design's floor is one read and one write of each element; a
// transposed source is read in square tiles, so that every cache line fetched is used up.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "tenrec/core/parallel.h"
#include "tenrec/kernels/convert.h"
#include "tenrec/kernels/elementwise.h"
#include "tenrec/kernels/elementwise_space.h"
#include "tenrec/kernels/ramp.h"
#include "tenrec/kernels/tiles.h"

namespace tenrec::kernels {
namespace {

using detail::kGrain;

constexpr int64_t kTile = 32;

struct Side {
  char* data;
  int64_t size;              // bytes of an element
  int64_t row = 0, col = 0;  // strides in elements
  char* at(int64_t r, int64_t c) const { return data + (r * row + c * col) * size; }
  Side moved(int64_t offset) const { return {data + offset * size, size, row, col}; }
};

// A tile, at most kTile wide and high, whose source is contiguous along the rows: read as it lies into a buffer,
// written from there. Reading it across would touch a cache line per element, and with a power of two between them they
// all fall on the same few places of the cache.
void copy_turned(Convert convert, const Side& from, const Side& to, int64_t rows, int64_t cols) {
  alignas(64) char buffer[kTile * kTile * 8];
  for (int64_t c = 0; c < cols; ++c)
    std::memcpy(buffer + c * kTile * from.size, from.at(0, c), size_t(rows * from.size));
  for (int64_t r = 0; r < rows; ++r) convert(buffer + r * from.size, kTile, to.at(r, 0), to.col, cols);
}

// A matrix of rows x cols elements from one side to the other.
void copy_plane(Convert convert, const Side& from, const Side& to, int64_t rows, int64_t cols) {
  if (cols < 8 && rows > cols) {  // runs along the longer side
    for (int64_t c = 0; c < cols; ++c) convert(from.at(0, c), from.row, to.at(0, c), to.row, rows);
    return;
  }
  const bool jumps = std::abs(from.col) > std::abs(from.row), turned = jumps && from.row == 1 && rows >= 8;
  const int64_t step = jumps ? kTile : cols;
  for (int64_t r0 = 0; r0 < rows; r0 += kTile) {
    const int64_t height = std::min(kTile, rows - r0);
    for (int64_t c = 0; c < cols; c += step) {
      const int64_t width = std::min(step, cols - c);
      const Side source{from.at(r0, c), from.size, from.row, from.col}, target{to.at(r0, c), to.size, to.row, to.col};
      if (turned) {
        copy_turned(convert, source, target, height, width);
        continue;
      }
      for (int64_t r = 0; r < height; ++r) convert(source.at(r, 0), from.col, target.at(r, 0), to.col, width);
    }
  }
}

// The two innermost dimensions are cut into patches, which are shared out together with the outer ones.
void copy_space(const detail::Space& s, Convert convert, Side from, Side to) {
  const int64_t n = s.shape.ndim(), cols = s.shape[n - 1], rows = n > 1 ? s.shape[n - 2] : 1;
  to.col = s.strides[0][n - 1], from.col = s.strides[1][n - 1];
  to.row = n > 1 ? s.strides[0][n - 2] : 0, from.row = n > 1 ? s.strides[1][n - 2] : 0;
  Shape outer;
  int64_t planes = 1;
  for (int64_t d = 0; d + 2 < n; ++d) {
    outer.push_back(s.shape[d]);
    planes *= s.shape[d];
  }
  const int64_t patch_cols = std::min<int64_t>(cols, rows == 1 ? kGrain : kGrain / kTile);
  const int64_t patch_rows = std::min(rows, std::max<int64_t>(1, kGrain / patch_cols / kTile) * kTile);
  const int64_t across = ceil_div(cols, patch_cols), down = ceil_div(rows, patch_rows);
  const int64_t grain = std::max<int64_t>(1, kGrain / (patch_rows * patch_cols));
  parallel_for(planes * down * across, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t c = i % across * patch_cols, r = i / across % down * patch_rows;
      const detail::Position plane(outer, i / across / down);
      int64_t from_offset = r * from.row + c * from.col, to_offset = r * to.row + c * to.col;
      for (int64_t d = 0; d < outer.ndim(); ++d) {
        to_offset += plane.index[d] * s.strides[0][d];
        from_offset += plane.index[d] * s.strides[1][d];
      }
      copy_plane(convert, from.moved(from_offset), to.moved(to_offset), std::min(patch_rows, rows - r),
                 std::min(patch_cols, cols - c));
    }
  });
}

}  // namespace

void copy(Cpu, const View& from, const View& to) {
  if (to.numel == 0) return;
  const Convert convert = find_convert(from.dtype, to.dtype);
  const Side source{static_cast<char*>(from.data), size_of(from.dtype)};
  const Side target{static_cast<char*>(to.data), size_of(to.dtype)};
  const int64_t stride = from.numel == 1 ? 0 : 1;
  if (to.contiguous && from.contiguous && (from.numel == to.numel || from.numel == 1)) {
    if (to.numel <= kGrain) return convert(source.data, stride, target.data, 1, to.numel);
    parallel_for(to.numel, kGrain, [&](int64_t begin, int64_t end) {
      convert(source.data + begin * stride * source.size, stride, target.data + begin * target.size, 1, end - begin);
    });
    return;
  }
  const Strides strides[2] = {*to.strides, detail::expand_strides(from, *to.shape)};
  copy_space(detail::merge(*to.shape, strides, 2), convert, source, target);
}

void fill(Cpu, const View& y, double value, int64_t integer) {
  alignas(8) char element[8];
  const bool floating = is_floating(y.dtype);
  convert_strided(floating ? static_cast<void*>(&value) : static_cast<void*>(&integer), floating ? f64 : i64, 0,
                  element, y.dtype, 1, 1);
  const Shape scalar{};
  copy(Cpu{}, View{element, &scalar, &scalar, 1, y.dtype, true}, y);
}

void ramp(Cpu, double start, double step, const View& y) {
  const Convert convert = find_convert(f64, y.dtype);
  parallel_for(y.numel, kGrain, [&](int64_t begin, int64_t end) {
    double values[256];
    for (int64_t at = begin; at < end; at += int64_t(std::size(values))) {
      const int64_t n = std::min<int64_t>(int64_t(std::size(values)), end - at);
      for (int64_t i = 0; i < n; ++i) values[i] = start + double(at + i) * step;
      convert(reinterpret_cast<const char*>(values), 1, y.as<char>() + at * size_of(y.dtype), 1, n);
    }
  });
}

bool all_nonzero(Cpu, const View& x) {
  if (x.numel == 0) return true;
  const Strides strides[1] = {*x.strides};
  const detail::Space space = detail::merge(*x.shape, strides, 1);
  const Convert convert = find_convert(x.dtype, boolean);
  std::atomic<bool> found{false};
  parallel_for(x.numel, kGrain, [&](int64_t begin, int64_t end) {
    char bytes[1024];
    for (int64_t at = begin; at < end && !found.load(std::memory_order_relaxed); at += int64_t(sizeof(bytes))) {
      const int64_t n = std::min<int64_t>(sizeof(bytes), end - at);
      char* to = bytes;
      detail::walk_rows(space, size_t(0), at, n, [&](int64_t offset, int64_t stride, int64_t length) {
        convert(static_cast<const char*>(x.data) + offset * size_of(x.dtype), stride, to, 1, length);
        to += length;
      });
      if (std::memchr(bytes, 0, size_t(n))) found.store(true, std::memory_order_relaxed);
    }
  });
  return !found.load();
}

}  // namespace tenrec::kernels
