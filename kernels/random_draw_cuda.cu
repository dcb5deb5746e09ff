// Draws that need more than one formula: from lists of weights, and by rejection.
//
// Floor: weights and logits are read once. The running sums of a row of weights are added up in the CPU's order, so
// that the same index is drawn: one thread a row, bound by the latency of its additions; then every draw is a thread of
// its own. Rejection takes as many tries as it takes; a thread for each element.
#include <cmath>
#include <limits>

#include "tenrec/core/cuda/step_state.h"
#include "tenrec/kernels/cuda/launch.h"
#include "tenrec/kernels/random.h"
#include "tenrec/kernels/sort.h"
#include "tenrec/kernels/vector_math.h"

namespace tenrec::cuda {
namespace {

// In (0, 1), the uniform number of element `index` of a call.
__device__ inline double unit_of(GeneratorState state, int64_t index) {
  const PhiloxBlock block = tenrec::detail::philox(state, uint64_t(index) >> 1);
  const int at = int(index & 1) * 2;
  return tenrec::detail::unit_double(block.word[at], block.word[at + 1]) + 0x1p-54;
}

// The first row for which something is wrong. All ones, which is -1, if there is none.
class FirstBad {
 public:
  FirstBad() : row_(1) { TENREC_CUDA_CHECK(cudaMemsetAsync(row_.data(), 0xff, sizeof(uint64_t), stream())); }
  unsigned long long* place() const { return row_.data(); }
  int64_t row() const { return int64_t(download(row_.data())); }  // waits

 private:
  Buffer<unsigned long long> row_;
};

// --- weights --------------------------------------------------------------------------------------------------------

// A row a thread: running sums, if wanted, and the last index with a positive weight, -1 in a bad row.
__global__ void sum_weights(const double* weights, int64_t rows, int64_t n, int64_t least_positive, double* sums,
                            int64_t* last, unsigned long long* bad) {
  for (int64_t r = grid_start(); r < rows; r += grid_stride()) {
    const double* w = weights + r * n;
    double total = 0;
    int64_t positive = 0, last_positive = -1;
    bool good = true;
    for (int64_t i = 0; i < n; ++i) {
      good = good && w[i] >= 0;
      total += w[i];
      if (sums) sums[r * n + i] = total;
      if (w[i] > 0) {
        ++positive;
        last_positive = i;
      }
    }
    good = good && total < std::numeric_limits<double>::infinity() && positive >= least_positive;
    if (!good) atomicMin(bad, static_cast<unsigned long long>(r));
    last[r] = good ? last_positive : -1;
  }
}

// By inversion: the first index at which the running sum passes a uniform part of the whole.
__global__ void invert_sums(RandomKey key, const double* sums, const int64_t* last, int64_t n, int64_t k, int64_t* y,
                            int64_t draws) {
  const GeneratorState state = key.get();
  for (int64_t j = grid_start(); j < draws; j += grid_stride()) {
    const int64_t r = j / k;
    if (last[r] < 0) continue;
    const double* sum = sums + r * n;
    const double wanted = unit_of(state, j) * sum[n - 1];
    int64_t low = 0, high = n;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (wanted < sum[middle])
        high = middle;
      else
        low = middle + 1;
    }
    y[j] = low < last[r] ? low : last[r];
  }
}

// Exponential clocks of rate w[i]: the order in which they ring is a draw without replacement (Efraimidis and Spirakis,
// see kernels/random_draw_cpu.cpp). Weights of 0 get NaN, which sorts last.
__global__ void start_clocks(RandomKey key, const double* weights, double* times, int64_t n) {
  const GeneratorState state = key.get();
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    const double w = weights[i];
    times[i] = w > 0 ? -std::log(unit_of(state, i)) / w : std::numeric_limits<double>::quiet_NaN();
  }
}

// Where logit - log(noise) is largest; the first of equals. A warp a row.
__global__ void find_categories(const float* logits, const float* noise, int64_t rows, int64_t n, int64_t* y,
                                unsigned long long* bad) {
  const int lane = int(threadIdx.x) % kWarp;
  for (int64_t r = grid_start() / kWarp; r < rows; r += grid_stride() / kWarp) {
    float best = -std::numeric_limits<float>::infinity();
    int64_t at = INT64_MAX;
    for (int64_t i = lane; i < n; i += kWarp) {
      const float score = logits[r * n + i] - kernels::log(noise[r * n + i]);
      if (!(score > best)) continue;
      best = score;
      at = i;
    }
    for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) {
      const float other = __shfl_xor_sync(kAllLanes, best, lanes);
      const int64_t place = __shfl_xor_sync(kAllLanes, at, lanes);
      if (other > best || (other == best && place < at)) {
        best = other;
        at = place;
      }
    }
    if (lane != 0) continue;
    if (at == INT64_MAX) atomicMin(bad, static_cast<unsigned long long>(r));
    y[r] = at == INT64_MAX ? -1 : at;
  }
}

// --- rejection ------------------------------------------------------------------------------------------------------

// The random words of one element: as many blocks as it asks for.
class Words {
 public:
  __device__ Words(GeneratorState state, int64_t index) : state_(state), index_(uint64_t(index)) {}
  // In (0, 1).
  __device__ double unit() {
    if (used_ == 4) {
      block_ = tenrec::detail::philox(state_, index_ + (tries_++ << 48));
      used_ = 0;
    }
    // Not block_.word[used_]: an array with a variable index would lie in memory.
    const uint32_t word = used_ == 0   ? block_.word[0]
                          : used_ == 1 ? block_.word[1]
                          : used_ == 2 ? block_.word[2]
                                       : block_.word[3];
    ++used_;
    return (double(word) + 0.5) * 0x1p-32;
  }
  __device__ double normal() {
    const double r = kernels::sqrt(-2 * std::log(unit()));
    return r * std::cos(unit() * 0x1.921fb54442d18p2);
  }

