// Batch normalisation, forward and backward, of data seen as [n, channels, inner].
//
// Floor: the statistics read x once; y reads x once more and is written once. Backward the sums read x and dy, and dx
// reads both again and is written. Statistics and sums are those of kernels/cuda/pieces.cuh: runs of `inner` neighbours
// where these are long, else columns of the matrix [n, channels * inner], so that neighbouring threads always read
// neighbouring elements.
#include "tenrec/kernels/cuda/moments.cuh"
#include "tenrec/kernels/cuda/pieces.cuh"
#include "tenrec/kernels/norm.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::cuda {
namespace {

constexpr int64_t kShortRun = 8;    // below it, columns
constexpr int64_t kSegment = 8192;  // elements of a block's work where nothing is added up

template <class T>
struct MomentSum {
  using State = Moments;
  const T* x;
  template <class R>
  __device__ void add(const R& row, int64_t, Moments& state) const {
    for (int64_t b = 0; b < row.batches; ++b) {
      typename R::Values v;
      row.load(x + row.start, b, 0, v);
      state.add_batch(row, b, v);
    }
  }
};

// Of dy, and of dy (x - mean).
template <class T>
struct GradSum {
  using State = TwoSums;
  const T *x, *dy;
  const Real<T>* mean;
  int64_t inner;  // columns of a channel
  template <class R>
  __device__ void add(const R& row, int64_t column, TwoSums& state) const {
    using C = Real<T>;
    const C center = mean[column / inner];
    for (int64_t b = 0; b < row.batches; ++b) {
      typename R::Values v, d;
      row.load(x + row.start, b, center, v);
      row.load(dy + row.start, b, C(0), d);
      state.plain += sum_of(d, v, [](C g, C) { return g; });
      state.moment += sum_of(d, v, [=](C g, C e) { return g * (e - center); });
    }
  }
};

// How the elements of the channels are dealt out; nothing at all counts as no rows.
struct Plan {
  int64_t n, channels, inner;
  bool by_column;
  RunPieces runs;
  ColumnPieces columns;
  explicit Plan(const View& x) : Plan(x.numel ? x.size(0) : 0, x.size(1), x.numel ? x.size(2) : 1) {}
  int64_t pieces() const { return by_column ? columns.pieces : runs.pieces; }
  int64_t columns_of_channel() const { return by_column ? inner : 1; }
  int64_t parts() const { return pieces() * channels * columns_of_channel(); }

 private:
  Plan(int64_t n_, int64_t c, int64_t i)
      : n(n_), channels(c), inner(i), by_column(i < kShortRun || n_ == 0), runs(n_, c, i), columns(n_, c * i) {}
};

// The first stage of a sum over channels.
template <class T, class Sum>
Partials sum_channels(const Plan& p, const Sum& sum, const Buffer<double>& parts) {
  if (p.by_column) {
    const Teams& t = p.columns.teams;
    TENREC_LAUNCH((sum_column_pieces<T, Sum>), t.grid, t.threads, 0, stream(), p.columns, sum, parts.data());
  } else {
    choose_row_teams<T>(std::min(p.runs.each, p.runs.of_channel), p.runs.segments.length,
                        [&](auto tag, const Teams& t) {
                          using Team = typename decltype(tag)::type;
                          TENREC_LAUNCH((sum_run_pieces<Team, T, Sum>), blocks_for(p.channels * p.pieces()), t.threads,
                                        0, stream(), p.runs, t.width, sum, parts.data());
                        });
  }
  return {parts.data(), p.pieces(), p.channels, p.columns_of_channel()};
}

template <class C>
__global__ void end_moments(Partials p, int width, C* mean, C* variance) {
  join_parts<Moments>(p, width, [=](int64_t c, const Moments& m) {
    mean[c] = C(m.mean);
    variance[c] = C(m.squares / m.count);
  });
}

// What dx = (dy - average - (x - mean) pull) scale is made of, per channel.
template <class C>
struct InputGrad {
  const C* mean;
  C *average, *pull, *scale;
};

// `fixed`: without average and pull.
template <class C>
__global__ void end_grads(Partials p, int width, double count, bool fixed, const C* rstd, const C* weight, C* dweight,
                          C* dbias, InputGrad<C> of) {
  join_parts<TwoSums>(p, width, [=](int64_t c, const TwoSums& s) {
    const double r = double(rstd[c]);
    if (dweight) dweight[c] = C(s.moment * r);
    if (dbias) dbias[c] = C(s.plain);
    of.average[c] = fixed ? C(0) : C(s.plain / count);
    of.pull[c] = fixed ? C(0) : C(s.moment / count * r * r);
    of.scale[c] = rstd[c] * (weight ? weight[c] : C(1));
  });
}

// A number of each channel, for a row that lies in one channel or goes over all of them.
template <class C>
class ChannelValue {
  const C* from_;
  C value_;

