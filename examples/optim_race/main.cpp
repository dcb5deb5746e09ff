// Every optimizer on the same problems.
//
//   optim_race                              functions: a table, and with --picture the paths
//   optim_race --problem mlp                784-256-128-10 on procedural digits: steps to a training loss of 0.05
//   optim_race --problem mlp --data DIR     the same on MNIST
#include <chrono>

#include "optim_race/race.h"

using namespace tenrec;
using namespace examples;

namespace {

// Images [n, 784], normalised as in the MNIST example, and classes [n].
std::pair<Tensor, Tensor> digits_of(const Flags& flags, int64_t size) {
  const ImageDataset set =
      flags.data.empty() ? digits(Split::train, kDigitSeed, size) : mnist(flags.data, Split::train);
  std::vector<int64_t> all(size_t(set.size()));
  for (size_t i = 0; i < all.size(); ++i) all[i] = int64_t(i);
  const Example e = set.get_batch(all);
  return {reshape(e.input(), {set.size(), -1}), e.target()};
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Every optimizer on the same problems", "optim_race");
  Flags flags;
  std::string problem = "functions", picture;
  MnistRace mnist_race;
  FunctionRace function_race;
  int64_t train_size = -1;
  add_common_flags(app, flags);
  app.add_option("--problem", problem, "functions, or mlp: a network on digits")
      ->check(CLI::IsMember({"functions", "mlp"}));
  app.add_option("--picture", picture, "PNG of the paths over functions of two variables");
  app.add_option("--only", mnist_race.only, "Only these optimizers race on digits");
  app.add_option("--seeds", mnist_race.seeds, "Runs of the best setting")->check(CLI::PositiveNumber);
  app.add_option("--goal", mnist_race.goal, "Training loss to be reached")->check(CLI::PositiveNumber);
  app.add_option("--train-size", train_size, "Use only the first procedural digits");
  return run_app(app, argc, argv, [&] {
    apply(flags);
    refuse_flags(app, {"--download", "--epochs", "--lr", "--save", "--resume", "--dtype", "--capture", "--device"});
    if (!picture.empty()) check_writable(picture);
    catch_signals();
    const auto start = std::chrono::steady_clock::now();
    nlohmann::ordered_json results;
    if (problem == "functions") {
      refuse_flags(app, {"--data", "--batch-size", "--only", "--seeds", "--goal", "--train-size"});
      if (flags.steps > 0) function_race.steps = flags.steps;
      function_race.quiet = flags.quiet;
      results = race_on_functions(function_race, picture);
    } else {
      refuse_flags(app, {"--picture"});
      if (flags.steps > 0) mnist_race.steps = flags.steps;
      if (flags.batch_size > 0) mnist_race.batch = flags.batch_size;
      const auto [images, classes] = digits_of(flags, train_size);
      results = race_on_mnist(images, classes, mnist_race, flags.seed, flags.quiet);
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    nlohmann::ordered_json fields = {{"race", results}, {"seconds", seconds}};
    if (results.contains("Adam") && results.contains("KFAC") && results["Adam"].contains("reached"))
      fields["kfac_share"] = results["KFAC"]["steps"].get<double>() / results["Adam"]["steps"].get<double>();
    print_result(report(flags, "optim_race", problem, flags.data.empty() ? "built in" : "mnist", fields));
  });
}
