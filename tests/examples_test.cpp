// Every example program, shortened, as a user starts it: a process of its own in a fresh folder. What it prints, the
// files it leaves, and what it says when something is wrong.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "support/files.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using nlohmann::json;
using testing::Bytes;
using testing::slurp;
using testing::spit;
using testing::spit_text;
using testing::TempFolder;
using Arguments = std::vector<std::string>;

constexpr auto kLimit = std::chrono::seconds(600);  // finds what hangs, not what is slow

struct Outcome {
  int status = -1;  // of exit; -1000 - signal if one ended it
  std::string out, err;

  std::vector<std::string> lines() const {
    std::istringstream in(out);
    std::vector<std::string> all;
    for (std::string line; std::getline(in, line);) all.push_back(line);
    return all;
  }
  // The object on the last line of stdout.
  json result() const {
    const auto all = lines();
    json value = all.empty() ? json() : json::parse(all.back(), nullptr, false);
    EXPECT_TRUE(value.is_object()) << out << err;
    return value.is_object() ? value : json::object();
  }
  std::string sha() const { return result().value("weights_sha256", ""); }
};

struct Conditions {
  int64_t file_limit = 0;                                                     // largest file it may write; 0: any
  std::vector<std::pair<std::string, std::string>> environment = {};          // set for it
  std::function<void(pid_t, const std::string& out_so_far)> watch = nullptr;  // called whenever it has printed
};

std::string program(const std::string& name) { return std::string(TENREC_BINARY_DIR) + "/examples/" + name; }

class Child {
 public:
  Child(const std::string& folder, const std::string& name, const Arguments& arguments, const Conditions& conditions) {
    int out[2], err[2];
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
    const std::string path = program(name);
    std::vector<char*> argv{const_cast<char*>(path.c_str())};
    for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(out[1], STDOUT_FILENO);
      dup2(err[1], STDERR_FILENO);
      if (chdir(folder.c_str()) != 0) _exit(126);
      for (const auto& [key, value] : conditions.environment) setenv(key.c_str(), value.c_str(), 1);
      if (conditions.file_limit > 0) {  // as on a full disk, write() fails; the signal is left out
        const auto bytes = rlim_t(conditions.file_limit);
        const rlimit limit{bytes, bytes};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
      }
      execv(path.c_str(), argv.data());
      _exit(127);
    }
    close(out[1]);
    close(err[1]);
    out_ = out[0];
    err_ = err[0];
  }
  ~Child() {
    close(out_);
    close(err_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  Outcome wait(const Conditions& conditions) {
    Outcome outcome;
    const auto end = std::chrono::steady_clock::now() + kLimit;
    pollfd fds[] = {{out_, POLLIN, 0}, {err_, POLLIN, 0}};
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
      if (std::chrono::steady_clock::now() > end) {
        ADD_FAILURE() << "not ended after " << kLimit.count() << " s: " << outcome.out << outcome.err;
        kill(pid_, SIGKILL);
        break;
      }
      poll(fds, 2, 200);
      for (pollfd& fd : fds) {
        if (fd.fd < 0 || !(fd.revents & (POLLIN | POLLHUP))) continue;
        char buffer[4096];
        const ssize_t n = read(fd.fd, buffer, sizeof buffer);
        if (n > 0)
          (&fd == fds ? outcome.out : outcome.err).append(buffer, size_t(n));
        else
          fd.fd = -1;
        if (n > 0 && &fd == fds && conditions.watch) conditions.watch(pid_, outcome.out);
      }
    }
    int status = 0;
    waitpid(pid_, &status, 0);
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1000 - WTERMSIG(status);
    return outcome;
  }

 private:
  pid_t pid_ = 0;
  int out_ = -1, err_ = -1;
};

Outcome run(const TempFolder& folder, const std::string& name, const Arguments& arguments,
            const Conditions& conditions = {}) {
  return Child(folder.path(), name, arguments, conditions).wait(conditions);
}

Outcome succeed(const TempFolder& folder, const std::string& name, const Arguments& arguments,
                const Conditions& conditions = {}) {
  Outcome outcome = run(folder, name, arguments, conditions);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  return outcome;
}

