// Losses of a prediction and a target: each, their sum, and the derivative by the prediction.
//
// Floor: both operands are read once (the gradient also reads what comes from above, where that is not one number), and
// what has their size is written once. The sum takes a second, small kernel: one partial sum for each of a number of
// blocks that depends on the size alone, which are added in order of their index.
#include "tenrec/kernels/loss.h"

#include "tenrec/kernels/cuda/rows.cuh"
#include "tenrec/kernels/loss_functors.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::cuda {
namespace {

// Calls f(first element of a pack) for the thread's share of n elements, in packs that lie on 16 bytes of `a`.
template <class T, class F>
__device__ void for_packs(const T* a, int64_t n, const F& f) {
  constexpr int kCount = Pack16<T>::kCount;
  const int past = elements_past_16(a);
  for (int64_t first = grid_start() * kCount - past; first < n; first += grid_stride() * kCount) f(first);
}
template <class T>
int64_t packs_of(int64_t n) {
  return kernels::ceil_div(n, Pack16<T>::kCount) + 1;  // one more, if neither end lies on 16 bytes
}

template <class F, class T>
__global__ void pair_values(F loss, const T* a, const T* b, T* y, int64_t n) {
  for_packs(a, n, [&](int64_t first) {
    Real<T> v[Pack16<T>::kCount], w[Pack16<T>::kCount];
    load_run(a, 1, first, n, Real<T>(0), v);
    load_run(b, 1, first, n, Real<T>(0), w);
    TENREC_UNROLL
    for (int j = 0; j < Pack16<T>::kCount; ++j) v[j] = loss.value(v[j], w[j]);
    store_run(y, 1, first, n, v);
  });
}

template <class F, class T>
__global__ void pair_sums(F loss, const T* a, const T* b, double* parts, int64_t n) {
  double sum = 0;
  for_packs(a, n, [&](int64_t first) {
    Real<T> v[Pack16<T>::kCount], w[Pack16<T>::kCount], part = 0;
    load_run(a, 1, first, n, Real<T>(0), v);
    load_run(b, 1, first, n, Real<T>(0), w);
    TENREC_UNROLL
    for (int j = 0; j < Pack16<T>::kCount; ++j)
      if (first + j >= 0 && first + j < n) part += loss.value(v[j], w[j]);
    sum += double(part);
  });
  sum = block_reduce(sum, 0.0, Add());
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}
__global__ void scaled_sum(const double* parts, int64_t n, double scale, void* y, DType dtype) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += parts[i];
  sum = block_reduce(sum, 0.0, Add());
  if (threadIdx.x == 0) store_as(y, 0, dtype, sum * scale);
}

// dy: one number, or one for each pair.
template <class F, class T>
__global__ void pair_slopes(F loss, const T* a, const T* b, const T* dy, bool one, double scale, T* da, int64_t n) {
  using C = Real<T>;
  const C times = C(one ? double(convert_to<C>(*dy)) * scale : scale);
  for_packs(a, n, [&](int64_t first) {
    C v[Pack16<T>::kCount], w[Pack16<T>::kCount], d[Pack16<T>::kCount];
    load_run(a, 1, first, n, C(0), v);
    load_run(b, 1, first, n, C(0), w);
    if (!one) load_run(dy, 1, first, n, C(0), d);
    TENREC_UNROLL
    for (int j = 0; j < Pack16<T>::kCount; ++j) {
      const C slope = loss.slope(v[j], w[j]) * times;
      v[j] = one ? slope : slope * d[j];
    }
    store_run(da, 1, first, n, v);
  });
}

// Calls f(functor, zero of the elements' type).
template <class F>
void visit_pair(kernels::PairLoss loss, double parameter, DType dtype, const F& f) {
  kernels::visit_floating("loss", dtype, [&](auto zero) {
    kernels::detail::visit_loss<Real<decltype(zero)>>(loss, parameter, [&](auto functor) { f(functor, zero); });
  });
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

void loss_sum(Cuda, PairLoss loss, double parameter, const View& a, const View& b, double scale, const View& y) {
  visit_pair(loss, parameter, a.dtype, [&](auto f, auto zero) {
    using T = decltype(zero);
    constexpr int64_t kMostBlocks = 1024, kPacksOfThread = 8;
    const int64_t packs = packs_of<T>(a.numel);
    const int threads = int(std::min<int64_t>(round_up(packs, kWarp), kThreads));
    const int64_t blocks = std::clamp<int64_t>(ceil_div(packs, threads * kPacksOfThread), 1, kMostBlocks);
    const Buffer<double> parts(blocks);
    TENREC_LAUNCH((pair_sums<decltype(f), T>), unsigned(blocks), threads, 0, stream(), f, a.as<T>(), b.as<T>(),
                  parts.data(), a.numel);
    TENREC_LAUNCH(scaled_sum, 1, int(std::min<int64_t>(round_up(blocks, kWarp), kThreads)), 0, stream(), parts.data(),
                  blocks, scale, y.data, y.dtype);
  });
  TENREC_LAUNCH_CHECK();
}

void loss_each(Cuda, PairLoss loss, double parameter, const View& a, const View& b, const View& y) {
  if (a.numel == 0) return;
  visit_pair(loss, parameter, a.dtype, [&](auto f, auto zero) {
    using T = decltype(zero);
    TENREC_LAUNCH((pair_values<decltype(f), T>), grid_for(packs_of<T>(a.numel)), kThreads, 0, stream(), f, a.as<T>(),
                  b.as<T>(), y.as<T>(), a.numel);
  });
  TENREC_LAUNCH_CHECK();
}

void loss_grad(Cuda, PairLoss loss, double parameter, const View& a, const View& b, const View& dy, double scale,
               const View& da) {
  if (a.numel == 0) return;
  visit_pair(loss, parameter, a.dtype, [&](auto f, auto zero) {
    using T = decltype(zero);
    TENREC_LAUNCH((pair_slopes<decltype(f), T>), grid_for(packs_of<T>(a.numel)), kThreads, 0, stream(), f, a.as<T>(),
                  b.as<T>(), dy.as<T>(), dy.numel == 1, scale, da.as<T>(), a.numel);
  });
  TENREC_LAUNCH_CHECK();
}

}  // namespace tenrec::kernels
