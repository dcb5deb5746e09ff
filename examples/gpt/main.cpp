// Trains a small GPT on the characters of a text, and writes more of it.
//
//   gpt                                      nursery rhymes, no download
//   gpt --data tinyshakespeare.txt           nanoGPT's configuration for a CPU, on a text of yours
//   gpt --data FILE --resume RUN --generate 500 --prompt "ROMEO:"
#include <chrono>
#include <cstdio>

#include "common/run_state.h"
#include "gpt/model.h"
#include "gpt/text.h"

using namespace tenrec;
using namespace examples;

namespace {

// The text's tokens: the first nine tenths to learn from, the rest to measure on.
struct Tokens {
  Tensor train, validation;
  Tokens(const Characters& characters, const std::string& text, int64_t context) {
    const std::vector<int64_t> all = characters.encode(text);
    const auto n = int64_t(all.size()), cut = n * 9 / 10;
    if (std::min(cut, n - cut) <= context)
      fail<ValueError>("the text has ", n, " characters; a context of ", context, " needs more than ",
                       10 * (context + 1));
    const Tensor whole = from_vector(all, {n}).to(default_device());
    train = narrow(whole, 0, 0, cut);
    validation = narrow(whole, 0, cut, n - cut);
  }
};

// Inputs and targets of windows that begin at `starts`, [windows, context] each.
Example windows(const Tensor& tokens, const Tensor& starts, int64_t context) {
  const Tensor at = unsqueeze(starts, 1) + arange(context, {.dtype = i64});
  return {{take(tokens, at), take(tokens, at + 1)}};
}

Tensor loss_of(const Gpt& model, const Example& batch) {
  const Tensor logits = model(batch.input());
  return cross_entropy(flatten(logits, 0, 1), flatten(batch.target()));
}

// The mean loss in nats over the whole split, in windows side by side.
double validation_loss(Gpt& model, const Tensor& tokens, int64_t context) {
  const NoGrad off;
  eval(model);
  const int64_t count = (tokens.numel() - 1) / context, together = 32;
  double sum = 0;
  for (int64_t w = 0; w < count; w += together) {
    const int64_t n = std::min(together, count - w);
    const Tensor starts = arange(w, w + n, {.dtype = i64}) * context;
    sum += loss_of(model, windows(tokens, starts, context)).item<double>() * double(n);
  }
  train(model);
  return sum / double(count);
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
std::string continue_text(Gpt& model, const Characters& characters, const Prompt& prompt, uint64_t seed) {
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
      next, characters.encode(prompt.text), {.max_new_tokens = prompt.count, .sampling = prompt.sampling}, &generator);
  train(model);
  return characters.decode(tokens);
}

struct Plan {
  int64_t steps, batch_size;
  double lr;
};
// What --steps and the others leave open: nanoGPT's run on a CPU for a real text, less for the rhymes.
constexpr int64_t kRealSteps = 2000, kRhymeSteps = 150;

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
    if (!flags.quiet && (progress.step + 1) % 100 == 0)
      std::printf("step %5ld  loss %.4f\n", long(progress.step + 1), progress.last_loss);
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Trains a small GPT on the characters of a text, and writes more of it", "gpt");
  Flags flags;
  GptOptions size{.context = 64, .layers = 4, .heads = 4, .width = 128};
  Prompt prompt;
  add_common_flags(app, flags);
  app.add_option("--layers", size.layers, "Blocks")->check(CLI::PositiveNumber);
  app.add_option("--heads", size.heads, "Heads of attention")->check(CLI::PositiveNumber);
  app.add_option("--width", size.width, "Width of the model")->check(CLI::PositiveNumber);
  app.add_option("--context", size.context, "Characters that it sees")->check(CLI::PositiveNumber);
  app.add_option("--dropout", size.dropout, "Share of values dropped in training")->check(CLI::Range(0.0, 0.99));
  app.add_option("--generate", prompt.count, "Characters to write at the end")->check(CLI::NonNegativeNumber);
  app.add_option("--prompt", prompt.text, "What they go on from");
  app.add_option("--temperature", prompt.sampling.temperature, "0: always the likeliest")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--top-k", prompt.sampling.top_k, "Only the likeliest so many")->check(CLI::NonNegativeNumber);
  app.add_option("--top-p", prompt.sampling.top_p, "Only the likeliest of this probability")
      ->check(CLI::Range(0.0, 1.0));
  return run_app(app, argc, argv, [&] {
    refuse_flags(app, {"--epochs", "--download", "--dtype", "--capture"});
    apply(flags);
    const bool real = !flags.data.empty();
    const std::string text = real ? read_text(flags.data) : built_in_text();
    const Characters characters(text);
    if (prompt.count > 0) characters.encode(prompt.text);  // refused now, not after the training
    size.vocabulary = characters.size();
    const Tokens tokens(characters, text, size.context);
    const int64_t usual = real ? kRealSteps : kRhymeSteps;
    const Plan plan{flags.steps > 0 ? flags.steps : usual, flags.batch_size > 0 ? flags.batch_size : 12,
                    flags.lr > 0 ? flags.lr : 2e-3};
    Gpt model(size);
    AdamW optimizer(groups(model, plan.lr));
    // The schedule belongs to the whole run, wherever --steps ends it.
    OneCycleLR scheduler = schedule(optimizer, plan.lr, std::max(plan.steps, usual));
    const Run state{concat("gpt ", size.layers, "x", size.width, " context ", size.context), model, optimizer,
                    &scheduler};
    Progress progress;
    if (!flags.resume.empty()) progress = load_run(flags.resume, state);
    if (!flags.quiet)
      std::printf("gpt on %s: %ld parameters, %ld characters, %ld distinct\n", real ? flags.data.c_str() : "rhymes",
                  long(count_parameters(model)), long(text.size()), long(characters.size()));
    catch_signals();
    const auto start = std::chrono::steady_clock::now();
    const int64_t first = progress.step;
    train_gpt(model, optimizer, scheduler, tokens.train, plan, flags, progress);
    const std::chrono::duration<double> training = std::chrono::steady_clock::now() - start;
    const int64_t steps = progress.step - first;
    if (!flags.save.empty()) save_run(flags.save, state, progress);
    if (interrupted() && !flags.quiet)
      std::printf("%s\n", flags.save.empty()
                              ? "interrupted; give --save FILE to keep the state of a run"
                              : ("interrupted; the run is saved in " + flags.save + ", go on with --resume").c_str());
    const double validation = validation_loss(model, tokens.validation, size.context);
    const std::chrono::duration<double> whole = std::chrono::steady_clock::now() - start;
    if (prompt.count > 0) std::printf("%s\n", continue_text(model, characters, prompt, flags.seed).c_str());
    print_result(
        {{"example", "gpt"},
         {"model", concat(size.layers, " layers, ", size.heads, " heads, ", size.width, " wide")},
         {"data", real ? flags.data : "rhymes"},
         {"device", flags.device},
         {"threads", num_threads()},
         {"seed", flags.seed},
         {"steps", progress.step},
         {"train_loss", progress.last_loss},
         {"validation_loss", validation},
         {"perplexity", std::exp(validation)},
         {"seconds", whole.count()},
         {"samples_per_second", double(steps * plan.batch_size) / std::max(1e-9, training.count())},
         {"tokens_per_second", double(steps * plan.batch_size * size.context) / std::max(1e-9, training.count())},
         {"peak_rss_mb", peak_rss_mb()},
         {"weights_sha256", weights_sha256(model)}});
  });
}