// Exit status not 0, no result, one line on stderr with all of `parts`, and no file that was not there before.
void expect_one_line_error(const TempFolder& folder, const std::string& name, const Arguments& arguments,
                           const std::vector<std::string>& parts, const Conditions& conditions = {}) {
  const auto before = folder.list();
  const Outcome outcome = run(folder, name, arguments, conditions);
  EXPECT_GT(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  for (const std::string& part : parts) EXPECT_CONTAINS(outcome.err, part);
  EXPECT_EQ(outcome.out.find('{'), std::string::npos) << outcome.out;
  EXPECT_EQ(folder.list(), before);
}

// What the last line of a program that trains must hold, and that it makes sense. `measure`: what its test gives.
void expect_run(const json& report, const std::string& example, const std::string& data, const char* measure) {
  for (const char* key :
       {"example", "model", "data", "device", "dtype", "captured", "threads", "seed", "epochs", "steps", "train_loss",
        measure, "seconds", "samples_per_second", "peak_rss_mb", "weights_sha256"})
    EXPECT_TRUE(report.contains(key)) << example << " reports no " << key << ": " << report;
  EXPECT_EQ(report.value("example", ""), example);
  EXPECT_EQ(report.value("data", ""), data);
  EXPECT_EQ(report.value("device", ""), "cpu");
  EXPECT_GT(report.value("steps", 0), 0);
  for (const char* key : {"seconds", "samples_per_second", "peak_rss_mb", "train_loss"})
    EXPECT_GT(report.value(key, -1.0), 0) << key;
  const std::string sha = report.value("weights_sha256", "");
  EXPECT_EQ(sha.size(), 64u);
  EXPECT_EQ(sha.find_first_not_of("0123456789abcdef"), std::string::npos) << sha;
}

void expect_report(const json& report, const std::string& example, const std::string& data) {
  expect_run(report, example, data, "test_accuracy");
  const double accuracy = report.value("test_accuracy", -1.0);
  EXPECT_TRUE(accuracy >= 0 && accuracy <= 100) << accuracy;
}

void expect_picture(const std::string& path) {
  const Picture picture = read_png(path);
  ASSERT_GE(picture.width, 100) << path;
  ASSERT_GE(picture.height, 100) << path;
  const std::set<uint8_t> shades(picture.pixels.begin(), picture.pixels.end());
  EXPECT_GT(shades.size(), 3u) << path << " is a blank";
}

void put_be32(Bytes& out, int64_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(uint8_t(value >> shift));
}

Bytes idx(const std::vector<int64_t>& shape, const std::vector<uint8_t>& data) {
  Bytes out{0, 0, 8, uint8_t(shape.size())};
  for (const int64_t n : shape) put_be32(out, n);
  out.insert(out.end(), data.begin(), data.end());
  return out;
}

// A folder with few digits under MNIST's names, half of the files compressed.
void write_tiny_mnist(const std::string& folder, int64_t train_count = 320, int64_t test_count = 100) {
  std::filesystem::create_directories(folder);
  for (const Split split : {Split::train, Split::test}) {
    const int64_t n = split == Split::train ? train_count : test_count;
    const ImageSet set = make_digits(split, kDigitSeed, 0, n);
    const std::string base = folder + (split == Split::train ? "/train" : "/t10k");
    spit(base + "-images-idx3-ubyte", idx({n, 28, 28}, set.pixels));
    spit(base + "-labels-idx1-ubyte.gz", testing::gzip(idx({n}, set.labels)));
  }
}

// The same of shapes under CIFAR-10's names.
void write_tiny_cifar(const std::string& folder) {
  std::filesystem::create_directories(folder);
  const auto records = [](Split split, int64_t first, int64_t n) {
    const ImageSet set = make_shapes(split, kShapeSeed, first, n);
    Bytes out;
    for (int64_t i = 0; i < n; ++i) {
      out.push_back(set.labels[size_t(i)]);
      out.insert(out.end(), set.image(i), set.image(i) + set.pixels_per_image());
    }
    return out;
  };
  for (int batch = 1; batch <= 5; ++batch)
    spit(concat(folder, "/data_batch_", batch, ".bin"), records(Split::train, batch * 64, 64));
  spit(folder + "/test_batch.bin.gz", testing::gzip(records(Split::test, 0, 100)));
}

class Examples : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(program("mnist"))) GTEST_SKIP() << "skipped, the examples are not built";
  }
  Arguments tiny(Arguments more, const std::string& model = "mlp") {
    if (!std::filesystem::exists(data_)) write_tiny_mnist(data_);
    Arguments all{"--data", data_, "--model", model, "--batch-size", "64", "--quiet"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  TempFolder folder_, data_folder_;
  std::string data_ = data_folder_ / "tiny";
};

TEST_F(Examples, TensorTour) {
  const Outcome outcome = succeed(folder_, "tensor_tour", {});
  const json report = outcome.result();
  EXPECT_EQ(report.value("example", ""), "tensor_tour");
  EXPECT_EQ(report.value("live_tensors", -1), 0);
  EXPECT_CONTAINS(outcome.out, "matmul: ");  // the errors that it shows
  EXPECT_EQ(succeed(folder_, "tensor_tour", {}).out, outcome.out);
  EXPECT_NE(succeed(folder_, "tensor_tour", {"--seed", "2"}).out, outcome.out);
}

TEST_F(Examples, Xor) {
  const Outcome outcome = succeed(folder_, "xor", {"--picture", "xor.png"});
  const json report = outcome.result();
  expect_report(report, "xor", report.value("data", "none"));
  EXPECT_EQ(report.value("test_accuracy", 0.0), 100);
  EXPECT_LT(report.value("train_loss", 1.0), 0.05);
  expect_picture(folder_ / "xor.png");
  EXPECT_GT(outcome.lines().size(), 1u);
  const Outcome whole = succeed(folder_, "xor", {"--quiet"});
  EXPECT_EQ(whole.lines().size(), 1u);
  succeed(folder_, "xor", {"--quiet", "--steps", "700", "--save", "xor.state"});
  EXPECT_EQ(succeed(folder_, "xor", {"--quiet", "--resume", "xor.state"}).sha(), whole.sha());
  expect_one_line_error(folder_, "xor", {"--batch-size", "3"}, {"--batch-size", "means nothing"});
}

TEST_F(Examples, Overfit) {
  const json report = succeed(folder_, "overfit", {"--epochs", "5", "--picture", "curves.png"}).result();
  expect_report(report, "overfit", "digits");
  EXPECT_EQ(report.value("runs", json::array()).size(), 4u);
  expect_picture(folder_ / "curves.png");
}

TEST_F(Examples, Gpt) {
  const Arguments small{"--quiet", "--layers", "2", "--width", "32", "--context", "16"};
  const auto with = [&](Arguments more, const char* steps = "40") {
    more.insert(more.end(), {"--steps", steps});
    more.insert(more.begin(), small.begin(), small.end());
    return more;
  };
  const Outcome first = succeed(folder_, "gpt", with({"--generate", "30", "--prompt", "The "}));
  const json report = first.result();
  EXPECT_EQ(report.value("data", ""), "grammar");
  EXPECT_EQ(report.value("steps", 0), 40);
  EXPECT_GT(report.value("tokens_per_second", 0.0), 0);
  EXPECT_LT(report.value("validation_loss", 9.0), 3.2);  // 3.8 is a guess among all characters
  EXPECT_CONTAINS(first.out, "The ");
  EXPECT_EQ(succeed(folder_, "gpt", with({"--generate", "30", "--prompt", "The "})).lines()[0], first.lines()[0]);
  EXPECT_EQ(succeed(folder_, "gpt", with({"--threads", "3"})).sha(), first.sha());
  const json pairs = succeed(folder_, "gpt", with({"--tokens", "bpe", "--vocabulary", "300"})).result();
  EXPECT_EQ(pairs.value("tokens", ""), "bpe");
  EXPECT_LT(pairs.value("validation_loss", 9.0), 5.0);  // 5.7 is a guess
  // Cut short and taken up again; dropout draws as it would have.
  const std::string whole = succeed(folder_, "gpt", with({"--dropout", "0.1"})).sha();
  succeed(folder_, "gpt", with({"--dropout", "0.1", "--save", "gpt.state"}, "15"));
  EXPECT_EQ(succeed(folder_, "gpt", with({"--dropout", "0.1", "--resume", "gpt.state"})).sha(), whole);
  expect_one_line_error(folder_, "gpt", with({"--tokens", "bpe", "--resume", "gpt.state"}),
                        {"gpt.state", "32 wide, characters"});
  spit(folder_ / "short.txt", Bytes(9, 'x'));
  expect_one_line_error(folder_, "gpt", with({"--data", "short.txt"}), {"short: 9 tokens are too few"});
  expect_one_line_error(folder_, "gpt", with({"--data", "none.txt"}), {"none.txt"});
  expect_one_line_error(folder_, "gpt", with({"--generate", "3", "--prompt", "#"}), {"'#'", "not in the vocabulary"});
  expect_one_line_error(folder_, "gpt", with({"--epochs", "3"}), {"--epochs means nothing"});
}

// A run cut short and taken up again, with other threads, ends as the whole one.
void expect_resumes(const TempFolder& folder, const std::string& name, Arguments arguments, const char* half,
                    const std::string& whole) {
  arguments.push_back("--quiet");
  const auto with = [&](Arguments more) {
    more.insert(more.begin(), arguments.begin(), arguments.end());
    return succeed(folder, name, more);
  };
  with({"--steps", half, "--save", "half", "--threads", "1"});
  EXPECT_EQ(with({"--resume", "half", "--threads", "3"}).sha(), whole);
}

TEST_F(Examples, Translate) {
  for (const char* model : {"gru", "transformer"}) {
    SCOPED_TRACE(model);
    const Arguments small{"--model", model, "--width", "48", "--heads", "2", "--epochs", "4", "--lr", "0.006"};
    Arguments first = small;
    first.insert(first.end(), {"--translate", "Two kings laugh.", "--beams", "2"});
    const Outcome outcome = succeed(folder_, "translate", first);
    const json report = outcome.result();
    expect_run(report, "translate", "grammar", "bleu");
    EXPECT_EQ(report.value("model", ""), model);
    EXPECT_GT(report.value("bleu", 0.0), 5) << model << " learned nothing";
    EXPECT_LT(report.value("validation_loss", 9.0), 2.5);
    EXPECT_CONTAINS(outcome.out, "epoch 4/4");
    expect_resumes(folder_, "translate", small, "200", outcome.sha());
  }
  expect_one_line_error(folder_, "translate", {"--resume", "half", "--model", "gru"}, {"half", "translate gru 1 x 64"});
  expect_one_line_error(folder_, "translate", {"--data", folder_ / "nowhere"},
                        {folder_ / "nowhere", "train.en", "Multi30k"});
  expect_one_line_error(folder_, "translate", {"--heads", "7"}, {"--width must be a multiple of --heads", "64 and 7"});
  // A corpus of files, and what is wrong with them.
  const std::string corpus = folder_ / "corpus";
  std::filesystem::create_directories(corpus);
  for (const char* part : {"train", "val", "test_2016_flickr"}) {
    std::string en, de;
    for (int i = 0; i < 80; ++i) {
      en += i % 2 ? "a small dog runs away\n" : "an old cat sleeps here\n";
      de += i % 2 ? "ein kleiner Hund rennt weg\n" : "eine alte Katze schläft hier\n";
    }
    spit_text(concat(corpus, "/", part, ".en"), en);
    spit(concat(corpus, "/", part, ".de.gz"), testing::gzip(Bytes(de.begin(), de.end())));
  }
  const Arguments own{"--data", corpus, "--vocabulary", "280", "--batch-size", "8", "--epochs", "10"};
  const Outcome known = succeed(folder_, "translate", own);
  EXPECT_EQ(known.result().value("data", ""), "multi30k");
  EXPECT_GT(known.result().value("bleu", 0.0), 99);  // two sentences are soon known by heart
  EXPECT_CONTAINS(known.out, "eine alte Katze schläft hier");
  spit_text(corpus + "/val.en", "one line\n");
  expect_one_line_error(folder_, "translate", own, {"val.en", "80", "1"});
  spit_text(corpus + "/val.en", "bad \xff\n");
  expect_one_line_error(folder_, "translate", own, {"val.en", "UTF-8"});
}

TEST_F(Examples, Mlm) {
  const Arguments small{"--width", "48", "--heads", "2", "--layers", "2", "--context", "32"};
  const auto with = [&](Arguments more) {
    more.insert(more.begin(), small.begin(), small.end());
    return more;
  };
  const Outcome outcome =
      succeed(folder_, "mlm", with({"--steps", "120", "--fill", "The king sees the <mask> in the garden."}));
  const json report = outcome.result();
  EXPECT_EQ(report.value("data", ""), "grammar");
  EXPECT_EQ(report.value("steps", 0), 120);
  EXPECT_GT(report.value("below_unigram", 0.0), 0.15) << "it learned nothing";
  EXPECT_NEAR(report.value("unigram_loss", 0.0) - report.value("validation_loss", 9.0),
              report.value("below_unigram", 0.0), 1e-9);
  EXPECT_CONTAINS(outcome.out, "The king sees the");
  EXPECT_EQ(outcome.out.find("<mask>"), std::string::npos);
  Arguments quiet = with({"--quiet", "--steps"});
  quiet.push_back("60");
  const std::string whole = succeed(folder_, "mlm", quiet).sha();
  quiet.back() = "25";
  quiet.insert(quiet.end(), {"--save", "half", "--threads", "1"});
  succeed(folder_, "mlm", quiet);
  EXPECT_EQ(succeed(folder_, "mlm", with({"--quiet", "--steps", "60", "--resume", "half", "--threads", "3"})).sha(),
            whole);
  expect_one_line_error(folder_, "mlm", {"--resume", "half"}, {"half", "2 layers"});
  expect_one_line_error(folder_, "mlm", with({"--fill", "The king sleeps."}), {"--fill", "no <mask>"});
  std::string text;
  for (int i = 0; i < 200; ++i) text += "one \xe9 two three four\n";
  spit_text(folder_ / "latin.txt", text);  // read with U+FFFD for what is not UTF-8
  EXPECT_EQ(succeed(folder_, "mlm", with({"--data", "latin.txt", "--vocabulary", "270", "--steps", "3"}))
                .result()
                .value("data", ""),
            "latin");
  spit_text(folder_ / "short.txt", "one two three");
  expect_one_line_error(folder_, "mlm", with({"--data", "short.txt"}), {"short: ", "tokens are too few", "320"});
}

TEST_F(Examples, MnistOnDigits) {
  for (const char* model : {"mlp", "lenet", "cnn"}) {
    const bool pictured = std::string(model) == "mlp";
    Arguments arguments{"--model", model, "--batch-size", "64", "--train-size", "640", "--epochs", "1"};
    if (pictured) arguments.insert(arguments.end(), {"--picture", "wrong.png"});
    const Outcome outcome = succeed(folder_, "mnist", arguments);
    const json report = outcome.result();
    expect_report(report, "mnist", "digits");
    EXPECT_EQ(report.value("model", ""), model);
    EXPECT_EQ(report.value("epochs", 0), 1);
    EXPECT_EQ(report.value("steps", 0), 10);
    EXPECT_GT(report.value("test_accuracy", 0.0), 20) << model << " learned nothing";
    EXPECT_LT(report.value("train_loss", 9.0), 2.4);
    EXPECT_CONTAINS(outcome.out, "epoch 1/1");  // a line an epoch in a pipe, and no bar
    EXPECT_EQ(outcome.out.find('\r'), std::string::npos);
    if (pictured) expect_picture(folder_ / "wrong.png");
  }
}

TEST_F(Examples, Cifar10) {
  const Outcome outcome = succeed(folder_, "cifar10",
                                  {"--train-size", "12800", "--epochs", "1", "--batch-size", "64", "--lr", "0.1",
                                   "--width", "8", "--test-size", "500", "--picture", "wrong.png"});
  const json report = outcome.result();
  expect_report(report, "cifar10", "shapes");
  EXPECT_EQ(report.value("model", ""), "small");
  EXPECT_GT(report.value("test_accuracy", 0.0), 20) << "it learned nothing";
  expect_picture(folder_ / "wrong.png");
  write_tiny_cifar(folder_ / "data");
  const auto with = [&](Arguments more) {
    more.insert(more.begin(),
                {"--data", folder_ / "data", "--batch-size", "32", "--quiet", "--epochs", "2", "--cutout", "8"});
    return succeed(folder_, "cifar10", more).result();
  };
  // Augmentation and running statistics are part of what a resumed run goes on with, and threads change nothing.
  const json whole = with({});
  expect_report(whole, "cifar10", "cifar10");
  EXPECT_EQ(whole.value("steps", 0), 20);
  with({"--steps", "7", "--save", "half", "--threads", "1"});
  const json end = with({"--resume", "half", "--threads", "3"});
  EXPECT_EQ(end["weights_sha256"], whole["weights_sha256"]);
  EXPECT_EQ(end["test_accuracy"], whole["test_accuracy"]);
  EXPECT_EQ(with({"--model", "resnet9", "--steps", "1"}).value("model", ""), "resnet9");
  const std::string batch = folder_ / "data/data_batch_3.bin";
  const Bytes bytes = slurp(batch);
  spit(batch, Bytes(bytes.begin(), bytes.end() - 1));
  expect_one_line_error(folder_, "cifar10", {"--data", folder_ / "data"}, {batch, "CIFAR record"});
  std::filesystem::remove(batch);
  expect_one_line_error(folder_, "cifar10", {"--data", folder_ / "data"}, {batch, "does not exist"});
  expect_one_line_error(folder_, "cifar10", {"--data", folder_ / "no"}, {"CIFAR-10", "not a folder"});
}

TEST_F(Examples, Localize) {
  const Outcome outcome = succeed(
      folder_, "localize", {"--train-size", "1280", "--epochs", "1", "--test-size", "500", "--picture", "boxes.png"});
  const json report = outcome.result();
  expect_report(report, "localize", "digits");
  EXPECT_GT(report.value("mean_iou", 0.0), 0.2) << "it learned nothing";
  EXPECT_LE(report.value("mean_iou", 9.0), 1);
  EXPECT_CONTAINS(outcome.out, "test IoU ");
  expect_picture(folder_ / "boxes.png");
  write_tiny_mnist(data_);
  const auto steps = [&](Arguments more) {
    more.insert(more.begin(), {"--data", data_, "--quiet", "--epochs", "2"});
    return succeed(folder_, "localize", more).result();
  };
  const json whole = steps({});
  expect_report(whole, "localize", "mnist");
  steps({"--steps", "3", "--save", "half", "--threads", "1"});
  EXPECT_EQ(steps({"--resume", "half", "--threads", "3"})["weights_sha256"], whole["weights_sha256"]);
}

TEST_F(Examples, CharRnn) {
  for (const char* cell : {"rnn", "lstm", "gru"}) {
    const Arguments base{"--cell", cell, "--hidden", "48", "--layers", "2", "--epochs", "1", "--dropout", "0.1"};
    const auto with = [&](Arguments more) {
      more.insert(more.begin(), base.begin(), base.end());
      return more;
    };
    const Outcome outcome = succeed(folder_, "char_rnn", with({"--sample", "60", "--steps", "40"}));
    const json report = outcome.result();
    expect_run(report, "char_rnn", "grammar", "validation_loss");
    EXPECT_EQ(report.value("model", ""), cell);
    EXPECT_LT(report.value("validation_loss", 9.0), 3.2) << cell << " learned nothing";
    EXPECT_GT(report.value("validation_loss", 0.0), 0.3);
    // The carried state is part of what is saved, and the threads change nothing.
    const Arguments quiet{"--sample", "0", "--quiet", "--steps"};
    const auto steps = [&](const char* n, Arguments more) {
      more.insert(more.begin(), n);
      more.insert(more.begin(), quiet.begin(), quiet.end());
      return with(more);
    };
    succeed(folder_, "char_rnn", steps("15", {"--save", "half", "--threads", "1"}));
    EXPECT_EQ(succeed(folder_, "char_rnn", steps("40", {"--resume", "half", "--threads", "3"})).sha(), outcome.sha());
  }
  spit(folder_ / "short.txt", Bytes(100, 'x'));
  expect_one_line_error(folder_, "char_rnn", {"--data", folder_ / "short.txt"}, {"short", "100 bytes"});
  expect_one_line_error(folder_, "char_rnn", {"--data", folder_ / "nowhere"}, {folder_ / "nowhere"});
  expect_one_line_error(folder_, "char_rnn", {"--data", folder_.path()}, {"tinyshakespeare.txt", "--data"});
  expect_one_line_error(folder_, "char_rnn", {"--prompt", "#"}, {"no byte 35"});
  // A text that repeats itself is soon known by heart, and the likeliest characters go on with it.
  std::string line = "a tenrec has many small teeth; ", text;
  for (int i = 0; i < 400; ++i) text += line;
  spit(folder_ / "song.txt", Bytes(text.begin(), text.end()));
  const Outcome known = succeed(folder_, "char_rnn",
                                {"--data", folder_ / "song.txt", "--hidden", "64", "--bptt", "16", "--batch-size", "8",
                                 "--epochs", "3", "--temperature", "0", "--sample", "40", "--prompt", "a tenrec"});
  EXPECT_EQ(known.result().value("data", ""), "song");
  EXPECT_LT(known.result().value("validation_loss", 9.0), 0.1);
  EXPECT_CONTAINS(known.out, "a tenrec has many small teeth; a tenrec ");
}

TEST_F(Examples, Word2vec) {
  for (const char* model : {"skip-gram", "glove"}) {
    SCOPED_TRACE(model);
    const auto with = [&](Arguments more) {
      more.insert(more.end(), {"--model", model, "--dim", "16", "--epochs", "2", "--batch-size", "200"});
      if (std::string(model) == "skip-gram") more.resize(more.size() - 2);
      return more;
    };
    const Outcome outcome = succeed(folder_, "word2vec", with({}));
    const json report = outcome.result();
    expect_run(report, "word2vec", "subjects", "spearman");
    EXPECT_EQ(report.value("model", ""), model);
    EXPECT_GT(report.value("spearman", 0.0), 0.8);  // 0.87 is what a perfect order with ties has
    const double first = std::stod(outcome.out.substr(outcome.out.find("loss ") + 5));
    EXPECT_LT(report.value("train_loss", 9.0), first);
    succeed(folder_, "word2vec", with({"--quiet", "--steps", "50", "--save", "half", "--threads", "1"}));
    EXPECT_EQ(succeed(folder_, "word2vec", with({"--resume", "half", "--threads", "3"})).sha(), outcome.sha());
  }
  // Judged pairs are found beside the text.
  std::string text;
  for (int i = 0; i < 600; ++i) text += i / 20 % 2 ? "Sun and moon and stars. " : "bread with butter with jam ";
  std::filesystem::create_directories(folder_ / "wordvec");
  spit_text(folder_ / "dickens.txt", text);
  const std::string pairs = folder_ / "wordvec/EN-WS-353-ALL.txt";
  spit_text(pairs, "sun\tmoon\t9\nMoon\tstars\t9\nbread\tjam\t8.5\nsun\tbread\t1\nstars\tjam\t0.5\nsun\tunknown\t5\n");
  const json judged =
      succeed(folder_, "word2vec", {"--data", folder_.path(), "--epochs", "20", "--sample", "0"}).result();
  EXPECT_EQ(judged.value("data", ""), "dickens.txt");
  EXPECT_GT(judged.value("wordsim353", 0.0), 0.5);  // the least if no pair of one topic is below one of two
  spit_text(pairs, "sun\tmoon\t9\nsun moon\n");
  expect_one_line_error(folder_, "word2vec", {"--data", folder_.path()}, {pairs, "line 2"});
  spit_text(folder_ / "short.txt", "one word");
  expect_one_line_error(folder_, "word2vec", {"--data", folder_ / "short.txt"}, {"0 words that occur 5 times"});
  expect_one_line_error(folder_, "word2vec", {"--data", folder_ / "wordvec"}, {"dickens.txt", "--data"});
  expect_one_line_error(folder_, "word2vec", {"--model", "glove", "--negative", "3"}, {"--negative", "means nothing"});
}

TEST_F(Examples, Forecast) {
  const json report = succeed(folder_, "forecast", {"--steps", "150", "--picture", "series.png"}).result();
  expect_run(report, "forecast", "procedural", "rmse");
  expect_picture(folder_ / "series.png");
  EXPECT_LT(report.value("rmse", 1e9), report.value("rmse_seasonal_naive", 0.0));
  std::string csv = "\"Month\",\"Passengers\"\r\n";
  for (int month = 0; month < 96; ++month)
    csv += "\"m\"," + std::to_string(100 + month + 20 * (month % 12 == 6)) + "\r\n";
  spit(folder_ / "rows.csv", Bytes(csv.begin(), csv.end()));
  const json rows = succeed(folder_, "forecast", {"--data", folder_ / "rows.csv", "--steps", "5"}).result();
  EXPECT_DOUBLE_EQ(rows.value("rmse_seasonal_naive", 0.0), 12);  // a year is 12 more
  csv += "\"m\",none\r\n";
  spit(folder_ / "rows.csv", Bytes(csv.begin(), csv.end()));
  expect_one_line_error(folder_, "forecast", {"--data", folder_ / "rows.csv"}, {"line 98", "none"});
  spit(folder_ / "rows.csv", Bytes(csv.begin(), csv.begin() + 200));
  expect_one_line_error(folder_, "forecast", {"--data", folder_ / "rows.csv"}, {"rows.csv"});
}

TEST_F(Examples, Autoencoder) {
  const auto report = [&](Arguments more, const char* epochs = "2") {
    more.insert(more.end(), {"--train-size", "1280", "--epochs", epochs});
    const json result = succeed(folder_, "autoencoder", more).result();
    expect_run(result, "autoencoder", "digits", "test_loss");
    return result;
  };
  const json dense = report({"--picture", "pairs.png"});
  expect_picture(folder_ / "pairs.png");
  EXPECT_LT(dense.value("test_loss", 1.0), 0.09);  // black for all pixels is off by 0.1
  EXPECT_EQ(report({"--threads", "3"})["weights_sha256"], dense["weights_sha256"]);
  const json sparse = report({"--sparse", "0.1"});
  EXPECT_LT(sparse.value("active", 1.0), 0.7 * dense.value("active", 0.0));
  const json conv = report({"--model", "conv", "--noise", "0.5"}, "8");
  EXPECT_EQ(conv.value("model", ""), "conv");
  EXPECT_LT(conv.value("test_loss", 1.0), 0.09);
  expect_one_line_error(folder_, "autoencoder", {"--data", folder_ / "nowhere"}, {folder_ / "nowhere"});
}

TEST_F(Examples, Vae) {
  const auto with = [&](Arguments more) {
    more.insert(more.end(), {"--train-size", "1280", "--hidden", "64", "--latent", "8", "--epochs", "6", "--quiet"});
    return succeed(folder_, "vae", more);
  };
  const json whole = with({"--picture", "pairs.png", "--samples", "samples.png", "--walk", "walk.png"}).result();
  expect_run(whole, "vae", "digits", "test_loss");
  for (const char* name : {"pairs.png", "samples.png", "walk.png"}) expect_picture(folder_ / name);
  EXPECT_LT(whole.value("test_loss", 999.0), 300);
  EXPECT_GT(whole.value("test_kl", 0.0), 0.1);
  // The noise of the latent vectors is part of what is saved.
  with({"--steps", "7", "--save", "half"});
  const json end = with({"--resume", "half", "--threads", "3"}).result();
  EXPECT_EQ(end["weights_sha256"], whole["weights_sha256"]);
  EXPECT_EQ(end["test_loss"], whole["test_loss"]);
  expect_one_line_error(folder_, "vae", {"--picture", folder_ / "no/such.png"}, {folder_ / "no/such.png"});
}

TEST_F(Examples, Vanishing) {
  const json report =
      succeed(folder_, "vanishing", {"--steps", "20", "--hidden", "32", "--picture", "gradients.png"}).result();
  expect_run(report, "vanishing", "adding problem", "test_loss");
  expect_picture(folder_ / "gradients.png");
  EXPECT_LT(report.value("rnn_gradient_ratio", 1.0), 1e-6);  // the plain network's is gone
  for (const char* cell : {"lstm", "gru"}) EXPECT_GT(report.value(concat(cell, "_gradient_ratio"), 0.0), 1e-3);
}

TEST_F(Examples, SameSeedSameWeightsAnotherSeedOthers) {
  const std::string first = succeed(folder_, "mnist", tiny({"--epochs", "2"})).sha();
  EXPECT_EQ(succeed(folder_, "mnist", tiny({"--epochs", "2"})).sha(), first);
  EXPECT_NE(succeed(folder_, "mnist", tiny({"--epochs", "2", "--seed", "2"})).sha(), first);
}

TEST_F(Examples, WeightsDoNotDependOnTheThreads) {
  for (const char* model : {"mlp", "lenet", "cnn"}) {
    std::set<std::string> seen;
    for (const char* threads : {"1", "2", "3", "4", "8"}) {
      const json report = succeed(folder_, "mnist", tiny({"--steps", "4", "--threads", threads}, model)).result();
      EXPECT_EQ(report.value("threads", 0), std::stoi(threads));
      seen.insert(report.value("weights_sha256", std::string("none")));
    }
    EXPECT_EQ(seen.size(), 1u) << model;
  }
}

TEST_F(Examples, ResumedRunEndsAsAnUninterruptedOne) {
  for (const char* model : {"mlp", "cnn"}) {  // the cnn draws dropout masks
    const json whole = succeed(folder_, "mnist", tiny({"--epochs", "3"}, model)).result();
    EXPECT_EQ(whole.value("steps", 0), 15);
    const std::string state = std::string(model) + ".state";
    // In the middle of the first epoch, at the end of the second.
    const json early =
        succeed(folder_, "mnist", tiny({"--epochs", "3", "--steps", "3", "--save", state}, model)).result();
    EXPECT_EQ(early.value("steps", 0), 3);
    EXPECT_NE(early["weights_sha256"], whole["weights_sha256"]);
    succeed(folder_, "mnist", tiny({"--epochs", "3", "--steps", "10", "--resume", state, "--save", state}, model));
    const json end = succeed(folder_, "mnist", tiny({"--epochs", "3", "--resume", state}, model)).result();
    EXPECT_EQ(end["weights_sha256"], whole["weights_sha256"]) << model;
    EXPECT_EQ(end["train_loss"], whole["train_loss"]) << model;
    EXPECT_EQ(end["test_accuracy"], whole["test_accuracy"]) << model;
    EXPECT_EQ(end["steps"], whole["steps"]);
  }
}

TEST_F(Examples, MixedPrecision) {
  const json single = succeed(folder_, "mnist", tiny({"--epochs", "3"}, "lenet")).result();
  EXPECT_EQ(single.value("dtype", ""), "f32");
  for (const char* dtype : {"bf16", "f16"}) {
    SCOPED_TRACE(dtype);
    const auto run_with = [&](Arguments more) {
      more.insert(more.end(), {"--epochs", "3", "--dtype", dtype});
      return succeed(folder_, "mnist", tiny(more, "lenet")).result();
    };
    const json whole = run_with({});
    expect_report(whole, "mnist", "mnist");
    EXPECT_EQ(whole.value("dtype", ""), dtype);
    EXPECT_NE(whole["weights_sha256"], single["weights_sha256"]);
    EXPECT_NEAR(whole.value("train_loss", 9.0), single.value("train_loss", 0.0), 0.1);
    // The state has the loss scale of f16, which sinks in the first steps.
    const std::string state = concat(dtype, ".state");
    run_with({"--steps", "7", "--save", state});
    const json end = run_with({"--resume", state, "--threads", "3"});
    EXPECT_EQ(end["weights_sha256"], whole["weights_sha256"]);
    EXPECT_EQ(end["train_loss"], whole["train_loss"]);
    EXPECT_EQ(end["test_accuracy"], whole["test_accuracy"]);
    expect_one_line_error(folder_, "mnist", tiny({"--resume", state}, "lenet"), {state, concat("mnist lenet ", dtype)});
  }
  for (const char* name : {"xor", "overfit"})
    expect_one_line_error(folder_, name, {"--dtype", "bf16"}, {"--dtype", "means nothing"});
}

// Sends `number` after the first line about an epoch.
Conditions interrupt_with(int number) {
  return {.watch = [number, sent = false](pid_t pid, const std::string& out) mutable {
    if (sent || out.find("epoch 1/") == std::string::npos) return;
    sent = true;
    kill(pid, number);
  }};
}

TEST_F(Examples, SignalsSaveAndSaySo) {
  const std::string epochs = "400";
  Arguments arguments = tiny({"--epochs", epochs});
  std::erase(arguments, "--quiet");
  const json whole = succeed(folder_, "mnist", arguments).result();
  for (const int number : {SIGINT, SIGTERM}) {
    const std::string state = "signal" + std::to_string(number);
    Arguments saving = arguments;
    saving.insert(saving.end(), {"--save", state});
    const Outcome outcome = run(folder_, "mnist", saving, interrupt_with(number));
    EXPECT_EQ(outcome.status, 128 + number) << outcome.err;
    EXPECT_CONTAINS(outcome.out, "interrupted; the run is saved in " + state);
    EXPECT_LT(outcome.result().value("steps", 0), whole.value("steps", 0)) << "it was over before the signal came";
    EXPECT_TRUE(std::filesystem::exists(folder_ / state));
    const Outcome resumed = succeed(folder_, "mnist", tiny({"--epochs", epochs, "--resume", state}));
    EXPECT_EQ(resumed.result()["weights_sha256"], whole["weights_sha256"]);
  }
  EXPECT_CONTAINS(run(folder_, "mnist", arguments, interrupt_with(SIGINT)).out, "give --save FILE");
}

TEST_F(Examples, MissingOrBrokenDataIsOneLine) {
  expect_one_line_error(folder_, "mnist", {"--data", folder_ / "nowhere"}, {folder_ / "nowhere", "not a folder"});
  std::filesystem::create_directories(data_folder_ / "empty");
  expect_one_line_error(folder_, "mnist", {"--data", data_folder_ / "empty"},
                        {data_folder_ / "empty", "-images-idx3-ubyte", "does not exist", "--data"});
  write_tiny_mnist(data_);
  const std::string images = data_ + "/train-images-idx3-ubyte", labels = data_ + "/t10k-labels-idx1-ubyte.gz";
  const Bytes good = slurp(images), good_labels = slurp(labels);

  Bytes bytes(good.begin(), good.end() - 1000);  // truncated
  spit(images, bytes);
  expect_one_line_error(folder_, "mnist", tiny({}), {images, "320x28x28"});
  bytes = good;  // not an IDX file
  bytes[0] = 'P';
  spit(images, bytes);
  expect_one_line_error(folder_, "mnist", tiny({}), {images, "not an IDX file"});
  bytes = good;  // promises 2^31 pictures
  bytes[4] = 0x7f;
  spit(images, bytes);
  expect_one_line_error(folder_, "mnist", tiny({}), {images, "28x28"});
  bytes = good;  // something behind the end
  bytes.push_back(0);
  spit(images, bytes);
  expect_one_line_error(folder_, "mnist", tiny({}), {images});
  spit(images, good);

  bytes = good_labels;  // a flipped bit in what is compressed
  bytes[bytes.size() / 2] ^= 0x10;
  spit(labels, bytes);
  expect_one_line_error(folder_, "mnist", tiny({}), {labels});
  spit(labels, Bytes(good_labels.begin(), good_labels.end() - 12));
  expect_one_line_error(folder_, "mnist", tiny({}), {labels});
  spit(labels, good_labels);
  succeed(folder_, "mnist", tiny({"--steps", "1"}));
}

TEST_F(Examples, WrongResumeFileIsOneLine) {
  const std::string state = folder_ / "mlp.state";
  expect_one_line_error(folder_, "mnist", tiny({"--resume", state}), {state});  // missing
  succeed(folder_, "mnist", tiny({"--steps", "2", "--save", state}));
  expect_one_line_error(folder_, "mnist", tiny({"--resume", state}, "lenet"), {state, "mnist mlp", "mnist lenet"});
  expect_one_line_error(folder_, "mnist", tiny({"--resume", state, "--seed", "7"}), {state, "--seed 1"});
  const Bytes good = slurp(state);
  for (const size_t keep : {size_t(0), size_t(5), good.size() / 2, good.size() - 1}) {
    spit(state, Bytes(good.begin(), good.begin() + std::ptrdiff_t(keep)));
    expect_one_line_error(folder_, "mnist", tiny({"--resume", state}), {state});
  }
  spit(state, Bytes(1000, 'x'));
  expect_one_line_error(folder_, "mnist", tiny({"--resume", state}), {state});
  save_safetensors(state, {.tensors = {{"weight", zeros({3})}}, .metadata = {}});  // weights of something else
  expect_one_line_error(folder_, "mnist", tiny({"--resume", state}), {state, "not a run state"});
}

TEST_F(Examples, SaveThatFailsLeavesWhatWasThere) {
  const std::string state = folder_ / "run.state";
  const Conditions full{.file_limit = 64 << 10};  // the state has 1.2 MB
  expect_one_line_error(folder_, "mnist", tiny({"--steps", "2", "--save", state}), {state}, full);
  // Tried before the training and not after it, which would take longer than a program here may.
  expect_one_line_error(folder_, "mnist", {"--epochs", "1000", "--save", folder_ / "no/such/run"},
                        {folder_ / "no/such/run", "No such file"});
  succeed(folder_, "mnist", tiny({"--steps", "2", "--save", state}));
  const Bytes before = slurp(state);
  expect_one_line_error(folder_, "mnist", tiny({"--steps", "3", "--save", state}), {state}, full);
  EXPECT_EQ(slurp(state), before);
  std::filesystem::create_directories(folder_ / "taken");
  expect_one_line_error(folder_, "mnist", tiny({"--steps", "2", "--save", folder_ / "taken"}), {folder_ / "taken"});
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "taken"));
  const Conditions fuller{.file_limit = 1 << 10};
  expect_one_line_error(folder_, "xor", {"--quiet", "--steps", "2", "--picture", "xor.png"}, {"xor.png"}, fuller);
  expect_one_line_error(folder_, "mnist", tiny({"--steps", "2", "--picture", "wrong.png"}), {"wrong.png"}, fuller);
}

