#include "common/app.h"

#include <sys/resource.h>

#include <csignal>
#include <cstdio>

#include "tenrec/core/atomic_file.h"
#include "tenrec/data/sha256.h"

namespace examples {

using namespace tenrec;

namespace {
volatile std::sig_atomic_t signals_seen = 0;
void on_signal(int number) {
  if (signals_seen) {
    std::signal(number, SIG_DFL);
    std::raise(number);
  }
  signals_seen = number;
}
}  // namespace

void add_common_flags(CLI::App& app, Flags& f) {
  app.add_option("--data", f.data, "Folder with the original files; without it, data that needs no download");
  app.add_flag("--download", f.download, "Fetch the files into the --data folder first (https, pinned sha256)");
  app.add_option("--epochs", f.epochs, "Passes over the training data")->check(CLI::PositiveNumber);
  app.add_option("--steps", f.steps, "Stop after so many steps")->check(CLI::PositiveNumber);
  app.add_option("--batch-size", f.batch_size, "Examples a step")->check(CLI::PositiveNumber);
  app.add_option("--lr", f.lr, "Learning rate")->check(CLI::PositiveNumber);
  app.add_option("--seed", f.seed, "Of weights, order and dropout");
  app.add_option("--threads", f.threads, "CPU threads; the result does not depend on it")->check(CLI::Range(1, 256));
  app.add_option("--device", f.device, "cpu or cuda");
  app.add_flag("--capture", f.capture, "Record a training step as a CUDA graph and replay it; with --device cuda");
  app.add_option("--dtype", f.dtype, "Of products and convolutions; the weights stay f32")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}));
  app.add_option("--save", f.save, "Write the whole run state here at the end, and on Ctrl-C");
  app.add_option("--resume", f.resume, "Go on from a saved run state");
  app.add_flag("--quiet", f.quiet, "Only the last line");
}

void apply(const Flags& flags) {
  if (flags.threads > 0) set_num_threads(flags.threads);
  manual_seed(flags.seed);
  set_default_device(Device(flags.device));
  if (flags.capture && default_device().is_cpu()) fail<ValueError>("--capture needs a device: --device cuda");
  if (flags.capture && flags.dtype == "f16")
    fail<ValueError>("--capture and --dtype f16: the loss scale is decided on the host; use bf16, which needs none");
  zeros({1});  // says what is missing before any work is done
  if (!flags.save.empty()) check_writable(flags.save);
}

Autocast autocast(const Flags& flags) { return Autocast(flags.dtype == "f16" ? f16 : bf16, flags.dtype != "f32"); }

void check_writable(const std::string& path) { const AtomicFile never_committed(path); }

void refuse_flags(const CLI::App& app, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (app.count(name) > 0) fail<ValueError>(name, " means nothing to this example");
}

int run_app(CLI::App& app, int argc, char** argv, const std::function<void()>& body) {
  try {
    app.parse(argc, argv);
    body();
    return signals_seen ? 128 + signals_seen : 0;
  } catch (const CLI::ParseError& e) {
    return app.exit(e);
  } catch (const std::exception& e) {
    std::fflush(stdout);
    std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), e.what());
    return 1;
  }
}

void catch_signals() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}
bool interrupted() { return signals_seen != 0; }

std::string weights_sha256(Module& model) {
  Sha256 hash;
  for (const NamedTensor& entry : state_dict(model)) {
    const Tensor t = contiguous(entry.tensor.detach().to(kCpu));
    hash.update(entry.name.data(), entry.name.size());
    hash.update(t.data_ptr(), size_t(t.numel() * size_of(t.dtype())));
  }
  return hash.hex();
}

double peak_rss_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return double(usage.ru_maxrss) / 1024;
}

nlohmann::ordered_json report(const Flags& flags, const std::string& example, const std::string& model,
                              const std::string& data, const nlohmann::ordered_json& results) {
  nlohmann::ordered_json all = {{"example", example},       {"model", model},       {"data", data},
                                {"device", flags.device},   {"dtype", flags.dtype}, {"captured", flags.capture},
                                {"threads", num_threads()}, {"seed", flags.seed},   {"peak_rss_mb", peak_rss_mb()}};
  all.update(results);
  return all;
}

void print_result(const nlohmann::ordered_json& result) {
  std::printf("%s\n", result.dump().c_str());
  std::fflush(stdout);
}

}  // namespace examples
