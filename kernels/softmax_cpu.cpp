#include "tenrec/kernels/softmax.h"

#include <cmath>

#include "tenrec/kernels/softmax_rows.h"

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

template <class F>
void visit_real(DType dtype, F&& f) {
  if (dtype == f64)
    f(double{});
  else
    f(float{});
}

template <class T>
void softmax_row(const T* x, T* y, int64_t n, bool log) {
  using P = TreePack<T>;
  const T m = row_max(x, n);
  if (log) {
    const P shift(m), rest(T(std::log(sum_of_exp<T>(x, m, n, nullptr))));
    map_row(
        n, y, [=](P v) { return (v - shift) - rest; }, x);
  } else {
    const P scale(T(1 / sum_of_exp(x, m, n, y)));
    map_row(
        n, y, [=](P v) { return v * scale; }, y);
  }
}

template <class T>
void softmax_grad_row(const T* y, const T* dy, T* dx, int64_t n, bool log) {
  using P = TreePack<T>;
  if (log) {
    const P sum(T(tree_sum<T>(n, [=](int64_t i, int64_t) { return dy + i; })));
    map_row(
        n, dx, [=](P w, P d) { return d - exp(w) * sum; }, y, dy);
  } else {
    const P sum(T(sum_row<T>(
        n, [](P w, P d) { return d * w; }, y, dy)));
    map_row(
        n, dx, [=](P w, P d) { return w * (d - sum); }, y, dy);
  }
}

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
    for_rows<T, 2>(s, {x, y}, 1,
                   [&](const std::array<T*, 2>& rows, int64_t) { softmax_row(rows[0], rows[1], s.n, log); });
  });
}

void softmax_grad(Cpu, const View& y, const View& dy, const View& dx, int64_t dim, bool log) {
  visit_real(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    const RowSpace s(y, dim);
    for_rows<T, 3>(s, {y, dy, dx}, 2, [&](const std::array<T*, 3>& rows, int64_t) {
      softmax_grad_row(rows[0], rows[1], rows[2], s.n, log);
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
    for_rows<T, 1>(s, {x}, 1, [&](const std::array<T*, 1>& rows, int64_t r) { store(logsumexp_row(rows[0], s.n), r); });
  });
}

// --- cross-entropy --------------------------------------------------------------------------------------------------

int64_t first_bad_target(Cpu, const int64_t* targets, int64_t n, int64_t classes, int64_t ignore_index) {
  for (int64_t i = 0; i < n; ++i)
    if ((targets[i] < 0 || targets[i] >= classes) && targets[i] != ignore_index) return i;
  return -1;
}

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

template <class T>
void loss_row(const CrossEntropy& c, const T* x, int64_t n, int64_t r, double all_weights, T* loss, T* weight,
              RowStats<T>* stats) {
  const int64_t target = c.targets[r];
  const Target<T> t(c, n);
  RowStats<T> row;
  Wide<T> log_sum = 0;
  if (c.from_logits) {
    row.max = row_max(x, n);
    const Wide<T> sum = sum_of_exp<T>(x, row.max, n, nullptr);
    row.sum = T(sum);
    log_sum = std::log(sum);
  }
  stats[r] = row;
  if (target == c.ignore_index) {
    loss[r] = weight[r] = 0;
    return;
  }
  const double w = t.weight_of(target);
  double total = t.picked * w * double((Wide<T>(row.max) - Wide<T>(x[target])) + log_sum);
  if (t.spread != 0) total += t.spread * (double(spread_sum(x, t.weight, row.max, n)) + all_weights * double(log_sum));
  loss[r] = T(total);
  weight[r] = T(w);
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
  const P m(row.max), factor(T(double(scale) * share / double(row.sum))), spread(T(double(scale) * t.spread));
  const auto probability = [=](P v) { return exp(v - m) * factor; };
  if (t.spread == 0)
    map_row(n, dx, probability, x);
  else if (!t.weight)
    map_row(
        n, dx, [=](P v) { return probability(v) - spread; }, x);
  else
    map_row(
        n, dx, [=](P v, P w) { return probability(v) - spread * w; }, x, t.weight);
  // Of the class itself: near probability one, the difference must not be formed from a rounded product.
  const double p = double(exp(T(x[target] - row.max))) / double(row.sum);
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
    for_rows<T, 1>(s, {x}, 1, [&](const std::array<T*, 1>& rows, int64_t r) {
      loss_row<T>(c, rows[0], s.n, r, all_weights, losses.as<T>(), weights.as<T>(), row_stats);
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
    for_rows<T, 2>(s, {x, dx}, 1, [&](const std::array<T*, 2>& rows, int64_t r) {
      loss_grad_row<T>(c, rows[0], s.n, r, row_stats[r], factor[one ? 0 : r], all_weights, rows[1]);
    });
  });
}

}  // namespace tenrec::kernels
