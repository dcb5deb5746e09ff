// The example programs as a user starts them: a process of its own in a fresh folder. What it prints, the files it
// leaves, and what it says when something is wrong.
#pragma once

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

namespace tenrec::testing {

using nlohmann::json;
using Arguments = std::vector<std::string>;

inline constexpr auto kLimit = std::chrono::seconds(600);  // finds what hangs, not what is slow

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

inline std::string program(const std::string& name) { return std::string(TENREC_BINARY_DIR) + "/examples/" + name; }

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

inline Outcome run(const TempFolder& folder, const std::string& name, const Arguments& arguments,
                   const Conditions& conditions = {}) {
  return Child(folder.path(), name, arguments, conditions).wait(conditions);
}

inline Outcome succeed(const TempFolder& folder, const std::string& name, const Arguments& arguments,
                       const Conditions& conditions = {}) {
  Outcome outcome = run(folder, name, arguments, conditions);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  return outcome;
}

// Exit status not 0, no result, one line on stderr with all of `parts`, and no file that was not there before.
inline void expect_one_line_error(const TempFolder& folder, const std::string& name, const Arguments& arguments,
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
inline void expect_run(const json& report, const std::string& example, const std::string& data, const char* measure) {
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

inline void expect_report(const json& report, const std::string& example, const std::string& data) {
  expect_run(report, example, data, "test_accuracy");
  const double accuracy = report.value("test_accuracy", -1.0);
  EXPECT_TRUE(accuracy >= 0 && accuracy <= 100) << accuracy;
}

inline void expect_picture(const std::string& path) {
  const Picture picture = read_png(path);
  ASSERT_GE(picture.width, 100) << path;
  ASSERT_GE(picture.height, 100) << path;
  const std::set<uint8_t> shades(picture.pixels.begin(), picture.pixels.end());
  EXPECT_GT(shades.size(), 3u) << path << " is a blank";
}

inline void put_be32(Bytes& out, int64_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(uint8_t(value >> shift));
}

inline Bytes idx(const std::vector<int64_t>& shape, const std::vector<uint8_t>& data) {
  Bytes out{0, 0, 8, uint8_t(shape.size())};
  for (const int64_t n : shape) put_be32(out, n);
  out.insert(out.end(), data.begin(), data.end());
  return out;
}

// A folder with few digits under MNIST's names, half of the files compressed.
inline void write_tiny_mnist(const std::string& folder, int64_t train_count = 320, int64_t test_count = 100) {
  std::filesystem::create_directories(folder);
  for (const Split split : {Split::train, Split::test}) {
    const int64_t n = split == Split::train ? train_count : test_count;
    const ImageSet set = make_digits(split, kDigitSeed, 0, n);
    const std::string base = folder + (split == Split::train ? "/train" : "/t10k");
    spit(base + "-images-idx3-ubyte", idx({n, 28, 28}, set.pixels));
    spit(base + "-labels-idx1-ubyte.gz", gzip(idx({n}, set.labels)));
  }
}

// The same of shapes under CIFAR-10's names.
inline void write_tiny_cifar(const std::string& folder) {
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
  spit(folder + "/test_batch.bin.gz", gzip(records(Split::test, 0, 100)));
}

class Examples : public ::testing::Test {
 protected:
  void SetUp() override {
#if !TENREC_HAVE_EXAMPLES
    GTEST_SKIP() << "skipped, TENREC_BUILD_EXAMPLES is off";
#endif
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

}  // namespace tenrec::testing
