#include "emulator/ranges.h"

#include <utility>

#include "tenrec/core/error.h"
#include "tenrec/core/profile_range.h"

namespace tenrec {
namespace {
struct Recorder {
  std::vector<std::string> ranges;
  int depth = 0;
  bool unbalanced = false;
};
thread_local Recorder recorder;
}  // namespace

namespace detail {

void push_range(const char* name) { recorder.ranges.push_back(std::string(size_t(2 * recorder.depth++), ' ') + name); }
void pop_range() {
  if (recorder.depth == 0)
    recorder.unbalanced = true;
  else
    --recorder.depth;
}

}  // namespace detail

std::vector<std::string> simt::take_ranges() {
  const Recorder seen = std::exchange(recorder, {});
  if (seen.unbalanced || seen.depth) fail<InternalError>("ranges are not closed as they were opened");
  return seen.ranges;
}

}  // namespace tenrec
