// Named ranges on the host's time line for NVIDIA's profilers: a branch each while they are off (cuda::set_profiling),
// nothing at all without CUDA. Internal.
#pragma once

#include "tenrec/core/module_scope.h"

namespace tenrec::detail {

#if defined(TENREC_HAVE_CUDA)

extern bool profiling;  // read and written atomically
// On the calling thread's stack of ranges: NVTX's (core/cuda/nvtx.cpp), or the emulator's recorder.
void push_range(const char* name);
void push_range(const ModuleFrame& frame);
void pop_range();

class ProfileRange {
 public:
  // Name is a C string or a ModuleFrame.
  template <class Name>
  explicit ProfileRange(const Name& name) : open_(__atomic_load_n(&profiling, __ATOMIC_RELAXED)) {
    if (open_) [[unlikely]]
      push_range(name);
  }
  ~ProfileRange() {
    if (open_) [[unlikely]]
      pop_range();
  }
  ProfileRange(const ProfileRange&) = delete;
  ProfileRange& operator=(const ProfileRange&) = delete;

 private:
  bool open_;
};

#endif

}  // namespace tenrec::detail
