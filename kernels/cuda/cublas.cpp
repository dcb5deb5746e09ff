// Products by cuBLASLt: the first heuristic for a shape, kept, so that two runs are bit-equal.
#include <cublasLt.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>

#include "tenrec/core/cuda/runtime.h"
#include "tenrec/kernels/cuda/blas.h"

namespace tenrec::cuda {
namespace {

constexpr size_t kWorkspace = size_t(32) << 20;  // what NVIDIA advises for Hopper

#define TENREC_CUBLAS_CHECK(call)                                                                                    \
  do {                                                                                                               \
    if (const cublasStatus_t status = (call); status != CUBLAS_STATUS_SUCCESS)                                       \
      fail<DeviceError>("cublasLt: ", cublasLtGetStatusString(status), " in " #call " (cublas.cpp:", __LINE__, ")"); \
  } while (false)

cublasLtHandle_t handle() {
  static std::mutex mutex;
  static auto* const handles = new std::map<int, cublasLtHandle_t>;  // never destroyed: the driver may be gone by then
  const std::lock_guard lock(mutex);
  cublasLtHandle_t& it = (*handles)[device()];
  if (!it) TENREC_CUBLAS_CHECK(cublasLtCreate(&it));
  return it;
}

cudaDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return CUDA_R_64F;
    case DType::bf16:
      return CUDA_R_16BF;
    case DType::f16:
      return CUDA_R_16F;
    default:
      return CUDA_R_32F;
  }
}

// The library's descriptors, destroyed with their owner.
template <class T, cublasStatus_t (*kDestroy)(T)>
class Descriptor {
 public:
  Descriptor() = default;
  ~Descriptor() {
    if (it) kDestroy(it);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  T it = nullptr;
};
using Operation = Descriptor<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Descriptor<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Descriptor<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

template <class T>
void set(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  TENREC_CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof value));
}

// A row-major matrix of `rows` x `cols` is a column-major one of `cols` x `rows`.
void describe(Layout& layout, DType dtype, int64_t rows, int64_t cols, int64_t leading, int64_t batch, int64_t stride) {
  TENREC_CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&layout.it, type_of(dtype), uint64_t(cols), uint64_t(rows), leading));
  const auto count = int32_t(batch);
  TENREC_CUBLAS_CHECK(
      cublasLtMatrixLayoutSetAttribute(layout.it, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count));
  TENREC_CUBLAS_CHECK(
      cublasLtMatrixLayoutSetAttribute(layout.it, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride));
}

struct Plan {
  Operation operation;
  Layout a, b, c;
  cublasLtMatmulHeuristicResult_t choice = {};
};

using Key = std::tuple<int, DType, bool, bool, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                       int64_t, int64_t, bool, bool, size_t>;

// How far a pointer's address is aligned, which kernels depend on; more than 256 makes no difference.
size_t alignment(const void* p) {
  const auto address = reinterpret_cast<uintptr_t>(p);
  return address ? std::min<size_t>(address & -address, 256) : 256;
}

void make_plan(Plan& plan, const Product& p, const kernels::GemmEpilogue& e, size_t aligned) {
  const kernels::GemmShape& s = p.shape;
  const bool wide = p.dtype == f64;
  TENREC_CUBLAS_CHECK(cublasLtMatmulDescCreate(&plan.operation.it, wide ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F,
                                               wide ? CUDA_R_64F : CUDA_R_32F));
  // C^T = op(B)^T op(A)^T: the operands change places, and each is already transposed by being row major.
  set(plan.operation.it, CUBLASLT_MATMUL_DESC_TRANSA, s.trans_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(plan.operation.it, CUBLASLT_MATMUL_DESC_TRANSB, s.trans_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  const cublasLtEpilogue_t epilogue = e.bias && e.relu ? CUBLASLT_EPILOGUE_RELU_BIAS
                                      : e.bias         ? CUBLASLT_EPILOGUE_BIAS
                                      : e.relu         ? CUBLASLT_EPILOGUE_RELU
                                                       : CUBLASLT_EPILOGUE_DEFAULT;
  set(plan.operation.it, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
  describe(plan.a, p.dtype, s.trans_a ? s.k : s.m, s.trans_a ? s.m : s.k, s.lda, p.batch, p.a_stride);
  describe(plan.b, p.dtype, s.trans_b ? s.n : s.k, s.trans_b ? s.k : s.n, s.ldb, p.batch, p.b_stride);
  describe(plan.c, p.dtype, s.m, s.n, s.ldc, p.batch, p.c_stride);
  Preference preference;
  TENREC_CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference.it));
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    TENREC_CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(preference.it, attribute, &value, sizeof value));
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
  for (auto operand : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                       CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    prefer(operand, uint32_t(aligned));
  int found = 0;
  TENREC_CUBLAS_CHECK(cublasLtMatmulAlgoGetHeuristic(handle(), plan.operation.it, plan.b.it, plan.a.it, plan.c.it,
                                                     plan.c.it, preference.it, 1, &plan.choice, &found));
  if (found == 0)
    fail<DeviceError>("matmul: cuBLASLt has no kernel for ", p.dtype, " [", s.m, ", ", s.k, "] x [", s.k, ", ", s.n,
                      "]");
}

const Plan& plan_for(const Product& p, const kernels::GemmEpilogue& e, size_t aligned) {
  const kernels::GemmShape& s = p.shape;
  const Key key{
      device(),   p.dtype,    s.trans_a,  s.trans_b,         s.m,    s.n,    s.k, s.lda, s.ldb, s.ldc, p.batch,
      p.a_stride, p.b_stride, p.c_stride, e.bias != nullptr, e.relu, aligned};
  thread_local std::map<Key, Plan> plans;  // a plan's bias pointer is set before each use
  const auto [at, fresh] = plans.try_emplace(key);
  if (fresh) {
    try {
      make_plan(at->second, p, e, aligned);
    } catch (...) {
      plans.erase(at);
      throw;
    }
  }
  return at->second;
}

}  // namespace

void multiply(const Product& p, const void* a, const void* b, void* c, const kernels::GemmEpilogue& e,
              cudaStream_t stream) {
  const Plan& plan = plan_for(p, e, std::min({alignment(a), alignment(b), alignment(c)}));
  if (e.bias) set(plan.operation.it, CUBLASLT_MATMUL_DESC_BIAS_POINTER, e.bias);
  const Buffer<char> workspace(int64_t(plan.choice.workspaceSize));
  const double one = 1, zero = 0;
  const float one32 = 1, zero32 = 0;
  const bool wide = p.dtype == f64;
  const void* alpha = wide ? static_cast<const void*>(&one) : &one32;
  const void* nothing = wide ? static_cast<const void*>(&zero) : &zero32;
  TENREC_CUBLAS_CHECK(cublasLtMatmul(handle(), plan.operation.it, alpha, b, plan.b.it, a, plan.a.it,
                                     e.accumulate ? alpha : nothing, c, plan.c.it, c, plan.c.it, &plan.choice.algo,
                                     workspace.data(), plan.choice.workspaceSize, stream));
}

}  // namespace tenrec::cuda
