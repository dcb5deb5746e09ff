#include "tenrec/core/tensor.h"

#include <cstring>
#include <new>

#include "tenrec/core/allocator.h"
#include "tenrec/core/cuda_memory.h"
#include "tenrec/core/reference.h"
#include "tenrec/core/view.h"

namespace tenrec {
namespace detail {
namespace {

constexpr size_t kHeader = 64;
static_assert(sizeof(Storage) <= kHeader);

void release_block(Storage* storage) { deallocate(storage, kHeader + storage->bytes); }

struct Blob {
  void (*release)(void*);
  void* context;
};

void release_blob(Storage* storage) {
  auto* blob = static_cast<Blob*>(storage->context);
  if (blob->release) blob->release(blob->context);
  delete blob;
  deallocate(storage, kHeader);
}

// The header stays on the host.
void release_on_device(Storage* storage) {
  cuda::detail::deallocate(static_cast<cuda::detail::Block*>(storage->context));
  deallocate(storage, kHeader);
}

Storage* make_storage_on_device(size_t bytes, Device device) {
  cuda::detail::Block* memory = cuda::detail::allocate(bytes, device);
  void* block;
  try {
    block = allocate(kHeader);
  } catch (...) {
    cuda::detail::deallocate(memory);
    throw;
  }
  return new (block) Storage{1, 0, false, device, cuda::detail::address(memory), bytes, release_on_device, memory};
}

Storage* make_storage(size_t bytes, Device device) {
  if (!device.is_cpu()) return make_storage_on_device(bytes, device);
  void* block = allocate(kHeader + bytes);
  return new (block) Storage{1, 0, false, device, static_cast<char*>(block) + kHeader, bytes, release_block, nullptr};
}

void release_storage(Storage* storage) noexcept {
  if (drop_reference(storage->refs)) storage->release(storage);
}

TensorImpl* make_impl() {
  auto* impl = new (allocate(sizeof(TensorImpl))) TensorImpl;
  count_tensor(1);
  return impl;
}

// A header over `storage`, whose reference it takes even when it throws.
Tensor make_tensor(Storage* storage, const Shape& shape, DType dtype, int64_t numel) {
  TensorImpl* impl;
  try {
    impl = make_impl();
  } catch (...) {
    release_storage(storage);
    throw;
  }
  impl->storage = storage;
  impl->data = storage->data;
  impl->dtype = dtype;
  impl->device = storage->device;
  impl->numel = numel;
  impl->shape = shape;
  impl->strides = contiguous_strides(shape);
  return Tensor::adopt(impl);
}

size_t checked_bytes(int64_t numel, DType dtype) {
  int64_t bytes;
  if (__builtin_mul_overflow(numel, size_of(dtype), &bytes))
    fail<OutOfMemoryError>("out of memory: ", numel, " elements of ", dtype, " do not fit an address space");
  return size_t(bytes);
}

}  // namespace

void release_impl(TensorImpl* impl) noexcept {
  if (!drop_reference(impl->refs)) return;
  Storage* storage = impl->storage;
  void* autograd = impl->autograd;
  void (*release)(void*) = impl->release_autograd;
  deallocate(impl, sizeof(TensorImpl));
  count_tensor(-1);
  release_storage(storage);
  if (release) release(autograd);
}

void fail_other_device(const TensorImpl& impl) {
#if defined(TENREC_HAVE_CUDA)
  fail<DeviceError>(dispatching.op, ": tensors on ", dispatching.device, " and ", impl.device,
                    "; move one of them with x.to(...)");
#else
  fail<DeviceError>("a tensor on ", impl.device);
#endif
}

void fail_undefined(const char* what) { fail<ValueError>(what); }

bool is_contiguous(const Shape& shape, const Strides& strides) {
  int64_t step = 1;
  for (int64_t i = shape.ndim() - 1; i >= 0; --i) {
    if (shape[i] == 0) return true;
    if (shape[i] != 1 && strides[i] != step) return false;
    step *= shape[i];
  }
  return true;
}

Tensor make_view(const Tensor& base, const Shape& shape, const Strides& strides, int64_t offset_elements) {
  const TensorImpl& from = base.impl();
  const int64_t numel = checked_numel(shape);
  TensorImpl* impl = make_impl();
  __atomic_fetch_add(&from.storage->refs, 1, __ATOMIC_RELAXED);
  impl->storage = from.storage;
  impl->data = static_cast<char*>(from.data) + (numel ? offset_elements * size_of(from.dtype) : 0);
  impl->dtype = from.dtype;
  impl->device = from.device;
  impl->numel = numel;
  impl->shape = shape;
  impl->strides = strides;
  impl->contiguous = is_contiguous(shape, strides);
  return Tensor::adopt(impl);
}

bool is_unique(const Tensor& t) {
  const TensorImpl& impl = t.impl();
  return __atomic_load_n(&impl.refs, __ATOMIC_ACQUIRE) == 1 &&
         __atomic_load_n(&impl.storage->refs, __ATOMIC_ACQUIRE) == 1;
}

}  // namespace detail

Tensor empty(const Shape& shape, const TensorOptions& options) {
  const int64_t numel = checked_numel(shape);
  const size_t bytes = detail::checked_bytes(numel, options.dtype);
  Tensor t = detail::make_tensor(detail::make_storage(bytes, options.device), shape, options.dtype, numel);
  if (options.requires_grad) t.set_requires_grad(true);
  return t;
}

Tensor from_data(const void* data, const Shape& shape, DType dtype) {
  Tensor t = empty(shape, {.dtype = dtype});
  const auto bytes = size_t(t.numel() * size_of(dtype));
  if (!t.device().is_cpu())
    cuda::detail::copy_to_device(t.data_ptr(), data, bytes, t.device());
  else if (bytes)
    std::memcpy(t.data_ptr(), data, bytes);
  return t;
}

Tensor from_blob(void* data, const Shape& shape, DType dtype, void (*release)(void*), void* context) {
  const int64_t numel = checked_numel(shape);
  const size_t bytes = detail::checked_bytes(numel, dtype);
  auto* blob = new detail::Blob{release, context};
  void* block;
  try {
    block = detail::allocate(detail::kHeader);
  } catch (...) {
    delete blob;
    throw;
  }
  auto* storage = new (block) detail::Storage{1, 0, false, kCpu, data, bytes, detail::release_blob, blob};
  return detail::make_tensor(storage, shape, dtype, numel);
}

const void* Tensor::only_element() const {
  if (numel() != 1) fail<ShapeError>("item: expected a tensor of one element, got shape ", shape());
  return impl_->data;
}

const void* Tensor::element(std::initializer_list<int64_t> index) const {
  const detail::TensorImpl& t = impl();
  if (int64_t(index.size()) != t.shape.ndim())
    fail<IndexError>("item: ", index.size(), " indices for a tensor of shape ", t.shape);
  int64_t offset = 0, dim = 0;
  for (int64_t i : index) {
    const int64_t size = t.shape[dim];
    if (i < -size || i >= size)
      fail<IndexError>("item: index ", i, " is out of range for dimension ", dim, " of size ", size);
    offset += (i < 0 ? i + size : i) * t.strides[dim++];
  }
  return static_cast<char*>(t.data) + offset * size_of(t.dtype);
}

namespace {
// An element where the host can read it.
class HostElement {
 public:
  HostElement(const Tensor& t, const void* element) : element_(element) {
    if (t.device().is_cpu()) return;
    cuda::detail::copy_to_host(bytes_, element, size_t(size_of(t.dtype())), t.device());
    element_ = bytes_;
  }
  const void* get() const { return element_; }

