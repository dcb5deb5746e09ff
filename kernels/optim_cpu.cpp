// Floor: AdamW reads parameter, gradient, mean and variance and writes three of them, 28 bytes an element in f32; it is
// bound by memory, so everything is done while an element is in a register.
#include <algorithm>
#include <vector>

#include "tenrec/core/parallel.h"
#include "tenrec/kernels/optim_updates.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::kernels {
namespace {

constexpr int64_t kChunk = 16384, kLine = 16;

// Parameters as S in memory, arithmetic and state in T; f32 and f64 go by packs. The update is a copy, whose numbers
// stay in registers: nothing that is stored can be them.
template <class S, class T, class Update>
void update_range(const OptimTensor& t, int64_t begin, int64_t end, const Update update) {
  constexpr int kStates = Update::kStates;
  S* p = static_cast<S*>(t.param);
  const S* g = static_cast<const S*>(t.grad);
  T* state[3] = {static_cast<T*>(t.state[0]), static_cast<T*>(t.state[1]), static_cast<T*>(t.state[2])};
  int64_t i = begin;
  if constexpr (std::is_same_v<S, T>) {
    using P = NativePack<T>;
    constexpr int64_t lanes = kLanes<T>;
    P s[3] = {P(T(0)), P(T(0)), P(T(0))};
    for (; i + lanes <= end; i += lanes) {
      for (int k = 0; k < kStates; ++k) s[k] = P::load(state[k] + i);
      P before(T(0));
      if constexpr (Update::kReadsParam) before = P::load(p + i);
      const P after = update(before, P::load(g + i), s);
      if constexpr (Update::kWritesParam) after.store(p + i);
      if constexpr (Update::kWritesState)
        for (int k = 0; k < kStates; ++k) s[k].store(state[k] + i);
    }
  }
  for (; i < end; ++i) {
    T s[3] = {};
    for (int k = 0; k < kStates; ++k) s[k] = state[k][i];
    T before(0);
    if constexpr (Update::kReadsParam) before = T(p[i]);
    const T after = update(before, T(g[i]), s);
    if constexpr (Update::kWritesParam) p[i] = S(after);
    if constexpr (Update::kWritesState)
      for (int k = 0; k < kStates; ++k) state[k][i] = s[k];
  }
}

// f with a zero of the parameters' type and one of the type of arithmetic.
template <class F>
void visit_types(DType dtype, F&& f) {
  visit_floating("optimizer", dtype, [&](auto zero) {
    using S = decltype(zero);
    f(zero, std::conditional_t<std::is_same_v<S, double>, double, float>(0));
  });
}

// Update is a template over the type of arithmetic, made from the step's numbers.
template <template <class> class Update, class Step>
void run(DType dtype, std::span<const OptimTensor> tensors, const Step& step) {
  int64_t total = 0;
  for (const OptimTensor& t : tensors) total += t.numel;
  // A chunk is the same part of every tensor: a thread then updates the rows of a weight that it multiplies by.
  const int64_t chunks = std::clamp<int64_t>(total / kChunk, 1, 64);
  const auto bound = [&](const OptimTensor& t, int64_t c) {
    return c == chunks ? t.numel : t.numel / kLine * c / chunks * kLine;
  };
  visit_types(dtype, [&]<class S, class T>(S, T) {
    const Update<T> update(step);
    parallel_for(chunks, 1, [&](int64_t chunk, int64_t) {
      for (const OptimTensor& t : tensors) update_range<S, T>(t, bound(t, chunk), bound(t, chunk + 1), update);
    });
  });
}

// --- LAMB -----------------------------------------------------------------------------------------------------------

struct Squares {
  double param = 0, direction = 0;
};
struct Piece {
  size_t tensor;
  int64_t begin, end;
};

std::vector<Piece> cut(std::span<const OptimTensor> tensors) {
  std::vector<Piece> pieces;
  for (size_t t = 0; t < tensors.size(); ++t)
    for (int64_t begin = 0; begin < tensors[t].numel; begin += kChunk)
      pieces.push_back({t, begin, std::min(begin + kChunk, tensors[t].numel)});
  return pieces;
}

// Moves the moments of at most 512 elements, and adds squares up in lanes that depend on their place alone.
template <class S, class T>
Squares lamb_leaf(const OptimTensor& t, int64_t begin, int64_t end, const LambDirection<T>& direction) {
  constexpr int kWidth = kLanes<T>;
  using P = NativePack<T>;
  const S* param = static_cast<const S*>(t.param);
  const S* grad = static_cast<const S*>(t.grad);
  T* mean = static_cast<T*>(t.state[0]);
  T* square = static_cast<T*>(t.state[1]);
  T params[kWidth] = {}, directions[kWidth] = {};
  int64_t i = begin;
  if constexpr (std::is_same_v<S, T>) {
    P params_pack(T(0)), directions_pack(T(0));
    for (; i + kWidth <= end; i += kWidth) {
      const P p = P::load(param + i);
      P m = P::load(mean + i), v = P::load(square + i);
      direction.moments.add(p, P::load(grad + i), m, v);
      m.store(mean + i);
      v.store(square + i);
      const P r = direction(p, m, v);
      params_pack = fma(p, p, params_pack);
      directions_pack = fma(r, r, directions_pack);
    }
    params_pack.store(params);
    directions_pack.store(directions);
  }
  for (; i < end; ++i) {
    const T p = T(param[i]);
    direction.moments.add(p, T(grad[i]), mean[i], square[i]);
    const T r = direction(p, mean[i], square[i]);
    const auto lane = size_t(i - begin) % kWidth;
    params[lane] = fma(p, p, params[lane]);
    directions[lane] = fma(r, r, directions[lane]);
  }
  const auto sum = [](const T* lanes) {
    return double(reduce_lanes(P::load(lanes), [](auto a, auto b) { return a + b; }));
  };
  return {sum(params), sum(directions)};
}

template <class S, class T>
void lamb(std::span<const OptimTensor> tensors, const LambStep& s) {
  constexpr int64_t kLeaf = 512;
  const LambDirection<T> direction(s);
  const std::vector<Piece> pieces = cut(tensors);
  std::vector<Squares> parts(pieces.size()), whole(tensors.size());
  parallel_for(int64_t(pieces.size()), 1, [&](int64_t k, int64_t) {
    const Piece& piece = pieces[size_t(k)];
    Squares all;
    for (int64_t at = piece.begin; at < piece.end; at += kLeaf) {
      const Squares leaf = lamb_leaf<S, T>(tensors[piece.tensor], at, std::min(at + kLeaf, piece.end), direction);
      all.param += leaf.param;
      all.direction += leaf.direction;
    }
    parts[size_t(k)] = all;
  });
  for (size_t k = 0; k < pieces.size(); ++k) {
    whole[pieces[k].tensor].param += parts[k].param;
    whole[pieces[k].tensor].direction += parts[k].direction;
  }
  const LambRatio ratio(s);
  parallel_for(int64_t(pieces.size()), 1, [&](int64_t k, int64_t) {
    const Piece& piece = pieces[size_t(k)];
    const Squares& squares = whole[piece.tensor];
    update_range<S, T>(tensors[piece.tensor], piece.begin, piece.end,
                       LambUpdate<T>(direction, ratio(squares.param, squares.direction)));
  });
}

}  // namespace

