// The training loop of a classifier: progress, evaluation, the run state that --save writes and --resume reads.
#pragma once

#include <functional>
#include <string>

#include "common/app.h"

namespace examples {

struct Classifier {
  std::string example, model_name, data_name;
  tenrec::Module& model;
  std::function<tenrec::Tensor(const tenrec::Tensor&)> forward;  // images -> logits
  tenrec::Optimizer& optimizer;
  tenrec::Scheduler& scheduler;  // stepped once per batch
  tenrec::DataLoader& train;
  tenrec::DataLoader& test;
  int64_t epochs;
  const Flags& flags;
};

// Trains to the end (or --steps, or Ctrl-C), saves if asked, and returns the JSON line's object.
nlohmann::ordered_json train_classifier(const Classifier& run);

// Logits of images anywhere, in evaluation's mode and the run's precision, outside the tape.
tenrec::Tensor predict(const Classifier& run, const tenrec::Tensor& images);
// Share of right answers.
double evaluate(const Classifier& run);

}  // namespace examples
