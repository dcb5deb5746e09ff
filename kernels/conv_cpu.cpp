#include <algorithm>

#include "tenrec/core/error.h"
#include "tenrec/core/parallel.h"
#include "tenrec/kernels/conv.h"
#include "tenrec/kernels/conv_winograd.h"
#include "tenrec/kernels/gemm.h"
#include "tenrec/kernels/scratch.h"

namespace tenrec::kernels {
namespace {

// One image's group as a matrix [c_in/groups * kh * kw, out_h * out_w] of the patches, zeros where padding is read.
template <class T>
void im2col(const ConvShape& s, const T* x, T* columns) {
  const int64_t channels = s.c_in / s.groups;
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t r = 0; r < s.kh; ++r)
      for (int64_t q = 0; q < s.kw; ++q)
        for (int64_t i = 0; i < s.out_h; ++i) {
          const int64_t y = i * s.stride_h - s.pad_h + r * s.dil_h;
          for (int64_t j = 0; j < s.out_w; ++j) {
            const int64_t z = j * s.stride_w - s.pad_w + q * s.dil_w;
            const bool inside = y >= 0 && y < s.h && z >= 0 && z < s.w;
            *columns++ = inside ? x[(c * s.h + y) * s.w + z] : T();
          }
        }
}

// The transpose: adds each column's element to the pixel it came from.
template <class T>
void col2im(const ConvShape& s, const T* columns, T* x) {
  const int64_t channels = s.c_in / s.groups;
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t r = 0; r < s.kh; ++r)
      for (int64_t q = 0; q < s.kw; ++q)
        for (int64_t i = 0; i < s.out_h; ++i) {
          const int64_t y = i * s.stride_h - s.pad_h + r * s.dil_h;
          for (int64_t j = 0; j < s.out_w; ++j, ++columns) {
            const int64_t z = j * s.stride_w - s.pad_w + q * s.dil_w;
            if (y >= 0 && y < s.h && z >= 0 && z < s.w) x[(c * s.h + y) * s.w + z] += *columns;
          }
        }
}

struct Sizes {
  int64_t in_image, out_image, in_group, out_group, weight_group, patch, pixels, channels;
  explicit Sizes(const ConvShape& s)
      : in_image(s.c_in * s.h * s.w),
        out_image(s.c_out * s.out_h * s.out_w),
        in_group(in_image / s.groups),
        out_group(out_image / s.groups),
        weight_group(s.c_out / s.groups * (s.c_in / s.groups) * s.kh * s.kw),
        patch(s.c_in / s.groups * s.kh * s.kw),
        pixels(s.out_h * s.out_w),
        channels(s.c_out / s.groups) {}
};

template <class T>
void forward(const ConvShape& s, const T* x, const T* weight, const T* bias, T* y) {
  if constexpr (std::is_same_v<T, float>)
    if (blas() == Blas::native && suits_winograd(s)) return winograd_forward(s, x, weight, bias, y);
  const Sizes z(s);
  parallel_for(s.n, 1, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    T* columns = scratch.get<T>(z.patch * z.pixels);
    for (int64_t i = begin; i < end; ++i) {
      T* out = y + i * z.out_image;
      for (int64_t g = 0; g < s.groups; ++g) {
        im2col(s, x + i * z.in_image + g * z.in_group, columns);
        gemm(Cpu{}, dtype_of<T>,
             {.m = z.channels, .n = z.pixels, .k = z.patch, .lda = z.patch, .ldb = z.pixels, .ldc = z.pixels},
             weight + g * z.weight_group, columns, out + g * z.out_group);
      }
      if (!bias) continue;
      for (int64_t c = 0; c < s.c_out; ++c)
        for (int64_t p = 0; p < z.pixels; ++p) out[c * z.pixels + p] = T(out[c * z.pixels + p] + bias[c]);
    }
  });
}

template <class T>
void input_grad(const ConvShape& s, const T* dy, const T* weight, T* dx) {
  if constexpr (std::is_same_v<T, float>)
    if (blas() == Blas::native && suits_winograd(s)) return winograd_input_grad(s, dy, weight, dx);
  const Sizes z(s);
  parallel_for(s.n, 1, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    T* columns = scratch.get<T>(z.patch * z.pixels);
    for (int64_t i = begin; i < end; ++i) {
      std::fill_n(dx + i * z.in_image, z.in_image, T());
      for (int64_t g = 0; g < s.groups; ++g) {
        gemm(Cpu{}, dtype_of<T>,
             {.trans_a = true,
              .m = z.patch,
              .n = z.pixels,
              .k = z.channels,
              .lda = z.patch,
              .ldb = z.pixels,
              .ldc = z.pixels},
             weight + g * z.weight_group, dy + i * z.out_image + g * z.out_group, columns);
        col2im(s, columns, dx + i * z.in_image + g * z.in_group);
      }
    }
  });
}

