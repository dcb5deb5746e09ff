// Floor: bytes, 1 + count rows read a pair, and written by the gradients. A warp does a pair: it goes along the rows,
// and each score is a sum over its lanes. The step in place is another matter: its pairs follow one another, so one
// block goes through them all, a thread or more for each column, and the time is that of the chain of scores.
#include "tenrec/kernels/cuda/rows.cuh"
#include "tenrec/kernels/skip_gram.h"

namespace tenrec::cuda {
namespace {

template <class T>
struct Pairs {
  T* input;
  T* output;
  const int64_t* centers;
  const int64_t* targets;
  int64_t pairs, count, d, input_words, output_words;

  // Null for an index out of range.
  __device__ T* center(int64_t b) const { return row(input, centers[b], input_words); }
  __device__ T* target(int64_t b, int64_t k) const { return row(output, targets[b * count + k], output_words); }

 private:
  __device__ T* row(T* table, int64_t i, int64_t words) const { return i >= 0 && i < words ? table + i * d : nullptr; }
};

// Rows that may be null: zeros, and not to be written.
template <class T>
__device__ T get(const T* row, int64_t i) {
  return row ? row[i] : T(0);
}
template <class T>
__device__ void put(T* row, int64_t i, T value) {
  if (row) row[i] = value;
}

template <class T>
Pairs<T> pairs_of(const kernels::SkipGram& s) {
  return {static_cast<T*>(s.input.data),
          static_cast<T*>(s.output.data),
          static_cast<const int64_t*>(s.centers.data),
          static_cast<const int64_t*>(s.targets.data),
          s.targets.size(0),
          s.targets.size(1),
          s.input.size(1),
          s.input.size(0),
          s.output.size(0)};
}

template <class T>
__device__ T warp_dot(const T* a, const T* b, int64_t d) {
  T sum = 0;
  for (int64_t i = int64_t(threadIdx.x) % kWarp; i < d; i += kWarp) sum = kernels::fma(get(a, i), get(b, i), sum);
  return warp_reduce(sum, Add());
}

template <class T>
__device__ T slope_of(T score, int64_t k) {
  return k == 0 ? -kernels::sigmoid(-score) : kernels::sigmoid(score);
}

template <class T>
__global__ void skip_gram_losses(Pairs<T> p, T* losses) {
  for (int64_t b = grid_start() / kWarp; b < p.pairs; b += grid_stride() / kWarp) {
    T loss = 0;
    for (int64_t k = 0; k < p.count; ++k) {
      const T score = warp_dot(p.center(b), p.target(b, k), p.d);
      loss += kernels::softplus(k == 0 ? -score : score);
    }
    if (threadIdx.x % kWarp == 0) losses[b] = loss;
  }
}

template <class T>
__global__ void skip_gram_gradients(Pairs<T> p, const T* dy, T scale, T* d_center, T* d_target) {
  const T by = scale * *dy;
  for (int64_t b = grid_start() / kWarp; b < p.pairs; b += grid_stride() / kWarp) {
    const T* v = p.center(b);
    T* dv = d_center + b * p.d;
    for (int64_t k = 0; k < p.count; ++k) {
      const T* u = p.target(b, k);
      T* du = d_target + (b * p.count + k) * p.d;
      const T slope = by * slope_of(warp_dot(v, u, p.d), k);
      for (int64_t i = int64_t(threadIdx.x) % kWarp; i < p.d; i += kWarp) {
        dv[i] = kernels::fma(slope, get(u, i), k == 0 ? T(0) : dv[i]);
        du[i] = slope * get(v, i);
      }
    }
  }
}

// One block. slopes: `count` numbers of shared memory.
template <class T>
__global__ void skip_gram_steps(Pairs<T> p, T lr, T* losses) {
  TENREC_DYNAMIC_SHARED(T, slopes);
  for (int64_t b = 0; b < p.pairs; ++b) {
    T* v = p.center(b);
    T loss = 0;
    for (int64_t k = 0; k < p.count; ++k) {
      const T* u = p.target(b, k);
      T sum = 0;
      for (int64_t i = threadIdx.x; i < p.d; i += blockDim.x) sum = kernels::fma(get(v, i), get(u, i), sum);
      const T score = block_reduce(sum, T(0), Add());
      loss += kernels::softplus(k == 0 ? -score : score);
      if (threadIdx.x == 0) slopes[k] = -lr * slope_of(score, k);
    }
    __syncthreads();
    for (int64_t i = threadIdx.x; i < p.d; i += blockDim.x) {
      T change = 0;
      const T old = get(v, i);
      for (int64_t k = 0; k < p.count; ++k) {  // a column belongs to one thread, also where targets repeat
        T* u = p.target(b, k);
        const T row = get(u, i);
        change = kernels::fma(slopes[k], row, change);
        put(u, i, kernels::fma(slopes[k], old, row));
      }
      put(v, i, old + change);
    }
    if (threadIdx.x == 0) losses[b] = loss;
    __syncthreads();
  }
}

template <class T>
void run_losses(const kernels::SkipGram& s, const View& losses) {
  const Pairs<T> p = pairs_of<T>(s);
  if (p.pairs == 0) return;
  TENREC_LAUNCH(skip_gram_losses<T>, grid_for(p.pairs * kWarp), kThreads, 0, stream(), p, static_cast<T*>(losses.data));
  TENREC_LAUNCH_CHECK();
}

template <class T>
void run_gradients(const kernels::SkipGram& s, const View& dy, double scale, const View& d_center,
                   const View& d_target) {
  const Pairs<T> p = pairs_of<T>(s);
  if (p.pairs == 0) return;
  TENREC_LAUNCH(skip_gram_gradients<T>, grid_for(p.pairs * kWarp), kThreads, 0, stream(), p,
                static_cast<const T*>(dy.data), T(scale), static_cast<T*>(d_center.data),
                static_cast<T*>(d_target.data));
  TENREC_LAUNCH_CHECK();
}

template <class T>
void run_steps(const kernels::SkipGram& s, double lr, const View& losses) {
  const Pairs<T> p = pairs_of<T>(s);
  if (p.pairs == 0) return;
  TENREC_LAUNCH(skip_gram_steps<T>, 1, 128, size_t(p.count) * sizeof(T), stream(), p, T(lr),
                static_cast<T*>(losses.data));
  TENREC_LAUNCH_CHECK();
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

void skip_gram_loss(Cuda, const SkipGram& s, const View& losses) {
  s.input.dtype == f64 ? cuda::run_losses<double>(s, losses) : cuda::run_losses<float>(s, losses);
}
void skip_gram_grad(Cuda, const SkipGram& s, const View& dy, double scale, const View& d_center, const View& d_target) {
  s.input.dtype == f64 ? cuda::run_gradients<double>(s, dy, scale, d_center, d_target)
                       : cuda::run_gradients<float>(s, dy, scale, d_center, d_target);
}
void skip_gram_step(Cuda, const SkipGram& s, double lr, const View& losses) {
  s.input.dtype == f64 ? cuda::run_steps<double>(s, lr, losses) : cuda::run_steps<float>(s, lr, losses);
}

}  // namespace tenrec::kernels
