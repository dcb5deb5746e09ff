#include "emulator/graph.h"

#include <algorithm>

namespace tenrec::simt {

void replay(const CUgraph_st& graph, std::mt19937_64& random) {
  std::vector<size_t> waits_for(graph.nodes.size()), able;
  std::vector<std::vector<size_t>> next(graph.nodes.size());
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    waits_for[i] = graph.nodes[i].after.size();
    if (waits_for[i] == 0) able.push_back(i);
    for (size_t before : graph.nodes[i].after) next[before].push_back(i);
  }
  while (!able.empty()) {
    const size_t at = options().order == Order::forward   ? 0
                      : options().order == Order::reverse ? able.size() - 1
                                                          : random() % able.size();
    const size_t node = able[at];
    able.erase(able.begin() + std::ptrdiff_t(at));
    graph.nodes[node].run();
    for (size_t after : next[node])
      if (--waits_for[after] == 0) able.push_back(after);
  }
}

bool comes_before(const CUgraph_st& graph, const std::vector<size_t>& which, const std::vector<size_t>& nodes) {
  std::vector<bool> reached(graph.nodes.size(), false);
  for (size_t node : nodes) reached[node] = true;
  for (size_t i = graph.nodes.size(); i-- > 0;)
    if (reached[i])
      for (size_t before : graph.nodes[i].after) reached[before] = true;
  return std::ranges::all_of(which, [&](size_t node) { return reached[node]; });
}

}  // namespace tenrec::simt
