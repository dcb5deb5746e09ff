// Products by cuBLASLt: the first heuristic for a shape or the one that tuning chose (tuning.h), kept, so that two runs
// are bit-equal.
#include <cublasLt.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "tenrec/core/cuda/runtime.h"
#include "tenrec/kernels/cuda/blas.h"
#include "tenrec/kernels/cuda/dnn.h"
#include "tenrec/kernels/cuda/tuning.h"
#include "tenrec/kernels/precision.h"

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

cublasComputeType_t compute_of(kernels::Factors factors) {
  switch (factors) {
    case kernels::Factors::f64:
      return CUBLAS_COMPUTE_64F;
    case kernels::Factors::tf32:
      return CUBLAS_COMPUTE_32F_FAST_TF32;
    case kernels::Factors::bf16:
      return CUBLAS_COMPUTE_32F_FAST_16BF;
    default:
      return CUBLAS_COMPUTE_32F;
  }
}

// What follows the product, in the library's words.
struct Epilogue {
  cublasLtEpilogue_t kind = CUBLASLT_EPILOGUE_DEFAULT;
  const void* vector = nullptr;  // a bias, or where one's gradient goes
  int64_t vector_size = 0;
  const void* aux = nullptr;
  int64_t aux_leading = 0;  // elements; of relu's mask: bits
  bool accumulate = false;
  int64_t aux_bytes(const Product& p) const {
    const bool bits = kind == CUBLASLT_EPILOGUE_RELU_AUX || kind == CUBLASLT_EPILOGUE_RELU_AUX_BIAS ||
                      kind == CUBLASLT_EPILOGUE_DRELU || kind == CUBLASLT_EPILOGUE_DRELU_BGRAD;
    return aux ? aux_leading * p.shape.m * (bits ? 1 : size_of(p.dtype) * 8) / 8 : 0;
  }
};

Epilogue epilogue_of(const Product& p, const kernels::GemmEpilogue& e) {
  return {.kind = e.bias && e.relu ? CUBLASLT_EPILOGUE_RELU_BIAS
                  : e.bias         ? CUBLASLT_EPILOGUE_BIAS
                  : e.relu         ? CUBLASLT_EPILOGUE_RELU
                                   : CUBLASLT_EPILOGUE_DEFAULT,
          .vector = e.bias,
          .vector_size = p.shape.n,
          .accumulate = e.accumulate};
}

// C's rows are the library's columns: what it calls a bias of D's rows is one of C's columns, and the sums of our first
// factor's rows are those of its second.
Epilogue epilogue_of(const Product& p, const kernels::GemmFusion& f) {
  const auto with = [](cublasLtEpilogue_t kind, int flags) { return cublasLtEpilogue_t(int(kind) | flags); };
  constexpr int kBias = CUBLASLT_EPILOGUE_BIAS, kAux = CUBLASLT_EPILOGUE_RELU_AUX & ~CUBLASLT_EPILOGUE_RELU,
                kSums = CUBLASLT_EPILOGUE_DRELU_BGRAD & ~CUBLASLT_EPILOGUE_DRELU;
  const int64_t n = p.shape.n, bits = kernels::relu_mask_bytes(n) * 8;
  const int forward = (f.bias ? kBias : 0) | (f.aux ? kAux : 0), backward = f.sums ? kSums : 0;
  switch (f.kind) {
    case kernels::Fusion::relu:
      return {with(CUBLASLT_EPILOGUE_RELU, forward), f.bias, n, f.aux, bits};
    case kernels::Fusion::gelu:
      return {with(CUBLASLT_EPILOGUE_GELU, forward), f.bias, n, f.aux, n};
    case kernels::Fusion::relu_grad:
      return {with(CUBLASLT_EPILOGUE_DRELU, backward), f.sums, n, f.aux, bits};
    case kernels::Fusion::gelu_grad:
      return {with(CUBLASLT_EPILOGUE_DGELU, backward), f.sums, n, f.aux, n};
    default:
      return {CUBLASLT_EPILOGUE_BGRADB, f.sums, p.shape.m};
  }
}

using Candidate = cublasLtMatmulHeuristicResult_t;

struct Plan {
  Operation operation;
  Layout a, b, c;
  Candidate choice = {};
  bool possible = false;  // false: the library has no kernel with this epilogue
};

using Key = std::tuple<uint64_t, int, DType, kernels::Factors, bool, bool, int64_t, int64_t, int64_t, int64_t, int64_t,
                       int64_t, int64_t, int64_t, int64_t, int64_t, cublasLtEpilogue_t, bool, size_t>;

