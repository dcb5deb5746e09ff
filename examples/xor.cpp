// The smallest problem that a linear model cannot solve: a 2-8-1 network learns XOR.
#include <chrono>
#include <cmath>
#include <cstdio>

#include "common/run_state.h"
#include "common/training_step.h"

using namespace tenrec;

int main(int argc, char** argv) {
  CLI::App app("Learns XOR with a 2-8-1 network", "xor");
  examples::Flags flags;
  std::string picture;
  examples::add_common_flags(app, flags);
  app.add_option("--picture", picture, "PNG of the decision boundary");
  return examples::run_app(app, argc, argv, [&] {
    examples::apply(flags);
    // The four points are all there is; nothing is gained on them by fewer digits.
    examples::refuse_flags(app, {"--data", "--download", "--batch-size", "--dtype"});
    if (!picture.empty()) examples::check_writable(picture);
    // A step sees all four points: it is an epoch too.
    const int64_t steps = flags.steps > 0 ? flags.steps : flags.epochs > 0 ? flags.epochs : 2000;
    Sequential net(Linear(2, 8), Tanh(), Linear(8, 1));
    SGD optimizer(parameters(net), {.lr = flags.lr > 0 ? flags.lr : 0.1, .momentum = 0.9});
    const Tensor x = tensor({{0., 0.}, {0., 1.}, {1., 0.}, {1., 1.}});
    const Tensor y = tensor({{0.}, {1.}, {1.}, {0.}});
    const examples::Run state{"xor mlp", net, optimizer};
    examples::Progress progress;
    if (!flags.resume.empty()) progress = examples::load_run(flags.resume, state);
    const int64_t first = progress.step;
    examples::catch_signals();
    const auto start = std::chrono::steady_clock::now();
    examples::TrainingStep step(flags, [&](const Tensor& in, const Tensor& wanted) {
      const Tensor loss = binary_cross_entropy_with_logits(net(in), wanted);
      optimizer.zero_grad();
      backward(loss);
      optimizer.step();
      return std::vector<Tensor>{loss.detach()};
    });
    while (progress.step < steps && !examples::interrupted()) {
      progress.last_loss = step(x, y)[0].item<double>();
      if (++progress.step % 500 == 0 && !flags.quiet)
        std::printf("step %ld  loss %.5f\n", long(progress.step), progress.last_loss);
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const NoGrad off;
    const std::vector<double> p = sigmoid(net(x)).to_vector<double>();
    int right = 0;
    for (size_t i = 0; i < 4; ++i) right += (p[i] > 0.5) == (y.item<double>(int64_t(i), 0) > 0.5);
    if (!flags.quiet)
      std::printf("0 xor 0 = %.3f\n0 xor 1 = %.3f\n1 xor 0 = %.3f\n1 xor 1 = %.3f\n", p[0], p[1], p[2], p[3]);
    if (!picture.empty()) {
      Plot plot({.title = "XOR: the network's probability of 1",
                 .x_label = "a",
                 .y_label = "b",
                 .x_min = -0.5,
                 .x_max = 1.5,
                 .y_min = -0.5,
                 .y_max = 1.5});
      plot.background([&](double a, double b) {
        return sigmoid(net(full({1, 2}, 0) + tensor({a, b}))).item<double>();
      });
      plot.points("0", {0, 1}, {0, 1}).points("1", {0, 1}, {1, 0});
      plot.save(picture);
    }
    if (!flags.save.empty()) examples::save_run(flags.save, state, progress);
    examples::print_result(examples::report(flags, "xor", "mlp", "xor",
                                            {{"epochs", steps},
                                             {"steps", progress.step},
                                             {"train_loss", progress.last_loss},
                                             {"test_accuracy", 25.0 * right},
                                             {"seconds", seconds},
                                             {"samples_per_second", 4 * double(progress.step - first) / seconds},
                                             {"weights_sha256", examples::weights_sha256(net)}}));
  });
}
