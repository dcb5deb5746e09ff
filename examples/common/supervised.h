// The training loop of what learns from inputs and targets: progress, evaluation, the run state that --save writes and
// --resume reads.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/app.h"

namespace examples {

// What is said of a model beside its loss: a mean over the examples of the test set.
struct Measure {
  std::string key;    // in the JSON line: "test_accuracy"
  std::string title;  // in the progress: "accuracy"
  bool percent = false;
  // Added up over the rows of a batch.
  std::function<double(const tenrec::Tensor& outputs, const tenrec::Tensor& targets)> sum;
};
// The share of right answers, of logits [n, classes] and targets [n].
Measure accuracy();

struct Supervised {
  std::string example, model_name, data_name;
  tenrec::Module& model;
  std::function<tenrec::Tensor(const tenrec::Tensor&)> forward;  // inputs -> outputs
  tenrec::Optimizer& optimizer;
  tenrec::Scheduler& scheduler;  // stepped once per batch
  tenrec::DataLoader& train;
  tenrec::DataLoader& test;
  int64_t epochs;
  const Flags& flags;
  std::function<tenrec::Tensor(const tenrec::Tensor& outputs, const tenrec::Tensor& targets)> loss =
      [](const tenrec::Tensor& outputs, const tenrec::Tensor& targets) {
        return tenrec::cross_entropy(outputs, targets);
      };
  std::vector<Measure> measures = {accuracy()};  // the first one is shown while the training goes on
};

// Trains to the end (or --steps, or Ctrl-C), saves if asked, and returns the JSON line's object.
nlohmann::ordered_json train_supervised(const Supervised& run);

// Outputs for inputs anywhere, in evaluation's mode and the run's precision, outside the tape.
tenrec::Tensor predict(const Supervised& run, const tenrec::Tensor& inputs);
// The measures on the test set.
std::vector<double> evaluate(const Supervised& run);

}  // namespace examples
