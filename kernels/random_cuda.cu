// Draws that are one formula on random words: uniform, normal, exponential, integers, bernoulli, dropout.
//
// Floor: each element is written once (dropout: and read once); Philox costs about as much as that, 25 instructions a
// word. A thread makes whole blocks of four words, as many elements as they are good for, and stores those at once.
// Words, formulas and their order are those of kernels/random_cpu.cpp, so the bits are the CPU's; logarithms, sines and
// cosines of doubles alone are the C library's there and CUDA's here.
#include <cmath>
#include <cstring>

#include "tenrec/core/cuda/step_state.h"
#include "tenrec/kernels/convert.h"
#include "tenrec/kernels/cuda/launch.h"
#include "tenrec/kernels/random.h"
#include "tenrec/kernels/vector_math.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::cuda {
namespace {

// Elements that lie side by side.
template <class T, int kCount>
struct alignas(kCount * sizeof(T) < 16 ? kCount * sizeof(T) : 16) Group {
  T values[kCount];
};

// A draw is a functor with `kWords`, the words that an element takes, and operator()(words of a block, its first
// element, y): the values of as many elements as a block has words for.
template <class Draw>
constexpr int kPerBlock = 4 / Draw::kWords;

template <class T, class Draw>
__global__ void __launch_bounds__(kThreads) draw_elements(RandomKey key, Draw draw, T* y, int64_t n) {
  constexpr int kCount = kPerBlock<Draw>;
  using Out = Group<T, kCount>;
  const bool aligned = reinterpret_cast<uintptr_t>(y) % alignof(Out) == 0;
  const GeneratorState state = key.get();
  for (int64_t block = grid_start(); block * kCount < n; block += grid_stride()) {
    const int64_t first = block * kCount;
    const PhiloxBlock words = tenrec::detail::philox(state, uint64_t(block));
    Out out;
    draw(words.word, first, out.values);
    if (aligned && first + kCount <= n) {
      *reinterpret_cast<Out*>(y + first) = out;
    } else {
      for (int k = 0; k < kCount && first + k < n; ++k) y[first + k] = out.values[k];
    }
  }
}

template <class T, class Draw>
void run(GeneratorState state, const Draw& draw, const View& y) {
  if (y.numel == 0) return;
  TENREC_LAUNCH((draw_elements<T, Draw>), grid_for(kernels::ceil_div(y.numel, kPerBlock<Draw>)), kThreads, 0, stream(),
                random_key(state), draw, y.as<T>(), y.numel);
  TENREC_LAUNCH_CHECK();
}

// In (0, 1], as the CPU's.
__device__ inline float open_unit(uint32_t word) { return kernels::fma(float(word), 0x1p-32f, 0x1p-33f); }
__device__ inline double open_unit(uint32_t high, uint32_t low) {
  return tenrec::detail::unit_double(high, low) + 0x1p-54;
}

// --- uniform --------------------------------------------------------------------------------------------------------

// Random bits that the output's dtype holds: more would be rounded, up to 1 at worst.
template <class T>
constexpr int kUnitBits = std::is_same_v<T, bfloat16>  ? 8
                          : std::is_same_v<T, float16> ? 11
                                                       : 24;

template <class T>
struct Uniform {
  static constexpr int kWords = 1;
  float low, high;
  __device__ void operator()(const uint32_t* words, int64_t, T* y) const {
    constexpr int kBits = kUnitBits<T>;
    const float scale = 1.0f / float(1 << kBits), span = high - low;
    for (int k = 0; k < 4; ++k) {
      const float v = low + span * (float(int32_t(words[k] >> (32 - kBits))) * scale);
      y[k] = convert_to<T>(v < high ? v : low);
      if (!(float(y[k]) < high)) y[k] = convert_to<T>(low);  // what rounding put there after all
    }
  }
};
template <>
struct Uniform<double> {
  static constexpr int kWords = 2;
  double low, high;
  __device__ void operator()(const uint32_t* words, int64_t, double* y) const {
    for (int k = 0; k < 2; ++k) {
      const double v = low + (high - low) * tenrec::detail::unit_double(words[2 * k], words[2 * k + 1]);
      y[k] = v < high ? v : low;
    }
  }
};

// --- normal ---------------------------------------------------------------------------------------------------------

// Pairs of words to pairs of independent normals: r cos t and r sin t with r^2 = -2 log u, t uniform in a turn.
template <class T>
struct Normal {
  static constexpr int kWords = 1;
  float mean, std;
  __device__ void operator()(const uint32_t* words, int64_t, T* y) const {
    for (int k = 0; k < 4; k += 2) {
      const float r = kernels::sqrt(-2.0f * kernels::log(open_unit(words[k])));
      const auto turn = kernels::sin_cos(float(words[k + 1]) * 0x1.921fb6p-30f);  // 2 pi / 2^32
      y[k] = convert_to<T>(mean + std * (r * turn.cosine));
      y[k + 1] = convert_to<T>(mean + std * (r * turn.sine));
    }
  }
};
template <>
struct Normal<double> {
  static constexpr int kWords = 2;
  double mean, std;
  __device__ void operator()(const uint32_t* words, int64_t, double* y) const {
    const double r = kernels::sqrt(-2 * std::log(open_unit(words[0], words[1])));
    const double turn = tenrec::detail::unit_double(words[2], words[3]) * 0x1.921fb54442d18p2;
    y[0] = mean + std * (r * std::cos(turn));
    y[1] = mean + std * (r * std::sin(turn));
  }
};

template <class T>
struct TruncatedNormal {
  static constexpr int kWords = 2;
  double mean, std, low, high, from, to;  // `from` and `to`: the distribution function at low and high
  __device__ void operator()(const uint32_t* words, int64_t, T* y) const {
    for (int k = 0; k < 2; ++k) {
      const double erf = 2 * (from + (to - from) * open_unit(words[2 * k], words[2 * k + 1])) - 1;
      // For results of single precision what is good to 2^-31 will do, but beside an end.
      const bool rough = !std::is_same_v<T, double> && kernels::abs(erf) < 1 - 0x1p-25;
      const double z = rough ? kernels::detail::wide_erfinv(erf) : kernels::erfinv(erf);
      const double x = std * (0x1.6a09e667f3bcdp0 * z) + mean;
      y[k] = convert_to<T>(x < low ? low : high < x ? high : x);
    }
  }
};

template <class T>
struct Exponential {
  static constexpr int kWords = 1;
  float rate;
  __device__ void operator()(const uint32_t* words, int64_t, T* y) const {
    for (int k = 0; k < 4; ++k) y[k] = convert_to<T>(-kernels::log(open_unit(words[k])) / rate);
  }
};
template <>
struct Exponential<double> {
  static constexpr int kWords = 2;
  double rate;
  __device__ void operator()(const uint32_t* words, int64_t, double* y) const {
    for (int k = 0; k < 2; ++k) y[k] = -std::log(open_unit(words[2 * k], words[2 * k + 1])) / rate;
  }
};

// --- bits -----------------------------------------------------------------------------------------------------------

// Words below this are hits of probability p; p = 1 is not representable.
uint32_t threshold(double p) { return uint32_t(std::min(std::ceil(p * 0x1p32), 0x1p32 - 1)); }

// Bits: an unsigned integer of the dtype's width.
template <class Bits>
struct Choice {
  static constexpr int kWords = 1;
  uint32_t below;
  Bits hit, miss;
  __device__ void operator()(const uint32_t* words, int64_t, Bits* y) const {
    for (int k = 0; k < 4; ++k) y[k] = words[k] < below ? hit : miss;
  }
};

template <class Bits>
struct ChoiceEach {
  static constexpr int kWords = 1;
  const void* p;
  DType dtype;
  int64_t n;
  Bits hit;
  __device__ void operator()(const uint32_t* words, int64_t first, Bits* y) const {
    for (int k = 0; k < 4; ++k) {
      const double chance = first + k < n ? load_as<double>(p, first + k, dtype) : 0;
      y[k] = double(words[k]) < chance * 0x1p32 ? hit : Bits(0);
    }
  }
};

// The bits of 0 or 1 in a dtype.
template <class Bits>
Bits bits_of(int64_t number, DType dtype) {
  alignas(8) char element[8] = {};
  kernels::convert_strided(&number, i64, 1, element, dtype, 1, 1);
  Bits bits;
  std::memcpy(&bits, element, sizeof(bits));
  return bits;
}

__extension__ typedef unsigned __int128 Uint128;

template <class T>
struct Integers {
  static constexpr int kWords = 2;
  uint64_t low, range;
  __device__ void operator()(const uint32_t* words, int64_t, T* y) const {
    for (int k = 0; k < 2; ++k) {
      const uint64_t bits = uint64_t(words[2 * k]) | uint64_t(words[2 * k + 1]) << 32;
      // bits / 2^64 of the range: the upper half of the product.
      const uint64_t below = range == 0 ? bits : uint64_t((Uint128(bits) * range) >> 64);
      y[k] = convert_to<T>(int64_t(low + below));
    }
  }
};

template <class T>
struct Dropout {
  using Compute = std::conditional_t<std::is_same_v<T, double>, double, float>;
  static constexpr int kWords = 1;
  uint32_t below;
  Compute scale;
  const T* x;
  int64_t n;
  bool aligned;
  __device__ void operator()(const uint32_t* words, int64_t first, T* y) const {
    Group<T, 4> in;
    if (aligned && first + 4 <= n) {
      in = *reinterpret_cast<const Group<T, 4>*>(x + first);
    } else {
      for (int k = 0; k < 4; ++k) in.values[k] = first + k < n ? x[first + k] : T();
    }
    for (int k = 0; k < 4; ++k)
      y[k] = words[k] < below ? T() : convert_to<T>(convert_to<Compute>(in.values[k]) * scale);
  }
};

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

void random_uniform(Cuda, GeneratorState state, double low, double high, const View& y) {
  visit_floating("uniform", y.dtype, [&](auto zero) {
    using T = decltype(zero);
    using Number = decltype(Uniform<T>::low);
    run<T>(state, Uniform<T>{Number(low), Number(high)}, y);
  });
}

void random_normal(Cuda, GeneratorState state, double mean, double std, const View& y) {
  visit_floating("normal", y.dtype, [&](auto zero) {
    using T = decltype(zero);
    using Number = decltype(Normal<T>::mean);
    run<T>(state, Normal<T>{Number(mean), Number(std)}, y);
  });
}

void random_truncated_normal(Cuda, GeneratorState state, double mean, double std, double low, double high,
                             const View& y) {
  const auto cdf = [](double z) { return 0.5 * std::erfc(-z * 0x1.6a09e667f3bcdp-1); };
  visit_floating("trunc_normal", y.dtype, [&](auto zero) {
    using T = decltype(zero);
    run<T>(state, TruncatedNormal<T>{mean, std, low, high, cdf((low - mean) / std), cdf((high - mean) / std)}, y);
  });
}

void random_exponential(Cuda, GeneratorState state, double rate, const View& y) {
  visit_floating("exponential", y.dtype, [&](auto zero) {
    using T = decltype(zero);
    using Number = decltype(Exponential<T>::rate);
    run<T>(state, Exponential<T>{Number(rate)}, y);
  });
}

void random_bernoulli(Cuda, GeneratorState state, double p, const View& y) {
  visit_width(y.dtype, [&](auto zero) {
    using Bits = decltype(zero);
    run<Bits>(state, Choice<Bits>{threshold(p), bits_of<Bits>(1, y.dtype), bits_of<Bits>(p >= 1, y.dtype)}, y);
  });
}

void random_bernoulli(Cuda, GeneratorState state, const View& p, const View& y) {
  visit_width(y.dtype, [&](auto zero) {
    using Bits = decltype(zero);
    run<Bits>(state, ChoiceEach<Bits>{p.data, p.dtype, y.numel, bits_of<Bits>(1, y.dtype)}, y);
  });
}

void random_integers(Cuda, GeneratorState state, int64_t low, uint64_t range, const View& y) {
  visit_dtype(y.dtype, [&](auto zero) {
    using T = Stored<decltype(zero)>;
    run<T>(state, Integers<T>{uint64_t(low), range}, y);
  });
}

void dropout(Cuda, GeneratorState state, double p, const View& x, const View& y) {
  visit_floating("dropout", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    using Compute = typename Dropout<T>::Compute;
    const bool aligned = reinterpret_cast<uintptr_t>(x.data) % alignof(Group<T, 4>) == 0;
    run<T>(state, Dropout<T>{threshold(p), Compute(1 / (1 - p)), x.as<T>(), x.numel, aligned}, y);
  });
}

}  // namespace tenrec::kernels
