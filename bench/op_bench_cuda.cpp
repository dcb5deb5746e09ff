// The ops of the case table on a CUDA device. A row is validated before it is timed: at the table's smallest size
// against the CPU in f64, at the size that is timed against the device's own f64.
//
// Each repetition is timed by the device between two marks of its stream, after a write to more memory than the second
// cache holds. That write also keeps the device busy while the host gets ahead, so the gap before a launch is not
// counted. Beside it stands what the host spends to put the call into the queue. The ceilings are Tenrec's own copy of
// a large tensor and its own product of large matrices, measured here; clocks are noted and left alone.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "bench/op_jobs.h"
#include "tenrec/core/cuda.h"

namespace tenrec::bench {
namespace {

constexpr Device kDevice = DeviceType::cuda;
constexpr int64_t kMemoryBytes = int64_t(256) << 20;  // a row moves about so many: several times any second cache

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }
double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// The line that nvidia-smi prints of clocks, power and temperature; "unknown" where it is not there.
std::string clocks() {
  std::string text;
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(
      popen("nvidia-smi -i 0 --query-gpu=clocks.sm,clocks.mem,clocks.max.sm,power.draw,temperature.gpu "
            "--format=csv,noheader 2>/dev/null",
            "r"),
      pclose);
  char line[256];
  if (pipe && std::fgets(line, sizeof line, pipe.get())) text = line;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text.empty() ? "unknown" : text;
}

// Writes to more memory than the second cache holds.
class Flush {
 public:
  explicit Flush(int64_t l2)
      : buffer_(empty({std::max<int64_t>(1, l2 / 2)}, {.dtype = f32, .device = kDevice})) {}  // twice the cache
  void operator()() {
    const NoGrad off;
    fill_(buffer_, double(round_++ % 7));
  }

 private:
  Tensor buffer_;
  int64_t round_ = 0;
};

struct Times {
  double median_us = 0, best_us = 0;
};

// As many repetitions as fill `min_time`, at least 5 and at most 50; a slow call gets 3.
template <class F>
Times time_on_device(Flush& flush, double min_time, F&& call) {
  call();
  cuda::synchronize();
  const auto start = Clock::now();
  flush();
  call();
  cuda::synchronize();
  const double once = seconds_since(start);
  const auto repetitions = once > 0.2 ? 3 : std::clamp(int(min_time / std::max(once, 1e-6)), 5, 50);
  std::vector<cuda::Timer> timers(static_cast<size_t>(repetitions));
  for (cuda::Timer& timer : timers) {
    flush();
    timer.start();
    call();
    timer.stop();
  }
  std::vector<double> times;
  for (const cuda::Timer& timer : timers) times.push_back(timer.microseconds());
  return {median(times), *std::min_element(times.begin(), times.end())};
}

// What the host spends on a call that it does not wait for (unless the op itself waits): the least of some rounds, of
// fewer calls where the device takes long.
template <class F>
double enqueue_us(double device_us, F&& call) {
  const int calls = std::clamp(int(5000 / device_us), 2, 20);
  double best = INFINITY;
  for (int round = 0; round < 5; ++round) {
    cuda::synchronize();
    const auto start = Clock::now();
    for (int i = 0; i < calls; ++i) call();
    best = std::min(best, seconds_since(start) / calls * 1e6);
  }
  cuda::synchronize();
  return best;
}

struct Ceilings {
  double copy_gbs = 0;
  std::map<DType, double> gflops;

