// Learns to translate English into German.
//
//   translate                                       sentences of a small grammar, no download
//   translate --data multi30k --model transformer   descriptions of pictures, 29,000 to learn from
//   translate --data multi30k --resume RUN --translate "Two dogs play in the snow." --beams 4
#include <chrono>
#include <cstdio>
#include <numeric>

#include "common/run_state.h"
#include "translate/model.h"
#include "translate/sentences.h"

using namespace tenrec;
using namespace examples;

namespace {

constexpr int64_t kPad = 0, kBegin = 1, kEnd = 2;

struct Settings {
  TranslatorOptions model = {.width = 0, .layers = 0, .dropout = -1};  // 0, -1: what the plan says
  int64_t beams = 1;
  std::string text;
};
// What a real corpus needs, and what the grammar does.
struct Plan {
  int64_t epochs, vocabulary, layers, width;
  double lr, dropout;
};
Plan plan_of(const std::string& kind, bool real) {
  if (kind == "gru") return real ? Plan{8, 6000, 1, 256, 2e-3, 0.2} : Plan{4, 400, 1, 64, 8e-3, 0};
  return real ? Plan{10, 6000, 3, 256, 1e-3, 0.1} : Plan{4, 400, 2, 64, 2e-3, 0};
}

// One vocabulary for both languages, which share names and numbers.
BpeTokenizer train_tokenizer(const ParallelCorpus& corpus, int64_t size) {
  std::string text;
  for (const auto* side : {&corpus.source, &corpus.target})
    for (const std::string& line : *side) text += line + "\n";
  return BpeTokenizer::train(text, {.vocab_size = size, .specials = {"<pad>", "<s>", "</s>"}});
}

// Source and target, each with its end; the target with its beginning too.
std::vector<int64_t> encode(const Tokenizer& tokenizer, const std::string& line, bool target) {
  std::vector<int64_t> ids;
  if (target) ids.push_back(kBegin);
  tokenizer.encode_to(line, ids);
  ids.push_back(kEnd);
  return ids;
}
std::vector<TokenSequences> columns(const Tokenizer& tokenizer, const ParallelCorpus& corpus) {
  std::vector<TokenSequences> out(2);
  for (int64_t i = 0; i < corpus.size(); ++i) {
    out[0].add(encode(tokenizer, corpus.source[size_t(i)], false));
    out[1].add(encode(tokenizer, corpus.target[size_t(i)], true));
  }
  return out;
}

// Of a batch of BucketLoader: each token of the targets from those before it.
Tensor loss_of(const Translator& model, const Example& batch, const CrossEntropyOptions& options) {
  const Tensor source = batch[0].to(default_device()), target = batch[2].to(default_device());
  Decoding state = model.encode(source, batch[1]);
  const int64_t n = target.size(1) - 1;
  const Tensor logits = model.decode(narrow(target, 1, 0, n), state);
  return cross_entropy(flatten(logits, 0, 1), flatten(narrow(target, 1, 1, n)), options);
}

// Nats for each token of the targets.
double mean_loss(Translator& model, BucketLoader& loader) {
  const NoGrad off;
  eval(model);
  double sum = 0;
  int64_t count = 0;
  loader.seek({});
  while (const std::optional<Example> batch = loader.next()) {
    const int64_t tokens = tenrec::sum((*batch)[3] - 1).item<int64_t>();
    sum += loss_of(model, *batch, {.ignore_index = kPad}).item<double>() * double(tokens);
    count += tokens;
  }
  train(model);
  return sum / double(count);
}

// Always the likeliest token, for sentences side by side; without the end.
std::vector<std::vector<int64_t>> greedy(const Translator& model, const Example& batch) {
  const Tensor source = batch[0].to(default_device());
  const int64_t n = source.size(0), limit = 2 * source.size(1) + 10;
  Decoding state = model.encode(source, batch[1]);
  std::vector<std::vector<int64_t>> out(static_cast<size_t>(n));
  std::vector<bool> ended(out.size());
  Tensor last = full({n, 1}, kBegin, {.dtype = i64, .device = source.device()});
  for (int64_t step = 0, open = n; step < limit && open > 0; ++step) {
    last = argmax(model.decode(last, state), {.dim = -1});
    const std::vector<int64_t> tokens = last.to_vector<int64_t>();
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (ended[i]) continue;
      ended[i] = tokens[i] == kEnd;
      if (ended[i])
        --open;
      else
        out[i].push_back(tokens[i]);
    }
  }
  return out;
}

