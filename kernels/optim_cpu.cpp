// Floor: AdamW reads parameter, gradient, mean and variance and writes three of them, 28 bytes an element in f32; it is
// bound by memory, so everything is done while an element is in a register.
#include <algorithm>
#include <cmath>

#include "tenrec/core/error.h"
#include "tenrec/core/parallel.h"
#include "tenrec/kernels/optim.h"
#include "tenrec/kernels/pack.h"

namespace tenrec::kernels {
namespace {

constexpr int64_t kChunk = 16384, kLine = 16;

// Parameters as S in memory, arithmetic and state in T; f32 and f64 go by packs.
template <class S, class T, int kStates, class Update>
void update_range(const OptimTensor& t, int64_t begin, int64_t end, const Update& update) {
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
      update(P::load(p + i), P::load(g + i), s).store(p + i);
      for (int k = 0; k < kStates; ++k) s[k].store(state[k] + i);
    }
  }
  for (; i < end; ++i) {
    T s[3] = {};
    for (int k = 0; k < kStates; ++k) s[k] = state[k][i];
    p[i] = S(update(T(p[i]), T(g[i]), s));
    for (int k = 0; k < kStates; ++k) state[k][i] = s[k];
  }
}

template <int kStates, class Update>
void run(DType dtype, std::span<const OptimTensor> tensors, const Update& update) {
  const auto range = [&](const OptimTensor& t, int64_t begin, int64_t end) {
    switch (dtype) {
      case f64:
        return update_range<double, double, kStates>(t, begin, end, update);
      case f32:
        return update_range<float, float, kStates>(t, begin, end, update);
      case bf16:
        return update_range<bfloat16, float, kStates>(t, begin, end, update);
      case f16:
        return update_range<float16, float, kStates>(t, begin, end, update);
      default:
        fail<DTypeError>("optimizer: parameters must be floating, got ", dtype);
    }
  };
  int64_t total = 0;
  for (const OptimTensor& t : tensors) total += t.numel;
  // A chunk is the same part of every tensor: a thread then updates the rows of a weight that it multiplies by.
  const int64_t chunks = std::clamp<int64_t>(total / kChunk, 1, 64);
  parallel_for(chunks, 1, [&](int64_t chunk, int64_t) {
    const auto bound = [&](const OptimTensor& t, int64_t c) {
      return c == chunks ? t.numel : t.numel / kLine * c / chunks * kLine;
    };
    for (const OptimTensor& t : tensors) range(t, bound(t, chunk), bound(t, chunk + 1));
  });
}

template <class P>
TENREC_INLINE P number(double v) {
  return P(ElementOf<P>(v));
}

}  // namespace

void sgd_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const SgdStep& s) {
  const bool decay = s.weight_decay != 0;
  if (s.momentum == 0) {
    run<0>(dtype, tensors, [=]<class P>(P p, P g, P*) [[gnu::always_inline]] {
      if (decay) g = g + number<P>(s.weight_decay) * p;
      return p - number<P>(s.lr) * g;
    });
    return;
  }
  run<1>(dtype, tensors, [=]<class P>(P p, P g, P* state) [[gnu::always_inline]] {
    if (decay) g = g + number<P>(s.weight_decay) * p;
    P& buffer = state[0];
    buffer = s.first ? g : number<P>(s.momentum) * buffer + number<P>(1 - s.dampening) * g;
    g = s.nesterov ? g + number<P>(s.momentum) * buffer : buffer;
    return p - number<P>(s.lr) * g;
  });
}

void adam_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const AdamStep& s) {
  const double step = s.lr / s.bias_correction1, root = 1 / std::sqrt(s.bias_correction2);
  const double keep = s.decoupled ? 1 - s.lr * s.weight_decay : 1;
  const double decay = s.decoupled ? 0 : s.weight_decay;
  run<2>(dtype, tensors, [=]<class P>(P p, P g, P* state) [[gnu::always_inline]] {
    if (decay != 0) g = g + number<P>(decay) * p;
    P& mean = state[0];
    P& square = state[1];
    mean = fma(g - mean, number<P>(1 - s.beta1), mean);
    square = fma(g * g, number<P>(1 - s.beta2), number<P>(s.beta2) * square);
    const P denominator = fma(sqrt(square), number<P>(root), number<P>(s.eps));
    return p * number<P>(keep) - number<P>(step) * (mean / denominator);
  });
}

void rmsprop_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const RmspropStep& s) {
  run<3>(dtype, tensors, [=]<class P>(P p, P g, P* state) [[gnu::always_inline]] {
    if (s.weight_decay != 0) g = g + number<P>(s.weight_decay) * p;
    P& square = state[0];
    square = number<P>(s.alpha) * square + number<P>(1 - s.alpha) * (g * g);
    P variance = square;
    if (s.centered) {
      P& mean = state[2];
      mean = mean + number<P>(1 - s.alpha) * (g - mean);
      variance = square - mean * mean;
    }
    P update = g / (sqrt(variance) + number<P>(s.eps));
    if (s.momentum > 0) {
      P& buffer = state[1];
      buffer = number<P>(s.momentum) * buffer + update;
      update = buffer;
    }
    return p - number<P>(s.lr) * update;
  });
}

void adagrad_step(Cpu, DType dtype, std::span<const OptimTensor> tensors, const AdagradStep& s) {
  run<1>(dtype, tensors, [=]<class P>(P p, P g, P* state) [[gnu::always_inline]] {
    if (s.weight_decay != 0) g = g + number<P>(s.weight_decay) * p;
    P& sum = state[0];
    sum = sum + g * g;
    return p - number<P>(s.lr) * (g / (sqrt(sum) + number<P>(s.eps)));
  });
}

}  // namespace tenrec::kernels
