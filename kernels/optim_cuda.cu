// Optimizer updates: up to 64 tensors a launch, a block for each 4096 elements of one.
//
// Floor: bytes. AdamW in f32 reads parameter, gradient, mean and variance and writes three of them, 28 bytes an
// element. Models have many small tensors, whose launches would cost more than their updates: so pointers and sizes
// travel as the kernel's parameter, and a block finds its tensor by its number. Aligned tensors go by 16 bytes. The
// arithmetic is that of the CPU (kernels/optim_updates.h). LAMB goes over memory twice, because its second pass needs
// the norms of whole tensors: a double for each block, added up in a fixed order in between.
#include "tenrec/core/cuda/step_state.h"
#include "tenrec/kernels/cuda/launch.h"
#include "tenrec/kernels/optim_updates.h"
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
template <class S, class T, class Update>
struct Elements {
  static constexpr int kStates = Update::kStates;
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

  __device__ void one(int64_t i, Update& update) const {
    T s[3] = {};
    for (int k = 0; k < kStates; ++k)
      if (state[k]) s[k] = state[k][i];
    T before(0);
    if constexpr (Update::kReadsParam) before = T(param[i]);
    const T after = update(before, T(grad[i]), s);
    if constexpr (Update::kWritesParam) param[i] = S(after);
    if constexpr (Update::kWritesState)
      for (int k = 0; k < kStates; ++k)
        if (state[k]) state[k][i] = s[k];
  }
  __device__ void pack(int64_t i, Update& update) const {
    Pack16<S> p = {};
    if constexpr (Update::kReadsParam) p = load16(param + i);
    const Pack16<S> g = load16(grad + i);
    StatePack states[3] = {};
    for (int k = 0; k < kStates; ++k)
      if (state[k]) states[k] = *reinterpret_cast<const StatePack*>(state[k] + i);
    for (int j = 0; j < kPack; ++j) {
      T s[3] = {states[0].values[j], states[1].values[j], states[2].values[j]};
      p.values[j] = S(update(T(p.values[j]), T(g.values[j]), s));
      for (int k = 0; k < kStates; ++k) states[k].values[j] = s[k];
    }
    if constexpr (Update::kWritesParam) store16(param + i, p);
    if constexpr (Update::kWritesState)
      for (int k = 0; k < kStates; ++k)
        if (state[k]) *reinterpret_cast<StatePack*>(state[k] + i) = states[k];
  }
};