// A captured run ends in the bits of the one without --capture, and both agree with the CPU's.
TEST_F(Examples, ADeviceAgreesWithTheCpuAndCapturedEqualsEager) {
  if (!cuda::is_available()) GTEST_SKIP() << "skipped, no cuda device";
  const auto report = [&](std::vector<std::string> more) {
    std::vector<std::string> args = {"--quiet", "--model", "mlp", "--steps", "20", "--train-size", "2560"};
    args.insert(args.end(), more.begin(), more.end());
    return succeed(folder_, "mnist", args).result();
  };
  const json cpu = report({}), eager = report({"--device", "cuda"}),
             captured = report({"--device", "cuda", "--capture"});
  EXPECT_NEAR(eager.at("train_loss").get<double>(), cpu.at("train_loss").get<double>(),
              1e-4 * cpu.at("train_loss").get<double>());
  EXPECT_EQ(captured.at("weights_sha256"), eager.at("weights_sha256"));
  EXPECT_EQ(captured.at("train_loss"), eager.at("train_loss"));
  EXPECT_TRUE(captured.at("captured").get<bool>());
}

TEST_F(Examples, CaptureNeedsADevice) {
  expect_one_line_error(folder_, "mnist", {"--capture"}, {"--capture needs a device"});
}

TEST_F(Examples, CudaThatIsNotThereIsOneLine) {
  bool built = true;
  try {
    zeros({1}, {.device = DeviceType::cuda});
  } catch (const DeviceError&) {
    built = false;
  }
  if (built) GTEST_SKIP() << "skipped, this build has CUDA";
  for (const char* name : {"mnist", "xor", "overfit"})
    expect_one_line_error(folder_, name, {"--device", "cuda"}, {name, "cuda", "TENREC_CUDA=OFF"});
  expect_one_line_error(folder_, "mnist", {"--device", "gpu"}, {"gpu"});
}

