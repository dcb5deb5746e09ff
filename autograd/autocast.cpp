#include "tenrec/autograd/autocast.h"

#include <unordered_map>

#include "tenrec/autograd/grad_mode.h"

namespace tenrec {
namespace detail {

// The casts of parameters made in a scope. An entry holds a header over the storage that was cast, so a parameter that
// got another storage (it moved to a device) or was written to is seen to differ. A cast keeps nothing of the tape but
// the parameter: its node saves no tensor.
class CastCache {
 public:
  const Tensor& get(const Tensor& parameter, DType dtype) {
    Entry& entry = entries_[parameter.raw()];
    const Storage& storage = *parameter.impl().storage;
    const uint32_t version = __atomic_load_n(&storage.version, __ATOMIC_RELAXED);
    const bool current = entry.cast.defined() && entry.seen.impl().storage == &storage && entry.version == version &&
                         entry.cast.dtype() == dtype && (entry.cast.requires_grad() || !grad_enabled());
    if (!current) entry = {parameter, parameter.detach(), version, parameter.to(dtype)};
    return entry.cast;
  }

 private:
  struct Entry {
    Tensor parameter;  // so that no other tensor gets its address
    Tensor seen;
    uint32_t version = 0;
    Tensor cast;
  };
  std::unordered_map<const TensorImpl*, Entry> entries_;
};

Tensor autocast_input(const Tensor& x, DType dtype) {
  if (!x.defined() || !is_floating(x.dtype()) || x.dtype() == f64 || x.dtype() == dtype) return x;
  CastCache* cache = autocast_state.cache;
  const bool is_parameter = x.impl().requires_grad && x.is_leaf() && x.dtype() == f32;
  return is_parameter && cache ? cache->get(x, dtype) : x.to(dtype);
}

}  // namespace detail

Autocast::Autocast(DType dtype, bool enabled) {
  if (enabled && dtype != bf16 && dtype != f16) fail<DTypeError>("Autocast: computes in bf16 or f16, not in ", dtype);
  detail::autocast_state.enabled = enabled;
  if (!enabled) return;
  detail::autocast_state.dtype = dtype;
  if (!detail::autocast_state.cache) detail::autocast_state.cache = owned_ = new detail::CastCache;
}

Autocast::Autocast(bool enabled) : Autocast(autocast_dtype(), enabled) {}

void Autocast::end() noexcept { delete owned_; }

}  // namespace tenrec
