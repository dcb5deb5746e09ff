// Elementary and special functions compiled for CUDA.
#include "tenrec/kernels/cuda/elementwise.cuh"

namespace tenrec::kernels {
namespace {

[[maybe_unused, gnu::used]] constexpr Instances<CudaUnary, MathFunctors> kMathFunctors{};

}  // namespace
}  // namespace tenrec::kernels
