#include "tenrec/data/download.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "tenrec/core/atomic_file.h"
#include "tenrec/core/bounded_reader.h"
#include "tenrec/core/error.h"
#include "tenrec/data/sha256.h"

#ifdef TENREC_HAVE_CURL
#include <curl/curl.h>
#endif

namespace tenrec {
namespace {

void make_folders(const std::string& folder) {
  for (size_t end = folder.find('/', 1);; end = folder.find('/', end + 1)) {
    const std::string part = folder.substr(0, end);
    if (!part.empty() && mkdir(part.c_str(), 0777) != 0 && errno != EEXIST) {
      fail<IOError>(part, ": the folder cannot be made: ", std::strerror(errno));
    }
    if (end == std::string::npos) break;
  }
  if (!is_folder(folder)) fail<IOError>(folder, ": is not a folder");
}

// The partial file, open and locked.
class PartFile {
 public:
  explicit PartFile(std::string path) : path_(std::move(path)) {
    fd_ = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd_ < 0) fail<IOError>(path_, ": cannot be written: ", std::strerror(errno));
    if (flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      close(fd_);
      fail<IOError>(path_, ": another download is writing it");
    }
    // Whoever had the lock may have finished in between; then the open file has its final name already.
    struct stat ours {
    }, named{};
    if (fstat(fd_, &ours) != 0 || stat(path_.c_str(), &named) != 0 || ours.st_ino != named.st_ino) {
      close(fd_);
      fail<IOError>(path_, ": another download has just finished it; try again");
    }
    size_ = lseek(fd_, 0, SEEK_END);
  }
  ~PartFile() { close(fd_); }
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  const std::string& path() const { return path_; }
  int64_t size() const { return size_; }
  void clear() {
    if (ftruncate(fd_, 0) != 0) fail<IOError>(path_, ": cannot be emptied: ", std::strerror(errno));
    size_ = lseek(fd_, 0, SEEK_SET);
  }
  // False if it cannot be written; error() says why.
  bool append(const char* data, size_t n) {
    while (n > 0) {
      const ssize_t written = ::write(fd_, data, n);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) {
        error_ = written < 0 ? errno : ENOSPC;
        return false;
      }
      data += written;
      n -= size_t(written);
      size_ += written;
    }
    return true;
  }
  int error() const { return error_; }
  void finish(const std::string& final_path) {
    if (fsync(fd_) != 0) fail<IOError>(path_, ": cannot be flushed to the disk: ", std::strerror(errno));
    if (rename(path_.c_str(), final_path.c_str()) != 0) {
      fail<IOError>(final_path, ": cannot be put in place: ", std::strerror(errno));
    }
    detail::sync_folder_of(final_path);
  }

 private:
  std::string path_;
  int64_t size_ = 0;
  int fd_ = -1, error_ = 0;
};

// True if the file is there and right; throws if another one has its name.
bool already_there(const RemoteFile& file, const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return false;
  if (S_ISREG(info.st_mode) && info.st_size == file.bytes && sha256_file(path) == file.sha256) return true;
  fail<IOError>(path, ": is not the file that is to be downloaded (", file.bytes, " bytes, sha256 ", file.sha256,
                "); move it away first");
}

#ifdef TENREC_HAVE_CURL

std::string host_of(const std::string& url) {
  const size_t begin = url.find("://");
  if (begin == std::string::npos) return url;
  return url.substr(begin + 3, url.find_first_of("/?#", begin + 3) - begin - 3);
}

struct Transfer {
  const RemoteFile& file;
  PartFile& part;
  DownloadProgress progress;
  bool too_long = false;
};

size_t on_bytes(char* data, size_t size, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const size_t n = size * count;
  if (transfer.part.size() + int64_t(n) > transfer.file.bytes) {
    transfer.too_long = true;
    return 0;  // any value other than n stops the transfer
  }
  if (!transfer.part.append(data, n)) return 0;
  transfer.progress(transfer.file.name, transfer.part.size(), transfer.file.bytes);
  return n;
}

