// The whole state of a training run in one safetensors file: parameters, optimizer, schedule, random numbers, the
// loader's place, and the sums that the report needs. A resumed run ends in the same bits as one never interrupted.
#pragma once

#include "common/app.h"

namespace examples {

struct Progress {
  int64_t step = 0;
  double loss_sum = 0;  // over the running epoch
  int64_t loss_count = 0;
  double last_loss = 0;  // mean of the last whole epoch
};

void save_run(const std::string& path, const std::string& kind, tenrec::Module& model,
              const tenrec::Optimizer& optimizer, const tenrec::Scheduler& scheduler, const tenrec::DataLoader& loader,
              const Progress& progress);
// IOError or ValueError, with nothing changed, if the file is not the state of such a run.
Progress load_run(const std::string& path, const std::string& kind, tenrec::Module& model, tenrec::Optimizer& optimizer,
                  tenrec::Scheduler& scheduler, tenrec::DataLoader& loader);

}  // namespace examples
