// What runs in a race: optimizers with their settings, each made afresh for every run.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/app.h"

namespace examples {

// One step of a method from a closure that computes the loss.
using Step = std::function<void(const tenrec::Closure&)>;

struct Setting {
  std::string text;  // "lr 0.01, momentum 0.9"
  std::function<Step(tenrec::Module&)> make;
};
struct Racer {
  std::string name;
  std::vector<Setting> settings;
};

// First-order methods go backward once a step; those of optim/closure.h evaluate as often as they like.
template <class O>
Step steps_of(std::shared_ptr<O> optimizer) {
  if constexpr (std::is_base_of_v<tenrec::ClosureOptimizer, O>)
    return [optimizer](const tenrec::Closure& loss_of) { optimizer->step(loss_of); };
  else
    return [optimizer](const tenrec::Closure& loss_of) {
      optimizer->step([&] {
        optimizer->zero_grad();
        const tenrec::Tensor loss = loss_of();
        backward(loss);
        return loss;
      });
    };
}
template <class O, class Options>
Setting setting(const std::string& text, const Options& options) {
  return {text, [options](tenrec::Module& model) {
            return steps_of(std::make_shared<O>(tenrec::parameters(model), options));
          }};
}
// One setting for each rate.
template <class O, class Options>
Racer swept(const std::string& name, const std::vector<double>& rates, Options options = {}) {
  Racer racer{name, {}};
  for (const double lr : rates) {
    options.lr = lr;
    racer.settings.push_back(setting<O>(tenrec::concat("lr ", lr), options));
  }
  return racer;
}

struct FunctionRace {
  int64_t steps = 2000;
  double gap = 1e-8;  // to the smallest value
  bool quiet = false;
};
// Every optimizer on Rosenbrock's and Himmelblau's functions, a quadratic of condition 10^4 and a logistic regression,
// each with its best rate: how many steps and evaluations it took. Prints a table unless quiet; `picture`, if not
// empty, is a PNG of the paths over the two functions of two variables.
nlohmann::ordered_json race_on_functions(const FunctionRace& race, const std::string& picture);

// A network in training on a stream of batches.
class Course {
 public:
  virtual ~Course() = default;
  virtual tenrec::Module& network() = 0;
  // The loss of the next batch, as often as it is called.
  virtual tenrec::Closure next() = 0;
  // The mean loss over all that is measured.
  virtual double loss() = 0;
};
struct Track {
  std::function<std::unique_ptr<Course>(uint64_t seed)> start;
  std::vector<Racer> racers;
};
// 784-256-128-10 on images [n, 784] and their classes [n], measured on all of them.
Track digits_track(const tenrec::Example& digits, int64_t batch);
// The GPT of the gpt example on a text's characters, measured on its last tenth.
Track text_track(const std::string& text_file, int64_t batch);

struct NetworkRace {
  int64_t steps = 2000;  // of a run that does not get there
  int64_t look = 50;     // steps from one measurement to the next
  double goal = 0;       // the loss to be reached
  int64_t seeds = 3;
  std::vector<std::string> only = {};  // names of optimizers; empty: all
  bool quiet = false;
};
// Each optimizer with each of its settings, then the best of them with every seed. A setting is given up once it has
// taken more steps than the best. Prints the grid unless quiet and returns, by optimizer, the median number of steps,
// and its seconds.
nlohmann::ordered_json race_on_network(const Track& track, const NetworkRace& race, uint64_t seed);

}  // namespace examples
