// How far back a recurrent network learns. First, how large the gradient of the last output is at each step before it,
// for a plain RNN, an LSTM and a GRU (Y. Bengio et al., "Learning long-term dependencies with gradient descent is
// difficult", 1994). Then the adding problem (S. Hochreiter and J. Schmidhuber, "Long short-term memory", 1997): of
// 200 random numbers two are marked, and the network must give their sum; who remembers nothing is off by 0.167 on
// average, squared. Gates start open for about as long as the sequence (C. Tallec and Y. Ollivier, "Can recurrent
// neural networks warp time?", 2018).
#include <chrono>
#include <cmath>
#include <cstdio>

#include "common/app.h"

using namespace tenrec;

namespace {

struct Settings {
  int64_t length = 200, hidden = 64, batch = 64, steps = 2000;
  double lr = 2e-3;
};

class Net : public Module {
 public:
  Net(const std::string& cell, const Settings& s) : head(s.hidden, 1) {
    if (cell == "rnn") {
      rnn.emplace(2, s.hidden);
    } else if (cell == "lstm") {
      lstm.emplace(2, s.hidden);
      remember(lstm->weights[0], s, 1, 0);
    } else {
      gru.emplace(2, s.hidden);
      remember(gru->weights[0], s, 1, -1);
    }
  }

  // [length, batch, 2] to [batch].
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    const Tensor y = lstm ? (*lstm)(x).state.h : gru ? (*gru)(x).state : (*rnn)(x).state;
    return squeeze(head(y[0]), 1);
  }
  void visit(Visitor& v) override {
    v("rnn", rnn);
    v("lstm", lstm);
    v("gru", gru);
    v("head", head);
  }

 private:
  // The gate that keeps the state starts at log u, u uniform in [1, 2 length): it forgets once in about u steps. What
  // writes (the LSTM's input gate) starts as its counterpart.
  static void remember(const RecurrentWeights& w, const Settings& s, int64_t keeps, int64_t writes) {
    const NoGrad off;
    const auto gate = [&](const Tensor& bias, int64_t g) { return narrow(bias, 0, g * s.hidden, s.hidden); };
    const Tensor start = log(rand({s.hidden}) * double(2 * s.length - 1) + 1.0);
    copy_(gate(w.b_ih, keeps), start);
    zero_(gate(w.b_hh, keeps));
    if (writes < 0) return;
    copy_(gate(w.b_ih, writes), 0.0 - start);
    zero_(gate(w.b_hh, writes));
  }

  std::optional<RNN> rnn;
  std::optional<LSTM> lstm;
  std::optional<GRU> gru;
  Linear head;
};

struct Batch {
  Tensor x, y;
};
// Numbers in [0, 1) beside marks: one in the first half, one in the second.
Batch draw(const Settings& s, int64_t count) {
  const Tensor values = rand({s.length, count}), step = unsqueeze(arange(s.length), 1);
  const int64_t half = s.length / 2;
  const Tensor first = randint(0, half, {1, count}), second = randint(half, s.length, {1, count});
  const Tensor marks = eq(step, first).to(f32) + eq(step, second).to(f32);
  return {stack({values, marks}, 2), sum(values * marks, {.dim = 0})};
}

// The norm of the gradient of the summed outputs by the input of each step.
std::vector<double> gradient_norms(const Net& net, const Settings& s) {
  const Tensor x = draw(s, s.batch).x.set_requires_grad(true);
  const Tensor g = grad(sum(net(x)), {x})[0];
  return sqrt(sum(square(g), {.dim = {1, 2}})).to_vector<double>();
}

double error(const Net& net, const Batch& batch) {
  const NoGrad off;
  return mse_loss(net(batch.x), batch.y).item<double>();
}

struct Result {
  std::string cell;
  std::vector<double> norms, curve = {};  // by step of the sequence; by step of the training
  double test_loss = 0;
  int64_t steps = 0;
  std::string sha256 = {};
  double ratio() const { return norms.front() / norms.back(); }
};

