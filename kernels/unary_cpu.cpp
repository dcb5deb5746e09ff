// Simple unary functors, and binary ones with a number for an operand, compiled for the CPU.
#include "tenrec/kernels/elementwise_loop.h"

namespace tenrec::kernels {
namespace {

[[gnu::used]] constexpr Instances<UnaryInstance, UnaryFunctors> kUnaryFunctors{};
[[gnu::used]] constexpr Instances<UnaryInstance, BoundFunctors> kBoundFunctors{};

}  // namespace
}  // namespace tenrec::kernels
