// A step of the forward loop is one parallel loop over the hidden units: a chunk multiplies the state by its units'
// rows of W_hh and puts the gates of these units on the sums while they are in the cache. The chunk's part of W_hh lies
// packed for all steps, and a thread keeps its chunks. The states of all units are needed by the next step: that is the
// only place where the threads meet. Backward likewise: a chunk first makes its columns of dgates W_hh of the step
// behind, then its units' dgates of this one.
#include "tenrec/core/parallel.h"
#include "tenrec/kernels/gemm.h"
#include "tenrec/kernels/gemm_plan.h"
#include "tenrec/kernels/recurrent_cells.h"
#include "tenrec/kernels/scratch.h"
#include "tenrec/kernels/tiles.h"
#include "tenrec/kernels/transpose.h"

namespace tenrec::kernels {

int64_t RecurrentShape::rows() const {
  int64_t sum = 0;
  for (const int64_t count : batch_sizes) sum += count;
  return sum;
}

std::vector<RecurrentStep> recurrent_steps(const RecurrentShape& s) {
  std::vector<RecurrentStep> steps;
  int64_t row = 0;
  for (const int64_t count : s.batch_sizes) {
    steps.push_back({row, count, 0});
    row += count;
  }
  if (s.reverse) std::reverse(steps.begin(), steps.end());
  for (size_t i = 0; i + 1 < steps.size(); ++i) steps[i].next_count = steps[i + 1].count;
  return steps;
}

namespace {

constexpr int64_t kPackFrom = 3;  // steps from which packing W_hh pays

// Units of a chunk: whole vectors, and long enough against the start of a loop.
int64_t units_of(const RecurrentShape& s) {
  constexpr int64_t kChunkWork = 1 << 19, kMostChunks = 16, kFewest = 32, kUnit = 16;
  const int64_t chunks = std::clamp<int64_t>(s.batch() * s.gates() * s.hidden / kChunkWork, 1, kMostChunks);
  return std::min(s.hidden, std::max(kFewest, round_up(ceil_div(s.hidden, chunks), kUnit)));
}

// The distance of rows that do not push each other out of the cache.
template <class T>
int64_t row_stride(int64_t n) {
  constexpr int64_t kVector = 64 / int64_t(sizeof(T));
  n = round_up(n, kVector);
  return bad_stride<T>(n) ? n + kVector : n;
}

// f(u, load, store) for the packs of [begin, end).
template <class T, class F>
TENREC_INLINE void for_packs(int64_t begin, int64_t end, const F& f) {
  using P = NativePack<T>;
  int64_t u = begin;
  for (; u + P::kSize <= end; u += P::kSize)
    f(
        u, [](const T* from) { return P::load(from); }, [](T* to, P x) { x.store(to); });
  const int rest = int(end - u);
  if (rest > 0)
    f(
        u, [rest](const T* from) { return P::load_partial(from, rest); },
        [rest](T* to, P x) { x.store_partial(to, rest); });
}

template <class Cell, class T>
class Forward {
  using P = NativePack<T>;
  static constexpr int kGates = Cell::kGates;

 public:
  Forward(const RecurrentShape& s, const RecurrentForward& args)
      : s_(s),
        args_(args),
        reserve_(args.reserve, s, args.keep),
        w_(static_cast<const T*>(args.w_hh)),
        h_(static_cast<T*>(args.h)),
        units_(units_of(s)),
        state_stride_(row_stride<T>(s.hidden)),
        block_stride_(row_stride<T>(kGates * units_)) {}

  void run() {
    Scratch scratch;
    const int64_t size = s_.batch() * state_stride_;
    T *now = scratch.get<T>(size), *next = scratch.get<T>(size);
    for (int64_t k = 0; k < s_.batch(); ++k)
      for (T* state : {now, next}) std::copy_n(h_ + k * s_.hidden, s_.hidden, state + k * state_stride_);
    if (s_.steps() >= kPackFrom) {
      blocks_ = scratch.get<T>(ceil_div(s_.hidden, units_) * block_size());
      parallel_for(s_.hidden, units_, [&](int64_t begin, int64_t end) { pack(begin, end); });
    }
    for (const RecurrentStep& step : recurrent_steps(s_)) {
      parallel_for(s_.hidden, units_, [&](int64_t begin, int64_t end) {
        Scratch local;
        T* sums = local.get<T>(step.count * kGates * (end - begin));
        multiply(step, begin, end, now, sums);
        for (int64_t k = 0; k < step.count; ++k)
          put_gates(step, k, begin, end, now + k * state_stride_, sums + k * kGates * (end - begin),
                    next + k * state_stride_);
      });
      std::swap(now, next);
    }
  }

