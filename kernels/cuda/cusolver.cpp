// Factorizations and spectra by cuSOLVER, triangular systems by cuBLAS, matrix after matrix on the stream. Both store
// matrices by columns, as kernels/linalg.h does, so nothing is turned round here. Work space comes from Tenrec's
// allocator, so cuSOLVER allocates nothing and nothing waits; what went wrong is a number per matrix in device memory
// that the op reads. By default cuSOLVER's results are the same bits from run to run
// (CUSOLVER_DETERMINISTIC_RESULTS).
#include <cublas_v2.h>
#include <cusolverDn.h>

#include <algorithm>
#include <limits>
#include <map>
#include <vector>

#include "tenrec/core/cuda/runtime.h"
#include "tenrec/kernels/cuda/solver.h"

namespace tenrec::cuda {
namespace {

using kernels::Matrices;

#define TENREC_CUSOLVER_CHECK(call)                                                                       \
  do {                                                                                                    \
    if (const cusolverStatus_t status = (call); status != CUSOLVER_STATUS_SUCCESS)                        \
      fail<DeviceError>("cusolver: status ", int(status), " in " #call " (cusolver.cpp:", __LINE__, ")"); \
  } while (false)
#define TENREC_CUBLAS_CHECK(call)                                                                                  \
  do {                                                                                                             \
    if (const cublasStatus_t status = (call); status != CUBLAS_STATUS_SUCCESS)                                     \
      fail<DeviceError>("cublas: ", cublasGetStatusString(status), " in " #call " (cusolver.cpp:", __LINE__, ")"); \
  } while (false)

// One a thread and device: a handle's stream is part of its state. Left to the process's end, as cuDNN's.
struct Handles {
  cusolverDnHandle_t solver = nullptr;
  cusolverDnParams_t parameters = nullptr;
  cublasHandle_t blas = nullptr;
};
const Handles& handles(cudaStream_t stream) {
  thread_local std::map<int, Handles> all;
  Handles& h = all[device()];
  if (!h.solver) TENREC_CUSOLVER_CHECK(cusolverDnCreate(&h.solver));
  if (!h.parameters) TENREC_CUSOLVER_CHECK(cusolverDnCreateParams(&h.parameters));
  if (!h.blas) TENREC_CUBLAS_CHECK(cublasCreate(&h.blas));
  TENREC_CUSOLVER_CHECK(cusolverDnSetStream(h.solver, stream));
  TENREC_CUBLAS_CHECK(cublasSetStream(h.blas, stream));
  return h;
}

cudaDataType_t type_of(DType dtype) { return dtype == f64 ? CUDA_R_64F : CUDA_R_32F; }
cublasFillMode_t fill_of(bool upper) { return upper ? CUBLAS_FILL_MODE_UPPER : CUBLAS_FILL_MODE_LOWER; }
cublasOperation_t operation_of(bool transposed) { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; }

int as_int(int64_t size) {
  if (size > std::numeric_limits<int>::max()) fail<DeviceError>("cusolver: a size of ", size, " is beyond 32 bits");
  return int(size);
}

// Element `offset` of an array of the dtype.
void* at(void* data, DType dtype, int64_t offset) { return static_cast<char*>(data) + offset * size_of(dtype); }
const void* at(const void* data, DType dtype, int64_t offset) {
  return static_cast<const char*>(data) + offset * size_of(dtype);
}

// Work space of the generic functions, on both sides.
struct Workspace {
  size_t device_bytes = 0, host_bytes = 0;
};
class Rooms {
 public:
  explicit Rooms(const Workspace& w) : device_(int64_t(w.device_bytes)), host_(w.host_bytes) {}
  void* device() const { return device_.data(); }
  void* host() { return host_.data(); }

 private:
  Buffer<char> device_;
  std::vector<char> host_;
};

// f(zero of the element type).
template <class F>
void visit(DType dtype, F&& f) {
  if (dtype == f64)
    f(double{});
  else
    f(float{});
}

// The typed functions under one name each.
cusolverStatus_t getrf_size(cusolverDnHandle_t h, int m, int n, float* a, int* size) {
  return cusolverDnSgetrf_bufferSize(h, m, n, a, m, size);
}
cusolverStatus_t getrf_size(cusolverDnHandle_t h, int m, int n, double* a, int* size) {
  return cusolverDnDgetrf_bufferSize(h, m, n, a, m, size);
}
cusolverStatus_t getrf(cusolverDnHandle_t h, int m, int n, float* a, float* work, int* pivots, int* info) {
  return cusolverDnSgetrf(h, m, n, a, m, work, pivots, info);
}
cusolverStatus_t getrf(cusolverDnHandle_t h, int m, int n, double* a, double* work, int* pivots, int* info) {
  return cusolverDnDgetrf(h, m, n, a, m, work, pivots, info);
}
cusolverStatus_t getrs(cusolverDnHandle_t h, bool transposed, int n, int k, const float* a, const int* pivots, float* b,
                       int* info) {
  return cusolverDnSgetrs(h, operation_of(transposed), n, k, a, n, pivots, b, n, info);
}
cusolverStatus_t getrs(cusolverDnHandle_t h, bool transposed, int n, int k, const double* a, const int* pivots,
                       double* b, int* info) {
  return cusolverDnDgetrs(h, operation_of(transposed), n, k, a, n, pivots, b, n, info);
}
cusolverStatus_t geqrf_size(cusolverDnHandle_t h, int m, int n, float* a, int* size) {
  return cusolverDnSgeqrf_bufferSize(h, m, n, a, m, size);
}
cusolverStatus_t geqrf_size(cusolverDnHandle_t h, int m, int n, double* a, int* size) {
  return cusolverDnDgeqrf_bufferSize(h, m, n, a, m, size);
}
cusolverStatus_t geqrf(cusolverDnHandle_t h, int m, int n, float* a, float* tau, float* work, int size, int* info) {
  return cusolverDnSgeqrf(h, m, n, a, m, tau, work, size, info);
}
cusolverStatus_t geqrf(cusolverDnHandle_t h, int m, int n, double* a, double* tau, double* work, int size, int* info) {
  return cusolverDnDgeqrf(h, m, n, a, m, tau, work, size, info);
}
cusolverStatus_t orgqr_size(cusolverDnHandle_t h, int m, int n, float* a, float* tau, int* size) {
  return cusolverDnSorgqr_bufferSize(h, m, n, n, a, m, tau, size);
}
cusolverStatus_t orgqr_size(cusolverDnHandle_t h, int m, int n, double* a, double* tau, int* size) {
  return cusolverDnDorgqr_bufferSize(h, m, n, n, a, m, tau, size);
}
cusolverStatus_t orgqr(cusolverDnHandle_t h, int m, int n, float* a, float* tau, float* work, int size, int* info) {
  return cusolverDnSorgqr(h, m, n, n, a, m, tau, work, size, info);
}
cusolverStatus_t orgqr(cusolverDnHandle_t h, int m, int n, double* a, double* tau, double* work, int size, int* info) {
  return cusolverDnDorgqr(h, m, n, n, a, m, tau, work, size, info);
}
cublasStatus_t trsm(cublasHandle_t h, const kernels::Triangle& t, int n, int k, const float* a, float* b) {
  const float one = 1;
  return cublasStrsm(h, CUBLAS_SIDE_LEFT, fill_of(t.upper), operation_of(t.transposed),
                     t.unit ? CUBLAS_DIAG_UNIT : CUBLAS_DIAG_NON_UNIT, n, k, &one, a, n, b, n);
}
cublasStatus_t trsm(cublasHandle_t h, const kernels::Triangle& t, int n, int k, const double* a, double* b) {
  const double one = 1;
  return cublasDtrsm(h, CUBLAS_SIDE_LEFT, fill_of(t.upper), operation_of(t.transposed),
                     t.unit ? CUBLAS_DIAG_UNIT : CUBLAS_DIAG_NON_UNIT, n, k, &one, a, n, b, n);
}

}  // namespace

void factor_cholesky(const Matrices& s, bool upper, void* a, int32_t* info, cudaStream_t stream) {
  const Handles& h = handles(stream);
  const cudaDataType_t type = type_of(s.dtype);
  const int64_t n = s.rows;
  Workspace w;
  TENREC_CUSOLVER_CHECK(cusolverDnXpotrf_bufferSize(h.solver, h.parameters, fill_of(upper), n, type, a, n, type,
                                                    &w.device_bytes, &w.host_bytes));
  Rooms rooms(w);
  for (int64_t i = 0; i < s.count; ++i)
    TENREC_CUSOLVER_CHECK(cusolverDnXpotrf(h.solver, h.parameters, fill_of(upper), n, type, at(a, s.dtype, i * n * n),
                                           n, type, rooms.device(), w.device_bytes, rooms.host(), w.host_bytes,
                                           info + i));
}

void solve_triangular(const Matrices& s, const kernels::Triangle& triangle, bool shared, const void* a, void* b,
                      cudaStream_t stream) {
  const Handles& h = handles(stream);
  const int n = as_int(s.rows), k = as_int(s.cols);
  visit(s.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = 0; i < s.count; ++i)
      TENREC_CUBLAS_CHECK(trsm(h.blas, triangle, n, k, static_cast<const T*>(a) + (shared ? 0 : i * s.rows * s.rows),
                               static_cast<T*>(b) + i * s.rows * s.cols));
  });
}

void factor_lu(const Matrices& s, void* a, int32_t* pivots, cudaStream_t stream) {
  const Handles& h = handles(stream);
  const int m = as_int(s.rows), n = as_int(s.cols);
  const Buffer<int> info(1);  // a zero pivot, which is in the factor as well
  visit(s.dtype, [&](auto zero) {
    using T = decltype(zero);
    int size = 0;
    TENREC_CUSOLVER_CHECK(getrf_size(h.solver, m, n, static_cast<T*>(a), &size));
    const Buffer<T> work(size);
    for (int64_t i = 0; i < s.count; ++i)
      TENREC_CUSOLVER_CHECK(getrf(h.solver, m, n, static_cast<T*>(a) + i * s.rows * s.cols, work.data(),
                                  pivots + i * std::min(s.rows, s.cols), info.data()));
  });
}

void solve_lu(const Matrices& s, bool transposed, bool shared, const void* lu, const int32_t* pivots, void* b,
              cudaStream_t stream) {
  const Handles& h = handles(stream);
  const int n = as_int(s.rows), k = as_int(s.cols);
  const Buffer<int> info(1);  // of the arguments alone
  visit(s.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = 0; i < s.count; ++i)
      TENREC_CUSOLVER_CHECK(
          getrs(h.solver, transposed, n, k, static_cast<const T*>(lu) + (shared ? 0 : i * s.rows * s.rows),
                pivots + (shared ? 0 : i * s.rows), static_cast<T*>(b) + i * s.rows * s.cols, info.data()));
  });
}

