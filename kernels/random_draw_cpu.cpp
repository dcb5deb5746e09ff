// Draws that need more than one formula: from lists of weights, and by rejection.
#include <algorithm>
#include <atomic>
#include <cmath>

#include "tenrec/core/parallel.h"
#include "tenrec/kernels/random.h"
#include "tenrec/kernels/scratch.h"
#include "tenrec/kernels/vector_math.h"

namespace tenrec::kernels {
namespace {

constexpr int64_t kGrain = 16384;

int64_t grain_of(int64_t per_item) { return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, per_item)); }

// Uniform numbers of element `index` of a call, in (0, 1).
double unit_of(GeneratorState state, int64_t index) {
  const PhiloxBlock block = tenrec::detail::philox(state, uint64_t(index) >> 1);
  const int at = int(index & 1) * 2;
  return tenrec::detail::unit_double(block.word[at], block.word[at + 1]) + 0x1p-54;
}

// The first row for which something is wrong, whichever thread finds one first.
class FirstBad {
 public:
  void report(int64_t row) {
    for (int64_t seen = row_.load(); row < seen && !row_.compare_exchange_weak(seen, row);) {
    }
  }
  int64_t row() const { return row_.load() == INT64_MAX ? -1 : row_.load(); }

 private:
  std::atomic<int64_t> row_{INT64_MAX};
};

// --- weights --------------------------------------------------------------------------------------------------------

// How many of the weights are positive; -1 if one is not a weight or their sum is not finite.
int64_t count_positive(const double* w, int64_t n) {
  int64_t positive = 0;
  double total = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (!(w[i] >= 0)) return -1;
    positive += w[i] > 0;
    total += w[i];
  }
  return std::isfinite(total) ? positive : -1;
}

// By inversion: the first index at which the running sum passes a uniform part of the whole.
void draw_with_replacement(GeneratorState state, const double* w, int64_t n, int64_t first, int64_t* y, int64_t k) {
  Scratch scratch;
  auto* sums = scratch.get<double>(n);
  double total = 0;
  int64_t last = 0;  // that has a positive weight
  for (int64_t i = 0; i < n; ++i) {
    sums[i] = total += w[i];
    if (w[i] > 0) last = i;
  }
  for (int64_t j = 0; j < k; ++j) {
    const double* found = std::upper_bound(sums, sums + n, unit_of(state, first + j) * total);
    y[j] = std::min<int64_t>(found - sums, last);
  }
}

// Exponential clocks of rate w[i]: the order in which they ring is a draw without replacement (P. S. Efraimidis and
// P. G. Spirakis, "Weighted random sampling with a reservoir", Information Processing Letters 97, 2006).
void draw_without_replacement(GeneratorState state, const double* w, int64_t n, int64_t first, int64_t* y, int64_t k) {
  struct Clock {
    double time;
    int64_t index;
    bool operator<(const Clock& other) const { return time != other.time ? time < other.time : index < other.index; }
  };
  Scratch scratch;
  auto* clocks = scratch.get<Clock>(n);
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i)
    if (w[i] > 0) clocks[count++] = {-std::log(unit_of(state, first + i)) / w[i], i};
  std::partial_sort(clocks, clocks + k, clocks + count);
  for (int64_t j = 0; j < k; ++j) y[j] = clocks[j].index;
}

}  // namespace

int64_t random_multinomial(Cpu, GeneratorState state, const View& weights, bool replacement, const View& y) {
  const int64_t rows = y.size(0), k = y.size(1), n = weights.size(1);
  FirstBad bad;
  parallel_for(rows, grain_of(n + k), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const double* w = weights.as<double>() + r * n;
      if (count_positive(w, n) < (replacement ? 1 : std::max<int64_t>(k, 1))) {
        bad.report(r);
        continue;
      }
      int64_t* to = y.as<int64_t>() + r * k;
      if (replacement)
        draw_with_replacement(state, w, n, r * k, to, k);
      else
        draw_without_replacement(state, w, n, r * n, to, k);
    }
  });
  return bad.row();
}

