#include "tenrec/data/json_impl.h"

#include <unordered_set>
#include <vector>

#include "tenrec/core/bounded_reader.h"
#include "tenrec/core/error.h"

namespace tenrec::json {
namespace {

constexpr int kMaxDepth = 32;

// Sees every value as it is read, and ends the reading where the rules are broken.
class Watcher {
 public:
  explicit Watcher(const std::string& path) : path_(path) {}

  bool operator()(int depth, Value::parse_event_t event, const Value& value) {
    using Event = Value::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      if (depth >= kMaxDepth) fail<IOError>(path_, ": nested more than ", kMaxDepth, " deep");
      if (event == Event::object_start) keys_.emplace_back();
    } else if (event == Event::object_end) {
      keys_.pop_back();
    } else if (event == Event::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys_.back().insert(key).second) fail<IOError>(path_, ": '", brief(key), "' is given twice in one object");
    }
    return true;
  }

 private:
  const std::string& path_;
  std::vector<std::unordered_set<std::string>> keys_;  // of the objects that are open
};

}  // namespace

Value read(const std::string& path) {
  const std::vector<uint8_t> bytes = read_file(path, kMaxBytes);
  return parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

Value parse(std::string_view text, const std::string& path) {
  Watcher watcher(path);
  try {
    return Value::parse(text.begin(), text.end(), [&](int depth, Value::parse_event_t event, Value& value) {
      return watcher(depth, event, value);
    });
  } catch (const Value::exception& e) {
    fail<IOError>(path, ": is not JSON: ", brief(e.what()));
  }
}

const Value* find(const Value& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

std::string brief(std::string_view text) {
  constexpr size_t kLength = 160;
  std::string out(text.substr(0, kLength));
  while (text.size() > kLength && !out.empty() && (uint8_t(out.back()) & 0xC0) == 0x80) out.pop_back();
  for (char& c : out)
    if (uint8_t(c) < 0x20 || c == 0x7f) c = '?';
  return text.size() > kLength ? out + "..." : out;
}

}  // namespace tenrec::json
