#include "tenrec/kernels/loss.h"

#include "tenrec/kernels/loss_functors.h"
#include "tenrec/kernels/rows.h"

namespace tenrec::kernels {

namespace {

using namespace detail;

constexpr int64_t kChunk = 64 * kLeaf;  // elements of a parallel chunk: a subtree

// out_i = value or slope of n pairs.
template <class T>
using PairLoop = void (*)(const T* a, const T* b, T* out, int64_t n, T parameter);

template <class T>
PairLoop<T> find_loop(PairLoss loss, bool slope) {
  using P = TreePack<T>;
  return visit_loss<T>(loss, T(0), [&]<class Loss>(const Loss&) -> PairLoop<T> {
    if (slope)
      return [](const T* a, const T* b, T* out, int64_t n, T parameter) {
        const Loss f(parameter);
        map_row(
            n, out, [=](P v, P w) { return f.slope(v, w); }, a, b);
      };
    return [](const T* a, const T* b, T* out, int64_t n, T parameter) {
      const Loss f(parameter);
      map_row(
          n, out, [=](P v, P w) { return f.value(v, w); }, a, b);
    };
  });
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
