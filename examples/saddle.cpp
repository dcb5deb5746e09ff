// Minima, maxima and what lies between: the points where a gradient vanishes, told apart by the signs of the Hessian's
// eigenvalues. First for Himmelblau's function of two variables, which has four minima, four saddles and a maximum.
// Then for the loss of a small network on XOR, where nearly all such points are saddles, the more so the higher they
// lie (Y. Dauphin et al., "Identifying and attacking the saddle point problem in high-dimensional non-convex
// optimization", 2014).
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "common/app.h"
#include "tenrec/autograd/ops/linalg.h"

using namespace tenrec;

namespace {

using Landscape = Tensor (*)(const Tensor& x);  // a vector to one element

TensorOptions in_f64() { return {.dtype = f64}; }
constexpr int64_t kHidden = 2, kWeights = 4 * kHidden + 1;

// D. Himmelblau, "Applied nonlinear programming" (1972).
Tensor himmelblau(const Tensor& x) { return square(square(x[0]) + x[1] - 11) + square(x[0] + square(x[1]) - 7); }

// The loss of a 2-2-1 network on XOR as a function of all its weights. The decay keeps flat valleys from reaching out
// to infinity.
Tensor xor_loss(const Tensor& w) {
  const Tensor in = tensor({{-1., -1.}, {-1., 1.}, {1., -1.}, {1., 1.}}, in_f64()),
               wanted = tensor({-1., 1., 1., -1.}, in_f64());
  const Tensor weight = reshape(narrow(w, 0, 0, 2 * kHidden), {2, kHidden}), bias = narrow(w, 0, 2 * kHidden, kHidden);
  const Tensor out = matmul(tanh(matmul(in, weight) + bias), narrow(w, 0, 3 * kHidden, kHidden)) + w[4 * kHidden];
  return mse_loss(out, wanted) + 2e-3 * sum(square(w));
}

struct Critical {
  Tensor at;
  double value = 0, gradient = 0;        // the gradient's norm
  std::vector<double> eigenvalues = {};  // of the Hessian, rising
  Tensor steepest = {};                  // the eigenvector of the first
  int64_t negative = 0, flat = 0;        // eigenvalues below 0, and too near to it to tell
  int64_t size() const { return int64_t(eigenvalues.size()); }
  bool is_minimum() const { return negative == 0 && flat == 0; }
  bool is_maximum() const { return negative == size(); }
  bool is_saddle() const { return negative > 0 && negative + flat < size(); }
};

struct Slope {
  double value;
  Tensor gradient;
  double norm;
};
Slope slope_at(Landscape f, const Tensor& at) {
  const Tensor x = at.detach().set_requires_grad(true);
  const Tensor y = f(x), g = grad(y, {x})[0];
  return {y.item<double>(), g, norm(g).item<double>()};
}

// Newton's method for a zero of the gradient, whatever kind of point that is. In the eigenvectors of the Hessian a step
// is -eigenvalue g / (eigenvalue^2 + damping), and is taken if the gradient gets shorter (K. Levenberg, 1944).
// `at` is undefined if it ends nowhere.
Critical find_critical(Landscape f, Tensor x) {
  constexpr int kTries = 200;
  constexpr double kZero = 1e-10;
  Slope slope = slope_at(f, x);
  double damping = 1e-2;
  for (int i = 0; i < kTries && slope.norm > kZero; ++i) {
    const Eigh h = eigh(hessian(f, x));
    const Tensor along = matmul(slope.gradient, h.vectors);
    bool better = false;
    while (!better && damping < 1e12) {
      const Tensor step = matmul(h.vectors, along * h.values / (square(h.values) + damping));
      const Tensor next = x - step;
      const Slope there = slope_at(f, next);
      better = there.norm < slope.norm;
      damping = better ? std::max(damping / 10, 1e-12) : damping * 4;
      if (better) x = next, slope = there;
    }
    if (!better) break;
  }
  if (!(slope.norm <= 1e-8)) return {};
  return {.at = x, .value = slope.value, .gradient = slope.norm};
}

void classify(Landscape f, Critical& c) {
  const Eigh h = eigh(hessian(f, c.at));
  c.eigenvalues = h.values.to_vector<double>();
  c.steepest = select(h.vectors, 1, 0);
  const double close = 1e-6 * std::max(std::abs(c.eigenvalues.front()), std::abs(c.eigenvalues.back()));
  for (const double e : c.eigenvalues) {
    c.negative += e < -close;
    c.flat += std::abs(e) <= close;
  }
}

// The same point, or one that a symmetry of the network makes of it: exchanged units, turned signs.
bool is_same(const Critical& a, const Critical& b, bool by_place) {
  if (by_place) return norm(a.at - b.at).item<double>() < 1e-5;
  if (std::abs(a.value - b.value) > 1e-8) return false;
  for (size_t i = 0; i < a.eigenvalues.size(); ++i)
    if (std::abs(a.eigenvalues[i] - b.eigenvalues[i]) > 1e-5 * (1 + std::abs(a.eigenvalues[i]))) return false;
  return true;
}

// From each start; lowest first.
std::vector<Critical> search(Landscape f, const std::vector<Tensor>& starts, bool by_place) {
  std::vector<Critical> found;
  for (const Tensor& start : starts) {
    if (examples::interrupted()) break;
    Critical c = find_critical(f, start);
    if (!c.at.defined()) continue;
    classify(f, c);
    if (std::none_of(found.begin(), found.end(), [&](const Critical& other) { return is_same(c, other, by_place); }))
      found.push_back(c);
  }
  std::sort(found.begin(), found.end(), [](const Critical& a, const Critical& b) { return a.value < b.value; });
  return found;
}

// Whether the function itself bends as its Hessian says along the eigenvector of the lowest eigenvalue: down at a
// saddle and a maximum, up at a minimum.
bool holds(Landscape f, const Critical& c) {
  if (c.flat > 0 && c.negative == 0) return true;  // nothing was said of it
  const auto value = [&](double step) { return f(c.at + c.steepest * step).item<double>(); };
  const double bend = value(1e-3) + value(-1e-3) - 2 * c.value;
  return (bend < 0) == (c.negative > 0);
}

const char* name_of(const Critical& c) {
  return c.is_minimum() ? "minimum" : c.is_maximum() ? "maximum" : c.is_saddle() ? "saddle" : "flat";
}

void print(const Critical& c, bool place) {
  std::printf("  %-8s value %9.5f  ", name_of(c), c.value);
  if (place) std::printf("at (%8.5f, %8.5f)  ", c.at.item<double>(0), c.at.item<double>(1));
  std::printf("eigenvalues");
  for (const double e : c.eigenvalues) std::printf(" %.4g", e);
  std::printf("\n");
}

nlohmann::ordered_json counts(Landscape f, const std::vector<Critical>& points) {
  const auto count = [&](auto is) { return std::count_if(points.begin(), points.end(), is); };
  double gradient = 0;
  for (const Critical& c : points) gradient = std::max(gradient, c.gradient);
  return {{"points", points.size()},
          {"minima", count([](const Critical& c) { return c.is_minimum(); })},
          {"saddles", count([](const Critical& c) { return c.is_saddle(); })},
          {"maxima", count([](const Critical& c) { return c.is_maximum(); })},
          {"confirmed", count([&](const Critical& c) { return holds(f, c); })},
          {"largest_gradient", gradient}};
}

void draw(const std::string& path, const std::vector<Critical>& plane, const std::vector<Critical>& network) {
  Plot map({.width = 480,
            .height = 460,
            .title = "Himmelblau's function",
            .x_label = "x",
            .y_label = "y",
            .x_min = -5,
            .x_max = 5,
            .y_min = -5,
            .y_max = 5});
  map.background([](double x, double y) {
    const double a = x * x + y - 11, b = x + y * y - 7;
    const double height = std::log1p(a * a + b * b) / std::log1p(800.0);
    return 0.5 * std::floor(height * 16) / 16;  // sixteen levels, blue below
  });
  for (const char* kind : {"minimum", "saddle", "maximum"}) {
    std::vector<double> x, y;
    for (const Critical& c : plane) {
      if (std::string(name_of(c)) != kind) continue;
      x.push_back(c.at.item<double>(0));
      y.push_back(c.at.item<double>(1));
    }
    map.points(kind, x, y);
  }
  Plot heights({.width = 480,
                .height = 460,
                .title = "a network's critical points",
                .x_label = "share of directions that go down",
                .y_label = "loss"});
  std::vector<double> share, loss;
  for (const Critical& c : network) {
    share.push_back(double(c.negative) / double(c.size()));
    loss.push_back(c.value);
  }
  heights.points("", share, loss);
  side_by_side({map.draw(), heights.draw()}).save(path);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Tells minima, maxima and saddles apart by the Hessian", "saddle");
  examples::Flags flags;
  std::string picture;
  examples::add_common_flags(app, flags);
  app.add_option("--picture", picture, "PNG of both sets of points");
  return examples::run_app(app, argc, argv, [&] {
    examples::apply(flags);
    examples::refuse_flags(app, {"--data", "--download", "--epochs", "--batch-size", "--lr", "--save", "--resume",
                                 "--dtype", "--capture"});
    if (!picture.empty()) examples::check_writable(picture);
    const int64_t starts = flags.steps > 0 ? flags.steps : 150;  // of the network
    examples::catch_signals();
    const auto start = std::chrono::steady_clock::now();
    std::vector<Tensor> grid, random;
    for (double x = -4.5; x <= 4.5; x += 1)
      for (double y = -4.5; y <= 4.5; y += 1) grid.push_back(tensor({x, y}, in_f64()));
    for (int64_t i = 0; i < starts; ++i) random.push_back(randn({kWeights}, in_f64()) * 1.5);
    const std::vector<Critical> plane = search(himmelblau, grid, true), network = search(xor_loss, random, false);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (!flags.quiet) {
      std::printf("Himmelblau's function:\n");
      for (const Critical& c : plane) print(c, true);
      std::printf("a 2-2-1 network on XOR, %ld starts:\n", long(starts));
      for (const Critical& c : network) print(c, false);
    }
    if (!picture.empty()) draw(picture, plane, network);
    examples::print_result(examples::report(flags, "saddle", "2-2-1 mlp", "Himmelblau, XOR",
                                            {{"steps", starts},
                                             {"function", counts(himmelblau, plane)},
                                             {"network", counts(xor_loss, network)},
                                             {"seconds", seconds}}));
  });
}
