// A network learns the law of motion of a spiral from pieces of its track: R. Chen et al., "Neural ordinary
// differential equations" (2018). The network is the right-hand side of an equation, the solver gives the track, and
// the gradient goes through the solver: through its steps, or, with --adjoint, by solving a second equation backwards.
#include <chrono>
#include <cmath>
#include <cstdio>

#include "common/run_state.h"
#include "tenrec/autograd/odeint.h"

using namespace tenrec;

namespace {

constexpr double kEnd = 15;
constexpr int64_t kPoints = 301, kPiece = 10;  // of the whole track, and of what a step looks at

// y' = A y^3, element by element, from (2, 0).
Tensor true_law(const Tensor&, const Tensor& y) {
  const Tensor a = tensor({{-0.1, 2.0}, {-2.0, -0.1}}, {.dtype = f64});
  return matmul(y * y * y, a);
}

Sequential make_net() {
  Sequential net(Linear(2, 50), Tanh(), Linear(50, 50), Tanh(), Linear(50, 2));
  to(net, f64);
  return net;
}

struct Track {
  Tensor ts, ys;  // [points], [points, 2]
};

Track true_track() {
  const Tensor ts = linspace(0, kEnd, kPoints, {.dtype = f64});
  return {ts, odeint(true_law, tensor({2., 0.}, {.dtype = f64}), ts, {.rtol = 1e-9, .atol = 1e-9})};
}

struct Settings {
  int64_t steps = 2000, batch = 32;
  double lr = 1e-2;
  bool adjoint = false;
};

class Spiral {
 public:
  explicit Spiral(const Settings& settings) : settings_(settings), track_(true_track()) {}

  const Track& track() const { return track_; }
  Sequential& net() { return net_; }
  const Sequential& net() const { return net_; }

  // Pieces of the track: where they begin, and what follows.
  Tensor piece_loss() const {
    const Tensor first = randint(kPoints - kPiece + 1, {settings_.batch});
    const Tensor rows = unsqueeze(arange(kPiece, {.dtype = i64}), 1) + first;
    const Tensor pieces = index(track_.ys, {rows});  // [piece, batch, 2]
    const OdeOptions options{.method = OdeMethod::rk4};
    return mse_loss(solve(pieces[0], narrow(track_.ts, 0, 0, kPiece), options, settings_.adjoint), pieces);
  }

  Tensor solve(const Tensor& y0, const Tensor& ts, const OdeOptions& options, bool adjoint = false) const {
    const auto law = [this](const Tensor&, const Tensor& y) { return net_(y); };
    return adjoint ? odeint_adjoint(law, y0, ts, params_, options) : odeint(law, y0, ts, options);
  }
  // The track that the network leads to from the beginning.
  Tensor learned() const {
    const NoGrad off;
    return solve(track_.ys[0], track_.ts, {.rtol = 1e-6, .atol = 1e-7});
  }

  // |adjoint - through the steps| / |through the steps| of the gradient of a loss over the first half of the track.
  double adjoint_error() const {
    const int64_t half = kPoints / 2;
    const auto gradient = [&](bool adjoint) {
      const Tensor ys = solve(track_.ys[0], narrow(track_.ts, 0, 0, half), {.rtol = 1e-9, .atol = 1e-10}, adjoint);
      std::vector<Tensor> parts;
      for (const Tensor& g : grad(mse_loss(ys, narrow(track_.ys, 0, 0, half)), params_)) parts.push_back(flatten(g));
      return cat(parts);
    };
    const Tensor plain = gradient(false);
    return (norm(gradient(true) - plain) / norm(plain)).item<double>();
  }

  // Of convergence of rk4 on what was learned: how much less changes when the steps are halved once more.
  double order() const {
    const NoGrad off;
    const auto end = [&](double step) {
      return solve(track_.ys[0], tensor({0., 1.}, {.dtype = f64}), {.method = OdeMethod::rk4, .step = step})[1];
    };
    const Tensor coarse = end(0.005), middle = end(0.0025), fine = end(0.00125);
    return std::log2((norm(coarse - middle) / norm(middle - fine)).item<double>());
  }

