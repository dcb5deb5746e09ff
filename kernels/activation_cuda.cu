// Activation functions and their gradients compiled for CUDA.
#include "tenrec/kernels/cuda/elementwise.cuh"

namespace tenrec::kernels {
namespace {

[[maybe_unused, gnu::used]] constexpr Instances<CudaUnary, ActivationFunctors> kActivationFunctors{};
[[maybe_unused, gnu::used]] constexpr Instances<CudaBinary, ActivationGradFunctors> kActivationGradFunctors{};

}  // namespace
}  // namespace tenrec::kernels
