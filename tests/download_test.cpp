// Downloads from a server on the loopback that misbehaves in every way it can: nothing wrong is ever kept.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "support/files.h"
#include "tenrec/core/error.h"
#include "tenrec/data/download.h"
#include "tenrec/data/sha256.h"

namespace tenrec {
namespace {

using testing::Bytes;
using testing::message_of;
using testing::slurp;
using testing::spit;
using testing::TempFolder;
using Names = std::vector<std::string>;

const std::string kFixtures = TENREC_SOURCE_DIR "/tests/fixtures/https/";

Bytes served() {
  Bytes bytes(200'000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = uint8_t(i * 7);
  return bytes;
}

// tests/fixtures/https/server.py in a child process; it ends when its stdin does.
class Server {
 public:
  Server() {
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) return;
    child_ = fork();
    if (child_ == 0) {
      dup2(in[0], 0);
      dup2(out[1], 1);
      execlp("python3", "python3", (kFixtures + "server.py").c_str(), nullptr);
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    stdin_ = in[1];
    FILE* stream = fdopen(out[0], "r");
    if (fscanf(stream, "%d", &port_) != 1) port_ = 0;
    fclose(stream);
  }
  ~Server() {
    close(stdin_);
    waitpid(child_, nullptr, 0);
  }
  bool runs() const { return port_ != 0; }
  std::string url(const std::string& path) const { return "https://127.0.0.1:" + std::to_string(port_) + "/" + path; }

 private:
  pid_t child_ = -1;
  int stdin_ = -1, port_ = 0;
};

class Download : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = new Server; }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }
  void SetUp() override {
    try {  // a build without libcurl says so, whatever the url
      download(remote({"https://127.0.0.1:1/"}), folder_.path());
    } catch (const IOError& error) {
      if (std::string(error.what()).find("without libcurl") != std::string::npos) GTEST_SKIP() << error.what();
    }
    if (!server_->runs()) GTEST_SKIP() << "no python3 to serve the files";
  }
  // The file under its right size and hash, from these urls.
  static RemoteFile remote(std::vector<std::string> urls) {
    static const std::string hash = sha256_hex(served().data(), served().size());
    return {"file", std::move(urls), 200'000, hash};
  }
  static std::string url(const std::string& path) { return server_->url(path); }
  void get(const std::vector<std::string>& paths, const std::string& ca = kFixtures + "cert.pem") {
    std::vector<std::string> urls;
    for (const std::string& path : paths) urls.push_back(url(path));
    download(remote(urls), folder_.path(), {.ca_file = ca, .stall_seconds = 2});
  }
  // Fails with a message that contains `part`; the final name never appears. Leaves the names there.
  Names refused(const std::string& path, const std::string& part) {
    const std::string message = message_of<IOError>([&] { get({path}); });
    EXPECT_CONTAINS(message, part);
    EXPECT_CONTAINS(message, "127.0.0.1");
    EXPECT_EQ(message.find('\n'), std::string::npos);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "file"));
    return folder_.list();
  }

  static Server* server_;
  TempFolder folder_;
};
Server* Download::server_ = nullptr;

TEST_F(Download, FetchesChecksAndDoesNotRepeat) {
  int64_t last = 0;
  download(remote({url("good")}), folder_ / "made/deep", {.ca_file = kFixtures + "cert.pem"},
           [&](const std::string& name, int64_t done, int64_t total) {
             EXPECT_EQ(name, "file");
             EXPECT_EQ(total, 200'000);
             EXPECT_GT(done, last);
             last = done;
           });
  EXPECT_EQ(last, 200'000);
  EXPECT_EQ(slurp(folder_ / "made/deep/file"), served());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "made/deep/file.part"));
  download(remote({"https://127.0.0.1:1/"}), folder_ / "made/deep");  // there already
}

TEST_F(Download, FollowsRedirectsToHttpsOnly) {
  get({"redirect"});
  EXPECT_EQ(slurp(folder_ / "file"), served());
  std::filesystem::remove(folder_ / "file");
  EXPECT_EQ(refused("downgrade", "rotocol"), Names{});
  EXPECT_EQ(refused("loop", "redirects"), Names{});
}

