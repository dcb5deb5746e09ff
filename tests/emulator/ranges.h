// What a profiler would see: the ranges that were opened, in the emulator's place for NVTX.
#pragma once

#include <string>
#include <vector>

namespace tenrec::simt {

// The ranges that the calling thread has opened since the last call, two spaces before each for every one around it.
// An InternalError if one was closed that was never opened, or one is open still.
std::vector<std::string> take_ranges();

}  // namespace tenrec::simt