// A libcurl handle for one url: https alone, also after a redirect, with certificates checked.
class Connection {
 public:
  Connection(const std::string& url, Transfer& transfer, const DownloadOptions& options) : url_(url) {
    static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
    handle_ = ready == CURLE_OK ? curl_easy_init() : nullptr;
    if (handle_ == nullptr) fail<IOError>("libcurl cannot be started");
    set(CURLOPT_URL, url.c_str());
#if LIBCURL_VERSION_NUM >= 0x075500
    set(CURLOPT_PROTOCOLS_STR, "https");
    set(CURLOPT_REDIR_PROTOCOLS_STR, "https");
#else
    set(CURLOPT_PROTOCOLS, long(CURLPROTO_HTTPS));
    set(CURLOPT_REDIR_PROTOCOLS, long(CURLPROTO_HTTPS));
#endif
    set(CURLOPT_SSL_VERIFYPEER, 1L);
    set(CURLOPT_SSL_VERIFYHOST, 2L);
    set(CURLOPT_FOLLOWLOCATION, 1L);
    set(CURLOPT_MAXREDIRS, 5L);
    set(CURLOPT_FAILONERROR, 1L);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_CONNECTTIMEOUT, long(options.connect_seconds));
    set(CURLOPT_LOW_SPEED_LIMIT, 1L);
    set(CURLOPT_LOW_SPEED_TIME, long(options.stall_seconds));
    set(CURLOPT_RESUME_FROM_LARGE, curl_off_t(transfer.part.size()));
    set(CURLOPT_MAXFILESIZE_LARGE, curl_off_t(transfer.file.bytes));
    set(CURLOPT_WRITEFUNCTION, &on_bytes);
    set(CURLOPT_WRITEDATA, static_cast<void*>(&transfer));
    set(CURLOPT_ERRORBUFFER, message_);
    if (!options.ca_file.empty()) set(CURLOPT_CAINFO, options.ca_file.c_str());
  }
  ~Connection() { curl_easy_cleanup(handle_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  CURLcode perform() { return curl_easy_perform(handle_); }
  std::string reason(CURLcode code) const { return message_[0] != '\0' ? message_ : curl_easy_strerror(code); }

 private:
  template <class Value>
  void set(CURLoption option, Value value) {
    if (curl_easy_setopt(handle_, option, value) != CURLE_OK) fail<IOError>(url_, ": libcurl refuses an option");
  }
  std::string url_;
  CURL* handle_ = nullptr;
  char message_[CURL_ERROR_SIZE] = "";
};

// Fetches what is missing. Empty on success, else why this url will not do. Errors of the disk are thrown.
std::string fetch(const std::string& url, Transfer& transfer, const DownloadOptions& options) {
  if (url.rfind("https://", 0) != 0) return "not an https url";
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (transfer.part.size() >= transfer.file.bytes) break;
    Connection connection(url, transfer, options);
    const CURLcode code = connection.perform();
    if (transfer.part.error() != 0) {
      fail<IOError>(transfer.part.path(), ": cannot be written: ", std::strerror(transfer.part.error()));
    }
    if (transfer.too_long || code == CURLE_FILESIZE_EXCEEDED) {
      transfer.too_long = false;
      transfer.part.clear();
      return concat("the file there is longer than the ", transfer.file.bytes, " bytes it should have");
    }
    if (code == CURLE_RANGE_ERROR && transfer.part.size() > 0) {  // a server that cannot continue: from the start
      transfer.part.clear();
      continue;
    }
    if (code != CURLE_OK) return connection.reason(code);
    break;
  }
  if (transfer.part.size() < transfer.file.bytes) {
    return concat("the transfer ended after ", transfer.part.size(), " of ", transfer.file.bytes, " bytes");
  }
  return "";
}

void fetch_any(const RemoteFile& file, const std::string& folder, const DownloadOptions& options,
               DownloadProgress progress) {
  const std::string path = join_path(folder, file.name);
  PartFile part(path + ".part");
  if (part.size() > file.bytes) part.clear();
  Transfer transfer{file, part, progress};
  std::string reasons;
  for (const std::string& url : file.urls) {
    // A left-over part may be damaged, and then deserves one more try from the start.
    for (bool resumed = part.size() > 0;; resumed = false) {
      std::string reason = fetch(url, transfer, options);
      if (reason.empty()) {
        if (sha256_file(part.path()) == file.sha256) return part.finish(path);
        part.clear();
        if (resumed) continue;
        reason = "the file there has another sha256 than it should";
      }
      reasons += concat(reasons.empty() ? "" : "; ", host_of(url), ": ", reason);
      break;
    }
  }
  if (part.size() == 0) unlink(part.path().c_str());
  fail<IOError>(file.name, " could not be downloaded (", reasons, ")", options.advice.empty() ? "" : "; ",
                options.advice);
}

#else

void fetch_any(const RemoteFile& file, const std::string&, const DownloadOptions& options, DownloadProgress) {
  fail<IOError>(file.name, " could not be downloaded: this Tenrec was built without libcurl",
                options.advice.empty() ? "" : "; ", options.advice);
}

#endif

}  // namespace

void download(const RemoteFile& file, const std::string& folder, const DownloadOptions& options,
              DownloadProgress progress) {
  if (already_there(file, join_path(folder, file.name))) return;
  make_folders(folder);
  fetch_any(file, folder, options, progress);
}

const std::vector<RemoteFile>& mnist_files() {
  static const std::vector<RemoteFile> files = [] {
    std::vector<RemoteFile> list = {
        {"train-images-idx3-ubyte.gz", {}, 9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"},
        {"train-labels-idx1-ubyte.gz", {}, 28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"},
        {"t10k-images-idx3-ubyte.gz", {}, 1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"},
        {"t10k-labels-idx1-ubyte.gz", {}, 4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"},
    };
    for (RemoteFile& file : list) {
      for (const char* mirror :
           {"https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/"}) {
        file.urls.push_back(mirror + file.name);
      }
    }
    return list;
  }();
  return files;
}

void download_mnist(const std::string& folder, DownloadProgress progress) {
  DownloadOptions options;
  options.advice = "name the folder that holds MNIST with --data DIR, or leave both away to use the built-in digits";
  for (const RemoteFile& file : mnist_files()) download(file, folder, options, progress);
}

}  // namespace tenrec
