#include "tenrec/core/device.h"

#include "tenrec/core/error.h"

namespace tenrec {

Device::Device(std::string_view text) {
  if (text == "cpu") return;
  if (text.starts_with("cuda")) {
    type = DeviceType::cuda;
    const std::string_view rest = text.substr(4);
    if (rest.empty()) return;
    if (rest.size() == 2 && rest[0] == ':' && rest[1] >= '0' && rest[1] <= '9') {
      index = int8_t(rest[1] - '0');
      return;
    }
  }
  fail<ValueError>("device: expected \"cpu\", \"cuda\" or \"cuda:N\", got \"", text, "\"");
}

std::string to_string(Device device) {
  return device.is_cpu() ? std::string("cpu") : concat("cuda:", int(device.index));
}

void append(std::string& out, Device device) { out.append(to_string(device)); }

}  // namespace tenrec
