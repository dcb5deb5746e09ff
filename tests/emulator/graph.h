// The emulator's CUDA graphs: recorded work and what each piece comes after. Replayed in any legal order. Internal.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "emulator/simt.h"

struct CUgraph_st {
  struct Node {
    std::function<void()> run;
    std::vector<size_t> after;  // numbers of earlier nodes
  };
  std::vector<Node> nodes;
};
struct CUgraphExec_st {
  std::shared_ptr<const CUgraph_st> graph;
};

namespace tenrec::simt {

// What is being recorded, from cudaStreamBeginCapture to cudaStreamEndCapture.
struct Capture {
  cudaStream_t origin = nullptr;
  std::vector<cudaStream_t> streams = {};  // that take part: the origin, and those that waited for its events
  std::unique_ptr<CUgraph_st> graph = std::make_unique<CUgraph_st>();
  bool broken = false;  // by a call that a capture does not allow
};

// Runs every node after those that it comes after: of the nodes that may run the first, the last or a random one.
void replay(const CUgraph_st& graph, std::mt19937_64& random);
// True if each node of `which` is in `nodes` or comes before one of them.
bool comes_before(const CUgraph_st& graph, const std::vector<size_t>& which, const std::vector<size_t>& nodes);

}  // namespace tenrec::simt
