// Where a tensor lives.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tenrec {

enum class DeviceType : uint8_t { cpu, cuda };

struct Device {
  DeviceType type = DeviceType::cpu;
  int8_t index = 0;

  constexpr Device() = default;
  constexpr Device(DeviceType t, int i = 0) : type(t), index(int8_t(i)) {}  // NOLINT(google-explicit-constructor)
  // "cpu", "cuda" or "cuda:1"; throws ValueError on anything else.
  explicit Device(std::string_view text);

  constexpr bool is_cpu() const { return type == DeviceType::cpu; }
  constexpr bool is_cuda() const { return type == DeviceType::cuda; }
  friend constexpr bool operator==(Device, Device) = default;
};

inline constexpr Device kCpu{};

namespace detail {
inline thread_local constinit Device default_device_{};
}
// Where the calling thread's new tensors live unless they are told: the CPU until set_default_device.
inline Device default_device() { return detail::default_device_; }
inline void set_default_device(Device device) { detail::default_device_ = device; }

std::string to_string(Device device);
void append(std::string& out, Device device);

// A queue of work on a device. The CPU has one, and it is synchronous; CUDA fills in the handle.
struct Stream {
  Device device;
  void* handle = nullptr;
};

}  // namespace tenrec