  Ceilings(Flush& flush, const std::vector<Job>& jobs, bool emulated) {
    const NoGrad off;
    const int64_t n = emulated ? 1 << 12 : int64_t(1) << 28;
    const Tensor from = ones({n}, {.device = kDevice}), to = empty({n}, {.device = kDevice});
    copy_gbs = 8e-3 * double(n) / time_on_device(flush, 0.1, [&] { copy_(to, from); }).best_us;
    for (const Job& job : jobs) {
      if (gflops.count(job.dtype)) continue;
      const int64_t side = emulated ? 32 : job.dtype == bf16 || job.dtype == f16 ? 8192 : 4096;
      // Not of zeros: they need less power, and the clocks rise.
      const Tensor a = (rand({side, side}, {.device = kDevice}) - 0.5).to(job.dtype);
      const Tensor b = (rand({side, side}, {.device = kDevice}) - 0.5).to(job.dtype);
      gflops[job.dtype] = 2e-3 * double(side * side * side) / time_on_device(flush, 0.1, [&] { matmul(a, b); }).best_us;
    }
  }
  // 0 for a gradient: the table does not know its traffic.
  double limit_us(const Job& job) const {
    if (job.gradient) return 0;
    return std::max(job.flops() / gflops.at(job.dtype), job.bytes() / copy_gbs) * 1e-3;
  }
};

// The inputs of a row, drawn on the device.
std::vector<Tensor> draw_inputs(const Job& job) {
  std::vector<Tensor> out;
  for (const Input& input : job.inputs()) {
    if (!input.values.empty()) {
      out.push_back(testing::make_inputs({input}, job.dtype, 1)[0].to(kDevice));
      continue;
    }
    const Tensor u = rand(input.shape, {.device = kDevice});
    if (input.kind == Input::real)
      out.push_back((u * (input.high - input.low) + input.low).to(job.dtype));
    else if (input.kind == Input::integer)
      out.push_back(
          minimum(floor(u * (input.high - input.low + 1) + input.low), full({}, input.high, {.device = kDevice}))
              .to(i64));
    else
      out.push_back(u < 0.5);
  }
  return out;
}

bool is_wanted(const Tensor& x, const Input& input) { return is_floating(x.dtype()) && input.differentiable; }

// The row's outputs for x, or the gradients of its first output that has any (of the sum of its elements).
std::vector<Tensor> results(const Job& job, std::vector<Tensor> x, Device device) {
  const testing::DeviceScope scope(device);
  if (!job.gradient) {
    const NoGrad off;
    return job.row->f(x);
  }
  std::vector<Tensor> leaves;
  const std::vector<Input> inputs = job.inputs();
  for (size_t i = 0; i < x.size(); ++i)
    if (is_wanted(x[i], inputs[i])) leaves.push_back(x[i] = x[i].detach().set_requires_grad(true));
  for (const Tensor& y : job.row->f(x))
    if (y.requires_grad()) return grad(y, leaves, {.grad_output = ones_like(y)});
  return {};
}

// The largest |y - r| / max(1, |r|), computed where r lies; NaN equals NaN, infinities must be equal.
double worst_error(const Tensor& y, const Tensor& r) {
  if (r.numel() == 0) return 0;
  const Tensor a = y.detach().to(r.device()).to(f64), b = r.detach().to(f64);
  const Tensor same = logical_or(eq(a, b), logical_and(isnan(a), isnan(b)));
  const double worst = max(where(same, 0.0, abs(a - b) / maximum(abs(b), ones_like(b)))).item<double>();
  return std::isnan(worst) ? INFINITY : worst;
}

// Fills the memory that the results will lie in with NaN: what the op does not write shows.
void poison_results(const Job& job, const std::vector<Tensor>& x) {
  const NoGrad off;
  for (const Tensor& y : results(job, x, kDevice)) {
    const auto shares = [&](const Tensor& t) { return t.raw()->storage == y.raw()->storage; };
    if (is_floating(y.dtype()) && std::none_of(x.begin(), x.end(), shares)) fill_(y.detach(), NAN);
  }
}

// Against the same in f64 on `reference`. A gradient has a rounding more on the way, and 16-bit ones add some up.
void validate(const Job& job, Device reference, Result& result) {
  if (!job.row->reference) return;  // random or layout only: the table says why
  const std::vector<Tensor> x = draw_inputs(job);
  poison_results(job, x);
  const std::vector<Tensor> y = results(job, x, kDevice);
  std::vector<Tensor> exact;
  for (const Tensor& t : x) exact.push_back((is_floating(t.dtype()) ? t.to(f64) : t).to(reference));
  const std::vector<Tensor> r = results(job, exact, reference);
  for (size_t i = 0; i < y.size(); ++i) {
    const double error = worst_error(y[i], r[i]), bound = bound_of(job, y[i].numel()) * (job.gradient ? 4 : 1);
    if (!(error <= bound)) result.refused = "WRONG";
    if (result.bound == 0 || error / bound > result.error / result.bound) result.error = error, result.bound = bound;
  }
}

struct DeviceResult : Result {
  double best_us = 0, enqueue_us = 0;
};

void time_job(Flush& flush, double min_time, const Job& job, DeviceResult& result) {
  const auto take = [&](const auto& call) {
    const Times times = time_on_device(flush, min_time, call);
    result.us = times.median_us;
    result.best_us = times.best_us;
    result.enqueue_us = enqueue_us(times.median_us, call);
  };
  const testing::DeviceScope scope(kDevice);
  std::vector<Tensor> x = draw_inputs(job), leaves;
  if (!job.gradient) {
    const NoGrad off;
    return take([&] { job.row->f(x); });
  }
  const std::vector<Input> inputs = job.inputs();
  for (size_t i = 0; i < x.size(); ++i)
    if (is_wanted(x[i], inputs[i])) leaves.push_back(x[i].set_requires_grad(true));
  for (const Tensor& y : job.row->f(x)) {
    if (!y.requires_grad()) continue;
    const Tensor dy = ones_like(y);
    return take([&] { grad(y, leaves, {.retain_graph = true, .grad_output = dy}); });
  }
  result.refused = "no output has a gradient";
}

// Small on the CPU's word, then large on the device's own in f64.
DeviceResult run(Flush& flush, const Flags& flags, const Job& job) {
  const auto smaller = [](const Shape& a, const Shape& b) { return checked_numel(a) < checked_numel(b); };
  DeviceResult result;
  try {
    Job small = job;
    if (flags.sizes.empty())
      small.shape = *std::min_element(job.row->bench.shapes.begin(), job.row->bench.shapes.end(), smaller);
    validate(small, kCpu, result);
    if (result.refused.empty() && smaller(small.shape, job.shape)) validate(job, kDevice, result);
    if (result.refused.empty()) time_job(flush, flags.min_time, job, result);
  } catch (const Error& e) {
    result.refused = e.what();
  }
  return result;
}

// Of each row's sizes the largest (the emulator: the smallest), with as much more in its first dimension as it takes
// to move kMemoryBytes.
std::vector<Job> sizes_for_device(std::vector<Job> jobs, bool emulated) {
  std::vector<Job> chosen;
  for (const Job& job : jobs) {
    const auto same = [&](const Job& other) {
      return other.row == job.row && other.dtype == job.dtype && other.gradient == job.gradient;
    };
    const auto found = std::find_if(chosen.begin(), chosen.end(), same);
    const bool larger = found != chosen.end() && checked_numel(job.shape) > checked_numel(found->shape);
    if (found == chosen.end())
      chosen.push_back(job);
    else if (larger != emulated)
      *found = job;
  }
  for (Job& job : chosen) {
    if (emulated || job.bytes() <= 0) continue;
    job.shape[0] *= std::max<int64_t>(1, int64_t(double(kMemoryBytes) / job.bytes()));
    job.name = name_of(job);
  }
  return chosen;
}

nlohmann::ordered_json to_json(const Job& job, const DeviceResult& result, const Ceilings& ceilings) {
  nlohmann::ordered_json row = {{"op", job.row->op},
                                {"variant", job.row->variant},
                                {"shape", std::vector<int64_t>(job.shape.begin(), job.shape.end())},
                                {"dtype", name(job.dtype)},
                                {"gradient", job.gradient}};
  if (result.us > 0) {
    row.update({{"us", result.us}, {"best_us", result.best_us}, {"enqueue_us", result.enqueue_us}});
    if (const double limit = ceilings.limit_us(job); limit > 0)
      row.update({{"limit_us", limit}, {"share", limit / result.us}});
  }
  if (result.bound > 0) row.update({{"error", result.error}, {"bound", result.bound}});
  if (!result.refused.empty()) row["refused"] = result.refused;
  return row;
}

void print(const Job& job, const DeviceResult& result, double limit) {
  if (!result.refused.empty())
    std::printf("%-60s %s (error %.1e, bound %.1e)\n", job.name.c_str(), result.refused.c_str(), result.error,
                result.bound);
  else if (limit > 0)
    std::printf("%-60s %10.4g %10.4g %9.4g %9.0f %9.4g %5.0f%%  %.0e\n", job.name.c_str(), result.us, result.best_us,
                result.enqueue_us, job.bytes() / result.us * 1e-3, limit, 100 * limit / result.us, result.error);
  else
    std::printf("%-60s %10.4g %10.4g %9.4g %9s %9s %6s  %.0e\n", job.name.c_str(), result.us, result.best_us,
                result.enqueue_us, "-", "-", "-", result.error);
  std::fflush(stdout);
}

void write(const std::string& path, const nlohmann::ordered_json& report) {
  if (path.empty()) return;
  std::ofstream file(path);
  if (!(file << report.dump(1) << "\n")) throw std::runtime_error("cannot write " + path);
}

}  // namespace

