// Where kernels note an index that is out of range, so that no op waits for the answer.
//
// Each stream has one record in pinned memory. The kernel that checks an op's indices writes the first offender of all
// that the stream has seen; what uses the indices leaves out those that are outside. Wherever the host has waited for
// the stream it looks at the record, throws what it finds as an IndexError, and clears it, so that work goes on.
//
// A check needs nothing of the host when it runs: all that it takes are kernel parameters, so a captured graph that is
// replayed checks its indices too. Their errors are then found in the record of the stream that was captured.
#pragma once

#include <cuda_runtime_api.h>

#include "tenrec/core/index_error.h"

namespace tenrec::cuda {

struct IndexRecord {
  int64_t site = 0;  // which op and module; 0: nothing is noted. Written last
  int64_t index = 0, position = 0;
  tenrec::detail::IndexRule rule = {};
};
// In device memory: what the blocks of a check share. Every check leaves it as it was.
struct IndexSearch {
  static constexpr unsigned long long kNone = ~0ull;
  unsigned long long first;  // position of the first offender
  unsigned long long blocks_done;
};
// What a checking kernel gets.
struct IndexNote {
  IndexRecord* record;
  IndexSearch* search;
  int64_t site;
};

// For a check of `op` in the running module, on the calling thread's stream.
IndexNote index_note(const char* op);

namespace detail {
// Makes the record of a stream of the current device, which later cannot be done while it is captured.
void add_index_record(cudaStream_t stream);
// Throws IndexError if something is noted, and clears it. The host has waited for the stream, or for the device.
void look_at_index_record(cudaStream_t stream);
void look_at_index_records(int device);
}  // namespace detail

}  // namespace tenrec::cuda
