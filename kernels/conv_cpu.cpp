#include <algorithm>

#include "tenrec/core/error.h"
#include "tenrec/core/parallel.h"
#include "tenrec/kernels/conv.h"
#include "tenrec/kernels/conv_direct.h"
#include "tenrec/kernels/conv_winograd.h"
#include "tenrec/kernels/gemm.h"
#include "tenrec/kernels/scratch.h"
#include "tenrec/kernels/tiles.h"
#include "tenrec/kernels/visit.h"
#include "tenrec/kernels/widen.h"

namespace tenrec::kernels {
namespace {

// The output columns [begin, end) whose column j * stride - pad + offset of the input exists.
struct Inside {
  int64_t begin, end;
  Inside(int64_t outputs, int64_t inputs, int64_t stride, int64_t first) {  // first = offset - pad
    begin = std::clamp<int64_t>(first >= 0 ? 0 : ceil_div(-first, stride), 0, outputs);
    end = std::clamp<int64_t>(first >= inputs ? 0 : ceil_div(inputs - first, stride), begin, outputs);
  }
};

// Calls f(columns of one tap and output row, their first column's pixel, Inside) for all taps and rows of a group.
template <class T, class F>
void for_each_run(const ConvShape& s, T* columns, const F& f) {
  const int64_t channels = s.c_in / s.groups;
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t r = 0; r < s.kh; ++r)
      for (int64_t q = 0; q < s.kw; ++q) {
        const int64_t first = q * s.dil_w - s.pad_w;
        const Inside cols(s.out_w, s.w, s.stride_w, first);
        for (int64_t i = 0; i < s.out_h; ++i, columns += s.out_w) {
          const int64_t y = i * s.stride_h - s.pad_h + r * s.dil_h;
          f(columns, (c * s.h + y) * s.w + first, y >= 0 && y < s.h ? cols : Inside(0, 0, 1, 0));
        }
      }
}

// One image's group as a matrix [c_in/groups * kh * kw, out_h * out_w] of the patches, zeros where padding is read.
template <class T>
void im2col(const ConvShape& s, const T* x, T* columns) {
  for_each_run(s, columns, [&](T* run, int64_t pixel, const Inside& in) {
    std::fill_n(run, in.begin, T());
    std::fill(run + in.end, run + s.out_w, T());
    if (in.begin == in.end) return;  // all padding: `pixel` may lie outside the image
    if (s.stride_w == 1)
      std::copy_n(x + pixel + in.begin, in.end - in.begin, run + in.begin);
    else
      for (int64_t j = in.begin; j < in.end; ++j) run[j] = x[pixel + j * s.stride_w];
  });
}

// The transpose: adds each column's element to the pixel it came from.
template <class T>
void col2im(const ConvShape& s, const T* columns, T* x) {
  for_each_run(s, columns, [&](const T* run, int64_t pixel, const Inside& in) {
    if (in.begin == in.end) return;  // all padding: `pixel` may lie outside the image
    T* to = x + pixel;
    if (s.stride_w == 1)
      for (int64_t j = in.begin; j < in.end; ++j) to[j] += run[j];
    else
      for (int64_t j = in.begin; j < in.end; ++j) to[j * s.stride_w] += run[j];
  });
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

// A kernel of one pixel: the image is its own matrix of patches.
bool is_product(const ConvShape& s) {
  return s.kh == 1 && s.kw == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_h == 0 && s.pad_w == 0;
}

template <class T>
bool uses_native() {
  return std::is_same_v<T, float> && blas() == Blas::native;
}

// What is left is a matrix product per image and group, with the patches laid out as a matrix.
template <class T>
void forward(const ConvShape& s, const T* x, const T* weight, const T* bias, T* y) {
  if constexpr (std::is_same_v<T, float>) {
    if (uses_native<T>() && suits_winograd(s)) return winograd_forward(s, x, weight, bias, y);
    if (uses_native<T>() && !is_product(s) && suits_direct_forward(s)) return direct_forward(s, x, weight, bias, y);
  }
  const Sizes z(s);
  parallel_for(s.n, 1, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    T* columns = is_product(s) ? nullptr : scratch.get<T>(z.patch * z.pixels);
    for (int64_t i = begin; i < end; ++i) {
      T* out = y + i * z.out_image;
      for (int64_t g = 0; g < s.groups; ++g) {
        const T* matrix = x + i * z.in_image + g * z.in_group;
        if (columns) im2col(s, matrix, columns), matrix = columns;
        gemm(Cpu{}, dtype_of<T>,
             {.m = z.channels, .n = z.pixels, .k = z.patch, .lda = z.patch, .ldb = z.pixels, .ldc = z.pixels},
             weight + g * z.weight_group, matrix, out + g * z.out_group);
      }
      for (int64_t c = 0; bias && c < s.c_out; ++c)
        for (int64_t p = 0; p < z.pixels; ++p) out[c * z.pixels + p] += bias[c];
    }
  });
}

template <class T>
void input_grad(const ConvShape& s, const T* dy, const T* weight, T* dx) {
  if constexpr (std::is_same_v<T, float>) {
    if (uses_native<T>() && suits_winograd(s)) return winograd_input_grad(s, dy, weight, dx);
    if (uses_native<T>() && !is_product(s) && suits_direct_input_grad(s)) return direct_input_grad(s, dy, weight, dx);
  }
  const Sizes z(s);
  parallel_for(s.n, 1, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    T* columns = is_product(s) ? nullptr : scratch.get<T>(z.patch * z.pixels);
    for (int64_t i = begin; i < end; ++i) {
      T* out = dx + i * z.in_image;
      if (columns) std::fill_n(out, z.in_image, T());
      for (int64_t g = 0; g < s.groups; ++g, out += z.in_group) {
        gemm(Cpu{}, dtype_of<T>,
             {.trans_a = true,
              .m = z.patch,
              .n = z.pixels,
              .k = z.channels,
              .lda = z.patch,
              .ldb = z.pixels,
              .ldc = z.pixels},
             weight + g * z.weight_group, dy + i * z.out_image + g * z.out_group, columns ? columns : out);
        if (columns) col2im(s, columns, out);
      }
    }
  });
}

