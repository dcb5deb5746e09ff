// Activation functions and their gradients compiled for the CPU.
#include "tenrec/kernels/elementwise_loop.h"

namespace tenrec::kernels {
namespace {

[[gnu::used]] constexpr Instances<UnaryInstance, ActivationFunctors> kActivationFunctors{};
[[gnu::used]] constexpr Instances<BinaryInstance, ActivationGradFunctors> kActivationGradFunctors{};

}  // namespace
}  // namespace tenrec::kernels
