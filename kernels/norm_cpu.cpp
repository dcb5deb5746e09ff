#include "tenrec/kernels/norm.h"

#include <cmath>

#include "tenrec/kernels/reduce.h"
#include "tenrec/kernels/reduce_engine.h"
#include "tenrec/kernels/softmax_rows.h"

namespace tenrec::kernels {

namespace {

using namespace detail;

constexpr int64_t kGrain = 32768;    // elements of a parallel chunk
constexpr int64_t kSerialRows = 64;  // rows added one after the other before they go to a wider sum

template <class F>
void visit_real(DType dtype, F&& f) {
  if (dtype == f64)
    f(double{});
  else
    f(float{});
}
int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <class T>
const T* pointer(const View* v) {
  return v ? v->as<T>() : nullptr;
}
template <class T>
T* target(const View* v) {
  return v ? v->as<T>() : nullptr;
}

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
  const T* block(int64_t channel, int64_t begin, int64_t m, T* buffer) const {
    const char* base = view_.as<char>() + channel * view_.stride(1) * size_;
    return gather_run(space_, base, view_.dtype, begin, m, buffer);
  }

 private:
  const View& view_;
  int64_t size_;
  DimSpace space_;
};

template <class T>
struct Block {
  alignas(64) T values[kLeaf];
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
        for (int64_t i = begin; i < end; i += kLeaf) {
          const int64_t m = std::min(kLeaf, end - i);
          all.join(moments_of(channel.block(c, i, m, buffer.values), m));
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

// Elements [i, i + n) of a contiguous tensor as T: in place or copied.
template <class T>
const T* elements(const View& x, int64_t i, int64_t n, T* buffer) {
  if (x.dtype == dtype_of<T>) return x.as<T>() + i;
  convert_strided(x.as<char>() + i * size_of(x.dtype), x.dtype, 1, buffer, dtype_of<T>, 1, n);
  return buffer;
}
template <class T>
T* place(const View& y, int64_t i, T* buffer) {
  return y.dtype == dtype_of<T> ? y.as<T>() + i : buffer;
}
template <class T>
void put(const View& y, int64_t i, int64_t n, const T* values) {
  if (y.dtype != dtype_of<T>)
    convert_strided(values, dtype_of<T>, 1, y.as<char>() + i * size_of(y.dtype), y.dtype, 1, n);
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
        const P center(mean[c]);
        for (int64_t i = begin; i < end; i += kLeaf) {
          const int64_t m = std::min(kLeaf, end - i);
          const T *v = xs.block(c, i, m, in.values), *d = dys.block(c, i, m, grad.values);
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

template <class T>
void batch_grad(const View& x, const View& dy, const T* mean, const T* rstd, const T* weight, bool fixed,
                const View* dx, T* dweight, T* dbias) {
  using P = TreePack<T>;
  const int64_t channels = x.size(1);
  const double count = double(x.size(0) * x.size(2));
  Scratch scratch;
  T* average = scratch.get<T>(channels);  // of dy, and of dy (x - mean) / variance
  T* pull = scratch.get<T>(channels);
  std::fill_n(average, channels, T(0));
  std::fill_n(pull, channels, T(0));
  if (!fixed || dweight || dbias) {
    auto* sums = scratch.get<GradSums>(channels);
    if (x.size(2) == 1)
      column_sums(x, dy, mean, sums);
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
  for_runs(x, [&](int64_t i, int64_t length, int64_t c, bool columns) {
    Block<T> in, grad, out;
    for_blocks(length, [&](int64_t at, int64_t m) {
      const T *v = elements(x, i + at, m, in.values), *d = elements(dy, i + at, m, grad.values);
      T* to = place(*dx, i + at, out.values);
      if (columns) {
        map_row(
            m, to, [](P a, P b, P u, P k, P l) { return a - k - (b - u) * l; }, d, v, mean + at, average + at,
            pull + at);
        map_row(
            m, to, [](P a, P s) { return a * s; }, to, affine.scale + at);
      } else {
        const P u(mean[c]), k(average[c]), l(pull[c]), s(affine.scale[c]);
        map_row(
            m, to, [=](P a, P b) { return (a - k - (b - u) * l) * s; }, d, v);
      }
      put(*dx, i + at, m, to);
    });
  });
}

}  // namespace

void batch_norm_stats(Cpu, const View& x, const View& mean, const View& variance) {
  if (x.size(2) < 16) {  // columns, or runs too short to be worth a block
    kernels::variance(Cpu{}, x, 0, false, mean, variance);
    return;
  }
  visit_real(x.dtype, [&](auto zero) { stats<decltype(zero)>(x, mean, variance); });
}

void batch_norm(Cpu, const View& x, const View& mean, const View& rstd, const View* weight, const View* bias,
                const View& y) {
  visit_real(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    normalize(x, mean.as<T>(), rstd.as<T>(), pointer<T>(weight), pointer<T>(bias), y);
  });
}

void batch_norm_grad(Cpu, const View& x, const View& dy, const View& mean, const View& rstd, const View* weight,
                     bool fixed, const View* dx, const View* dweight, const View* dbias) {
  visit_real(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    batch_grad(x, dy, mean.as<T>(), rstd.as<T>(), pointer<T>(weight), fixed, dx, target<T>(dweight), target<T>(dbias));
  });
}

// --- layer normalisation --------------------------------------------------------------------------------------------

void layer_norm(Cpu, const View& x, const View* weight, const View* bias, double eps, const View& y, const View& mean,
                const View& rstd) {
  visit_real(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    using P = TreePack<T>;
    const RowSpace s(x, 1);
    Scratch scratch;
    const Affine<T> affine(scratch, s.n, static_cast<const T*>(nullptr), pointer<T>(weight), pointer<T>(bias));
    for_rows<T, 2>(s, {x, y}, 1, [&](const std::array<T*, 2>& rows, int64_t r) {
      const T* from = rows[0];
      const T m = T(tree_sum<T>(s.n, [=](int64_t i, int64_t) { return from + i; }) / Wide<T>(s.n));
      const P center(m);
      const double squares = sum_row<T>(
          s.n, [=](P v) { return (v - center) * (v - center); }, from);
      const T scale = T(1 / std::sqrt(squares / double(s.n) + eps));
      const P by(scale);
      map_row(
          s.n, rows[1], [=](P v, P w, P b) { return fma((v - center) * by, w, b); }, from, affine.scale, affine.bias);
      mean.as<T>()[r] = m;
      rstd.as<T>()[r] = scale;
    });
  });
}

namespace {

// Gradients of the rows [begin, end); those of weight and bias are added to `sums` (2 n doubles).
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

