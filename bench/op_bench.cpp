// Times the ops of the case table. Each row is validated first, at the size that is timed: against the same op on the
// same values in float64, whose own truth the test suite checks. A row that is wrong gets no time.
//
//   op_bench [--filter REGEX] [--dtype f32|f64|bf16|f16]... [--sizes 64x784,1024x1024] [--threads N] [--json FILE]
//            [--device cuda [--seconds S]]
//
// The share is that of the roofline: the time that the row's arithmetic or its memory traffic needs at the least, by
// the machine's own ceilings (ceilings.h), over the time measured. Gradients are timed without their forward pass; they
// have no share, because the table does not know their traffic.
#include <benchmark/benchmark.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "bench/ceilings.h"
#include "bench/op_jobs.h"

namespace {

using namespace tenrec;
using namespace tenrec::bench;

struct Ceilings {
  double gflops = 0;
  std::vector<std::pair<int64_t, double>> levels;  // bytes in use, GB/s
  explicit Ceilings(int threads) : gflops(bench::peak_gflops(threads)) {
    for (const int64_t footprint : {int64_t(1) << 18, int64_t(1) << 22, int64_t(1) << 28})
      levels.emplace_back(footprint, bench::bandwidth_gbs(threads, footprint));
  }
  double bandwidth(double bytes) const {
    for (const auto& [footprint, gbs] : levels)
      if (bytes <= double(footprint)) return gbs;
    return levels.back().second;
  }
  double arithmetic(DType dtype) const {
#if defined(__AVX512BF16__)
    if (dtype == bf16) return 2 * gflops;
#endif
    return dtype == f64 ? gflops / 2 : gflops;
  }
};

// The largest |y - r| / max(1, |r|); infinite where they disagree about NaN or infinity.
double worst_error(const Tensor& y, const Tensor& r) {
  const std::vector<double> a = y.to_vector<double>(), b = r.to_vector<double>();
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
    const double error = std::abs(a[i] - b[i]) / std::max(1., std::abs(b[i]));
    if (!(error <= worst)) worst = std::isnan(error) ? INFINITY : error;
  }
  return worst;
}

void validate(const Job& job, const std::vector<Tensor>& x, Result& result) {
  if (!job.row->reference) return;  // random or layout only: the table says why
  std::vector<Tensor> exact;
  for (const Tensor& t : x) exact.push_back(is_floating(t.dtype()) ? t.to(f64) : t);
  const NoGrad off;
  const std::vector<Tensor> y = job.row->f(x), r = job.row->f(exact);
  for (size_t i = 0; i < y.size(); ++i) {
    result.bound = bound_of(job, y[i].numel());
    result.error = std::max(result.error, worst_error(y[i], r[i]));
  }
  if (!(result.error <= result.bound)) result.refused = "WRONG";
}

// Both call once before the clock starts: the first call meets fresh pages.
void time_forward(benchmark::State& state, const Job& job, const std::vector<Tensor>& x) {
  const NoGrad off;
  job.row->f(x);
  for (auto _ : state) {
    std::vector<Tensor> y = job.row->f(x);
    benchmark::DoNotOptimize(y.data());
  }
}

void time_gradient(benchmark::State& state, const Job& job, const std::vector<Tensor>& x) {
  std::vector<Tensor> leaves, in;
  const std::vector<Input> inputs = job.inputs();
  for (size_t i = 0; i < x.size(); ++i) {
    const bool wanted = is_floating(x[i].dtype()) && inputs[i].differentiable;
    in.push_back(wanted ? x[i].detach().set_requires_grad(true) : x[i]);
    if (wanted) leaves.push_back(in.back());
  }
  for (const Tensor& y : job.row->f(in)) {
    if (!y.requires_grad()) continue;
    const Tensor dy = ones_like(y);
    grad(y, leaves, {.retain_graph = true, .grad_output = dy});
    for (auto _ : state) {
      std::vector<Tensor> dx = grad(y, leaves, {.retain_graph = true, .grad_output = dy});
      benchmark::DoNotOptimize(dx.data());
    }
    return;
  }
  state.SkipWithError("no output has a gradient");
}

void run(benchmark::State& state, const Job& job, Result& result) try {
  const std::vector<Tensor> x = testing::make_inputs(job.inputs(), job.dtype, 1);
  if (result.bound == 0) validate(job, x, result);  // once, though the library calls this for every count it tries
  if (!result.refused.empty()) return state.SkipWithError(result.refused.c_str());
  job.gradient ? time_gradient(state, job, x) : time_forward(state, job, x);
} catch (const Error& e) {
  result.refused = e.what();
  state.SkipWithError(e.what());
}

