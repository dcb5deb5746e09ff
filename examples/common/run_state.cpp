#include "common/run_state.h"

#include <cstdio>

namespace examples {

using namespace tenrec;

namespace {

void put(Safetensors& file, const std::string& prefix, const std::vector<NamedTensor>& tensors) {
  for (const NamedTensor& entry : tensors)
    file.tensors.push_back({prefix + entry.name, contiguous(entry.tensor.detach())});
}
std::vector<NamedTensor> take(const Safetensors& file, const std::string& prefix) {
  std::vector<NamedTensor> out;
  for (const NamedTensor& entry : file.tensors)
    if (entry.name.starts_with(prefix)) out.push_back({entry.name.substr(prefix.size()), entry.tensor});
  return out;
}
Tensor integers(const std::vector<int64_t>& values) { return from_vector(values, {int64_t(values.size())}); }
std::vector<int64_t> integers(const Safetensors& file, const char* name, size_t count) {
  std::vector<int64_t> values = file.at(name).to_vector<int64_t>();
  if (values.size() != count) fail<IOError>("run state: ", name, " has ", values.size(), " numbers, expected ", count);
  return values;
}

}  // namespace

void save_run(const std::string& path, const Run& run, const Progress& progress) {
  Safetensors file;
  file.metadata = {{"format", "tenrec run state 1"}, {"kind", run.kind}};
  put(file, "model.", state_dict(run.model));
  put(file, "optimizer.", run.optimizer.state_dict());
  if (run.scheduler) put(file, "scheduler.", run.scheduler->state_dict());
  if (run.scaler) put(file, "scaler.", run.scaler->state_dict());
  const GeneratorState random = default_generator().state();
  file.tensors.push_back({"random", integers({int64_t(random.seed), int64_t(random.offset)})});
  if (run.loader) {
    const LoaderState place = run.loader->state();
    const auto seed = int64_t(run.loader->options().seed);
    file.tensors.push_back({"loader", integers({int64_t(place.epoch), place.position, seed})});
  }
  file.tensors.push_back({"progress.counts", integers({progress.step, progress.loss_count})});
  file.tensors.push_back(
      {"progress.losses", from_vector(std::vector<double>{progress.loss_sum, progress.last_loss}, {2})});
  save_safetensors(path, file, {.keep_previous = true});
}

void finish_run(const Flags& flags, const Run& run, const Progress& progress) {
  if (!flags.save.empty()) save_run(flags.save, run, progress);
  if (!interrupted() || flags.quiet) return;
  const std::string saved = concat("interrupted; the run is saved in ", flags.save, ", go on with --resume");
  std::printf("%s\n", flags.save.empty() ? "interrupted; give --save FILE to keep the state of a run" : saved.c_str());
}

Progress load_run(const std::string& path, const Run& run) {
  const Safetensors file = load_safetensors(path);
  const std::string* saved = file.find_metadata("kind");
  if (!saved) fail<IOError>(path, ": not a run state (weights alone cannot be resumed)");
  if (*saved != run.kind) fail<ValueError>(path, ": the state of a run of ", *saved, ", this is ", run.kind);
  const auto random = integers(file, "random", 2), counts = integers(file, "progress.counts", 2);
  const std::vector<double> losses = file.at("progress.losses").to_vector<double>();
  if (losses.size() != 2) fail<IOError>(path, ": progress.losses has ", losses.size(), " numbers, expected 2");
  if (run.loader) {
    const auto place = integers(file, "loader", 3);
    if (uint64_t(place[2]) != run.loader->options().seed)
      fail<ValueError>(path, ": the run was started with --seed ", place[2], ", resume it with the same");
    run.loader->seek({uint64_t(place[0]), place[1]});
  }
  load_state_dict(run.model, take(file, "model."));
  run.optimizer.load_state_dict(take(file, "optimizer."));
  if (run.scheduler) run.scheduler->load_state_dict(take(file, "scheduler."));
  if (run.scaler) run.scaler->load_state_dict(take(file, "scaler."));
  default_generator().set_state({uint64_t(random[0]), uint64_t(random[1])});
  return {counts[0], losses[0], counts[1], losses[1]};
}

}  // namespace examples
