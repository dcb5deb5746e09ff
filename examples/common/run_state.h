// The whole state of a training run in one safetensors file: parameters, optimizer, schedule, loss scale, random
// numbers, the loader's place, and the sums that the report needs. A resumed run ends in the same bits as one never
// interrupted.
#pragma once

#include "common/app.h"

namespace examples {

struct Progress {
  int64_t step = 0;
  double loss_sum = 0;  // over the running epoch
  int64_t loss_count = 0;
  double last_loss = 0;  // mean of the last whole epoch

  // The mean so far, of the last whole epoch if the next has not begun.
  double mean_loss() const { return loss_count > 0 ? loss_sum / double(loss_count) : last_loss; }
  void end_epoch() {
    last_loss = mean_loss();
    loss_sum = 0;
    loss_count = 0;
  }
};

// What a run consists of.
struct Run {
  std::string kind;  // example and model: a state fits only the same
  tenrec::Module& model;
  tenrec::Optimizer& optimizer;
  tenrec::Scheduler* scheduler = nullptr;
  tenrec::DataLoader* loader = nullptr;
  tenrec::GradScaler* scaler = nullptr;
};

void save_run(const std::string& path, const Run& run, const Progress& progress);
// At the end of a training loop: saves if --save asks for it, and says what became of a run that a signal cut short.
void finish_run(const Flags& flags, const Run& run, const Progress& progress);
// IOError or ValueError if the file is not the state of such a run; what was loaded before the error stays loaded.
Progress load_run(const std::string& path, const Run& run);

}  // namespace examples
