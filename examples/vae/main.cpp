// A variational autoencoder of digits (D. Kingma and M. Welling, "Auto-encoding variational Bayes", 2014): an encoder
// says which latent vectors a picture may stand for, a decoder draws pictures from latent vectors. Trained to the
// evidence lower bound with pixels as Bernoulli means; test_loss is its negative in nats, one draw a picture.
//
//   vae                        the procedural digits, no download
//   vae --data DIR             the original MNIST files in DIR
#include "common/redrawing.h"

using namespace tenrec;
using namespace examples;
using distributions::Bernoulli;
using distributions::Normal;

namespace {

constexpr int64_t kPixels = kDigitSide * kDigitSide;

class Vae : public Module {
 public:
  Vae(int64_t hidden, int64_t latent)
      : encoder(kPixels, hidden),
        mean(hidden, latent),
        log_variance(hidden, latent),
        decoder(latent, hidden),
        pixels(hidden, kPixels) {}

  Normal posterior(const Tensor& x) const {
    const Tensor h = relu(encoder(flatten(x, 1)));
    return {mean(h), exp(log_variance(h) * 0.5)};
  }
  // Logits of pixels [n, 784].
  Tensor decode(const Tensor& z) const { return pixels(relu(decoder(z))); }

  // Of each picture the negative evidence lower bound, and the divergence from the prior, which is part of it: [n, 2].
  Tensor operator()(const Tensor& x, Generator* generator) const {
    const ModuleScope scope(*this);
    const Normal q = posterior(x);
    const Bernoulli drawn({.logits = decode(q.rsample({}, generator))});
    const Tensor kl = sum(kl_divergence(q, Normal(0, 1)), {.dim = 1});
    return stack({kl - sum(drawn.log_prob(flatten(x, 1)), {.dim = 1}), kl}, 1);
  }
  void visit(Visitor& v) override {
    v("encoder", encoder);
    v("mean", mean);
    v("log_variance", log_variance);
    v("decoder", decoder);
    v("pixels", pixels);
  }

 private:
  Linear encoder, mean, log_variance, decoder, pixels;
};

// From each picture to the next one, in a straight line of latent vectors.
Tensor walk_between(const Vae& model, const Tensor& pictures, int64_t steps) {
  const Tensor z = model.posterior(pictures).mean();
  const Tensor from = unsqueeze(slice(z, 0, 0, -1), 1), to = unsqueeze(slice(z, 0, 1), 1);
  return flatten(lerp(from, to, reshape(linspace(0, 1, steps), {1, steps, 1})), 0, 1);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Learns to draw digits: a variational autoencoder", "vae");
  Flags flags;
  int64_t hidden = 400, latent = 20, train_size = -1;
  std::string picture, samples, walk;
  add_common_flags(app, flags);
  app.add_option("--hidden", hidden, "Units between pixels and latent vector")->check(CLI::PositiveNumber);
  app.add_option("--latent", latent, "Length of the latent vector")->check(CLI::PositiveNumber);
  app.add_option("--train-size", train_size, "Use only the first examples of the procedural digits");
  app.add_option("--picture", picture, "PNG of test digits and their reconstructions");
  app.add_option("--samples", samples, "PNG of digits from random latent vectors");
  app.add_option("--walk", walk, "PNG of ways from digit to digit through the latent space");
  return run_app(app, argc, argv, [&] {
    apply(flags);
    for (const std::string& path : {picture, samples, walk})
      if (!path.empty()) check_writable(path);
    Vae model(hidden, latent);
    const nlohmann::ordered_json result =
        train_redrawing({.example = "vae",
                         .model_name = concat(kPixels, "-", hidden, "-", latent),
                         .model = model,
                         .forward = [&](const Tensor& x, Generator* generator) { return model(x, generator); },
                         .measures = {column("test_loss", "test loss", 0), column("test_kl", "divergence", 1)},
                         .epochs = 10,
                         .train_size = train_size},
                        flags);
    const NoGrad off;
    const auto drawn = [&](const Tensor& z) { return sigmoid(model.decode(z)); };
    if (!picture.empty()) {
      const Tensor x = test_pictures(flags, 40);
      save_pairs(picture, x, drawn(model.posterior(x).mean()));
    }
    Generator generator(flags.seed);
    if (!samples.empty()) save_pictures(samples, drawn(randn({100, latent}, {}, &generator)), 10);
    if (!walk.empty()) save_pictures(walk, drawn(walk_between(model, test_pictures(flags, 9), 12)), 12);
    print_result(result);
  });
}
