#include <chrono>
#include <cmath>
#include <cstdio>

#include "optim_race/race.h"

using namespace tenrec;

namespace examples {
namespace {

class Point : public Module {
 public:
  explicit Point(const std::vector<double>& start)
      : x(from_vector(start, {int64_t(start.size())}).set_requires_grad(true)) {}
  void visit(Visitor& v) override { v("x", x); }
  Tensor x;
};

struct Problem {
  std::string name;
  std::function<Tensor(const Tensor&)> f;
  std::vector<double> start;
  double smallest = 0;
  // What is drawn of a function of two variables; nothing of others.
  double x_min = 0, x_max = 0, y_min = 0, y_max = 0;
  bool drawn() const { return x_max > x_min; }
};

Tensor rosenbrock(const Tensor& p) {
  const Tensor x = p[0], y = p[1];
  return square(1.0 - x) + square(y - x * x) * 100.0;
}
Tensor himmelblau(const Tensor& p) {
  const Tensor x = p[0], y = p[1];
  return square(x * x + y - 11.0) + square(x + y * y - 7.0);
}

// Half x^T A x with eigenvalues from 1 to 10^4 whose eigenvectors are no coordinate axes.
Problem quadratic() {
  constexpr int64_t n = 10;
  Generator generator(7);
  const Tensor q = qr(randn({n, n}, {.dtype = f64}, &generator)).q;
  const Tensor values = pow(10.0, linspace(0, 4, n, {.dtype = f64}));
  const Tensor a = matmul(q * values, transpose(q, 0, 1));
  return {"quadratic", [a](const Tensor& x) { return sum(x * matmul(a, x)) * 0.5; }, std::vector<double>(n, 1.0)};
}

// Two clouds of points that overlap, features of different scale, an L2 term: the optimum is unique.
Problem logistic() {
  constexpr int64_t n = 400, d = 6;
  Generator generator(8);
  const Tensor scale = pow(10.0, linspace(-1, 1, d, {.dtype = f64}));
  const Tensor truth = randn({d}, {.dtype = f64}, &generator);
  const Tensor z = randn({n, d}, {.dtype = f64}, &generator);
  const Tensor noise = randn({n}, {.dtype = f64}, &generator);
  const Tensor y = gt(matmul(z, truth) + noise, 0).to(f64), x = z * scale;
  Problem p{"logistic",
            [x, y](const Tensor& w) {
              return binary_cross_entropy_with_logits(matmul(x, w), y) + sum(w * w) * (0.5 / double(n));
            },
            std::vector<double>(d, 0.0)};
  Point best(p.start);
  Newton newton({best.x});
  p.smallest = minimize(newton, [&] { return p.f(best.x); }).loss;
  return p;
}

std::vector<Problem> problems() {
  return {{"rosenbrock", rosenbrock, {-1.2, 1}, 0, -2, 2, -1, 3},
          {"himmelblau", himmelblau, {0, -4}, 0, -6, 6, -6, 6},
          quadratic(),
          logistic()};
}

std::vector<Racer> racers() {
  const std::vector<double> rates = {1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1, 3};
  return {swept<SGD, SGDOptions>("SGD", rates),
          swept<SGD>("SGD momentum", rates, SGDOptions{.momentum = 0.9}),
          swept<SGD>("SGD Nesterov", rates, SGDOptions{.momentum = 0.95, .nesterov = true}),
          swept<RMSprop, RMSpropOptions>("RMSprop", rates),
          swept<Adagrad, AdagradOptions>("Adagrad", rates),
          swept<Adadelta, AdadeltaOptions>("Adadelta", {0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4}),
          swept<Adam, AdamOptions>("Adam", rates),
          swept<Adam>("AMSGrad", rates, AdamOptions{.amsgrad = true}),
          swept<Adamax, AdamaxOptions>("Adamax", rates),
          swept<NAdam, NAdamOptions>("NAdam", rates),
          swept<RAdam, RAdamOptions>("RAdam", rates),
          swept<Lion, LionOptions>("Lion", rates),
          swept<Rprop, RpropOptions>("Rprop", rates),
          {"LBFGS",
           {setting<LBFGS>("strong Wolfe", LBFGSOptions{.max_iter = 1,
                                                        .max_eval = 25,
                                                        .tolerance_grad = 0,
                                                        .tolerance_change = 0,
                                                        .line_search = LineSearch::strong_wolfe})}},
          {"NewtonCG", {setting<NewtonCG>("trust region", NewtonCGOptions{})}},
          {"Newton", {setting<Newton>("damped", NewtonOptions{})}}};
}

struct Run {
  int64_t steps = 0, evaluations = 0;
  bool reached = false;
  double gap = 0, seconds = 0;
  std::string setting = {};
  std::vector<double> xs = {}, ys = {};  // the path, of two variables
};
bool better(const Run& a, const Run& b) {
  if (a.reached != b.reached) return a.reached;
  return a.reached ? a.steps < b.steps : !(a.gap >= b.gap);
}

Run run(const Problem& problem, const Setting& setting, const FunctionRace& race) {
  using Clock = std::chrono::steady_clock;
  Point point(problem.start);
  const Step step = setting.make(point);
  Run r{.setting = setting.text};
  const auto note = [&] {
    if (!problem.drawn()) return;
    r.xs.push_back(point.x.item<double>(0));
    r.ys.push_back(point.x.item<double>(1));
  };
  const auto gap = [&] {
    const NoGrad off;
    return problem.f(point.x).item<double>() - problem.smallest;
  };
  note();
  while (r.steps < race.steps && !interrupted()) {
    const auto start = Clock::now();
    step([&] {
      ++r.evaluations;
      return problem.f(point.x);
    });
    r.seconds += std::chrono::duration<double>(Clock::now() - start).count();
    ++r.steps;
    note();
    r.gap = gap();
    r.reached = r.gap <= race.gap;
    if (r.reached || !(r.gap < 1e12)) break;
  }
  if (!std::isfinite(r.gap)) r.gap = std::numeric_limits<double>::infinity();
  return r;
}

void print(const Problem& problem, const std::string& name, const Run& r) {
  if (r.reached)
    std::printf("%-11s %-13s %5ld steps %6ld evaluations %8.2f ms  (%s)\n", problem.name.c_str(), name.c_str(),
                long(r.steps), long(r.evaluations), r.seconds * 1e3, r.setting.c_str());
  else
    std::printf("%-11s %-13s     - still %.1e above after %ld steps  (%s)\n", problem.name.c_str(), name.c_str(), r.gap,
                long(r.steps), r.setting.c_str());
  std::fflush(stdout);
}

// White where the function is smallest, on a logarithmic scale.
Canvas paths(const Problem& problem, const std::vector<std::pair<std::string, Run>>& runs) {
  Plot plot({.width = 720,
             .height = 620,
             .title = problem.name,
             .x_label = "x",
             .y_label = "y",
             .x_min = problem.x_min,
             .x_max = problem.x_max,
             .y_min = problem.y_min,
             .y_max = problem.y_max});
  const auto height = [&](double x, double y) {
    const NoGrad off;
    return std::log1p(problem.f(tensor({x, y}, {.dtype = f64})).item<double>() - problem.smallest);
  };
  const double top = height(problem.x_min, problem.y_min);
  plot.background([&](double x, double y) { return 0.5 + 0.3 * std::min(1.0, height(x, y) / top); });
  for (const auto& [name, r] : runs) plot.line(name, r.xs, r.ys, {.width = 1.5});
  return plot.draw();
}

}  // namespace

nlohmann::ordered_json race_on_functions(const FunctionRace& race, const std::string& picture) {
  nlohmann::ordered_json result;
  std::vector<Canvas> pictures;
  for (const Problem& problem : problems()) {
    std::vector<std::pair<std::string, Run>> best;
    for (const Racer& racer : racers()) {
      Run run_of_best;
      bool first = true;
      for (const Setting& s : racer.settings) {
        Run r = run(problem, s, race);
        if (first || better(r, run_of_best)) run_of_best = std::move(r);
        first = false;
      }
      if (!race.quiet) print(problem, racer.name, run_of_best);
      result[problem.name][racer.name] = {{"setting", run_of_best.setting},
                                          {"steps", run_of_best.steps},
                                          {"evaluations", run_of_best.evaluations},
                                          {"reached", run_of_best.reached}};
      best.emplace_back(racer.name, std::move(run_of_best));
    }
    if (!picture.empty() && problem.drawn()) pictures.push_back(paths(problem, best));
  }
  if (!picture.empty()) side_by_side(pictures).save(picture);
  return result;
}

}  // namespace examples
