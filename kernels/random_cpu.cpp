// Draws that are one formula on random words: uniform, normal, exponential, integers, bernoulli, dropout.
//
// Words are made a buffer at a time, turned into values of the compute type, and converted to the output's. The formula
// always runs over whole buffers, so an element's value is the same in a tail as anywhere.
#include "tenrec/kernels/random.h"

#include <algorithm>
#include <cmath>

#include "tenrec/core/parallel.h"
#include "tenrec/kernels/convert.h"
#include "tenrec/kernels/random_words_impl.h"
#include "tenrec/kernels/vector_math.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::kernels {
namespace {

using detail::kBufferWords;
using Words = NativePack<uint32_t>;
using Floats = NativePack<float>;

constexpr int64_t kGrain = 16384;  // elements of a parallel chunk, whole buffers
static_assert(kGrain % kBufferWords == 0);

// Calls fill(words, first element, elements) for runs of elements that take `kWords` words each.
template <int kWords, class F>
void for_words(GeneratorState state, int64_t n, F&& fill) {
  constexpr int64_t run = kBufferWords / kWords;
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    alignas(64) uint32_t words[kBufferWords];
    for (int64_t at = begin; at < end; at += run) {
      detail::philox_words(state, uint64_t(at) * kWords, words);
      fill(words, at, std::min(run, end - at));
    }
  });
}

// values[0, n) to y, rounded.
template <class T>
void put(const float* values, T* y, int64_t n) {
  find_convert(f32, dtype_of<T>)(values, 1, y, 1, n);
}

// 64 random bits.
uint64_t joined(const uint32_t* pair) { return uint64_t(pair[0]) | uint64_t(pair[1]) << 32; }

// In (0, 1]: 32 bits, and more of them near 0, where a logarithm is steep.
template <class P>
TENREC_INLINE P open_unit(P word) {
  return fma(word, P(0x1p-32f), P(0x1p-33f));
}
// The words as floats, rounded to nearest.
TENREC_INLINE Floats to_floats(Words w) { return convert<Floats>(w); }
double open_unit_double(uint32_t high, uint32_t low) { return tenrec::detail::unit_double(high, low) + 0x1p-54; }

}  // namespace

// --- uniform --------------------------------------------------------------------------------------------------------

namespace {

// Random bits that the output's dtype holds: more would be rounded, up to 1 at worst.
template <class T>
constexpr int kUnitBits = std::is_same_v<T, bfloat16>  ? 8
                          : std::is_same_v<T, float16> ? 11
                                                       : 24;

// Plain loops over a buffer; parameters by value, so that the compiler knows that stores do not change them.
void uniform_values(const uint32_t* words, int bits, float low, float high, float* values) {
  const float scale = float(std::ldexp(1.0, -bits)), span = high - low;
  for (int64_t i = 0; i < kBufferWords; ++i) {
    const float v = low + span * (float(int32_t(words[i] >> (32 - bits))) * scale);
    values[i] = v < high ? v : low;
  }
}
// What rounding put at `high` after all.
template <class T>
void stay_below(T* y, int64_t n, float low, float high) {
  for (int64_t i = 0; i < n; ++i)
    if (!(float(y[i]) < high)) y[i] = T(low);
}

template <class T>
void uniform_floats(GeneratorState state, float low, float high, T* y, int64_t n) {
  for_words<1>(state, n, [=](const uint32_t* words, int64_t at, int64_t count) {
    alignas(64) float values[kBufferWords];
    uniform_values(words, kUnitBits<T>, low, high, values);
    put(values, y + at, count);
    if constexpr (!std::is_same_v<T, float>) stay_below(y + at, count, low, high);
  });
}

}  // namespace

void random_uniform(Cpu, GeneratorState state, double low, double high, const View& y) {
  visit_floating("uniform", y.dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_same_v<T, double>) {
      for_words<2>(state, y.numel, [&](const uint32_t* words, int64_t at, int64_t count) {
        for (int64_t i = 0; i < count; ++i) {
          const double v = low + (high - low) * tenrec::detail::unit_double(words[2 * i], words[2 * i + 1]);
          y.as<double>()[at + i] = v < high ? v : low;
        }
      });
    } else {
      uniform_floats<T>(state, float(low), float(high), y.as<T>(), y.numel);
    }
  });
}

// --- normal ---------------------------------------------------------------------------------------------------------