template <class T>
void weight_grad(const ConvShape& s, const T* x, const T* dy, T* dweight) {
  if constexpr (std::is_same_v<T, float>) {
    if (uses_native<T>() && suits_winograd(s)) return winograd_weight_grad(s, x, dy, dweight);
    if (uses_native<T>() && !is_product(s) && suits_direct_weight_grad(s)) return direct_weight_grad(s, x, dy, dweight);
  }
  const Sizes z(s);
  const int64_t size = s.groups * z.weight_group;
  if (s.n == 0 || size == 0) return void(std::fill_n(dweight, size, T()));
  const auto chunks = SumChunks::of<T>(s.n, size);
  Scratch scratch;
  T* sums = scratch.get<T>(size * chunks.count);
  parallel_for(s.n, chunks.each, [&](int64_t begin, int64_t end) {
    Scratch local;
    T* columns = is_product(s) ? nullptr : local.get<T>(z.patch * z.pixels);
    T* out = sums + begin / chunks.each * size;
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t g = 0; g < s.groups; ++g) {
        const T* matrix = x + i * z.in_image + g * z.in_group;
        if (columns) im2col(s, matrix, columns), matrix = columns;
        gemm(Cpu{}, dtype_of<T>,
             {.trans_b = true,
              .m = z.channels,
              .n = z.patch,
              .k = z.pixels,
              .lda = z.pixels,
              .ldb = z.pixels,
              .ldc = z.patch},
             dy + i * z.out_image + g * z.out_group, matrix, out + g * z.weight_group, {.accumulate = i > begin});
      }
    }
  });
  chunks.add_up(sums, size);
  std::copy_n(sums, size, dweight);
}

int64_t input_size(const ConvShape& s) { return s.n * s.c_in * s.h * s.w; }
int64_t output_size(const ConvShape& s) { return s.n * s.c_out * s.out_h * s.out_w; }
int64_t weight_size(const ConvShape& s) { return s.c_out * (s.c_in / s.groups) * s.kh * s.kw; }

// The 16-bit types: everything in f32, rounded once at the end.
constexpr int64_t kConvertGrain = 1 << 15;

template <class T>
const float* widened(Scratch& scratch, const T* x, int64_t count) {
  float* out = scratch.get<float>(count);
  parallel_for(count, kConvertGrain, [&](int64_t begin, int64_t end) { widen(x + begin, end - begin, out + begin); });
  return out;
}
template <class T>
void narrow_all(const float* x, int64_t count, T* y) {
  parallel_for(count, kConvertGrain, [&](int64_t begin, int64_t end) { narrow(x + begin, end - begin, y + begin); });
}

}  // namespace

void conv2d(Cpu, DType dtype, const ConvShape& s, const void* x, const void* weight, const void* bias, void* y) {
  visit_floating("conv2d", dtype, [&](auto zero) {
    using T = decltype(zero);
    auto *tx = static_cast<const T*>(x), *tw = static_cast<const T*>(weight), *tb = static_cast<const T*>(bias);
    if constexpr (sizeof(T) == 2) {
      Scratch scratch;
      float* out = scratch.get<float>(output_size(s));
      forward<float>(s, widened(scratch, tx, input_size(s)), widened(scratch, tw, weight_size(s)),
                     tb ? widened(scratch, tb, s.c_out) : nullptr, out);
      narrow_all(out, output_size(s), static_cast<T*>(y));
    } else {
      forward<T>(s, tx, tw, tb, static_cast<T*>(y));
    }
  });
}

void conv2d_input_grad(Cpu, DType dtype, const ConvShape& s, const void* dy, const void* weight, void* dx) {
  visit_floating("conv2d", dtype, [&](auto zero) {
    using T = decltype(zero);
    auto *ty = static_cast<const T*>(dy), *tw = static_cast<const T*>(weight);
    if constexpr (sizeof(T) == 2) {
      Scratch scratch;
      float* out = scratch.get<float>(input_size(s));
      input_grad<float>(s, widened(scratch, ty, output_size(s)), widened(scratch, tw, weight_size(s)), out);
      narrow_all(out, input_size(s), static_cast<T*>(dx));
    } else {
      input_grad<T>(s, ty, tw, static_cast<T*>(dx));
    }
  });
}

void conv2d_weight_grad(Cpu, DType dtype, const ConvShape& s, const void* x, const void* dy, void* dweight) {
  visit_floating("conv2d", dtype, [&](auto zero) {
    using T = decltype(zero);
    auto *tx = static_cast<const T*>(x), *ty = static_cast<const T*>(dy);
    if constexpr (sizeof(T) == 2) {
      Scratch scratch;
      float* out = scratch.get<float>(weight_size(s));
      weight_grad<float>(s, widened(scratch, tx, input_size(s)), widened(scratch, ty, output_size(s)), out);
      narrow_all(out, weight_size(s), static_cast<T*>(dweight));
    } else {
      weight_grad<T>(s, tx, ty, static_cast<T*>(dweight));
    }
  });
}

}  // namespace tenrec::kernels
