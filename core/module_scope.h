// The thread's stack of running modules: what an error, an anomaly report or a profiler range reads to say where it is.
//
// It stands in core, below the modules themselves, so that every error can name the path. A module pushes a frame on
// entry (nn/module.h) and pops it on exit: two pointer writes each, no allocation.
#pragma once

#include <string>

namespace tenrec::detail {

struct ModuleFrame {
  const std::string* path;  // dotted path from the last traversal; empty if none yet
  const char* type;         // typeid(module).name(), used while the path is empty
  const void* module;
  ModuleFrame* outer;
};

inline thread_local constinit ModuleFrame* current_module = nullptr;

// A mangled type name for people: "Linear", without namespaces of ours.
std::string readable_type(const char* mangled);

// The innermost running module as "net.fc1" (or its type name), empty outside any module.
std::string current_module_path();

}  // namespace tenrec::detail
