// Layer and root-mean-square normalisation of rows, forward and backward: without a mean rows are not centred.
//
// Floor: forward each element is read once and written once: a row's mean and variance come from one pass. Backward x
// and dy are read once for dx, and once more for the gradients of weight and bias, which are sums over the rows: a
// block adds up some rows of some neighbouring columns (kernels/cuda/pieces.cuh).
#include "tenrec/kernels/cuda/moments.cuh"
#include "tenrec/kernels/cuda/pieces.cuh"
#include "tenrec/kernels/norm.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::cuda {
namespace {

// Of a parameter along the row; `none` if there is none.
template <class C, int kVector>
__device__ void get(const C* values, C none, int64_t place, int64_t n, C (&to)[kVector]) {
  if (values) return load_run(values, 1, place, n, none, to);
  TENREC_UNROLL
  for (int j = 0; j < kVector; ++j) to[j] = none;
}

template <class Team, class T>
__global__ void __launch_bounds__(kMostThreads)
    layer_norm_rows(RowShape s, int width, const T* x, const Real<T>* weight, const Real<T>* bias, double eps, T* y,
                    Real<T>* mean, Real<T>* rstd) {
  using C = Real<T>;
  using R = Row<Team, T>;
  for_teams<Team>(s.rows, width, [&](const Team& team, int64_t r) {
    const R row = row_at(team, s, x, r);
    const T* from = x + row.start;
    typename R::Values v;
    Moments moments;
    for (int64_t b = 0; b < row.batches; ++b) {
      row.load(from, b, C(0), v);
      moments.add_batch(row, b, v);
    }
    moments.join(team, double(s.n));
    const double squares = moments.squares + (mean ? 0 : double(s.n) * moments.mean * moments.mean);
    const C center = mean ? C(moments.mean) : C(0), by = C(1 / std::sqrt(squares / double(s.n) + eps));
    if (r < s.rows && team.rank == 0) {
      if (mean) mean[r] = center;
      rstd[r] = by;
    }
    for (int64_t b = row.batches - 1; b >= 0; --b) {
      if (b != row.batches - 1) row.load(from, b, C(0), v);
      TENREC_UNROLL
      for (int k = 0; k < R::kPacks; ++k) {
        C w[R::kVector], add[R::kVector];
        get(weight, C(1), row.place(b, k), row.n, w);
        get(bias, C(0), row.place(b, k), row.n, add);
        TENREC_UNROLL
        for (int j = 0; j < R::kVector; ++j) v[k][j] = kernels::fma((v[k][j] - center) * by, w[j], add[j]);
      }
      row.store(y + row.start, b, v);
    }
  });
}

// dx = rstd (g - mean(g) - xhat mean(g xhat)) with g = dy weight and xhat = (x - mean) rstd.
template <class Team, class T>
__global__ void __launch_bounds__(kMostThreads)
    layer_grad_rows(RowShape s, int width, const T* x, const T* dy, const Real<T>* mean, const Real<T>* rstd,
                    const Real<T>* weight, T* dx) {
  using C = Real<T>;
  using R = Row<Team, T>;
  for_teams<Team>(s.rows, width, [&](const Team& team, int64_t r) {
    const R row = row_at(team, s, x, r);
    const C center = mean && r < s.rows ? mean[r] : C(0), by = r < s.rows ? rstd[r] : C(0);
    typename R::Values u, g;  // x - mean, and g
    const auto load = [&](int64_t b) {
      row.load(x + row.start, b, center, u);
      map(u, [=](C e) { return e - center; });
      row.load(dy + row.start, b, C(0), g);
      if (!weight) return;
      TENREC_UNROLL
      for (int k = 0; k < R::kPacks; ++k) {
        C w[R::kVector];
        load_run(weight, 1, row.place(b, k), row.n, C(0), w);
        TENREC_UNROLL
        for (int j = 0; j < R::kVector; ++j) g[k][j] *= w[j];
      }
    };
    double plain = 0, moment = 0;
    for (int64_t b = 0; b < row.batches; ++b) {
      load(b);
      plain += sum_of(g, u, [](C d, C) { return d; });
      moment += sum_of(g, u, [](C d, C e) { return d * e; });
    }
    const double along = team.reduce(plain, 0.0, Add());
    const C average = mean ? C(along / double(s.n)) : C(0);
    const C pull = C(team.reduce(moment, 0.0, Add()) * double(by) / double(s.n));
    for (int64_t b = row.batches - 1; b >= 0; --b) {
      if (b != row.batches - 1) load(b);
      map(g, u, [=](C d, C e) { return ((d - average) - e * by * pull) * by; });
      row.store(dx + row.start, b, g);
    }
  });
}

// Over the rows, of dy and of dy xhat.
template <class T>
struct ParameterSum {
  using State = TwoSums;
  const T *x, *dy;
  const Real<T>*mean, *rstd;
  int64_t columns;
  template <class R>
  __device__ void add(const R& row, int64_t, TwoSums& state) const {
    using C = Real<T>;
    const int64_t first = row.start / columns;
    for (int64_t b = 0; b < row.batches; ++b) {
      typename R::Values v, d, m, r;
      row.load(x + row.start, b, C(0), v);
      row.load(dy + row.start, b, C(0), d);
      TENREC_UNROLL
      for (int k = 0; k < R::kPacks; ++k) {
        get(mean ? mean + first : nullptr, C(0), row.place(b, k), row.n, m[k]);
        load_run(rstd + first, 1, row.place(b, k), row.n, C(0), r[k]);
      }
      map(v, m, [](C e, C center) { return e - center; });
      map(v, r, [](C e, C by) { return e * by; });
      state.plain += sum_of(d, v, [](C g, C) { return g; });
      state.moment += sum_of(d, v, [](C g, C e) { return g * e; });
    }
  }
};

template <class C>
__global__ void end_parameters(Partials p, int width, C* dweight, C* dbias) {
  join_parts<TwoSums>(p, width, [=](int64_t c, const TwoSums& s) {
    if (dweight) dweight[c] = C(s.moment);
    if (dbias) dbias[c] = C(s.plain);
  });
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

void layer_norm(Cuda, const View& x, const View* weight, const View* bias, double eps, const View& y, const View* mean,
                const View& rstd) {
  if (x.numel == 0) return;
  const RowShape s = row_shape(x, 1);
  visit_floating("layer_norm", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    using C = Real<T>;
    choose_row_teams<T>(s.rows, s.n, [&](auto tag, const Teams& t) {
      using Team = typename decltype(tag)::type;
      TENREC_LAUNCH((layer_norm_rows<Team, T>), t.grid, t.threads, 0, stream(), s, t.width, x.as<T>(),
                    data_or_null<C>(weight), data_or_null<C>(bias), eps, y.as<T>(), data_or_null<C>(mean),
                    rstd.as<C>());
    });
  });
  TENREC_LAUNCH_CHECK();
}

void layer_norm_grad(Cuda, const View& x, const View& dy, const View* mean, const View& rstd, const View* weight,
                     const View* dx, const View* dweight, const View* dbias) {
  const RowShape s = row_shape(x, 1);
  if (s.n == 0) return;
  visit_floating("layer_norm", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    using C = Real<T>;
    if (dx && x.numel > 0)
      choose_row_teams<T>(s.rows, s.n, [&](auto tag, const Teams& t) {
        using Team = typename decltype(tag)::type;
        TENREC_LAUNCH((layer_grad_rows<Team, T>), t.grid, t.threads, 0, stream(), s, t.width, x.as<T>(), dy.as<T>(),
                      data_or_null<C>(mean), rstd.as<C>(), data_or_null<C>(weight), dx->as<T>());
      });
    if (!dweight && !dbias) return;
    using Sum = ParameterSum<T>;
    const ColumnPieces p(s.rows, s.n);
    const Buffer<double> buffer(p.pieces * p.columns * TwoSums::kParts);
    TENREC_LAUNCH((sum_column_pieces<T, Sum>), p.teams.grid, p.teams.threads, 0, stream(), p,
                  Sum{x.as<T>(), dy.as<T>(), data_or_null<C>(mean), rstd.as<C>(), s.n}, buffer.data());
    const Partials parts{buffer.data(), p.pieces, s.n, 1};
    const Teams ends = parts.teams();
    TENREC_LAUNCH(end_parameters<C>, ends.grid, ends.threads, 0, stream(), parts, ends.width, data_or_null<C>(dweight),
                  data_or_null<C>(dbias));
  });
  TENREC_LAUNCH_CHECK();
}

}  // namespace tenrec::kernels
