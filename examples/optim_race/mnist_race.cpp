#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "optim_race/race.h"

using namespace tenrec;

namespace examples {
namespace {

std::string text_of(std::initializer_list<std::pair<const char*, double>> values) {
  std::string text;
  for (const auto& [name, value] : values) text += concat(text.empty() ? "" : ", ", name, " ", value);
  return text;
}

// Twelve settings each, around what is known to work for networks of this size.
std::vector<Racer> racers() {
  std::vector<Racer> all;
  Racer sgd{"SGD", {}}, adam{"Adam", {}}, kfac{"KFAC", {}};
  for (const double momentum : {0.9, 0.95, 0.98})
    for (const double lr : {0.03, 0.1, 0.3, 0.6})
      sgd.settings.push_back(setting<SGD>(text_of({{"lr", lr}, {"momentum", momentum}}),
                                          SGDOptions{.lr = lr, .momentum = momentum, .nesterov = true}));
  for (const double beta2 : {0.99, 0.999})
    for (const double lr : {5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2})
      adam.settings.push_back(
          setting<Adam>(text_of({{"lr", lr}, {"beta2", beta2}}), AdamOptions{.lr = lr, .beta2 = beta2}));
  for (const double damping : {0.1, 0.3})
    for (const double kl_clip : {3e-4, 1e-3})
      for (const double lr : {0.03, 0.1, 0.3})
        kfac.settings.push_back({text_of({{"lr", lr}, {"damping", damping}, {"kl_clip", kl_clip}}), [=](Module& model) {
                                   return steps_of(std::make_shared<KFAC>(
                                       model, KFACOptions{.lr = lr, .damping = damping, .kl_clip = kl_clip}));
                                 }});
  all.push_back(sgd);
  all.push_back(adam);
  all.push_back(kfac);
  return all;
}

Sequential network() { return Sequential(Linear(784, 256), ReLU(), Linear(256, 128), ReLU(), Linear(128, 10)); }

double loss_over(const Sequential& net, const Tensor& images, const Tensor& classes) {
  constexpr int64_t kPart = 5000;
  const NoGrad off;
  double sum = 0;
  for (int64_t at = 0; at < images.size(0); at += kPart) {
    const int64_t n = std::min(kPart, images.size(0) - at);
    sum += cross_entropy(net(narrow(images, 0, at, n)), narrow(classes, 0, at, n)).item<double>() * double(n);
  }
  return sum / double(images.size(0));
}

struct Run {
  int64_t steps = 0;  // to the goal; of the whole run plus one look if it was not reached
  double loss = 0, seconds = 0;
  bool reached = false;
};
bool better(const Run& a, const Run& b) { return a.steps != b.steps ? a.steps < b.steps : a.loss < b.loss; }

// Seconds are those of the steps, not of the looks.
Run run(const Setting& setting, const Tensor& images, const Tensor& classes, const MnistRace& race, uint64_t seed) {
  using Clock = std::chrono::steady_clock;
  manual_seed(seed);
  Sequential net = network();
  const Step step = setting.make(net);
  Run r;
  Tensor order;
  int64_t at = images.size(0);
  for (int64_t i = 1; i <= race.steps && !interrupted(); ++i) {
    if (at + race.batch > images.size(0)) {
      order = randperm(images.size(0));
      at = 0;
    }
    const Tensor rows = narrow(order, 0, at, race.batch);
    const Tensor x = index_select(images, 0, rows), y = index_select(classes, 0, rows);
    at += race.batch;
    const auto start = Clock::now();
    try {
      step([&] { return cross_entropy(net(x), y); });
    } catch (const NumericError&) {  // a setting that breaks the method is one that does not get there
      r.loss = std::numeric_limits<double>::infinity();
      break;
    }
    r.seconds += std::chrono::duration<double>(Clock::now() - start).count();
    if (i % race.look != 0) continue;
    r.loss = loss_over(net, images, classes);
    r.steps = i;
    if (r.loss <= race.goal) {
      r.reached = true;
      return r;
    }
    if (!std::isfinite(r.loss)) break;
  }
  r.steps = race.steps + race.look;
  if (!std::isfinite(r.loss)) r.loss = std::numeric_limits<double>::infinity();
  return r;
}

void print(const char* name, const std::string& text, const Run& r) {
  if (r.reached)
    std::printf("  %-8s %-34s %5ld steps  %6.2f s\n", name, text.c_str(), long(r.steps), r.seconds);
  else
    std::printf("  %-8s %-34s     - (loss %.3g)\n", name, text.c_str(), r.loss);
  std::fflush(stdout);
}

}  // namespace

nlohmann::ordered_json race_on_mnist(const Tensor& images, const Tensor& classes, const MnistRace& race, uint64_t seed,
                                     bool quiet) {
  if (images.size(0) < race.batch)
    fail<ValueError>("optim_race: a batch of ", race.batch, " from ", images.size(0), " examples");
  nlohmann::ordered_json result;
  for (const Racer& racer : racers()) {
    if (!race.only.empty() && std::find(race.only.begin(), race.only.end(), racer.name) == race.only.end()) continue;
    const Setting* best = nullptr;
    Run best_run;
    for (const Setting& s : racer.settings) {
      const Run r = run(s, images, classes, race, seed);
      if (!quiet) print(racer.name.c_str(), s.text, r);
      if (best && !better(r, best_run)) continue;
      best = &s;
      best_run = r;
    }
    std::vector<Run> runs;
    for (int64_t i = 0; i < race.seeds; ++i)
      runs.push_back(i == 0 ? best_run : run(*best, images, classes, race, seed + uint64_t(i)));
    std::sort(runs.begin(), runs.end(), better);
    const Run& median = runs[runs.size() / 2];
    if (!quiet) print(racer.name.c_str(), concat("best: ", best->text), median);
    result[racer.name] = {{"setting", best->text},
                          {"steps", median.steps},
                          {"reached", median.reached},
                          {"seconds", median.seconds},
                          {"loss", median.loss}};
  }
  return result;
}

}  // namespace examples
