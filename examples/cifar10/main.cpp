// Trains a residual network on small colour pictures.
//
//   cifar10                    procedural shapes, no download
//   cifar10 --data DIR         CIFAR-10's binary files in DIR
//   cifar10 --model resnet9    the network in full width

#include "cifar10/model.h"
#include "common/mistakes.h"

using namespace tenrec;
using namespace examples;

namespace {

// Passes over the data, peak learning rate and batch size that meet the acceptance lines.
struct Recipe {
  int64_t width, epochs;
  double lr;
  int64_t batch_size;
};
Recipe recipe(const std::string& model, bool real_data) {
  if (model == "resnet9") return {64, real_data ? 8 : 2, 0.4, 512};
  return {24, real_data ? 10 : 2, 0.3, 256};
}

// Weight decay is for the weights of products; norms have none.
std::vector<SGD::Group> groups_of(Module& model, double lr) {
  constexpr double kDecay = 5e-4;
  std::vector<Tensor> products, norms;
  for (const NamedTensor& p : named_parameters(model)) (p.tensor.ndim() > 1 ? products : norms).push_back(p.tensor);
  SGDOptions options{.lr = lr, .momentum = 0.9, .weight_decay = kDecay, .nesterov = true};
  std::vector<SGD::Group> groups{{products, options}};
  options.weight_decay = 0;
  groups.emplace_back(norms, options);
  return groups;
}

// Pixels are normalised already: 0 is the mean colour.
Transform augmentation(int64_t covered) {
  std::vector<Transform> all{random_crop(4), random_flip()};
  if (covered > 0) all.push_back(cutout(covered));
  return compose(all);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Trains a residual network on small colour pictures", "cifar10");
  Flags flags;
  std::string name = "small", picture;
  int64_t width = 0, covered = 0, train_size = -1, test_size = -1;
  add_common_flags(app, flags);
  app.add_option("--model", name, "small, or resnet9: the full width")->check(CLI::IsMember({"small", "resnet9"}));
  app.add_option("--width", width, "Channels of the first layer")->check(CLI::Range(1, 1024));
  app.add_option("--cutout", covered, "Cover a square of so many pixels a side; pays in long runs")
      ->check(CLI::Range(0, 32));
  app.add_option("--picture", picture, "PNG of wrongly classified pictures");
  app.add_option("--train-size", train_size, "Use only the first examples of the procedural shapes");
  app.add_option("--test-size", test_size, "The same of those it is tested on");
  return run_app(app, argc, argv, [&] {
    apply(flags);
    refuse_flags(app, {"--download"});
    if (!picture.empty()) check_writable(picture);
    const bool real = !flags.data.empty();
    const auto open = [&](Split split) {
      if (real) return cifar10(flags.data, split);
      return shapes(split, kShapeSeed, split == Split::train ? train_size : test_size);
    };
    const Recipe defaults = recipe(name, real);
    const int64_t epochs = flags.epochs > 0 ? flags.epochs : defaults.epochs;
    const double lr = flags.lr > 0 ? flags.lr : defaults.lr;
    const ImageDataset test_set = open(Split::test);
    DataLoader train_data(open(Split::train),
                          {.batch_size = flags.batch_size > 0 ? flags.batch_size : defaults.batch_size,
                           .shuffle = true,
                           .seed = flags.seed,
                           .transform = augmentation(covered)});
    DataLoader test_data(test_set, {.batch_size = 500});
    ResNet9 model(width > 0 ? width : defaults.width);
    SGD optimizer(groups_of(model, lr));
    OneCycleLR scheduler(optimizer, {.max_lr = lr, .total_steps = epochs * train_data.batches(), .pct_start = 0.2});
    const Supervised run{"cifar10",
                         name,
                         real ? "cifar10" : "shapes",
                         model,
                         [&](const Tensor& x) { return model(x); },
                         optimizer,
                         scheduler,
                         train_data,
                         test_data,
                         epochs,
                         flags,
                         [](const Tensor& logits, const Tensor& classes) {
                           return cross_entropy(logits, classes, {.label_smoothing = 0.1});
                         }};
    const nlohmann::ordered_json result = train_supervised(run);
    if (!picture.empty()) save_mistakes(picture, run, test_set);
    print_result(result);
  });
}
