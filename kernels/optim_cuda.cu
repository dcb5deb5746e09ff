// Optimizer updates: up to 64 tensors a launch, a block for each 4096 elements of one.
//
// Floor: bytes. AdamW in f32 reads parameter, gradient, mean and variance and writes three of them, 28 bytes an
// element. Models have many small tensors, whose launches would cost more than their updates: so pointers and sizes
// travel as the kernel's parameter, and a block finds its tensor by its number. Aligned tensors go by 16 bytes. The
// arithmetic is that of kernels/optim_cpu.cpp, operation by operation.
#include "tenrec/core/cuda/step_state.h"
#include "tenrec/kernels/cuda/launch.h"
#include "tenrec/kernels/optim.h"
#include "tenrec/kernels/pack.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::cuda {
namespace {

constexpr int kMostTensors = 64;
constexpr int64_t kChunk = 4096;

struct Batch {
  kernels::OptimTensor tensors[kMostTensors];
  int64_t first[kMostTensors + 1];  // block of each tensor, and of the end
  uint64_t aligned = 0;             // bit i: everything of tensor i lies at multiples of 16 bytes
  int count = 0;
};
static_assert(sizeof(Batch) <= 3800, "kernel parameters have 4 KB");

__device__ inline int tensor_of(const Batch& batch, int64_t block) {
  int low = 0, high = batch.count;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (batch.first[middle] <= block ? low : high) = middle;
  }
  return low;
}

// Parameters as S in memory, arithmetic and state in T. State that an update has no use for may be null.
template <class S, class T, int kStates, class Update>
struct Elements {
  // What one thread does at a time.
  static constexpr int kPack = Pack16<S>::kCount;
  struct alignas(16) StatePack {
    T values[kPack];
  };

  S* param;
  const S* grad;
  T* state[3];

  __device__ explicit Elements(const kernels::OptimTensor& t)
      : param(static_cast<S*>(t.param)),
        grad(static_cast<const S*>(t.grad)),
        state{static_cast<T*>(t.state[0]), static_cast<T*>(t.state[1]), static_cast<T*>(t.state[2])} {}

  __device__ void one(int64_t i, const Update& update) const {
    T s[3] = {};
    for (int k = 0; k < kStates; ++k)
      if (state[k]) s[k] = state[k][i];
    param[i] = S(update(T(param[i]), T(grad[i]), s));
    for (int k = 0; k < kStates; ++k)
      if (state[k]) state[k][i] = s[k];
  }
  __device__ void pack(int64_t i, const Update& update) const {
    Pack16<S> p = load16(param + i);
    const Pack16<S> g = load16(grad + i);
    StatePack states[3] = {};
    for (int k = 0; k < kStates; ++k)
      if (state[k]) states[k] = *reinterpret_cast<const StatePack*>(state[k] + i);
    for (int j = 0; j < kPack; ++j) {
      T s[3] = {states[0].values[j], states[1].values[j], states[2].values[j]};
      p.values[j] = S(update(T(p.values[j]), T(g.values[j]), s));
      for (int k = 0; k < kStates; ++k) states[k].values[j] = s[k];
    }
    store16(param + i, p);
    for (int k = 0; k < kStates; ++k)
      if (state[k]) *reinterpret_cast<StatePack*>(state[k] + i) = states[k];
  }
};

template <class S, class T, int kStates, class Update>
__global__ void __launch_bounds__(kThreads) update_tensors(Batch batch, typename Changing<Update>::Argument argument) {
  using Range = Elements<S, T, kStates, Update>;
  const Update update = argument.get();
  const int t = tensor_of(batch, blockIdx.x);
  const int64_t numel = batch.tensors[t].numel, begin = (int64_t(blockIdx.x) - batch.first[t]) * kChunk;
  const int64_t end = begin + kChunk < numel ? begin + kChunk : numel;
  const Range range(batch.tensors[t]);
  int64_t rest = begin;
  if (batch.aligned >> t & 1) {
    rest = end - (end - begin) % Range::kPack;
    for (int64_t i = begin + int64_t(threadIdx.x) * Range::kPack; i < rest; i += int64_t(blockDim.x) * Range::kPack)
      range.pack(i, update);
  }
  for (int64_t i = rest + threadIdx.x; i < end; i += blockDim.x) range.one(i, update);
}

bool is_aligned(const kernels::OptimTensor& t) {
  uintptr_t all = reinterpret_cast<uintptr_t>(t.param) | reinterpret_cast<uintptr_t>(t.grad);
  for (const void* state : t.state) all |= reinterpret_cast<uintptr_t>(state);
  return all % 16 == 0;
}

template <class S, class T, int kStates, class Update>
void launch(const Batch& batch, int64_t largest, const Update& update) {
  if (batch.count == 0) return;
  const Changing<Update> changing(update);  // a captured step has other numbers at each replay
  if (!changing.launches()) return;
  const int64_t packs = kernels::ceil_div(std::min(largest, kChunk), Pack16<S>::kCount);
  const auto threads = unsigned(std::clamp<int64_t>(kernels::round_up(packs, kWarp), kWarp, kThreads));
  TENREC_LAUNCH((update_tensors<S, T, kStates, Update>), unsigned(batch.first[batch.count]), threads, 0, stream(),
                batch, changing.argument());
  TENREC_LAUNCH_CHECK();
}

