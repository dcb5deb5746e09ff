// The convolution kernels against a float64 reference of the definition, with a bound on the rounding error.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "tenrec/core/error.h"
#include "tenrec/core/parallel.h"
#include "tenrec/kernels/conv.h"
#include "tenrec/kernels/gemm.h"

namespace tenrec::kernels {
namespace {

template <class F>
void with_each_blas(F&& body) {
  const Blas before = blas();
  for (Blas which : {Blas::native, Blas::eigen, Blas::onednn}) {
    if (!has_blas(which)) continue;
    set_blas(which);
    SCOPED_TRACE(which == Blas::native ? "native" : which == Blas::eigen ? "eigen" : "onednn");
    body();
  }
  set_blas(before);
}

class ThreadCount {
 public:
  explicit ThreadCount(int n) : before_(num_threads()) { set_num_threads(n); }
  ~ThreadCount() { set_num_threads(before_); }

 private:
  int before_;
};

template <class T>
double to_double(T x) {
  if constexpr (sizeof(T) == 2)
    return double(float(x));
  else
    return double(x);
}
template <class T>
T from_double(double x) {
  if constexpr (sizeof(T) == 2)
    return T(float(x));
  else
    return T(x);
}

template <class T>
std::vector<T> random_values(int64_t count, uint64_t seed) {
  uint64_t state = seed * 2654435761u + 1;
  std::vector<T> out(size_t(std::max<int64_t>(count, 1)));
  for (T& x : out) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    x = from_double<T>(double(int32_t(state >> 32)) * 0x1p-31);
  }
  return out;
}

// A shape whose output size follows from the rest.
ConvShape make(int64_t n, int64_t c_in, int64_t h, int64_t w, int64_t c_out, int64_t kh, int64_t kw,
               std::array<int64_t, 2> stride = {1, 1}, std::array<int64_t, 2> pad = {0, 0},
               std::array<int64_t, 2> dilation = {1, 1}, int64_t groups = 1) {
  ConvShape s{.n = n,
              .c_in = c_in,
              .h = h,
              .w = w,
              .c_out = c_out,
              .kh = kh,
              .kw = kw,
              .stride_h = stride[0],
              .stride_w = stride[1],
              .pad_h = pad[0],
              .pad_w = pad[1],
              .dil_h = dilation[0],
              .dil_w = dilation[1],
              .groups = groups};
  s.out_h = (h + 2 * s.pad_h - s.dil_h * (kh - 1) - 1) / s.stride_h + 1;
  s.out_w = (w + 2 * s.pad_w - s.dil_w * (kw - 1) - 1) / s.stride_w + 1;
  return s;
}

std::string describe(const ConvShape& s) {
  return concat("x [", s.n, ", ", s.c_in, ", ", s.h, ", ", s.w, "] weight [", s.c_out, ", ", s.c_in / s.groups, ", ",
                s.kh, ", ", s.kw, "] stride ", s.stride_h, " ", s.stride_w, " pad ", s.pad_h, " ", s.pad_w,
                " dilation ", s.dil_h, " ", s.dil_w, " groups ", s.groups, " out ", s.out_h, " ", s.out_w);
}

int64_t x_size(const ConvShape& s) { return s.n * s.c_in * s.h * s.w; }
int64_t y_size(const ConvShape& s) { return s.n * s.c_out * s.out_h * s.out_w; }
int64_t weight_size(const ConvShape& s) { return s.c_out * (s.c_in / s.groups) * s.kh * s.kw; }

// Calls f(x index, weight index, y index) for every product in the definition.
template <class F>
void for_each_product(const ConvShape& s, F&& f) {
  const int64_t in = s.c_in / s.groups, out = s.c_out / s.groups;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t o = 0; o < s.c_out; ++o)
      for (int64_t i = 0; i < s.out_h; ++i)
        for (int64_t j = 0; j < s.out_w; ++j)
          for (int64_t c = 0; c < in; ++c)
            for (int64_t r = 0; r < s.kh; ++r) {
              const int64_t h = i * s.stride_h - s.pad_h + r * s.dil_h;
              if (h < 0 || h >= s.h) continue;
              for (int64_t q = 0; q < s.kw; ++q) {
                const int64_t w = j * s.stride_w - s.pad_w + q * s.dil_w;
                if (w < 0 || w >= s.w) continue;
                f(((n * s.c_in + o / out * in + c) * s.h + h) * s.w + w, ((o * in + c) * s.kh + r) * s.kw + q,
                  ((n * s.c_out + o) * s.out_h + i) * s.out_w + j);
              }
            }
}