std::vector<int64_t> search(const Translator& model, const std::vector<int64_t>& source, int64_t beams) {
  const auto n = int64_t(source.size());
  Decoding state =
      model.encode(from_vector(source, {1, n}).to(default_device()), from_vector(std::vector<int64_t>{n}, {1}));
  const auto next = [&](const Tensor& tokens, const Tensor& rows) {
    state.select(rows.to(default_device()));
    return select(model.decode(narrow(tokens, 1, tokens.size(1) - 1, 1).to(default_device()), state), 1, 0);
  };
  const BeamOptions options{.beams = beams, .max_new_tokens = 2 * n + 10, .end_token = kEnd};
  return beam_search(next, {kBegin}, options).front().tokens;
}

std::vector<std::string> translate(Translator& model, const Tokenizer& tokenizer, const std::vector<std::string>& lines,
                                   int64_t beams) {
  const NoGrad off;
  eval(model);
  std::vector<std::string> out(lines.size());
  const auto put = [&](int64_t at, const std::vector<int64_t>& tokens) {
    out[size_t(at)] = replace_bad_utf8(tokenizer.decode(tokens, {.skip_specials = true}));
  };
  TokenSequences source;
  for (const std::string& line : lines) source.add(encode(tokenizer, line, false));
  if (beams > 1) {
    for (int64_t i = 0; i < source.size(); ++i) put(i, search(model, {source[i].begin(), source[i].end()}, beams));
  } else {
    BucketLoader loader({source}, {.batch_size = 100, .shuffle = false, .pad = kPad});
    while (const std::optional<Example> batch = loader.next()) {
      const std::vector<int64_t> places = (*batch)[2].to_vector<int64_t>();
      const auto written = greedy(model, *batch);
      for (size_t i = 0; i < places.size(); ++i) put(places[i], written[i]);
    }
  }
  train(model);
  return out;
}

void train_translator(Translator& model, AdamW& optimizer, Scheduler& scheduler, BucketLoader& batches,
                      BucketLoader& validation, int64_t epochs, const Flags& flags, Progress& progress,
                      double& tokens) {
  const auto start = std::chrono::steady_clock::now();
  const std::vector<Tensor> all = parameters(model);
  const int64_t whole = epochs * batches.batches(), last = flags.steps > 0 ? std::min(flags.steps, whole) : whole;
  train(model);
  batches.seek({uint64_t(progress.step / batches.batches()), progress.step % batches.batches()});
  while (progress.step < last && !interrupted()) {
    const std::optional<Example> batch = batches.next();
    if (!batch) continue;
    const Tensor loss = loss_of(model, *batch, {.ignore_index = kPad, .label_smoothing = 0.1});
    optimizer.zero_grad();
    backward(loss);
    clip_grad_norm_(all, 1);
    optimizer.step();
    scheduler.step();
    progress.loss_sum += loss.item<double>();
    ++progress.loss_count;
    tokens += sum((*batch)[3] - 1).item<double>();
    if (++progress.step % batches.batches() != 0) continue;
    progress.end_epoch();
    if (flags.quiet) continue;
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::printf("epoch %ld/%ld  train loss %.4f  validation loss %.4f  %.1f s\n",
                long(progress.step / batches.batches()), long(epochs), progress.last_loss, mean_loss(model, validation),
                seconds.count());
    std::fflush(stdout);
  }
}

