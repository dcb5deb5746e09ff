// Files that appear whole or not at all: every way a write can fail leaves the old file and nothing else.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "support/files.h"
#include "tenrec/core/atomic_file.h"
#include "tenrec/core/error.h"

// The system calls that can fail, replaced for this program: call number `fail_at` of a kind fails with `fail_with`, or
// writes only one byte if that is 0.
namespace {
enum Kind { kWrite, kFsync, kRename, kKinds };
int calls[kKinds], fail_at[kKinds], fail_with[kKinds];

bool fails(Kind kind) { return ++calls[kind] == fail_at[kind]; }
}  // namespace

extern "C" ssize_t write(int fd, const void* data, size_t n) {
  if (fd > 2 && fails(kWrite)) {
    if (fail_with[kWrite] == 0) return ssize_t(syscall(SYS_write, fd, data, n < 1 ? n : 1));
    errno = fail_with[kWrite];
    return -1;
  }
  return ssize_t(syscall(SYS_write, fd, data, n));
}

extern "C" int fsync(int fd) {
  if (fails(kFsync)) {
    errno = fail_with[kFsync];
    return -1;
  }
  return int(syscall(SYS_fsync, fd));
}

extern "C" int rename(const char* from, const char* to) noexcept {
  if (fails(kRename)) {
    errno = fail_with[kRename];
    return -1;
  }
  return int(syscall(SYS_renameat2, -100 /* AT_FDCWD */, from, -100, to, 0));
}

