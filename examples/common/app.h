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
  std::string data, device = "cpu", save, resume;
  bool download = false, quiet = false;
  int64_t epochs = 0, steps = 0, batch_size = 0;
  double lr = 0;
  uint64_t seed = 1;
  int threads = 0;
};

void add_common_flags(CLI::App& app, Flags& flags);
// Threads, seed and device as the flags say.
void apply(const Flags& flags);

// Parses, runs, and turns an exception into one line on stderr and exit status 1.
int run_app(CLI::App& app, int argc, char** argv, const std::function<void()>& body);

// Set by Ctrl-C and SIGTERM once catch_signals was called; a second Ctrl-C ends the process.
void catch_signals();
bool interrupted();

// The SHA-256 of all parameters and buffers with their names.
std::string weights_sha256(tenrec::Module& model);
double peak_rss_mb();
// Prints the object as the last line of stdout.
void print_result(const nlohmann::ordered_json& result);

}  // namespace examples
