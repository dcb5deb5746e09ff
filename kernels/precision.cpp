#include "tenrec/kernels/precision.h"

#include <atomic>

namespace tenrec::kernels {
namespace {
constinit std::atomic<MatmulPrecision> current{MatmulPrecision::highest};
}

MatmulPrecision matmul_precision() { return current.load(std::memory_order_relaxed); }
void set_matmul_precision(MatmulPrecision precision) { current.store(precision, std::memory_order_relaxed); }

}  // namespace tenrec::kernels
