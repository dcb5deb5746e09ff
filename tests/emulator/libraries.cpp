// CPU references behind the functions of cuBLASLt and cuDNN that Tenrec calls (kernels/cuda/blas.h, dnn.h, tuning.h).
// They run in the stream's order, like a launch, and may touch device memory as one may. Products in f32 and f64 have
// two candidates to tune, which sum in different orders: Tenrec's own and Eigen's.
#include <cmath>

#include "emulator/library_call.h"
#include "tenrec/kernels/cuda/blas.h"
#include "tenrec/kernels/cuda/dnn.h"
#include "tenrec/kernels/cuda/tuning.h"
#include "tenrec/kernels/gemm_eigen.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::cuda {

using simt::call_library;

namespace {

// --- candidates ------------------------------------------------------------------------------------------------------

template <class T>
void multiply_by_eigen(const kernels::GemmShape& s, const T* a, const T* b, T* c, const kernels::GemmEpilogue& e) {
  kernels::eigen_gemm(s.trans_a, s.trans_b, s.m, s.n, s.k, a, s.lda, b, s.ldb, e.accumulate, c, s.ldc);
  const auto* bias = static_cast<const T*>(e.bias);
  for (int64_t i = 0; i < s.m; ++i)
    for (int64_t j = 0; j < s.n; ++j) {
      T& to = c[i * s.ldc + j];
      if (bias) to += bias[j];
      if (e.relu && to < 0) to = 0;
    }
}

void multiply_by(size_t candidate, const Product& p, const void* a, const void* b, void* c,
                 const kernels::GemmEpilogue& epilogue, cudaStream_t stream) {
  call_library(stream, "cublasLtMatmul", [=] {
    kernels::visit_floating("matmul", p.dtype, [&](auto zero) {
      using T = decltype(zero);
      for (int64_t i = 0; i < p.batch; ++i) {
        const T *left = static_cast<const T*>(a) + i * p.a_stride, *right = static_cast<const T*>(b) + i * p.b_stride;
        T* to = static_cast<T*>(c) + i * p.c_stride;
        if constexpr (std::is_floating_point_v<T>)
          if (candidate == 1) {
            multiply_by_eigen(p.shape, left, right, to, epilogue);
            continue;
          }
        kernels::gemm(Cpu{}, p.dtype, p.shape, left, right, to, epilogue);
      }
    });
  });
}

size_t choose_product(const Product& p, const void* a, const void* b, const kernels::GemmEpilogue& e,
                      cudaStream_t stream) {
  if (!tuning_active() || (p.dtype != f32 && p.dtype != f64)) return 0;
  const kernels::GemmShape& s = p.shape;
  const std::string key = concat("product ", name(p.dtype), s.trans_a ? " t" : " n", s.trans_b ? "t " : "n ", s.m, "x",
                                 s.n, "x", s.k, " batch ", p.batch, e.bias ? " with bias" : "");
  const Buffer<char> c(((p.batch - 1) * p.c_stride + s.m * s.ldc) * size_of(p.dtype));
  return choose(key, {"tenrec", "eigen"}, stream, [&](size_t i) { multiply_by(i, p, a, b, c.data(), e, stream); });
}

// --- epilogues, element by element -----------------------------------------------------------------------------------

constexpr double kSqrt2OverPi = 0.7978845608028654, kCubic = 0.044715;

double gelu(double x) { return x / 2 * (1 + std::tanh(kSqrt2OverPi * (x + kCubic * x * x * x))); }
double gelu_slope(double x) {
  const double t = std::tanh(kSqrt2OverPi * (x + kCubic * x * x * x));
  return (1 + t) / 2 + x / 2 * (1 - t * t) * kSqrt2OverPi * (1 + 3 * kCubic * x * x);
}

template <class T>
double wide(T x) {
  if constexpr (std::is_class_v<T>)
    return double(float(x));
  else
    return double(x);
}
template <class T>
T rounded(double x) {
  if constexpr (std::is_class_v<T>)
    return T(float(x));
  else
    return T(x);
}

// What relu and gelu leave in aux, and C.
template <class T>
void activate(const kernels::GemmShape& s, T* c, const kernels::GemmFusion& f) {
  const int64_t row_bytes = kernels::relu_mask_bytes(s.n);
  auto* bits = static_cast<uint8_t*>(f.aux);
  if (f.kind == kernels::Fusion::relu && bits) std::fill_n(bits, s.m * row_bytes, uint8_t(0));
  for (int64_t i = 0; i < s.m; ++i)
    for (int64_t j = 0; j < s.n; ++j) {
      T& to = c[i * s.ldc + j];
      if (f.kind == kernels::Fusion::gelu) {
        if (f.aux) static_cast<T*>(f.aux)[i * s.n + j] = to;
        to = rounded<T>(gelu(wide(to)));
      } else if (wide(to) <= 0) {
        to = rounded<T>(0);
      } else if (bits) {
        bits[i * row_bytes + j / 8] |= uint8_t(1 << j % 8);
      }
    }
}

// C times the activation's slope, and the sums of its columns.
template <class T>
void apply_slope(const kernels::GemmShape& s, T* c, const kernels::GemmFusion& f) {
  const int64_t row_bytes = kernels::relu_mask_bytes(s.n);
  for (int64_t j = 0; j < s.n; ++j) {
    double sum = 0;
    for (int64_t i = 0; i < s.m; ++i) {
      T& to = c[i * s.ldc + j];
      if (f.kind == kernels::Fusion::gelu_grad)
        to = rounded<T>(wide(to) * gelu_slope(wide(static_cast<const T*>(f.aux)[i * s.n + j])));
      else if (!(static_cast<const uint8_t*>(f.aux)[i * row_bytes + j / 8] >> j % 8 & 1))
        to = rounded<T>(0);
      sum += wide(to);
    }
    if (f.sums) static_cast<T*>(f.sums)[j] = rounded<T>(sum);
  }
}

template <class T>
void sum_rows(const kernels::GemmShape& s, const T* a, T* sums) {
  for (int64_t i = 0; i < s.m; ++i) {
    double sum = 0;
    for (int64_t p = 0; p < s.k; ++p) sum += wide(a[s.trans_a ? p * s.lda + i : i * s.lda + p]);
    sums[i] = rounded<T>(sum);
  }
}

}  // namespace

