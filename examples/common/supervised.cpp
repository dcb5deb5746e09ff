#include "common/supervised.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>

#include "common/run_state.h"
#include "common/training_step.h"

namespace examples {

using namespace tenrec;

namespace {

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// "accuracy 98.12 %", "IoU 0.813".
std::string show(const Measure& measure, double value) {
  char text[64];
  std::snprintf(text, sizeof text, measure.percent ? "%.2f %%" : "%.3f", measure.percent ? 100 * value : value);
  return measure.title + " " + text;
}

// On a terminal a bar that is redrawn ten times a second; in a pipe a line an epoch.
class Display {
 public:
  explicit Display(const Supervised& run)
      : run_(run), quiet_(run.flags.quiet), bar_(!quiet_ && isatty(STDOUT_FILENO)) {}

  void step(int64_t epoch, int64_t done, int64_t total, double loss, double measured, double rate) {
    if (!bar_ || clock_.seconds() - drawn_ < 0.1) return;
    drawn_ = clock_.seconds();
    const int filled = int(20 * done / std::max<int64_t>(total, 1));
    const double left = double((run_.epochs - epoch - 1) * total + total - done) / std::max(rate, 1e-9);
    std::printf("\repoch %ld/%ld [%.*s%*s] loss %.4f %s %.0f/s %.0f s left \033[K", long(epoch + 1), long(run_.epochs),
                filled, "====================", 20 - filled, "", loss, show(run_.measures[0], measured).c_str(), rate,
                left);
    std::fflush(stdout);
  }
  void epoch(int64_t epoch, double loss, const std::vector<double>& measured, double seconds) {
    if (quiet_) return;
    std::string said;
    for (size_t i = 0; i < measured.size(); ++i) said += "  test " + show(run_.measures[i], measured[i]);
    std::printf("%sepoch %ld/%ld  train loss %.4f%s  %.1f s\n", bar_ ? "\r\033[K" : "", long(epoch + 1),
                long(run_.epochs), loss, said.c_str(), seconds);
    std::fflush(stdout);
  }
  void say(const std::string& text) {
    if (quiet_) return;
    std::printf("%s%s\n", bar_ ? "\r\033[K" : "", text.c_str());
    std::fflush(stdout);
  }

 private:
  const Supervised& run_;
  bool quiet_, bar_;
  Stopwatch clock_;
  double drawn_ = -1;
};

// One training step: all that happens to the weights for one batch. Loss and outputs.
std::vector<Tensor> train_step(const Supervised& run, GradScaler& scaler, const Tensor& input, const Tensor& target) {
  Tensor outputs, loss;
  {
    const Autocast scope = autocast(run.flags);
    outputs = run.forward(input);
    loss = run.loss(outputs, target);
  }
  run.optimizer.zero_grad();
  backward(scaler.scale(loss));
  scaler.step(run.optimizer);
  scaler.update();
  run.scheduler.step();
  return {loss.detach(), outputs.detach()};
}

// Example and model, and the precision if it is not f32: what a run state fits.
std::string kind(const Supervised& run) {
  return run.example + " " + run.model_name + (run.flags.dtype == "f32" ? "" : " " + run.flags.dtype);
}

}  // namespace

Measure accuracy() {
  return {"test_accuracy", "accuracy", true, [](const Tensor& logits, const Tensor& targets) {
            Accuracy share;
            share.add(logits, targets);
            return double(share.correct());
          }};
}

Tensor predict(const Supervised& run, const Tensor& inputs) {
  const NoGrad off;
  const Autocast scope = autocast(run.flags);
  return run.forward(inputs.to(default_device()));
}

std::vector<double> evaluate(const Supervised& run) {
  eval(run.model);
  std::vector<double> sums(run.measures.size());
  int64_t count = 0;
  for (const Example& batch : run.test) {
    const Tensor outputs = predict(run, batch.input());
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += run.measures[i].sum(outputs, batch.target());
    count += batch.input().size(0);
  }
  for (double& sum : sums) sum /= double(std::max<int64_t>(count, 1));
  train(run.model);
  return sums;
}

nlohmann::ordered_json train_supervised(const Supervised& run) {
  const Flags& flags = run.flags;
  if (!flags.quiet)
    std::printf("%s on %s: %ld parameters, %ld training images\n", run.model_name.c_str(), run.data_name.c_str(),
                long(count_parameters(run.model)), long(run.train.dataset().size()));
  GradScaler scaler({.enabled = flags.dtype == "f16"});
  const Run state{kind(run), run.model, run.optimizer, &run.scheduler, &run.train, &scaler};
  Progress progress;
  if (!flags.resume.empty()) progress = load_run(flags.resume, state);
  catch_signals();
  train(run.model);
  TrainingStep step(flags, [&](const Tensor& x, const Tensor& y) { return train_step(run, scaler, x, y); });
  Display display(run);
  const Stopwatch clock;
  const int64_t per_epoch = run.train.examples();
  int64_t seen = 0;
  std::vector<double> measured;  // after the last whole epoch
  double running = 0;            // sum of the first measure over the epoch
  int64_t running_count = 0;
  while (int64_t(run.train.state().epoch) < run.epochs) {
    if (interrupted() || (flags.steps > 0 && progress.step >= flags.steps)) break;
    const auto epoch = int64_t(run.train.state().epoch);
    const std::optional<Example> prepared = run.train.next();
    if (!prepared) continue;
    const std::vector<Tensor> loss_and_outputs = step(prepared->input(), prepared->target());
    ++progress.step;
    const int64_t n = prepared->input().size(0);
    seen += n;
    progress.loss_sum += loss_and_outputs[0].item<double>() * double(n);
    progress.loss_count += n;
    running += run.measures[0].sum(loss_and_outputs[1], prepared->target());
    running_count += n;
    const double mean = progress.mean_loss();
    display.step(epoch, progress.loss_count, per_epoch, mean, running / double(running_count),
                 double(seen) / clock.seconds());
    if (progress.loss_count < per_epoch) continue;
    progress.end_epoch();
    measured = evaluate(run);
    display.epoch(epoch, mean, measured, clock.seconds());
    running = 0;
    running_count = 0;
    run.train.seek({uint64_t(epoch) + 1, 0});
  }
  const double seconds = clock.seconds();
  if (interrupted())
    display.say(flags.save.empty() ? "interrupted; give --save FILE to keep the state of a run"
                                   : "interrupted; the run is saved in " + flags.save + ", go on with --resume");
  if (!flags.save.empty()) save_run(flags.save, state, progress);
  if (measured.empty() || progress.loss_count > 0) measured = evaluate(run);
  nlohmann::ordered_json results = {
      {"epochs", run.epochs}, {"steps", progress.step}, {"train_loss", progress.mean_loss()}};
  for (size_t i = 0; i < measured.size(); ++i)
    results[run.measures[i].key] = run.measures[i].percent ? 100 * measured[i] : measured[i];
  results.update({{"seconds", seconds},
                  {"samples_per_second", double(seen) / seconds},
                  {"weights_sha256", weights_sha256(run.model)}});
  return report(flags, run.example, run.model_name, run.data_name, results);
}

}  // namespace examples