 private:
  Settings settings_;
  Track track_;
  Sequential net_ = make_net();
  std::vector<Tensor> params_ = parameters(net_);
};

std::vector<double> column(const Tensor& ys, int64_t i) { return select(ys, 1, i).to_vector<double>(); }

void draw(const std::string& path, const Track& track, const Tensor& learned) {
  Plot plane({.width = 480, .height = 460, .title = "the spiral", .x_label = "x", .y_label = "y"});
  plane.line("true", column(track.ys, 0), column(track.ys, 1))
      .line("learned", column(learned, 0), column(learned, 1), {.dashed = true});
  Plot time({.width = 560, .height = 460, .title = "in time", .x_label = "t", .y_label = "x"});
  const std::vector<double> ts = track.ts.to_vector<double>();
  time.line("true", ts, column(track.ys, 0)).line("learned", ts, column(learned, 0), {.dashed = true});
  side_by_side({plane.draw(), time.draw()}).save(path);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Learns the differential equation behind a spiral", "neural_ode");
  examples::Flags flags;
  Settings s;
  std::string picture;
  examples::add_common_flags(app, flags);
  app.add_flag("--adjoint", s.adjoint, "Train by the adjoint method, not through the steps");
  app.add_option("--picture", picture, "PNG of the true and the learned track");
  return examples::run_app(app, argc, argv, [&] {
    examples::apply(flags);
    // The track is computed and f64; a step draws its pieces from all of it.
    examples::refuse_flags(app, {"--data", "--download", "--epochs", "--dtype", "--capture"});
    if (!picture.empty()) examples::check_writable(picture);
    if (flags.steps > 0) s.steps = flags.steps;
    if (flags.batch_size > 0) s.batch = flags.batch_size;
    if (flags.lr > 0) s.lr = flags.lr;
    Spiral spiral(s);
    Adam optimizer(parameters(spiral.net()), {.lr = s.lr});
    CosineAnnealingLR schedule(optimizer, {.t_max = s.steps, .eta_min = s.lr / 100});
    const examples::Run state{"neural_ode", spiral.net(), optimizer, &schedule};
    examples::Progress progress;
    if (!flags.resume.empty()) progress = examples::load_run(flags.resume, state);
    const int64_t first = progress.step;
    examples::catch_signals();
    const auto start = std::chrono::steady_clock::now();
    while (progress.step < s.steps && !examples::interrupted()) {
      const Tensor loss = spiral.piece_loss();
      optimizer.zero_grad();
      backward(loss);
      optimizer.step();
      schedule.step();
      progress.last_loss = loss.item<double>();
      if (++progress.step % 200 == 0 && !flags.quiet) {
        std::printf("step %ld  loss of pieces %.3e\n", long(progress.step), progress.last_loss);
        std::fflush(stdout);
      }
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const Tensor learned = spiral.learned();
    const double test_loss = mse_loss(learned, spiral.track().ys).item<double>();
    const double adjoint_error = spiral.adjoint_error(), order = spiral.order();
    if (!flags.quiet)
      std::printf(
          "mean square error of the whole track %.3e; adjoint and back through the steps differ by %.1e; "
          "order of rk4 %.2f\n",
          test_loss, adjoint_error, order);
    if (!picture.empty()) draw(picture, spiral.track(), learned);
    examples::finish_run(flags, state, progress);
    examples::print_result(
        examples::report(flags, "neural_ode", s.adjoint ? "mlp, adjoint" : "mlp", "spiral",
                         {{"epochs", 1},
                          {"steps", progress.step},
                          {"train_loss", progress.last_loss},
                          {"test_loss", test_loss},
                          {"adjoint_error", adjoint_error},
                          {"order", order},
                          {"seconds", seconds},
                          {"samples_per_second", double((progress.step - first) * s.batch) / seconds},
                          {"weights_sha256", examples::weights_sha256(spiral.net())}}));
  });
}
