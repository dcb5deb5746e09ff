// A network with far more parameters than examples learns them by heart. Weight decay, dropout and early stopping are
// three ways against it: each run is plotted with its training and validation loss.
#include <chrono>
#include <cstdio>
#include <limits>

#include "common/training_step.h"

using namespace tenrec;

namespace {

struct Recipe {
  const char* name;
  double weight_decay, dropout;
  int64_t patience;  // epochs without a better validation loss before stopping; 0: never
};

struct Curves {
  std::vector<double> train, validation;
  double best = std::numeric_limits<double>::infinity();
  int64_t best_epoch = 0;
  double final_accuracy = 0;
  std::string sha256;
};

struct Data {
  Tensor x, y;
};

Data load(Split split, int64_t count, const std::string& folder) {
  const ImageDataset source = folder.empty() ? digits(split, kDigitSeed, count) : mnist(folder, split);
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < count; ++i) indices.push_back(i);
  const Example batch = source.get_batch(indices).to(default_device());
  return {batch.input(), batch.target()};
}

Curves run(const Recipe& recipe, const Data& train_data, const Data& validation, int64_t epochs, double lr,
           const examples::Flags& flags) {
  manual_seed(flags.seed);
  Sequential net(Flatten(), Linear(784, 256), ReLU(), Dropout(recipe.dropout), Linear(256, 10));
  AdamW optimizer(parameters(net), {.lr = lr, .weight_decay = recipe.weight_decay});
  examples::TrainingStep step(flags, [&](const Tensor& x, const Tensor& y) {
    optimizer.zero_grad();
    const Tensor loss = cross_entropy(net(x), y);
    backward(loss);
    optimizer.step();
    return std::vector<Tensor>{loss.detach()};
  });
  Curves curves;
  for (int64_t epoch = 1; epoch <= epochs; ++epoch) {
    train(net);
    step(train_data.x, train_data.y);
    const NoGrad off;
    eval(net);
    const Tensor logits = net(validation.x);
    curves.train.push_back(cross_entropy(net(train_data.x), train_data.y).item<double>());
    curves.validation.push_back(cross_entropy(logits, validation.y).item<double>());
    Accuracy accuracy;
    accuracy.add(logits, validation.y);
    curves.final_accuracy = accuracy.value();
    if (curves.validation.back() < curves.best) {
      curves.best = curves.validation.back();
      curves.best_epoch = epoch;
    }
    if (recipe.patience > 0 && epoch - curves.best_epoch >= recipe.patience) break;
  }
  curves.sha256 = examples::weights_sha256(net);
  return curves;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Overfitting, and three ways against it", "overfit");
  examples::Flags flags;
  std::string picture;
  examples::add_common_flags(app, flags);
  app.add_option("--picture", picture, "PNG of the curves");
  return examples::run_app(app, argc, argv, [&] {
    examples::apply(flags);
    examples::refuse_flags(app, {"--resume", "--save", "--steps", "--batch-size", "--download", "--dtype"});
    if (!picture.empty()) examples::check_writable(picture);
    const int64_t epochs = flags.epochs > 0 ? flags.epochs : 300;
    const double lr = flags.lr > 0 ? flags.lr : 2e-3;
    const Data train_data = load(Split::train, 200, flags.data), validation = load(Split::test, 2000, flags.data);
    std::vector<Canvas> panels;
    nlohmann::ordered_json runs = nlohmann::ordered_json::array();
    Curves last;
    int64_t steps = 0;  // of all runs, one an epoch
    const auto start = std::chrono::steady_clock::now();
    for (const Recipe& recipe : {Recipe{"nothing", 0, 0, 0}, Recipe{"weight decay", 2, 0, 0},
                                 Recipe{"dropout", 0, 0.5, 0}, Recipe{"early stopping", 0, 0, 20}}) {
      last = run(recipe, train_data, validation, epochs, lr, flags);
      steps += int64_t(last.train.size());
      if (!flags.quiet)
        std::printf("%-15s %3zu epochs  train %.4f  validation %.4f (best %.4f at %ld)  accuracy %.2f %%\n",
                    recipe.name, last.train.size(), last.train.back(), last.validation.back(), last.best,
                    long(last.best_epoch), 100 * last.final_accuracy);
      runs.push_back({{"against", recipe.name},
                      {"epochs", last.train.size()},
                      {"train_loss", last.train.back()},
                      {"validation_loss", last.validation.back()},
                      {"best_validation_loss", last.best},
                      {"test_accuracy", 100 * last.final_accuracy}});
      Plot plot({.width = 420,
                 .height = 340,
                 .title = recipe.name,
                 .x_label = "epoch",
                 .y_label = "loss",
                 .y_min = 0,
                 .y_max = 2.5});
      plot.curve("train", last.train).curve("validation", last.validation);
      plot.mark("", double(last.best_epoch));
      panels.push_back(plot.draw());
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (!picture.empty()) side_by_side(panels).save(picture);
    examples::print_result(examples::report(flags, "overfit", "mlp", flags.data.empty() ? "digits" : "mnist",
                                            {{"epochs", epochs},
                                             {"steps", steps},
                                             {"train_loss", last.train.back()},
                                             {"test_accuracy", 100 * last.final_accuracy},
                                             {"seconds", seconds},
                                             {"samples_per_second", double(steps * train_data.x.size(0)) / seconds},
                                             {"runs", runs},
                                             {"weights_sha256", last.sha256}}));
  });
}
