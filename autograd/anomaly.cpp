#include "tenrec/autograd/anomaly.h"

#include <atomic>
#include <map>
#include <mutex>
#include <string>

#include "tenrec/autograd/ops_seen.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/core/module_scope.h"

namespace tenrec {
namespace {

std::atomic<int> anomaly_depth{0};
std::mutex names_mutex;
std::map<std::string, int64_t>& names() {
  static auto* const map = new std::map<std::string, int64_t>;
  return *map;
}
std::atomic<int> listeners{0};
thread_local constinit OpListener::Callback* listener = nullptr;

}  // namespace

namespace detail {

void set_observer(int bit, bool on) {
  if (on)
    __atomic_or_fetch(&observers, bit, __ATOMIC_RELAXED);
  else
    __atomic_and_fetch(&observers, ~bit, __ATOMIC_RELAXED);
}

bool has_nan(const Tensor& t) {
  if (!is_floating(t.dtype())) return false;
  for (double v : t.to_vector<double>())
    if (v != v) return true;
  return false;
}

void observe(const char* name, std::span<const TensorRef> inputs, std::span<const Tensor> outputs) {
  if (observers & kObserveNames) {
    std::lock_guard lock(names_mutex);
    ++names()[name];
  }
  if (listener) (*listener)(name, outputs);
  if (!(observers & kObserveAnomaly) || in_rule) return;  // the engine reports what a rule makes, by the op's name
  for (const Tensor& y : outputs) {
    if (!has_nan(y)) continue;
    bool from_input = false;
    for (const TensorRef& x : inputs) from_input |= has_nan(*x);
    fail<AutogradError>(name, ": forward made a NaN in an output of shape ", y.shape(),
                        from_input ? " (an input already held one)" : "");
  }
}

}  // namespace detail

AnomalyMode::AnomalyMode() {
  if (anomaly_depth.fetch_add(1) == 0) detail::set_observer(detail::kObserveAnomaly, true);
}
AnomalyMode::~AnomalyMode() {
  if (anomaly_depth.fetch_sub(1) == 1) detail::set_observer(detail::kObserveAnomaly, false);
}

void watch_ops(bool on) {
  detail::set_observer(detail::kObserveNames, on);
  std::lock_guard lock(names_mutex);
  if (on) names().clear();
}

std::vector<std::pair<std::string, int64_t>> ops_seen() {
  std::lock_guard lock(names_mutex);
  return {names().begin(), names().end()};
}

OpListener::OpListener(Callback callback)
    : callback_(std::move(callback)), outer_(std::exchange(listener, &callback_)) {
  if (listeners.fetch_add(1) == 0) detail::set_observer(detail::kObserveListener, true);
}
OpListener::~OpListener() {
  if (listeners.fetch_sub(1) == 1) detail::set_observer(detail::kObserveListener, false);
  listener = outer_;
}

}  // namespace tenrec