 private:
  GeneratorState state_;
  uint64_t index_, tries_ = 0;
  PhiloxBlock block_;
  int used_ = 4;
};

// The algorithms are those of kernels/random_draw_cpu.cpp, which names their authors.
struct Gamma {
  __device__ double operator()(Words& random, double shape) const {
    if (shape == 0) return 0;
    const double scale = shape < 1 ? std::pow(random.unit(), 1 / shape) : 1;
    const double d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3, c = 1 / kernels::sqrt(9 * d);
    while (true) {
      const double x = random.normal(), root = 1 + c * x;
      if (root <= 0) continue;
      const double v = root * root * root;
      if (std::log(random.unit()) < 0.5 * x * x + d * (1 - v + std::log(v))) return scale * (d * v);
    }
  }
};

struct Poisson {
  __device__ static double small(Words& random, double rate) {
    double count = 0;
    for (double time = -std::log(random.unit()); time < rate; time -= std::log(random.unit())) ++count;
    return count;
  }
  __device__ static double large(Words& random, double rate) {
    const double b = 0.931 + 2.53 * kernels::sqrt(rate), a = -0.059 + 0.02483 * b;
    const double log_alpha = std::log(1.1239 + 1.1328 / (b - 3.4)), inner = 0.9277 - 3.6224 / (b - 2);
    while (true) {
      const double u = random.unit() - 0.5, v = random.unit(), s = 0.5 - kernels::abs(u);
      const double k = std::floor((2 * a / s + b) * u + rate + 0.43);
      if (s >= 0.07 && v <= inner) return k;
      if (k < 0 || (s < 0.013 && v > s)) continue;
      if (std::log(v) + log_alpha - std::log(a / (s * s) + b) <= k * std::log(rate) - rate - kernels::lgamma(k + 1))
        return k;
    }
  }
  __device__ double operator()(Words& random, double rate) const {
    return rate < 10 ? small(random, rate) : large(random, rate);
  }
};

template <class Draw>
__global__ void draw_each(RandomKey key, const double* parameter, double* y, int64_t n) {
  const GeneratorState state = key.get();
  for (int64_t i = grid_start(); i < n; i += grid_stride()) {
    Words random(state, i);
    y[i] = Draw()(random, parameter[i]);
  }
}

template <class Draw>
void run_each(GeneratorState state, const View& parameter, const View& y) {
  if (y.numel == 0) return;
  TENREC_LAUNCH(draw_each<Draw>, grid_for(y.numel), kThreads, 0, stream(), random_key(state), parameter.as<double>(),
                y.as<double>(), y.numel);
  TENREC_LAUNCH_CHECK();
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

int64_t random_multinomial(Cuda, GeneratorState state, const View& weights, bool replacement, const View& y) {
  const int64_t rows = y.size(0), k = y.size(1), n = weights.size(1);
  if (rows == 0) return -1;
  const FirstBad bad;
  const Buffer<double> values(rows * n);  // running sums, or times
  const Buffer<int64_t> last(rows);
  const int64_t least = replacement ? 1 : std::max<int64_t>(k, 1);
  TENREC_LAUNCH(sum_weights, grid_for(rows, kWarp), kWarp, 0, stream(), weights.as<double>(), rows, n, least,
                replacement ? values.data() : nullptr, last.data(), bad.place());
  TENREC_LAUNCH_CHECK();
  if (y.numel == 0) return bad.row();
  if (replacement) {
    TENREC_LAUNCH(invert_sums, grid_for(y.numel), kThreads, 0, stream(), random_key(state), values.data(), last.data(),
                  n, k, y.as<int64_t>(), y.numel);
    TENREC_LAUNCH_CHECK();
    return bad.row();
  }
  const int64_t first_bad = bad.row();
  if (first_bad >= 0) return first_bad;  // k may be more than n
  TENREC_LAUNCH(start_clocks, grid_for(rows * n), kThreads, 0, stream(), random_key(state), weights.as<double>(),
                values.data(), rows * n);
  TENREC_LAUNCH_CHECK();
  const Buffer<double> sorted(y.numel);
  const Shape shape{rows, n};
  const Strides strides{n, 1};
  const View times{values.data(), &shape, &strides, rows * n, f64, true};
  sort_rows(Cuda{}, times, n, false, View{sorted.data(), y.shape, y.strides, y.numel, f64, true}, y);
  return -1;
}

int64_t random_categorical(Cuda, const View& logits, const View& noise, const View& y) {
  if (y.numel == 0) return -1;
  const FirstBad bad;
  TENREC_LAUNCH(find_categories, grid_for(y.numel * kWarp), kThreads, 0, stream(), logits.as<float>(),
                noise.as<float>(), y.numel, logits.size(1), y.as<int64_t>(), bad.place());
  TENREC_LAUNCH_CHECK();
  return bad.row();
}

void random_gamma(Cuda, GeneratorState state, const View& shape, const View& y) { run_each<Gamma>(state, shape, y); }
void random_poisson(Cuda, GeneratorState state, const View& rate, const View& y) { run_each<Poisson>(state, rate, y); }

}  // namespace tenrec::kernels
