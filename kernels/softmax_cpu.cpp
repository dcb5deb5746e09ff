#include "tenrec/kernels/softmax.h"

#include <cmath>

#include "tenrec/kernels/rows.h"

namespace tenrec::kernels {

namespace detail {

namespace {
struct TreeSum {
  template <class T>
  static T identity() {
    return T(-0.0);
  }
  template <class P>
  TENREC_INLINE static P map(P x) {
    return x;
  }
  template <class P>
  TENREC_INLINE static P combine(P a, P b) {
    return a + b;
  }
};
}  // namespace

template <class T>
T leaf_sum(const T* x, int64_t n) {
  const TreeSum op;
  return reduce_leaf<T>(n, op, RowLoad<T, TreeSum>{x, op});
}
template float leaf_sum(const float*, int64_t);
template double leaf_sum(const double*, int64_t);

}  // namespace detail

namespace {

using namespace detail;

template <class T>
void softmax_rows(const T* x, T* y, int64_t n, int64_t rows, bool log) {
  using P = TreePack<T>;
  T m[kRowsAtOnce], last[kRowsAtOnce];
  Wide<T> sum[kRowsAtOnce];
  for (int64_t r = 0; r < rows; ++r) m[r] = row_max(x + r * n, n);
  for (int64_t r = 0; r < rows; ++r) sum[r] = sum_of_exp(x + r * n, m[r], n, log ? nullptr : y + r * n);
  for (int64_t r = 0; r < rows; ++r) last[r] = T(log ? std::log(sum[r]) : 1 / sum[r]);
  for (int64_t r = 0; r < rows; ++r) {
    const P shift(m[r]), by(last[r]);
    T* to = y + r * n;
    if (log)
      map_row(
          n, to, [=](P v) { return (v - shift) - by; }, x + r * n);
    else
      map_row(
          n, to, [=](P v) { return v * by; }, to);
  }
}

template <class T>
void softmax_grad_rows(const T* y, const T* dy, T* dx, int64_t n, int64_t rows, bool log) {
  using P = TreePack<T>;
  T sum[kRowsAtOnce];
  for (int64_t r = 0; r < rows; ++r) {
    const T *v = y + r * n, *d = dy + r * n;
    if (log)
      sum[r] = T(tree_sum<T>(n, [=](int64_t i, int64_t) { return d + i; }));
    else
      sum[r] = T(sum_row<T>(
          n, [](P w, P g) { return g * w; }, v, d));
  }
  for (int64_t r = 0; r < rows; ++r) {
    const P all(sum[r]);
    if (log)
      map_row(
          n, dx + r * n, [=](P w, P g) { return g - exp_below(w) * all; }, y + r * n, dy + r * n);
    else
      map_row(
          n, dx + r * n, [=](P w, P g) { return w * (g - all); }, y + r * n, dy + r * n);
  }
}

// --- columns: the softmax goes over rows, and packs hold neighbours of it --------------------------------------------

constexpr int64_t kStrip = 512;  // columns at once

// What a strip of columns adds up over rows.
template <class T>
struct StripSum {
  alignas(64) T part[kStrip];
  double total[kStrip];
  StripSum() { std::fill_n(total, kStrip, 0.0); }
  // add(row, part) adds one row's values.
  template <class F>
  void run(int64_t rows, int64_t width, F&& add) {
    for (int64_t r0 = 0; r0 < rows; r0 += kSerialRows) {
      std::fill_n(part, width, T(0));
      for (int64_t r = r0; r < std::min(rows, r0 + kSerialRows); ++r) add(r, part);
      for (int64_t c = 0; c < width; ++c) total[c] += double(part[c]);
    }
  }
};

// Calls f(first element, width) for every strip of columns.
template <class F>
void for_strips(const RowSpace& s, F&& f) {
  const int64_t strips = (s.inner + kStrip - 1) / kStrip, work = s.n * std::min(kStrip, s.inner);
  if (s.n == 0) return;
  parallel_for(s.outer * strips, std::max<int64_t>(1, kRowGrain / std::max<int64_t>(work, 1)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t first = i % strips * kStrip;
                   f(i / strips * s.n * s.inner + first, std::min(kStrip, s.inner - first));
                 }
               });
}

template <class T>
void softmax_columns(const RowSpace& s, const T* x, T* y, bool log) {
  using P = TreePack<T>;
  for_strips(s, [&](int64_t first, int64_t width) {
    const T* from = x + first;
    T* to = y + first;
    alignas(64) T m[kStrip], last[kStrip];
    std::fill_n(m, width, -std::numeric_limits<T>::infinity());
    for (int64_t r = 0; r < s.n; ++r)
      map_row(
          width, m, [](P best, P v) { return select(v > best, v, best); }, m, from + r * s.inner);
    StripSum<T> sum;
    sum.run(s.n, width, [&](int64_t r, T* part) {
      const int64_t at = r * s.inner;
      if (log) {
        map_row(
            width, part, [](P a, P v, P b) { return a + exp_below(v - b); }, part, from + at, m);
      } else {
        map_row(
            width, to + at, [](P v, P b) { return exp_below(v - b); }, from + at, m);
        map_row(
            width, part, [](P a, P v) { return a + v; }, part, to + at);
      }
    });
    for (int64_t c = 0; c < width; ++c) last[c] = T(log ? std::log(sum.total[c]) : 1 / sum.total[c]);
    for (int64_t at = 0; at < s.n * s.inner; at += s.inner) {
      if (log)
        map_row(
            width, to + at, [](P v, P b, P l) { return (v - b) - l; }, from + at, m, last);
      else
        map_row(
            width, to + at, [](P v, P l) { return v * l; }, to + at, last);
    }
  });
}

template <class T>
void softmax_grad_columns(const RowSpace& s, const T* y, const T* dy, T* dx, bool log) {
  using P = TreePack<T>;
  for_strips(s, [&](int64_t first, int64_t width) {
    StripSum<T> sum;
    sum.run(s.n, width, [&](int64_t r, T* part) {
      const int64_t at = first + r * s.inner;
      if (log)
        map_row(
            width, part, [](P a, P d) { return a + d; }, part, dy + at);
      else
        map_row(
            width, part, [](P a, P d, P v) { return a + d * v; }, part, dy + at, y + at);
    });
    alignas(64) T all[kStrip];
    for (int64_t c = 0; c < width; ++c) all[c] = T(sum.total[c]);
    for (int64_t at = first; at < first + s.n * s.inner; at += s.inner) {
      if (log)
        map_row(
            width, dx + at, [](P v, P d, P t) { return d - exp_below(v) * t; }, y + at, dy + at, all);
      else
        map_row(
            width, dx + at, [](P v, P d, P t) { return v * (d - t); }, y + at, dy + at, all);
    }
  });
}

// Whether the columns' way is open: a few neighbours, nothing to convert.
bool by_columns(const RowSpace& s, DType dtype) { return s.inner >= 4 && (dtype == f32 || dtype == f64); }

template <class T>
T logsumexp_row(const T* x, int64_t n) {
  const T m = row_max(x, n);
  if (std::isinf(m)) {  // +inf, or -inf everywhere, unless NaN is among them
    for (int64_t i = 0; i < n; ++i)
      if (x[i] != x[i]) return x[i];
    return m;
  }
  return T(Wide<T>(m) + std::log(sum_of_exp<T>(x, m, n, nullptr)));
}

}  // namespace

