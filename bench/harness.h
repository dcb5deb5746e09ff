// What the training benchmarks share: command line, warm-up, timing, and the JSON line they print. The programs
// (train_bench.cpp, peers/) bring a Runner per workload and are timed by the very same loop.
//
//   PROGRAM --workload NAME [--threads N] [--repeats R] [--min-time SECONDS] [--losses] [--variant NAME]...
//           [--device NAME] [--capture] [--dtype bf16] [--serve]
//
// prints {"workload": "...", "us_per_step": median, "best_us": ..., "spread": ..., "losses": [50 losses], ...}. A
// repeat is as many steps as fill min-time; times are per step (per op for `chain`). Threads 0: the library's default.
// --serve: after that line, a repeat for every line read, whose time is printed: programs can take turns without each
// turn paying for their start.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/workloads.h"

namespace tenrec::bench {

struct Options {
  std::string workload;
  int threads = 0;
  int repeats = 7;
  double min_time = 0.1;
  bool losses = false;
  bool ceilings = false;
  std::string device = "cpu";
  bool capture = false;       // on a device: the step is recorded once and replayed
  std::string dtype = "f32";  // bf16: forward under autocast, with the weights in f32
  bool serve = false;
  std::vector<std::string> variants;

  bool has(std::string_view variant) const {
    return std::find(variants.begin(), variants.end(), variant) != variants.end();
  }
};

// One workload in one library, from its initial weights on.
class Runner {
 public:
  virtual ~Runner() = default;
  // Trains on batch `i` modulo their number. Reads the loss back only if it is wanted.
  virtual double step(int64_t i, bool want_loss) = 0;
  // Waits for what the steps have put into a device's queue.
  virtual void synchronize() {}
  // The most that a device has held at once, and what a captured step consists of.
  virtual double peak_device_mb() const { return 0; }
  virtual int64_t graph_nodes() const { return 0; }
};

struct Program {
  std::string name;
  std::function<void(int)> set_threads;
  std::function<int()> num_threads;
  std::function<std::unique_ptr<Runner>(const Workload&, const Options&)> make;
  std::function<std::string()> ceilings = {};  // the JSON line for --ceilings
  std::string version = {}, backend = {};      // backend: the matrix library, if the program can tell
};

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline rusage usage() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return u;
}

struct Timing {
  double median_us = 0, best_us = 0, spread = 0, faults = 0;  // faults: fresh pages a step
  int64_t steps = 0;                                          // in a repeat
};

// Microseconds a step, over `steps` of them from the ith on.
inline double time_repeat(Runner& runner, int64_t& i, int64_t steps) {
  const double begin = now();
  for (int64_t s = 0; s < steps; ++s) runner.step(i++, false);
  runner.synchronize();
  return (now() - begin) / double(steps) * 1e6;
}

inline Timing time_steps(Runner& runner, const Options& options, int64_t ops, int64_t& i) {
  const double start = now();
  while (i < 3 || now() - start < 2 * options.min_time) {
    runner.step(i++, false);
    if (i % 32 == 0) runner.synchronize();  // the queue is long, and what stands in it is not done
  }
  runner.synchronize();
  Timing t;
  t.steps = std::max(int64_t{1}, int64_t(std::ceil(options.min_time / ((now() - start) / double(i)))));
  const int64_t faults = usage().ru_minflt;
  std::vector<double> times;
  for (int r = 0; r < options.repeats; ++r) times.push_back(time_repeat(runner, i, t.steps) / double(ops));
  t.faults = double(usage().ru_minflt - faults) / double(t.steps * options.repeats);
  std::sort(times.begin(), times.end());
  const size_t half = times.size() / 2;
  t.median_us = times.size() % 2 ? times[half] : (times[half - 1] + times[half]) / 2;
  t.best_us = times.front();
  t.spread = (times.back() - times.front()) / t.median_us;
  return t;
}

