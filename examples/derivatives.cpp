// Derivatives up to the fourth, three ways: by the formula, by finite differences, and by going over the tape again and
// again. Differences lose digits with each order, since they divide what is left of a cancellation by a power of the
// step (W. Press et al., "Numerical recipes", 5.7); the tape keeps nearly all of them.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "common/app.h"

using namespace tenrec;

namespace {

constexpr int kOrders = 4;

struct Function {
  const char* name;
  Tensor (*f)(const Tensor& x);
  double (*derivative)(int n, double x);  // number n; 0 is the function itself
};

double factorial(int n) { return n < 2 ? 1 : n * factorial(n - 1); }
double sign(int n) { return n % 2 == 0 ? 1 : -1; }
double hermite(int n, double x) {
  const std::array<double, 5> h{1, 2 * x, 4 * x * x - 2, 8 * x * x * x - 12 * x, 16 * std::pow(x, 4) - 48 * x * x + 12};
  return h[size_t(n)];
}
double tanh_derivative(int n, double x) {
  const double y = std::tanh(x), d = 1 - y * y;
  return std::array<double, 5>{y, d, -2 * y * d, (6 * y * y - 2) * d, (16 * y - 24 * y * y * y) * d}[size_t(n)];
}
double sigmoid_derivative(int n, double x) {
  const double s = 1 / (1 + std::exp(-x)), d = s * (1 - s), c = 1 - 2 * s;
  return std::array<double, 5>{s, d, d * c, d * (1 - 6 * d), d * c * (1 - 12 * d)}[size_t(n)];
}
double atan_derivative(int n, double x) {
  const double q = 1 / (1 + x * x);
  return std::array<double, 5>{std::atan(x), q, -2 * x * q * q, (6 * x * x - 2) * q * q * q,
                               24 * x * (1 - x * x) * q * q * q * q}[size_t(n)];
}
double log_derivative(int n, double x) {
  return n == 0 ? std::log(x) : sign(n - 1) * factorial(n - 1) / std::pow(x, n);
}
double sqrt_derivative(int n, double x) {
  double out = std::pow(x, 0.5 - n);
  for (int i = 0; i < n; ++i) out *= 0.5 - i;
  return out;
}
double erf_derivative(int n, double x) {
  return n == 0 ? std::erf(x) : 2 / std::sqrt(M_PI) * sign(n - 1) * hermite(n - 1, x) * std::exp(-x * x);
}

constexpr Function kFunctions[] = {
    {"exp(2x)", [](const Tensor& x) { return exp(2 * x); },
     [](int n, double x) { return std::pow(2, n) * std::exp(2 * x); }},
    {"sin(3x)", [](const Tensor& x) { return sin(3 * x); },
     [](int n, double x) { return std::pow(3, n) * std::sin(3 * x + n * M_PI / 2); }},
    {"log(x)", [](const Tensor& x) { return log(x); }, log_derivative},
    {"sqrt(x)", [](const Tensor& x) { return sqrt(x); }, sqrt_derivative},
    {"1/x", [](const Tensor& x) { return 1 / x; },
     [](int n, double x) { return sign(n) * factorial(n) / std::pow(x, n + 1); }},
    {"x exp(x)", [](const Tensor& x) { return x * exp(x); }, [](int n, double x) { return (x + n) * std::exp(x); }},
    {"exp(x) sin(x)", [](const Tensor& x) { return exp(x) * sin(x); },
     [](int n, double x) { return std::pow(2, n / 2.0) * std::exp(x) * std::sin(x + n * M_PI / 4); }},
    {"exp(-x^2)", [](const Tensor& x) { return exp(-square(x)); },
     [](int n, double x) { return sign(n) * hermite(n, x) * std::exp(-x * x); }},
    {"tanh(x)", [](const Tensor& x) { return tanh(x); }, tanh_derivative},
    {"sigmoid(x)", [](const Tensor& x) { return sigmoid(x); }, sigmoid_derivative},
    {"atan(x)", [](const Tensor& x) { return atan(x); }, atan_derivative},
    {"erf(x)", [](const Tensor& x) { return erf(x); }, erf_derivative},
};

// sum_k (-1)^k C(n, k) f(x + (n/2 - k) h) / h^n, with the step where rounding and truncation are alike.
std::vector<double> differences(const Function& f, int n, const Tensor& x) {
  const NoGrad off;
  const double h = std::pow(0x1p-52, 1.0 / (n + 2));
  Tensor total = zeros_like(x);
  for (int k = 0; k <= n; ++k) {
    const double choose = factorial(n) / (factorial(k) * factorial(n - k));
    total += f.f(x + (n / 2.0 - k) * h) * (sign(k) * choose);
  }
  return (total / std::pow(h, n)).to_vector<double>();
}

// Once it is NaN it stays so.
void include(double& largest, double value) {
  if (!std::isnan(largest) && !(value <= largest)) largest = value;
}

// The largest error over the points, in units of max(1, |exact|).
double worst(const Function& f, int n, const std::vector<double>& x, const std::vector<double>& got) {
  double out = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = f.derivative(n, x[i]);
    include(out, std::abs(got[i] - exact) / std::max(1.0, std::abs(exact)));
  }
  return out;
}

