// Eigen as Tenrec's own sources include it. Internal: no public header may reach it.
#pragma once

#define EIGEN_DONT_PARALLELIZE

// g++ 12 takes the undefined registers inside its own AVX-512 intrinsics for a mistake of ours.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#include <Eigen/Core>

namespace tenrec::kernels {

// Eigen cuts products by the cache sizes it finds, and how it cuts decides the order of the sums: pinned, so that two
// machines of one instruction set agree.
inline const bool eigen_cache_sizes_pinned = [] {
  Eigen::setCpuCacheSizes(32 << 10, 1 << 20, 16 << 20);
  return true;
}();

}  // namespace tenrec::kernels
