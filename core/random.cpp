#include "tenrec/core/random.h"

namespace tenrec {

Generator& default_generator() {
  thread_local Generator generator;
  return generator;
}

void manual_seed(uint64_t seed) { default_generator().set_state({seed, 0}); }

}  // namespace tenrec
