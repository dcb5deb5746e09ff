#include "tenrec/kernels/norm.h"

#include <cmath>

#include "tenrec/kernels/reduce.h"
#include "tenrec/kernels/reduce_engine.h"
#include "tenrec/kernels/rows.h"
#include "tenrec/kernels/tiles.h"

namespace tenrec::kernels {

namespace {

using namespace detail;

constexpr int64_t kGrain = 32768;  // elements of a parallel chunk

// Count, mean and sum of squared deviations of some elements.
struct Moments {
  double n = 0, mean = 0, squares = 0;
  void join(const Moments& b) {
    if (b.n == 0) return;
    const double total = n + b.n, d = b.mean - mean;
    mean += d * (b.n / total);
    squares += b.squares + d * d * (n * b.n / total);
    n = total;
  }
};

template <class T>
Moments moments_of(const T* x, int64_t m) {
  using P = TreePack<T>;
  const T mean = T(Wide<T>(leaf_sum(x, m)) / Wide<T>(m));
  const P center(mean);
  const double squares = sum_row<T>(
      m, [=](P v) { return (v - center) * (v - center); }, x);
  return {double(m), double(mean), squares};
}

// The elements of one channel of [n, channels, inner], as blocks of at most a leaf.
template <class T>
class Channel {
 public:
  Channel(const View& x) : view_(x), size_(size_of(x.dtype)) {  // NOLINT(google-explicit-constructor)
    space_.add(x.size(0), x.stride(0));
    space_.add(x.size(2), x.stride(2));
  }
  int64_t count() const { return space_.numel; }
  DimWalker at(int64_t element) const { return DimWalker(space_, element); }
  // The next m elements.
  const T* block(int64_t channel, DimWalker& at, int64_t m, T* buffer) const {
    const char* base = view_.as<char>() + channel * view_.stride(1) * size_;
    return gather_run(space_, base, view_.dtype, at, m, buffer);
  }

 private:
  const View& view_;
  int64_t size_;
  DimSpace space_;
};

// Calls part(channel, begin, end) for pieces of every channel, then whole(channel, first part, number of parts).
template <class Part, class F, class G>
void for_channels(int64_t channels, int64_t count, F&& part, G&& whole) {
  const int64_t pieces = std::max<int64_t>(1, ceil_div(count, kGrain));
  Scratch scratch;
  Part* parts = scratch.get<Part>(channels * pieces);
  parallel_for(channels * pieces, std::max<int64_t>(1, kGrain / std::max<int64_t>(count, 1)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t first = i % pieces * kGrain;
                   parts[i] = part(i / pieces, first, std::min(count, first + kGrain));
                 }
               });
  for (int64_t c = 0; c < channels; ++c) whole(c, parts + c * pieces, pieces);
}

template <class T>
void stats(const View& x, const View& mean, const View& variance) {
  const Channel<T> channel(x);
  for_channels<Moments>(
      x.size(1), channel.count(),
      [&](int64_t c, int64_t begin, int64_t end) {
        Block<T> buffer;
        Moments all;
        DimWalker at = channel.at(begin);
        for (int64_t i = begin; i < end; i += kLeaf) {
          const int64_t m = std::min(kLeaf, end - i);
          all.join(moments_of(channel.block(c, at, m, buffer.values), m));
        }
        return all;
      },
      [&](int64_t c, const Moments* parts, int64_t n) {
        Moments all;
        for (int64_t i = 0; i < n; ++i) all.join(parts[i]);
        mean.as<T>()[c] = T(all.mean);
        variance.as<T>()[c] = T(all.squares / all.n);
      });
}

// The factor and the summand of each channel, in place of weight and bias that may be absent.
template <class T>
struct Affine {
  T *scale, *bias;
  Affine(Scratch& scratch, int64_t n, const T* rstd, const T* weight, const T* b)
      : scale(scratch.get<T>(n)), bias(scratch.get<T>(n)) {
    for (int64_t i = 0; i < n; ++i) {
      scale[i] = T((rstd ? rstd[i] : T(1)) * (weight ? weight[i] : T(1)));
      bias[i] = b ? b[i] : T(0);
    }
  }
};

// Calls f(i, length, channel, columns) for the runs of [n, channels, inner] at elements [i, i + length): runs of one
// channel, or whole rows of all channels if inner is 1 (`columns`).
template <class F>
void for_runs(const View& x, F&& f) {
  const int64_t channels = x.size(1), inner = x.size(2), run = inner == 1 ? channels : inner;
  if (x.numel == 0) return;
  parallel_for(x.numel / run, std::max<int64_t>(1, kGrain / run), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) f(r * run, run, inner == 1 ? 0 : r % channels, inner == 1);
  });
}

