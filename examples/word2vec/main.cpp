// Vectors of words from what stands near them: skip-gram with negative sampling.
//
//   word2vec                                  a made-up text with subjects, no download
//   word2vec --data dickens.txt               any text; judged pairs are looked for in wordvec/ beside it
#include <chrono>
#include <cstdio>

#include "common/run_state.h"
#include "word2vec/pairs.h"

using namespace tenrec;
using namespace examples;

namespace {

class WordVectors : public Module {
 public:
  WordVectors(int64_t words, int64_t d)
      : input((rand({words, d}) - 0.5) * (1 / double(d))), output(zeros({words, d})) {}
  void visit(Visitor& v) override {
    v("input", input);
    v("output", output);
  }
  Tensor input, output;
};

struct Options {
  int64_t dim = 100, min_count = 5;
  PairOptions pairs;
};

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

std::string text_of(const Flags& flags) {
  if (flags.data.empty()) return subjects_text(20'000);
  const std::vector<uint8_t> bytes = read_file(flags.data, int64_t(1) << 33);
  return {bytes.begin(), bytes.end()};
}

nlohmann::ordered_json train_vectors(const Flags& flags, const Options& options) {
  const Words words = read_words(text_of(flags), options.min_count);
  const std::string pairs_file = join_path(folder_of(flags.data), "wordvec/EN-WS-353-ALL.txt");
  const bool judged_by_people = !flags.data.empty() && is_file(pairs_file);
  WordVectors model(int64_t(words.names.size()), options.dim);
  const double first_rate = flags.lr > 0 ? flags.lr : 0.025, last_rate = 1e-4;
  SGD optimizer(parameters(model), {.lr = first_rate});  // for the run state only: steps are in place
  const Run state{concat("word2vec ", options.dim), model, optimizer};
  Progress progress;
  if (!flags.resume.empty()) progress = load_run(flags.resume, state);
  const PairSource source(words, options.pairs);
  const int64_t epochs = flags.epochs > 0 ? flags.epochs : 5, total = epochs * source.pieces();
  const int64_t last = flags.steps > 0 ? std::min(flags.steps, total) : total;
  if (!flags.quiet) std::printf("%zu words, %zu of them different\n", words.text.size(), words.names.size());
  catch_signals();
  const auto start = std::chrono::steady_clock::now();
  int64_t seen = 0, pairs = 0;
  const NoGrad guard;
  for (; progress.step < last && !interrupted(); ++progress.step) {
    const int64_t epoch = progress.step / source.pieces(), piece = progress.step % source.pieces();
    const PairSource::Batch batch = source.pairs(epoch, piece);
    const double rate = first_rate - (first_rate - last_rate) * double(progress.step) / double(total);
    seen += batch.words;
    if (batch.centers.defined()) {
      const Tensor loss =
          skip_gram_step_(model.input, model.output, batch.centers, batch.contexts, batch.negatives, rate);
      progress.loss_sum += loss.item<double>() * double(batch.centers.numel());
      progress.loss_count += batch.centers.numel();
      pairs += batch.centers.numel();
    }
    if (piece + 1 < source.pieces()) continue;
    progress.last_loss = progress.loss_sum / double(std::max<int64_t>(progress.loss_count, 1));
    progress.loss_sum = 0;
    progress.loss_count = 0;
    if (!flags.quiet) std::printf("epoch %ld/%ld  loss %.4f\n", long(epoch + 1), long(epochs), progress.last_loss);
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!flags.save.empty()) save_run(flags.save, state, progress);
  const double loss = progress.loss_count > 0 ? progress.loss_sum / double(progress.loss_count) : progress.last_loss;
  const double agreement =
      rank_correlation(model.input, words, judged_by_people ? read_judged(pairs_file) : subjects_judged());
  return {{"example", "word2vec"},
          {"model", "skip-gram"},
          {"data", flags.data.empty() ? "subjects" : flags.data},
          {"device", flags.device},
          {"threads", num_threads()},
          {"seed", flags.seed},
          {"epochs", epochs},
          {"steps", progress.step},
          {"train_loss", loss},
          {judged_by_people ? "wordsim353" : "spearman", agreement},
          {"seconds", seconds},
          {"words_per_second", double(seen) / seconds},
          {"pairs_per_second", double(pairs) / seconds},
          {"peak_rss_mb", peak_rss_mb()},
          {"weights_sha256", weights_sha256(model)}};
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Learns vectors of words from the words near them", "word2vec");
  Flags flags;
  Options options;
  add_common_flags(app, flags);
  app.add_option("--dim", options.dim, "Length of a vector")->check(CLI::PositiveNumber);
  app.add_option("--min-count", options.min_count, "Leave out rarer words")->check(CLI::PositiveNumber);
  app.add_option("--window", options.pairs.window, "Words to each side")->check(CLI::PositiveNumber);
  app.add_option("--negative", options.pairs.negatives, "Drawn words a pair")->check(CLI::PositiveNumber);
  app.add_option("--sample", options.pairs.sample, "Thin out words above this share, 0: none")
      ->check(CLI::NonNegativeNumber);
  return run_app(app, argc, argv, [&] {
    apply(flags);
    refuse_flags(app, {"--download", "--batch-size"});
    options.pairs.seed = flags.seed;
    print_result(train_vectors(flags, options));
  });
}