void factor_qr(const Matrices& s, void* a, void* r, cudaStream_t stream) {
  const Handles& h = handles(stream);
  const int m = as_int(s.rows), n = as_int(s.cols);
  const Buffer<int> info(1);  // of the arguments alone
  visit(s.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Buffer<T> tau(n);
    int factor_size = 0, product_size = 0;
    TENREC_CUSOLVER_CHECK(geqrf_size(h.solver, m, n, static_cast<T*>(a), &factor_size));
    TENREC_CUSOLVER_CHECK(orgqr_size(h.solver, m, n, static_cast<T*>(a), tau.data(), &product_size));
    const int size = std::max(factor_size, product_size);
    const Buffer<T> work(size);
    TENREC_CUDA_CHECK(cudaMemsetAsync(r, 0, size_t(s.count * s.cols * s.cols) * sizeof(T), stream));
    for (int64_t i = 0; i < s.count; ++i) {
      T *q = static_cast<T*>(a) + i * s.rows * s.cols, *upper = static_cast<T*>(r) + i * s.cols * s.cols;
      TENREC_CUSOLVER_CHECK(geqrf(h.solver, m, n, q, tau.data(), work.data(), size, info.data()));
      for (int64_t j = 0; j < s.cols; ++j)  // R's columns, before Q takes their place
        TENREC_CUDA_CHECK(cudaMemcpyAsync(upper + j * s.cols, q + j * s.rows, size_t(j + 1) * sizeof(T),
                                          cudaMemcpyDeviceToDevice, stream));
      TENREC_CUSOLVER_CHECK(orgqr(h.solver, m, n, q, tau.data(), work.data(), size, info.data()));
    }
  });
}

