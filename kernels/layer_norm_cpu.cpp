#include <cmath>

#include "tenrec/kernels/norm.h"
#include "tenrec/kernels/rows.h"
#include "tenrec/kernels/tiles.h"

namespace tenrec::kernels {

namespace {

using namespace detail;

constexpr int64_t kGrain = 32768;  // elements that stay in the second cache

// Weight and bias, or what stands for them.
template <class T>
struct Affine {
  T *scale, *bias;
  Affine(Scratch& scratch, int64_t n, const T* weight, const T* b) : scale(scratch.get<T>(n)), bias(scratch.get<T>(n)) {
    for (int64_t i = 0; i < n; ++i) {
      scale[i] = weight ? weight[i] : T(1);
      bias[i] = b ? b[i] : T(0);
    }
  }
};

template <class T>
void layer_rows(const T* x, T* y, int64_t n, int64_t rows, const Affine<T>& affine, double eps, T* mean, T* rstd) {
  using P = TreePack<T>;
  T center[kRowsAtOnce];
  for (int64_t r = 0; r < rows; ++r) {
    const T* from = x + r * n;
    center[r] = mean ? T(tree_sum<T>(n, [=](int64_t i, int64_t) { return from + i; }) / Wide<T>(n)) : T(0);
    if (mean) mean[r] = center[r];
  }
  double squares[kRowsAtOnce];
  for (int64_t r = 0; r < rows; ++r) {
    const P shift(center[r]);
    squares[r] = sum_row<T>(
        n, [=](P v) { return (v - shift) * (v - shift); }, x + r * n);
  }
  for (int64_t r = 0; r < rows; ++r) rstd[r] = T(1 / std::sqrt(squares[r] / double(n) + eps));
  for (int64_t r = 0; r < rows; ++r) {
    const P shift(center[r]), by(rstd[r]);
    map_row(
        n, y + r * n, [=](P v, P w, P b) { return fma((v - shift) * by, w, b); }, x + r * n, affine.scale, affine.bias);
  }
}

}  // namespace

void layer_norm(Cpu, const View& x, const View* weight, const View* bias, double eps, const View& y, const View* mean,
                const View& rstd) {
  visit_real(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const RowSpace s(x, 1);
    Scratch scratch;
    const Affine<T> affine(scratch, s.n, pointer<T>(weight), pointer<T>(bias));
    for_rows<T, 2>(s, {x, y}, 1, [&](const std::array<T*, 2>& rows, int64_t r, int64_t count) {
      layer_rows(rows[0], rows[1], s.n, count, affine, eps, mean ? mean->as<T>() + r : nullptr, rstd.as<T>() + r);
    });
  });
}

namespace {

// Backward: dx = rstd (g - mean(g) - xhat mean(g xhat)) with g = dy weight, dweight = sum of dy xhat, dbias = sum of
// dy. Without a mean, rows were not centred: mean(g) does not come into it.
template <class T>
class LayerGrad {
  using P = TreePack<T>;
  const View &x_, &dy_;
  const T *mean_, *rstd_, *weight_;
  const View* dx_;
  bool parameters_;

 public:
  LayerGrad(const View& x, const View& dy, const T* mean, const T* rstd, const T* weight, const View* dx,
            bool parameters)
      : x_(x), dy_(dy), mean_(mean), rstd_(rstd), weight_(weight), dx_(dx), parameters_(parameters) {}

  // Rows taken together: few enough to stay in the second cache, enough to add up before the sums are touched.
  static int64_t rows_together(int64_t n) {
    return std::clamp<int64_t>(kGrain / std::max<int64_t>(n, 1), 8, kSerialRows);
  }

  // Rows [begin, end); what they add to dweight and dbias goes to `sums` (2 n doubles).
  void run(int64_t begin, int64_t end, double* sums) const {
    const int64_t n = x_.size(1), together = rows_together(n);
    Scratch scratch;
    const bool copies = x_.dtype != dtype_of<T>;
    T* in = copies ? scratch.get<T>(together * n) : nullptr;
    T* grad = copies ? scratch.get<T>(together * n) : nullptr;
    T* out = copies ? scratch.get<T>(together * n) : nullptr;
    for (int64_t r = begin; r < end; r += together) {
      const int64_t count = std::min(together, end - r);
      const T *v = elements(x_, r * n, count * n, in), *d = elements(dy_, r * n, count * n, grad);
      T* to = dx_ ? place(*dx_, r * n, out) : nullptr;
      T average[kSerialRows], pull[kSerialRows];
      if (dx_)
        in_groups(count, [&](int64_t i, auto group) {
          row_sums<group()>(r + i, v + i * n, d + i * n, average + i, pull + i);
        });
      for (int64_t c = 0; c < n; c += kLeaf) {
        const int64_t width = std::min(kLeaf, n - c);
        Block<T> plain, moment;
        std::fill_n(plain.values, width, T(0));
        std::fill_n(moment.values, width, T(0));
        in_groups(count, [&](int64_t i, auto group) {
          columns<group()>(r + i, c, width, v + i * n, d + i * n, average + i, pull + i, to ? to + i * n : nullptr,
                           plain.values, moment.values);
        });
        for (int64_t i = 0; parameters_ && i < width; ++i) {
          sums[c + i] += double(moment.values[i]);
          sums[n + c + i] += double(plain.values[i]);
        }
      }
      if (dx_) put(*dx_, r * n, count * n, to);
    }
  }