// Exact sums, and the sums of the magnitudes that bound the rounding error.
struct Reference {
  std::vector<double> sum, magnitude;
  explicit Reference(int64_t size) : sum(size_t(size)), magnitude(size_t(size)) {}
  void add(int64_t at, double x) {
    sum[size_t(at)] += x;
    magnitude[size_t(at)] += std::abs(x);
  }
};

// `terms`: how many products a value is the sum of. The rounding error of a sum of n terms grows with sqrt(n) in
// practice; 2 sqrt(n) + 4 is passed by direct sums and by fast algorithms that lose a bit, not by a lost product.
template <class T>
void expect_close(const char* what, const std::vector<T>& got, const Reference& want, double terms) {
  const double sum_epsilon = std::is_same_v<T, double> ? 0x1p-53 : 0x1p-24;
  const double epsilon = std::is_same_v<T, bfloat16> ? 0x1p-8 : std::is_same_v<T, float16> ? 0x1p-11 : sum_epsilon;
  const double absolute = std::is_same_v<T, float16> ? 0x1p-24 : 0;
  int64_t wrong = 0;
  for (size_t i = 0; i < want.sum.size(); ++i) {
    const double bound = sum_epsilon * (2 * std::sqrt(terms) + 4) * want.magnitude[i] +
                         1.01 * epsilon * std::abs(want.sum[i]) + absolute;
    if (!(std::abs(to_double(got[i]) - want.sum[i]) <= bound) && ++wrong == 1)
      ADD_FAILURE() << what << " " << name(dtype_of<T>) << " [" << i << "] is " << to_double(got[i]) << ", expected "
                    << want.sum[i] << " +- " << bound;
  }
  EXPECT_EQ(wrong, 0) << what;
}

template <class T>
void check(const ConvShape& s) {
  SCOPED_TRACE(describe(s));
  const auto x = random_values<T>(x_size(s), 1), weight = random_values<T>(weight_size(s), 2),
             bias = random_values<T>(s.c_out, 3), dy = random_values<T>(y_size(s), 4);
  Reference y(y_size(s)), biased(y_size(s)), dx(x_size(s)), dweight(weight_size(s));
  for_each_product(s, [&](int64_t at_x, int64_t at_w, int64_t at_y) {
    const double vx = to_double(x[size_t(at_x)]), vw = to_double(weight[size_t(at_w)]),
                 vy = to_double(dy[size_t(at_y)]);
    y.add(at_y, vx * vw);
    dx.add(at_x, vw * vy);
    dweight.add(at_w, vx * vy);
  });
  biased = y;
  const int64_t pixels = s.out_h * s.out_w;
  for (int64_t i = 0; i < y_size(s); ++i) biased.add(i, to_double(bias[size_t(i / pixels % s.c_out)]));
  const double patch = double(s.c_in / s.groups * s.kh * s.kw), reverse = double(s.c_out / s.groups * s.kh * s.kw);
  with_each_blas([&] {
    const T poison = from_double<T>(77);
    std::vector<T> out(y.sum.size(), poison);
    conv2d(Cpu{}, dtype_of<T>, s, x.data(), weight.data(), nullptr, out.data());
    expect_close("y", out, y, patch);
    out.assign(out.size(), poison);
    conv2d(Cpu{}, dtype_of<T>, s, x.data(), weight.data(), bias.data(), out.data());
    expect_close("y with bias", out, biased, patch);
    std::vector<T> out_dx(dx.sum.size(), poison), out_dw(dweight.sum.size(), poison);
    conv2d_input_grad(Cpu{}, dtype_of<T>, s, dy.data(), weight.data(), out_dx.data());
    expect_close("dx", out_dx, dx, reverse);
    conv2d_weight_grad(Cpu{}, dtype_of<T>, s, x.data(), dy.data(), out_dw.data());
    expect_close("dweight", out_dw, dweight, double(s.n * pixels));
  });
}

