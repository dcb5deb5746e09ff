// Trains a network on handwritten digits.
//
//   mnist                      the procedural digits, no download
//   mnist --data DIR           the original MNIST files in DIR
//   mnist --data DIR --download

#include "common/mistakes.h"
#include "mnist/models.h"

using namespace tenrec;
using namespace examples;

namespace {

// Passes over the data, peak learning rate and batch size that meet the acceptance lines.
struct Recipe {
  int64_t epochs;
  double lr;
  int64_t batch_size = 64;
};
Recipe recipe(const std::string& model, bool real_data) {
  if (model == "mlp" || model == "linear") return {10, 4e-3, 128};
  if (model == "lenet") return {5, 4e-3};
  return {real_data ? 5 : 1, 2e-3};
}

AnyModule make_model(const std::string& name) {
  if (name == "mlp") return mlp();
  if (name == "lenet") return lenet();
  if (name == "linear") return examples::linear();
  return Cnn();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Trains a network on handwritten digits", "mnist");
  Flags flags;
  std::string name = "cnn", picture;
  int64_t train_size = -1;
  bool fashion = false;
  add_common_flags(app, flags);
  app.add_option("--model", name, "cnn, lenet, mlp or linear")->check(CLI::IsMember({"cnn", "lenet", "mlp", "linear"}));
  app.add_option("--picture", picture, "PNG of wrongly classified digits");
  app.add_option("--train-size", train_size, "Use only the first examples of the procedural digits");
  app.add_flag("--fashion", fashion, "--data holds Fashion-MNIST");
  std::string transfer;
  app.add_option("--test-data", transfer, "Test on the MNIST files in this folder instead");
  return run_app(app, argc, argv, [&] {
    apply(flags);
    if (!picture.empty()) check_writable(picture);
    if (flags.download) {
      if (flags.data.empty()) fail<ValueError>("--download needs a folder: --data DIR");
      download_mnist(flags.data);
    }
    const bool real = !flags.data.empty();
    const auto open = [&](Split split) {
      if (split == Split::test && !transfer.empty()) return mnist(transfer, split);
      if (!real) return digits(split, kDigitSeed, split == Split::train ? train_size : -1);
      return fashion ? fashion_mnist(flags.data, split) : mnist(flags.data, split);
    };
    const Recipe defaults = recipe(name, real);
    const int64_t epochs = flags.epochs > 0 ? flags.epochs : defaults.epochs;
    const ImageDataset test_set = open(Split::test);
    LoaderOptions options{.batch_size = flags.batch_size > 0 ? flags.batch_size : defaults.batch_size,
                          .shuffle = true,
                          .seed = flags.seed};
    // Digits moved by up to two pixels: without it the convolutional networks learn the training set by heart.
    if (real && (name == "cnn" || name == "lenet")) options.transform = random_crop(2, (0 - 0.1307f) / 0.3081f);
    DataLoader train_data(open(Split::train), options);
    DataLoader test_data(test_set, {.batch_size = 500});
    const AnyModule boxed = make_model(name);
    Module& model = *boxed.module();
    Adam optimizer(parameters(model), {.lr = 1e-3});
    OneCycleLR scheduler(optimizer, {.max_lr = flags.lr > 0 ? flags.lr : defaults.lr,
                                     .total_steps = epochs * train_data.batches(),
                                     .pct_start = 0.2});
    const std::string data_name = real ? (fashion ? "fashion-mnist" : "mnist") : "digits";
    // By reference: a copy would share the weights but not the switch between training and evaluation.
    const auto forward = [&](const Tensor& x) { return boxed(x); };
    const Supervised run{"mnist",   name,       data_name, model,  forward, optimizer,
                         scheduler, train_data, test_data, epochs, flags};
    const nlohmann::ordered_json result = train_supervised(run);
    if (!picture.empty()) save_mistakes(picture, run, test_set);
    print_result(result);
  });
}
