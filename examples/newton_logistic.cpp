// Logistic regression by Newton's method. With an L2 term the loss is strictly convex, so every method and every start
// must end at the same coefficients; how many steps that takes is another matter, and the picture shows it.
//
//   newton_logistic                  two clouds of points
//   newton_logistic --data wdbc.csv  the diagnoses of 569 tumours from 30 measurements
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "common/app.h"
#include "tenrec/core/bounded_reader.h"

using namespace tenrec;

namespace {

constexpr double kC = 1;  // the weight of the data against the L2 term, as scikit-learn counts

struct Data {
  std::string name;
  Tensor x, y;  // [n, d], standardised; [n], 0 or 1; f64
};

Tensor standardised(const Tensor& x) { return (x - mean(x, {.dim = 0})) / tenrec::std(x, {.dim = 0, .correction = 0}); }

Data clouds() {
  constexpr int64_t n = 500, d = 5;
  const Tensor y = gt(rand({n}), 0.4).to(f64);
  const Tensor centres = randn({d}, {.dtype = f64});
  return {"two clouds", standardised(randn({n, d}, {.dtype = f64}) + unsqueeze(y, 1) * centres), y};
}

// Rows "id, M or B, numbers" without a header; M is 1.
Data load(const std::string& path) {
  constexpr const char* kName = "wdbc.csv";
  const std::string file = is_folder(path) ? join_path(path, kName) : path;
  const std::vector<uint8_t> bytes = read_file(file, 1 << 24);
  std::istringstream in(std::string(bytes.begin(), bytes.end()));
  std::vector<double> x, y;
  size_t columns = 0;
  std::string line;
  for (int64_t number = 1; std::getline(in, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) continue;
    std::istringstream cells(line);
    std::string id, diagnosis, cell;
    std::getline(cells, id, ',');
    std::getline(cells, diagnosis, ',');
    if (diagnosis != "M" && diagnosis != "B")
      fail<IOError>(file, ": line ", number, " must have M or B as its second cell, got \"", diagnosis, "\"");
    y.push_back(diagnosis == "M" ? 1 : 0);
    const size_t before = x.size();
    while (std::getline(cells, cell, ',')) {
      char* end = nullptr;
      x.push_back(std::strtod(cell.c_str(), &end));
      if (cell.empty() || *end != '\0' || !std::isfinite(x.back()))
        fail<IOError>(file, ": line ", number, " has \"", cell, "\" where a number must stand");
    }
    if (columns == 0) columns = x.size() - before;
    if (columns == 0 || x.size() - before != columns)
      fail<IOError>(file, ": line ", number, " has ", x.size() - before, " numbers, the first has ", columns);
  }
  if (y.size() < 2) fail<IOError>(file, ": ", y.size(), " rows, at least 2 are needed");
  return {"wdbc", standardised(from_vector(x, {int64_t(y.size()), int64_t(columns)})),
          from_vector(y, {int64_t(y.size())})};
}

// [d] weights and, last, the intercept, which the L2 term leaves out.
Tensor loss_of(const Data& data, const Tensor& w) {
  const int64_t d = data.x.size(1);
  const Tensor weights = narrow(w, 0, 0, d), logits = matmul(data.x, weights) + w[d];
  return binary_cross_entropy_with_logits(logits, data.y, {.reduction = Reduction::sum}) * kC +
         sum(square(weights)) * 0.5;
}

struct Run {
  std::string method;
  Tensor w;
  std::vector<double> gradients = {};  // the largest element after each step
  int64_t steps = 0;
  double seconds = 0;
};

double slope(const Data& data, const Tensor& w) { return amax(abs(grad(loss_of(data, w), {w})[0])).item<double>(); }

// Until no element of the gradient is above 1e-7, or for `steps`.
Run run(const std::string& method, const Data& data, const Tensor& start, int64_t steps,
        const std::function<std::function<void(const Closure&)>(const Tensor& w)>& make) {
  Run r{.method = method, .w = clone(start).set_requires_grad(true)};
  const auto step = make(r.w);
  const auto begin = std::chrono::steady_clock::now();
  r.gradients.push_back(slope(data, r.w));
  while (r.steps < steps && r.gradients.back() > 1e-7 && !examples::interrupted()) {
    step([&] { return loss_of(data, r.w); });
    r.gradients.push_back(slope(data, r.w));
    ++r.steps;
  }
  r.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return r;
}

template <class O>
std::function<void(const Closure&)> stepper(std::shared_ptr<O> o) {
  return [o](const Closure& loss) { o->step(loss); };
}

std::vector<Run> race(const Data& data, int64_t steps) {
  const Tensor zero = zeros({data.x.size(1) + 1}, {.dtype = f64}), far = randn(zero.shape(), {.dtype = f64}) * 3.0;
  std::vector<Run> runs;
  const auto newton = [](const Tensor& w) { return stepper(std::make_shared<Newton>(std::vector<Tensor>{w})); };
  runs.push_back(run("Newton", data, zero, steps, newton));
  runs.push_back(run("Newton from afar", data, far, steps, newton));
  runs.push_back(run("Newton-CG", data, zero, steps,
                     [](const Tensor& w) { return stepper(std::make_shared<NewtonCG>(std::vector<Tensor>{w})); }));
  runs.push_back(run("L-BFGS", data, zero, steps, [](const Tensor& w) {
    return stepper(
        std::make_shared<LBFGS>(std::vector<Tensor>{w}, LBFGSOptions{.max_iter = 1,
                                                                     .max_eval = 25,
                                                                     .tolerance_grad = 0,
                                                                     .tolerance_change = 0,
                                                                     .line_search = LineSearch::strong_wolfe}));
  }));
  // The step that is safe: the inverse of the largest curvature, which is at most C / 4 of X^T X, and 1.
  const Tensor design = cat({data.x, ones({data.x.size(0), 1}, {.dtype = f64})}, 1);
  const double lr = 1 / (1 + kC / 4 * amax(eigvalsh(matmul(transpose(design, 0, 1), design))).item<double>());
  runs.push_back(run("gradient descent", data, zero, steps, [lr](const Tensor& w) {
    auto sgd = std::make_shared<SGD>(std::vector<Tensor>{w}, SGDOptions{.lr = lr});
    return [sgd](const Closure& loss) {
      sgd->zero_grad();
      backward(loss());
      sgd->step();
    };
  }));
  return runs;
}

double accuracy(const Data& data, const Tensor& w) {
  const NoGrad off;
  const int64_t d = data.x.size(1);
  const Tensor said = gt(matmul(data.x, narrow(w, 0, 0, d)) + w[d], 0).to(f64);
  return mean(eq(said, data.y).to(f64)).item<double>() * 100;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Logistic regression by Newton's method", "newton_logistic");
  examples::Flags flags;
  std::string picture;
  examples::add_common_flags(app, flags);
  app.add_option("--picture", picture, "PNG of the gradient by step");
  return examples::run_app(app, argc, argv, [&] {
    examples::apply(flags);
    examples::refuse_flags(app, {"--download", "--epochs", "--batch-size", "--lr", "--save", "--resume", "--dtype",
                                 "--capture", "--device"});
    if (!picture.empty()) examples::check_writable(picture);
    examples::catch_signals();
    const Data data = flags.data.empty() ? clouds() : load(flags.data);
    const std::vector<Run> runs = race(data, flags.steps > 0 ? flags.steps : 200);
    // Where the second-order methods ended, against the first of them.
    double error = 0;
    for (size_t i = 1; i < 4; ++i) error = std::max(error, amax(abs(runs[i].w - runs[0].w)).item<double>());
    if (!flags.quiet)
      for (const Run& r : runs)
        std::printf("%-17s %4ld steps, largest gradient %.1e, %.1f ms\n", r.method.c_str(), long(r.steps),
                    r.gradients.back(), r.seconds * 1e3);
    if (!picture.empty()) {
      Plot plot({.title = "largest element of the gradient", .x_label = "step", .log_y = true});
      for (const Run& r : runs) plot.curve(r.method, r.gradients);
      plot.save(picture);
    }
    examples::print_result(examples::report(flags, "newton_logistic", "logistic regression", data.name,
                                            {{"steps", runs[0].steps},
                                             {"train_loss", loss_of(data, runs[0].w).item<double>()},
                                             {"train_accuracy", accuracy(data, runs[0].w)},
                                             {"coefficient_error", error},
                                             {"coefficients", runs[0].w.to_vector<double>()},
                                             {"gradient_descent_slope", runs.back().gradients.back()},
                                             {"seconds", runs[0].seconds}}));
  });
}
