// Hooks: functions that see, and may replace, a gradient on its way.
#pragma once

#include <cstdint>
#include <functional>

#include "tenrec/core/tensor.h"

namespace tenrec {

class HookHandle {
 public:
  HookHandle(Tensor tensor, uint64_t id) : tensor_(std::move(tensor)), id_(id) {}
  // Removes the hook; doing it twice is harmless.
  void remove();

 private:
  Tensor tensor_;
  uint64_t id_;
};

// Calls `hook` with the full gradient of x, once per pass, before it goes further (or, for a leaf, before it is added
// to .grad or returned). A defined result replaces the gradient; ShapeError if its shape differs.
HookHandle register_hook(const Tensor& x, std::function<Tensor(const Tensor&)> hook);

}  // namespace tenrec
