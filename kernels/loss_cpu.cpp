#include "tenrec/kernels/loss.h"

#include "tenrec/kernels/rows.h"

namespace tenrec::kernels {

namespace {

using namespace detail;

constexpr int64_t kChunk = 64 * kLeaf;  // elements of a parallel chunk: a subtree

// Value and derivative of each loss, over packets.
template <class T>
struct Squared {
  explicit Squared(T) {}
  template <class P>
  TENREC_INLINE P value(P a, P b) const {
    return (a - b) * (a - b);
  }
  template <class P>
  TENREC_INLINE P slope(P a, P b) const {
    return P(T(2)) * (a - b);
  }
};

template <class P>
TENREC_INLINE P sign_of(P d) {
  using T = ElementOf<P>;
  return select(d > P(T(0)), P(T(1)), select(d < P(T(0)), P(T(-1)), d));
}

template <class T>
struct Absolute {
  explicit Absolute(T) {}
  template <class P>
  TENREC_INLINE P value(P a, P b) const {
    return abs(a - b);
  }
  template <class P>
  TENREC_INLINE P slope(P a, P b) const {
    return sign_of(a - b);
  }
};

template <class T>
struct SmoothL1 {
  T beta;
  explicit SmoothL1(T p) : beta(p) {}
  template <class P>
  TENREC_INLINE P value(P a, P b) const {
    const P d = abs(a - b), near = P(T(0.5)) * d * d / P(beta);
    return select(d < P(beta), near, d - P(T(0.5) * beta));
  }
  template <class P>
  TENREC_INLINE P slope(P a, P b) const {
    const P d = a - b;
    return select(abs(d) < P(beta), d / P(beta), sign_of(d));
  }
};

template <class T>
struct Huber {
  T delta;
  explicit Huber(T p) : delta(p) {}
  template <class P>
  TENREC_INLINE P value(P a, P b) const {
    const P d = abs(a - b);
    return select(d < P(delta), P(T(0.5)) * d * d, P(delta) * (d - P(T(0.5) * delta)));
  }
  template <class P>
  TENREC_INLINE P slope(P a, P b) const {
    const P d = a - b;
    return select(abs(d) < P(delta), d, P(delta) * sign_of(d));
  }
};

template <class T>
struct Bce {
  explicit Bce(T) {}
  // NaN passes: the comparison is false for it.
  template <class P>
  TENREC_INLINE static P bounded(P log) {
    return select(log < P(T(-100)), P(T(-100)), log);
  }
  template <class P>
  TENREC_INLINE P value(P a, P b) const {
    return (b - P(T(1))) * bounded(log1p(-a)) - b * bounded(log(a));
  }
  template <class P>
  TENREC_INLINE P slope(P a, P b) const {
    const P width = (P(T(1)) - a) * a, least = P(T(1e-12));
    return (a - b) / select(width < least, least, width);
  }
};

template <class T>
struct BceLogits {
  explicit BceLogits(T) {}
  template <class P>
  TENREC_INLINE P value(P a, P b) const {
    const P positive = select(a < P(T(0)), P(T(0)), a);
    return positive - a * b + log1p(exp(-abs(a)));
  }
  template <class P>
  TENREC_INLINE P slope(P a, P b) const {
    return sigmoid(a) - b;
  }
};

template <class T>
struct Kl {
  explicit Kl(T) {}
  template <class P>
  TENREC_INLINE P value(P a, P b) const {
    const P zero(T(0));
    return select(b == zero, zero, b * log(b)) - b * a;
  }
  template <class P>
  TENREC_INLINE P slope(P, P b) const {
    return -b;
  }
};

template <class T>
struct KlLog {
  explicit KlLog(T) {}
  template <class P>
  TENREC_INLINE P value(P a, P b) const {
    return exp(b) * (b - a);
  }
  template <class P>
  TENREC_INLINE P slope(P, P b) const {
    return -exp(b);
  }
};

// out_i = value or slope of n pairs.
template <class T>
using PairLoop = void (*)(const T* a, const T* b, T* out, int64_t n, T parameter);

template <class T, template <class> class Loss>
PairLoop<T> loop(bool slope) {
  using P = TreePack<T>;
  if (slope)
    return [](const T* a, const T* b, T* out, int64_t n, T parameter) {
      const Loss<T> f(parameter);
      map_row(
          n, out, [=](P v, P w) { return f.slope(v, w); }, a, b);
    };
  return [](const T* a, const T* b, T* out, int64_t n, T parameter) {
    const Loss<T> f(parameter);
    map_row(
        n, out, [=](P v, P w) { return f.value(v, w); }, a, b);
  };
}

template <class T>
PairLoop<T> find_loop(PairLoss loss, bool slope) {
  switch (loss) {
    case PairLoss::squared:
      return loop<T, Squared>(slope);
    case PairLoss::absolute:
      return loop<T, Absolute>(slope);
    case PairLoss::smooth_l1:
      return loop<T, SmoothL1>(slope);
    case PairLoss::huber:
      return loop<T, Huber>(slope);
    case PairLoss::bce:
      return loop<T, Bce>(slope);
    case PairLoss::bce_logits:
      return loop<T, BceLogits>(slope);
    case PairLoss::kl:
      return loop<T, Kl>(slope);
    case PairLoss::kl_log:
      break;
  }
  return loop<T, KlLog>(slope);
}

// The losses of elements [begin, end), summed.
template <class T>
Wide<T> sum_range(PairLoop<T> loss, T parameter, const View& a, const View& b, int64_t begin, int64_t end) {
  Block<T> out, from[2];
  return tree_sum<T>(end - begin, [&](int64_t i, int64_t m) {
    loss(elements(a, begin + i, m, from[0].values), elements(b, begin + i, m, from[1].values), out.values, m,
         parameter);
    return static_cast<const T*>(out.values);
  });
}

}  // namespace

void loss_sum(Cpu, PairLoss loss, double parameter, const View& a, const View& b, double scale, const View& y) {
  visit_real(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    const PairLoop<T> f = find_loop<T>(loss, false);
    double total;
    if (a.numel <= kChunk) {
      total = sum_range<T>(f, T(parameter), a, b, 0, a.numel);
    } else {
      const int64_t chunks = (a.numel + kChunk - 1) / kChunk;
      Scratch scratch;
      auto* partial = scratch.get<Wide<T>>(chunks);
      parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t c = begin; c < end; ++c)
          partial[c] = sum_range<T>(f, T(parameter), a, b, c * kChunk, std::min(a.numel, (c + 1) * kChunk));
      });
      Wide<T> slots[64] = {}, sum = 0;
      const auto join = [](const Wide<T>* v, Wide<T>* w, int64_t) { *w += *v; };
      PairwiseCounter<Wide<T>, decltype(join)> counter(join, slots, 1);
      for (int64_t c = 0; c < chunks; ++c) counter.push(partial + c);
      counter.result(&sum);
      total = sum;
    }
    total *= scale;
    convert_strided(&total, f64, 1, y.data, y.dtype, 1, 1);
  });
}