int run_on_device(const Flags& flags, std::vector<Job> jobs) {
  if (!cuda::is_available()) {
    std::fprintf(stderr,
                 "op_bench: there is no CUDA device here: no driver, no GPU, or a build with TENREC_CUDA=OFF\n");
    return 2;
  }
  const auto start = Clock::now();
  const std::string device = cuda::describe(kDevice);
  const bool emulated = device.find("emulator") != std::string::npos;
  if (flags.sizes.empty()) jobs = sizes_for_device(std::move(jobs), emulated);
  manual_seed(1);
  nlohmann::ordered_json report = {{"device", device}, {"emulated", emulated}, {"clocks_before", clocks()}};
  std::printf("%s; clocks (sm, memory, highest sm, power, temperature): %s\n", device.c_str(),
              report["clocks_before"].get<std::string>().c_str());
  if (emulated) std::printf("emulated: the times below mean nothing\n");
  Flush flush(cuda::l2_bytes());
  const Ceilings ceilings(flush, jobs, emulated);
  std::printf("ceilings: copy %.0f GB/s", ceilings.copy_gbs);
  report["copy_gbs"] = ceilings.copy_gbs;
  for (const auto& [dtype, gflops] : ceilings.gflops) {
    std::printf(", matmul %s %.1f TFLOP/s", name(dtype), gflops * 1e-3);
    report["matmul_gflops"][name(dtype)] = gflops;
  }
  std::printf("\n%-60s %10s %10s %9s %9s %9s %6s  %s\n", "op", "us", "best us", "enqueue", "GB/s", "limit us", "share",
              "error");
  report["rows"] = nlohmann::ordered_json::array();
  bool refused = false;
  size_t done = 0;
  for (; done < jobs.size() && (flags.seconds <= 0 || seconds_since(start) < flags.seconds); ++done) {
    const DeviceResult result = run(flush, flags, jobs[done]);
    refused |= !result.refused.empty();
    report["rows"].push_back(to_json(jobs[done], result, ceilings));
    print(jobs[done], result, ceilings.limit_us(jobs[done]));
    if (done % 16 == 0) write(flags.json, report);  // what there is, should the run be stopped
  }
  report["not_reached"] = jobs.size() - done;
  if (done < jobs.size()) std::printf("%zu rows were not reached in %g s\n", jobs.size() - done, flags.seconds);
  report["clocks_after"] = clocks();
  std::printf("clocks after: %s\n", report["clocks_after"].get<std::string>().c_str());
  write(flags.json, report);
  return refused ? 1 : 0;
}

}  // namespace tenrec::bench