int64_t random_categorical(Cpu, const View& logits, const View& noise, const View& y) {
  using Floats = NativePack<float>;
  constexpr int lanes = kLanes<float>;
  const int64_t rows = y.numel, n = logits.size(1);
  FirstBad bad;
  parallel_for(rows, grain_of(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float *x = logits.as<float>() + r * n, *e = noise.as<float>() + r * n;
      float best = -std::numeric_limits<float>::infinity();
      int64_t at = -1;
      for (int64_t i = 0; i < n; i += lanes) {
        const int count = int(std::min<int64_t>(lanes, n - i));
        const Floats score = Floats::load_partial(x + i, count) - log(Floats::load_partial(e + i, count, 1.0f));
        for (int lane = 0; lane < count; ++lane) {
          if (!(score[lane] > best)) continue;
          best = score[lane];
          at = i + lane;
        }
      }
      y.as<int64_t>()[r] = at;
      if (at < 0) bad.report(r);
    }
  });
  return bad.row();
}

// --- rejection ------------------------------------------------------------------------------------------------------

namespace {

// The random words of one element: as many blocks as it asks for.
class Stream {
 public:
  Stream(GeneratorState state, int64_t index) : state_(state), index_(uint64_t(index)) {}
  // In (0, 1).
  double unit() {
    if (used_ == 4) {
      block_ = tenrec::detail::philox(state_, index_ + (tries_++ << 48));
      used_ = 0;
    }
    return (double(block_.word[used_++]) + 0.5) * 0x1p-32;
  }
  double normal() {
    const double r = std::sqrt(-2 * std::log(unit()));
    return r * std::cos(unit() * 0x1.921fb54442d18p2);
  }

 private:
  GeneratorState state_;
  uint64_t index_, tries_ = 0;
  PhiloxBlock block_;
  int used_ = 4;
};

// G. Marsaglia and W. W. Tsang, "A simple method for generating gamma variables", ACM TOMS 26, 2000. Shapes below 1
// are made from shape + 1, as they say at the end.
double draw_gamma(Stream& random, double shape) {
  if (shape == 0) return 0;
  const double scale = shape < 1 ? std::pow(random.unit(), 1 / shape) : 1;
  const double d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = random.normal(), root = 1 + c * x;
    if (root <= 0) continue;
    const double v = root * root * root;
    if (std::log(random.unit()) < 0.5 * x * x + d * (1 - v + std::log(v))) return scale * (d * v);
  }
}

// Few expected events: count exponential waiting times until they fill the unit interval.
double draw_small_poisson(Stream& random, double rate) {
  double count = 0;
  for (double time = -std::log(random.unit()); time < rate; time -= std::log(random.unit())) ++count;
  return count;
}

// W. Hörmann, "The transformed rejection method for generating Poisson random variables", Insurance: Mathematics and
// Economics 12, 1993 (algorithm PTRS).
double draw_large_poisson(Stream& random, double rate) {
  const double b = 0.931 + 2.53 * std::sqrt(rate), a = -0.059 + 0.02483 * b;
  const double log_alpha = std::log(1.1239 + 1.1328 / (b - 3.4)), inner = 0.9277 - 3.6224 / (b - 2);
  while (true) {
    const double u = random.unit() - 0.5, v = random.unit(), s = 0.5 - std::fabs(u);
    const double k = std::floor((2 * a / s + b) * u + rate + 0.43);
    if (s >= 0.07 && v <= inner) return k;
    if (k < 0 || (s < 0.013 && v > s)) continue;
    if (std::log(v) + log_alpha - std::log(a / (s * s) + b) <= k * std::log(rate) - rate - lgamma(k + 1)) return k;
  }
}

template <class F>
void each_element(GeneratorState state, const View& parameter, const View& y, F&& draw) {
  parallel_for(y.numel, grain_of(32), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Stream random(state, i);
      y.as<double>()[i] = draw(random, parameter.as<double>()[i]);
    }
  });
}

}  // namespace

void random_gamma(Cpu, GeneratorState state, const View& shape, const View& y) {
  each_element(state, shape, y, draw_gamma);
}

void random_poisson(Cpu, GeneratorState state, const View& rate, const View& y) {
  each_element(state, rate, y, [](Stream& random, double r) {
    return r < 10 ? draw_small_poisson(random, r) : draw_large_poisson(random, r);
  });
}

}  // namespace tenrec::kernels
