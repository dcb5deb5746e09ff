// A language model of characters: a recurrent network reads a text and guesses each next character (A. Karpathy, "The
// unreasonable effectiveness of recurrent neural networks", 2015). Trained by truncated backpropagation through time:
// the text is read in parallel streams, a piece at a time, and the state is carried from piece to piece.
#include <chrono>
#include <cmath>
#include <cstdio>

#include "char_rnn/model.h"
#include "char_rnn/text.h"
#include "common/run_state.h"

using namespace tenrec;
using namespace examples;

namespace {

struct Settings {
  CharModel::Options model = {};
  int64_t bptt = 64, sample = 400;
  double temperature = 0.8;
  std::string prompt = "\n";
};

// The text as `count` streams side by side, [steps, count].
Tensor streams_of(const Tensor& codes, int64_t count) {
  const int64_t steps = codes.numel() / count;
  return contiguous(transpose(reshape(slice(codes, 0, 0, steps * count), {count, steps}), 0, 1)).to(default_device());
}

Tensor loss_of(const Tensor& logits, const Tensor& targets) {
  return cross_entropy(flatten(logits, 0, 1), flatten(targets));
}

LSTMState detached(const LSTMState& s) { return {s.h.detach(), s.c.defined() ? s.c.detach() : s.c}; }

// What --save keeps beside the weights: the state that is carried into the next piece.
struct Session : Module {
  CharModel& model;
  LSTMState carried;

