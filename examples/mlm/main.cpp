// A masked language model: guesses the words that are hidden in a text from those around them.
//
//   mlm                                  sentences of a small grammar, no download
//   mlm --data dickens.txt               a text of yours; bytes that are not UTF-8 are read as U+FFFD
//   mlm --data FILE --resume RUN --fill "He shook his <mask> and went to the door."
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "common/run_state.h"
#include "common/text.h"
#include "mlm/masking.h"
#include "mlm/model.h"

using namespace tenrec;
using namespace examples;

namespace {

constexpr const char* kMask = "<mask>";
constexpr int64_t kMaskToken = 0, kFirstOrdinary = 1;

struct Settings {
  MaskedOptions model;
  std::string fill;
};
struct Plan {
  int64_t steps, batch_size, vocabulary;
  double lr;
};
constexpr Plan kReal{2000, 32, 8192, 2e-3}, kGrammar{400, 32, 400, 2e-3};

struct Text {
  WordedTokens train, validation;
};
// The last tenth is to measure on.
Text read(const Tokenizer& tokenizer, const NamedText& text, int64_t context) {
  const WordedTokens all(tokenizer, text.bytes);
  const int64_t cut = all.size() * 9 / 10;
  if (std::min(cut, all.size() - cut) < context)
    fail<ValueError>(text.name, ": ", all.size(), " tokens are too few, a context of ", context, " needs at least ",
                     10 * context);
  return {WordedTokens(all, 0, cut), WordedTokens(all, cut, all.size())};
}

MaskingOptions masking(const MaskedOptions& o) { return {o.context, kMaskToken, o.vocabulary, kFirstOrdinary}; }

Tensor loss_of(const MaskedModel& model, const MaskedBatch& batch) {
  return cross_entropy(model(batch.tokens, batch.places), batch.targets);
}

// The logarithm of each token's share of a text that has each once more.
std::vector<double> log_frequencies(const WordedTokens& text, int64_t vocabulary) {
  std::vector<double> out(size_t(vocabulary), 1);
  for (const int64_t id : text.ids) ++out[size_t(id)];
  for (double& count : out) count = std::log(count / double(text.size() + vocabulary));
  return out;
}

// Nats for a hidden token, over the whole split: the model's, and those of somebody who knows only how frequent each
// token is in the text that was learnt from.
struct Validation {
  double model = 0, unigram = 0;
};
Validation validate(MaskedModel& model, const Text& text, const std::vector<double>& frequencies,
                    const MaskedOptions& o) {
  const NoGrad off;
  eval(model);
  constexpr int64_t kTogether = 32;
  Validation sums;
  int64_t count = 0;
  for (int64_t at = 0; at + o.context <= text.validation.size();) {
    std::vector<int64_t> starts;
    for (; at + o.context <= text.validation.size() && int64_t(starts.size()) < kTogether; at += o.context)
      starts.push_back(at);
    const MaskedBatch batch = mask_words(text.validation, starts, masking(o), uint64_t(at));
    const int64_t n = batch.targets.numel();
    sums.model += loss_of(model, batch).item<double>() * double(n);
    for (const int64_t id : batch.targets.to_vector<int64_t>()) sums.unigram -= frequencies[size_t(id)];
    count += n;
  }
  train(model);
  return {sums.model / double(count), sums.unigram / double(count)};
}

// The text with the likeliest token for each mask. ValueError for more tokens than the model sees, or no mask.
std::vector<int64_t> encode_fill(const BpeTokenizer& tokenizer, const std::string& text, int64_t context) {
  // A space belongs to the word behind it.
  std::string joined = text;
  for (size_t at = 0; (at = joined.find(concat(" ", kMask), at)) != std::string::npos;) joined.erase(at, 1);
  const std::vector<int64_t> ids = tokenizer.encode_with_specials(joined);
  if (std::find(ids.begin(), ids.end(), kMaskToken) == ids.end()) fail<ValueError>("--fill: has no ", kMask);
  if (int64_t(ids.size()) > context) fail<ValueError>("--fill: ", ids.size(), " tokens, the model sees ", context);
  return ids;
}
std::string fill(MaskedModel& model, const BpeTokenizer& tokenizer, std::vector<int64_t> ids) {
  const NoGrad off;
  eval(model);
  std::vector<int64_t> places;
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] == kMaskToken) places.push_back(int64_t(i));
  const Tensor tokens = from_vector(ids, {1, int64_t(ids.size())}).to(default_device());
  const Tensor logits = model(tokens, from_vector(places, {int64_t(places.size())}).to(default_device()));
  const std::vector<int64_t> best =
      argmax(slice(logits, 1, kFirstOrdinary, logits.size(1)), {.dim = 1}).to_vector<int64_t>();
  for (size_t i = 0; i < places.size(); ++i) ids[size_t(places[i])] = kFirstOrdinary + best[i];
  train(model);
  return replace_bad_utf8(tokenizer.decode(ids));
}