 private:
  const void* element_;
  alignas(8) char bytes_[8];
};

// bool is read as a byte so that a stray value cannot be undefined behaviour.
template <class To>
To load(const void* element, DType dtype) {
  return visit_dtype(dtype, [&](auto zero) -> To {
    using From = decltype(zero);
    if constexpr (std::is_same_v<From, bool>) {
      return To(*static_cast<const uint8_t*>(element) != 0);
    } else {
      From value;
      std::memcpy(&value, element, sizeof(value));
      if constexpr (std::is_class_v<From>)
        return static_cast<To>(static_cast<float>(value));
      else
        return static_cast<To>(value);
    }
  });
}
}  // namespace

double Tensor::read_double(const void* element) const {
  return load<double>(HostElement(*this, element).get(), dtype());
}
int64_t Tensor::read_integer(const void* element) const {
  return load<int64_t>(HostElement(*this, element).get(), dtype());
}

void Tensor::copy_out(void* out, DType wanted) const {
  const detail::TensorImpl& t = impl();
  if (!t.device.is_cpu()) return detach().to(kCpu).copy_out(out, wanted);
  Shape index = Shape::filled(t.shape.ndim(), 0);
  visit_dtype(wanted, [&](auto zero) {
    using To = decltype(zero);
    auto* p = static_cast<To*>(out);
    for (int64_t n = 0; n < t.numel; ++n) {
      int64_t offset = 0;
      for (int64_t d = 0; d < index.ndim(); ++d) offset += index[d] * t.strides[d];
      const void* element = static_cast<char*>(t.data) + offset * size_of(t.dtype);
      if constexpr (std::is_integral_v<To>)
        p[n] = static_cast<To>(load<int64_t>(element, t.dtype));
      else
        p[n] = static_cast<To>(load<double>(element, t.dtype));
      for (int64_t d = index.ndim() - 1; d >= 0 && ++index[d] == t.shape[d]; --d) index[d] = 0;
    }
  });
}

void Tensor::fail_dtype(DType wanted) const { fail<DTypeError>("data: the tensor holds ", dtype(), ", not ", wanted); }

}  // namespace tenrec