TEST_F(Download, RefusesWhatIsNotTheFile) {
  EXPECT_EQ(refused("wrong", "another sha256"), Names{});
  EXPECT_EQ(refused("long", "longer than the 200000 bytes"), Names{});
  EXPECT_EQ(refused("endless", "longer than the 200000 bytes"), Names{});
  EXPECT_EQ(refused("missing", "404"), Names{});
  EXPECT_CONTAINS(message_of<IOError>([&] { download(remote({"http://127.0.0.1/x"}), folder_.path()); }),
                  "not an https");
}

TEST_F(Download, RefusesAnUnknownCertificate) {
  EXPECT_CONTAINS(message_of<IOError>([&] { get({"good"}, ""); }), "ertificate");
  EXPECT_EQ(folder_.list(), Names{});
}

TEST_F(Download, ContinuesWhatWasInterrupted) {
  EXPECT_EQ(refused("truncated", ""), Names{"file.part"});
  EXPECT_EQ(slurp(folder_ / "file.part").size(), 100'000u);
  get({"good"});
  EXPECT_EQ(slurp(folder_ / "file"), served());
  EXPECT_EQ(folder_.list(), Names{"file"});
  std::filesystem::remove(folder_ / "file");
  EXPECT_EQ(refused("short", "ended after 1000 of 200000"), Names{"file.part"});
  get({"norange"});  // a server that cannot continue sends it again
  EXPECT_EQ(slurp(folder_ / "file"), served());
}

TEST_F(Download, GivesUpOnAStall) {
  EXPECT_EQ(refused("stall", "too slow"), Names{"file.part"});
  get({"good"});
  EXPECT_EQ(slurp(folder_ / "file"), served());
}

TEST_F(Download, ADamagedPartIsFetchedAgain) {
  for (const size_t size : {size_t(10), size_t(100'000), size_t(200'000), size_t(300'000)}) {
    spit(folder_ / "file.part", Bytes(size, 'x'));
    get({"good"});
    EXPECT_EQ(slurp(folder_ / "file"), served()) << size;
    EXPECT_EQ(folder_.list(), Names{"file"});
    std::filesystem::remove(folder_ / "file");
  }
}

TEST_F(Download, TriesTheNextPlace) {
  get({"missing", "wrong", "truncated", "good"});
  EXPECT_EQ(slurp(folder_ / "file"), served());
  EXPECT_EQ(folder_.list(), Names{"file"});
}

TEST_F(Download, LeavesOtherFilesAlone) {
  spit(folder_ / "file", {'m', 'i', 'n', 'e'});
  EXPECT_CONTAINS(message_of<IOError>([&] { get({"good"}); }), "move it away first");
  EXPECT_EQ(slurp(folder_ / "file").size(), 4u);
  EXPECT_CONTAINS(message_of<IOError>([&] { download(remote({url("good")}), folder_ / "file/x"); }), "file");
}

TEST_F(Download, AFullDisk) {  // a limit on file sizes stands in for it
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit limit{50'000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const std::string message = message_of<IOError>([&] { get({"good"}); });
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_CONTAINS(message, folder_ / "file.part");
  EXPECT_CONTAINS(message, "File too large");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "file"));
  get({"good"});
  EXPECT_EQ(slurp(folder_ / "file"), served());
}

TEST(DownloadAdvice, NoServerNamesTheHostAndTheWayOut) {
  const TempFolder folder;
  DownloadOptions options;
  options.advice = "use --data DIR or the built-in digits";
  const RemoteFile file{"file", {"https://127.0.0.1:1/file"}, 10, std::string(64, '0')};
  const std::string message = message_of<IOError>([&] { download(file, folder.path(), options); });
  EXPECT_CONTAINS(message, options.advice);
  EXPECT_CONTAINS(message, "file could not be downloaded");
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_TRUE(folder.list().empty());
}

TEST(DownloadAdvice, MnistIsPinned) {
  ASSERT_EQ(mnist_files().size(), 4u);
  for (const RemoteFile& file : mnist_files()) {
    EXPECT_EQ(file.sha256.size(), 64u);
    EXPECT_GT(file.bytes, 4000);
    EXPECT_GE(file.urls.size(), 2u);
    for (const std::string& url : file.urls) EXPECT_EQ(url.rfind("https://", 0), 0u) << url;
  }
}

}  // namespace
}  // namespace tenrec
