// A year ahead, month by month, from the years before it: an LSTM against the seasonal-naive forecast, which says that
// next year will be as this one was. The network sees how much each month was above the same month a year earlier (in
// logarithms, so a season that grows with the level is no season any more) and goes on from there.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "common/run_state.h"
#include "tenrec/core/bounded_reader.h"

using namespace tenrec;

namespace {

constexpr int64_t kYear = 12, kTestYears = 2, kHistory = 24;

struct Series {
  std::string name;
  std::vector<double> values;  // monthly
};

// Growth, a season that grows with it, and noise.
Series procedural_series() {
  Generator generator(7);
  const std::vector<double> noise = randn({144}, {.device = kCpu}, &generator).to_vector<double>();
  Series s{"procedural", {}};
  for (int64_t t = 0; t < 144; ++t) {
    const double phase = 2 * M_PI * double(t % kYear) / double(kYear), years = double(t) / double(kYear);
    s.values.push_back(120 * std::exp(0.1 * years + 0.2 * std::sin(phase) + 0.1 * std::cos(2 * phase) +
                                      0.06 * std::sin(years) + 0.02 * noise[size_t(t)]));
  }
  return s;
}

// The last column of a CSV file with a header: a value a month.
Series load_series(const std::string& path) {
  constexpr const char* kName = "airline-passengers.csv";
  std::string file = path;
  if (is_folder(path)) {
    file = join_path(path, kName);
    if (!is_file(file)) fail<IOError>(path, ": has no ", kName, "; --data is that folder, or a CSV file");
  }
  const std::vector<uint8_t> bytes = read_file(file, 1 << 20);
  std::istringstream in(std::string(bytes.begin(), bytes.end()));
  Series s{"airline passengers", {}};
  std::string line;
  for (int64_t number = 1; std::getline(in, line); ++number) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (number == 1 || line.empty()) continue;
    const size_t comma = line.rfind(',');
    const std::string cell = comma == std::string::npos ? line : line.substr(comma + 1);
    char* end = nullptr;
    const double value = std::strtod(cell.c_str(), &end);
    if (cell.empty() || *end != '\0' || !(value > 0) || !std::isfinite(value))
      fail<IOError>(file, ": line ", number, " must end with a positive number, got \"", cell, "\"");
    s.values.push_back(value);
  }
  const int64_t least = kHistory + (kTestYears + 3) * kYear;
  if (int64_t(s.values.size()) < least)
    fail<IOError>(file, ": ", s.values.size(), " months, at least ", least, " are needed");
  return s;
}

// From the changes of kHistory months [kHistory, batch, 1] to those of the year after [batch, kYear].
class Net : public Module {
 public:
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return head(lstm(x).state.h[0]);
  }
  void visit(Visitor& v) override {
    v("lstm", lstm);
    v("head", head);
  }

 private:
  LSTM lstm{1, 16};
  Linear head{16, kYear};
};

// How months compare with the same months a year before: log(y[t + kYear] / y[t]), brought to mean 0 and deviation 1 by
// what is known before the test.
struct Changes {
  std::vector<double> raw;
  double mean = 0, deviation = 0;

  Changes(const std::vector<double>& y, int64_t known) {
    for (size_t t = kYear; t < y.size(); ++t) raw.push_back(std::log(y[t] / y[t - kYear]));
    const int64_t n = known - kYear;
    for (int64_t t = 0; t < n; ++t) mean += raw[size_t(t)] / double(n);
    for (int64_t t = 0; t < n; ++t) deviation += std::pow(raw[size_t(t)] - mean, 2) / double(n);
    deviation = std::sqrt(deviation);
  }
  // Scaled, of months [from, from + count) of the series.
  std::vector<double> at(int64_t from, int64_t count) const {
    std::vector<double> out;
    for (int64_t t = from; t < from + count; ++t) out.push_back((raw[size_t(t - kYear)] - mean) / deviation);
    return out;
  }
};

struct Windows {
  Tensor x, y;
};
// All that lie before month `known`.
Windows windows(const Changes& changes, int64_t known) {
  std::vector<double> x, y;
  int64_t count = 0;
  for (int64_t t = kYear; t + kHistory + kYear <= known; ++t, ++count) {
    for (const double v : changes.at(t, kHistory)) x.push_back(v);
    for (const double v : changes.at(t + kHistory, kYear)) y.push_back(v);
  }
  const auto tensor_of = [&](const std::vector<double>& v, const Shape& shape) {
    return from_vector(v, shape).to(f32).to(default_device());
  };
  return {unsqueeze(contiguous(transpose(tensor_of(x, {count, kHistory}), 0, 1)), 2), tensor_of(y, {count, kYear})};
}

