// Layout, conversion and partition for all elementwise kernels, once. A functor sees runs of values only, so an
// element's value cannot depend on the layout it came from.
//
// From the cheapest case to the most general: direct, flat (one shape, but numbers and conversions), by rows (the
// innermost dimension lies as the loop wants it), by blocks (inputs are first brought into buffers that stay in the
// nearest cache).
#include <algorithm>
#include <cstring>

#include "tenrec/core/allocator.h"
#include "tenrec/core/parallel.h"
#include "tenrec/kernels/convert.h"
#include "tenrec/kernels/elementwise.h"
#include "tenrec/kernels/elementwise_space.h"

namespace tenrec::kernels {
namespace detail {
namespace {

constexpr int64_t kBlock = 1024;  // elements of a buffered run
constexpr int64_t kMinRow = 16;   // a shorter innermost dimension is done by blocks
constexpr int64_t kShortPeriod = kBlock / 4;
constexpr int64_t kPackSize = 64;  // bytes of a repeated value: the widest pack

DType output_compute(const Kernel& k) { return k.predicate ? u8 : k.compute; }
bool output_native(const Kernel& k, const View& y) {
  return y.dtype == output_compute(k) || (k.predicate && y.dtype == boolean);
}

struct Repeated {
  alignas(kPackSize) char bytes[kPackSize];
};

// --- direct: the loop can run over the tensors as they lie ----------------------------------------------------------
bool is_direct(const Kernel& kernel, std::span<const View> inputs, const View& y) {
  bool direct = y.contiguous && output_native(kernel, y);
  for (const View& x : inputs) direct &= x.contiguous && x.dtype == kernel.compute && x.numel == y.numel;
  return direct;
}

void run_direct(const Kernel& kernel, std::span<const View> inputs, const View& y) {
  const auto range = [&](int64_t begin, int64_t end) {
    Run run;
    for (size_t k = 0; k < inputs.size(); ++k) {
      run.in[k] = static_cast<const char*>(inputs[k].data) + begin * size_of(kernel.compute);
      run.step[k] = 1;
    }
    run.out = static_cast<char*>(y.data) + begin * size_of(y.dtype);
    run.n = end - begin;
    kernel.loop(kernel.functor, run);
  };
  if (y.numel <= kGrain)
    range(0, y.numel);
  else
    parallel_for(y.numel, kGrain, range);
}

// --- flat: everything contiguous and of one shape, or one number ----------------------------------------------------
struct Flat {
  const Kernel& kernel;
  size_t inputs;
  const char* in[kMaxInputs];
  int64_t step[kMaxInputs], in_size[kMaxInputs];
  Convert convert[kMaxInputs];  // null where the loop can read the input itself
  char* out;
  int64_t out_size;
  Convert convert_out;
  bool converts;
};

bool make_flat(Flat& f, Repeated* repeated, std::span<const View> inputs, const View& y) {
  if (!y.contiguous) return false;
  const DType compute = f.kernel.compute;
  f.inputs = inputs.size();
  f.out = static_cast<char*>(y.data);
  f.out_size = size_of(y.dtype);
  f.convert_out = output_native(f.kernel, y) ? nullptr : find_convert(output_compute(f.kernel), y.dtype);
  f.converts = f.convert_out != nullptr;
  for (size_t k = 0; k < inputs.size(); ++k) {
    const View& x = inputs[k];
    if (x.contiguous && x.numel == y.numel) {
      f.in[k] = static_cast<const char*>(x.data);
      f.in_size[k] = size_of(x.dtype);
      f.step[k] = 1;
      f.convert[k] = x.dtype == compute ? nullptr : find_convert(x.dtype, compute);
      f.converts |= x.dtype != compute;
    } else if (x.numel == 1) {
      convert_strided(x.data, x.dtype, 0, repeated[k].bytes, compute, 1, kPackSize / size_of(compute));
      f.in[k] = repeated[k].bytes;
      f.in_size[k] = f.step[k] = 0;
      f.convert[k] = nullptr;
    } else {
      return false;
    }
  }
  return true;
}

// What the next block will read is fetched while this one is computed; left to itself the memory would idle meanwhile.
void prefetch(const char* from, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(from + i);
}

void run_flat(const Flat& f, int64_t begin, int64_t end) {
  alignas(64) char buffers[kMaxInputs + 1][kBlock * 8];
  const int64_t block = f.converts ? kBlock : end - begin;
  for (int64_t at = begin; at < end; at += block) {
    Run run;
    run.n = std::min(block, end - at);
    for (size_t k = 0; k < f.inputs; ++k) {
      run.step[k] = f.step[k];
      run.in[k] = f.in[k] + at * f.in_size[k];
      if (!f.convert[k]) continue;
      f.convert[k](run.in[k], 1, buffers[k], 1, run.n);
      prefetch(static_cast<const char*>(run.in[k]) + run.n * f.in_size[k],
               std::min(block, end - at - run.n) * f.in_size[k]);
      run.in[k] = buffers[k];
    }
    run.out = f.convert_out ? buffers[kMaxInputs] : f.out + at * f.out_size;
    f.kernel.loop(f.kernel.functor, run);
    if (f.convert_out) f.convert_out(buffers[kMaxInputs], 1, f.out + at * f.out_size, 1, run.n);
  }
}

// Out of line, as its buffers are large.
[[gnu::noinline]] bool try_flat(const Kernel& kernel, std::span<const View> inputs, const View& y) {
  Flat flat{kernel, 0, {}, {}, {}, {}, nullptr, 0, nullptr, false};
  Repeated repeated[kMaxInputs];
  if (!make_flat(flat, repeated, inputs, y)) return false;
  if (y.numel <= kGrain)
    run_flat(flat, 0, y.numel);
  else
    parallel_for(y.numel, kGrain, [&](int64_t begin, int64_t end) { run_flat(flat, begin, end); });
  return true;
}

// --- strided --------------------------------------------------------------------------------------------------------
struct Input {
  const char* data;
  int64_t size;     // bytes of an element
  bool native;      // of the compute dtype
  bool dense;       // native and linear: the block can be used where it lies
  int64_t period;   // the input repeats after so many elements
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
    w.in[k] = {static_cast<const char*>(x.data),    size_of(x.dtype),       native,
               native && is_linear(w.space, k + 1), period(w.space, k + 1), find_convert(x.dtype, kernel.compute)};
  }
  const bool native = output_native(kernel, y);
  w.out = {static_cast<char*>(y.data), size_of(y.dtype), native, native && is_linear(w.space, 0),
           find_convert(output_compute(kernel), y.dtype)};
  return w;
}

// Blocks need not be gathered again and again: inputs are dense, or repeat after a short period.
bool blocks_are_cheap(const Work& w) {
  if (!w.out.dense) return false;
  for (size_t k = 0; k < w.inputs; ++k)
    if (!w.in[k].dense && w.in[k].period > kShortPeriod) return false;
  return true;
}

bool rows_suffice(const Work& w) {
  const int64_t inner = w.space.shape.ndim() - 1;
  if (w.space.shape[inner] < kMinRow || !w.out.native || w.space.strides[0][inner] != 1) return false;
  for (size_t k = 0; k < w.inputs; ++k) {
    const int64_t stride = w.space.strides[k + 1][inner];
    if (stride != 0 && (stride != 1 || !w.in[k].native)) return false;
  }
  return !blocks_are_cheap(w);
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

// One period of input k, from element `at` on, written over and over.
void gather_cycle(const Work& w, size_t k, int64_t at, int64_t n, char* to) {
  int64_t filled = std::min(n, w.in[k].period);
  gather(w, k, at, filled, to);
  for (; filled < n; filled *= 2)
    std::memcpy(to + filled * w.width, to, size_t(std::min(filled, n - filled) * w.width));
}

void run_blocks(const Work& w, int64_t begin, int64_t end) {
  alignas(64) char buffers[kMaxInputs + 1][kBlock * 8];
  Run run;
  // A block is a multiple of all short periods (of two, the shorter divides the longer), so their buffers stay right.
  int64_t block = kBlock;
  for (size_t k = 0; k < w.inputs; ++k)
    if (const int64_t period = w.in[k].period; period > 0 && period <= kShortPeriod)
      block = std::min(block, kBlock / period * period);
  for (size_t k = 0; k < w.inputs; ++k) {
    run.in[k] = buffers[k];
    run.step[k] = w.in[k].period == 1 ? 0 : 1;
    if (w.in[k].period == 1)
      w.in[k].convert(w.in[k].data, 0, buffers[k], 1, kPackSize / w.width);
    else if (w.in[k].period <= kShortPeriod)
      gather_cycle(w, k, begin, std::min(block, end - begin), buffers[k]);
  }
  for (int64_t at = begin; at < end; at += block) {
    run.n = std::min(block, end - at);
    for (size_t k = 0; k < w.inputs; ++k) {
      if (w.in[k].period <= kShortPeriod) continue;
      if (w.in[k].dense)
        run.in[k] = w.in[k].data + at * w.width;
      else
        gather(w, k, at, run.n, buffers[k]);
    }
    run.out = w.out.dense ? w.out.data + at * w.out_width : buffers[kMaxInputs];
    w.kernel.loop(w.kernel.functor, run);
    if (!w.out.dense) scatter(w, buffers[kMaxInputs], at, run.n);
  }
}

// True if reading x row by row would jump from cache line to cache line while a neighbour lies in another dimension.
bool is_turned(const View& x) {
  const int64_t inner = x.ndim() - 1;
  if (x.numel < kGrain || x.stride(inner) <= 1 || x.size(inner) == 1) return false;
  for (int64_t d = 0; d < inner; ++d)
    if (x.stride(d) == 1 && x.size(d) > 1) return true;
  return false;
}

// A dense copy in another dtype.
struct Dense {
  Strides strides;
  size_t bytes = 0;
  void* data = nullptr;
  Dense() = default;
  Dense(const Dense&) = delete;
  Dense& operator=(const Dense&) = delete;
  ~Dense() { tenrec::detail::deallocate(data, bytes); }
  View fill(const View& x, DType dtype) {
    strides = contiguous_strides(*x.shape);
    const auto wanted = size_t(x.numel * size_of(dtype));
    data = tenrec::detail::allocate(wanted);
    bytes = wanted;
    const View dense{data, x.shape, &strides, x.numel, dtype, true};
    copy(Cpu{}, x, dense);
    return dense;
  }
};

[[gnu::noinline]] void run_strided(const Kernel& kernel, std::span<const View> inputs, const View& y) {
  View x[kMaxInputs];
  Dense dense[kMaxInputs];
  for (size_t k = 0; k < inputs.size(); ++k)
    x[k] = is_turned(inputs[k]) ? dense[k].fill(inputs[k], kernel.compute) : inputs[k];
  const Work w = make_work(kernel, {x, inputs.size()}, y);
  const auto body = rows_suffice(w) ? run_rows : run_blocks;
  if (y.numel <= kGrain)
    body(w, 0, y.numel);
  else
    parallel_for(y.numel, kGrain, [&](int64_t begin, int64_t end) { body(w, begin, end); });
}

}  // namespace

void run_elementwise(const Kernel& kernel, std::span<const View> inputs, const View& y) {
  if (y.numel == 0) return;
  if (is_direct(kernel, inputs, y)) return run_direct(kernel, inputs, y);
  if (!try_flat(kernel, inputs, y)) run_strided(kernel, inputs, y);
}

}  // namespace detail
}  // namespace tenrec::kernels