// How far a pointer's address is aligned, which kernels depend on; more than 256 makes no difference.
size_t alignment(const void* p) {
  const auto address = reinterpret_cast<uintptr_t>(p);
  return address ? std::min<size_t>(address & -address, 256) : 256;
}

// A plan's pointers are those of the call.
void point(const Plan& plan, const Epilogue& e) {
  if (e.vector) set(plan.operation.it, CUBLASLT_MATMUL_DESC_BIAS_POINTER, e.vector);
  if (e.aux) set(plan.operation.it, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, e.aux);
}

void describe(Plan& plan, const Product& p, const Epilogue& e, kernels::Factors factors) {
  const kernels::GemmShape& s = p.shape;
  TENREC_CUBLAS_CHECK(
      cublasLtMatmulDescCreate(&plan.operation.it, compute_of(factors), p.dtype == f64 ? CUDA_R_64F : CUDA_R_32F));
  // C^T = op(B)^T op(A)^T: the operands change places, and each is already transposed by being row major.
  set(plan.operation.it, CUBLASLT_MATMUL_DESC_TRANSA, s.trans_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(plan.operation.it, CUBLASLT_MATMUL_DESC_TRANSB, s.trans_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(plan.operation.it, CUBLASLT_MATMUL_DESC_EPILOGUE, e.kind);
  if (e.aux) set(plan.operation.it, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, e.aux_leading);
  point(plan, e);
  describe(plan.a, p.dtype, s.trans_a ? s.k : s.m, s.trans_a ? s.m : s.k, s.lda, p.batch, p.a_stride);
  describe(plan.b, p.dtype, s.trans_b ? s.n : s.k, s.trans_b ? s.k : s.n, s.ldb, p.batch, p.b_stride);
  describe(plan.c, p.dtype, s.m, s.n, s.ldc, p.batch, p.c_stride);
}

// What the library offers, the best first by its own lights: one, or several to be timed. None: it has no kernel.
std::vector<Candidate> candidates_for(const Plan& plan, size_t aligned) {
  constexpr int kMost = 16;
  Preference preference;
  TENREC_CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference.it));
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    TENREC_CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(preference.it, attribute, &value, sizeof value));
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
  for (auto operand : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                       CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    prefer(operand, uint32_t(aligned));
  Candidate found[kMost];
  int count = 0;
  const cublasStatus_t asked =
      cublasLtMatmulAlgoGetHeuristic(handle(), plan.operation.it, plan.b.it, plan.a.it, plan.c.it, plan.c.it,
                                     preference.it, tuning_active() ? kMost : 1, found, &count);
  if (asked == CUBLAS_STATUS_NOT_SUPPORTED || asked == CUBLAS_STATUS_INVALID_VALUE) return {};
  TENREC_CUBLAS_CHECK(asked);
  std::vector<Candidate> candidates(found, found + count);
  std::erase_if(candidates, [](const Candidate& c) { return c.state != CUBLAS_STATUS_SUCCESS; });
  return candidates;
}

void run(const Plan& plan, const Candidate& candidate, const Product& p, const void* a, const void* b, void* c,
         bool accumulate, cudaStream_t stream) {
  const Buffer<char> workspace(int64_t(candidate.workspaceSize));
  const double one = 1, zero = 0;
  const float one32 = 1, zero32 = 0;
  const bool wide = p.dtype == f64;
  const void* alpha = wide ? static_cast<const void*>(&one) : &one32;
  const void* nothing = wide ? static_cast<const void*>(&zero) : &zero32;
  TENREC_CUBLAS_CHECK(cublasLtMatmul(handle(), plan.operation.it, alpha, b, plan.b.it, a, plan.a.it,
                                     accumulate ? alpha : nothing, c, plan.c.it, c, plan.c.it, &candidate.algo,
                                     workspace.data(), candidate.workspaceSize, stream));
}

// An algorithm is 64 bytes that mean the same to every process with this version of the library.
std::string name_of(const Candidate& candidate) {
  std::string name;
  for (const uint64_t word : candidate.algo.data) {
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(word));
    name += digits;
  }
  return name;
}

