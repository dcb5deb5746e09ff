// The network of the optimizers' trajectories, with the weights that a fixture file starts it from.
#pragma once

#include "tenrec/tenrec.h"

namespace tenrec::testing {

// Three linear layers with tanh between them, f64, from the tensors "start.*".
inline Sequential tanh_network(const Safetensors& fixture) {
  Sequential net(Linear(4, 6), Tanh(), Linear(6, 5), Tanh(), Linear(5, 2));
  to(net, f64);
  std::vector<NamedTensor> start;
  for (const NamedTensor& entry : fixture.tensors)
    if (entry.name.starts_with("start.")) start.push_back({entry.name.substr(6), entry.tensor});
  load_state_dict(net, start);
  return net;
}

}  // namespace tenrec::testing
