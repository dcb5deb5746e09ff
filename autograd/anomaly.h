// Anomaly mode: the first NaN is an error that names the op and the module that made it.
//
//   AnomalyMode guard;          // for a scope
//   auto loss = train_step();   // throws AutogradError: "log: forward made a NaN ... [in module net.head]"
//
// It checks every output and every gradient, so it costs a pass over each; for finding faults, not for training.
#pragma once

namespace tenrec {

namespace detail {
inline constexpr int kObserveAnomaly = 1;
inline constexpr int kObserveNames = 2;
inline constexpr int kObserveListener = 4;
void set_observer(int bit, bool on);
inline thread_local constinit bool in_rule = false;  // this thread is inside a rule of the tape
}  // namespace detail

// Process-wide while the object lives; nests.
class AnomalyMode {
 public:
  AnomalyMode();
  ~AnomalyMode();
  AnomalyMode(const AnomalyMode&) = delete;
  AnomalyMode& operator=(const AnomalyMode&) = delete;
};

}  // namespace tenrec