std::string key_of(const Product& p, const Epilogue& e, kernels::Factors factors, size_t aligned) {
  const kernels::GemmShape& s = p.shape;
  return concat("product ", name(p.dtype), " factors ", int(factors), s.trans_a ? " t" : " n", s.trans_b ? "t " : "n ",
                s.m, "x", s.n, "x", s.k, " rows ", s.lda, " ", s.ldb, " ", s.ldc, " batch ", p.batch, " ", p.a_stride,
                " ", p.b_stride, " ", p.c_stride, " epilogue ", int(e.kind), e.accumulate ? " added" : "", " aligned ",
                aligned);
}

// Times the candidates, if there is anything to choose, with results that go to scratch memory.
const Candidate& choose_from(const std::vector<Candidate>& candidates, const Plan& plan, const Product& p,
                             const Epilogue& e, const void* a, const void* b, const std::string& key,
                             cudaStream_t stream) {
  std::vector<std::string> names;
  for (const Candidate& candidate : candidates) names.push_back(name_of(candidate));
  const bool several = candidates.size() > 1;
  const int64_t size = size_of(p.dtype), vector_bytes = e.vector ? e.vector_size * size : 0, aux_bytes = e.aux_bytes(p);
  const Buffer<char> c(several ? ((p.batch - 1) * p.c_stride + p.shape.m * p.shape.ldc) * size : 0);
  const Buffer<char> vector(several ? vector_bytes : 0), aux(several ? aux_bytes : 0);
  if (several) {
    Epilogue scratch = e;
    if (e.vector) scratch.vector = vector.data();
    if (e.aux) scratch.aux = aux.data();
    point(plan, scratch);
  }
  return candidates[choose(key, names, stream,
                           [&](size_t i) { run(plan, candidates[i], p, a, b, c.data(), e.accumulate, stream); })];
}

// The plan for a call, with the call's pointers.
const Plan& plan_for(const Product& p, const Epilogue& e, const void* a, const void* b, const void* c,
                     cudaStream_t stream) {
  const kernels::GemmShape& s = p.shape;
  const kernels::Factors factors = kernels::product_factors(p.dtype, kernels::matmul_precision());
  const size_t aligned = std::min({alignment(a), alignment(b), alignment(c), alignment(e.vector), alignment(e.aux)});
  const Key key{tuning_generation(),
                device(),
                p.dtype,
                factors,
                s.trans_a,
                s.trans_b,
                s.m,
                s.n,
                s.k,
                s.lda,
                s.ldb,
                s.ldc,
                p.batch,
                p.a_stride,
                p.b_stride,
                p.c_stride,
                e.kind,
                e.accumulate,
                aligned};
  thread_local std::map<Key, Plan> plans;
  const auto [at, fresh] = plans.try_emplace(key);
  Plan& plan = at->second;
  if (fresh) {
    try {
      describe(plan, p, e, factors);
      const std::vector<Candidate> candidates = candidates_for(plan, aligned);
      plan.possible = !candidates.empty();
      if (plan.possible)
        plan.choice = choose_from(candidates, plan, p, e, a, b, key_of(p, e, factors, aligned), stream);
    } catch (...) {
      plans.erase(at);
      throw;
    }
  }
  point(plan, e);
  return plan;
}

// False where the library has no kernel.
bool multiply(const Product& p, const void* a, const void* b, void* c, const Epilogue& e, cudaStream_t stream) {
  const Plan& plan = plan_for(p, e, a, b, c, stream);
  if (plan.possible) run(plan, plan.choice, p, a, b, c, e.accumulate, stream);
  return plan.possible;
}

}  // namespace

void multiply(const Product& p, const void* a, const void* b, void* c, const kernels::GemmEpilogue& e,
              cudaStream_t stream) {
  const kernels::GemmShape& s = p.shape;
  if (!multiply(p, a, b, c, epilogue_of(p, e), stream))
    fail<DeviceError>("matmul: cuBLASLt has no kernel for ", p.dtype, " [", s.m, ", ", s.k, "] x [", s.k, ", ", s.n,
                      "]");
}

bool multiply_fused(const Product& p, const void* a, const void* b, void* c, const kernels::GemmFusion& f,
                    cudaStream_t stream) {
  const bool whole_rows = f.kind == kernels::Fusion::gelu || f.kind == kernels::Fusion::gelu_grad;
  if (whole_rows && p.shape.n % 8 != 0) return false;  // what the library asks of aux
  return multiply(p, a, b, c, epilogue_of(p, f), stream);
}

std::string library_versions() { return concat("cublasLt ", cublasLtGetVersion(), ", cudnn ", dnn_version()); }

}  // namespace tenrec::cuda