// Calls f(at, m) for the blocks of at most a leaf in [0, n).
template <class F>
TENREC_INLINE void for_blocks(int64_t n, F&& f) {
  for (int64_t at = 0; at < n; at += kLeaf) f(at, std::min(kLeaf, n - at));
}

template <class T>
void normalize(const View& x, const T* mean, const T* rstd, const T* weight, const T* bias, const View& y) {
  using P = TreePack<T>;
  Scratch scratch;
  const Affine<T> affine(scratch, x.size(1), rstd, weight, bias);
  for_runs(x, [&](int64_t i, int64_t length, int64_t c, bool columns) {
    Block<T> in, out;
    for_blocks(length, [&](int64_t at, int64_t m) {
      const T* from = elements(x, i + at, m, in.values);
      T* to = place(y, i + at, out.values);
      if (columns) {
        map_row(
            m, to, [](P v, P u, P s, P b) { return fma(v - u, s, b); }, from, mean + at, affine.scale + at,
            affine.bias + at);
      } else {
        const P center(mean[c]), scale(affine.scale[c]), shift(affine.bias[c]);
        map_row(
            m, to, [=](P v) { return fma(v - center, scale, shift); }, from);
      }
      put(y, i + at, m, to);
    });
  });
}

// Sums over a channel: of dy, and of dy (x - mean).
struct GradSums {
  double plain = 0, moment = 0;
};

template <class T>
void channel_sums(const View& x, const View& dy, const T* mean, GradSums* sums) {
  using P = TreePack<T>;
  const Channel<T> xs(x), dys(dy);
  for_channels<GradSums>(
      x.size(1), xs.count(),
      [&](int64_t c, int64_t begin, int64_t end) {
        Block<T> in, grad;
        GradSums all;
        DimWalker x_at = xs.at(begin), dy_at = dys.at(begin);
        const P center(mean[c]);
        for (int64_t i = begin; i < end; i += kLeaf) {
          const int64_t m = std::min(kLeaf, end - i);
          const T *v = xs.block(c, x_at, m, in.values), *d = dys.block(c, dy_at, m, grad.values);
          all.plain += double(leaf_sum(d, m));
          all.moment += double(sum_row<T>(
              m, [=](P a, P b) { return a * (b - center); }, d, v));
        }
        return all;
      },
      [&](int64_t c, const GradSums* parts, int64_t n) {
        sums[c] = {};
        for (int64_t i = 0; i < n; ++i) {
          sums[c].plain += parts[i].plain;
          sums[c].moment += parts[i].moment;
        }
      });
}

