// Every optimizer on the same problems.
//
//   optim_race                              functions: a table, and with --picture the paths
//   optim_race --problem mlp                784-256-128-10 on procedural digits: steps to a training loss of 0.05
//   optim_race --problem mlp --data DIR     the same on MNIST
//   optim_race --problem gpt --data FILE    a small GPT on a text: steps to a loss of 2.1 on its last tenth
#include <chrono>

#include "optim_race/race.h"

using namespace tenrec;
using namespace examples;

namespace {

// Images [n, 784], normalised as in the MNIST example, and classes [n].
Example digits_of(const Flags& flags, int64_t size) {
  const ImageDataset set =
      flags.data.empty() ? digits(Split::train, kDigitSeed, size) : mnist(flags.data, Split::train);
  std::vector<int64_t> all(size_t(set.size()));
  for (size_t i = 0; i < all.size(); ++i) all[i] = int64_t(i);
  const Example e = set.get_batch(all);
  return {{reshape(e.input(), {set.size(), -1}), e.target()}};
}

// What `name` took, as a share of what `other` took; nothing if one did not get there.
void add_share(nlohmann::ordered_json& fields, const char* field, const std::string& name, const std::string& other) {
  const nlohmann::ordered_json race = fields["race"];
  for (const std::string& racer : {name, other})
    if (!race.contains(racer) || !race[racer].value("reached", false)) return;
  fields[field] = race[name]["steps"].get<double>() / race[other]["steps"].get<double>();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Every optimizer on the same problems", "optim_race");
  Flags flags;
  std::string problem = "functions", picture;
  NetworkRace network_race;
  FunctionRace function_race;
  int64_t train_size = -1;
  add_common_flags(app, flags);
  app.add_option("--problem", problem, "functions, mlp: a network on digits, or gpt: one on a text")
      ->check(CLI::IsMember({"functions", "mlp", "gpt"}));
  app.add_option("--picture", picture, "PNG of the paths over functions of two variables");
  app.add_option("--only", network_race.only, "Only these optimizers race with networks");
  app.add_option("--seeds", network_race.seeds, "Runs of the best setting")->check(CLI::PositiveNumber);
  app.add_option("--goal", network_race.goal, "Loss to be reached: 0.05 with digits, 2.1 with a text")
      ->check(CLI::PositiveNumber);
  app.add_option("--look", network_race.look, "Steps from one measurement to the next")->check(CLI::PositiveNumber);
  app.add_option("--train-size", train_size, "Use only the first procedural digits");
  return run_app(app, argc, argv, [&] {
    apply(flags);
    refuse_flags(app, {"--download", "--epochs", "--lr", "--save", "--resume", "--dtype", "--capture", "--device"});
    if (!picture.empty()) check_writable(picture);
    catch_signals();
    const auto start = std::chrono::steady_clock::now();
    nlohmann::ordered_json fields;
    if (problem == "functions") {
      refuse_flags(app, {"--data", "--batch-size", "--only", "--seeds", "--goal", "--look", "--train-size"});
      if (flags.steps > 0) function_race.steps = flags.steps;
      function_race.quiet = flags.quiet;
      fields["race"] = race_on_functions(function_race, picture);
    } else {
      refuse_flags(app, {"--picture"});
      const bool digits = problem == "mlp";
      if (!digits) refuse_flags(app, {"--train-size"});
      if (flags.steps > 0) network_race.steps = flags.steps;
      if (network_race.goal == 0) network_race.goal = digits ? 0.05 : 2.1;
      network_race.quiet = flags.quiet;
      const Track track =
          digits ? digits_track(digits_of(flags, train_size), flags.batch_size > 0 ? flags.batch_size : 512)
                 : text_track(flags.data, flags.batch_size > 0 ? flags.batch_size : 12);
      fields["race"] = race_on_network(track, network_race, flags.seed);
      add_share(fields, "kfac_share", "KFAC", "Adam");
      add_share(fields, "shampoo_share", "Shampoo", "Adam");
      add_share(fields, "muon_share", "Muon", "AdamW");
    }
    fields["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    print_result(report(flags, "optim_race", problem, flags.data.empty() ? "built in" : flags.data, fields));
  });
}
