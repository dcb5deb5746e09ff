// A network that solves a partial differential equation by being trained to fulfil it: M. Raissi, P. Perdikaris and
// G. Karniadakis, "Physics-informed neural networks" (2019). Initial and boundary values are built into its form, as
// I. Lagaris, A. Likas and D. Fotiadis, "Artificial neural networks for solving ordinary and partial differential
// equations" (1998) have it, so all there is to learn is the equation: u_t = alpha u_xx, whose solution is known, or
// Burgers' u_t + u u_x = nu u_xx, which steepens to a front and is compared with finite differences.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "common/app.h"
#include "tenrec/autograd/odeint.h"
#include "tenrec/optim/lbfgs.h"

using namespace tenrec;

namespace {

constexpr double kAlpha = 0.1, kNu = 0.02;
constexpr int64_t kLook = 100;  // iterations of L-BFGS between two lines of output
TensorOptions in_f64() { return {.dtype = f64}; }

struct Settings {
  std::string equation = "heat";
  int64_t steps = 1500, fine_steps = 1000, points = 1000;
  int64_t hidden = 24;
  double lr = 5e-3;
};

Tensor column(const Tensor& x, int64_t i) { return narrow(x, 1, i, 1); }

// Both equations live on times [0, 1]; heat on [0, 1], Burgers' on [-1, 1].
class Equation {
 public:
  explicit Equation(const std::string& name) : burgers_(name == "burgers") {}
  double x_min() const { return burgers_ ? -1 : 0; }
  // u at time 0.
  Tensor initial(const Tensor& x) const {
    return burgers_ ? -sin(x * M_PI) : sin(x * M_PI) + 0.5 * sin(x * (2 * M_PI));
  }
  // 0 on the boundary, where u is 0 for all times.
  Tensor inside(const Tensor& x) const { return (1 - x) * (x - x_min()); }
  Tensor residual(const Tensor& u, const Tensor& u_x, const Tensor& u_t, const Tensor& u_xx) const {
    return burgers_ ? u_t + u * u_x - kNu * u_xx : u_t - kAlpha * u_xx;
  }
  // [times, places].
  Tensor solution(const Tensor& ts, const Tensor& xs) const {
    return burgers_ ? finite_differences(ts, xs) : heat(ts, xs);
  }

 private:
  static Tensor heat(const Tensor& ts, const Tensor& xs) {
    const Tensor t = unsqueeze(ts, 1);
    const auto mode = [&](double k) { return exp(t * (-kAlpha * k * k * M_PI * M_PI)) * sin(xs * (k * M_PI)); };
    return mode(1) + 0.5 * mode(2);
  }
  // The method of lines, with differences of order 4. The solution is odd about both ends, so it goes on with period 2.
  // `xs` must be every so-many-th point of the grid, both ends included.
  static Tensor finite_differences(const Tensor& ts, const Tensor& xs) {
    const int64_t intervals = xs.numel() - 1, fine = 800 / intervals * intervals;
    const double h = 2.0 / double(fine);
    const Tensor grid = slice(linspace(-1, 1, fine + 1, in_f64()), 0, 0, fine);
    const auto law = [&](const Tensor&, const Tensor& u) {
      const Tensor left = roll(u, 1), right = roll(u, -1), left2 = roll(u, 2), right2 = roll(u, -2);
      const auto flux = [](const Tensor& v) { return square(v) * 0.5; };
      const Tensor slope = (8 * (flux(right) - flux(left)) - (flux(right2) - flux(left2))) / (12 * h);
      const Tensor bend = (16 * (right + left) - (right2 + left2) - 30 * u) / (12 * h * h);
      return kNu * bend - slope;
    };
    const Tensor u = odeint(law, -sin(grid * M_PI), ts, {.rtol = 1e-7, .atol = 1e-8});
    return cat({slice(u, 1, 0, fine, fine / intervals), narrow(u, 1, 0, 1)}, 1);
  }
  bool burgers_;
};

// u(x, t) = u(x, 0) + t (what is 0 on the boundary) net(x, t).
class Field : public Module {
 public:
  Field(const Equation& equation, int64_t hidden)
      : equation_(equation),
        net_(Linear(2, hidden), Tanh(), Linear(hidden, hidden), Tanh(), Linear(hidden, hidden), Tanh(),
             Linear(hidden, 1)) {
    to(net_, f64);
  }
  // Points [n, 2] of place and time to [n, 1].
  Tensor operator()(const Tensor& points) const {
    const ModuleScope scope(*this);
    const Tensor x = column(points, 0), t = column(points, 1);
    return equation_.initial(x) + t * equation_.inside(x) * net_(points);
  }
  // By how much the equation is missed at each point.
  Tensor residual(const Tensor& points) const {
    const Tensor u = (*this)(points);
    const Tensor first = grad(sum(u), {points}, {.create_graph = true})[0];
    const Tensor u_x = column(first, 0), u_t = column(first, 1);
    const Tensor u_xx = column(grad(sum(u_x), {points}, {.create_graph = true})[0], 0);
    return equation_.residual(u, u_x, u_t, u_xx);
  }
  void visit(Visitor& v) override { v("net", net_); }