struct Errors {
  std::vector<double> differences = std::vector<double>(kOrders, 0.0), tape = differences;  // by order, from the first
};

void look_at(const Function& f, const Tensor& points, Errors& errors, bool quiet) {
  const std::vector<double> x = points.to_vector<double>();
  Tensor in = points.detach();
  in.set_requires_grad(true);
  Tensor y = f.f(in);
  for (int n = 1; n <= kOrders; ++n) {
    y = grad(sum(y), {in}, {.create_graph = true})[0];
    const std::vector<double> by_tape = y.to_vector<double>(), by_differences = differences(f, n, points);
    const double tape = worst(f, n, x, by_tape), difference = worst(f, n, x, by_differences);
    include(errors.tape[size_t(n - 1)], tape);
    include(errors.differences[size_t(n - 1)], difference);
    if (quiet) continue;
    std::printf("%-14s %d  %21.14e  %21.14e  %21.14e   %.0e  %.0e\n", n == 1 ? f.name : "", n, f.derivative(n, x[0]),
                by_differences[0], by_tape[0], difference, tape);
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("A table of derivatives: formula, finite differences, tape", "derivatives");
  examples::Flags flags;
  std::string picture;
  examples::add_common_flags(app, flags);
  app.add_option("--picture", picture, "PNG of the errors by order");
  return examples::run_app(app, argc, argv, [&] {
    examples::apply(flags);
    examples::refuse_flags(app, {"--data", "--download", "--epochs", "--steps", "--batch-size", "--lr", "--save",
                                 "--resume", "--dtype", "--capture"});  // nothing is learned
    if (!picture.empty()) examples::check_writable(picture);
    const auto start = std::chrono::steady_clock::now();
    const Tensor points = rand({64}, {.dtype = f64}) * 1.5 + 0.5;
    if (!flags.quiet)
      std::printf("at x = %.6f      formula                differences            tape                   errors\n",
                  points.item<double>(0));
    Errors errors;
    for (const Function& f : kFunctions) look_at(f, points, errors, flags.quiet);
    if (!picture.empty()) {
      Plot plot({.title = "largest relative error", .x_label = "order", .y_label = "error", .log_y = true});
      plot.curve("finite differences", errors.differences).curve("tape", errors.tape).save(picture);
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const auto largest = [](const std::vector<double>& v) {
      double out = 0;
      for (const double x : v) include(out, x);
      return out;
    };
    examples::print_result(examples::report(flags, "derivatives", "none", "functions",
                                            {{"functions", std::size(kFunctions)},
                                             {"orders", kOrders},
                                             {"relative_error", largest(errors.tape)},
                                             {"difference_error", largest(errors.differences)},
                                             {"relative_error_by_order", errors.tape},
                                             {"difference_error_by_order", errors.differences},
                                             {"seconds", seconds}}));
  });
}