double rmse(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum / double(a.size()));
}

// The year from month `t` on.
std::vector<double> predict(const Net& net, const Changes& changes, const Series& s, int64_t t) {
  const NoGrad off;
  const Tensor x = from_vector(changes.at(t - kHistory, kHistory), {kHistory, 1, 1}).to(f32).to(default_device());
  const std::vector<double> ahead = net(x).to_vector<double>();
  std::vector<double> out;
  for (int64_t i = 0; i < kYear; ++i)
    out.push_back(s.values[size_t(t - kYear + i)] * std::exp(changes.mean + changes.deviation * ahead[size_t(i)]));
  return out;
}

void draw(const std::string& path, const Series& s, int64_t known, const std::vector<double>& naive,
          const std::vector<double>& lstm) {
  std::vector<double> months, ahead;
  for (size_t t = 0; t < s.values.size(); ++t) months.push_back(double(t));
  for (size_t t = size_t(known); t < s.values.size(); ++t) ahead.push_back(double(t));
  Plot plot({.width = 860, .title = s.name, .x_label = "month", .y_label = "value"});
  plot.line("measured", months, s.values)
      .line("as last year", ahead, naive, {.dashed = true})
      .line("LSTM", ahead, lstm);
  plot.mark("", double(known)).save(path);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Forecasts a year of a monthly series", "forecast");
  examples::Flags flags;
  std::string picture;
  examples::add_common_flags(app, flags);
  app.add_option("--picture", picture, "PNG of the series and its forecasts");
  return examples::run_app(app, argc, argv, [&] {
    examples::apply(flags);
    examples::refuse_flags(app, {"--download", "--batch-size", "--dtype", "--capture"});  // a step sees all windows
    if (!picture.empty()) examples::check_writable(picture);
    const Series series = flags.data.empty() ? procedural_series() : load_series(flags.data);
    const int64_t known = int64_t(series.values.size()) - kTestYears * kYear;
    const int64_t steps = flags.steps > 0 ? flags.steps : flags.epochs > 0 ? flags.epochs : 300;
    const Changes changes(series.values, known);
    const Windows data = windows(changes, known);
    Net net;
    AdamW optimizer(parameters(net), {.lr = flags.lr > 0 ? flags.lr : 3e-3, .weight_decay = 0.1});
    const examples::Run state{"forecast lstm", net, optimizer};
    examples::Progress progress;
    if (!flags.resume.empty()) progress = examples::load_run(flags.resume, state);
    const int64_t first = progress.step;
    examples::catch_signals();
    const auto start = std::chrono::steady_clock::now();
    while (progress.step < steps && !examples::interrupted()) {
      const Tensor loss = mse_loss(net(data.x), data.y);
      optimizer.zero_grad();
      backward(loss);
      optimizer.step();
      progress.last_loss = loss.item<double>();
      if (++progress.step % 50 == 0 && !flags.quiet)
        std::printf("step %ld  loss %.4f\n", long(progress.step), progress.last_loss);
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::vector<double> truth, naive, lstm;
    for (int64_t t = known; t < int64_t(series.values.size()); t += kYear) {
      for (int64_t i = 0; i < kYear; ++i) {
        truth.push_back(series.values[size_t(t + i)]);
        naive.push_back(series.values[size_t(t + i - kYear)]);
      }
      for (const double v : predict(net, changes, series, t)) lstm.push_back(v);
    }
    if (!flags.quiet)
      std::printf("root mean square error over %ld years: LSTM %.2f, as last year %.2f\n", long(kTestYears),
                  rmse(lstm, truth), rmse(naive, truth));
    if (!picture.empty()) draw(picture, series, known, naive, lstm);
    if (!flags.save.empty()) examples::save_run(flags.save, state, progress);
    examples::print_result(
        examples::report(flags, "forecast", "lstm", series.name,
                         {{"epochs", steps},
                          {"steps", progress.step},
                          {"train_loss", progress.last_loss},
                          {"rmse", rmse(lstm, truth)},
                          {"rmse_seasonal_naive", rmse(naive, truth)},
                          {"seconds", seconds},
                          {"samples_per_second", double((progress.step - first) * data.y.size(0)) / seconds},
                          {"weights_sha256", examples::weights_sha256(net)}}));
  });
}