  Session(CharModel& m, const Settings& s, int64_t batch) : model(m) {
    const Shape shape{s.model.layers, batch, s.model.hidden};
    carried.h = zeros(shape);
    if (s.model.cell == "lstm") carried.c = zeros(shape);
  }
  void visit(Visitor& v) override {
    v("model", model);
    v.buffer("carried.h", carried.h);
    v.buffer("carried.c", carried.c);
  }
  void restart() {
    for (Tensor* t : {&carried.h, &carried.c})
      if (t->defined()) *t = zeros_like(*t);
  }
};

// Mean over all characters but the first, in nats: one stream from end to end, as a reader would go through it.
double validation_loss(CharModel& model, const CharText& text) {
  constexpr int64_t kPiece = 512;
  const NoGrad off;
  eval(model);
  const Tensor codes = streams_of(text.validation, 1);
  const int64_t count = codes.size(0) - 1;
  LSTMState state;
  double sum = 0;
  for (int64_t at = 0; at < count; at += kPiece) {
    const int64_t steps = std::min(kPiece, count - at);
    const auto r = model(narrow(codes, 0, at, steps), state);
    sum += loss_of(r.output, narrow(codes, 0, at + 1, steps)).item<double>() * double(steps);
    state = r.state;
  }
  train(model);
  return sum / double(count);
}

// Goes on from the prompt: the likeliest character at temperature 0, else drawn from softmax(logits / temperature).
std::string sample(CharModel& model, const CharText& text, const Settings& s, uint64_t seed) {
  const NoGrad off;
  eval(model);
  Generator generator(seed);
  std::string out = s.prompt;
  LSTMState state;
  Tensor codes = text.encode(s.prompt);
  for (int64_t i = 0; i < s.sample; ++i) {
    const auto r = model(reshape(codes, {-1, 1}).to(default_device()), state);
    const Tensor logits = flatten(slice(r.output, 0, r.output.size(0) - 1));
    codes = s.temperature > 0 ? categorical(logits / s.temperature, &generator) : argmax(logits);
    out.push_back(text.alphabet[size_t(codes.item<int64_t>())]);
    state = r.state;
  }
  train(model);
  return out;
}

void run(const Flags& flags, Settings s) {
  const CharText text = make_text(flags.data.empty() ? grammar_text(200'000) : read_text_file(flags.data));
  s.model.characters = int64_t(text.alphabet.size());
  const int64_t batch = flags.batch_size > 0 ? flags.batch_size : 32;
  const int64_t epochs = flags.epochs > 0 ? flags.epochs : flags.data.empty() ? 4 : 6;
  const Tensor codes = streams_of(text.train, batch);
  const int64_t pieces = (codes.size(0) - 1) / s.bptt;
  if (pieces < 1)
    fail<ValueError>(text.name, ": ", text.train.numel(), " characters to train on are too few for ", batch,
                     " streams in pieces of ", s.bptt);
  text.encode(s.prompt);  // says now what the text does not have
  CharModel model(s.model);
  AdamW optimizer(parameters(model), {.lr = 1e-3, .weight_decay = 0.01});
  OneCycleLR scheduler(optimizer, {.max_lr = flags.lr > 0 ? flags.lr : 5e-3,
                                   .total_steps = epochs * pieces,
                                   .pct_start = 0.05,
                                   .final_div_factor = 100});
  Session session(model, s, batch);
  const Run state{concat("char_rnn ", s.model.cell), session, optimizer, &scheduler};
  Progress progress;
  if (!flags.resume.empty()) progress = load_run(flags.resume, state);
  if (!flags.quiet)
    std::printf("%s on %s: %ld parameters, %ld characters of %zu kinds\n", s.model.cell.c_str(), text.name.c_str(),
                long(count_parameters(model)), long(text.train.numel()), text.alphabet.size());
  catch_signals();
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  const int64_t first = progress.step,
                last = flags.steps > 0 ? std::min(flags.steps, epochs * pieces) : epochs * pieces;
  while (progress.step < last && !interrupted()) {
    const int64_t at = progress.step % pieces * s.bptt;
    if (at == 0) session.restart();
    const auto r = model(narrow(codes, 0, at, s.bptt), session.carried);
    const Tensor loss = loss_of(r.output, narrow(codes, 0, at + 1, s.bptt));
    session.carried = detached(r.state);
    optimizer.zero_grad();
    backward(loss);
    clip_grad_norm_(parameters(model), 1);
    optimizer.step();
    scheduler.step();
    progress.loss_sum += loss.item<double>();
    ++progress.loss_count;
    if (++progress.step % pieces != 0) continue;
    progress.end_epoch();
    if (!flags.quiet) {
      std::printf("epoch %ld/%ld  train loss %.4f  %.1f s\n", long(progress.step / pieces), long(epochs),
                  progress.last_loss, seconds());
      std::fflush(stdout);
    }
  }
  const double trained = seconds();
  if (!flags.save.empty()) save_run(flags.save, state, progress);
  const double validation = validation_loss(model, text);
  if (!flags.quiet && s.sample > 0) std::printf("---%s\n---\n", sample(model, text, s, flags.seed).c_str());
  print_result(report(flags, "char_rnn", s.model.cell, text.name,
                      {{"epochs", epochs},
                       {"steps", progress.step},
                       {"train_loss", progress.mean_loss()},
                       {"validation_loss", validation},
                       {"seconds", trained},
                       {"samples_per_second", double((progress.step - first) * batch * s.bptt) / trained},
                       {"weights_sha256", weights_sha256(model)}}));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Learns to write like a text, character by character", "char_rnn");
  Flags flags;
  Settings s;
  add_common_flags(app, flags);
  app.add_option("--cell", s.model.cell, "rnn, lstm or gru")->check(CLI::IsMember({"rnn", "lstm", "gru"}));
  app.add_option("--hidden", s.model.hidden, "Units of a layer")->check(CLI::PositiveNumber);
  app.add_option("--layers", s.model.layers, "Layers")->check(CLI::PositiveNumber);
  app.add_option("--dropout", s.model.dropout, "Between layers and behind the last")->check(CLI::Range(0.0, 0.95));
  app.add_option("--bptt", s.bptt, "Steps that a gradient goes back")->check(CLI::PositiveNumber);
  app.add_option("--sample", s.sample, "Characters to write at the end")->check(CLI::NonNegativeNumber);
  app.add_option("--temperature", s.temperature, "Of the writing; 0: always the likeliest")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--prompt", s.prompt, "What the writing begins with");
  return run_app(app, argc, argv, [&] {
    apply(flags);
    refuse_flags(app, {"--download", "--dtype", "--capture"});
    run(flags, s);
  });
}
