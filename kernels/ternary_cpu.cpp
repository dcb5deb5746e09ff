// Ternary functors compiled for the CPU.
#include "tenrec/kernels/elementwise_loop.h"

namespace tenrec::kernels {
namespace {

[[gnu::used]] constexpr Instances<TernaryInstance, TernaryFunctors> kTernaryFunctors{};
[[gnu::used]] constexpr Instances<TernaryInstance, GateGradFunctors> kGateGradFunctors{};

}  // namespace
}  // namespace tenrec::kernels