namespace tenrec {
namespace {

using testing::Bytes;
using testing::message_of;
using testing::slurp;
using testing::spit;
using testing::TempFolder;
using Names = std::vector<std::string>;

class AtomicFileTest : public ::testing::Test {
 protected:
  void SetUp() override { reset(); }
  void TearDown() override { reset(); }
  static void reset() {
    for (int kind = 0; kind < kKinds; ++kind) calls[kind] = fail_at[kind] = fail_with[kind] = 0;
  }
  static void plan(Kind kind, int call, int error) {
    reset();
    fail_at[kind] = call;
    fail_with[kind] = error;
  }
};

const Bytes kOld{'o', 'l', 'd'};

// Three writes: a small one that is buffered, a large one that is not, a small one.
Bytes contents() {
  Bytes bytes(200'007);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = uint8_t(i * 7);
  return bytes;
}

void write_contents(const std::string& path, AtomicFileOptions options = {}) {
  const Bytes bytes = contents();
  AtomicFile file(path, options);
  file.write(bytes.data(), 3);
  file.write(bytes.data() + 3, 200'000);
  file.write(bytes.data() + 200'003, 4);
  EXPECT_EQ(file.size(), 200'007);
  file.commit();
}

TEST_F(AtomicFileTest, AppearsWhole) {
  const TempFolder folder;
  write_contents(folder / "a");
  EXPECT_EQ(slurp(folder / "a"), contents());
  EXPECT_EQ(folder.list(), Names{"a"});
  write_file(folder / "a", "short");
  EXPECT_EQ(slurp(folder / "a"), (Bytes{'s', 'h', 'o', 'r', 't'}));
  EXPECT_EQ(folder.list(), Names{"a"});
  EXPECT_EQ(calls[kFsync], 4) << "the file and the folder, twice";
}

TEST_F(AtomicFileTest, NothingAppearsBeforeCommit) {
  const TempFolder folder;
  spit(folder / "a", kOld);
  {
    AtomicFile file(folder / "a");
    file.write(contents().data(), 200'000);
    EXPECT_EQ(slurp(folder / "a"), kOld);
  }
  EXPECT_EQ(slurp(folder / "a"), kOld);
  EXPECT_EQ(folder.list(), Names{"a"});
}

TEST_F(AtomicFileTest, KeepsThePreviousFile) {
  const TempFolder folder;
  for (int i = 0; i < 4; ++i) {
    write_file(folder / "a", "version " + std::to_string(i), {.keep_previous = true});
    EXPECT_EQ(slurp(folder / "a").back(), '0' + i);
    EXPECT_EQ(folder.list(), i == 0 ? Names{"a"} : (Names{"a", "a.bak"}));
    if (i > 0) {
      EXPECT_EQ(slurp(folder / "a.bak").back(), '0' + i - 1);
    }
  }
}

TEST_F(AtomicFileTest, EveryFailureLeavesTheOldFileAndNothingElse) {
  const TempFolder folder;
  spit(folder / "a", kOld);
  int failures = 0;
  for (const bool keep : {false, true}) {
    for (const Kind kind : {kWrite, kFsync, kRename}) {
      for (const int error : {ENOSPC, EIO, EDQUOT}) {
        for (int call = 1;; ++call) {
          plan(kind, call, error);
          bool thrown = false;
          try {
            write_contents(folder / "a", {.keep_previous = keep});
          } catch (const IOError& e) {
            thrown = true;
            EXPECT_CONTAINS(std::string(e.what()), folder / "a");
            EXPECT_CONTAINS(std::string(e.what()), std::strerror(error));
          }
          const bool reached = calls[kind] >= call;
          reset();
          ASSERT_EQ(thrown, reached);
          if (!thrown) break;
          ++failures;
          // Flushing the folder comes after the rename: the new file is there, only its survival of a crash is not
          // sure.
          if (kind == kFsync && call == 2)
            EXPECT_EQ(slurp(folder / "a"), contents());
          else
            EXPECT_EQ(slurp(folder / "a"), kOld) << "kind " << kind << " call " << call;
          std::filesystem::remove(folder / "a.bak");
          EXPECT_EQ(folder.list(), Names{"a"});
          spit(folder / "a", kOld);
        }
        std::filesystem::remove(folder / "a.bak");
        spit(folder / "a", kOld);
      }
    }
  }
  // Writes: buffer, large block, buffer. Flushes: file, folder. Renames: the file, with keep_previous the link too.
  EXPECT_EQ(failures, 3 * (3 + 2 + 1) + 3 * (3 + 2 + 2));
}

TEST_F(AtomicFileTest, ShortAndInterruptedWritesAreContinued) {
  const TempFolder folder;
  for (const int error : {0, EINTR}) {
    for (int call = 1; call <= 3; ++call) {
      plan(kWrite, call, error);
      write_contents(folder / "a");
      EXPECT_EQ(slurp(folder / "a"), contents());
    }
  }
}

TEST_F(AtomicFileTest, AFullDiskAtAnyByte) {  // a limit on file sizes stands in for it
  const TempFolder folder;
  spit(folder / "a", kOld);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  for (const rlim_t limit : {0, 1, 2, 3, 4, 65535, 65536, 65537, 200'000, 200'003, 200'006}) {
    const rlimit small{limit, before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    EXPECT_CONTAINS(message_of<IOError>([&] { write_contents(folder / "a"); }), "File too large");
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    EXPECT_EQ(slurp(folder / "a"), kOld);
    EXPECT_EQ(folder.list(), Names{"a"});
  }
}

TEST_F(AtomicFileTest, KilledAtAnyMoment) {
  const TempFolder folder;
  const Bytes bytes = contents();
  spit(folder / "a", bytes);
  for (int i = 0; i < 60; ++i) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (;;) write_contents(folder / "a", {.keep_previous = true});
    }
    usleep(useconds_t(200 + 131 * i));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_EQ(slurp(folder / "a"), bytes) << "a reader never sees a part";
  }
  write_contents(folder / "a", {.keep_previous = true});  // takes over what the killed ones left
  EXPECT_EQ(folder.list(), (Names{"a", "a.bak"}));
}

TEST_F(AtomicFileTest, TwoWritersOfOneName) {
  const TempFolder folder;
  AtomicFile first(folder / "a");
  EXPECT_CONTAINS(message_of<IOError>([&] { AtomicFile second(folder / "a"); }), "another writer");
  first.write("one");
  first.commit();
  EXPECT_EQ(slurp(folder / "a").size(), 3u);
  write_file(folder / "a", "after");
  EXPECT_EQ(slurp(folder / "a").size(), 5u);
}

TEST_F(AtomicFileTest, RefusesWhatIsNoFile) {
  const TempFolder folder;
  EXPECT_CONTAINS(message_of<IOError>([&] { write_file("/dev/null", "x"); }), "not a regular file");
  struct stat info {};
  ASSERT_EQ(stat("/dev/null", &info), 0);
  EXPECT_TRUE(S_ISCHR(info.st_mode));
  EXPECT_CONTAINS(message_of<IOError>([&] { write_file(folder.path(), "x"); }), "a folder");
  EXPECT_CONTAINS(message_of<IOError>([&] { write_file(folder / "none/a", "x"); }), "No such file");
  AtomicFile file(folder / "a");
  file.commit();
  EXPECT_CONTAINS(message_of<IOError>([&] { file.write("late"); }), "already closed");
  EXPECT_CONTAINS(message_of<IOError>([&] { file.commit(); }), "already closed");
}

TEST_F(AtomicFileTest, WritesThroughALink) {
  const TempFolder folder;
  spit(folder / "target", kOld);
  std::filesystem::create_symlink(folder / "target", folder / "link");
  write_file(folder / "link", "new");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_EQ(slurp(folder / "target"), (Bytes{'n', 'e', 'w'}));
}

}  // namespace
}  // namespace tenrec
