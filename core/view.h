// What kernels see of a tensor: pointer, shape, strides, dtype. It borrows; it lives as long as the call.
#pragma once

#include "tenrec/core/dispatch.h"
#include "tenrec/core/tensor.h"

namespace tenrec {

struct View {
  void* data = nullptr;
  const Shape* shape = nullptr;
  const Strides* strides = nullptr;
  int64_t numel = 0;
  DType dtype = DType::f32;
  bool contiguous = true;

  int64_t ndim() const { return shape->ndim(); }
  int64_t size(int64_t i) const { return (*shape)[i]; }
  int64_t stride(int64_t i) const { return (*strides)[i]; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

namespace detail {
[[noreturn]] void fail_other_device(const TensorImpl& impl);
}

// Within a dispatch: DeviceError if the tensor is not where the op runs, and its memory is kept until the op is done.
inline View view(const Tensor& t) {
  const detail::TensorImpl& impl = t.impl();
#if defined(TENREC_HAVE_CUDA)
  if (detail::dispatching.op) {
    if (impl.device != detail::dispatching.device) [[unlikely]]
      detail::fail_other_device(impl);
    if (impl.device.is_cuda()) cuda::detail::use(static_cast<cuda::detail::Block*>(impl.storage->context));
  }
#endif
  return {impl.data, &impl.shape, &impl.strides, impl.numel, impl.dtype, impl.contiguous};
}

}  // namespace tenrec
