#include "tenrec/kernels/cuda/tuning.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>

#include "tenrec/core/atomic_file.h"
#include "tenrec/core/bounded_reader.h"
#include "tenrec/core/cuda/step_state.h"

namespace tenrec::cuda {
namespace {

using Choices = std::map<std::string, std::string>;
constexpr int64_t kMostBytes = int64_t(64) << 20;

struct Tuning {
  std::mutex mutex;  // also held while candidates are timed: two threads must not choose for one key
  Choices choices;
  std::string file;    // where new choices go
  std::string device;  // that the choices are for
  bool timing = false;
};
Tuning& tuning() {
  static auto* const it = new Tuning;  // never destroyed: threads may outlive main
  return *it;
}
constinit std::atomic<bool> active{false};
constinit std::atomic<uint64_t> generation{0};

std::string device_name() { return describe(Device(DeviceType::cuda, device())); }

// The string at `field`, or an IOError that says which one is missing.
std::string text_of(const nlohmann::json& json, const char* field, const std::string& file) {
  const auto at = json.find(field);
  if (at == json.end() || !at->is_string())
    fail<IOError>(file, ": not a tuning file: there is no text \"", field, "\"");
  return at->get<std::string>();
}

void check_same(const char* what, const std::string& has, const std::string& wanted, const std::string& file) {
  if (has != wanted)
    fail<ValueError>(file, ": this tuning file is for ", what, " ", has, ", but this is ", wanted,
                     "; its choices mean nothing here: tune into another file");
}

Choices read_choices(const std::string& file) {
  const std::vector<uint8_t> bytes = read_file(file, kMostBytes);
  const nlohmann::json json = nlohmann::json::parse(bytes.begin(), bytes.end(), nullptr, false);
  if (!json.is_object() || text_of(json, "format", file) != "tenrec tuning 1")
    fail<IOError>(file, ": not a tuning file of this version of Tenrec");
  check_same("the device", text_of(json, "device", file), device_name(), file);
  check_same("the libraries", text_of(json, "libraries", file), library_versions(), file);
  const auto at = json.find("choices");
  if (at == json.end() || !at->is_object()) fail<IOError>(file, ": not a tuning file: there are no \"choices\"");
  Choices choices;
  for (const auto& [key, name] : at->items()) {
    if (!name.is_string()) fail<IOError>(file, ": not a tuning file: the choice for \"", key, "\" is not a name");
    choices[key] = name.get<std::string>();
  }
  return choices;
}

void write_choices(const Tuning& t) {
  const nlohmann::json json = {
      {"format", "tenrec tuning 1"}, {"device", t.device}, {"libraries", library_versions()}, {"choices", t.choices}};
  write_file(t.file, json.dump(1) + "\n");
}

class Event {
 public:
  Event() { TENREC_CUDA_CHECK(cudaEventCreateWithFlags(&it, cudaEventDefault)); }
  ~Event() { cudaEventDestroy(it); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  cudaEvent_t it = nullptr;
};

// Milliseconds of `kRuns` runs, the best of a few after one to warm up.
float time_of(cudaStream_t stream, const std::function<void(size_t)>& run, size_t candidate) {
  constexpr int kRuns = 5, kTurns = 3;
  const Event start, end;
  run(candidate);
  float best = 0;
  for (int turn = 0; turn < kTurns; ++turn) {
    TENREC_CUDA_CHECK(cudaEventRecord(start.it, stream));
    for (int i = 0; i < kRuns; ++i) run(candidate);
    TENREC_CUDA_CHECK(cudaEventRecord(end.it, stream));
    TENREC_CUDA_CHECK(cudaEventSynchronize(end.it));
    float took = 0;
    TENREC_CUDA_CHECK(cudaEventElapsedTime(&took, start.it, end.it));
    best = turn == 0 ? took : std::min(best, took);
  }
  return best;
}

void start(Choices choices, std::string file, bool timing) {
  Tuning& t = tuning();
  const std::lock_guard lock(t.mutex);
  t.choices = std::move(choices);
  t.file = std::move(file);
  t.device = timing || !t.choices.empty() ? device_name() : std::string();
  t.timing = timing;
  active = timing || !t.choices.empty();
  ++generation;
}

}  // namespace

uint64_t tuning_generation() { return generation.load(std::memory_order_relaxed); }
bool tuning_active() { return active.load(std::memory_order_relaxed); }

size_t choose(const std::string& key, const std::vector<std::string>& candidates, cudaStream_t stream,
              const std::function<void(size_t)>& run) {
  if (!tuning_active() || candidates.size() < 2) return 0;
  Tuning& t = tuning();
  const std::lock_guard lock(t.mutex);
  if (device_name() != t.device) return 0;  // a machine may have several kinds
  if (const auto at = t.choices.find(key); at != t.choices.end()) {
    const auto found = std::find(candidates.begin(), candidates.end(), at->second);
    if (found == candidates.end())
      fail<DeviceError>("the tuning file's choice for \"", key, "\" is not among the ", candidates.size(),
                        " kernels that the library has for it");
    return size_t(found - candidates.begin());
  }
  // Nothing can be timed while a step is recorded; the same step has run as usual before, and found what to choose.
  if (!t.timing || detail::recording()) return 0;
  size_t best = 0;
  float least = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const float took = time_of(stream, run, i);
    if (i > 0 && took >= least) continue;
    least = took;
    best = i;
  }
  t.choices[key] = candidates[best];
  write_choices(t);
  return best;
}

void tune(const std::string& file) {
  device_name();  // without a device: the error that says so
  start(is_file(file) ? read_choices(file) : Choices(), file, true);
}
void load_tuning(const std::string& file) {
  device_name();
  start(read_choices(file), file, false);
}
void stop_tuning() { start({}, {}, false); }

}  // namespace tenrec::cuda
