// Typed errors. Every failure in Tenrec is one of these, thrown on the caller's thread; nothing aborts.
//
// A message says the op, the facts, and the rule that was broken. When a layer is running, the dotted path of the
// innermost module is added at the end ("... [in module net.fc1]"), see core/module_scope.h.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace tenrec {

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message) {}
};

// Shapes that do not fit together, or a number of dimensions an op does not take.
class ShapeError : public Error {
  using Error::Error;
};
// A dtype that an op does not take, or two that do not go together.
class DTypeError : public Error {
  using Error::Error;
};
// Tensors on different devices, or a device this build does not have.
class DeviceError : public Error {
  using Error::Error;
};
// An index, dimension or class label outside its range.
class IndexError : public Error {
  using Error::Error;
};
// An argument whose value makes no sense (a negative stride, a probability of 1.5).
class ValueError : public Error {
  using Error::Error;
};
// A misuse of the tape: a second pass over a freed graph, mutation of a recorded tensor.
class AutogradError : public Error {
  using Error::Error;
};
// A file or download that is missing, corrupt, truncated or hostile, or that cannot be written.
class IOError : public Error {
  using Error::Error;
};
// Memory that could not be had, or a limit that would be passed.
class OutOfMemoryError : public Error {
  using Error::Error;
};
// What a captured step cannot do: read a value on the host, take another shape, ask for more memory.
class CaptureError : public Error {
  using Error::Error;
};
// A fault of Tenrec itself.
class InternalError : public Error {
  using Error::Error;
};

namespace detail {

void append(std::string& out, std::string_view text);
void append(std::string& out, char c);
void append(std::string& out, bool value);
void append(std::string& out, int value);
void append(std::string& out, unsigned value);
void append(std::string& out, long value);
void append(std::string& out, unsigned long value);
void append(std::string& out, long long value);
void append(std::string& out, unsigned long long value);
void append(std::string& out, double value);  // %g
inline void append(std::string& out, const char* text) { append(out, std::string_view(text)); }
inline void append(std::string& out, const std::string& text) { append(out, std::string_view(text)); }

// " [in module net.fc1]" while a module runs, else empty.
std::string module_suffix();

}  // namespace detail

// Joins its arguments to one string. Types add themselves by an `append(std::string&, const T&)` beside the type.
template <class... Parts>
std::string concat(const Parts&... parts) {
  using detail::append;
  std::string out;
  (append(out, parts), ...);
  return out;
}

// Throws E with the joined message and the module path. Out of line on purpose: checks stay one compare and a branch.
template <class E, class... Parts>
[[noreturn, gnu::cold, gnu::noinline]] void fail(const Parts&... parts) {
  throw E(concat(parts...) + detail::module_suffix());
}

}  // namespace tenrec

// For conditions that only a fault of Tenrec can break.
#define TENREC_ASSERT(condition)                                                                           \
  do {                                                                                                     \
    if (!(condition)) [[unlikely]]                                                                         \
      ::tenrec::fail<::tenrec::InternalError>("internal error: " #condition " (", __FILE__, ":", __LINE__, \
                                              "); please report it");                                      \
  } while (false)