// Small shapes that reach every branch: padding wider than the kernel needs, kernels as large as the image, strides
// that leave pixels unread, dilation, groups, depthwise, channel counts around the register tiles, 1-d.
std::vector<ConvShape> small_shapes() {
  return {make(1, 1, 1, 1, 1, 1, 1),
          make(2, 1, 5, 5, 1, 3, 3),
          make(3, 2, 7, 6, 4, 3, 2, {1, 1}, {1, 0}),
          make(2, 3, 9, 8, 5, 3, 3, {2, 2}, {1, 1}),
          make(2, 3, 9, 11, 5, 3, 3, {2, 3}, {1, 2}, {2, 1}),
          make(2, 4, 12, 12, 6, 3, 3, {1, 1}, {2, 2}, {2, 2}, 2),
          make(2, 6, 8, 8, 6, 3, 3, {1, 1}, {1, 1}, {1, 1}, 6),
          make(2, 6, 8, 8, 12, 3, 3, {2, 1}, {1, 1}, {1, 1}, 6),
          make(2, 4, 5, 5, 6, 5, 5),
          make(2, 4, 4, 4, 6, 4, 4, {4, 4}),
          make(1, 3, 4, 4, 2, 3, 3, {1, 1}, {4, 5}),
          make(2, 3, 10, 10, 4, 1, 1, {3, 3}),
          make(3, 17, 6, 6, 33, 1, 1),
          make(2, 5, 1, 40, 7, 1, 5, {1, 2}, {0, 2}, {1, 3}),
          make(2, 5, 1, 40, 10, 1, 3, {1, 1}, {0, 1}, {1, 1}, 5),
          make(2, 3, 32, 5, 20, 7, 3, {2, 1}, {3, 1}),
          make(5, 1, 28, 28, 6, 5, 5, {1, 1}, {2, 2}),
          make(5, 6, 14, 14, 16, 5, 5),
          make(3, 1, 28, 28, 32, 3, 3),
          make(9, 15, 9, 7, 17, 3, 3, {1, 1}, {1, 1}),
          make(1, 16, 6, 18, 16, 3, 3, {1, 1}, {1, 1}),
          make(2, 20, 5, 5, 40, 3, 3, {1, 1}, {0, 1})};
}

TEST(Conv, F32) {
  for (const ConvShape& s : small_shapes()) check<float>(s);
}
TEST(Conv, F64) {
  for (const ConvShape& s : small_shapes()) check<double>(s);
}
TEST(Conv, Bf16) {
  for (const ConvShape& s : small_shapes()) check<bfloat16>(s);
}
TEST(Conv, F16) {
  for (const ConvShape& s : small_shapes()) check<float16>(s);
}

// What networks use.
std::vector<ConvShape> network_shapes() {
  return {make(10, 32, 26, 26, 64, 3, 3),
          make(2, 64, 16, 16, 128, 3, 3, {1, 1}, {1, 1}),
          make(1, 128, 8, 8, 256, 3, 3, {1, 1}, {1, 1}),
          make(2, 3, 32, 32, 64, 3, 3, {1, 1}, {1, 1}),
          make(2, 64, 16, 16, 128, 3, 3, {2, 2}, {1, 1}),
          make(2, 64, 16, 16, 128, 1, 1, {2, 2})};
}

TEST(Conv, NetworksF32) {
  for (const ConvShape& s : network_shapes()) check<float>(s);
}
TEST(Conv, NetworksBf16) {
  for (const ConvShape& s : network_shapes()) check<bfloat16>(s);
}