// The same for [n, channels]: strips of channels, row after row.
template <class T>
void column_sums(const View& x, const View& dy, const T* mean, GradSums* sums) {
  using P = TreePack<T>;
  const int64_t rows = x.size(0), channels = x.size(1);
  parallel_for(channels, std::clamp<int64_t>(kGrain / std::max<int64_t>(rows, 1), 64, kLeaf) / 64 * 64,
               [&](int64_t first, int64_t last) {
                 const int64_t width = last - first;
                 Block<T> in, grad, plain, moment;
                 for (int64_t c = first; c < last; ++c) sums[c] = {};
                 for (int64_t r0 = 0; r0 < rows; r0 += kSerialRows) {
                   std::fill_n(plain.values, width, T(0));
                   std::fill_n(moment.values, width, T(0));
                   for (int64_t r = r0; r < std::min(rows, r0 + kSerialRows); ++r) {
                     const T* v = elements(x, r * channels + first, width, in.values);
                     const T* d = elements(dy, r * channels + first, width, grad.values);
                     map_row(
                         width, plain.values, [](P s, P a) { return s + a; }, plain.values, d);
                     map_row(
                         width, moment.values, [](P s, P a, P b, P u) { return s + a * (b - u); }, moment.values, d, v,
                         mean + first);
                   }
                   for (int64_t c = 0; c < width; ++c) {
                     sums[first + c].plain += double(plain.values[c]);
                     sums[first + c].moment += double(moment.values[c]);
                   }
                 }
               });
}

// Short runs (inner below kShortRun) are columns: a matrix [n, channels * inner] in which neighbours share a channel.
constexpr int64_t kShortRun = 16;

// [n, channels, inner] as [n, channels * inner, 1].
struct Flattened {
  Shape shape;
  Strides strides;
  View view;
  explicit Flattened(const View& x)
      : shape{x.size(0), x.size(1) * x.size(2), 1}, strides(contiguous_strides(shape)), view(x) {
    view.shape = &shape;
    view.strides = &strides;
  }
};

template <class T>
void short_run_stats(const View& x, const View& mean, const View& variance) {
  const int64_t inner = x.size(2);
  if (inner == 1) return kernels::variance(Cpu{}, x, 0, false, mean, variance);
  const Flattened flat(x);
  const int64_t columns = flat.shape[1];
  const Shape kept{1, columns, 1}, strides = contiguous_strides(kept);
  Scratch scratch;
  T* means = scratch.get<T>(columns);
  T* variances = scratch.get<T>(columns);
  const auto seen = [&](T* data) { return View{data, &kept, &strides, columns, dtype_of<T>, true}; };
  kernels::variance(Cpu{}, flat.view, 0, false, seen(means), seen(variances));
  for (int64_t c = 0; c < x.size(1); ++c) {
    Moments all;
    for (int64_t i = c * inner; i < (c + 1) * inner; ++i)
      all.join({double(x.size(0)), double(means[i]), double(variances[i]) * double(x.size(0))});
    mean.as<T>()[c] = T(all.mean);
    variance.as<T>()[c] = T(all.squares / all.n);
  }
}

// One value per channel as one per column.
template <class T>
const T* spread(Scratch& scratch, const T* values, int64_t channels, int64_t inner) {
  if (!values || inner == 1) return values;
  T* out = scratch.get<T>(channels * inner);
  for (int64_t i = 0; i < channels * inner; ++i) out[i] = values[i / inner];
  return out;
}

template <class T>
void short_run_sums(const View& x, const View& dy, const T* mean, GradSums* sums) {
  const int64_t channels = x.size(1), inner = x.size(2);
  if (inner == 1) return column_sums(x, dy, mean, sums);
  Scratch scratch;
  auto* columns = scratch.get<GradSums>(channels * inner);
  column_sums(Flattened(x).view, dy, spread(scratch, mean, channels, inner), columns);
  for (int64_t c = 0; c < channels; ++c) {
    sums[c] = {};
    for (int64_t i = c * inner; i < (c + 1) * inner; ++i) {
      sums[c].plain += columns[i].plain;
      sums[c].moment += columns[i].moment;
    }
  }
}

// What dx = (dy - average - (x - mean) pull) scale is made of, per channel.
template <class T>
struct InputGrad {
  const T *mean, *scale, *average, *pull;
};

