// The one tensor type: a handle to a reference-counted header over reference-counted storage.
//
// A copy of a Tensor is the same tensor: it sees the same data, requires_grad and grad. Views (reshape, transpose,
// slices) are other headers over the same storage. Ops are free functions (autograd/ops.h); `x += y` means `x = x + y`.
// The header carries an opaque autograd pointer, so core knows nothing of the tape (autograd/tape.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "tenrec/core/device.h"
#include "tenrec/core/dtype.h"
#include "tenrec/core/shape.h"

namespace tenrec {

class Tensor;

namespace detail {

// Bytes, and who else looks at them. The header and the data of a tensor of our own are one block.
struct Storage {
  int32_t refs;      // atomic, by the helpers in tensor.cpp
  uint32_t version;  // one for all views; each mutation adds one
  bool recorded;     // a node of the tape has recorded this storage
  Device device;
  void* data;
  size_t bytes;  // of data
  void (*release)(Storage*);
  void* context;  // of `release`
};

struct TensorImpl {
  uint32_t refs = 1;
  DType dtype = DType::f32;
  Device device;
  bool contiguous = true;
  bool requires_grad = false;  // a leaf that wants a gradient
  bool has_node = false;       // `autograd` is the tape node that made this tensor
  uint32_t output_index = 0;   // which output of the node
  Storage* storage = nullptr;
  void* data = nullptr;  // first element
  int64_t numel = 0;
  void* autograd = nullptr;  // a tape node, or a leaf's record; see autograd/tape.h
  void (*release_autograd)(void*) = nullptr;
  Shape shape;
  Strides strides;
};

void release_impl(TensorImpl* impl) noexcept;
inline void retain_impl(TensorImpl* impl) noexcept {
  if (impl) __atomic_fetch_add(&impl->refs, 1u, __ATOMIC_RELAXED);
}
[[noreturn]] void fail_undefined(const char* what);

}  // namespace detail

struct TensorOptions {
  DType dtype = DType::f32;
  Device device = default_device();
  bool requires_grad = false;
};

// A C++ number in an expression: keeps its kind, so that `x * 2.0` stays f32 and `i * 2.0` becomes floating.
struct Scalar {
  double value = 0;
  int64_t integer = 0;
  bool floating = true;
  template <class T>
  requires std::is_arithmetic_v<T> Scalar(T v)  // NOLINT(google-explicit-constructor)
      : value(double(v)),
        integer(std::is_floating_point_v<T> ? 0 : int64_t(v)),
        floating(std::is_floating_point_v<T>) {}
};

class Tensor {
 public:
  Tensor() = default;
  Tensor(const Tensor& other) noexcept : impl_(other.impl_) { detail::retain_impl(impl_); }
  Tensor(Tensor&& other) noexcept : impl_(std::exchange(other.impl_, nullptr)) {}
  Tensor& operator=(const Tensor& other) noexcept {
    Tensor copy(other);
    std::swap(impl_, copy.impl_);
    return *this;
  }
  Tensor& operator=(Tensor&& other) noexcept {
    std::swap(impl_, other.impl_);
    return *this;
  }
  ~Tensor() {
    if (impl_) detail::release_impl(impl_);
  }

  // False for a default-constructed tensor, which no op takes.
  bool defined() const { return impl_ != nullptr; }

  const Shape& shape() const { return impl().shape; }
  const Strides& strides() const { return impl().strides; }
  int64_t ndim() const { return impl().shape.ndim(); }
  int64_t size(int64_t dim) const { return impl().shape[check_dim("size", impl().shape, dim)]; }
  int64_t numel() const { return impl().numel; }
  DType dtype() const { return impl().dtype; }
  Device device() const { return impl().device; }
  bool is_contiguous() const { return impl().contiguous; }