// The part of tensor t that is this block's.
template <class S, class T, class Update>
__device__ void update_block(const Batch& batch, int t, Update& update) {
  using Range = Elements<S, T, Update>;
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

template <class S, class T, class Update>
__global__ void __launch_bounds__(kThreads) update_tensors(Batch batch, typename Changing<Update>::Argument argument) {
  Update update = argument.get();
  update_block<S, T>(batch, tensor_of(batch, blockIdx.x), update);
}

bool is_aligned(const kernels::OptimTensor& t) {
  uintptr_t all = reinterpret_cast<uintptr_t>(t.param) | reinterpret_cast<uintptr_t>(t.grad);
  for (const void* state : t.state) all |= reinterpret_cast<uintptr_t>(state);
  return all % 16 == 0;
}

template <class S, class T, class Update>
void launch(const Batch& batch, int64_t largest, const Update& update) {
  const Changing<Update> changing(update);  // a captured step has other numbers at each replay
  if (!changing.launches()) return;
  const int64_t packs = kernels::ceil_div(std::min(largest, kChunk), Pack16<S>::kCount);
  const auto threads = unsigned(std::clamp<int64_t>(kernels::round_up(packs, kWarp), kWarp, kThreads));
  TENREC_LAUNCH((update_tensors<S, T, Update>), unsigned(batch.first[batch.count]), threads, 0, stream(), batch,
                changing.argument());
  TENREC_LAUNCH_CHECK();
}

// run(batch, largest) for batches that hold all tensors, with the number of elements of the largest one.
template <class Run>
void for_batches(std::span<const kernels::OptimTensor> tensors, const Run& run) {
  constexpr int64_t kMostBlocks = INT32_MAX;
  Batch batch;
  int64_t largest = 0;
  batch.first[0] = 0;
  for (const kernels::OptimTensor& t : tensors) {
    if (t.numel == 0) continue;
    const int64_t blocks = kernels::ceil_div(t.numel, kChunk);
    if (batch.count == kMostTensors || batch.first[batch.count] + blocks > kMostBlocks) {
      if (batch.count > 0) run(batch, largest);
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
  if (batch.count > 0) run(batch, largest);
}

// f with a zero of the parameters' type and one of the type of arithmetic.
template <class F>
void visit_types(DType dtype, F&& f) {
  kernels::visit_floating("optimizer", dtype, [&](auto zero) {
    using S = decltype(zero);
    f(zero, std::conditional_t<std::is_same_v<S, double>, double, float>(0));
  });
}

// Update is a template over the type of arithmetic, made from the step's numbers.
template <template <class> class Update, class Step>
void run(DType dtype, std::span<const kernels::OptimTensor> tensors, const Step& step) {
  visit_types(dtype, [&]<class S, class T>(S, T) {
    const Update<T> update(step);
    for_batches(tensors, [&](const Batch& batch, int64_t largest) { launch<S, T>(batch, largest, update); });
  });
}

// --- LAMB -----------------------------------------------------------------------------------------------------------

// What changes from step to step.
template <class T>
struct Lamb {
  kernels::LambDirection<T> direction;
  kernels::LambRatio ratio;
};

// The first pass: it moves the moments and adds up squares.
template <class T>
struct LambMoments : kernels::Touches {
  static constexpr int kStates = 2;
  static constexpr bool kWritesParam = false;
  kernels::LambDirection<T> direction;
  double param_squares = 0, direction_squares = 0;
  __device__ explicit LambMoments(const kernels::LambDirection<T>& d) : direction(d) {}
  __device__ T operator()(T p, T g, T* state) {
    direction.moments.add(p, g, state[0], state[1]);
    const auto r = double(direction(p, state[0], state[1]));
    param_squares += double(p) * double(p);
    direction_squares += r * r;
    return p;
  }
};

struct AddSquares {
  __device__ double operator()(double a, double b) const { return a + b; }
};

template <class S, class T>
__global__ void __launch_bounds__(kThreads)
    lamb_moments(Batch batch, typename Changing<Lamb<T>>::Argument argument, double* parts) {
  LambMoments<T> moments(argument.get().direction);
  update_block<S, T>(batch, tensor_of(batch, blockIdx.x), moments);
  const double param = block_reduce(moments.param_squares, 0.0, AddSquares());
  const double direction = block_reduce(moments.direction_squares, 0.0, AddSquares());
  if (threadIdx.x != 0) return;
  parts[2 * int64_t(blockIdx.x)] = param;
  parts[2 * int64_t(blockIdx.x) + 1] = direction;
}

// A block for each tensor.
template <class T>
__global__ void __launch_bounds__(kThreads)
    lamb_rates(Batch batch, typename Changing<Lamb<T>>::Argument argument, const double* parts, double* rates) {
  const int t = int(blockIdx.x);
  double param = 0, direction = 0;
  for (int64_t i = batch.first[t] + threadIdx.x; i < batch.first[t + 1]; i += blockDim.x) {
    param += parts[2 * i];
    direction += parts[2 * i + 1];
  }
  param = block_reduce(param, 0.0, AddSquares());
  direction = block_reduce(direction, 0.0, AddSquares());
  if (threadIdx.x == 0) rates[t] = argument.get().ratio(param, direction);
}

template <class S, class T>
__global__ void __launch_bounds__(kThreads)
    lamb_apply(Batch batch, typename Changing<Lamb<T>>::Argument argument, const double* rates) {
  const int t = tensor_of(batch, blockIdx.x);
  kernels::LambUpdate<T> update(argument.get().direction, rates[t]);
  update_block<S, T>(batch, t, update);
}

template <class S, class T>
void launch_lamb(const Batch& batch, const Lamb<T>& numbers) {
  const Changing<Lamb<T>> changing(numbers);
  if (!changing.launches()) return;
  const auto blocks = unsigned(batch.first[batch.count]);
  const Buffer<double> parts(2 * int64_t(blocks) + batch.count);
  double* rates = parts.data() + 2 * int64_t(blocks);
  TENREC_LAUNCH((lamb_moments<S, T>), blocks, kThreads, 0, stream(), batch, changing.argument(), parts.data());
  TENREC_LAUNCH_CHECK();
  TENREC_LAUNCH((lamb_rates<T>), unsigned(batch.count), kThreads, 0, stream(), batch, changing.argument(),
                static_cast<const double*>(parts.data()), rates);
  TENREC_LAUNCH_CHECK();
  TENREC_LAUNCH((lamb_apply<S, T>), blocks, kThreads, 0, stream(), batch, changing.argument(),
                static_cast<const double*>(rates));
  TENREC_LAUNCH_CHECK();
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

void sgd_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const SgdStep& s) {
  if (s.momentum == 0)
    run<SgdUpdate>(dtype, tensors, s);
  else
    run<SgdMomentumUpdate>(dtype, tensors, s);
}
void adam_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const AdamStep& s) {
  if (s.amsgrad)
    run<AmsgradUpdate>(dtype, tensors, s);
  else
    run<AdamUpdate>(dtype, tensors, s);
}
void rmsprop_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const RmspropStep& s) {
  run<RmspropUpdate>(dtype, tensors, s);
}
void adagrad_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const AdagradStep& s) {
  run<AdagradUpdate>(dtype, tensors, s);
}
void nadam_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const NadamStep& s) {
  run<NadamUpdate>(dtype, tensors, s);
}
void radam_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const RadamStep& s) {
  run<RadamUpdate>(dtype, tensors, s);
}
void adamax_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const AdamaxStep& s) {
  run<AdamaxUpdate>(dtype, tensors, s);
}
void adadelta_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const AdadeltaStep& s) {
  run<AdadeltaUpdate>(dtype, tensors, s);
}
void rprop_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const RpropStep& s) {
  run<RpropUpdate>(dtype, tensors, s);
}
void lion_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const LionStep& s) {
  run<LionUpdate>(dtype, tensors, s);
}
void lamb_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const LambStep& s) {
  visit_types(dtype, [&]<class S, class T>(S, T) {
    const Lamb<T> numbers{LambDirection<T>(s), LambRatio(s)};
    for_batches(tensors, [&](const Batch& batch, int64_t) { launch_lamb<S, T>(batch, numbers); });
  });
}
void muon_momentum(Cuda, DType dtype, std::span<const OptimTensor> tensors, const MuonStep& s) {
  run<MuonUpdate>(dtype, tensors, s);
}
void descent_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const DescentStep& s) {
  run<DescentUpdate>(dtype, tensors, s);
}
void average_step(Cuda, DType dtype, std::span<const OptimTensor> tensors, const AverageStep& s) {
  run<AverageUpdate>(dtype, tensors, s);
}

}  // namespace tenrec::kernels
