// What a leaf carries for the tape: its gradient, the lock that guards it, and hooks. Internal.
#pragma once

#include <atomic>
#include <functional>
#include <utility>
#include <vector>

#include "tenrec/core/tensor.h"

namespace tenrec::detail {

using Hook = std::function<Tensor(const Tensor&)>;

// Hooks by output index, with an id so that they can be removed.
struct Hooks {
  struct Entry {
    uint32_t output;
    uint64_t id;
    Hook hook;
  };
  std::vector<Entry> entries;
  // The gradient after all hooks of `output`, in the order they were added; an undefined result keeps it as it is.
  Tensor run(uint32_t output, Tensor grad) const;
};

class SpinLock {
 public:
  void lock() {
    while (flag_.test_and_set(std::memory_order_acquire)) {
    }
  }
  void unlock() { flag_.clear(std::memory_order_release); }

 private:
  std::atomic_flag flag_;
};

struct Leaf {
  Tensor grad;
  SpinLock lock;
  Hooks hooks;
};

// The record of a leaf, made on first use.
Leaf& leaf_of(TensorImpl& impl);
// Null if there is none.
inline Leaf* find_leaf(const TensorImpl& impl) {
  if (impl.has_node) return nullptr;
  return static_cast<Leaf*>(__atomic_load_n(&impl.autograd, __ATOMIC_ACQUIRE));  // another pass may be making it
}

}  // namespace tenrec::detail
