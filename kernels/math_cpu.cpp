// Elementary and special functions compiled for the CPU.
#include "tenrec/kernels/elementwise_loop.h"

namespace tenrec::kernels {
namespace {

[[gnu::used]] constexpr Instances<UnaryInstance, MathFunctors> kMathFunctors{};

}  // namespace
}  // namespace tenrec::kernels
