// Binary functors compiled for CUDA.
#include "tenrec/kernels/cuda/elementwise.cuh"

namespace tenrec::kernels {
namespace {

[[maybe_unused, gnu::used]] constexpr Instances<CudaBinary, BinaryFunctors> kBinaryFunctors{};
[[maybe_unused, gnu::used]] constexpr Instances<CudaBinary, UnaryGradFunctors> kUnaryGradFunctors{};

}  // namespace
}  // namespace tenrec::kernels