void multiply(const Product& p, const void* a, const void* b, void* c, const kernels::GemmEpilogue& epilogue,
              cudaStream_t stream) {
  multiply_by(choose_product(p, a, b, epilogue, stream), p, a, b, c, epilogue, stream);
}

// As picky as the library where that is known: GELU's aux has rows of whole eights.
bool multiply_fused(const Product& p, const void* a, const void* b, void* c, const kernels::GemmFusion& f,
                    cudaStream_t stream) {
  using kernels::Fusion;
  if ((f.kind == Fusion::gelu || f.kind == Fusion::gelu_grad) && p.shape.n % 8 != 0) return false;
  call_library(stream, "cublasLtMatmul", [=] {
    kernels::gemm(Cpu{}, p.dtype, p.shape, a, b, c, {.bias = f.bias});
    kernels::visit_floating("matmul", p.dtype, [&](auto zero) {
      using T = decltype(zero);
      if (f.kind == Fusion::relu || f.kind == Fusion::gelu)
        activate(p.shape, static_cast<T*>(c), f);
      else if (f.kind == Fusion::row_sums)
        sum_rows(p.shape, static_cast<const T*>(a), static_cast<T*>(f.sums));
      else
        apply_slope(p.shape, static_cast<T*>(c), f);
    });
  });
  return true;
}

std::string library_versions() { return "emulator 1"; }

void convolve(DType dtype, const kernels::ConvShape& s, const void* x, const void* weight, const void* bias, void* y,
              cudaStream_t stream) {
  call_library(stream, "cudnnConvolutionForward", [=] { kernels::conv2d(Cpu{}, dtype, s, x, weight, bias, y); });
}
void convolve_input_grad(DType dtype, const kernels::ConvShape& s, const void* dy, const void* weight, void* dx,
                         cudaStream_t stream) {
  call_library(stream, "cudnnConvolutionBackwardData",
               [=] { kernels::conv2d_input_grad(Cpu{}, dtype, s, dy, weight, dx); });
}
void convolve_weight_grad(DType dtype, const kernels::ConvShape& s, const void* x, const void* dy, void* dweight,
                          cudaStream_t stream) {
  call_library(stream, "cudnnConvolutionBackwardFilter",
               [=] { kernels::conv2d_weight_grad(Cpu{}, dtype, s, x, dy, dweight); });
}

}  // namespace tenrec::cuda