 private:
  int64_t block_size() const { return s_.hidden * block_stride_; }
  T* block(int64_t begin) const { return blocks_ + begin / units_ * block_size(); }

  // The rows of W_hh that belong to units [begin, end), turned, gate beside gate.
  void pack(int64_t begin, int64_t end) const {
    for (int64_t g = 0; g < kGates; ++g)
      transpose_matrix(w_ + (g * s_.hidden + begin) * s_.hidden, s_.hidden, end - begin, s_.hidden,
                       block(begin) + g * (end - begin), block_stride_);
  }

  // sums [count, gate, unit] = state W_hh^T for units [begin, end).
  void multiply(const RecurrentStep& step, int64_t begin, int64_t end, const T* state, T* sums) const {
    const int64_t n = end - begin;
    GemmShape shape{.m = step.count, .n = kGates * n, .k = s_.hidden, .lda = state_stride_, .ldc = kGates * n};
    if (blocks_) {
      shape.ldb = block_stride_;
      return gemm(Cpu{}, s_.dtype, shape, state, block(begin), sums);
    }
    shape.trans_b = true;
    shape.n = n;
    shape.ldb = s_.hidden;
    for (int64_t g = 0; g < kGates; ++g)
      gemm(Cpu{}, s_.dtype, shape, state, w_ + (g * s_.hidden + begin) * s_.hidden, sums + g * n);
  }

  void put_gates(const RecurrentStep& step, int64_t k, int64_t begin, int64_t end, const T* state, const T* sums,
                 T* next) const {
    const int64_t row = step.row + k, hidden = s_.hidden;
    T *gates = reserve_.gates + row * kGates * hidden, *y = static_cast<T*>(args_.y) + row * hidden;
    T* kept = reserve_.kept ? reserve_.kept + row * hidden : nullptr;
    T* before = reserve_.before ? reserve_.before + row * hidden : nullptr;
    T* cell = Cell::kHasCell ? static_cast<T*>(args_.c) + k * hidden : nullptr;
    T* last = k >= step.next_count ? h_ + k * hidden : nullptr;
    const T* bias_n = static_cast<const T*>(args_.bias_n);
    for_packs<T>(begin, end, [&](int64_t u, const auto& load, const auto& store) {
      P x[kGates], s[kGates], c(T(0)), more = bias_n ? load(bias_n + u) : P(T(0));
      for (int g = 0; g < kGates; ++g) {
        x[g] = load(gates + g * hidden + u);
        s[g] = load(sums + g * (end - begin) + u - begin);
      }
      if constexpr (Cell::kHasCell) c = load(cell + u);
      const P h = load(state + u), out = Cell::forward(x, s, h, c, more);
      store(y + u, out);
      store(next + u, out);
      if (last) store(last + u, out);
      if constexpr (Cell::kHasCell) store(cell + u, c);
      if (!before) return;
      store(before + u, h);
      if constexpr (Cell::kKeepsMore) store(kept + u, more);
      for (int g = 0; g < kGates; ++g) store(gates + g * hidden + u, x[g]);
    });
  }

  const RecurrentShape& s_;
  const RecurrentForward& args_;
  const Reserve<T> reserve_;
  const T* w_;
  T* h_;
  T* blocks_ = nullptr;  // null: W_hh where it is
  int64_t units_, state_stride_, block_stride_;
};

template <class Cell, class T>
class Backward {
  using P = NativePack<T>;
  static constexpr int kGates = Cell::kGates;

 public:
  Backward(const RecurrentShape& s, const RecurrentBackward& args)
      : s_(s),
        args_(args),
        reserve_(const_cast<void*>(args.reserve), s, true),
        w_(static_cast<const T*>(args.w_hh)),
        dh_(static_cast<T*>(args.dh)),
        units_(units_of(s)),
        grad_stride_(row_stride<T>(s.gates())),
        block_stride_(row_stride<T>(units_)) {}

