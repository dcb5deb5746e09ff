// Regression, by the methods that a course goes through. A polynomial through noisy points: gradient descent, the
// normal equations, QR. A curve that is not linear in its parameters: Levenberg-Marquardt, and with --data the 27
// reference problems of NIST.
//
//   regression               no data needed
//   regression --data DIR    the .dat files of NIST's nonlinear regression in DIR
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "common/app.h"
#include "regression/nist.h"
#include "tenrec/core/bounded_reader.h"

using namespace tenrec;

namespace {

// Powers 0 to `degree` of x as columns.
Tensor powers(const Tensor& x, int64_t degree) {
  std::vector<Tensor> columns;
  for (int64_t k = 0; k <= degree; ++k) columns.push_back(pow(x, double(k)));
  return stack(columns, 1);
}

struct LinearFits {
  Tensor x, y, design;
  std::vector<std::pair<const char*, Tensor>> fits;
  double error = 0;  // of the methods among each other
};

// Three ways to the same coefficients. Gradient descent takes the step that is safe, the inverse of the largest
// curvature, and needs as many of them as the condition of the problem says.
LinearFits polynomial(int64_t steps) {
  constexpr int64_t n = 60, degree = 4;
  LinearFits r;
  r.x = linspace(-1, 1, n, {.dtype = f64});
  r.y = 0.5 - r.x + 2.0 * pow(r.x, 3.0) + randn({n}, {.dtype = f64}) * 0.1;
  r.design = powers(r.x, degree);
  const Tensor t = transpose(r.design, 0, 1), gram = matmul(t, r.design);
  const Tensor normal = solve(gram, matmul(t, r.y));
  const QR f = qr(r.design);
  const Tensor by_qr =
      squeeze(solve_triangular(f.r, unsqueeze(matmul(transpose(f.q, 0, 1), r.y), 1), {.upper = true}), 1);

  const Tensor w = zeros({degree + 1}, {.dtype = f64}).set_requires_grad(true);
  SGD optimizer({w}, {.lr = 1 / amax(eigvalsh(gram)).item<double>()});
  for (int64_t i = 0; i < steps && !examples::interrupted(); ++i) {
    optimizer.zero_grad();
    backward(sum(square(matmul(r.design, w) - r.y)) * 0.5);
    optimizer.step();
  }
  r.fits = {{"gradient descent", w.detach()}, {"normal equations", normal}, {"QR", by_qr}};
  for (const auto& [name, fit] : r.fits) r.error = std::max(r.error, amax(abs(fit - by_qr)).item<double>());
  return r;
}

// Saturation with known parameters and no noise, from afar: what must be found is known to the last digit.
double known_curve() {
  const Tensor x = linspace(0.5, 12, 24, {.dtype = f64});
  const double truth[2] = {213.8, 0.547};
  const Tensor y = truth[0] * (1 - exp(x * -truth[1]));
  const Tensor b = tensor({100., 0.1}, {.dtype = f64}).set_requires_grad(true);
  LevenbergMarquardt optimizer({b});
  minimize(optimizer, [&] { return b[0] * (1 - exp(-b[1] * x)) - y; });
  double error = 0;
  for (int i = 0; i < 2; ++i) error = std::max(error, std::abs(b.item<double>(i) / truth[i] - 1));
  return error;
}

struct Certified {
  int64_t runs = 0, to_eight_digits = 0;
  double worst = 11;  // digits, over the lower and average problems from the second start
};

Certified nist_problems(const std::string& folder, bool quiet) {
  using examples::nist::Difficulty;
  Certified c;
  for (const examples::nist::Problem& p : examples::nist::problems()) {
    const examples::nist::Dataset data = examples::nist::read(join_path(folder, std::string(p.name) + ".dat"));
    for (const int start : {1, 2}) {
      const examples::nist::Fit f = examples::nist::fit(p, data, start);
      ++c.runs;
      c.to_eight_digits += f.parameters >= 8;
      if (start == 2 && p.difficulty != Difficulty::higher) c.worst = std::min(c.worst, f.parameters);
      if (quiet) continue;
      std::printf("%-9s start %d: %5.1f digits of the parameters, %5.1f of the sum of squares, %4ld steps, %s\n",
                  p.name, start, f.parameters, f.sum_of_squares, long(f.result.iterations), f.result.message.c_str());
    }
  }
  return c;
}

void picture_of(const std::string& path, const LinearFits& r) {
  Plot plot({.title = "a polynomial of degree 4", .x_label = "x", .y_label = "y"});
  const std::vector<double> x = r.x.to_vector<double>();
  plot.points("data", x, r.y.to_vector<double>(), {.width = 6});
  for (const auto& [name, w] : r.fits) plot.line(name, x, matmul(r.design, w).to_vector<double>());
  plot.save(path);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Regression: gradient descent, normal equations, QR, Levenberg-Marquardt", "regression");
  examples::Flags flags;
  std::string picture;
  examples::add_common_flags(app, flags);
  app.add_option("--picture", picture, "PNG of the polynomial and its fits");
  return examples::run_app(app, argc, argv, [&] {
    examples::apply(flags);
    examples::refuse_flags(app, {"--download", "--epochs", "--batch-size", "--lr", "--save", "--resume", "--dtype",
                                 "--capture", "--device"});
    if (!picture.empty()) examples::check_writable(picture);
    examples::catch_signals();
    const auto begin = std::chrono::steady_clock::now();
    const int64_t steps = flags.steps > 0 ? flags.steps : 20'000;
    const LinearFits r = polynomial(steps);
    if (!flags.quiet)
      for (const auto& [name, w] : r.fits) std::printf("%-17s %s\n", name, to_string(w).c_str());
    if (!picture.empty()) picture_of(picture, r);
    nlohmann::ordered_json fields = {
        {"steps", steps}, {"coefficient_error", r.error}, {"relative_error", known_curve()}};
    if (!flags.data.empty()) {
      const Certified c = nist_problems(flags.data, flags.quiet);
      fields.update({{"nist_runs", c.runs}, {"nist_to_eight_digits", c.to_eight_digits}, {"nist_digits", c.worst}});
    }
    fields["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    examples::print_result(
        examples::report(flags, "regression", "least squares", flags.data.empty() ? "built in" : "nist", fields));
  });
}
