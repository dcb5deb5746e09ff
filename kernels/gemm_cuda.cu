// Matrix products. Floating ones go to the library (kernels/cuda/blas.h); integers, which it does not multiply, to a
// kernel of ours: 16 x 16 tiles of A and B in shared memory, a thread per element of C. Its floor is 2 m n k integer
// operations; nobody waits for those, so it is written to be short.
#include "tenrec/kernels/cuda/blas.h"
#include "tenrec/kernels/cuda/launch.h"
#include "tenrec/kernels/gemm.h"

namespace tenrec::cuda {
namespace {

using kernels::ceil_div;
using kernels::GemmEpilogue;
using kernels::GemmShape;

constexpr int kTile = 16;

// C = relu?(op(A) op(B) + (accumulate ? C : 0) + bias) modulo 2^n. A tile of C per block, by the grid's stride.
template <class T>
__global__ void integer_gemm(GemmShape s, const T* a, const T* b, T* c, const T* bias, bool relu, bool accumulate) {
  using U = std::make_unsigned_t<T>;  // wraps without being undefined
  TENREC_SHARED(U, left, kTile * kTile);
  TENREC_SHARED(U, right, kTile * kTile);
  const int x = int(threadIdx.x) % kTile, y = int(threadIdx.x) / kTile;
  const int64_t down = (s.m + kTile - 1) / kTile, across = (s.n + kTile - 1) / kTile;
  for (int64_t tile = int64_t(blockIdx.x); tile < down * across; tile += int64_t(gridDim.x)) {
    const int64_t i = tile / across * kTile + y, j = tile % across * kTile + x;
    U sum = 0;
    for (int64_t k0 = 0; k0 < s.k; k0 += kTile) {
      const int64_t ka = k0 + x, kb = k0 + y;
      left[y * kTile + x] = i < s.m && ka < s.k ? U(s.trans_a ? a[ka * s.lda + i] : a[i * s.lda + ka]) : U(0);
      right[y * kTile + x] = j < s.n && kb < s.k ? U(s.trans_b ? b[j * s.ldb + kb] : b[kb * s.ldb + j]) : U(0);
      __syncthreads();
      for (int k = 0; k < kTile; ++k) sum += left[y * kTile + k] * right[k * kTile + x];
      __syncthreads();
    }
    if (i >= s.m || j >= s.n) continue;
    T& to = c[i * s.ldc + j];
    if (accumulate) sum += U(to);
    if (bias) sum += U(bias[j]);
    to = relu && T(sum) < 0 ? T(0) : T(sum);
  }
}

// What is left of a product over nothing: the bias, or C as it is.
template <class T, class C>
__global__ void empty_gemm(GemmShape s, T* c, const T* bias, bool relu, bool accumulate) {
  for (int64_t at = grid_start(); at < s.m * s.n; at += grid_stride()) {
    T& to = c[at / s.n * s.ldc + at % s.n];
    C value = accumulate ? convert_to<C>(to) : C(0);
    if (bias) value += convert_to<C>(bias[at % s.n]);
    to = convert_to<T>(relu && value < C(0) ? C(0) : value);
  }
}

void run_integers(DType dtype, const GemmShape& s, const void* a, const void* b, void* c, const GemmEpilogue& e) {
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    const unsigned grid = std::min(blocks_for(ceil_div(s.m, kTile) * ceil_div(s.n, kTile)), grid_for(INT64_MAX / 2));
    TENREC_LAUNCH(integer_gemm<T>, grid, kTile * kTile, 0, stream(), s, static_cast<const T*>(a),
                  static_cast<const T*>(b), static_cast<T*>(c), static_cast<const T*>(e.bias), e.relu, e.accumulate);
  };
  dtype == i64 ? run(int64_t{}) : run(int32_t{});
  TENREC_LAUNCH_CHECK();
}

void run_empty(DType dtype, const GemmShape& s, void* c, const GemmEpilogue& e) {
  visit_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (!std::is_same_v<T, bool> && !std::is_same_v<T, uint8_t>) {
      using C = std::conditional_t<std::is_class_v<T>, float, T>;
      TENREC_LAUNCH((empty_gemm<T, C>), grid_for(s.m * s.n), kThreads, 0, stream(), s, static_cast<T*>(c),
                    static_cast<const T*>(e.bias), e.relu, e.accumulate);
    }
  });
  TENREC_LAUNCH_CHECK();
}

// The distance from one product's operand to the next one's, if it is always the same.
bool find_stride(const int64_t* offsets, int64_t batch, int64_t& stride) {
  stride = batch > 1 ? offsets[1] - offsets[0] : 0;
  for (int64_t i = 2; i < batch; ++i)
    if (offsets[i] - offsets[i - 1] != stride) return false;
  return stride >= 0;
}

template <class Pointer>
Pointer at(Pointer p, int64_t elements, DType dtype) {
  using Bytes = std::conditional_t<std::is_same_v<Pointer, void*>, char*, const char*>;
  return static_cast<Bytes>(p) + elements * size_of(dtype);
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

void gemm(Cuda, DType dtype, const GemmShape& s, const void* a, const void* b, void* c, const GemmEpilogue& e) {
  if (!is_floating(dtype) && dtype != i64 && dtype != i32) fail<DTypeError>("matmul: no product for dtype ", dtype);
  if (s.m == 0 || s.n == 0) return;
  if (s.k == 0)
    cuda::run_empty(dtype, s, c, e);
  else if (is_floating(dtype))
    cuda::multiply({.dtype = dtype, .shape = s}, a, b, c, e, cuda::stream());
  else
    cuda::run_integers(dtype, s, a, b, c, e);
}

bool fused_gemm(Cuda, DType dtype, const GemmShape& s, const void* a, const void* b, void* c,
                const GemmFusion& fusion) {
  if (!is_floating(dtype) || s.m * s.n * s.k == 0) return false;
  return cuda::multiply_fused({.dtype = dtype, .shape = s}, a, b, c, fusion, cuda::stream());
}

void batched_gemm(Cuda, DType dtype, const GemmShape& s, int64_t batch, const int64_t* a_offsets,
                  const int64_t* b_offsets, const int64_t* c_offsets, const void* a, const void* b, void* c) {
  if (batch == 0 || s.m == 0 || s.n == 0) return;
  cuda::Product p{.dtype = dtype, .shape = s, .batch = batch};
  if (is_floating(dtype) && s.k > 0 && cuda::find_stride(a_offsets, batch, p.a_stride) &&
      cuda::find_stride(b_offsets, batch, p.b_stride) && cuda::find_stride(c_offsets, batch, p.c_stride))
    return cuda::multiply(p, cuda::at(a, *a_offsets, dtype), cuda::at(b, *b_offsets, dtype),
                          cuda::at(c, *c_offsets, dtype), {}, cuda::stream());
  for (int64_t i = 0; i < batch; ++i)
    gemm(Cuda{}, dtype, s, cuda::at(a, a_offsets[i], dtype), cuda::at(b, b_offsets[i], dtype),
         cuda::at(c, c_offsets[i], dtype), {});
}

}  // namespace tenrec::kernels
