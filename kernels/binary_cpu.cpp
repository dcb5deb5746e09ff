// Binary functors compiled for the CPU.
#include "tenrec/kernels/elementwise_loop.h"

namespace tenrec::kernels {
namespace {

[[gnu::used]] constexpr Instances<BinaryInstance, BinaryFunctors> kBinaryFunctors{};
[[gnu::used]] constexpr Instances<BinaryInstance, UnaryGradFunctors> kUnaryGradFunctors{};

}  // namespace
}  // namespace tenrec::kernels
