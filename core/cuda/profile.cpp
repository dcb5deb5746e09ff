#include <cstdlib>
#include <string_view>

#include "tenrec/core/cuda.h"
#include "tenrec/core/profile_range.h"

namespace tenrec {
namespace detail {

bool profiling = [] {
  const char* text = std::getenv("TENREC_NVTX");
  return text && std::string_view(text) == "1";
}();

void push_range(const ModuleFrame& frame) {
  push_range((frame.path->empty() ? readable_type(frame.type) : *frame.path).c_str());
}

}  // namespace detail

void cuda::set_profiling(bool on) { __atomic_store_n(&detail::profiling, on, __ATOMIC_RELAXED); }

}  // namespace tenrec
