#include "tenrec/core/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tenrec/core/error.h"

namespace tenrec {
namespace {

constexpr size_t kBufferBytes = 64 * 1024;

// A symbolic link stays a link: what it points to is replaced.
std::string resolve_link(const std::string& path) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0 || !S_ISLNK(info.st_mode)) return path;
  char resolved[PATH_MAX];
  if (realpath(path.c_str(), resolved) == nullptr) {
    fail<IOError>(path, ": cannot be written: the link cannot be followed: ", std::strerror(errno));
  }
  return resolved;
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path, AtomicFileOptions options)
    : path_(resolve_link(path)), temporary_(path_ + ".tmp"), keep_previous_(options.keep_previous) {
  struct stat info {};
  if (stat(path_.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    fail<IOError>(path_, ": cannot be written: it is ", S_ISDIR(info.st_mode) ? "a folder" : "not a regular file");
  }
  buffer_.reserve(kBufferBytes);
  open_temporary();
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::open_temporary() {
  // Another process may finish (rename or remove the name) between our open and our lock, so look again a few times.
  for (int attempt = 0; attempt < 100; ++attempt) {
    if (open_and_lock()) return;
  }
  fail<IOError>(path_, ": cannot be written: ", temporary_, " keeps being replaced by another process");
}

bool AtomicFile::open_and_lock() {
  fd_ = open(temporary_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
  if (fd_ < 0) fail<IOError>(path_, ": cannot be written: ", temporary_, ": ", std::strerror(errno));
  // A lock that some file systems do not have; there the last writer wins, as it would without us.
  if (flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    close(fd_);
    fd_ = -1;
    fail<IOError>(path_, ": cannot be written: another writer has ", temporary_, " open");
  }
  struct stat ours {
  }, named{};
  const bool same = fstat(fd_, &ours) == 0 && stat(temporary_.c_str(), &named) == 0 && ours.st_ino == named.st_ino &&
                    ours.st_dev == named.st_dev;
  if (same && S_ISREG(ours.st_mode)) {
    if (ftruncate(fd_, 0) != 0) fail_with("cannot be emptied", errno);
    return true;
  }
  close(fd_);
  fd_ = -1;
  if (same) fail<IOError>(path_, ": cannot be written: ", temporary_, " is not a regular file");
  return false;
}

void AtomicFile::write(const void* data, size_t n) {
  if (fd_ < 0) fail<IOError>(path_, ": cannot be written: the file is already closed");
  const auto* bytes = static_cast<const uint8_t*>(data);
  if (buffer_.size() + n > kBufferBytes) flush_buffer();
  if (n >= kBufferBytes) {
    write_through(bytes, n);
  } else {
    buffer_.insert(buffer_.end(), bytes, bytes + n);
  }
  size_ += int64_t(n);
}

void AtomicFile::flush_buffer() {
  write_through(buffer_.data(), buffer_.size());
  buffer_.clear();
}

void AtomicFile::write_through(const uint8_t* data, size_t n) {
  while (n > 0) {
    const ssize_t written = ::write(fd_, data, n);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail_with("cannot be written", written < 0 ? errno : ENOSPC);
    data += written;
    n -= size_t(written);
  }
}

void AtomicFile::commit() {
  if (fd_ < 0) fail<IOError>(path_, ": cannot be written: the file is already closed");
  flush_buffer();
  if (fsync(fd_) != 0) fail_with("cannot be flushed to the disk", errno);
  if (keep_previous_) keep_previous();
  if (rename(temporary_.c_str(), path_.c_str()) != 0) fail_with("cannot be put in place", errno);
  // From here on the name belongs to the finished file; the lock goes with the descriptor.
  const int fd = fd_;
  fd_ = -1;
  if (close(fd) != 0) fail<IOError>(path_, ": closing it failed: ", std::strerror(errno));
  detail::sync_folder_of(path_);
}

// At every instant NAME is a whole file: the old one gets a second name, then the new one replaces the first.
void AtomicFile::keep_previous() {
  const std::string backup = path_ + ".bak", link_name = path_ + ".bak.tmp";
  unlink(link_name.c_str());
  if (link(path_.c_str(), link_name.c_str()) == 0) {
    if (rename(link_name.c_str(), backup.c_str()) != 0) {
      const int error = errno;
      unlink(link_name.c_str());
      fail_with("the previous file cannot be kept", error);
    }
    unlink(link_name.c_str());  // rename does nothing when both names were one file already
    return;
  }
  if (errno == ENOENT) return;  // there is no previous file
  if (errno != EPERM && errno != ENOTSUP && errno != EOPNOTSUPP) fail_with("the previous file cannot be kept", errno);
  // A file system without hard links: for an instant only the backup and the temporary file exist.
  if (rename(path_.c_str(), backup.c_str()) != 0) fail_with("the previous file cannot be kept", errno);
}

void AtomicFile::discard() {
  if (fd_ < 0) return;
  unlink(temporary_.c_str());
  close(fd_);
  fd_ = -1;
}

void AtomicFile::fail_with(const char* action, int error) {
  discard();
  fail<IOError>(path_, ": ", action, ": ", std::strerror(error));
}

void write_file(const std::string& path, const void* data, size_t n, AtomicFileOptions options) {
  AtomicFile file(path, options);
  file.write(data, n);
  file.commit();
}

void detail::sync_folder_of(const std::string& path) {
  const int folder = open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;  // a folder that may be written but not listed: the rename stands, only its flush is left out
  const int status = fsync(folder);
  const int error = errno;
  close(folder);
  if (status != 0 && error != EINVAL && error != ENOTSUP) {
    fail<IOError>(path, ": its folder cannot be flushed to the disk: ", std::strerror(error));
  }
}

}  // namespace tenrec