  // Autograd; defined beside the tape.
  bool requires_grad() const { return impl().requires_grad || impl_->has_node; }
  // True unless an op on the tape made it.
  bool is_leaf() const { return !impl().has_node; }
  // Leaves of floating dtype only. Returns *this.
  Tensor& set_requires_grad(bool value);
  // The accumulated gradient of a leaf, undefined before the first backward.
  Tensor grad() const;
  void set_grad(const Tensor& grad);
  // The same storage outside the tape.
  Tensor detach() const;
  // Another dtype or device, differentiable; *this if nothing changes.
  Tensor to(DType dtype) const;
  // From pinned memory (cuda::pin_memory) to a device a `non_blocking` copy runs while the host goes on; the host must
  // not write to that memory until the device's stream is past it.
  Tensor to(Device device, bool non_blocking = false) const;
  Tensor& operator+=(const Tensor& other);
  Tensor& operator-=(const Tensor& other);
  Tensor& operator*=(const Tensor& other);
  Tensor& operator/=(const Tensor& other);
  Tensor& operator+=(Scalar value);
  Tensor& operator-=(Scalar value);
  Tensor& operator*=(Scalar value);
  Tensor& operator/=(Scalar value);
  // Entry i of the first dimension, a view.
  Tensor operator[](int64_t i) const;

  // The only element, converted. ShapeError unless there is exactly one.
  template <class T>
  T item() const {
    return static_cast<T>(read<T>(only_element()));
  }
  // The element at an index (negative counts from the end). IndexError when out of range.
  template <class T, class... Index>
  requires(sizeof...(Index) > 0) T item(Index... index)
  const { return read<T>(element({int64_t(index)...})); }
  // Typed pointer to the first element; DTypeError if T is not the dtype. Elements lie at strides().
  template <class T>
  T* data() const {
    if (dtype() != dtype_of<T>) fail_dtype(dtype_of<T>);
    return static_cast<T*>(impl_->data);
  }
  void* data_ptr() const { return impl().data; }
  // All elements in row-major order, converted.
  template <class T>
  std::vector<T> to_vector() const {
    std::vector<T> out(static_cast<size_t>(numel()));
    copy_out(out.data(), dtype_of<T>);
    return out;
  }

  detail::TensorImpl& impl() const {
    if (!impl_) [[unlikely]]
      detail::fail_undefined("an undefined tensor was used");
    return *impl_;
  }
  detail::TensorImpl* raw() const { return impl_; }
  // Takes over one reference.
  static Tensor adopt(detail::TensorImpl* impl) {
    Tensor t;
    t.impl_ = impl;
    return t;
  }

 private:
  const void* only_element() const;
  const void* element(std::initializer_list<int64_t> index) const;
  template <class T>
  T read(const void* element) const {
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>(read_integer(element));
    else
      return static_cast<T>(read_double(element));
  }
  double read_double(const void* element) const;
  int64_t read_integer(const void* element) const;
  void copy_out(void* out, DType dtype) const;
  [[noreturn]] void fail_dtype(DType wanted) const;

  detail::TensorImpl* impl_ = nullptr;
};

// A std::initializer_list of these is a list of tensors without a copy of each.
struct TensorRef {
  const Tensor* tensor;
  TensorRef(const Tensor& t) : tensor(&t) {}  // NOLINT(google-explicit-constructor)
  const Tensor& operator*() const { return *tensor; }
  const Tensor* operator->() const { return tensor; }
};

// Uninitialised, contiguous.
Tensor empty(const Shape& shape, const TensorOptions& options = {});
inline Tensor empty_like(const Tensor& x) { return empty(x.shape(), {.dtype = x.dtype(), .device = x.device()}); }
// Copies the elements at `data` into a new contiguous tensor on the default device.
Tensor from_data(const void* data, const Shape& shape, DType dtype);
template <class T>
Tensor from_vector(const std::vector<T>& values, const Shape& shape) {
  if (checked_numel(shape) != int64_t(values.size()))
    fail<ShapeError>("from_vector: ", values.size(), " values do not fill shape ", shape);
  return from_data(values.data(), shape, dtype_of<T>);
}
// Memory owned by somebody else; `release(context)` is called when the last view is gone.
Tensor from_blob(void* data, const Shape& shape, DType dtype, void (*release)(void*), void* context);

namespace detail {

// A view without a tape: another header over the storage of `base`. `data` points into it.
Tensor make_view(const Tensor& base, const Shape& shape, const Strides& strides, int64_t offset_elements);
bool is_contiguous(const Shape& shape, const Strides& strides);
// True if this handle is the only one on its header and storage: its memory may be reused.
bool is_unique(const Tensor& t);

}  // namespace detail

// "tensor([[1, 2], [3, 4]], f32)", large ones shortened as PyTorch does.
std::string to_string(const Tensor& t);

}  // namespace tenrec
