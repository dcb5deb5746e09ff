// Matrix products on raw pointers: C = op(A) op(B), row major with leading dimensions, one product or a batch.
//
// f64 f32 bf16 f16 i64 i32. bf16 and f16 are summed in f32 and rounded once. Integers wrap. The result never depends on
// the number of threads. m, n or k may be 0 (k = 0 gives zeros, the bias, or C unchanged). C overlaps neither A nor B.
#pragma once

#include <cstdint>

#include "tenrec/core/dispatch.h"
#include "tenrec/core/dtype.h"

namespace tenrec::kernels {

// What multiplies: Tenrec's own kernels (where the target has vectors with fused multiply-add), Eigen, or oneDNN.
// Default: the first of native, onednn, eigen that this build has, or what the environment's TENREC_BLAS names.
enum class Blas { native, eigen, onednn };
Blas blas();
bool has_blas(Blas which);
// Sets it for the whole process. Throws ValueError for what this build has not.
void set_blas(Blas which);

// op(A) is [m, k], op(B) [k, n], C [m, n]. A lies as [m, k] with row stride lda, or, with trans_a, as [k, m]; likewise
// B.
struct GemmShape {
  bool trans_a = false, trans_b = false;
  int64_t m = 0, n = 0, k = 0, lda = 0, ldb = 0, ldc = 0;
};

// C = relu?(op(A) op(B) + (accumulate ? C : 0) + bias). The bias has n elements of C's dtype, one per column.
struct GemmEpilogue {
  const void* bias = nullptr;
  bool relu = false;
  bool accumulate = false;
};

void gemm(Cpu, DType dtype, const GemmShape& shape, const void* a, const void* b, void* c,
          const GemmEpilogue& epilogue = {});
void gemm(Cuda, DType dtype, const GemmShape& shape, const void* a, const void* b, void* c,
          const GemmEpilogue& epilogue = {});

// A product with more behind it, in one kernel, where a device's library has that.
enum class Fusion {
  relu,       // C = max(op(A) op(B) + bias, 0); aux, if not null, receives a bit for each element of C
  gelu,       // the same with GELU's tanh approximation; aux, if not null, receives what GELU is applied to
  relu_grad,  // C = op(A) op(B) where relu's aux says so, else 0; sums, if not null, receives the sums of C's columns
  gelu_grad,  // C = op(A) op(B) times GELU's slope at gelu's aux; sums likewise
  row_sums,   // C = op(A) op(B); sums receives the sums of op(A)'s rows: of a layer's gradient, that of its bias
};
struct GemmFusion {
  Fusion kind;
  const void* bias = nullptr;  // n elements of C's dtype
  void* aux = nullptr;         // relu: m rows of relu_mask_bytes(n); gelu: m rows of n elements of C's dtype
  void* sums = nullptr;        // n elements of C's dtype; row_sums: m
};
constexpr int64_t relu_mask_bytes(int64_t n) { return (n + 127) / 128 * 16; }

// False where there is no such kernel for the shape and dtype: then nothing has been written. C's rows follow each
// other without a gap. The CPU has none but what GemmEpilogue offers.
inline bool fused_gemm(Cpu, DType, const GemmShape&, const void*, const void*, void*, const GemmFusion&) {
  return false;
}
bool fused_gemm(Cuda, DType dtype, const GemmShape& shape, const void* a, const void* b, void* c,
                const GemmFusion& fusion);

// `batch` products of one shape; the operands of the i-th start `*_offsets[i]` elements after a, b and c. Different
// products must not share parts of C.
void batched_gemm(Cpu, DType dtype, const GemmShape& shape, int64_t batch, const int64_t* a_offsets,
                  const int64_t* b_offsets, const int64_t* c_offsets, const void* a, const void* b, void* c);
void batched_gemm(Cuda, DType dtype, const GemmShape& shape, int64_t batch, const int64_t* a_offsets,
                  const int64_t* b_offsets, const int64_t* c_offsets, const void* a, const void* b, void* c);

}  // namespace tenrec::kernels