 public:
  // `at`: the row's channel, or its first. `none` stands for numbers that are not there.
  __device__ ChannelValue(const C* values, C none, bool across, int64_t at)
      : from_(values && across ? values + at : nullptr), value_(values && !across ? values[at] : none) {}
  template <int kVector>
  __device__ void get(int64_t place, int64_t n, C (&to)[kVector]) const {
    if (from_) return load_run(from_, 1, place, n, C(0), to);
    TENREC_UNROLL
    for (int j = 0; j < kVector; ++j) to[j] = value_;
  }
};

// The data as rows: of one channel, or of all channels if inner is 1 (`across`).
struct ChannelRows {
  bool across;
  int64_t channels;
  Segments segments;
  explicit ChannelRows(const View& x)
      : across(x.size(2) == 1),
        channels(x.size(1)),
        segments(across ? x.size(0) : x.size(0) * channels, across ? channels : x.size(2), kSegment) {}
  __device__ int64_t channel(int64_t i) const {
    return across ? i % segments.per_run * segments.length : i / segments.per_run % channels;
  }
};

template <class Team, class T>
__global__ void __launch_bounds__(kMostThreads)
    normalize(ChannelRows s, int width, const Real<T>* mean, const Real<T>* rstd, const Real<T>* weight,
              const Real<T>* bias, const T* x, T* y) {
  using C = Real<T>;
  using R = Row<Team, T>;
  for_teams<Team>(s.segments.count, width, [&](const Team& team, int64_t i) {
    if (i >= s.segments.count) return;
    const R row = s.segments.row(team, x, i);
    const int64_t channel = s.channel(i);
    const ChannelValue<C> means(mean, C(0), s.across, channel), rstds(rstd, C(1), s.across, channel),
        weights(weight, C(1), s.across, channel), biases(bias, C(0), s.across, channel);
    row.for_packs([&](int64_t place) {
      C v[R::kVector], m[R::kVector], r[R::kVector], w[R::kVector], add[R::kVector];
      load_run(x + row.start, 1, place, row.n, C(0), v);
      means.get(place, row.n, m);
      rstds.get(place, row.n, r);
      weights.get(place, row.n, w);
      biases.get(place, row.n, add);
      TENREC_UNROLL
      for (int j = 0; j < R::kVector; ++j) v[j] = kernels::fma(v[j] - m[j], r[j] * w[j], add[j]);
      store_run(y + row.start, 1, place, row.n, v);
    });
  });
}

template <class Team, class T>
__global__ void __launch_bounds__(kMostThreads)
    input_grad(ChannelRows s, int width, InputGrad<Real<T>> of, const T* x, const T* dy, T* dx) {
  using C = Real<T>;
  using R = Row<Team, T>;
  for_teams<Team>(s.segments.count, width, [&](const Team& team, int64_t i) {
    if (i >= s.segments.count) return;
    const R row = s.segments.row(team, x, i);
    const int64_t channel = s.channel(i);
    const ChannelValue<C> means(of.mean, C(0), s.across, channel), averages(of.average, C(0), s.across, channel),
        pulls(of.pull, C(0), s.across, channel), scales(of.scale, C(0), s.across, channel);
    row.for_packs([&](int64_t place) {
      C v[R::kVector], d[R::kVector], m[R::kVector], average[R::kVector], pull[R::kVector], scale[R::kVector];
      load_run(x + row.start, 1, place, row.n, C(0), v);
      load_run(dy + row.start, 1, place, row.n, C(0), d);
      means.get(place, row.n, m);
      averages.get(place, row.n, average);
      pulls.get(place, row.n, pull);
      scales.get(place, row.n, scale);
      TENREC_UNROLL
      for (int j = 0; j < R::kVector; ++j) d[j] = (d[j] - average[j] - (v[j] - m[j]) * pull[j]) * scale[j];
      store_run(dx + row.start, 1, place, row.n, d);
    });
  });
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

void batch_norm_stats(Cuda, const View& x, const View& mean, const View& variance) {
  if (x.size(1) == 0) return;
  const Plan plan(x);
  const Buffer<double> buffer(plan.parts() * Moments::kParts);
  visit_floating("batch_norm", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Partials parts = sum_channels<T>(plan, MomentSum<T>{x.as<T>()}, buffer);
    const Teams t = parts.teams();
    TENREC_LAUNCH(end_moments<Real<T>>, t.grid, t.threads, 0, stream(), parts, t.width, mean.as<Real<T>>(),
                  variance.as<Real<T>>());
  });
  TENREC_LAUNCH_CHECK();
}

void batch_norm(Cuda, const View& x, const View& mean, const View& rstd, const View* weight, const View* bias,
                const View& y) {
  if (x.numel == 0) return;
  const ChannelRows s(x);
  visit_floating("batch_norm", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    using C = Real<T>;
    choose_row_teams<T>(s.segments.count, s.segments.length, [&](auto tag, const Teams& t) {
      using Team = typename decltype(tag)::type;
      TENREC_LAUNCH((normalize<Team, T>), t.grid, t.threads, 0, stream(), s, t.width, mean.as<C>(), rstd.as<C>(),
                    data_or_null<C>(weight), data_or_null<C>(bias), x.as<T>(), y.as<T>());
    });
  });
  TENREC_LAUNCH_CHECK();
}