inline void print_losses(const std::vector<double>& losses) {
  std::printf(", \"losses\": [");
  for (size_t i = 0; i < losses.size(); ++i) {
    std::printf(i ? ", " : "");
    if (std::isfinite(losses[i]))
      std::printf("%.9g", losses[i]);
    else
      std::printf("null");
  }
  std::printf("]");
}

inline void run_workload(const Program& program, const Options& options) {
  const Workload w = find_workload(options.workload);
  std::vector<double> losses;
  if (options.losses) {
    const auto trained = program.make(w, options);
    for (int64_t i = 0; i < kLossSteps; ++i) losses.push_back(trained->step(i, true));
  }
  Timing t;
  std::unique_ptr<Runner> runner;
  int64_t step = 0;
  if (options.repeats > 0) {
    runner = program.make(w, options);
    t = time_steps(*runner, options, w.ops, step);
  }
  std::printf(
      "{\"workload\": \"%s\", \"program\": \"%s\", \"version\": \"%s\", \"backend\": \"%s\", \"threads\": %d, "
      "\"device\": \"%s\", \"captured\": %s, \"dtype\": \"%s\"",
      w.name.c_str(), program.name.c_str(), program.version.c_str(), program.backend.c_str(), program.num_threads(),
      options.device.c_str(), options.capture ? "true" : "false", options.dtype.c_str());
  if (options.repeats > 0)
    std::printf(", \"us_per_step\": %.6g, \"best_us\": %.6g, \"spread\": %.4f, \"steps\": %lld, \"page_faults\": %.1f",
                t.median_us, t.best_us, t.spread, static_cast<long long>(t.steps), t.faults);
  if (runner && options.device != "cpu") std::printf(", \"peak_device_mb\": %.1f", runner->peak_device_mb());
  if (runner && options.capture) std::printf(", \"graph_nodes\": %lld", static_cast<long long>(runner->graph_nodes()));
  std::printf(", \"flops\": %.0f, \"bytes\": %.0f, \"footprint\": %.0f, \"peak_rss_mb\": %.1f", w.flops(), w.bytes(),
              w.footprint(), double(usage().ru_maxrss) / 1024);
  if (options.losses) print_losses(losses);
  std::printf("}\n");
  std::fflush(stdout);
  for (int c; options.serve && runner && (c = std::getchar()) != EOF;) {
    if (c != '\n') continue;
    std::printf("%.6g\n", time_repeat(*runner, step, t.steps) / double(w.ops));
    std::fflush(stdout);
  }
}

inline Options parse_options(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 >= argc) throw std::invalid_argument(flag + " needs a value");
      return argv[++i];
    };
    if (flag == "--workload")
      options.workload = value();
    else if (flag == "--threads")
      options.threads = std::stoi(value());
    else if (flag == "--repeats")
      options.repeats = std::stoi(value());
    else if (flag == "--min-time")
      options.min_time = std::stod(value());
    else if (flag == "--variant")
      options.variants.push_back(value());
    else if (flag == "--device")
      options.device = value();
    else if (flag == "--capture")
      options.capture = true;
    else if (flag == "--dtype")
      options.dtype = value();
    else if (flag == "--serve")
      options.serve = true;
    else if (flag == "--losses")
      options.losses = true;
    else if (flag == "--ceilings")
      options.ceilings = true;
    else
      throw std::invalid_argument("unknown option " + flag);
  }
  if (options.dtype != "f32" && options.dtype != "bf16") throw std::invalid_argument("--dtype: must be f32 or bf16");
  return options;
}

// The whole of main(). Without --workload it runs them all.
inline int bench_main(int argc, char** argv, const Program& program) {
  try {
    Options options = parse_options(argc, argv);
    if (options.threads > 0) program.set_threads(options.threads);
    if (options.ceilings && program.ceilings)
      std::printf("%s\n", program.ceilings().c_str());
    else if (!options.workload.empty())
      run_workload(program, options);
    else
      for (const std::string& name : workload_names()) {
        options.workload = name;
        run_workload(program, options);
      }
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: %s\n", program.name.c_str(), e.what());
    return 1;
  }
}

}  // namespace tenrec::bench