void solve_eigh(const Matrices& s, bool upper, bool vectors, void* a, void* values, int32_t* info,
                cudaStream_t stream) {
  const Handles& h = handles(stream);
  const cudaDataType_t type = type_of(s.dtype);
  const cusolverEigMode_t mode = vectors ? CUSOLVER_EIG_MODE_VECTOR : CUSOLVER_EIG_MODE_NOVECTOR;
  const int64_t n = s.rows;
  Workspace w;
  TENREC_CUSOLVER_CHECK(cusolverDnXsyevd_bufferSize(h.solver, h.parameters, mode, fill_of(upper), n, type, a, n, type,
                                                    values, type, &w.device_bytes, &w.host_bytes));
  Rooms rooms(w);
  for (int64_t i = 0; i < s.count; ++i)
    TENREC_CUSOLVER_CHECK(cusolverDnXsyevd(h.solver, h.parameters, mode, fill_of(upper), n, type,
                                           at(a, s.dtype, i * n * n), n, type, at(values, s.dtype, i * n), type,
                                           rooms.device(), w.device_bytes, rooms.host(), w.host_bytes, info + i));
}

void solve_svd(const Matrices& s, void* a, void* u, void* values, void* vt, int32_t* info, cudaStream_t stream) {
  const Handles& h = handles(stream);
  const cudaDataType_t type = type_of(s.dtype);
  const signed char job = u ? 'S' : 'N';
  const int64_t m = s.rows, n = s.cols;
  Workspace w;
  TENREC_CUSOLVER_CHECK(cusolverDnXgesvd_bufferSize(h.solver, h.parameters, job, job, m, n, type, a, m, type, values,
                                                    type, u, m, type, vt, n, type, &w.device_bytes, &w.host_bytes));
  Rooms rooms(w);
  for (int64_t i = 0; i < s.count; ++i)
    TENREC_CUSOLVER_CHECK(cusolverDnXgesvd(
        h.solver, h.parameters, job, job, m, n, type, at(a, s.dtype, i * m * n), m, type, at(values, s.dtype, i * n),
        type, u ? at(u, s.dtype, i * m * n) : nullptr, m, type, vt ? at(vt, s.dtype, i * n * n) : nullptr, n, type,
        rooms.device(), w.device_bytes, rooms.host(), w.host_bytes, info + i));
}