  void run() {
    Scratch scratch;
    const int64_t size = s_.batch() * grad_stride_;
    T *now = scratch.get<T>(size), *behind = scratch.get<T>(size);
    if (s_.steps() >= kPackFrom) {
      blocks_ = scratch.get<T>(ceil_div(s_.hidden, units_) * block_size());
      parallel_for(s_.hidden, units_, [&](int64_t begin, int64_t end) { pack(begin, end); });
    }
    const std::vector<RecurrentStep> steps = recurrent_steps(s_);
    for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
      parallel_for(s_.hidden, units_, [&](int64_t begin, int64_t end) {
        if (step != steps.rbegin()) multiply(step[-1], begin, end, behind);
        for (int64_t k = 0; k < step->count; ++k) put_gates(*step, k, begin, end, now + k * grad_stride_);
      });
      std::swap(now, behind);
    }
    if (steps.empty() || !args_.initial) return;
    parallel_for(s_.hidden, units_, [&](int64_t begin, int64_t end) { multiply(steps.front(), begin, end, behind); });
  }

 private:
  int64_t block_size() const { return s_.gates() * block_stride_; }
  T* block(int64_t begin) const { return blocks_ + begin / units_ * block_size(); }

  // Columns [begin, end) of W_hh.
  void pack(int64_t begin, int64_t end) const {
    for (int64_t i = 0; i < s_.gates(); ++i)
      std::copy_n(w_ + i * s_.hidden + begin, end - begin, block(begin) + i * block_stride_);
  }

  // dh of the step before: columns [begin, end) of dgates W_hh.
  void multiply(const RecurrentStep& step, int64_t begin, int64_t end, const T* grads) const {
    const GemmShape shape{.m = step.count,
                          .n = end - begin,
                          .k = s_.gates(),
                          .lda = grad_stride_,
                          .ldb = blocks_ ? block_stride_ : s_.hidden,
                          .ldc = s_.hidden};
    gemm(Cpu{}, s_.dtype, shape, grads, blocks_ ? block(begin) : w_ + begin, dh_ + begin,
         {.accumulate = Cell::kStraight});
  }

  void put_gates(const RecurrentStep& step, int64_t k, int64_t begin, int64_t end, T* now) const {
    const int64_t row = step.row + k, hidden = s_.hidden, at = row * kGates * hidden;
    const T *gates = reserve_.gates + at, *before = reserve_.before + row * hidden;
    const T* kept = reserve_.kept ? reserve_.kept + row * hidden : nullptr;
    const T* dy = args_.dy ? static_cast<const T*>(args_.dy) + row * hidden : nullptr;
    T *dgates = static_cast<T*>(args_.dgates) + at, *dhidden = static_cast<T*>(args_.dhidden) + at;
    T *dh = dh_ + k * hidden, *dc = Cell::kHasCell ? static_cast<T*>(args_.dc) + k * hidden : nullptr;
    for_packs<T>(begin, end, [&](int64_t u, const auto& load, const auto& store) {
      P x[kGates], s[kGates], more(T(0)), dcell(T(0)), grad = load(dh + u);
      for (int g = 0; g < kGates; ++g) x[g] = load(gates + g * hidden + u);
      if constexpr (Cell::kKeepsMore) more = load(kept + u);
      if constexpr (Cell::kHasCell) dcell = load(dc + u);
      if (dy) grad += load(dy + u);
      const P straight = Cell::backward(x, more, load(before + u), grad, dcell, s);
      for (int g = 0; g < kGates; ++g) {
        store(dgates + g * hidden + u, x[g]);
        store(now + g * hidden + u, s[g]);
        if constexpr (Cell::kTwoGradients) store(dhidden + g * hidden + u, s[g]);
      }
      if constexpr (Cell::kHasCell) store(dc + u, dcell);
      if constexpr (Cell::kStraight) store(dh + u, straight);
    });
  }

  const RecurrentShape& s_;
  const RecurrentBackward& args_;
  const Reserve<T> reserve_;
  const T* w_;
  T* dh_;
  T* blocks_ = nullptr;
  int64_t units_, grad_stride_, block_stride_;
};

}  // namespace

void recurrent_forward(Cpu, const RecurrentShape& shape, const RecurrentForward& args) {
  visit_cell(shape, [&](auto cell, auto zero) { Forward<decltype(cell), decltype(zero)>(shape, args).run(); });
}

void recurrent_backward(Cpu, const RecurrentShape& shape, const RecurrentBackward& args) {
  visit_cell(shape, [&](auto cell, auto zero) { Backward<decltype(cell), decltype(zero)>(shape, args).run(); });
}

}  // namespace tenrec::kernels