 private:
  Equation equation_;
  Sequential net_;
};

// Points that fill the domain evenly: multiples of the powers of the plastic number's inverse, modulo 1 (M. Roberts,
// "The unreasonable effectiveness of quasirandom sequences", 2018).
Tensor scattered(const Equation& equation, int64_t n) {
  const Tensor i = arange(1, n + 1, in_f64());
  const Tensor x = frac(i * 0.7548776662466927), t = frac(i * 0.5698402909980532);
  Tensor points = stack({x * (1 - equation.x_min()) + equation.x_min(), t}, 1);
  return points.set_requires_grad(true);
}

struct Comparison {
  Tensor solution, learned;  // [times, places]
  double relative_error() const { return (norm(learned - solution) / norm(solution)).item<double>(); }
};

Comparison compare(const Equation& equation, const Field& field) {
  constexpr int64_t kTimes = 51, kPlaces = 101;
  const NoGrad off;
  const Tensor ts = linspace(0, 1, kTimes, in_f64()), xs = linspace(equation.x_min(), 1, kPlaces, in_f64());
  const std::vector<Tensor> grid = meshgrid({xs, ts}, "xy");
  const Tensor points = stack({flatten(grid[0]), flatten(grid[1])}, 1);
  return {equation.solution(ts, xs), reshape(field(points), {kTimes, kPlaces})};
}

void draw(const std::string& path, const Equation& equation, const Comparison& c) {
  const int64_t last = c.solution.size(0) - 1, places = c.solution.size(1);
  const std::vector<double> xs = linspace(equation.x_min(), 1, places, in_f64()).to_vector<double>();
  Plot profiles({.title = "u(x) at five times: solution and network", .x_label = "x", .y_label = "u"});
  for (int64_t i = 0; i <= 4; ++i) {
    const int64_t row = last * i / 4;
    const std::string name = concat("t = ", double(i) / 4);
    profiles.line(name, xs, c.solution[row].to_vector<double>(), {.color = i});
    profiles.line("", xs, c.learned[row].to_vector<double>(), {.color = 7, .width = 1.5, .dashed = true});
  }
  const Tensor off_by = max(abs(c.learned - c.solution), 1).values;
  Plot errors({.width = 420, .title = "largest error", .x_label = "t", .y_label = "|error|", .log_y = true});
  errors.line("", linspace(0, 1, last + 1, in_f64()).to_vector<double>(), off_by.to_vector<double>());
  side_by_side({profiles.draw(), errors.draw()}).save(path);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Solves the heat equation, or Burgers', with a network", "pinn");
  examples::Flags flags;
  Settings s;
  std::string picture;
  examples::add_common_flags(app, flags);
  app.add_option("--equation", s.equation, "heat or burgers")->check(CLI::IsMember({"heat", "burgers"}));
  app.add_option("--fine-steps", s.fine_steps, "Iterations of L-BFGS after the steps of Adam")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--hidden", s.hidden, "Units of a layer")->check(CLI::PositiveNumber);
  app.add_option("--picture", picture, "PNG of solution and network");
  return examples::run_app(app, argc, argv, [&] {
    examples::apply(flags);
    // All points are seen in each step, in f64.
    examples::refuse_flags(app, {"--data", "--download", "--epochs", "--dtype", "--capture", "--save", "--resume"});
    if (!picture.empty()) examples::check_writable(picture);
    if (flags.steps > 0) s.steps = flags.steps;
    if (flags.batch_size > 0) s.points = flags.batch_size;
    if (flags.lr > 0) s.lr = flags.lr;
    const Equation equation(s.equation);
    Field field(equation, s.hidden);
    const Tensor points = scattered(equation, s.points);
    std::vector<Tensor> weights = parameters(field);
    Adam adam(weights, {.lr = s.lr});
    CosineAnnealingLR schedule(adam, {.t_max = s.steps, .eta_min = s.lr / 50});
    LBFGS lbfgs(weights, {.max_iter = std::clamp<int64_t>(s.fine_steps, 1, kLook),
                          .tolerance_grad = 1e-12,
                          .tolerance_change = 0,
                          .line_search = LineSearch::strong_wolfe});
    examples::catch_signals();
    int64_t steps = 0;
    double loss = 0;
    const auto start = std::chrono::steady_clock::now();
    const auto say = [&](const char* method) {
      if (flags.quiet) return;
      std::printf("%-6s step %5ld  loss %.3e\n", method, long(steps), loss);
      std::fflush(stdout);
    };
    const auto mean_square = [&] { return mean(square(field.residual(points))); };
    for (; steps < s.steps && !examples::interrupted(); ++steps) {
      const Tensor now = mean_square();
      const std::vector<Tensor> g = grad(now, weights);  // not by the points, which require grad too
      for (size_t i = 0; i < g.size(); ++i) weights[i].set_grad(g[i]);
      adam.step();
      schedule.step();
      loss = now.item<double>();
      if (steps % 250 == 0) say("Adam");
    }
    StepResult result;
    for (int64_t done = 0; done < s.fine_steps && result.status == StepStatus::moved && !examples::interrupted();) {
      result = lbfgs.step(mean_square);
      done += std::max<int64_t>(1, result.iterations);
      steps += result.iterations;
      loss = result.loss;
      say("L-BFGS");
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const Comparison compared = compare(equation, field);
    if (!flags.quiet)
      std::printf("relative error %.2e against %s\n", compared.relative_error(),
                  s.equation == "heat" ? "the analytic solution" : "finite differences");
    if (!picture.empty()) draw(picture, equation, compared);
    examples::print_result(examples::report(flags, "pinn", "mlp", s.equation,
                                            {{"epochs", steps},
                                             {"steps", steps},
                                             {"train_loss", loss},
                                             {"relative_error", compared.relative_error()},
                                             {"seconds", seconds},
                                             {"samples_per_second", double(steps * s.points) / seconds},
                                             {"weights_sha256", examples::weights_sha256(field)}}));
  });
}