TEST_F(Examples, DownloadWithoutANetworkIsOneLine) {
  // A proxy that nobody serves: the answer comes at once and nothing leaves the machine.
  const Conditions offline{.environment = {{"https_proxy", "http://127.0.0.1:9"},
                                           {"HTTPS_PROXY", "http://127.0.0.1:9"},
                                           {"all_proxy", "http://127.0.0.1:9"},
                                           {"no_proxy", ""},
                                           {"NO_PROXY", ""}}};
  std::filesystem::create_directories(folder_ / "data");
  expect_one_line_error(folder_, "mnist", {"--data", "data", "--download"}, {"--data"}, offline);
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "data"));
  expect_one_line_error(folder_, "mnist", {"--download"}, {"--data DIR"}, offline);
}

TEST_F(Examples, BadFlagsAreRefused) {
  for (const Arguments& arguments : std::initializer_list<Arguments>{{"--model", "vgg"},
                                                                     {"--epochs", "0"},
                                                                     {"--lr", "-1"},
                                                                     {"--threads", "0"},
                                                                     {"--dtype", "f64"},
                                                                     {"--no-such-flag"}}) {
    const Outcome outcome = run(folder_, "mnist", arguments);
    EXPECT_GT(outcome.status, 0) << arguments[0];
    EXPECT_CONTAINS(outcome.err, arguments[0]);
  }
  EXPECT_CONTAINS(succeed(folder_, "mnist", {"--help"}).out, "--resume");
}

}  // namespace
}  // namespace tenrec