TEST(Conv, EmptySizes) {
  check<float>(make(0, 3, 5, 5, 4, 3, 3));
  check<float>(make(2, 0, 5, 5, 4, 3, 3));
  check<float>(make(2, 3, 5, 5, 0, 3, 3));
  check<bfloat16>(make(2, 0, 5, 5, 4, 3, 3));
  ConvShape s = make(2, 3, 5, 5, 4, 3, 3);
  s.out_h = 0;  // an empty output has gradients of zero
  check<float>(s);
  s = make(2, 3, 0, 5, 4, 1, 1, {1, 1}, {1, 0});
  check<float>(s);
}

template <class T>
void check_threads(const ConvShape& s) {
  SCOPED_TRACE(describe(s));
  const auto x = random_values<T>(x_size(s), 1), weight = random_values<T>(weight_size(s), 2),
             bias = random_values<T>(s.c_out, 3), dy = random_values<T>(y_size(s), 4);
  std::vector<T> first[3];
  for (int threads : {1, 2, 3, 4, 8}) {
    const ThreadCount count(threads);
    std::vector<T> out[3];
    out[0].resize(dy.size());
    out[1].resize(x.size());
    out[2].resize(weight.size());
    conv2d(Cpu{}, dtype_of<T>, s, x.data(), weight.data(), bias.data(), out[0].data());
    conv2d_input_grad(Cpu{}, dtype_of<T>, s, dy.data(), weight.data(), out[1].data());
    conv2d_weight_grad(Cpu{}, dtype_of<T>, s, x.data(), dy.data(), out[2].data());
    for (int i = 0; i < 3; ++i) {
      if (threads == 1) first[i] = out[i];
      EXPECT_EQ(std::memcmp(out[i].data(), first[i].data(), out[i].size() * sizeof(T)), 0)
          << threads << " threads, output " << i;
    }
  }
}

TEST(Conv, SameBitsForAnyThreadCount) {
  with_each_blas([] {
    for (const ConvShape& s : network_shapes()) {
      check_threads<float>(s);
      check_threads<bfloat16>(s);
    }
    for (const ConvShape& s : {make(17, 6, 14, 14, 16, 5, 5), make(33, 1, 28, 28, 6, 5, 5, {1, 1}, {2, 2}),
                               make(19, 6, 8, 8, 12, 3, 3, {2, 1}, {1, 1}, {1, 1}, 6)}) {
      check_threads<float>(s);
      check_threads<double>(s);
      check_threads<bfloat16>(s);
      check_threads<float16>(s);
    }
  });
}

// An image's result does not depend on which others are in the batch.
TEST(Conv, ImagesDoNotMeet) {
  with_each_blas([] {
    // The second has more tiles than are multiplied at a time.
    for (ConvShape s : {make(13, 32, 12, 12, 64, 3, 3, {1, 1}, {1, 1}), make(240, 256, 4, 4, 256, 3, 3, {1, 1}, {1, 1}),
                        make(9, 1, 28, 28, 6, 5, 5)}) {
      const auto x = random_values<float>(x_size(s), 1), weight = random_values<float>(weight_size(s), 2);
      std::vector<float> all(size_t(y_size(s))), one(all.size() / size_t(s.n));
      conv2d(Cpu{}, f32, s, x.data(), weight.data(), nullptr, all.data());
      const int64_t images = s.n;
      s.n = 1;
      for (int64_t i = 0; i < images; i += std::max<int64_t>(1, images / 8)) {
        conv2d(Cpu{}, f32, s, x.data() + i * x_size(s), weight.data(), nullptr, one.data());
        EXPECT_EQ(std::memcmp(one.data(), all.data() + i * y_size(s), one.size() * sizeof(float)), 0) << "image " << i;
      }
    }
  });
}

TEST(Conv, RefusesOtherTypes) {
  int64_t x = 1;
  EXPECT_THROW(conv2d(Cpu{}, i64, make(1, 1, 1, 1, 1, 1, 1), &x, &x, nullptr, &x), DTypeError);
}

}  // namespace
}  // namespace tenrec::kernels