// Trains until plan.steps are done or a signal comes.
void train_masked(MaskedModel& model, const Run& state, const WordedTokens& text, const MaskedOptions& o,
                  const Plan& plan, const Flags& flags, Progress& progress) {
  const std::vector<Tensor> all = parameters(model);
  train(model);
  for (; progress.step < plan.steps && !interrupted(); ++progress.step) {
    // A function of seed and step alone, so that a resumed run sees what an uninterrupted one does.
    const uint64_t seed = (flags.seed << 32) + uint64_t(progress.step);
    Generator draw;
    draw.set_state({seed, 0});
    const Tensor starts = randint(0, text.size() - o.context + 1, {plan.batch_size}, {.dtype = i64}, &draw);
    const Tensor loss = loss_of(model, mask_words(text, starts.to_vector<int64_t>(), masking(o), ~seed));
    state.optimizer.zero_grad();
    backward(loss);
    clip_grad_norm_(all, 1);
    state.optimizer.step();
    state.scheduler->step();
    progress.last_loss = loss.item<double>();
    if (flags.quiet || (progress.step + 1) % 100 != 0) continue;
    std::printf("step %5ld  loss %.4f\n", long(progress.step + 1), progress.last_loss);
    std::fflush(stdout);
  }
}

void run(const Flags& flags, Settings s) {
  const bool real = !flags.data.empty();
  NamedText text = real ? read_text_file(flags.data) : grammar_text(200'000);
  text.bytes = replace_bad_utf8(text.bytes);
  Plan plan = real ? kReal : kGrammar;
  const BpeTokenizer tokenizer = BpeTokenizer::train(
      text.bytes, {.vocab_size = s.model.vocabulary > 0 ? s.model.vocabulary : plan.vocabulary, .specials = {kMask}});
  s.model.vocabulary = tokenizer.size();
  const std::vector<int64_t> to_fill =
      s.fill.empty() ? std::vector<int64_t>() : encode_fill(tokenizer, s.fill, s.model.context);
  const Text split = read(tokenizer, text, s.model.context);
  const int64_t usual = plan.steps;
  if (flags.steps > 0) plan.steps = flags.steps;
  if (flags.batch_size > 0) plan.batch_size = flags.batch_size;
  if (flags.lr > 0) plan.lr = flags.lr;
  const std::vector<double> frequencies = log_frequencies(split.train, s.model.vocabulary);
  // It starts from what frequencies say, which the first hundreds of steps would else be spent on.
  MaskedModel model(s.model, from_vector(frequencies, {s.model.vocabulary}).to(f32));
  AdamW optimizer(parameters(model), {.lr = plan.lr, .beta2 = 0.98, .weight_decay = 0.01});
  // The schedule belongs to the whole run, wherever --steps ends it.
  OneCycleLR scheduler(
      optimizer,
      {.max_lr = plan.lr, .total_steps = std::max(plan.steps, usual), .pct_start = 0.1, .final_div_factor = 4});
  const std::string name = concat(s.model.layers, " layers, ", s.model.heads, " heads, ", s.model.width, " wide");
  const Run state{concat("mlm, ", name), model, optimizer, &scheduler};
  Progress progress;
  if (!flags.resume.empty()) progress = load_run(flags.resume, state);
  if (!flags.quiet)
    std::printf("mlm on %s: %ld parameters, %ld tokens of %ld kinds\n", text.name.c_str(),
                long(count_parameters(model)), long(split.train.size()), long(s.model.vocabulary));
  catch_signals();
  const auto start = std::chrono::steady_clock::now();
  const int64_t first = progress.step;
  train_masked(model, state, split.train, s.model, plan, flags, progress);
  const std::chrono::duration<double> trained = std::chrono::steady_clock::now() - start;
  finish_run(flags, state, progress);
  const Validation validation = validate(model, split, frequencies, s.model);
  if (!to_fill.empty()) std::printf("%s\n", fill(model, tokenizer, to_fill).c_str());
  const double samples = double((progress.step - first) * plan.batch_size) / std::max(1e-9, trained.count());
  print_result(report(flags, "mlm", name, text.name,
                      {{"steps", progress.step},
                       {"train_loss", progress.last_loss},
                       {"validation_loss", validation.model},
                       {"unigram_loss", validation.unigram},
                       {"below_unigram", validation.unigram - validation.model},
                       {"seconds", trained.count()},
                       {"samples_per_second", samples},
                       {"tokens_per_second", samples * double(s.model.context)},
                       {"weights_sha256", weights_sha256(model)}}));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Guesses the words that are hidden in a text", "mlm");
  Flags flags;
  Settings s;
  add_common_flags(app, flags);
  app.add_option("--layers", s.model.layers, "Layers of the encoder")->check(CLI::PositiveNumber);
  app.add_option("--heads", s.model.heads, "Heads of attention")->check(CLI::PositiveNumber);
  app.add_option("--width", s.model.width, "Width of the model")->check(CLI::PositiveNumber);
  app.add_option("--context", s.model.context, "Tokens that it sees")->check(CLI::PositiveNumber);
  app.add_option("--dropout", s.model.dropout, "Share of values dropped in training")->check(CLI::Range(0.0, 0.99));
  app.add_option("--vocabulary", s.model.vocabulary, "Byte pairs, bytes and the mask")->check(CLI::Range(257, 1 << 17));
  app.add_option("--fill", s.fill, "A text whose <mask> tokens are to be guessed at the end");
  return run_app(app, argc, argv, [&] {
    apply(flags);
    refuse_flags(app, {"--epochs", "--download", "--dtype", "--capture"});
    run(flags, s);
  });
}