void batch_norm_grad(Cuda, const View& x, const View& dy, const View& mean, const View& rstd, const View* weight,
                     bool fixed, const View* dx, const View* dweight, const View* dbias) {
  const int64_t channels = x.size(1);
  if (channels == 0) return;
  const Plan plan(x);
  const Buffer<double> buffer(plan.parts() * TwoSums::kParts);
  visit_floating("batch_norm", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    using C = Real<T>;
    const Buffer<C> numbers(3 * channels);
    const InputGrad<C> of{mean.as<C>(), numbers.data(), numbers.data() + channels, numbers.data() + 2 * channels};
    // With no pieces, the parts of which nothing is wanted are not looked at.
    Partials parts{nullptr, 0, channels, 1};
    if (!fixed || dweight || dbias)
      parts = sum_channels<T>(plan, GradSum<T>{x.as<T>(), dy.as<T>(), mean.as<C>(), plan.columns_of_channel()}, buffer);
    const Teams ends = parts.teams();
    TENREC_LAUNCH(end_grads<C>, ends.grid, ends.threads, 0, stream(), parts, ends.width, double(plan.n * plan.inner),
                  fixed, rstd.as<C>(), data_or_null<C>(weight), data_or_null<C>(dweight), data_or_null<C>(dbias), of);
    if (!dx || dx->numel == 0) return;
    const ChannelRows s(x);
    choose_row_teams<T>(s.segments.count, s.segments.length, [&](auto tag, const Teams& t) {
      using Team = typename decltype(tag)::type;
      TENREC_LAUNCH((input_grad<Team, T>), t.grid, t.threads, 0, stream(), s, t.width, of, x.as<T>(), dy.as<T>(),
                    dx->as<T>());
    });
  });
  TENREC_LAUNCH_CHECK();
}

}  // namespace tenrec::kernels
