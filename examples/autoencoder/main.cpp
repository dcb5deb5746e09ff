// An autoencoder of digits (G. Hinton and R. Salakhutdinov, "Reducing the dimensionality of data with neural networks",
// 2006): a short code of each picture, from which it can be drawn again. test_loss is the mean squared error of a
// pixel.
//
//   autoencoder                   784-128-32-128-784 on the procedural digits, no download
//   autoencoder --model conv      convolutions, and transposed ones on the way back
//   autoencoder --noise 0.5       denoising: from a picture with noise to the one without (P. Vincent et al., 2008)
//   autoencoder --sparse 0.01     few units of the code at work at a time: a penalty on their size
#include "common/redrawing.h"

using namespace tenrec;
using namespace examples;

namespace {

struct Settings {
  std::string model = "dense";
  int64_t code = 32;
  double noise = 0, sparse = 0;
};

Sequential make_encoder(const Settings& s) {
  if (s.model == "dense") return Sequential(Flatten(), Linear(784, 128), ReLU(), Linear(128, s.code), ReLU());
  return Sequential(Conv2d(1, 16, 3, {.stride = 2, .padding = 1}), ReLU(),
                    Conv2d(16, 32, 3, {.stride = 2, .padding = 1}), ReLU(), Flatten(), Linear(32 * 7 * 7, s.code),
                    ReLU());
}
Sequential make_decoder(const Settings& s) {
  if (s.model == "dense")
    return Sequential(Linear(s.code, 128), ReLU(), Linear(128, 784), Sigmoid(), Unflatten(1, {1, 28, 28}));
  return Sequential(Linear(s.code, 32 * 7 * 7), ReLU(), Unflatten(1, {32, 7, 7}),
                    ConvTranspose2d(32, 16, 4, {.stride = 2, .padding = 1}), ReLU(),
                    ConvTranspose2d(16, 1, 4, {.stride = 2, .padding = 1}), Sigmoid());
}

class Autoencoder : public Module {
 public:
  explicit Autoencoder(const Settings& s) : encoder(make_encoder(s)), decoder(make_decoder(s)), settings_(s) {}

  // What the encoder gets to see.
  Tensor disturbed(const Tensor& x, Generator* generator) const {
    return settings_.noise > 0 ? clamp(x + randn_like(x, generator) * settings_.noise, 0, 1) : x;
  }
  Tensor restored(const Tensor& x) const { return decoder(encoder(x)); }

  // Of each picture what is to become small, the squared error of a pixel, and the share of the code at work: [n, 3].
  Tensor operator()(const Tensor& x, Generator* generator) const {
    const ModuleScope scope(*this);
    const Tensor code = encoder(disturbed(x, generator));
    const Tensor error = mean(square(decoder(code) - x), {.dim = {1, 2, 3}});
    const Tensor objective = settings_.sparse > 0 ? error + mean(code, {.dim = 1}) * settings_.sparse : error;
    return stack({objective, error.detach(), mean(gt(code, 0).to(f32), {.dim = 1})}, 1);
  }
  void visit(Visitor& v) override {
    v("encoder", encoder);
    v("decoder", decoder);
  }

 private:
  Sequential encoder, decoder;
  Settings settings_;
};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Learns short codes of digits", "autoencoder");
  Flags flags;
  Settings s;
  int64_t train_size = -1;
  std::string picture;
  add_common_flags(app, flags);
  app.add_option("--model", s.model, "dense or conv")->check(CLI::IsMember({"dense", "conv"}));
  app.add_option("--code", s.code, "Length of the code")->check(CLI::PositiveNumber);
  app.add_option("--noise", s.noise, "Deviation of the noise on what the encoder sees")->check(CLI::NonNegativeNumber);
  app.add_option("--sparse", s.sparse, "Weight of the penalty on the code's mean")->check(CLI::NonNegativeNumber);
  app.add_option("--train-size", train_size, "Use only the first examples of the procedural digits");
  app.add_option("--picture", picture, "PNG of test digits and their reconstructions");
  return run_app(app, argc, argv, [&] {
    apply(flags);
    if (!picture.empty()) check_writable(picture);
    Autoencoder model(s);
    const nlohmann::ordered_json result =
        train_redrawing({.example = "autoencoder",
                         .model_name = s.model,
                         .model = model,
                         .forward = [&](const Tensor& x, Generator* generator) { return model(x, generator); },
                         .measures = {column("test_loss", "test loss", 1), column("active", "code at work", 2)},
                         .epochs = 3,
                         .train_size = train_size},
                        flags);
    if (!picture.empty()) {
      const NoGrad off;
      Generator generator(flags.seed);
      const Tensor x = model.disturbed(test_pictures(flags, 40), &generator);
      save_pairs(picture, x, model.restored(x));
    }
    print_result(result);
  });
}
