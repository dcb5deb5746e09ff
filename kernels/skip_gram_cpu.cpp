// Floor of a step: bytes. A pair reads and writes 1 + count rows, which lie anywhere in tables larger than the cache,
// so those of the next pair are asked for while this one is computed. The scores of a pair come before its updates, so
// that they do not wait for each other. The pairs of a step follow one another, whatever the number of threads: that is
// what makes small steps good, and the result one.
#include <algorithm>
#include <vector>

#include "tenrec/core/parallel.h"
#include "tenrec/kernels/pack.h"
#include "tenrec/kernels/skip_gram.h"
#include "tenrec/kernels/vector_math.h"

namespace tenrec::kernels {
namespace {

constexpr int64_t kPairs = 64;  // of a chunk

template <class T>
struct Pairs {
  T* input;
  T* output;
  const int64_t* centers;
  const int64_t* targets;
  int64_t pairs, count, d;

  explicit Pairs(const SkipGram& s)
      : input(static_cast<T*>(s.input.data)),
        output(static_cast<T*>(s.output.data)),
        centers(static_cast<const int64_t*>(s.centers.data)),
        targets(static_cast<const int64_t*>(s.targets.data)),
        pairs(s.targets.size(0)),
        count(s.targets.size(1)),
        d(s.input.size(1)) {}

  T* center(int64_t b) const { return input + centers[b] * d; }
  T* target(int64_t b, int64_t k) const { return output + targets[b * count + k] * d; }
};

// f(place, lanes) for the packs of a row; the last may be a part of one.
template <class T, class F>
TENREC_INLINE void for_packs(int64_t d, F f) {
  constexpr int kWidth = kLanes<T>;
  int64_t i = 0;
  for (; i + kWidth <= d; i += kWidth) f(i, kWidth);
  if (i < d) f(i, int(d - i));
}

template <class T>
TENREC_INLINE NativePack<T> load_some(const T* from, int lanes) {
  return lanes == kLanes<T> ? NativePack<T>::load(from) : NativePack<T>::load_partial(from, lanes);
}
template <class T>
TENREC_INLINE void store_some(NativePack<T> p, T* to, int lanes) {
  lanes == kLanes<T> ? p.store(to) : p.store_partial(to, lanes);
}

template <class T>
TENREC_INLINE T dot(const T* a, const T* b, int64_t d) {
  NativePack<T> sums(T(0));
  for_packs<T>(d, [&](int64_t i, int lanes) { sums = fma(load_some(a + i, lanes), load_some(b + i, lanes), sums); });
  return reduce_lanes(sums, [](auto x, auto y) { return x + y; });
}

// slopes[k] = sigmoid(u_k . v) - (k == 0), the derivative of the loss by the score. Returns the loss.
template <class T>
T score(const Pairs<T>& p, int64_t b, std::vector<T>& slopes) {
  using P = NativePack<T>;
  const T* v = p.center(b);
  for (int64_t k = 0; k < p.count; ++k) slopes[size_t(k)] = dot(v, p.target(b, k), p.d);
  if (p.count > 0) slopes[0] = -slopes[0];
  T loss = 0;
  for (int64_t k = 0; k < p.count; k += kLanes<T>) {  // slopes is as long as whole packs
    const P x = P::load(slopes.data() + k);
    T losses[kLanes<T>];
    softplus(x).store(losses);
    sigmoid(x).store(slopes.data() + k);
    for (int64_t i = k; i < std::min<int64_t>(p.count, k + kLanes<T>); ++i) loss += losses[i - k];
  }
  if (p.count > 0) slopes[0] = -slopes[0];
  return loss;
}

template <class T>
std::vector<T> slopes_for(const Pairs<T>& p) {
  return std::vector<T>(size_t((p.count + kLanes<T> - 1) / kLanes<T> * kLanes<T>));
}

template <class T>
void losses_of(const Pairs<T>& p, T* losses) {
  parallel_for(p.pairs, kPairs, [&](int64_t begin, int64_t end) {
    std::vector<T> slopes = slopes_for(p);
    for (int64_t b = begin; b < end; ++b) losses[b] = score(p, b, slopes);
  });
}

template <class T>
void gradients_of(const Pairs<T>& p, T scale, T* d_center, T* d_target) {
  using P = NativePack<T>;
  parallel_for(p.pairs, kPairs, [&](int64_t begin, int64_t end) {
    std::vector<T> slopes = slopes_for(p);
    for (int64_t b = begin; b < end; ++b) {
      score(p, b, slopes);
      const T* v = p.center(b);
      T* dv = d_center + b * p.d;
      std::fill_n(dv, p.d, T(0));
      for (int64_t k = 0; k < p.count; ++k) {
        const P slope(scale * slopes[size_t(k)]);
        const T* u = p.target(b, k);
        T* du = d_target + (b * p.count + k) * p.d;
        for_packs<T>(p.d, [&](int64_t i, int lanes) {
          store_some<T>(fma(slope, load_some(u + i, lanes), load_some(dv + i, lanes)), dv + i, lanes);
          store_some<T>(slope * load_some(v + i, lanes), du + i, lanes);
        });
      }
    }
  });
}

template <class T>
void prefetch_row(const T* row, int64_t d) {
  for (int64_t i = 0; i < d; i += 64 / int64_t(sizeof(T))) __builtin_prefetch(row + i, 1);
}

template <class T>
void steps_of(const Pairs<T>& p, T lr, T* losses) {
  using P = NativePack<T>;
  std::vector<T> slopes = slopes_for(p);
  for (int64_t b = 0; b < p.pairs; ++b) {
    if (b + 1 < p.pairs) {
      prefetch_row(p.center(b + 1), p.d);
      for (int64_t k = 0; k < p.count; ++k) prefetch_row(p.target(b + 1, k), p.d);
    }
    losses[b] = score(p, b, slopes);
    for (T& slope : slopes) slope *= -lr;
    T* v = p.center(b);
    for_packs<T>(p.d, [&](int64_t i, int lanes) {
      const P old = load_some(v + i, lanes);
      P change(T(0));
      for (int64_t k = 0; k < p.count; ++k) {
        const P slope(slopes[size_t(k)]);
        T* u = p.target(b, k) + i;
        const P row = load_some(u, lanes);
        change = fma(slope, row, change);
        store_some<T>(fma(slope, old, row), u, lanes);
      }
      store_some<T>(old + change, v + i, lanes);
    });
  }
}

}  // namespace

void skip_gram_loss(Cpu, const SkipGram& s, const View& losses) {
  if (s.input.dtype == f64) return losses_of(Pairs<double>(s), static_cast<double*>(losses.data));
  losses_of(Pairs<float>(s), static_cast<float*>(losses.data));
}

void skip_gram_grad(Cpu, const SkipGram& s, const View& dy, double scale, const View& d_center, const View& d_target) {
  if (s.input.dtype == f64)
    return gradients_of(Pairs<double>(s), scale * *static_cast<const double*>(dy.data),
                        static_cast<double*>(d_center.data), static_cast<double*>(d_target.data));
  gradients_of(Pairs<float>(s), float(scale) * *static_cast<const float*>(dy.data), static_cast<float*>(d_center.data),
               static_cast<float*>(d_target.data));
}

void skip_gram_step(Cpu, const SkipGram& s, double lr, const View& losses) {
  if (s.input.dtype == f64) return steps_of(Pairs<double>(s), lr, static_cast<double*>(losses.data));
  steps_of(Pairs<float>(s), float(lr), static_cast<float*>(losses.data));
}

}  // namespace tenrec::kernels
