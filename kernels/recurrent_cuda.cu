// The steps of recurrent layers. A step is a product by the library, [count, hidden] by W_hh, and one kernel of ours
// for all that follows it: gates, cell, state, and what backward will read.
//
// Floor: the kernel moves each gate in and out once, and a product of few rows is as quick as W_hh can be read. Both
// are a few microseconds, so the launches weigh as much: capture the training step where that matters.
#include "tenrec/kernels/cuda/blas.h"
#include "tenrec/kernels/cuda/launch.h"
#include "tenrec/kernels/recurrent_cells.h"

namespace tenrec::cuda {
namespace {

using kernels::RecurrentStep;

// What a step reads and writes; rows of `count` sequences.
template <class T>
struct ForwardStep {
  int64_t count, hidden;
  const T *sums, *bias_n;
  T *gates, *kept, *before, *y, *h, *c;
};

template <class Cell, class T>
__global__ void recurrent_gates(ForwardStep<T> a) {
  constexpr int kGates = Cell::kGates;
  for (int64_t i = grid_start(); i < a.count * a.hidden; i += grid_stride()) {
    const int64_t k = i / a.hidden, u = i - k * a.hidden, first = k * kGates * a.hidden + u;
    T x[kGates], s[kGates], c = Cell::kHasCell ? a.c[i] : T(0), more = a.bias_n ? a.bias_n[u] : T(0);
    for (int g = 0; g < kGates; ++g) {
      x[g] = a.gates[first + g * a.hidden];
      s[g] = a.sums[first + g * a.hidden];
    }
    const T h = a.h[i], out = Cell::forward(x, s, h, c, more);
    a.y[i] = out;
    a.h[i] = out;
    if (Cell::kHasCell) a.c[i] = c;
    if (!a.before) continue;
    a.before[i] = h;
    if (Cell::kKeepsMore) a.kept[i] = more;
    for (int g = 0; g < kGates; ++g) a.gates[first + g * a.hidden] = x[g];
  }
}

template <class T>
struct BackwardStep {
  int64_t count, hidden;
  const T *gates, *kept, *before, *dy;
  T *dgates, *dhidden, *dh, *dc;
};

template <class Cell, class T>
__global__ void recurrent_gates_grad(BackwardStep<T> a) {
  constexpr int kGates = Cell::kGates;
  for (int64_t i = grid_start(); i < a.count * a.hidden; i += grid_stride()) {
    const int64_t k = i / a.hidden, u = i - k * a.hidden, first = k * kGates * a.hidden + u;
    T x[kGates], s[kGates], dc = Cell::kHasCell ? a.dc[i] : T(0);
    for (int g = 0; g < kGates; ++g) x[g] = a.gates[first + g * a.hidden];
    const T grad = a.dh[i] + (a.dy ? a.dy[i] : T(0));
    const T straight = Cell::backward(x, Cell::kKeepsMore ? a.kept[i] : T(0), a.before[i], grad, dc, s);
    for (int g = 0; g < kGates; ++g) {
      a.dgates[first + g * a.hidden] = x[g];
      if (Cell::kTwoGradients) a.dhidden[first + g * a.hidden] = s[g];
    }
    if (Cell::kHasCell) a.dc[i] = dc;
    if (Cell::kStraight) a.dh[i] = straight;
  }
}

// C [count, n] = A [count, k] W, or W^T.
void multiply_rows(DType dtype, int64_t count, int64_t n, int64_t k, bool turned, const void* a, const void* w, void* c,
                   bool accumulate) {
  const kernels::GemmShape shape{
      .trans_b = turned, .m = count, .n = n, .k = k, .lda = k, .ldb = turned ? k : n, .ldc = n};
  multiply({.dtype = dtype, .shape = shape}, a, w, c, {.accumulate = accumulate}, stream());
}

template <class T>
T* at(T* matrix, int64_t row, int64_t columns) {
  return matrix ? matrix + row * columns : nullptr;
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

void recurrent_forward(Cuda, const RecurrentShape& s, const RecurrentForward& args) {
  if (s.hidden == 0 || s.batch() == 0) return;
  visit_cell(s, [&](auto cell, auto zero) {
    using Cell = decltype(cell);
    using T = decltype(zero);
    const int64_t hidden = s.hidden;
    const Reserve<T> reserve(args.reserve, s, args.keep);
    const Buffer<T> sums(s.batch() * s.gates());
    T *h = static_cast<T*>(args.h), *c = static_cast<T*>(args.c);
    for (const RecurrentStep& step : recurrent_steps(s)) {
      if (step.count == 0) continue;
      multiply_rows(s.dtype, step.count, s.gates(), hidden, true, h, args.w_hh, sums.data(), false);
      const ForwardStep<T> a{.count = step.count,
                             .hidden = hidden,
                             .sums = sums.data(),
                             .bias_n = static_cast<const T*>(args.bias_n),
                             .gates = at(reserve.gates, step.row, s.gates()),
                             .kept = at(reserve.kept, step.row, hidden),
                             .before = at(reserve.before, step.row, hidden),
                             .y = at(static_cast<T*>(args.y), step.row, hidden),
                             .h = h,
                             .c = c};
      TENREC_LAUNCH((recurrent_gates<Cell, T>), grid_for(step.count * hidden), kThreads, 0, stream(), a);
    }
  });
  TENREC_LAUNCH_CHECK();
}

void recurrent_backward(Cuda, const RecurrentShape& s, const RecurrentBackward& args) {
  if (s.hidden == 0 || s.batch() == 0) return;
  visit_cell(s, [&](auto cell, auto zero) {
    using Cell = decltype(cell);
    using T = decltype(zero);
    const int64_t hidden = s.hidden;
    const Reserve<T> reserve(const_cast<void*>(args.reserve), s, true);
    T *dh = static_cast<T*>(args.dh), *dc = static_cast<T*>(args.dc);
    const std::vector<RecurrentStep> steps = recurrent_steps(s);
    for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
      if (step->count == 0) continue;
      T* dhidden = at(static_cast<T*>(args.dhidden), step->row, s.gates());
      const BackwardStep<T> a{.count = step->count,
                              .hidden = hidden,
                              .gates = at(reserve.gates, step->row, s.gates()),
                              .kept = at(reserve.kept, step->row, hidden),
                              .before = at(reserve.before, step->row, hidden),
                              .dy = at(static_cast<const T*>(args.dy), step->row, hidden),
                              .dgates = at(static_cast<T*>(args.dgates), step->row, s.gates()),
                              .dhidden = dhidden,
                              .dh = dh,
                              .dc = dc};
      TENREC_LAUNCH((recurrent_gates_grad<Cell, T>), grid_for(step->count * hidden), kThreads, 0, stream(), a);
      if (!args.initial && step + 1 == steps.rend()) continue;
      multiply_rows(s.dtype, step->count, hidden, s.gates(), false, dhidden, args.w_hh, dh, Cell::kStraight);
    }
  });
  TENREC_LAUNCH_CHECK();
}

}  // namespace tenrec::kernels