void run(const Flags& flags, Settings s) {
  const bool real = !flags.data.empty();
  const Sentences sentences = real ? read_multi30k(flags.data) : grammar_pairs();
  const Plan plan = plan_of(s.model.kind, real);
  const BpeTokenizer tokenizer =
      train_tokenizer(sentences.train, s.model.vocabulary > 0 ? s.model.vocabulary : plan.vocabulary);
  if (!s.text.empty()) tokenizer.encode(s.text);  // refused now, not after the training
  s.model.vocabulary = tokenizer.size();
  if (s.model.layers == 0) s.model.layers = plan.layers;
  if (s.model.width == 0) s.model.width = plan.width;
  if (s.model.dropout < 0) s.model.dropout = plan.dropout;
  if (s.model.width % s.model.heads)
    fail<ValueError>("--width must be a multiple of --heads, got ", s.model.width, " and ", s.model.heads);
  BucketLoader batches(columns(tokenizer, sentences.train),
                       {.batch_size = flags.batch_size > 0 ? flags.batch_size : 64, .seed = flags.seed, .pad = kPad});
  BucketLoader validation(columns(tokenizer, sentences.validation), {.batch_size = 100, .shuffle = false, .pad = kPad});
  const std::unique_ptr<Translator> model = make_translator(s.model);
  const double lr = flags.lr > 0 ? flags.lr : plan.lr;
  AdamW optimizer(parameters(*model), {.lr = lr, .beta2 = 0.98, .weight_decay = 0.01});
  const int64_t epochs = flags.epochs > 0 ? flags.epochs : plan.epochs;
  OneCycleLR scheduler(
      optimizer, {.max_lr = lr, .total_steps = epochs * batches.batches(), .pct_start = 0.15, .final_div_factor = 100});
  const Run state{concat("translate ", s.model.kind, " ", s.model.layers, " x ", s.model.width), *model, optimizer,
                  &scheduler};
  Progress progress;
  if (!flags.resume.empty()) progress = load_run(flags.resume, state);
  if (!flags.quiet)
    std::printf("%s on %s: %ld parameters, %ld pairs of sentences, %ld tokens\n", s.model.kind.c_str(),
                sentences.name.c_str(), long(count_parameters(*model)), long(sentences.train.size()),
                long(tokenizer.size()));
  catch_signals();
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  const int64_t first = progress.step;
  double tokens = 0;
  train_translator(*model, optimizer, scheduler, batches, validation, epochs, flags, progress, tokens);
  const double trained = std::max(1e-9, seconds());
  finish_run(flags, state, progress);
  const std::vector<std::string> written = translate(*model, tokenizer, sentences.test.source, s.beams);
  Bleu bleu;
  for (size_t i = 0; i < written.size(); ++i) bleu.add(written[i], sentences.test.target[i]);
  for (size_t i = 0; i < 4 && !flags.quiet; ++i)
    std::printf("%s\n  %s\n  (%s)\n", sentences.test.source[i].c_str(), written[i].c_str(),
                sentences.test.target[i].c_str());
  if (!s.text.empty()) std::printf("%s\n", translate(*model, tokenizer, {s.text}, s.beams)[0].c_str());
  print_result(report(
      flags, "translate", s.model.kind, sentences.name,
      {{"epochs", epochs},
       {"steps", progress.step},
       {"train_loss", progress.mean_loss()},
       {"validation_loss", mean_loss(*model, validation)},
       {"bleu", bleu.value()},
       {"beams", s.beams},
       {"seconds", seconds()},
       {"samples_per_second", double((progress.step - first) * batches.size()) / double(batches.batches()) / trained},
       {"tokens_per_second", tokens / trained},
       {"weights_sha256", weights_sha256(*model)}}));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Learns to translate English into German", "translate");
  Flags flags;
  Settings s;
  add_common_flags(app, flags);
  app.add_option("--model", s.model.kind, "gru (with attention) or transformer")
      ->check(CLI::IsMember({"gru", "transformer"}));
  app.add_option("--layers", s.model.layers, "Of encoder and, in the transformer, decoder")->check(CLI::PositiveNumber);
  app.add_option("--width", s.model.width, "Width of the model")->check(CLI::PositiveNumber);
  app.add_option("--heads", s.model.heads, "Heads of attention")->check(CLI::PositiveNumber);
  app.add_option("--dropout", s.model.dropout, "Share of values dropped in training")->check(CLI::Range(0.0, 0.99));
  app.add_option("--vocabulary", s.model.vocabulary, "Byte pairs, bytes and three special tokens")
      ->check(CLI::Range(259, 1 << 17));
  app.add_option("--beams", s.beams, "1: always the likeliest token; more: beam search")->check(CLI::Range(1, 64));
  app.add_option("--translate", s.text, "A sentence to translate at the end");
  return run_app(app, argc, argv, [&] {
    apply(flags);
    refuse_flags(app, {"--download", "--dtype", "--capture"});
    run(flags, s);
  });
}
