// What Tenrec takes from oneDNN. Internal: onednn.cpp is the only file that knows the library, and it is built with or
// without it; all functions run on the calling thread alone.
#pragma once

#include <cstdint>

namespace tenrec::kernels::onednn {

// False where the library is not compiled in; nothing else here may be called then.
bool available();

// C = (accumulate ? C : 0) + op(A) op(B) on the calling thread, row major.
void sgemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
           int64_t ldb, bool accumulate, float* c, int64_t ldc);

}  // namespace tenrec::kernels::onednn
