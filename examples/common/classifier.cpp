#include "common/classifier.h"

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

// On a terminal a bar that is redrawn ten times a second; in a pipe a line an epoch.
class Display {
 public:
  explicit Display(const Classifier& run)
      : run_(run), quiet_(run.flags.quiet), bar_(!quiet_ && isatty(STDOUT_FILENO)) {}

  void step(int64_t epoch, int64_t done, int64_t total, double loss, double accuracy, double rate) {
    if (!bar_ || clock_.seconds() - drawn_ < 0.1) return;
    drawn_ = clock_.seconds();
    const int filled = int(20 * done / std::max<int64_t>(total, 1));
    const double left = double((run_.epochs - epoch - 1) * total + total - done) / std::max(rate, 1e-9);
    std::printf("\repoch %ld/%ld [%.*s%*s] loss %.4f accuracy %.2f %% %.0f/s %.0f s left \033[K", long(epoch + 1),
                long(run_.epochs), filled, "====================", 20 - filled, "", loss, 100 * accuracy, rate, left);
    std::fflush(stdout);
  }
  void epoch(int64_t epoch, double loss, double test_accuracy, double seconds) {
    if (quiet_) return;
    std::printf("%sepoch %ld/%ld  train loss %.4f  test accuracy %.2f %%  %.1f s\n", bar_ ? "\r\033[K" : "",
                long(epoch + 1), long(run_.epochs), loss, 100 * test_accuracy, seconds);
    std::fflush(stdout);
  }
  void say(const std::string& text) {
    if (quiet_) return;
    std::printf("%s%s\n", bar_ ? "\r\033[K" : "", text.c_str());
    std::fflush(stdout);
  }

 private:
  const Classifier& run_;
  bool quiet_, bar_;
  Stopwatch clock_;
  double drawn_ = -1;
};

// One training step: all that happens to the weights for one batch. Loss and logits.
std::vector<Tensor> train_step(const Classifier& run, GradScaler& scaler, const Tensor& input, const Tensor& target) {
  Tensor logits, loss;
  {
    const Autocast scope = autocast(run.flags);
    logits = run.forward(input);
    loss = cross_entropy(logits, target);
  }
  run.optimizer.zero_grad();
  backward(scaler.scale(loss));
  scaler.step(run.optimizer);
  scaler.update();
  run.scheduler.step();
  return {loss.detach(), logits.detach()};
}

// Example and model, and the precision if it is not f32: what a run state fits.
std::string kind(const Classifier& run) {
  return run.example + " " + run.model_name + (run.flags.dtype == "f32" ? "" : " " + run.flags.dtype);
}

}  // namespace

Tensor predict(const Classifier& run, const Tensor& images) {
  const NoGrad off;
  const Autocast scope = autocast(run.flags);
  return run.forward(images.to(default_device()));
}

double evaluate(const Classifier& run) {
  eval(run.model);
  Accuracy accuracy;
  for (const Example& batch : run.test) accuracy.add(predict(run, batch.input()), batch.target());
  train(run.model);
  return accuracy.value();
}

nlohmann::ordered_json train_classifier(const Classifier& run) {
  const Flags& flags = run.flags;
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
  double accuracy = -1;
  Accuracy running;
  bool stopped = false;
  while (!stopped && int64_t(run.train.state().epoch) < run.epochs) {
    if (interrupted() || (flags.steps > 0 && progress.step >= flags.steps)) break;
    const auto epoch = int64_t(run.train.state().epoch);
    const std::optional<Example> prepared = run.train.next();
    if (!prepared) continue;
    const std::vector<Tensor> loss_and_logits = step(prepared->input(), prepared->target());
    ++progress.step;
    const int64_t n = prepared->input().size(0);
    seen += n;
    progress.loss_sum += loss_and_logits[0].item<double>() * double(n);
    progress.loss_count += n;
    running.add(loss_and_logits[1], prepared->target());
    const double mean = progress.loss_sum / double(progress.loss_count);
    display.step(epoch, progress.loss_count, per_epoch, mean, running.value(), double(seen) / clock.seconds());
    if (progress.loss_count < per_epoch) continue;
    progress.last_loss = mean;
    progress.loss_sum = 0;
    progress.loss_count = 0;
    running.reset();
    accuracy = evaluate(run);
    display.epoch(epoch, mean, accuracy, clock.seconds());
    run.train.seek({uint64_t(epoch) + 1, 0});
  }
  const double seconds = clock.seconds();
  if (interrupted())
    display.say(flags.save.empty() ? "interrupted; give --save FILE to keep the state of a run"
                                   : "interrupted; the run is saved in " + flags.save + ", go on with --resume");
  if (!flags.save.empty()) save_run(flags.save, state, progress);
  if (accuracy < 0 || progress.loss_count > 0) accuracy = evaluate(run);
  const double loss = progress.loss_count > 0 ? progress.loss_sum / double(progress.loss_count) : progress.last_loss;
  return report(flags, run.example, run.model_name, run.data_name,
                {{"epochs", run.epochs},
                 {"steps", progress.step},
                 {"train_loss", loss},
                 {"test_accuracy", 100 * accuracy},
                 {"seconds", seconds},
                 {"samples_per_second", double(seen) / seconds},
                 {"weights_sha256", weights_sha256(run.model)}});
}

}  // namespace examples