void softmax(Cpu, const View& x, const View& y, int64_t dim, bool log) {
  visit_real(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const RowSpace s(x, dim);
    for_rows<T, 2>(s, {x, y}, 1, [&](const std::array<T*, 2>& rows, int64_t, int64_t count) {
      softmax_rows(rows[0], rows[1], s.n, count, log);
    });
  });
}

void softmax_grad(Cpu, const View& y, const View& dy, const View& dx, int64_t dim, bool log) {
  visit_real(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    const RowSpace s(y, dim);
    if (by_columns(s, y.dtype)) return softmax_grad_columns(s, y.as<T>(), dy.as<T>(), dx.as<T>(), log);
    for_rows<T, 3>(s, {y, dy, dx}, 2, [&](const std::array<T*, 3>& rows, int64_t, int64_t count) {
      softmax_grad_rows(rows[0], rows[1], rows[2], s.n, count, log);
    });
  });
}

void logsumexp(Cpu, const View& x, const View& y) {
  visit_real(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto store = [&](T value, int64_t r) {
      convert_strided(&value, dtype_of<T>, 1, y.as<char>() + r * size_of(y.dtype), y.dtype, 1, 1);
    };
    const RowSpace s(x, 1);
    if (s.n == 0)
      for (int64_t r = 0; r < s.outer; ++r) store(-std::numeric_limits<T>::infinity(), r);
    for_rows<T, 1>(s, {x}, 1, [&](const std::array<T*, 1>& rows, int64_t r, int64_t count) {
      for (int64_t i = 0; i < count; ++i) store(logsumexp_row(rows[0] + i * s.n, s.n), r + i);
    });
  });
}