namespace {

// Even and odd elements of two vectors, and back.
template <size_t... I>
TENREC_INLINE std::pair<Words, Words> deinterleave(Words a, Words b, std::index_sequence<I...>) {
  return {Words(Words::Vec(__builtin_shufflevector(a.v, b.v, (2 * int(I))...))),
          Words(Words::Vec(__builtin_shufflevector(a.v, b.v, (2 * int(I) + 1)...)))};
}
template <size_t... I>
TENREC_INLINE std::pair<Floats, Floats> interleave(Floats a, Floats b, std::index_sequence<I...>) {
  constexpr int n = int(sizeof...(I));
  return {Floats(Floats::Vec(__builtin_shufflevector(a.v, b.v, (int(I) / 2 + (int(I) % 2) * n)...))),
          Floats(Floats::Vec(__builtin_shufflevector(a.v, b.v, (n / 2 + int(I) / 2 + (int(I) % 2) * n)...)))};
}

// Pairs of words to pairs of independent normals: r cos t and r sin t with r^2 = -2 log u, t uniform in a turn.
void normal_floats(const uint32_t* words, float mean, float std, float* values) {
  constexpr int lanes = kLanes<float>;
  constexpr auto all = std::make_index_sequence<size_t(lanes)>();
  for (int64_t i = 0; i < kBufferWords; i += 2 * lanes) {
    const auto [first, second] = deinterleave(Words::load(words + i), Words::load(words + i + lanes), all);
    const Floats r = sqrt(Floats(-2.0f) * log(open_unit(to_floats(first))));
    const auto turn = sin_cos(to_floats(second) * Floats(0x1.921fb6p-30f));  // 2 pi / 2^32
    const auto [low, high] =
        interleave(Floats(mean) + Floats(std) * (r * turn.cosine), Floats(mean) + Floats(std) * (r * turn.sine), all);
    low.store(values + i);
    high.store(values + i + lanes);
  }
}

}  // namespace

void random_normal(Cpu, GeneratorState state, double mean, double std, const View& y) {
  visit_floating("normal", y.dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_same_v<T, double>) {
      for_words<2>(state, y.numel, [&](const uint32_t* words, int64_t at, int64_t count) {
        for (int64_t i = 0; i < count; i += 2) {
          const uint32_t* block = words + 2 * i;
          const double r = std::sqrt(-2 * std::log(open_unit_double(block[0], block[1])));
          const double turn = tenrec::detail::unit_double(block[2], block[3]) * 0x1.921fb54442d18p2;
          y.as<double>()[at + i] = mean + std * (r * std::cos(turn));
          if (i + 1 < count) y.as<double>()[at + i + 1] = mean + std * (r * std::sin(turn));
        }
      });
    } else {
      for_words<1>(state, y.numel, [&](const uint32_t* words, int64_t at, int64_t count) {
        alignas(64) float values[kBufferWords];
        normal_floats(words, float(mean), float(std), values);
        put(values, y.as<T>() + at, count);
      });
    }
  });
}

namespace {

struct Truncation {
  double mean, std, low, high, from, to;  // `from` and `to`: the distribution function at low and high
  // The uniform number of an element to its erf.
  double erf_of(const uint32_t* pair) const {
    return 2 * (from + (to - from) * open_unit_double(pair[0], pair[1])) - 1;
  }
  double place(double erfinv) const { return std::clamp(std * (0x1.6a09e667f3bcdp0 * erfinv) + mean, low, high); }
};

// For results of single precision: good to 2^-31, all lanes at once but where erf is within 2^-25 of an end.
void truncated_floats(const uint32_t* words, const Truncation& t, float* values) {
  using Doubles = NativePack<double>;
  constexpr int lanes = kLanes<double>;
  for (int64_t i = 0; i < kBufferWords / 2; i += lanes) {
    alignas(64) double x[lanes], y[lanes];
    for (int k = 0; k < lanes; ++k) x[k] = t.erf_of(words + 2 * (i + k));
    detail::wide_erfinv(Doubles::load(x)).store(y);
    for (int k = 0; k < lanes; ++k) values[i + k] = float(t.place(std::fabs(x[k]) < 1 - 0x1p-25 ? y[k] : erfinv(x[k])));
  }
}

}  // namespace

void random_truncated_normal(Cpu, GeneratorState state, double mean, double std, double low, double high,
                             const View& y) {
  const auto cdf = [](double z) { return 0.5 * std::erfc(-z * 0x1.6a09e667f3bcdp-1); };
  const Truncation t{mean, std, low, high, cdf((low - mean) / std), cdf((high - mean) / std)};
  visit_floating("trunc_normal", y.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_words<2>(state, y.numel, [&](const uint32_t* words, int64_t at, int64_t count) {
      if constexpr (std::is_same_v<T, double>) {
        for (int64_t i = 0; i < count; ++i) y.as<double>()[at + i] = t.place(erfinv(t.erf_of(words + 2 * i)));
      } else {
        alignas(64) float values[kBufferWords / 2];
        truncated_floats(words, t, values);
        put(values, y.as<T>() + at, count);
      }
    });
  });
}