void sgd_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const SgdStep& s) {
  if (s.momentum == 0)
    run<SgdUpdate>(dtype, tensors, s);
  else
    run<SgdMomentumUpdate>(dtype, tensors, s);
}
void adam_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const AdamStep& s) {
  if (s.amsgrad)
    run<AmsgradUpdate>(dtype, tensors, s);
  else
    run<AdamUpdate>(dtype, tensors, s);
}
void rmsprop_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const RmspropStep& s) {
  run<RmspropUpdate>(dtype, tensors, s);
}
void adagrad_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const AdagradStep& s) {
  run<AdagradUpdate>(dtype, tensors, s);
}
void nadam_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const NadamStep& s) {
  run<NadamUpdate>(dtype, tensors, s);
}
void radam_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const RadamStep& s) {
  run<RadamUpdate>(dtype, tensors, s);
}
void adamax_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const AdamaxStep& s) {
  run<AdamaxUpdate>(dtype, tensors, s);
}
void adadelta_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const AdadeltaStep& s) {
  run<AdadeltaUpdate>(dtype, tensors, s);
}
void rprop_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const RpropStep& s) {
  run<RpropUpdate>(dtype, tensors, s);
}
void lion_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const LionStep& s) {
  run<LionUpdate>(dtype, tensors, s);
}
void lamb_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const LambStep& s) {
  visit_types(dtype, [&]<class S, class T>(S, T) { lamb<S, T>(tensors, s); });
}
void muon_momentum(Cpu, DType dtype, std::span<const OptimTensor> tensors, const MuonStep& s) {
  run<MuonUpdate>(dtype, tensors, s);
}
void descent_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const DescentStep& s) {
  run<DescentUpdate>(dtype, tensors, s);
}
void average_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const AverageStep& s) {
  run<AverageUpdate>(dtype, tensors, s);
}

}  // namespace tenrec::kernels
