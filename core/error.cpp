#include "tenrec/core/error.h"

#include <cxxabi.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>

#include "tenrec/core/module_scope.h"

namespace tenrec::detail {

namespace {
template <class Integer>
void append_integer(std::string& out, Integer value) {
  char buffer[24];
  out.append(buffer, std::to_chars(buffer, buffer + sizeof(buffer), value).ptr);
}
}  // namespace

void append(std::string& out, std::string_view text) { out.append(text); }
void append(std::string& out, char c) { out.push_back(c); }
void append(std::string& out, bool value) { out.append(value ? "true" : "false"); }
void append(std::string& out, int value) { append_integer(out, value); }
void append(std::string& out, unsigned value) { append_integer(out, value); }
void append(std::string& out, long value) { append_integer(out, value); }
void append(std::string& out, unsigned long value) { append_integer(out, value); }
void append(std::string& out, long long value) { append_integer(out, value); }
void append(std::string& out, unsigned long long value) { append_integer(out, value); }
void append(std::string& out, double value) {
  char buffer[32];
  out.append(buffer, size_t(std::snprintf(buffer, sizeof(buffer), "%g", value)));
}

std::string readable_type(const char* mangled) {
  int status = 0;
  char* text = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
  std::string name = status == 0 && text ? text : mangled;
  std::free(text);
  for (std::string_view prefix : {"tenrec::", "(anonymous namespace)::"})
    while (name.starts_with(prefix)) name.erase(0, prefix.size());
  return name;
}

std::string current_module_path() {
  if (!current_module) return {};
  return current_module->path->empty() ? readable_type(current_module->type) : *current_module->path;
}

std::string module_suffix() {
  return current_module ? concat(" [in module ", current_module_path(), "]") : std::string();
}

}  // namespace tenrec::detail
