// Vectors of words from what stands near them: skip-gram with negative sampling, or GloVe.
//
//   word2vec                                  a made-up text with subjects, no download
//   word2vec --data dickens.txt               any text; judged pairs are looked for in wordvec/ beside it
#include <chrono>
#include <cstdio>

#include "common/run_state.h"
#include "tenrec/core/bounded_reader.h"
#include "tenrec/data/permutation.h"
#include "word2vec/glove.h"
#include "word2vec/pairs.h"

using namespace tenrec;
using namespace examples;

namespace {

struct Options {
  std::string model = "skip-gram";
  int64_t dim = 100, min_count = 5;
  PairOptions pairs;
};

class WordVectors : public Module {
 public:
  // The words' own vectors begin within 1 / d of 0, as gensim's do; the others at 0.
  WordVectors(int64_t words, int64_t d)
      : input((rand({words, d}) - 0.5) * (2 / double(d))), output(zeros({words, d})) {}
  void visit(Visitor& v) override {
    v("input", input);
    v("output", output);
  }
  Tensor input, output;
};

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

struct Corpus {
  Words words;
  std::vector<Judged> judged;
  const char* measure = "spearman";
};

Corpus read_corpus(const Flags& flags, int64_t min_count) {
  if (flags.data.empty()) {
    Corpus corpus{read_words(subjects_text(20'000), min_count), subjects_judged()};
    corpus.words.name = "subjects";
    return corpus;
  }
  constexpr const char* kName = "dickens.txt";
  std::string file = flags.data;
  if (is_folder(file)) {
    file = join_path(file, kName);
    if (!is_file(file)) fail<IOError>(flags.data, ": has no ", kName, "; --data is that folder, or a text file");
  }
  const std::vector<uint8_t> bytes = read_file(file, int64_t(1) << 32);
  Corpus corpus{read_words({bytes.begin(), bytes.end()}, min_count), {}};
  const size_t slash = file.rfind('/');
  corpus.words.name = file.substr(slash == std::string::npos ? 0 : slash + 1);
  const std::string pairs = join_path(folder_of(file), "wordvec/EN-WS-353-ALL.txt");
  if (is_file(pairs)) {
    corpus.judged = read_judged(pairs);
    corpus.measure = "wordsim353";
  }
  return corpus;
}

// What both ways of training share: where the run stands, when it ends and what it says on the way.
class Training {
 public:
  Training(const Flags& flags, const Run& run, int64_t pieces, int64_t usual_epochs)
      : epochs(flags.epochs > 0 ? flags.epochs : usual_epochs),
        total(epochs * pieces),
        flags_(flags),
        run_(run),
        pieces_(pieces),
        last_(flags.steps > 0 ? std::min(flags.steps, total) : total) {
    if (!flags.resume.empty()) progress_ = load_run(flags.resume, run);
    catch_signals();
  }
  bool goes_on() const { return progress_.step < last_ && !interrupted(); }
  int64_t epoch() const { return progress_.step / pieces_; }
  int64_t piece() const { return progress_.step % pieces_; }
  double done() const { return double(progress_.step) / double(total); }
  // A piece of `words` words gave `pairs` pairs of this mean loss.
  void add(int64_t words, int64_t pairs, double loss) {
    words_ += words;
    examples_ += pairs;
    progress_.loss_sum += loss * double(pairs);
    progress_.loss_count += pairs;
    if (++progress_.step % pieces_ != 0) return;
    progress_.end_epoch();
    if (flags_.quiet) return;
    std::printf("epoch %ld/%ld  loss %.4f\n", long(progress_.step / pieces_), long(epochs), progress_.last_loss);
    std::fflush(stdout);
  }
  // Saves if asked, and what the report says of the training.
  nlohmann::ordered_json end() const {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    finish_run(flags_, run_, progress_);
    nlohmann::ordered_json results = {{"epochs", epochs},
                                      {"steps", progress_.step},
                                      {"train_loss", progress_.mean_loss()},
                                      {"seconds", seconds},
                                      {"samples_per_second", double(examples_) / seconds}};
    if (words_ > 0) results["words_per_second"] = double(words_) / seconds;
    results["weights_sha256"] = weights_sha256(run_.model);
    return results;
  }

  const int64_t epochs, total;

 private:
  const Flags& flags_;
  const Run& run_;
  Progress progress_;
  int64_t pieces_, last_, words_ = 0, examples_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

struct Trained {
  Tensor vectors;
  nlohmann::ordered_json results;
};

Trained train_skip_gram(const Flags& flags, const Options& options, const Words& words) {
  WordVectors model(int64_t(words.names.size()), options.dim);
  const double first_rate = flags.lr > 0 ? flags.lr : 0.025, last_rate = 1e-4;
  SGD optimizer(parameters(model), {.lr = first_rate});  // for the run state only: steps are in place
  const Run run{concat("word2vec skip-gram ", options.dim), model, optimizer};
  const PairSource source(words, options.pairs);
  Training training(flags, run, source.pieces(), 5);
  const NoGrad guard;
  while (training.goes_on()) {
    const PairSource::Batch batch = source.pairs(training.epoch(), training.piece());
    const double rate = first_rate - (first_rate - last_rate) * training.done();
    double loss = 0;
    if (batch.centers.defined())
      loss = skip_gram_step_(model.input, model.output, batch.centers, batch.contexts, batch.negatives, rate)
                 .item<double>();
    training.add(batch.words, batch.centers.defined() ? batch.centers.numel() : 0, loss);
  }
  return {model.input, training.end()};
}

// Pairs in an order of their own for each epoch, `batch_size` to a step. The squares are summed, not averaged: Adagrad
// is to see what a word's row gets as if its pairs came one by one.
Trained train_glove(const Flags& flags, const Options& options, const Words& words) {
  const Cooccurrences pairs = count_neighbours(words, options.pairs.window);
  if (pairs.size() == 0) fail<ValueError>("the text has no two words beside each other");
  GloveVectors model(int64_t(words.names.size()), options.dim);
  Adagrad optimizer(parameters(model), {.lr = flags.lr > 0 ? flags.lr : 0.05, .initial_accumulator_value = 1});
  const Run run{concat("word2vec glove ", options.dim), model, optimizer};
  const int64_t batch_size = flags.batch_size > 0 ? flags.batch_size : std::clamp<int64_t>(pairs.size() / 500, 1, 8192);
  const int64_t pieces = (pairs.size() + batch_size - 1) / batch_size;
  Training training(flags, run, pieces, 15);
  Permutation order;
  int64_t order_of = -1;
  std::vector<int64_t> a, b;
  std::vector<float> count;
  while (training.goes_on()) {
    if (training.epoch() != order_of) {
      order_of = training.epoch();
      order = Permutation(pairs.size(), flags.seed, uint64_t(order_of));
    }
    a.clear();
    b.clear();
    count.clear();
    const int64_t begin = training.piece() * batch_size, end = std::min(begin + batch_size, pairs.size());
    for (int64_t i = begin; i < end; ++i) {
      const auto at = size_t(order[i]);
      a.push_back(pairs.a[at]);
      b.push_back(pairs.b[at]);
      count.push_back(pairs.count[at]);
    }
    const int64_t n = end - begin;
    const Device device = default_device();
    const Tensor loss = sum(model.losses(from_vector(a, {n}).to(device), from_vector(b, {n}).to(device),
                                         from_vector(count, {n}).to(device)));
    optimizer.zero_grad();
    backward(loss);
    optimizer.step();
    training.add(0, n, loss.item<double>() / double(n));
  }
  return {model.vectors(), training.end()};
}

void run(const Flags& flags, const Options& options) {
  const Corpus corpus = read_corpus(flags, options.min_count);
  const Words& words = corpus.words;
  if (!flags.quiet)
    std::printf("%s on %s: %zu words, %zu of them different\n", options.model.c_str(), words.name.c_str(),
                words.text.size(), words.names.size());
  const Trained trained =
      options.model == "glove" ? train_glove(flags, options, words) : train_skip_gram(flags, options, words);
  nlohmann::ordered_json results = trained.results;
  if (!corpus.judged.empty()) results[corpus.measure] = rank_correlation(trained.vectors, words, corpus.judged);
  print_result(report(flags, "word2vec", options.model, words.name, results));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Learns vectors of words from the words near them", "word2vec");
  Flags flags;
  Options options;
  add_common_flags(app, flags);
  app.add_option("--model", options.model, "skip-gram or glove")->check(CLI::IsMember({"skip-gram", "glove"}));
  app.add_option("--dim", options.dim, "Length of a vector")->check(CLI::PositiveNumber);
  app.add_option("--min-count", options.min_count, "Leave out rarer words")->check(CLI::PositiveNumber);
  app.add_option("--window", options.pairs.window, "Words to each side")->check(CLI::PositiveNumber);
  app.add_option("--negative", options.pairs.negatives, "Skip-gram: drawn words a pair")->check(CLI::PositiveNumber);
  app.add_option("--sample", options.pairs.sample, "Skip-gram: thin out words above this share, 0: none")
      ->check(CLI::NonNegativeNumber);
  return run_app(app, argc, argv, [&] {
    apply(flags);
    refuse_flags(app, {"--download", "--dtype", "--capture"});
    if (options.model == "glove")
      refuse_flags(app, {"--negative", "--sample"});
    else
      refuse_flags(app, {"--batch-size"});
    options.pairs.seed = flags.seed;
    run(flags, options);
  });
}
