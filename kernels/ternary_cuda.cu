// Ternary functors compiled for CUDA.
#include "tenrec/kernels/cuda/elementwise.cuh"

namespace tenrec::kernels {
namespace {

[[maybe_unused, gnu::used]] constexpr Instances<CudaTernary, TernaryFunctors> kTernaryFunctors{};
[[maybe_unused, gnu::used]] constexpr Instances<CudaTernary, GateGradFunctors> kGateGradFunctors{};

}  // namespace
}  // namespace tenrec::kernels