template <class S, class T, int kStates, class Update>
void run_batches(std::span<const kernels::OptimTensor> tensors, const Update& update) {
  constexpr int64_t kMostBlocks = INT32_MAX;
  Batch batch;
  int64_t largest = 0;
  batch.first[0] = 0;
  for (const kernels::OptimTensor& t : tensors) {
    if (t.numel == 0) continue;
    const int64_t blocks = kernels::ceil_div(t.numel, kChunk);
    if (batch.count == kMostTensors || batch.first[batch.count] + blocks > kMostBlocks) {
      launch<S, T, kStates>(batch, largest, update);
      batch.aligned = 0;
      batch.count = 0;
      largest = 0;
    }
    batch.tensors[batch.count] = t;
    batch.aligned |= uint64_t(is_aligned(t)) << batch.count;
    batch.first[batch.count + 1] = batch.first[batch.count] + blocks;
    ++batch.count;
    largest = std::max(largest, t.numel);
  }
  launch<S, T, kStates>(batch, largest, update);
}

// Update is a template over the type of arithmetic, made from the step's numbers.
template <int kStates, template <class> class Update, class Step>
void run(DType dtype, std::span<const kernels::OptimTensor> tensors, const Step& step) {
  kernels::visit_floating("optimizer", dtype, [&](auto zero) {
    using S = decltype(zero);
    using T = std::conditional_t<std::is_same_v<S, double>, double, float>;
    run_batches<S, T, kStates>(tensors, Update<T>(step));
  });
}

// --- the updates ----------------------------------------------------------------------------------------------------

template <class T>
struct Sgd {
  T lr, weight_decay;
  bool decay;
  explicit Sgd(const kernels::SgdStep& s) : lr(T(s.lr)), weight_decay(T(s.weight_decay)), decay(s.weight_decay != 0) {}
  __device__ T operator()(T p, T g, T*) const {
    if (decay) g = g + weight_decay * p;
    return p - lr * g;
  }
};

template <class T>
struct SgdMomentum {
  T lr, weight_decay, momentum, taken;
  bool decay, nesterov, first;
  explicit SgdMomentum(const kernels::SgdStep& s)
      : lr(T(s.lr)),
        weight_decay(T(s.weight_decay)),
        momentum(T(s.momentum)),
        taken(T(1 - s.dampening)),
        decay(s.weight_decay != 0),
        nesterov(s.nesterov),
        first(s.first) {}
  __device__ T operator()(T p, T g, T* state) const {
    if (decay) g = g + weight_decay * p;
    T& buffer = state[0];
    buffer = first ? g : momentum * buffer + taken * g;
    g = nesterov ? g + momentum * buffer : buffer;
    return p - lr * g;
  }
};

template <class T>
struct Adam {
  T step, root, keep, weight_decay, beta2, mean_share, square_share, eps;
  bool decay;
  explicit Adam(const kernels::AdamStep& s)
      : step(T(s.lr / s.bias_correction1)),
        root(T(1 / kernels::sqrt(s.bias_correction2))),
        keep(T(s.decoupled ? 1 - s.lr * s.weight_decay : 1)),
        weight_decay(T(s.weight_decay)),
        beta2(T(s.beta2)),
        mean_share(T(1 - s.beta1)),
        square_share(T(1 - s.beta2)),
        eps(T(s.eps)),
        decay(!s.decoupled && s.weight_decay != 0) {}
  __device__ T operator()(T p, T g, T* state) const {
    if (decay) g = g + weight_decay * p;
    T& mean = state[0];
    T& square = state[1];
    mean = kernels::fma(g - mean, mean_share, mean);
    square = kernels::fma(g * g, square_share, beta2 * square);
    const T denominator = kernels::fma(kernels::sqrt(square), root, eps);
    return p * keep - step * (mean / denominator);
  }
};

template <class T>
struct Rmsprop {
  T lr, weight_decay, alpha, share, eps, momentum;
  bool decay, centered, moving;
  explicit Rmsprop(const kernels::RmspropStep& s)
      : lr(T(s.lr)),
        weight_decay(T(s.weight_decay)),
        alpha(T(s.alpha)),
        share(T(1 - s.alpha)),
        eps(T(s.eps)),
        momentum(T(s.momentum)),
        decay(s.weight_decay != 0),
        centered(s.centered),
        moving(s.momentum > 0) {}
  __device__ T operator()(T p, T g, T* state) const {
    if (decay) g = g + weight_decay * p;
    T& square = state[0];
    square = alpha * square + share * (g * g);
    T variance = square;
    if (centered) {
      T& mean = state[2];
      mean = mean + share * (g - mean);
      variance = square - mean * mean;
    }
    T update = g / (kernels::sqrt(variance) + eps);
    if (moving) {
      T& buffer = state[1];
      buffer = momentum * buffer + update;
      update = buffer;
    }
    return p - lr * update;
  }
};

template <class T>
struct Adagrad {
  T lr, weight_decay, eps;
  bool decay;
  explicit Adagrad(const kernels::AdagradStep& s)
      : lr(T(s.lr)), weight_decay(T(s.weight_decay)), eps(T(s.eps)), decay(s.weight_decay != 0) {}
  __device__ T operator()(T p, T g, T* state) const {
    if (decay) g = g + weight_decay * p;
    T& sum = state[0];
    sum = sum + g * g;
    return p - lr * (g / (kernels::sqrt(sum) + eps));
  }
};

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

void sgd_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const SgdStep& s) {
  if (s.momentum == 0)
    run<0, Sgd>(dtype, tensors, s);
  else
    run<1, SgdMomentum>(dtype, tensors, s);
}
void adam_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const AdamStep& s) {
  run<2, Adam>(dtype, tensors, s);
}
void rmsprop_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const RmspropStep& s) {
  run<3, Rmsprop>(dtype, tensors, s);
}
void adagrad_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const AdagradStep& s) {
  run<1, Adagrad>(dtype, tensors, s);
}

}  // namespace tenrec::kernels
