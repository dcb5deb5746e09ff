// Principal components, three ways. The singular value decomposition of the data, the eigenvectors of their covariance,
// and a linear autoencoder trained by gradient descent: its least error is that of the components, so it must come to
// the same subspace, though not to the same axes (P. Baldi and K. Hornik, "Neural networks and principal component
// analysis", 1989). How far two subspaces are apart say their principal angles (A. Bjorck and G. Golub, "Numerical
// methods for computing angles between linear subspaces", 1973).
#include <chrono>
#include <cmath>
#include <cstdio>

#include "common/app.h"
#include "tenrec/autograd/ops/linalg.h"

using namespace tenrec;

namespace {

TensorOptions in_f64() { return {.dtype = f64}; }

struct Settings {
  int64_t points = 2000, dims = 20, kept = 4, steps = 4000;
  double lr = 2e-2;
};

// A cloud whose axes get shorter, each 0.7 of the one before, turned at random; its mean is at the origin.
Tensor make_cloud(const Settings& s) {
  const Tensor lengths = pow(Scalar(0.7), arange(s.dims, in_f64()));
  const Tensor turn = qr(randn({s.dims, s.dims}, in_f64())).q;
  const Tensor x = matmul(randn({s.points, s.dims}, in_f64()) * lengths, turn);
  return x - mean(x, {.dim = 0, .keepdim = true});
}

// Radians, rising. By the sines, which are exact where the angles are small: what of each axis of `b` sticks out of
// `a`. Both have orthonormal columns.
Tensor principal_angles(const Tensor& a, const Tensor& b) {
  const Tensor outside = b - matmul(a, matmul(t(a), b));
  return asin(clamp(flip(svdvals(outside), {0}), 0, 1));
}
double largest_angle(const Tensor& a, const Tensor& b) { return max(principal_angles(a, b)).item<double>(); }

// The mean over the points of the squared distance from the subspace.
double distance(const Tensor& x, const Tensor& axes) {
  return (sum(square(x - matmul(matmul(x, axes), t(axes)))) / double(x.size(0))).item<double>();
}

class Autoencoder : public Module {
 public:
  explicit Autoencoder(const Settings& s)
      : encoder(s.dims, s.kept, {.bias = false}), decoder(s.kept, s.dims, {.bias = false}) {
    to(encoder, f64);
    to(decoder, f64);
  }
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return decoder(encoder(x));
  }
  // An orthonormal basis of what it can give.
  Tensor axes() const { return qr(decoder.weight.detach()).q; }
  void visit(Visitor& v) override {
    v("encoder", encoder);
    v("decoder", decoder);
  }

 private:
  Linear encoder, decoder;
};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Principal components by decompositions and by a linear autoencoder", "linalg_walk");
  examples::Flags flags;
  Settings s;
  std::string picture;
  examples::add_common_flags(app, flags);
  app.add_option("--dims", s.dims, "Dimensions of the data")->check(CLI::Range(2, 200));
  app.add_option("--kept", s.kept, "Components, fewer than the dimensions")->check(CLI::Range(1, 199));
  app.add_option("--picture", picture, "PNG of the spectrum and of the angle during training");
  return examples::run_app(app, argc, argv, [&] {
    examples::apply(flags);
    // All points are seen in each step, in f64.
    examples::refuse_flags(
        app, {"--data", "--download", "--epochs", "--batch-size", "--dtype", "--capture", "--save", "--resume"});
    if (s.kept >= s.dims) fail<ValueError>("--kept ", s.kept, " must be less than --dims ", s.dims);
    if (!picture.empty()) examples::check_writable(picture);
    if (flags.steps > 0) s.steps = flags.steps;
    if (flags.lr > 0) s.lr = flags.lr;
    const Tensor x = make_cloud(s);
    const SVD parts = svd(x);
    const Tensor axes = t(narrow(parts.vh, 0, 0, s.kept));
    // The covariance has the same vectors, smallest first, and the squared values over n.
    const Eigh spectrum = eigh(matmul(t(x), x) / double(s.points));
    const double eigh_angle = largest_angle(axes, narrow(spectrum.vectors, 1, s.dims - s.kept, s.kept));
    const double eigh_error = max(abs(flip(spectrum.values, {0}) - square(parts.s) / double(s.points))).item<double>();
    Autoencoder net(s);
    Adam optimizer(parameters(net), {.lr = s.lr});
    CosineAnnealingLR schedule(optimizer, {.t_max = s.steps, .eta_min = s.lr / 1000});
    examples::catch_signals();
    const auto start = std::chrono::steady_clock::now();
    std::vector<double> at, angles;
    int64_t steps = 0;
    double loss = 0;
    while (steps < s.steps && !examples::interrupted()) {
      const Tensor error = sum(square(net(x) - x)) / double(s.points);
      optimizer.zero_grad();
      backward(error);
      optimizer.step();
      schedule.step();
      loss = error.item<double>();
      if (++steps % 50 != 0 && steps != s.steps) continue;
      at.push_back(double(steps));
      angles.push_back(largest_angle(axes, net.axes()));
      if (!flags.quiet && steps % 250 == 0)
        std::printf("step %ld  loss %.6f  largest angle %.2e\n", long(steps), loss, angles.back());
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const std::vector<double> final_angles = principal_angles(axes, net.axes()).to_vector<double>();
    const double by_svd = distance(x, axes), by_net = distance(x, net.axes());
    if (!flags.quiet)
      std::printf(
          "mean squared distance: components %.8f, autoencoder %.8f; largest angle between them %.2e, between "
          "SVD and covariance %.2e\n",
          by_svd, by_net, final_angles.back(), eigh_angle);
    if (!picture.empty()) {
      Plot values({.width = 480, .title = "variance along each axis", .x_label = "axis", .log_y = true});
      values.curve("", flip(spectrum.values, {0}).to_vector<double>());
      Plot angle(
          {.width = 480, .title = "angle to the components", .x_label = "step", .y_label = "radians", .log_y = true});
      angle.line("", at, angles);
      side_by_side({values.draw(), angle.draw()}).save(picture);
    }
    examples::print_result(examples::report(flags, "linalg_walk", "linear autoencoder", "Gaussian cloud",
                                            {{"epochs", steps},
                                             {"steps", steps},
                                             {"train_loss", loss},
                                             {"principal_angles", final_angles},
                                             {"largest_angle", final_angles.back()},
                                             {"eigh_angle", eigh_angle},
                                             {"eigh_error", eigh_error},
                                             {"pca_distance", by_svd},
                                             {"autoencoder_distance", by_net},
                                             {"seconds", seconds},
                                             {"samples_per_second", double(steps * s.points) / seconds},
                                             {"weights_sha256", examples::weights_sha256(net)}}));
  });
}
