#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>

#include "optim_race/race.h"

using namespace tenrec;

namespace examples {
namespace {

struct Run {
  int64_t steps = 0;  // to the goal; of the whole run plus one look if it was not reached
  int64_t taken = 0;
  double loss = 0, seconds = 0;
  bool reached = false;
};
bool better(const Run& a, const Run& b) { return a.steps != b.steps ? a.steps < b.steps : a.loss < b.loss; }

// Seconds are those of the steps, not of the looks.
Run run(const Setting& setting, const Track& track, const NetworkRace& race, int64_t most, uint64_t seed) {
  using Clock = std::chrono::steady_clock;
  const std::unique_ptr<Course> course = track.start(seed);
  const Step step = setting.make(course->network());
  Run r;
  for (int64_t i = 1; i <= most && !interrupted(); ++i) {
    const Closure loss_of = course->next();
    const auto start = Clock::now();
    try {
      step(loss_of);
    } catch (const NumericError&) {  // a setting that breaks the method is one that does not get there
      r.loss = std::numeric_limits<double>::infinity();
      break;
    }
    r.seconds += std::chrono::duration<double>(Clock::now() - start).count();
    r.taken = i;
    if (i % race.look != 0) continue;
    r.loss = course->loss();
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
    std::printf("  %-8s %-44s %5ld steps  %6.2f s\n", name, text.c_str(), long(r.steps), r.seconds);
  else
    std::printf("  %-8s %-44s     - (loss %.3g after %ld)\n", name, text.c_str(), r.loss, long(r.taken));
  std::fflush(stdout);
}

nlohmann::ordered_json race_of(const Racer& racer, const Track& track, const NetworkRace& race, uint64_t seed) {
  Setting best;
  Run best_run;
  for (const Setting& s : racer.settings) {
    const Run r = run(s, track, race, best_run.reached ? best_run.steps : race.steps, seed);
    if (!race.quiet) print(racer.name.c_str(), s.text, r);
    if (best.make && !better(r, best_run)) continue;
    best = s;
    best_run = r;
  }
  std::vector<Run> runs{best_run};
  for (int64_t i = 1; i < race.seeds; ++i) runs.push_back(run(best, track, race, race.steps, seed + uint64_t(i)));
  std::sort(runs.begin(), runs.end(), better);
  const Run& median = runs[runs.size() / 2];
  if (!race.quiet) print(racer.name.c_str(), concat("best: ", best.text), median);
  std::vector<int64_t> steps;
  for (const Run& r : runs) steps.push_back(r.steps);
  return {{"setting", best.text},      {"steps", median.steps},     {"all_steps", steps},
          {"reached", median.reached}, {"seconds", median.seconds}, {"loss", median.loss}};
}

}  // namespace

nlohmann::ordered_json race_on_network(const Track& track, const NetworkRace& race, uint64_t seed) {
  nlohmann::ordered_json result;
  for (const Racer& racer : track.racers)
    if (race.only.empty() || std::find(race.only.begin(), race.only.end(), racer.name) != race.only.end())
      result[racer.name] = race_of(racer, track, race, seed);
  return result;
}

}  // namespace examples