void random_exponential(Cpu, GeneratorState state, double rate, const View& y) {
  visit_floating("exponential", y.dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_same_v<T, double>) {
      for_words<2>(state, y.numel, [&](const uint32_t* words, int64_t at, int64_t count) {
        for (int64_t i = 0; i < count; ++i)
          y.as<double>()[at + i] = -std::log(open_unit_double(words[2 * i], words[2 * i + 1])) / rate;
      });
    } else {
      for_words<1>(state, y.numel, [&](const uint32_t* words, int64_t at, int64_t count) {
        alignas(64) float values[kBufferWords];
        for (int64_t i = 0; i < kBufferWords; i += kLanes<float>)
          (-log(open_unit(to_floats(Words::load(words + i)))) / Floats(float(rate))).store(values + i);
        put(values, y.as<T>() + at, count);
      });
    }
  });
}

// --- bits -----------------------------------------------------------------------------------------------------------

namespace {

__extension__ typedef unsigned __int128 Uint128;
uint64_t upper_product(uint64_t a, uint64_t b) { return uint64_t((Uint128(a) * b) >> 64); }

template <class T>
T from_integer(int64_t v) {
  if constexpr (std::is_class_v<T>)
    return T(float(v));
  else
    return T(v);
}
template <class T>
using Stored = std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>;

// Words below this are hits of probability p; p = 1 is not representable.
uint32_t threshold(double p) { return uint32_t(std::min(std::ceil(p * 0x1p32), 0x1p32 - 1)); }

}  // namespace

namespace {
template <class T>
void choose(const uint32_t* __restrict words, uint32_t below, T hit, T miss, T* __restrict y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = words[i] < below ? hit : miss;
}
}  // namespace

void random_bernoulli(Cpu, GeneratorState state, double p, const View& y) {
  visit_dtype(y.dtype, [&](auto zero) {
    using T = Stored<decltype(zero)>;
    const T hit = from_integer<T>(1), miss = from_integer<T>(p >= 1);
    for_words<1>(state, y.numel, [&](const uint32_t* words, int64_t at, int64_t count) {
      choose(words, threshold(p), hit, miss, y.as<T>() + at, count);
    });
  });
}

void random_bernoulli(Cpu, GeneratorState state, const View& p, const View& y) {
  visit_dtype(y.dtype, [&](auto zero) {
    using T = Stored<decltype(zero)>;
    const T hit = from_integer<T>(1), miss = from_integer<T>(0);
    visit_floating("bernoulli", p.dtype, [&](auto chance) {
      using P = decltype(chance);
      for_words<1>(state, y.numel, [&](const uint32_t* words, int64_t at, int64_t count) {
        for (int64_t i = 0; i < count; ++i) {
          const P each = p.as<P>()[at + i];
          double limit;
          if constexpr (std::is_class_v<P>)
            limit = double(float(each));
          else
            limit = double(each);
          y.as<T>()[at + i] = double(words[i]) < limit * 0x1p32 ? hit : miss;
        }
      });
    });
  });
}

void random_integers(Cpu, GeneratorState state, int64_t low, uint64_t range, const View& y) {
  visit_dtype(y.dtype, [&](auto zero) {
    using T = Stored<decltype(zero)>;
    for_words<2>(state, y.numel, [&](const uint32_t* words, int64_t at, int64_t count) {
      for (int64_t i = 0; i < count; ++i) {
        const uint64_t bits = joined(words + 2 * i);
        // bits / 2^64 of the range: the upper half of the product.
        const uint64_t below = range == 0 ? bits : upper_product(bits, range);
        y.as<T>()[at + i] = from_integer<T>(int64_t(uint64_t(low) + below));
      }
    });
  });
}

// --- dropout --------------------------------------------------------------------------------------------------------

namespace {
// Both sides are computed, so that the loop has no branch.
template <class T>
void drop(const uint32_t* __restrict words, uint32_t below, T scale, const T* x, T* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const T kept = x[i] * scale;
    y[i] = words[i] < below ? T(0) : kept;
  }
}
}  // namespace

void dropout(Cpu, GeneratorState state, double p, const View& x, const View& y) {
  visit_floating("dropout", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_words<1>(state, x.numel, [&](const uint32_t* words, int64_t at, int64_t count) {
      const T* from = x.as<T>() + at;
      T* to = y.as<T>() + at;
      if constexpr (std::is_class_v<T>) {
        alignas(64) float values[kBufferWords];
        find_convert(x.dtype, f32)(from, 1, values, 1, count);
        drop(words, threshold(p), float(1 / (1 - p)), values, values, count);
        put(values, to, count);
      } else {
        drop(words, threshold(p), T(1 / (1 - p)), from, to, count);
      }
    });
  });
}

}  // namespace tenrec::kernels
