// Host numbers in device memory without a copy from the host: they travel as kernel parameters, as many at a time as
// fit. Nothing of the host is read when the work runs, so a captured graph may hold it.
#pragma once

#include <algorithm>
#include <vector>

#include "tenrec/kernels/cuda/launch.h"

namespace tenrec::cuda {

template <class T, int kCount>
struct Parameters {
  T values[kCount];
};
template <class T, int kCount>
__global__ void store_parameters(Parameters<T, kCount> parameters, int count, T* to) {
  for (int64_t i = grid_start(); i < count; i += grid_stride()) to[i] = parameters.values[i];
}

template <class T>
class Staged {
  // A launch takes 32764 bytes of parameters; it is quicker with a few.
  static constexpr int kFew = 512 / int(sizeof(T)), kMany = 30720 / int(sizeof(T));

 public:
  explicit Staged(const std::vector<T>& values) : buffer_(std::max<int64_t>(1, int64_t(values.size()))) {
    for (size_t at = 0; at < values.size(); at += size_t(kMany)) {
      const auto count = int(std::min(values.size() - at, size_t(kMany)));
      if (count <= kFew)
        store<kFew>(&values[at], count, buffer_.data() + at);
      else
        store<kMany>(&values[at], count, buffer_.data() + at);
    }
  }
  const T* data() const { return buffer_.data(); }

 private:
  template <int kCount>
  static void store(const T* values, int count, T* to) {
    Parameters<T, kCount> parameters{};
    std::copy_n(values, count, parameters.values);
    TENREC_LAUNCH((store_parameters<T, kCount>), grid_for(count), kThreads, 0, stream(), parameters, count, to);
    TENREC_LAUNCH_CHECK();
  }

  Buffer<T> buffer_;
};

}  // namespace tenrec::cuda
