// Sums, products, extremes, counts, norms and variances over dimensions of a tensor.
//
// Floor: x is read once (variance: twice), from memory. f32, bf16 and f16 accumulate in double: the H200 adds doubles
// at half the rate of floats, several times what memory can deliver, and a plain sum is then as exact as the CPU's
// tree. The cut is that of kernels/cuda/reduce_tiles.cuh: an element's dtype is looked up once per 16 bytes, so that
// one kernel per operation is enough.
#include "tenrec/kernels/cuda/reduce_tiles.cuh"
#include "tenrec/kernels/pack.h"
#include "tenrec/kernels/reduce.h"

namespace tenrec::cuda {
namespace {

// --- operations -----------------------------------------------------------------------------------------------------

// Accumulators are double and int64_t; integers add and multiply modulo 2^64.
struct Sum {
  using Join = Sum;  // of partial results
  template <class Acc>
  __device__ static Acc identity() {
    return std::is_integral_v<Acc> ? Acc(0) : Acc(-0.0);  // minus zero leaves every number as it is
  }
  template <class Acc>
  __device__ static Acc map(Acc x, Acc) {
    return x;
  }
  __device__ static double combine(double a, double b) { return a + b; }
  __device__ static int64_t combine(int64_t a, int64_t b) { return int64_t(uint64_t(a) + uint64_t(b)); }
};

struct NanSum : Sum {
  __device__ static double map(double x, double) { return x != x ? -0.0 : x; }
};
template <bool kZeros>
struct Count : Sum {
  template <class Acc>
  __device__ static Acc map(Acc x, Acc) {
    return Acc((x == Acc(0)) == kZeros);
  }
};
struct SumAbs : Sum {
  __device__ static double map(double x, double) { return kernels::abs(x); }
};
struct SumSquares : Sum {
  __device__ static double map(double x, double) { return x * x; }
};
struct SquaredDeviations : Sum {
  __device__ static double map(double x, double center) { return (x - center) * (x - center); }
};

struct Prod : Sum {
  using Join = Prod;
  template <class Acc>
  __device__ static Acc identity() {
    return Acc(1);
  }
  __device__ static double combine(double a, double b) { return a * b; }
  __device__ static int64_t combine(int64_t a, int64_t b) { return int64_t(uint64_t(a) * uint64_t(b)); }
};

// NaN wins.
template <bool kMax>
struct Extreme : Sum {
  using Join = Extreme;
  template <class Acc>
  __device__ static Acc identity() {
    if constexpr (std::is_integral_v<Acc>)
      return kMax ? std::numeric_limits<Acc>::min() : std::numeric_limits<Acc>::max();
    else
      return kMax ? -std::numeric_limits<Acc>::infinity() : std::numeric_limits<Acc>::infinity();
  }
  template <class Acc>
  __device__ static Acc combine(Acc a, Acc b) {
    return (kMax ? a > b : a < b) || a != a ? a : b;
  }
};
template <bool kMax>
struct ExtremeAbs : Extreme<kMax> {
  __device__ static double map(double x, double) { return kernels::abs(x); }
};

// --- the kernel -----------------------------------------------------------------------------------------------------

enum class Finish { none, divide, root, divide_root, positive, not_positive };

// Where results go and what is done to them before.
struct Target {
  void* y;
  DType dtype;
  Finish finish = Finish::none;
  double divisor = 1;