// --- cross-entropy --------------------------------------------------------------------------------------------------

namespace {

// The parts of a smoothed and weighted target: `picked` for its class, `spread` (times the weight) for every class.
template <class T>
struct Target {
  const T* weight;
  double picked, spread;
  Target(const CrossEntropy& c, int64_t classes)
      : weight(static_cast<const T*>(c.weight)), picked(1 - c.smoothing), spread(c.smoothing / double(classes)) {}
  double weight_of(int64_t k) const { return weight ? double(weight[k]) : 1.0; }
};

double weight_sum(const CrossEntropy& c, int64_t n, DType dtype) {
  if (!c.weight) return double(n);
  double sum = 0;
  visit_real(dtype, [&](auto zero) {
    for (int64_t k = 0; k < n; ++k) sum += double(static_cast<const decltype(zero)*>(c.weight)[k]);
  });
  return sum;
}

// Sum of weight_k (m - x_k).
template <class T>
Wide<T> spread_sum(const T* x, const T* weight, T m, int64_t n) {
  using P = TreePack<T>;
  const P s(m);
  if (weight)
    return sum_row<T>(
        n, [=](P v, P w) { return (s - v) * w; }, x, weight);
  return sum_row<T>(
      n, [=](P v) { return s - v; }, x);
}

// What a row's softmax is made of.
template <class T>
struct RowStats {
  T max = 0, sum = 1;
};

// The maximum and the sum of e^(x - maximum) in one pass over memory: a leaf at a time, what was summed before being
// scaled when the maximum rises (M. Milakov and N. Gimelshein, "Online normalizer calculation for softmax", 2018).
template <class T>
std::pair<T, double> online_sum(const T* x, int64_t n) {
  const T none = -std::numeric_limits<T>::infinity();
  T m = none;
  double sum = 0;
  for (int64_t i = 0; i < n; i += kLeaf) {
    const int64_t count = std::min(kLeaf, n - i);
    const T leaf = row_max(x + i, count);
    if (leaf > m) {
      if (sum != 0) sum *= std::exp(double(m) - double(leaf));
      m = leaf;
    }
    // While all is -inf, nothing is added, but NaN goes through.
    sum += double(sum_of_exp<T>(x + i, m == none ? T(0) : m, count, nullptr));
  }
  return {m, m == none ? sum + std::numeric_limits<double>::quiet_NaN() : sum};
}

template <class T>
void loss_rows(const CrossEntropy& c, const T* x, int64_t n, int64_t rows, const int64_t* targets, double all_weights,
               T* losses, T* weights, RowStats<T>* stats) {
  const Target<T> t(c, n);
  double log_sum[kRowsAtOnce] = {};
  for (int64_t r = 0; r < rows; ++r) {
    stats[r] = {};
    if (!c.from_logits) continue;
    const auto [m, sum] = online_sum(x + r * n, n);
    stats[r] = {m, T(sum)};
    log_sum[r] = sum;
  }
  for (int64_t r = 0; r < rows; ++r) log_sum[r] = c.from_logits ? std::log(log_sum[r]) : 0;
  for (int64_t r = 0; r < rows; ++r) {
    losses[r] = weights[r] = 0;
    if (targets[r] == c.ignore_index) continue;
    const T *row = x + r * n, m = stats[r].max;
    const double w = t.weight_of(targets[r]);
    double total = t.picked * w * ((double(m) - double(row[targets[r]])) + log_sum[r]);
    if (t.spread != 0) total += t.spread * (double(spread_sum(row, t.weight, m, n)) + all_weights * log_sum[r]);
    losses[r] = T(total);
    weights[r] = T(w);
  }
}

template <class T>
void loss_grad_row(const CrossEntropy& c, const T* x, int64_t n, int64_t r, RowStats<T> row, T scale,
                   double all_weights, T* dx) {
  using P = TreePack<T>;
  const int64_t target = c.targets[r];
  if (target == c.ignore_index || !c.from_logits) std::fill_n(dx, n, T(0));
  if (target == c.ignore_index) return;
  const Target<T> t(c, n);
  const double picked = t.picked * t.weight_of(target), share = picked + t.spread * all_weights;
  if (!c.from_logits) {
    dx[target] = T(-double(scale) * picked);
    return;
  }
  const T own = x[target];  // dx may be x
  const P m(row.max), factor(T(double(scale) * share / double(row.sum))), spread(T(double(scale) * t.spread));
  const auto probability = [=](P v) { return exp_below(v - m) * factor; };
  if (t.spread == 0)
    map_row(n, dx, probability, x);
  else if (!t.weight)
    map_row(
        n, dx, [=](P v) { return probability(v) - spread; }, x);
  else
    map_row(
        n, dx, [=](P v, P w) { return probability(v) - spread * w; }, x, t.weight);
  // Of the class itself: near probability one, the difference must not be formed from a rounded product.
  const double p = double(exp_below(T(own - row.max))) / double(row.sum);
  dx[target] = T(double(scale) * (p * share - picked - t.spread * t.weight_of(target)));
}

}  // namespace

