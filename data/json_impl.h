// JSON from outside, for the library's own readers: bounded in size and depth, and no key of an object twice.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace tenrec::json {

using Value = nlohmann::json;

inline constexpr int64_t kMaxBytes = int64_t(1) << 26;

// The value in a file. IOError "<path>: ..." if it is not JSON, nested more than 32 deep, or gives a key twice.
Value read(const std::string& path);
Value parse(std::string_view text, const std::string& path);

// The member of an object, null if it has none.
const Value* find(const Value& object, const char* key);
// A text as it may stand in a message: short, on one line.
std::string brief(std::string_view text);

}  // namespace tenrec::json
