// Whether ops are recorded, per thread. Recording is on by default.
#pragma once

namespace tenrec {

namespace detail {
inline thread_local constinit bool grad_mode = true;
}

inline bool grad_enabled() { return detail::grad_mode; }

// Sets the mode for a scope, then restores it.
class GradMode {
 public:
  explicit GradMode(bool enabled) : before_(detail::grad_mode) { detail::grad_mode = enabled; }
  ~GradMode() { detail::grad_mode = before_; }
  GradMode(const GradMode&) = delete;
  GradMode& operator=(const GradMode&) = delete;

 private:
  bool before_;
};

// `NoGrad guard;` - ops in this scope are not recorded and leaves may be mutated.
struct NoGrad : GradMode {
  NoGrad() : GradMode(false) {}
};
struct EnableGrad : GradMode {
  EnableGrad() : GradMode(true) {}
};

}  // namespace tenrec
