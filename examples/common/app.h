// What all examples share: flags, one-line errors, the JSON line at the end.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "tenrec/tenrec.h"

namespace examples {

// The common flags. 0 or "" means "not given": the example puts in what meets its acceptance line.
struct Flags {
  std::string data, device = "cpu", dtype = "f32", save, resume;
  bool download = false, quiet = false, capture = false;
  int64_t epochs = 0, steps = 0, batch_size = 0;
  double lr = 0;
  uint64_t seed = 1;
  int threads = 0;
};

void add_common_flags(CLI::App& app, Flags& flags);
// Threads, seed and device as the flags say; that --save can be written is tried now, not after the training.
void apply(const Flags& flags);
// What --dtype asks for: `const Autocast scope = autocast(flags);` around forward and loss.
tenrec::Autocast autocast(const Flags& flags);
// IOError if the file could not be written. Changes nothing.
void check_writable(const std::string& path);
// ValueError if one of the flags was given, which this example has no use for.
void refuse_flags(const CLI::App& app, std::initializer_list<const char*> names);

// Parses, runs, and turns an exception into one line on stderr and exit status 1. A run that a signal cut short ends
// with 128 plus its number, as shells count (130 after Ctrl-C, 143 after SIGTERM).
int run_app(CLI::App& app, int argc, char** argv, const std::function<void()>& body);

// Set by Ctrl-C and SIGTERM once catch_signals was called; a second Ctrl-C ends the process.
void catch_signals();
bool interrupted();

// The SHA-256 of all parameters and buffers with their names.
std::string weights_sha256(tenrec::Module& model);
double peak_rss_mb();
// The object of the JSON line: what every example says of its run, then `results`.
nlohmann::ordered_json report(const Flags& flags, const std::string& example, const std::string& model,
                              const std::string& data, const nlohmann::ordered_json& results);
// Prints the object as the last line of stdout.
void print_result(const nlohmann::ordered_json& result);

}  // namespace examples