template <class T>
void input_grad(const View& x, const View& dy, const InputGrad<T>& of, const View& dx) {
  using P = TreePack<T>;
  for_runs(x, [&](int64_t i, int64_t length, int64_t c, bool columns) {
    Block<T> in, grad, out;
    for_blocks(length, [&](int64_t at, int64_t m) {
      const T *v = elements(x, i + at, m, in.values), *d = elements(dy, i + at, m, grad.values);
      T* to = place(dx, i + at, out.values);
      if (columns) {
        map_row(
            m, to, [](P a, P b, P u, P k, P l, P s) { return (a - k - (b - u) * l) * s; }, d, v, of.mean + at,
            of.average + at, of.pull + at, of.scale + at);
      } else {
        const P u(of.mean[c]), k(of.average[c]), l(of.pull[c]), s(of.scale[c]);
        map_row(
            m, to, [=](P a, P b) { return (a - k - (b - u) * l) * s; }, d, v);
      }
      put(dx, i + at, m, to);
    });
  });
}

template <class T>
void batch_grad(const View& x, const View& dy, const T* mean, const T* rstd, const T* weight, bool fixed,
                const View* dx, T* dweight, T* dbias) {
  const int64_t channels = x.size(1), inner = x.size(2);
  const double count = double(x.size(0) * inner);
  const bool columns = inner < kShortRun;
  Scratch scratch;
  T* average = scratch.get<T>(channels);  // of dy, and of dy (x - mean) / variance
  T* pull = scratch.get<T>(channels);
  std::fill_n(average, channels, T(0));
  std::fill_n(pull, channels, T(0));
  if (!fixed || dweight || dbias) {
    auto* sums = scratch.get<GradSums>(channels);
    if (columns)
      short_run_sums(x, dy, mean, sums);
    else
      channel_sums(x, dy, mean, sums);
    for (int64_t c = 0; c < channels; ++c) {
      const double r = double(rstd[c]);
      if (dweight) dweight[c] = T(sums[c].moment * r);
      if (dbias) dbias[c] = T(sums[c].plain);
      if (fixed) continue;
      average[c] = T(sums[c].plain / count);
      pull[c] = T(sums[c].moment / count * r * r);
    }
  }
  if (!dx) return;
  const Affine<T> affine(scratch, channels, rstd, weight, static_cast<const T*>(nullptr));
  if (!columns) return input_grad(x, dy, InputGrad<T>{mean, affine.scale, average, pull}, *dx);
  const auto wide = [&](const T* values) { return spread(scratch, values, channels, inner); };
  const InputGrad<T> of{wide(mean), wide(affine.scale), wide(average), wide(pull)};
  input_grad(Flattened(x).view, dy, of, *dx);
}

}  // namespace

void batch_norm_stats(Cpu, const View& x, const View& mean, const View& variance) {
  visit_real(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (x.size(2) < kShortRun)
      short_run_stats<T>(x, mean, variance);
    else
      stats<T>(x, mean, variance);
  });
}

void batch_norm(Cpu, const View& x, const View& mean, const View& rstd, const View* weight, const View* bias,
                const View& y) {
  visit_real(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *m = mean.as<T>(), *r = rstd.as<T>(), *w = pointer<T>(weight), *b = pointer<T>(bias);
    const int64_t channels = x.size(1), inner = x.size(2);
    if (inner >= kShortRun) return normalize(x, m, r, w, b, y);
    Scratch scratch;
    normalize(Flattened(x).view, spread(scratch, m, channels, inner), spread(scratch, r, channels, inner),
              spread(scratch, w, channels, inner), spread(scratch, b, channels, inner), y);
  });
}

void batch_norm_grad(Cpu, const View& x, const View& dy, const View& mean, const View& rstd, const View* weight,
                     bool fixed, const View* dx, const View* dweight, const View* dbias) {
  visit_real(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    batch_grad(x, dy, mean.as<T>(), rstd.as<T>(), pointer<T>(weight), fixed, dx, pointer<T>(dweight),
               pointer<T>(dbias));
  });
}

}  // namespace tenrec::kernels