void cross_entropy(Cpu, const CrossEntropy& c, const View& x, const View& losses, const View& weights,
                   const View& stats) {
  visit_real(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const RowSpace s(x, c.dim);
    const double all_weights = weight_sum(c, s.n, dtype_of<T>);
    auto* row_stats = static_cast<RowStats<T>*>(stats.data);
    for_rows<T, 1>(s, {x}, 1, [&](const std::array<T*, 1>& rows, int64_t r, int64_t count) {
      loss_rows<T>(c, rows[0], s.n, count, c.targets + r, all_weights, losses.as<T>() + r, weights.as<T>() + r,
                   row_stats + r);
    });
  });
}

void cross_entropy_grad(Cpu, const CrossEntropy& c, const View& x, const View& stats, const View& scale,
                        const View& dx) {
  visit_real(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const RowSpace s(x, c.dim);
    const double all_weights = weight_sum(c, s.n, dtype_of<T>);
    const auto* row_stats = static_cast<const RowStats<T>*>(stats.data);
    const T* factor = scale.as<T>();
    const bool one = scale.numel == 1;
    const T divisor = c.total ? *static_cast<const T*>(c.total) : T(1);
    for_rows<T, 2>(s, {x, dx}, 1, [&](const std::array<T*, 2>& rows, int64_t r, int64_t count) {
      for (int64_t i = 0; i < count; ++i)
        loss_grad_row<T>(c, rows[0] + i * s.n, s.n, r + i, row_stats[r + i], factor[one ? 0 : r + i] / divisor,
                         all_weights, rows[1] + i * s.n);
    });
  });
}

}  // namespace tenrec::kernels
