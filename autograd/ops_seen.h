// Watching ops go by: the names and counts of what `record` has seen, and listeners.
//
// The suite uses the names (an op without a row in its case table fails it) and counts (an MLP step has five GEMMs, not
// six); `summary` listens for shapes. Nothing is spent on it while nobody watches.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tenrec/core/tensor.h"

namespace tenrec {

// Turning it on forgets what was seen before.
void watch_ops(bool on);
// Name and number of calls, sorted by name.
std::vector<std::pair<std::string, int64_t>> ops_seen();

// Calls back for every op on this thread, with its outputs, while it lives. The innermost one listens.
class OpListener {
 public:
  using Callback = std::function<void(const char* op, std::span<const Tensor> outputs)>;
  explicit OpListener(Callback callback);
  ~OpListener();
  OpListener(const OpListener&) = delete;
  OpListener& operator=(const OpListener&) = delete;

 private:
  Callback callback_;
  Callback* outer_;
};

}  // namespace tenrec
