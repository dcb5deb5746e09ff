// Trains a small GPT on a text, and writes more of it.
//
//   gpt                                      sentences of a small grammar, no download
//   gpt --data tinyshakespeare.txt           nanoGPT's configuration for a CPU, on a text of yours
//   gpt --data FILE --tokens bpe             byte pairs instead of characters, learnt from the text
//   gpt --data FILE --resume RUN --generate 500 --prompt "ROMEO:"
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>

#include "common/run_state.h"
#include "gpt/tokens.h"

using namespace tenrec;
using namespace examples;

namespace {

struct Units {
  std::string kind = "characters";
  int64_t vocabulary = 1024;  // of byte pairs
};

std::unique_ptr<Tokenizer> make_tokenizer(const Units& units, const std::string& text) {
  if (units.kind == "characters")
    return std::make_unique<TextTokenizer>(TextTokenizer::build(TextUnit::character, text));
  return std::make_unique<BpeTokenizer>(BpeTokenizer::train(text, {.vocab_size = units.vocabulary}));
}

// Biases and norms are not to shrink.
std::vector<AdamW::Group> groups(Gpt& model, double lr) {
  std::vector<Tensor> matrices, vectors;
  for (const Tensor& p : parameters(model)) (p.ndim() > 1 ? matrices : vectors).push_back(p);
  const AdamWOptions options{.lr = lr, .beta2 = 0.99, .weight_decay = 0.1};
  AdamWOptions plain = options;
  plain.weight_decay = 0;
  return {{matrices, options}, {vectors, plain}};
}

// A straight line up over the first twentieth, a cosine down to a tenth.
OneCycleLR schedule(AdamW& optimizer, double lr, int64_t steps) {
  return OneCycleLR(optimizer, {.max_lr = lr, .total_steps = steps, .pct_start = 0.05, .final_div_factor = 0.4});
}

struct Prompt {
  int64_t count = 0;
  std::string text = "\n";
  SamplingOptions sampling = {.temperature = 0.8};
};

// The text goes on as long as asked: when the context is full, the later half of it is read again.
std::string continue_text(Gpt& model, const Tokenizer& tokenizer, const Prompt& prompt, uint64_t seed) {
  const NoGrad off;
  eval(model);
  std::vector<KeyValueCache> caches;
  std::vector<int64_t> seen;
  const int64_t context = model.options.context;
  Generator generator(seed);
  const auto next = [&](const std::vector<int64_t>& fresh) {
    seen.insert(seen.end(), fresh.begin(), fresh.end());
    std::vector<int64_t> read = fresh;
    if ((caches.empty() ? 0 : caches.front().length()) + int64_t(fresh.size()) > context) {
      caches.clear();
      const auto half = std::min<int64_t>(context / 2, int64_t(seen.size()));
      read.assign(seen.end() - half, seen.end());
    }
    const Tensor tokens = from_vector(read, {1, int64_t(read.size())}).to(default_device());
    return select(select(model(tokens, &caches), 1, -1), 0, 0);
  };
  const std::vector<int64_t> tokens = generate(
      next, tokenizer.encode(prompt.text), {.max_new_tokens = prompt.count, .sampling = prompt.sampling}, &generator);
  train(model);
  return replace_bad_utf8(tokenizer.decode(tokens));
}

struct Plan {
  int64_t steps, batch_size;
  double lr;
};
// What --steps leaves open: nanoGPT's run on a CPU for a real text, less for the grammar.
constexpr int64_t kRealSteps = 2000, kGrammarSteps = 300;

// Trains until plan.steps are done or a signal comes.
void train_gpt(Gpt& model, AdamW& optimizer, Scheduler& scheduler, const Tensor& tokens, const Plan& plan,
               const Flags& flags, Progress& progress) {
  const int64_t context = model.options.context;
  const std::vector<Tensor> all = parameters(model);
  train(model);
  for (; progress.step < plan.steps && !interrupted(); ++progress.step) {
    // A function of seed and step alone, so that a resumed run sees what an uninterrupted one does.
    Generator draw;
    draw.set_state({flags.seed ^ 0x9e3779b97f4a7c15u, uint64_t(progress.step)});
    const Tensor starts = randint(0, tokens.numel() - context, {plan.batch_size}, {.dtype = i64}, &draw);
    const Tensor loss = loss_of(model, windows(tokens, starts, context));
    optimizer.zero_grad();
    backward(loss);
    clip_grad_norm_(all, 1);
    optimizer.step();
    scheduler.step();
    progress.last_loss = loss.item<double>();
    if (!flags.quiet && (progress.step + 1) % 100 == 0) {
      std::printf("step %5ld  loss %.4f\n", long(progress.step + 1), progress.last_loss);
      std::fflush(stdout);
    }
  }
}

void run(const Flags& flags, GptOptions size, const Units& units, const Prompt& prompt) {
  const bool real = !flags.data.empty();
  const NamedText text = real ? read_text_file(flags.data) : grammar_text(200'000);
  const std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(units, text.bytes);
  if (prompt.count > 0) tokenizer->encode(prompt.text);  // refused now, not after the training
  size.vocabulary = tokenizer->size();
  const Tokens tokens(*tokenizer, text, size.context);
  const int64_t usual = real ? kRealSteps : kGrammarSteps;
  const Plan plan{flags.steps > 0 ? flags.steps : usual, flags.batch_size > 0 ? flags.batch_size : 12,
                  flags.lr > 0 ? flags.lr : 2e-3};
  Gpt model(size);
  AdamW optimizer(groups(model, plan.lr));
  // The schedule belongs to the whole run, wherever --steps ends it.
  OneCycleLR scheduler = schedule(optimizer, plan.lr, std::max(plan.steps, usual));
  const std::string name = concat(size.layers, " layers, ", size.heads, " heads, ", size.width, " wide");
  const Run state{concat("gpt, ", name, ", ", units.kind), model, optimizer, &scheduler};
  Progress progress;
  if (!flags.resume.empty()) progress = load_run(flags.resume, state);
  if (!flags.quiet)
    std::printf("gpt on %s: %ld parameters, %ld tokens of %ld kinds\n", text.name.c_str(),
                long(count_parameters(model)), long(tokens.train.numel()), long(size.vocabulary));
  catch_signals();
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  const int64_t first = progress.step;
  train_gpt(model, optimizer, scheduler, tokens.train, plan, flags, progress);
  const double trained = std::max(1e-9, seconds());
  if (!flags.save.empty()) save_run(flags.save, state, progress);
  if (interrupted() && !flags.quiet)
    std::printf("interrupted; %s\n", flags.save.empty()
                                         ? "give --save FILE to keep the state of a run"
                                         : ("the run is saved in " + flags.save + ", go on with --resume").c_str());
  const double validation = loss_over(model, tokens.validation, size.context);
  if (prompt.count > 0) std::printf("%s\n", continue_text(model, *tokenizer, prompt, flags.seed).c_str());
  const double samples = double((progress.step - first) * plan.batch_size) / trained;
  print_result(report(flags, "gpt", name, text.name,
                      {{"tokens", units.kind},
                       {"steps", progress.step},
                       {"train_loss", progress.last_loss},
                       {"validation_loss", validation},
                       {"perplexity", std::exp(validation)},
                       {"seconds", trained},
                       {"samples_per_second", samples},
                       {"tokens_per_second", samples * double(size.context)},
                       {"weights_sha256", weights_sha256(model)}}));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Trains a small GPT on a text, and writes more of it", "gpt");
  Flags flags;
  GptOptions size{.context = 64, .layers = 4, .heads = 4, .width = 128};
  Units units;
  Prompt prompt;
  add_common_flags(app, flags);
  app.add_option("--layers", size.layers, "Blocks")->check(CLI::PositiveNumber);
  app.add_option("--heads", size.heads, "Heads of attention")->check(CLI::PositiveNumber);
  app.add_option("--width", size.width, "Width of the model")->check(CLI::PositiveNumber);
  app.add_option("--context", size.context, "Tokens that it sees")->check(CLI::PositiveNumber);
  app.add_option("--dropout", size.dropout, "Share of values dropped in training")->check(CLI::Range(0.0, 0.99));
  app.add_option("--tokens", units.kind, "characters or bpe")->check(CLI::IsMember({"characters", "bpe"}));
  app.add_option("--vocabulary", units.vocabulary, "Byte pairs and bytes together")->check(CLI::Range(256, 1 << 17));
  app.add_option("--generate", prompt.count, "Tokens to write at the end")->check(CLI::NonNegativeNumber);
  app.add_option("--prompt", prompt.text, "What they go on from");
  app.add_option("--temperature", prompt.sampling.temperature, "0: always the likeliest")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--top-k", prompt.sampling.top_k, "Only the likeliest so many")->check(CLI::NonNegativeNumber);
  app.add_option("--top-p", prompt.sampling.top_p, "Only the likeliest of this probability")
      ->check(CLI::Range(0.0, 1.0));
  return run_app(app, argc, argv, [&] {
    apply(flags);
    refuse_flags(app, {"--epochs", "--download", "--dtype", "--capture"});
    run(flags, size, units, prompt);
  });
}
