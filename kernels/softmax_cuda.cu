// Softmax, log-softmax, their gradients, and logsumexp.
//
// Floor: each element is read once and written once (the gradient reads two). A row's maximum and sum of e^(x - max)
// come from one pass: a batch at a time, what was summed before being scaled when the maximum rises (M. Milakov and
// N. Gimelshein, "Online normalizer calculation for softmax", 2018). The exponentials of the batch that a thread still
// holds are not computed again. See kernels/cuda/rows.cuh for who works on which row.
#include "tenrec/kernels/cuda/exp_sum.cuh"
#include "tenrec/kernels/softmax.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::cuda {
namespace {

template <class Team, class T>
__global__ void __launch_bounds__(kMostThreads) softmax_rows(RowShape s, int width, const T* x, T* y, bool log) {
  using C = Real<T>;
  using R = Row<Team, T>;
  for_teams<Team>(s.rows, width, [&](const Team& team, int64_t r) {
    const R row = row_at(team, s, x, r);
    const T* from = x + row.start;
    typename R::Values v;
    ExpSum<C> sum;
    for (int64_t b = 0; b < row.batches; ++b) {
      row.load(from, b, -std::numeric_limits<C>::infinity(), v);
      sum.add(v, !log);
    }
    const C own = sum.max;
    sum.join(team);
    // Infinity leaves no probabilities.
    const double total = std::isinf(sum.max) ? std::numeric_limits<double>::quiet_NaN() : sum.sum;
    const C last = C(log ? std::log(total) : 1 / total);
    for (int64_t b = row.batches - 1; b >= 0; --b) {
      const bool held = b == row.batches - 1;
      if (!held) row.load(from, b, C(0), v);
      if (log)
        map(v, [=](C e) { return (e - sum.max) - last; });
      else if (held)
        map(v, [scale = own == sum.max ? last : exp_of(own - sum.max) * last](C e) { return e * scale; });
      else
        map(v, [=](C e) { return exp_of(e - sum.max) * last; });
      row.store(y + row.start, b, v);
    }
  });
}

template <class Team, class T>
__global__ void __launch_bounds__(kMostThreads)
    softmax_grad_rows(RowShape s, int width, const T* y, const T* dy, T* dx, bool log) {
  using C = Real<T>;
  using R = Row<Team, T>;
  for_teams<Team>(s.rows, width, [&](const Team& team, int64_t r) {
    const R row = row_at(team, s, y, r);
    typename R::Values w, g;
    const auto load = [&](int64_t b) {
      row.load(y + row.start, b, C(0), w);
      row.load(dy + row.start, b, C(0), g);
    };
    double sum = 0;
    for (int64_t b = 0; b < row.batches; ++b) {
      load(b);
      sum += sum_of(w, g, [=](C p, C d) { return log ? d : d * p; });
    }
    const C all = C(team.reduce(sum, 0.0, Add()));
    for (int64_t b = row.batches - 1; b >= 0; --b) {
      if (b != row.batches - 1) load(b);
      if (log)
        map(w, g, [=](C p, C d) { return d - exp_of(p) * all; });
      else
        map(w, g, [=](C p, C d) { return p * (d - all); });
      row.store(dx + row.start, b, w);
    }
  });
}

template <class Team, class T>
__global__ void __launch_bounds__(kMostThreads) logsumexp_rows(RowShape s, int width, const T* x, T* y) {
  using C = Real<T>;
  using R = Row<Team, T>;
  for_teams<Team>(s.rows, width, [&](const Team& team, int64_t r) {
    const R row = row_at(team, s, x, r);
    typename R::Values v;
    ExpSum<C> sum;
    for (int64_t b = 0; b < row.batches; ++b) {
      row.load(x + row.start, b, -std::numeric_limits<C>::infinity(), v);
      sum.add(v, false);
    }
    sum.join(team);
    if (team.rank != 0 || r >= s.rows) return;
    double result = sum.sum;  // if it is NaN
    if (result == result) result = std::isinf(sum.max) ? double(sum.max) : double(sum.max) + std::log(sum.sum);
    y[r] = convert_to<T>(C(result));
  });
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

void softmax(Cuda, const View& x, const View& y, int64_t dim, bool log) {
  if (x.numel == 0) return;
  const RowShape s = row_shape(x, dim);
  visit_floating("softmax", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    choose_teams<T>(s, [&](auto tag, const Teams& t) {
      using Team = typename decltype(tag)::type;
      TENREC_LAUNCH((softmax_rows<Team, T>), t.grid, t.threads, 0, stream(), s, t.width, x.as<T>(), y.as<T>(), log);
    });
  });
  TENREC_LAUNCH_CHECK();
}

void softmax_grad(Cuda, const View& y, const View& dy, const View& dx, int64_t dim, bool log) {
  if (y.numel == 0) return;
  const RowShape s = row_shape(y, dim);
  visit_floating("softmax", y.dtype, [&](auto zero) {
    using T = decltype(zero);
    choose_teams<T>(s, [&](auto tag, const Teams& t) {
      using Team = typename decltype(tag)::type;
      TENREC_LAUNCH((softmax_grad_rows<Team, T>), t.grid, t.threads, 0, stream(), s, t.width, y.as<T>(), dy.as<T>(),
                    dx.as<T>(), log);
    });
  });
  TENREC_LAUNCH_CHECK();
}

void logsumexp(Cuda, const View& x, const View& y) {
  const RowShape s = row_shape(x, 1);
  if (s.rows == 0) return;
  visit_floating("logsumexp", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    choose_row_teams<T>(s.rows, s.n, [&](auto tag, const Teams& t) {
      using Team = typename decltype(tag)::type;
      TENREC_LAUNCH((logsumexp_rows<Team, T>), t.grid, t.threads, 0, stream(), s, t.width, x.as<T>(), y.as<T>());
    });
  });
  TENREC_LAUNCH_CHECK();
}

}  // namespace tenrec::kernels
