#include "tenrec/kernels/onednn.h"

#include "tenrec/core/error.h"

#ifdef TENREC_HAVE_ONEDNN
#include <dnnl.h>
#include <omp.h>

namespace tenrec::kernels::onednn {
namespace {

// oneDNN opens an OpenMP region unless OpenMP says that there is one thread; its results depend on how many there are.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) {
    if (before_ != 1) omp_set_num_threads(1);
  }
  ~OneThread() {
    if (before_ != 1) omp_set_num_threads(before_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

void check(dnnl_status_t status, const char* what) {
  if (status == dnnl_success) [[likely]]
    return;
  if (status == dnnl_out_of_memory) fail<OutOfMemoryError>("oneDNN: out of memory in ", what);
  fail<InternalError>("oneDNN: ", what, " failed with status ", int(status));
}

}  // namespace

bool available() { return true; }

void sgemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
           int64_t ldb, bool accumulate, float* c, int64_t ldc) {
  const OneThread one_thread;
  check(dnnl_sgemm(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', m, n, k, 1.0f, a, lda, b, ldb, accumulate ? 1.0f : 0.0f, c,
                   ldc),
        "sgemm");
}

}  // namespace tenrec::kernels::onednn

#else

namespace tenrec::kernels::onednn {

bool available() { return false; }
void sgemm(bool, bool, int64_t, int64_t, int64_t, const float*, int64_t, const float*, int64_t, bool, float*, int64_t) {
  fail<InternalError>("oneDNN is not compiled in");
}

}  // namespace tenrec::kernels::onednn

#endif
