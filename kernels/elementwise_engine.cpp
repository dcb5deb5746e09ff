// Layout, conversion and partition for all elementwise kernels, once. A functor sees runs of values only, so an element's
// value cannot depend on the layout it came from.
//
// From the cheapest case to the most general: flat (everything lies as the loop wants it, or is one number), by rows
// (the innermost dimension does), by blocks (inputs are first brought into buffers that stay in the nearest cache).
#include <algorithm>

#include "tenrec/core/parallel.h"
#include "tenrec/kernels/convert.h"
#include "tenrec/kernels/elementwise.h"
#include "tenrec/kernels/elementwise_space.h"

namespace tenrec::kernels {
namespace detail {
namespace {

constexpr int64_t kBlock = 1024;   // elements of a buffered run
constexpr int64_t kMinRow = 16;    // a shorter innermost dimension is done by blocks
constexpr int64_t kPackSize = 64;  // bytes of a repeated value: the widest pack

DType output_compute(const Kernel& k) { return k.predicate ? u8 : k.compute; }
bool output_native(const Kernel& k, const View& y) {
  return y.dtype == output_compute(k) || (k.predicate && y.dtype == boolean);
}

struct Repeated {
  alignas(kPackSize) char bytes[kPackSize];
};

bool run_flat(const Kernel& kernel, std::span<const View> inputs, const View& y) {
  if (!y.contiguous || !output_native(kernel, y)) return false;
  Run all;
  Repeated repeated[kMaxInputs];
  for (size_t k = 0; k < inputs.size(); ++k) {
    const View& x = inputs[k];
    if (x.dtype == kernel.compute && x.contiguous && x.numel == y.numel) {
      all.in[k] = x.data;
      all.step[k] = 1;
    } else if (x.numel == 1) {
      convert_strided(x.data, x.dtype, 0, repeated[k].bytes, kernel.compute, 1, kPackSize / size_of(kernel.compute));
      all.in[k] = repeated[k].bytes;
      all.step[k] = 0;
    } else {
      return false;
    }
  }
  all.out = y.data;
  all.n = y.numel;
  if (y.numel <= kGrain) {
    kernel.loop(kernel.functor, all);
    return true;
  }
  parallel_for(y.numel, kGrain, [&](int64_t begin, int64_t end) {
    Run part = all;
    for (size_t k = 0; k < inputs.size(); ++k)
      part.in[k] = static_cast<const char*>(all.in[k]) + begin * all.step[k] * size_of(kernel.compute);
    part.out = static_cast<char*>(all.out) + begin * size_of(output_compute(kernel));
    part.n = end - begin;
    kernel.loop(kernel.functor, part);
  });
  return true;
}

struct Input {
  const char* data;
  int64_t size;     // bytes of an element
  bool native;      // of the compute dtype
  bool dense;       // native and linear: the block can be used where it lies
  bool constant;    // one value
  Convert convert;  // to the compute dtype
};

struct Output {
  char* data;
  int64_t size;
  bool native, dense;
  Convert convert;  // from what the loop writes
};

// Operand 0 of the space is the output, operand k + 1 input k.
struct Work {
  const Kernel& kernel;
  Space space;
  size_t inputs;
  Input in[kMaxInputs];
  Output out;
  int64_t width, out_width;  // bytes of a value in the loop
};

Work make_work(const Kernel& kernel, std::span<const View> inputs, const View& y) {
  Work w{kernel, {}, inputs.size(), {}, {}, size_of(kernel.compute), size_of(output_compute(kernel))};
  Strides strides[kMaxInputs + 1];
  strides[0] = *y.strides;
  for (size_t k = 0; k < inputs.size(); ++k) strides[k + 1] = expand_strides(inputs[k], *y.shape);
  w.space = merge(*y.shape, strides, inputs.size() + 1);
  for (size_t k = 0; k < inputs.size(); ++k) {
    const View& x = inputs[k];
    const bool native = x.dtype == kernel.compute;
    w.in[k] = {static_cast<const char*>(x.data),        size_of(x.dtype),          native,
               native && is_linear(w.space, k + 1), is_constant(w.space, k + 1), find_convert(x.dtype, kernel.compute)};
  }
  const bool native = output_native(kernel, y);
  w.out = {static_cast<char*>(y.data), size_of(y.dtype), native, native && is_linear(w.space, 0),
           find_convert(output_compute(kernel), y.dtype)};
  return w;
}

bool rows_suffice(const Work& w) {
  const int64_t inner = w.space.shape.ndim() - 1;
  if (w.space.shape[inner] < kMinRow || !w.out.native || w.space.strides[0][inner] != 1) return false;
  for (size_t k = 0; k < w.inputs; ++k) {
    const int64_t stride = w.space.strides[k + 1][inner];
    if (stride != 0 && (stride != 1 || !w.in[k].native)) return false;
  }
  return true;
}

void run_rows(const Work& w, int64_t begin, int64_t end) {
  Repeated repeated[kMaxInputs];
  const char* repeated_from[kMaxInputs] = {};
  const int64_t inner = w.space.shape.ndim() - 1;
  walk_rows(w.space, begin, end - begin, [&](const int64_t* offset, int64_t length) {
    Run run;
    for (size_t k = 0; k < w.inputs; ++k) {
      const Input& x = w.in[k];
      const char* from = x.data + offset[k + 1] * x.size;
      run.step[k] = w.space.strides[k + 1][inner];
      run.in[k] = from;
      if (run.step[k] != 0) continue;
      if (repeated_from[k] != from) x.convert(from, 0, repeated[k].bytes, 1, kPackSize / w.width);
      repeated_from[k] = from;
      run.in[k] = repeated[k].bytes;
    }
    run.out = w.out.data + offset[0] * w.out.size;
    run.n = length;
    w.kernel.loop(w.kernel.functor, run);
  });
}

// Elements [at, at + n) of input k as one run.
void gather(const Work& w, size_t k, int64_t at, int64_t n, char* to) {
  const Input& x = w.in[k];
  walk_rows(w.space, k + 1, at, n, [&](int64_t offset, int64_t stride, int64_t length) {
    x.convert(x.data + offset * x.size, stride, to, 1, length);
    to += length * w.width;
  });
}
void scatter(const Work& w, const char* from, int64_t at, int64_t n) {
  walk_rows(w.space, 0, at, n, [&](int64_t offset, int64_t stride, int64_t length) {
    w.out.convert(from, 1, w.out.data + offset * w.out.size, stride, length);
    from += length * w.out_width;
  });
}

void run_blocks(const Work& w, int64_t begin, int64_t end) {
  alignas(64) char buffers[kMaxInputs + 1][kBlock * 8];
  Run run;
  for (size_t k = 0; k < w.inputs; ++k) {
    run.in[k] = buffers[k];
    run.step[k] = w.in[k].constant ? 0 : 1;
    if (w.in[k].constant) w.in[k].convert(w.in[k].data, 0, buffers[k], 1, kPackSize / w.width);
  }
  for (int64_t at = begin; at < end; at += kBlock) {
    run.n = std::min(kBlock, end - at);
    for (size_t k = 0; k < w.inputs; ++k) {
      if (w.in[k].constant) continue;
      if (w.in[k].dense) run.in[k] = w.in[k].data + at * w.width;
      else gather(w, k, at, run.n, buffers[k]);
    }
    run.out = w.out.dense ? w.out.data + at * w.out_width : buffers[kMaxInputs];
    w.kernel.loop(w.kernel.functor, run);
    if (!w.out.dense) scatter(w, buffers[kMaxInputs], at, run.n);
  }
}

}  // namespace

void run_elementwise(const Kernel& kernel, std::span<const View> inputs, const View& y) {
  if (y.numel == 0) return;
  if (run_flat(kernel, inputs, y)) return;
  const Work w = make_work(kernel, inputs, y);
  const auto body = rows_suffice(w) ? run_rows : run_blocks;
  if (y.numel <= kGrain) return body(w, 0, y.numel);
  parallel_for(y.numel, kGrain, [&](int64_t begin, int64_t end) { body(w, begin, end); });
}

}  // namespace detail
}  // namespace tenrec::kernels