  void run(int64_t begin, int64_t end, double* sums) const {
    const int64_t n = x_.size(1);
    Scratch scratch;
    T* in = scratch.get<T>(n);
    T* grad = scratch.get<T>(n);
    T* out = scratch.get<T>(n);
    T* plain = scratch.get<T>(n);
    T* moment = scratch.get<T>(n);
    for (int64_t r0 = begin; r0 < end; r0 += kSerialRows) {
      if (parameters_) {
        std::fill_n(plain, n, T(0));
        std::fill_n(moment, n, T(0));
      }
      for (int64_t r = r0; r < std::min(end, r0 + kSerialRows); ++r) {
        const T *v = elements(x_, r * n, n, in), *d = elements(dy_, r * n, n, grad);
        const P center(mean_[r]), scale(rstd_[r]);
        if (dx_) input_row(r, n, v, d, out);
        if (!parameters_) continue;
        map_row(
            n, plain, [](P s, P a) { return s + a; }, plain, d);
        map_row(
            n, moment, [=](P s, P a, P b) { return s + a * ((b - center) * scale); }, moment, d, v);
      }
      if (!parameters_) continue;
      for (int64_t c = 0; c < n; ++c) {
        sums[c] += double(moment[c]);
        sums[n + c] += double(plain[c]);
      }
    }
  }

 private:
  // dx = rstd (g - mean(g) - xhat mean(g xhat)) with g = dy weight.
  void input_row(int64_t r, int64_t n, const T* v, const T* d, T* buffer) const {
    const P center(mean_[r]), scale(rstd_[r]);
    T* to = place(*dx_, r * n, buffer);
    if (weight_)
      map_row(
          n, to, [](P a, P w) { return a * w; }, d, weight_);
    const T* g = weight_ ? to : d;
    const P average(T(tree_sum<T>(n, [=](int64_t i, int64_t) { return g + i; }) / Wide<T>(n)));
    const P pull(T(sum_row<T>(
                       n, [=](P a, P b) { return a * ((b - center) * scale); }, g, v) /
                   Wide<T>(n)));
    map_row(
        n, to, [=](P a, P b) { return ((a - average) - (b - center) * scale * pull) * scale; }, g, v);
    put(*dx_, r * n, n, to);
  }
};

}  // namespace

void layer_norm_grad(Cpu, const View& x, const View& dy, const View& mean, const View& rstd, const View* weight,
                     const View* dx, const View* dweight, const View* dbias) {
  visit_real(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t rows = x.size(0), n = x.size(1);
    const bool parameters = dweight || dbias;
    const LayerGrad<T> work(x, dy, mean.as<T>(), rstd.as<T>(), pointer<T>(weight), dx, parameters);
    // At most 64 chunks, each with its sums, which are added in order.
    const int64_t grain = std::max({int64_t(1), kRowGrain / std::max<int64_t>(n, 1), ceil_div(rows, 64)});
    const int64_t chunks = ceil_div(rows, grain);
    Scratch scratch;
    double* sums = scratch.get<double>(std::max<int64_t>(chunks, 1) * 2 * n);
    std::fill_n(sums, std::max<int64_t>(chunks, 1) * 2 * n, 0.0);
    parallel_for(rows, grain, [&](int64_t begin, int64_t end) { work.run(begin, end, sums + begin / grain * 2 * n); });
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
