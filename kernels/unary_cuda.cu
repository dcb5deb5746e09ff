// Simple unary functors, and binary ones with a number for an operand, compiled for CUDA.
#include "tenrec/kernels/cuda/elementwise.cuh"

namespace tenrec::kernels {
namespace {

[[maybe_unused, gnu::used]] constexpr Instances<CudaUnary, UnaryFunctors> kUnaryFunctors{};
[[maybe_unused, gnu::used]] constexpr Instances<CudaUnary, BoundFunctors> kBoundFunctors{};

}  // namespace
}  // namespace tenrec::kernels