// With real types all round, the values' real parts come first and then the imaginary parts, and vectors as LAPACK's
// geev packs them: what kernels/linalg.h asks for.
void solve_eig(const Matrices& s, void* a, void* values, void* vectors, int32_t* info, cudaStream_t stream) {
  const Handles& h = handles(stream);
  const cudaDataType_t type = type_of(s.dtype);
  const cusolverEigMode_t none = CUSOLVER_EIG_MODE_NOVECTOR, mode = vectors ? CUSOLVER_EIG_MODE_VECTOR : none;
  const int64_t n = s.rows;
  Workspace w;
  TENREC_CUSOLVER_CHECK(cusolverDnXgeev_bufferSize(h.solver, h.parameters, none, mode, n, type, a, n, type, values,
                                                   type, nullptr, n, type, vectors, n, type, &w.device_bytes,
                                                   &w.host_bytes));
  Rooms rooms(w);
  for (int64_t i = 0; i < s.count; ++i)
    TENREC_CUSOLVER_CHECK(cusolverDnXgeev(h.solver, h.parameters, none, mode, n, type, at(a, s.dtype, i * n * n), n,
                                          type, at(values, s.dtype, i * 2 * n), type, nullptr, n, type,
                                          vectors ? at(vectors, s.dtype, i * n * n) : nullptr, n, type, rooms.device(),
                                          w.device_bytes, rooms.host(), w.host_bytes, info + i));
}

}  // namespace tenrec::cuda
