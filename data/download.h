// Downloads of known files: https only, of a size and SHA-256 that are fixed in the program.
//
// The bytes go to NAME.part, which an interrupted download leaves behind and the next one continues; only when size and
// hash are right is it renamed to NAME, so a file of that name is always the whole, right file. Redirects must be https
// too, and a server that sends more than promised is cut off.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tenrec/core/parallel.h"  // FunctionRef

namespace tenrec {

struct RemoteFile {
  std::string name;               // in the folder
  std::vector<std::string> urls;  // the same file in several places, tried in order
  int64_t bytes = 0;
  std::string sha256;
};

struct DownloadOptions {
  std::string ca_file = {};  // PEM file of trusted certificates instead of the system's
  std::string advice = {};   // what to do without a network; added to the error
  int connect_seconds = 15;  // limit for a connection
  int stall_seconds = 30;    // limit without progress
};

// Called now and then with a file's name, its bytes so far and its size.
using DownloadProgress = FunctionRef<void(const std::string& name, int64_t done, int64_t total)>;

// Makes folder/name hold the file, downloading it unless it is there already. Creates the folder. Throws IOError with
// the host and the reason, also when a different file has that name, or if Tenrec was built without libcurl.
void download(
    const RemoteFile& file, const std::string& folder, const DownloadOptions& options = {},
    DownloadProgress progress = [](const std::string&, int64_t, int64_t) {});

// The four original files of MNIST (11.6 MB).
const std::vector<RemoteFile>& mnist_files();
void download_mnist(
    const std::string& folder, DownloadProgress progress = [](const std::string&, int64_t, int64_t) {});

}  // namespace tenrec