// Images in fixed chunks; the chunks' sums are added in order.
template <class T>
void weight_grad(const ConvShape& s, const T* x, const T* dy, T* dweight) {
  if constexpr (std::is_same_v<T, float>)
    if (blas() == Blas::native && suits_winograd(s)) return winograd_weight_grad(s, x, dy, dweight);
  constexpr int64_t kImages = 8;
  const Sizes z(s);
  const int64_t size = s.groups * z.weight_group, chunks = (s.n + kImages - 1) / kImages;
  std::fill_n(dweight, size, T());
  Scratch scratch;
  T* partial = scratch.get<T>(size * chunks);
  parallel_for(s.n, kImages, [&](int64_t begin, int64_t end) {
    Scratch local;
    T* columns = local.get<T>(z.patch * z.pixels);
    T* out = partial + begin / kImages * size;
    for (int64_t i = begin; i < end; ++i)
      for (int64_t g = 0; g < s.groups; ++g) {
        im2col(s, x + i * z.in_image + g * z.in_group, columns);
        gemm(Cpu{}, dtype_of<T>,
             {.trans_b = true,
              .m = z.channels,
              .n = z.patch,
              .k = z.pixels,
              .lda = z.pixels,
              .ldb = z.pixels,
              .ldc = z.patch},
             dy + i * z.out_image + g * z.out_group, columns, out + g * z.weight_group, {.accumulate = i > begin});
      }
  });
  for (int64_t chunk = 0; chunk < chunks; ++chunk)
    for (int64_t i = 0; i < size; ++i) dweight[i] += partial[chunk * size + i];
}

// The 16-bit types: everything in f32, rounded once.
struct Widened {
  template <class T>
  static float* in(Scratch& scratch, const T* x, int64_t count) {
    float* out = scratch.get<float>(count);
    for (int64_t i = 0; i < count; ++i) out[i] = float(x[i]);
    return out;
  }
  template <class T>
  static void out(const float* x, int64_t count, T* y) {
    for (int64_t i = 0; i < count; ++i) y[i] = T(x[i]);
  }
};

template <class T>
inline constexpr bool kNarrow = sizeof(T) == 2;

template <class F>
void visit_conv_dtype(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    case DType::bf16:
      return f(bfloat16{});
    case DType::f16:
      return f(float16{});
    default:
      fail<DTypeError>("conv2d: no convolution for dtype ", dtype);
  }
}

int64_t input_size(const ConvShape& s) { return s.n * s.c_in * s.h * s.w; }
int64_t output_size(const ConvShape& s) { return s.n * s.c_out * s.out_h * s.out_w; }
int64_t weight_size(const ConvShape& s) { return s.c_out * (s.c_in / s.groups) * s.kh * s.kw; }

}  // namespace

void conv2d(Cpu, DType dtype, const ConvShape& s, const void* x, const void* weight, const void* bias, void* y) {
  visit_conv_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    auto *tx = static_cast<const T*>(x), *tw = static_cast<const T*>(weight), *tb = static_cast<const T*>(bias);
    if constexpr (kNarrow<T>) {
      Scratch scratch;
      float* out = scratch.get<float>(output_size(s));
      forward<float>(s, Widened::in(scratch, tx, input_size(s)), Widened::in(scratch, tw, weight_size(s)),
                     tb ? Widened::in(scratch, tb, s.c_out) : nullptr, out);
      Widened::out(out, output_size(s), static_cast<T*>(y));
    } else {
      forward<T>(s, tx, tw, tb, static_cast<T*>(y));
    }
  });
}

void conv2d_input_grad(Cpu, DType dtype, const ConvShape& s, const void* dy, const void* weight, void* dx) {
  visit_conv_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    auto *ty = static_cast<const T*>(dy), *tw = static_cast<const T*>(weight);
    if constexpr (kNarrow<T>) {
      Scratch scratch;
      float* out = scratch.get<float>(input_size(s));
      input_grad<float>(s, Widened::in(scratch, ty, output_size(s)), Widened::in(scratch, tw, weight_size(s)), out);
      Widened::out(out, input_size(s), static_cast<T*>(dx));
    } else {
      input_grad<T>(s, ty, tw, static_cast<T*>(dx));
    }
  });
}

void conv2d_weight_grad(Cpu, DType dtype, const ConvShape& s, const void* x, const void* dy, void* dweight) {
  visit_conv_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    auto *tx = static_cast<const T*>(x), *ty = static_cast<const T*>(dy);
    if constexpr (kNarrow<T>) {
      Scratch scratch;
      float* out = scratch.get<float>(weight_size(s));
      weight_grad<float>(s, Widened::in(scratch, tx, input_size(s)), Widened::in(scratch, ty, output_size(s)), out);
      Widened::out(out, weight_size(s), static_cast<T*>(dweight));
    } else {
      weight_grad<T>(s, tx, ty, static_cast<T*>(dweight));
    }
  });
}

}  // namespace tenrec::kernels