 private:
  // Rows [0, count) by fours, then one by one.
  template <class F>
  TENREC_INLINE static void in_groups(int64_t count, F&& f) {
    int64_t i = 0;
    for (; i + 4 <= count; i += 4) f(i, std::integral_constant<int, 4>());
    for (; i < count; ++i) f(i, std::integral_constant<int, 1>());
  }

  // Calls f(i, load, store) for the packs of columns [0, n): load and store as many lanes as there are.
  template <class F>
  TENREC_INLINE static void for_packs(int64_t n, F&& f) {
    constexpr int64_t lanes = kTreeLanes<T>;
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes)
      f(
          i, [](const T* p) { return P::load(p); }, [](T* p, P v) { v.store(p); });
    const int rest = int(n - i);
    if (rest > 0)
      f(
          i, [rest](const T* p) { return load_first(p, rest); }, [rest](T* p, P v) { store_first(p, v, rest); });
  }

  // Means of g and of g xhat over each row, kGroup rows side by side; sums of at most a leaf are joined in double.
  template <int kGroup>
  void row_sums(int64_t first, const T* v, const T* d, T* average, T* pull) const {
    const int64_t n = x_.size(1);
    double sums[kGroup][2] = {};
    for (int64_t c = 0; c < n; c += kLeaf) {
      P plain[kGroup], moment[kGroup];
      for (int r = 0; r < kGroup; ++r) plain[r] = moment[r] = P(T(0));
      for_packs(std::min(kLeaf, n - c), [&](int64_t i, auto load, auto) {
        const P w = weight_ ? load(weight_ + c + i) : P(T(1));
        for (int r = 0; r < kGroup; ++r) {
          const P g = load(d + r * n + c + i) * w, u = load(v + r * n + c + i) - P(mean_ ? mean_[first + r] : T(0));
          plain[r] += g;
          moment[r] += g * u;
        }
      });
      const auto add = [](auto p, auto q) { return p + q; };
      for (int r = 0; r < kGroup; ++r) {
        sums[r][0] += double(fold_lanes(plain[r], add));
        sums[r][1] += double(fold_lanes(moment[r], add));
      }
    }
    for (int r = 0; r < kGroup; ++r) {
      average[r] = mean_ ? T(sums[r][0] / double(n)) : T(0);
      pull[r] = T(sums[r][1] * double(rstd_[first + r]) / double(n));
    }
  }

  // dx of kGroup rows, columns [c, c + width), and what they add to the sums of these columns.
  template <int kGroup>
  void columns(int64_t first, int64_t c, int64_t width, const T* v, const T* d, const T* average, const T* pull, T* to,
               T* plain, T* moment) const {
    const int64_t n = x_.size(1);
    for_packs(width, [&](int64_t i, auto load, auto store) {
      const P w = weight_ ? load(weight_ + c + i) : P(T(1));
      P s0 = load(plain + i), s1 = load(moment + i);
      for (int r = 0; r < kGroup; ++r) {
        const int64_t at = r * n + c + i;
        const P scale(rstd_[first + r]), g = load(d + at),
                                         u = (load(v + at) - P(mean_ ? mean_[first + r] : T(0))) * scale;
        s0 += g;
        s1 += g * u;
        if (to) store(to + at, ((g * w - P(average[r])) - u * P(pull[r])) * scale);
      }
      store(plain + i, s0);
      store(moment + i, s1);
    });
  }
};

}  // namespace

void layer_norm_grad(Cpu, const View& x, const View& dy, const View* mean, const View& rstd, const View* weight,
                     const View* dx, const View* dweight, const View* dbias) {
  visit_real(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t rows = x.size(0), n = x.size(1);
    const bool parameters = dweight || dbias;
    const LayerGrad<T> work(x, dy, pointer<T>(mean), rstd.as<T>(), pointer<T>(weight), dx, parameters);
    // At most 64 chunks, each with its sums, which are added in order.
    const int64_t grain = std::max(LayerGrad<T>::rows_together(n), ceil_div(rows, 64));
    const int64_t chunks = std::max<int64_t>(1, ceil_div(rows, grain));
    Scratch scratch;
    double* sums = parameters ? scratch.get<double>(chunks * 2 * n) : nullptr;
    if (parameters) std::fill_n(sums, chunks * 2 * n, 0.0);
    parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
      work.run(begin, end, parameters ? sums + begin / grain * 2 * n : nullptr);
    });
    if (!parameters) return;
    for (int64_t k = 1; k < chunks; ++k)
      for (int64_t c = 0; c < 2 * n; ++c) sums[c] += sums[k * 2 * n + c];
    for (int64_t c = 0; c < n; ++c) {
      if (dweight) dweight->as<T>()[c] = T(sums[c]);
      if (dbias) dbias->as<T>()[c] = T(sums[n + c]);
    }
  });
}

}  // namespace tenrec::kernels