// Until a test batch is off by less than 0.004, which takes remembering both numbers.
Result run(const std::string& cell, const Settings& s, uint64_t seed) {
  constexpr int64_t kLook = 100;
  constexpr double kSolved = 0.004;
  manual_seed(seed);
  const Batch test = draw(s, 500);
  Net net(cell, s);
  Result r{.cell = cell, .norms = gradient_norms(net, s)};
  Adam optimizer(parameters(net), {.lr = s.lr});
  while (r.steps < s.steps && !examples::interrupted()) {
    const Batch batch = draw(s, s.batch);
    const Tensor loss = mse_loss(net(batch.x), batch.y);
    optimizer.zero_grad();
    backward(loss);
    clip_grad_norm_(parameters(net), 1);
    optimizer.step();
    r.curve.push_back(loss.item<double>());
    if (++r.steps % kLook == 0 && error(net, test) < kSolved) break;
  }
  r.test_loss = error(net, test);
  r.sha256 = examples::weights_sha256(net);
  return r;
}

// The mean of each 20 steps.
std::vector<double> smooth(const std::vector<double>& curve) {
  constexpr size_t kSpan = 20;
  std::vector<double> out;
  for (size_t i = 0; i + kSpan <= curve.size(); i += kSpan) {
    double sum = 0;
    for (size_t j = 0; j < kSpan; ++j) sum += curve[i + j];
    out.push_back(sum / double(kSpan));
  }
  return out;
}

void picture_of(const std::string& path, const std::vector<Result>& results) {
  Plot norms({.width = 520,
              .title = "gradient of the last output",
              .x_label = "step",
              .y_label = "norm",
              .y_min = 1e-12,
              .log_y = true});
  Plot curves({.width = 520, .title = "the adding problem", .x_label = "20 batches", .y_label = "loss", .log_y = true});
  for (const Result& r : results) {
    norms.curve(r.cell, r.norms);
    curves.curve(r.cell, smooth(r.curve));
  }
  side_by_side({norms.draw(), curves.draw()}).save(path);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Gradients through time, and the adding problem", "vanishing");
  examples::Flags flags;
  Settings s;
  std::string picture;
  examples::add_common_flags(app, flags);
  app.add_option("--length", s.length, "Steps of a sequence")->check(CLI::Range(4, 100'000));
  app.add_option("--hidden", s.hidden, "Units")->check(CLI::PositiveNumber);
  app.add_option("--picture", picture, "PNG of gradients and training");
  return examples::run_app(app, argc, argv, [&] {
    examples::apply(flags);
    // Fresh numbers each step: no data, no epochs.
    examples::refuse_flags(app, {"--data", "--download", "--epochs", "--save", "--resume", "--dtype", "--capture"});
    if (!picture.empty()) examples::check_writable(picture);
    if (flags.steps > 0) s.steps = flags.steps;
    if (flags.batch_size > 0) s.batch = flags.batch_size;
    if (flags.lr > 0) s.lr = flags.lr;
    examples::catch_signals();
    const auto start = std::chrono::steady_clock::now();
    std::vector<Result> results;
    nlohmann::ordered_json fields = {{"epochs", 1}};
    int64_t steps = 0;
    for (const char* cell : {"rnn", "lstm", "gru"}) {
      results.push_back(run(cell, s, flags.seed));
      const Result& r = results.back();
      steps += r.steps;
      if (!flags.quiet) {
        std::printf("%-4s  gradient %ld steps back: %.1e of the last step's;  adding problem: %.4f after %ld steps\n",
                    cell, long(s.length - 1), r.ratio(), r.test_loss, long(r.steps));
        std::fflush(stdout);
      }
      fields[r.cell + "_gradient_ratio"] = r.ratio();
      fields[r.cell + "_test_loss"] = r.test_loss;
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (!picture.empty()) picture_of(picture, results);
    fields.update({{"steps", steps},
                   {"train_loss", results.back().curve.back()},
                   {"test_loss", results.back().test_loss},
                   {"seconds", seconds},
                   {"samples_per_second", double(steps * s.batch) / seconds},
                   {"weights_sha256", results.back().sha256}});
    examples::print_result(examples::report(flags, "vanishing", "rnn, lstm, gru", "adding problem", fields));
  });
}