void loss_each(Cpu, PairLoss loss, double parameter, const View& a, const View& b, const View& y) {
  visit_real(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    const PairLoop<T> f = find_loop<T>(loss, false);
    parallel_for(a.numel, kChunk / 2, [&](int64_t begin, int64_t end) {
      Block<T> out, from[2];
      for (int64_t i = begin; i < end; i += kLeaf) {
        const int64_t m = std::min(kLeaf, end - i);
        T* to = place(y, i, out.values);
        f(elements(a, i, m, from[0].values), elements(b, i, m, from[1].values), to, m, T(parameter));
        put(y, i, m, to);
      }
    });
  });
}

void loss_grad(Cpu, PairLoss loss, double parameter, const View& a, const View& b, const View& dy, double scale,
               const View& da) {
  visit_real(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    using P = TreePack<T>;
    const PairLoop<T> f = find_loop<T>(loss, true);
    const bool one = dy.numel == 1;
    double factor = scale;
    if (one) {
      convert_strided(dy.data, dy.dtype, 1, &factor, f64, 1, 1);
      factor *= scale;
    }
    const P times{T(factor)};
    parallel_for(a.numel, kChunk / 2, [&](int64_t begin, int64_t end) {
      Block<T> out, from[3];
      for (int64_t i = begin; i < end; i += kLeaf) {
        const int64_t m = std::min(kLeaf, end - i);
        T* to = place(da, i, out.values);
        f(elements(a, i, m, from[0].values), elements(b, i, m, from[1].values), to, m, T(parameter));
        if (one)
          map_row(
              m, to, [=](P v) { return v * times; }, to);
        else
          map_row(
              m, to, [=](P v, P w) { return v * times * w; }, to, elements(dy, i, m, from[2].values));
        put(da, i, m, to);
      }
    });
  });
}

}  // namespace tenrec::kernels