class Table : public benchmark::BenchmarkReporter {
 public:
  Table(const std::vector<Job>& jobs, std::vector<Result>& results, const Ceilings& ceilings)
      : jobs_(jobs), results_(results), ceilings_(ceilings) {}
  bool ReportContext(const Context&) override {
    std::printf("%-56s %10s %8s %8s %10s %6s  %s\n", "op", "us", "GB/s", "GFLOP/s", "limit us", "share", "error");
    return true;
  }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      const size_t i = std::stoul(run.run_name.function_name);
      if (run.error_occurred) {
        if (results_[i].refused.empty()) results_[i].refused = run.error_message;
      } else {
        results_[i].us = run.GetAdjustedRealTime() * 1e6 / benchmark::GetTimeUnitMultiplier(run.time_unit);
      }
      print(jobs_[i], results_[i]);
    }
  }
  nlohmann::ordered_json json() const {
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    for (size_t i = 0; i < jobs_.size(); ++i) {
      const Job& job = jobs_[i];
      const Result& result = results_[i];
      nlohmann::ordered_json row = {{"op", job.row->op},
                                    {"variant", job.row->variant},
                                    {"shape", std::vector<int64_t>(job.shape.begin(), job.shape.end())},
                                    {"dtype", name(job.dtype)},
                                    {"gradient", job.gradient}};
      if (result.us > 0) row["us"] = result.us;
      if (limit_us(job) > 0 && result.us > 0) row["share"] = limit_us(job) / result.us;
      if (result.bound > 0) row["error"] = result.error;
      if (!result.refused.empty()) row["refused"] = result.refused;
      rows.push_back(row);
    }
    nlohmann::ordered_json levels = nlohmann::ordered_json::array();
    for (const auto& [footprint, gbs] : ceilings_.levels) levels.push_back({{"footprint", footprint}, {"gbs", gbs}});
    return {{"threads", num_threads()}, {"gflops", ceilings_.gflops}, {"bandwidth", levels}, {"rows", rows}};
  }

 private:
  double limit_us(const Job& job) const {
    if (job.gradient) return 0;
    return std::max(job.flops() / ceilings_.arithmetic(job.dtype), job.bytes() / ceilings_.bandwidth(job.bytes())) *
           1e-3;
  }
  void print(const Job& job, const Result& result) const {
    if (!result.refused.empty()) {
      std::printf("%-56s %s (error %.1e, bound %.1e)\n", job.name.c_str(), result.refused.c_str(), result.error,
                  result.bound);
      return;
    }
    const auto figure = [](double v, const char* format) {
      char text[32] = "-";
      if (v > 0) std::snprintf(text, sizeof text, format, v);
      return std::string(text);
    };
    const double limit = limit_us(job);
    std::printf("%-56s %10.4g %8s %8s %10s %6s  %s\n", job.name.c_str(), result.us,
                figure(job.gradient ? 0 : job.bytes() / result.us * 1e-3, "%.1f").c_str(),
                figure(job.gradient ? 0 : job.flops() / result.us * 1e-3, "%.1f").c_str(),
                figure(limit, "%.4g").c_str(), figure(100 * limit / result.us, "%.0f%%").c_str(),
                result.bound > 0 ? figure(result.error, "%.0e").c_str() : "not compared");
    std::fflush(stdout);
  }
  const std::vector<Job>& jobs_;
  std::vector<Result>& results_;
  const Ceilings& ceilings_;
};

int run_all(const Flags& flags) {
  if (flags.threads > 0) set_num_threads(flags.threads);
  const std::vector<Job> jobs = make_jobs(flags);
  if (jobs.empty()) throw std::invalid_argument("no row of the table matches; --list shows them");
  if (flags.list) {
    for (const Job& job : jobs) std::printf("%s\n", job.name.c_str());
    return 0;
  }
  if (flags.device) return run_on_device(flags, jobs);
  std::vector<Result> results(jobs.size());
  for (size_t i = 0; i < jobs.size(); ++i)  // by number: names may hold what the library's own filter reads
    benchmark::RegisterBenchmark(std::to_string(i).c_str(),
                                 [&jobs, &results, i](benchmark::State& state) { run(state, jobs[i], results[i]); })
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond)
        ->MinTime(flags.min_time);
  char program[] = "op_bench";
  char* arguments[] = {program, nullptr};
  int count = 1;
  benchmark::Initialize(&count, arguments);
  const Ceilings ceilings(num_threads());
  std::printf("%d threads; ceilings: %.0f GFLOP/s", num_threads(), ceilings.gflops);
  for (const auto& [footprint, gbs] : ceilings.levels)
    std::printf(", %.0f GB/s in %g MiB", gbs, double(footprint) / (1 << 20));
  std::printf("\n");
  Table table(jobs, results, ceilings);
  benchmark::RunSpecifiedBenchmarks(&table);
  if (!flags.json.empty()) {
    std::ofstream file(flags.json);
    if (!(file << table.json().dump(1) << "\n")) throw std::runtime_error("cannot write " + flags.json);
  }
  for (const Result& result : results)
    if (!result.refused.empty()) return 1;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Times the ops of the case table.");
  Flags flags;
  app.add_option("--filter", flags.filter, "regular expression over the names that --list shows")->default_str(".");
  app.add_option("--dtype", flags.dtypes, "f32, f64, bf16 or f16; may be repeated")->delimiter(',');
  app.add_option("--sizes", flags.sizes, "shapes of the first input in place of the table's: 64x784,1024x1024");
  app.add_option("--threads", flags.threads, "threads of the pool")->check(CLI::PositiveNumber);
  app.add_option("--min-time", flags.min_time, "seconds a row")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--json", flags.json, "also write the rows to this file");
  std::string device = "cpu";
  app.add_option("--device", device, "cpu or cuda")->check(CLI::IsMember({"cpu", "cuda"}))->capture_default_str();
  app.add_option("--seconds", flags.seconds, "cuda: begin no row after so many seconds")->check(CLI::PositiveNumber);
  app.add_flag("--list", flags.list, "the names of the rows, and nothing else");
  CLI11_PARSE(app, argc, argv);
  flags.device = device == "cuda";
  try {
    return run_all(flags);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "op_bench: %s\n", e.what());
    return 1;
  }
}