  template <class Acc>
  __device__ void store(int64_t at, Acc value) const {
    if (finish == Finish::positive)
      value = Acc(value > Acc(0));
    else if (finish == Finish::not_positive)
      value = Acc(!(value > Acc(0)));
    if constexpr (std::is_floating_point_v<Acc>) {
      if (finish == Finish::divide || finish == Finish::divide_root) value /= divisor;
      if (finish == Finish::root || finish == Finish::divide_root) value = kernels::sqrt(value);
    }
    store_as(y, at, dtype, value);
  }
};
struct Centers {
  const void* data = nullptr;  // one for each output, if not null
  DType dtype = DType::f32;
};

template <class Op, class Acc>
__global__ void __launch_bounds__(kThreads) reduce_tiles(Reduction p, Centers centers, Target to, int64_t tiles) {
  for (int64_t t = blockIdx.x; t < tiles; t += gridDim.x) {
    const Share share(p, t);
    Acc sum = Op::template identity<Acc>();
    if (share.active) {
      const Acc center = centers.data ? load_as<Acc>(centers.data, share.output, centers.dtype) : Acc(0);
      for_elements<Acc>(p, place(p.kept, share.output), share.begin, share.end, share.y,
                        [&](Acc x, int64_t) { sum = Op::combine(sum, Op::map(x, center)); });
    }
    sum = reduce_depth(sum, p.depth, p.rows ? 1 : p.width, [](Acc a, Acc b) { return Op::combine(a, b); });
    if (share.first) to.store(share.output * p.chunks + share.chunk, sum);
  }
}

template <class Op, class Acc>
void launch(const Reduction& p, const Centers& centers, const Target& to) {
  TENREC_LAUNCH((reduce_tiles<Op, Acc>), p.grid(), unsigned(p.threads()), 0, stream(), p, centers, to, p.tiles());
  TENREC_LAUNCH_CHECK();
}

// An output's chunks lie side by side, to be reduced as rows.
Reduction plan_rows(const void* x, DType dtype, int64_t rows, int64_t n) {
  const Shape kept{rows}, reduced{n};
  const Strides kept_strides{n}, reduced_strides{1};
  return plan_reduction(x, dtype, kernels::detail::merge(kept, &kept_strides, 1),
                        kernels::detail::merge(reduced, &reduced_strides, 1), true);
}

template <class Op, class Acc>
void run_plan(const Reduction& p, const Centers& centers, const Target& to) {
  if (p.chunks == 1) return launch<Op, Acc>(p, centers, to);
  const Buffer<Acc> partial(p.outputs * p.chunks);
  launch<Op, Acc>(p, centers, {partial.data(), dtype_of<Acc>});
  run_plan<typename Op::Join, Acc>(plan_rows(partial.data(), dtype_of<Acc>, p.outputs, p.chunks), {}, to);
}

Reduction plan(const View& x, const View& y, bool floating) {
  Shape kept, reduced;
  Strides kept_strides, reduced_strides;
  for (int64_t d = 0; d < x.ndim(); ++d) {
    const bool keep = y.size(d) == x.size(d);
    (keep ? kept : reduced).push_back(x.size(d));
    (keep ? kept_strides : reduced_strides).push_back(x.stride(d));
  }
  // Packs are read in the accumulator's kind; integers that are averaged go one by one.
  return plan_reduction(x.data, x.dtype, kernels::detail::merge(kept, &kept_strides, 1),
                        kernels::detail::merge(reduced, &reduced_strides, 1), is_floating(x.dtype) == floating);
}

template <class Op>
void run_floating(const View& x, const View& y, Finish finish = Finish::none, double divisor = 1) {
  run_plan<Op, double>(plan(x, y, true), {}, {y.data, y.dtype, finish, divisor});
}
template <class Op>
void run(const View& x, const View& y, Finish finish = Finish::none) {
  if (is_floating(x.dtype) || is_floating(y.dtype))
    run_floating<Op>(x, y, finish);
  else
    run_plan<Op, int64_t>(plan(x, y, false), {}, {y.data, y.dtype, finish});
}

// A reduction over nothing.
void fill_empty(kernels::ReduceOp op, const View& y) {
  using kernels::ReduceOp;
  constexpr double inf = std::numeric_limits<double>::infinity();
  double value = 0;
  int64_t integer = 0;
  if (op == ReduceOp::mean) value = std::numeric_limits<double>::quiet_NaN();
  if (op == ReduceOp::prod || op == ReduceOp::all) value = 1, integer = 1;
  if (op == ReduceOp::amin || op == ReduceOp::min_abs) value = inf, integer = INT64_MAX;
  if (op == ReduceOp::amax) value = -inf, integer = INT64_MIN;
  kernels::fill(Cuda{}, y, value, integer);
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

void reduce(Cuda, ReduceOp op, const View& x, const View& y) {
  if (y.numel == 0) return;
  if (x.numel == 0) return fill_empty(op, y);
  switch (op) {
    case ReduceOp::sum:
      return run<Sum>(x, y);
    case ReduceOp::mean:
      return run_floating<Sum>(x, y, Finish::divide, double(x.numel / y.numel));
    case ReduceOp::nansum:
      return run_floating<NanSum>(x, y);
    case ReduceOp::prod:
      return run<Prod>(x, y);
    case ReduceOp::amin:
      return run<Extreme<false>>(x, y);
    case ReduceOp::amax:
      return run<Extreme<true>>(x, y);
    case ReduceOp::any:
      return run<Count<false>>(x, y, Finish::positive);
    case ReduceOp::all:
      return run<Count<true>>(x, y, Finish::not_positive);
    case ReduceOp::count_nonzero:
      return run<Count<false>>(x, y);
    case ReduceOp::sum_abs:
      return run_floating<SumAbs>(x, y);
    case ReduceOp::norm2:
      return run_floating<SumSquares>(x, y, Finish::root);
    case ReduceOp::max_abs:
      return run_floating<ExtremeAbs<true>>(x, y);
    case ReduceOp::min_abs:
      return run_floating<ExtremeAbs<false>>(x, y);
  }
}

void variance(Cuda, const View& x, double correction, bool root, const View& mean, const View& y) {
  if (y.numel == 0) return;
  if (x.numel == 0) {
    fill_empty(ReduceOp::mean, mean);
    return fill_empty(ReduceOp::mean, y);
  }
  const double n = double(x.numel / y.numel);
  run_floating<Sum>(x, mean, Finish::divide, n);
  const Target to{y.data, y.dtype, root ? Finish::divide_root : Finish::divide, std::max(0.0, n - correction)};
  run_plan<SquaredDeviations, double>(plan(x, y, true), {mean.data, mean.dtype}, to);
}

}  // namespace tenrec::kernels
